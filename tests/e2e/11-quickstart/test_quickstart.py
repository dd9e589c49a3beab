"""docs/quickstart.md as it stands: each block pasted in order on a fresh folder, and what the page says comes back does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import PROGRAM, until
from tests.support.netns import network
from tests.support.peers import lacking, need

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]

REPO = Path(__file__).parents[3]
_FIVE_MINUTES = 300
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: terminal=(?P<terminal>\w+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_PORTS = (2525, 2587, 2465, 8025, 8026, 8027, 9025)
_ELLIPSIS = "…"
_MARK = "\n=== what block {number} said ends here ===\n"


@dataclass(frozen=True)
class Step:
    """A block to paste; `kind` and `expected` are of the answer that the page shows, "" without one."""

    code: str
    terminal: str
    kind: str
    expected: str


def page() -> list[Step]:
    """The page's blocks in their order. Every answer stands right behind what it answers."""
    found: list[Step] = []
    for block in _BLOCK.finditer((REPO / "docs" / "quickstart.md").read_text(encoding="utf-8")):
        if block["kind"] == "sh":
            found.append(Step(block["text"], block["terminal"] or "", "", ""))
        else:
            before = found.pop()
            assert not before.expected, f"two answers behind\n{before.code}"
            found.append(Step(before.code, before.terminal, block["kind"], block["text"].strip()))
    return found


def same(expected: Any, said: Any, where: str = "") -> None:
    """What the page shows is there; fields that it leaves out may be. `…` stands for any text or number."""
    if isinstance(expected, dict):
        assert isinstance(said, dict), where
        for name, value in expected.items():
            assert name in said, f"{where}: there is no {name} in {said}"
            same(value, said[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(said, list), where
        assert len(said) == len(expected), f"{where}: {said}"
        for number, value in enumerate(expected):
            same(value, said[number], f"{where}[{number}]")
    elif isinstance(expected, str) and _ELLIPSIS in expected:
        assert like(expected, str(said)), f"{where}: {said!r} is not like {expected!r}"
    else:
        assert expected == said, where


def like(expected: str, said: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, expected.split(_ELLIPSIS))), said) is not None


def compare(step: Step, said: str) -> None:
    """What came back is what the page says, or the block and both are shown."""
    try:
        if step.kind == "json":
            # A number that is different each time stands there without quotation marks.
            same(json.loads(re.sub(rf": {_ELLIPSIS}(?=[,}}])", f': "{_ELLIPSIS}"', step.expected)), json.loads(said))
        else:
            assert like(step.expected, said)
    except (AssertionError, ValueError) as error:
        raise AssertionError(f"{step.code}\nThe page says\n{step.expected}\n\nand it was\n{said}\n\n{error}") from None


def in_use() -> list[int]:
    """Which of the ports that the page names are taken on this machine."""
    taken = []
    for port in _PORTS:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    return taken


@pytest.fixture
def wrapper() -> Iterator[tuple[str, ...]]:
    """What stands before a command so that the page's ports are ours: a network of our own, else this machine's once they are free."""
    with ExitStack() as stack:
        try:
            before = stack.enter_context(network()).near.wrapper
        except pytest.skip.Exception:
            before = ()
            try:
                until(lambda: not in_use(), "the usual ports are free", seconds=60, pause=1)
            except AssertionError:
                lacking("network-namespaces", f"and the ports {in_use()} are taken")
        yield before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a fresh clone has it, but for the installation, which is done: it would need a package index."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "mailrelay").symlink_to(PROGRAM)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "install.sh").write_text("#!/bin/sh\n")
    (tmp_path / "scripts" / "install.sh").chmod(0o755)
    shutil.copytree(REPO / "config", tmp_path / "config")
    shutil.copy(REPO / "Makefile", tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    """That of a terminal: nothing of a make that runs these tests, and no proxy between curl and this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "MAILRELAY_")) and not name.lower().endswith("_proxy")
    }


def pasted(script: str, folder: Path, wrapper: tuple[str, ...], output: Path) -> subprocess.Popen[bytes]:
    """A shell that runs it, in a session of its own; what it prints goes to `output`."""
    with output.open("wb") as out:
        return subprocess.Popen(
            [*wrapper, "bash", "-euc", script],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )


@contextmanager
def terminal(code: str, folder: Path, wrapper: tuple[str, ...]) -> Iterator[Path]:
    """Paste into a terminal that stays open: what it prints goes to a file. At the end Ctrl-C is pressed in it."""
    printed = folder / "printed"
    process = pasted(code, folder, wrapper, printed)
    try:
        yield printed
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def paste(script: str, folder: Path, wrapper: tuple[str, ...]) -> str:
    """Paste into a terminal; what it printed until it ended, or for five minutes."""
    output = folder / "output"
    process = pasted(script, folder, wrapper, output)
    try:
        with suppress(subprocess.TimeoutExpired):  # the block that did not end is told by what is printed
            process.wait(_FIVE_MINUTES)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    return output.read_text() + (f"it ended with {process.returncode}" if process.returncode else "")


def test_the_page_holds_what_it_promises_within_five_minutes(folder: Path, wrapper: tuple[str, ...]) -> None:
    for tool in ("bash", "curl", "make"):
        need(tool)
    steps = page()
    first, rest = steps[0], steps[1:]
    assert first.terminal
    assert not any(step.terminal for step in rest)
    began = time.monotonic()
    with terminal(first.code, folder, wrapper) as printed:
        until(lambda: "Ctrl-C stops it" in printed.read_text(), "the daemon runs", seconds=60)
        script = "".join(
            f"{step.code}printf '%s' '{_MARK.format(number=number)}'\n" for number, step in enumerate(rest)
        )
        said = paste(script, folder, wrapper)
        for number, step in enumerate(rest):
            mark = _MARK.format(number=number)
            assert mark in said, f"it ended in\n{step.code}\n{said}\n{printed.read_text()[-5000:]}"
            answer, _, said = said.partition(mark)
            if step.kind:
                compare(step, answer.strip())
            else:
                assert not answer.strip(), f"the page does not show what comes back of\n{step.code}\n{answer}"
        assert not said, "it ends well, and says nothing behind its last block"
    assert time.monotonic() - began < _FIVE_MINUTES
    assert sum(bool(step.kind) for step in rest) >= 10, "most blocks have their answers"
