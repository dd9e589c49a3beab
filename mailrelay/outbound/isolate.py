"""A mail that our own code may have failed on, made ready in a process of its own that may die of it (Q03).

`python -m mailrelay.outbound.isolate` is that process: it reads one request, answers it, and ends. It has limits of memory and time,
no environment, and nothing open but two pipes, so that what a mail does to it is done to it alone.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from mailrelay.model.delivery import Refused
from mailrelay.outbound import prepare as _prepare
from mailrelay.outbound.prepare import Leave, Prepared, Trace

_OUT_OF_MEMORY = 77
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


async def prepare(
    raw: bytes,
    *,
    leave: Leave,
    trace: Trace,
    eight_bit: bool,
    smtputf8: bool,
    now: datetime,
    bounds: Bounds = BOUNDS,
    target: Callable[..., Prepared | Refused] = _prepare.prepare,
) -> Prepared | Refused:
    """See `prepare.prepare`; takes half a second more. Raises Failed whatever goes wrong, OSError when there can be no process.

    `target` is what is called there, a function of a module.
    """
    call = {"leave": leave, "trace": trace, "eight_bit": eight_bit, "smtputf8": smtputf8, "now": now}
    request = pickle.dumps((target.__module__, target.__qualname__, bounds, raw, call))
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
        async with asyncio.timeout(bounds.seconds):
            answer, _ = await process.communicate(request)
    except TimeoutError:
        raise Failed(_too_long(bounds)) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _read(answer, process.returncode or 0, bounds)


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
            return msgspec.convert(said["refused"], Refused, strict=False)
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
        module, name, bounds, raw, call = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own words)
        _limit(bounds)
        target = getattr(importlib.import_module(module), name)
        answer = _answer(target(raw, **call))
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
    seconds = max(1, round(bounds.seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
