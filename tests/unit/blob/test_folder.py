"""D01: a blob is durable when `commit` returns, whoever made the folder that it is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailrelay.blob.folder import FolderBlobs


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What fsync was called for, in order."""
    found: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_fault_d01_a_folder_that_another_writer_has_just_made_is_synced_too(tmp_path: Path, synced: list[Path]) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    digest = blobs.put(b"one").digest
    blobs.path(digest).unlink()
    # As after a process that died, or beside a thread that stands, between making the folder and syncing it.
    again = FolderBlobs(tmp_path / "blobs")
    synced.clear()
    again.put(b"one")
    assert tmp_path / "blobs" in synced
    assert synced[-1] == again.path(digest).parent


def test_fault_d01_the_folder_of_blobs_is_durable_itself(tmp_path: Path, synced: list[Path]) -> None:
    FolderBlobs(tmp_path / "blobs")
    assert tmp_path in synced


def test_a_known_folder_is_not_synced_again_and_again(tmp_path: Path, synced: list[Path]) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put(b"one")
    synced.clear()
    blobs.put(b"one")
    assert tmp_path / "blobs" not in synced
