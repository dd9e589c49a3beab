"""Disks of a test: a small tmpfs, and an ext4 image that can be copied as a power cut would leave it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.peers import lacking, need


def _mount(*arguments: str | Path) -> None:
    """Mount, or skip where this machine does not let us, named and counted."""
    done = subprocess.run([need("mount"), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lacking("mount", done.stderr.strip().replace("\n", " "))


@contextlib.contextmanager
def tmpfs(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `place`, such as `size=4m` or `nr_inodes=64`."""
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        subprocess.run([need("umount"), "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    """Give a tmpfs other options while it is in use."""
    subprocess.run([need("mount"), "-o", f"remount,{options}", place], check=True)


def make_image(file: Path, megabytes: int) -> None:
    """An empty ext4 in a sparse file."""
    with file.open("wb") as made:
        made.truncate(megabytes * 1_000_000)
    subprocess.run([need("mkfs.ext4"), "-q", "-F", file], check=True)


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The file system in an image; mounting plays its journal back, as after a power cut."""
    place.mkdir(parents=True, exist_ok=True)
    _mount("-o", "loop", image, place)
    try:
        yield place
    finally:
        subprocess.run([need("umount"), place], check=True)


def cut(image: Path, to: Path, freeze: Callable[[], None], thaw: Callable[[], None]) -> Path:
    """What the disk holds at this instant of a process at work, which is frozen while the copy is made.

    Pages that nobody synced are not in it. A copy takes longer than an instant: one during which the kernel wrote to the disk would be
    of no instant, and is made anew.
    """
    freeze()
    try:
        for _ in range(50):
            before = image.stat().st_mtime_ns
            subprocess.run(["/bin/cp", "--sparse=always", image, to], check=True)
            if image.stat().st_mtime_ns == before:
                return to
            time.sleep(0.01)
        raise AssertionError("the disk is never still")
    finally:
        thaw()
