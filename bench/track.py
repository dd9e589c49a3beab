"""The public door beside a bare Starlette route that answers the same, under load by wrk, in turns (issue: at least 70 % of its rate).

`python -m bench track [--pairs 5] [--seconds 5]`. The load generator, the bare route and mailrelay are processes of their own, the
latter with all that it does besides: tokens are verified, hits kept in its store or on its disk. At the end every request that was
answered must be in the store, or wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailrelay.clock import Clock
from mailrelay.store.sqlite import SqliteStore
from mailrelay.tracking.token import Keys
from tests.support import tracked
from tests.support.daemon import Daemon, daemon, until
from tests.support.peers import need
from tests.support.postfix import free_port

_CONNECTIONS = 20
_DELIVERIES = 20_000
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99 = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_TOTAL = re.compile(r"(\d+) requests in")
_FAILED = re.compile(r"Socket errors:.*|Non-2xx or 3xx responses: .*")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

# In a process of its own, by uvicorn as it stands.
_BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")

async def pixel(request):
    return Response(GIF, media_type="image/gif")

async def link(request):
    return RedirectResponse("https://shop.example/offer", status_code=302)

app = Starlette(routes=[Route("/o/{token}", pixel), Route("/c/{token}", link)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", access_log=False)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the load: requests a second, the 99th percentile of their latency in ms, how many there were, and the CPU of each in µs."""

    rate: float
    p99: float
    number: int
    cpu: float


def run(options: argparse.Namespace, keep: Callable[[Mapping[str, object]], None]) -> None:
    """Measure pixel and redirect; `keep` gets a record of each."""
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-bench-"))
    with _bare() as (bare, bare_pid), daemon(folder / "door", {"log": {"level": "warning"}}) as one:
        paths = asyncio.run(_sent(one))
        answered = 0
        for what, of in (("pixel", paths[0]), ("redirect", paths[1])):
            script = folder / f"{what}.lua"
            script.write_text(_script(of))
            _load(bare, bare_pid, script, 1)  # warm-ups that are not counted
            answered += _load(one.public, one.pid, script, 1).number
            ours, theirs = [], []
            for _ in range(options.pairs):
                theirs.append(_load(bare, bare_pid, script, options.seconds))
                ours.append(_load(one.public, one.pid, script, options.seconds))
            answered += sum(each.number for each in ours)
            keep(_summary(what, ours, theirs, options))
        keep(_afterwards(one, answered))


def _summary(
    what: str, ours: Sequence[Measured], theirs: Sequence[Measured], options: argparse.Namespace
) -> Mapping[str, object]:
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
    ratio = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    print(
        f"{what}: mailrelay {statistics.median(one.rate for one in ours):.0f}/s, p99"
        f" {statistics.median(one.p99 for one in ours):.1f} ms; a bare Starlette route"
        f" {statistics.median(one.rate for one in theirs):.0f}/s, p99 {statistics.median(one.p99 for one in theirs):.1f} ms;"
        f" ratio {ratio['median']:.2f}, from {ratio['min']:.2f} to {ratio['max']:.2f}; CPU a request"
        f" {statistics.median(one.cpu for one in ours):.0f} µs, {statistics.median(one.cpu for one in theirs):.0f} µs"
    )
    return {
        "what": f"public door: {what}",
        "options": {"pairs": options.pairs, "seconds": options.seconds, "connections": _CONNECTIONS},
        "mailrelay": [[round(one.rate), round(one.p99, 2), round(one.cpu)] for one in ours],
        "peer": [[round(one.rate), round(one.p99, 2), round(one.cpu)] for one in theirs],
        "ratio": {name: round(value, 2) for name, value in ratio.items()},
    }


def _afterwards(one: Daemon, answered: int) -> Mapping[str, object]:
    """That no hit is lost: each was received, and waits or was taken."""
    found = one.metrics()
    received = sum(value for name, value in found.items() if name.startswith("mailrelay_hits_received_total"))
    dropped = sum(value for name, value in found.items() if name.startswith("mailrelay_hits_dropped_total"))
    before = found["mailrelay_hits_waiting"]
    time.sleep(10)
    drained = (before - one.metrics()["mailrelay_hits_waiting"]) / 10
    print(
        f"answered {answered}, received {received:.0f}, dropped {dropped:.0f}; {before:.0f} wait, {drained:.0f}/s are taken"
    )
    # wrk breaks off what is under way at its end: these were answered, too.
    assert answered <= received, (answered, received)
    return {
        "what": "public door: afterwards",
        "answered": answered,
        "dropped": dropped,
        "waiting": before,
        "taken": drained,
    }


async def _sent(one: Daemon) -> tuple[list[str], list[str]]:
    """Paths of pixels and links of mail that went out."""
    clock, store = Clock(), SqliteStore(one.data / "mailrelay.db")
    try:
        whose = await tracked.house(store, clock)
        sent = await tracked.sent(store, clock, whose, number=_DELIVERIES, of_one_message=1)
    finally:
        await store.close()
    keys = Keys.derive((one.data / "secret").read_text().strip().encode())
    return [tracked.pixel(keys, of) for of in sent], [tracked.link(keys, of) for of in sent]


def _script(paths: Sequence[str]) -> str:
    """For wrk: one path after the other, as a browser asks."""
    listed = ",".join(f'"{path}"' for path in paths)
    return (
        f"local paths = {{{listed}}}\nlocal at = 0\n"
        f'wrk.headers["User-Agent"] = "{tracked.BROWSER}"\nwrk.headers["Accept"] = "*/*"\nwrk.headers["Host"] = "{tracked.HOST}"\n'
        "request = function()\n  at = at % #paths + 1\n  return wrk.format(nil, paths[at])\nend\n"
    )


def _load(port: int, pid: int, script: Path, seconds: float) -> Measured:
    command = [
        need("wrk"),
        "-t1",
        f"-c{_CONNECTIONS}",
        f"-d{seconds:g}s",
        "--latency",
        "-s",
        script,
        f"http://127.0.0.1:{port}",
    ]
    spent = _spent(pid)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = _spent(pid) - spent
    rate, p99, number = _RATE.search(said), _P99.search(said), _TOTAL.search(said)
    if failed := _FAILED.search(said):
        raise RuntimeError(failed[0])
    assert rate is not None, said
    assert p99 is not None, said
    assert number is not None, said
    return Measured(float(rate[1]), float(p99[1]) * _UNITS[p99[2]], int(number[1]), spent / int(number[1]) * 1e6)


def _spent(pid: int) -> float:
    """Seconds of CPU that a process has used: a busy machine takes no part of them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _bare() -> Iterator[tuple[int, int]]:
    """The bare route: its port and process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _BARE, str(port)])

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/o/x", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        until(answers, "the bare route answers")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)
