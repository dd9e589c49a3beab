"""A mail that our own code may have failed on, made ready in a process of its own that may die of it (Q03).

`python -m mailrelay.outbound.isolate` is that process: it reads one request, answers it, and ends. It has limits of memory and time,
no environment, and nothing open but two pipes, so that what a mail does to it is done to it alone.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mailrelay.model.delivery import Refused
from mailrelay.outbound.prepare import Prepared
from mailrelay.store import rows

_OUT_OF_MEMORY = 77
_START = 30.0
"""Seconds for an interpreter to begin, on a machine that is busy."""
_BEGUN = b"!"
_MEGABYTE = 1_000_000
_MAX_TRACE = 20_000
_PAGES = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What preparing one mail may take."""

    seconds: float = 60.0
    memory: int = 1 << 30
    """Bytes beside what the process needs anyway."""


BOUNDS = Bounds()


class Failed(Exception):
    """The mail could not be made ready. `trace` is a traceback, or a sentence that says what it took."""

    def __init__(self, trace: str) -> None:
        super().__init__(trace.rstrip().rpartition("\n")[2])
        self.trace = trace


async def run(make: partial[Prepared | Refused], *, bounds: Bounds = BOUNDS) -> Prepared | Refused:
    """What `make` returns, a call of `prepare.prepare`, or of another function of a module; it takes half a second more.

    Raises Failed whatever goes wrong with it, OSError (TimeoutError among them) when there is no process for it.
    """
    request = pickle.dumps((bounds, make))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUTF8": "1"},
    )
    try:
        answer = await _talk(process, request, bounds)
        await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _read(answer, process.returncode or 0, bounds)


async def _talk(process: asyncio.subprocess.Process, request: bytes, bounds: Bounds) -> bytes:
    """The answer. Raises Failed when it comes too late, TimeoutError when the process does not even begin."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    async with asyncio.timeout(_START):
        with suppress(ConnectionError):  # it died; its status says of what
            process.stdin.write(request)
            await process.stdin.drain()
        process.stdin.close()
        began = await process.stdout.read(len(_BEGUN))
    try:
        async with asyncio.timeout(bounds.seconds):
            return await process.stdout.read() if began else b""
    except TimeoutError:
        raise Failed(_too_long(bounds)) from None


def _too_long(bounds: Bounds) -> str:
    return f"Preparing the mail took more than {bounds.seconds:g} s."


def _read(answer: bytes, status: int, bounds: Bounds) -> Prepared | Refused:
    """What the process said. Raises Failed."""
    if status == _OUT_OF_MEMORY:
        raise Failed(f"Preparing the mail needed more than {bounds.memory // _MEGABYTE} MB.")
    if status == -signal.SIGXCPU:
        raise Failed(_too_long(bounds))
    if status < 0:
        raise Failed(
            f"The process that prepared the mail was killed by signal {-status} ({signal.Signals(-status).name})."
        )
    try:
        said = msgspec.msgpack.decode(answer)
        if "trace" in said:
            raise Failed(str(said["trace"]))
        if "refused" in said:
            return rows.decode(Refused, said["refused"])
        return Prepared(said["content"], said["utf8"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise Failed(f"The process that prepared the mail ended with status {status} and no answer.") from None


# --- the process ---


def main() -> None:
    """Answer the request on standard input."""
    # Whatever the code prints must not stand in the answer.
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        bounds, make = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own words)
        _limit(bounds)
        os.write(out, _BEGUN)
        answer = _answer(make())
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except BaseException:  # noqa: BLE001 (whatever it is, it is told)
        answer = {"trace": traceback.format_exc()[-_MAX_TRACE:]}
    try:
        with io.FileIO(out, "w") as pipe:
            data = memoryview(msgspec.msgpack.encode(answer))
            while data:
                data = data[pipe.write(data) or 0 :]
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)


def _answer(made: Prepared | Refused) -> dict[str, Any]:
    if isinstance(made, Refused):
        return {"refused": msgspec.to_builtins(made)}
    return {"content": made.content, "utf8": made.utf8}


def _limit(bounds: Bounds) -> None:
    needed = int(_PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (needed + bounds.memory,) * 2)
    # Whole seconds, and not before who waits gives up.
    seconds = math.ceil(time.process_time() + bounds.seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
