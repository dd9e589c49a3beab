"""Run a command and leave nothing of it running: `contain.py SECONDS COMMAND…`.

Processes that lose their parent come to this one (Linux's child subreaper), whatever session they made for themselves; when
the command ends, or its time is over, all of them are ended. Exits with the command's status, or 124 after SECONDS.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_SET_CHILD_SUBREAPER = 36


def _descendants() -> list[int]:
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [os.getpid()]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _end_all() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        while (left := _descendants()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(0.2)


def _asked_to_stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Run, wait, clean up."""
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _asked_to_stop)
    process = subprocess.Popen(command)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"{command[0]} ran for more than {seconds:g} seconds and was ended", file=sys.stderr)
        return 124
    except KeyboardInterrupt:
        return 130
    finally:
        if process.poll() is not None:
            time.sleep(0.2)  # what was ending by itself may end
        left = [pid for pid in _descendants() if pid != process.pid]
        for pid in left:
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            print(f"left running, now ended: {pid} {line}", file=sys.stderr)
        _end_all()


if __name__ == "__main__":
    sys.exit(main())
