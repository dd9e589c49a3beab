"""`make bench`: accept-and-file and submit-and-deliver, each beside Postfix in the same run, alternating, medians of pairs;
and mail that came back, judged beside flufl.bounce.

    python -m bench [--pairs 5] [--mails 1000] [--sessions 20] [--size 2000] [--corpus FOLDER] [accept] [submit] [bounces]

Rates are mails a second from the first byte to the last mail filed or delivered. Postfix relays the same mails from the same
client to the same smtp-sink, without signing; mailrelay's figure for `submit` holds TLS, AUTH and both DKIM signatures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import bounces, control, find, load, queue, track
from tests.support.daemon import Daemon, daemon, until
from tests.support.peers import need
from tests.support.postfix import Postfix, free_port, postfix

RESULTS = Path(__file__).parent / "results"
_LOOK = 0.25
"""Seconds between looks at what is done: writing the metrics page costs the daemon, and so the figure."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: mails a second until all were through, the 99th percentile of dot-to-250, and CPU a mail (0: not known), in ms."""

    rate: float
    p99: float
    cpu: float = 0.0


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """An smtp-sink; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [need("smtp-sink"), "-u", "postfix", f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.3)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def run(
    send: Callable[[], load.Result], done: Callable[[], float], mails: int, *, what: str, pid: int | None = None
) -> Measured:
    """Send, wait until `done()` has grown by the number of mails, and say how fast that was, and what it cost `pid`."""
    before = done()
    began, spent = time.perf_counter(), _spent(pid)
    result = send()
    until(lambda: done() >= before + mails, what, seconds=300, pause=_LOOK)
    rate = mails / (time.perf_counter() - began)
    return Measured(rate, result.percentile(0.99) * 1000, (_spent(pid) - spent) / mails * 1000)


def _spent(pid: int | None) -> float:
    """Seconds of CPU that a process has used."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peer(server: Postfix, mails: Sequence[load.Mail], sessions: int) -> Measured:
    """Postfix relays the mails to the sink."""
    return run(
        lambda: asyncio.run(load.send(server.port, mails, sessions=sessions)),
        lambda: server.log.count(": removed"),
        len(mails),
        what="Postfix has relayed everything",
    )


class Accept:
    """A dropbox mail: accepted durably, matched among 10,000 records, linked."""

    name = "accept and file"

    def __init__(self, relay: Daemon, options: argparse.Namespace) -> None:
        self._relay = relay
        self._options = options
        self._number = 0
        user = relay.cli("user", "list")["items"][0]
        self._sender = user["primary"]
        self._dropbox = relay.cli("dropbox", "regenerate", user["id"])["address"]
        records = relay.folder / "records.csv"
        rows = (f"contact,bench-{n},Person {n},person{n}@customer.example\n" for n in range(10_000))
        records.write_text("module,id,name,email\n" + "".join(rows))
        relay.cli("record", "import", str(records))

    def mails(self) -> list[load.Mail]:
        """The next lot."""
        lot = []
        for _ in range(self._options.mails):
            self._number += 1
            lot.append(
                load.mail(
                    self._number,
                    mail_from=self._sender,
                    rcpt_to=self._dropbox,
                    to=f"person{self._number % 10_000}@customer.example",
                    size=self._options.size,
                )
            )
        return lot

    def ours(self, mails: Sequence[load.Mail]) -> Measured:
        """mailrelay."""
        return run(
            lambda: asyncio.run(load.send(self._relay.edge, mails, sessions=self._options.sessions)),
            lambda: self._relay.metrics()['mailrelay_filing_arrivals_total{outcome="filed"}'],
            len(mails),
            what="mailrelay has filed everything",
            pid=self._relay.pid,
        )


class Submit:
    """A submission: TLS, AUTH, queued durably, own return path, signed RSA-2048 and Ed25519, delivered."""

    name = "submit and deliver"

    def __init__(self, relay: Daemon, options: argparse.Namespace) -> None:
        self._relay = relay
        self._options = options
        self._number = 0
        user = relay.cli("user", "list")["items"][0]
        self._sender = user["primary"]
        self._login = (self._sender, "bench-password-1")
        relay.cli("user", "password", user["id"], "--password", self._login[1])
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def mails(self) -> list[load.Mail]:
        """The next lot."""
        lot = []
        for _ in range(self._options.mails):
            self._number += 1
            to = f"person{self._number}@customer.example"
            lot.append(load.mail(self._number, mail_from=self._sender, rcpt_to=to, to=to, size=self._options.size))
        return lot

    def ours(self, mails: Sequence[load.Mail]) -> Measured:
        """mailrelay."""
        return run(
            lambda: asyncio.run(
                load.send(
                    self._relay.submissions, mails, sessions=self._options.sessions, login=self._login, tls=self._tls
                )
            ),
            lambda: self._relay.metrics()['mailrelay_delivery_ends_total{state="sent"}'],
            len(mails),
            what="mailrelay has delivered everything",
            pid=self._relay.pid,
        )


def main() -> None:
    """Run the benchmarks and keep their raw data."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "what",
        nargs="*",
        choices=["accept", "submit", "bounces", "control", "queue", "find", "track", []],
        help="the first three when not said",
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="control, queue: deliveries in the queue; find: messages"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="track: of each run")
    parser.add_argument("--corpus", type=Path, help="bounces: the mails in this folder, in place of our own")
    options = parser.parse_args()
    if "bounces" in options.what or not options.what:
        measured = bounces.run(options)
        if not options.corpus:  # what somebody else cannot repeat is no result
            _keep("bounces.ndjson", measured)
    if "control" in options.what:
        control.run(options, lambda record: _keep("control.ndjson", record))
    if "track" in options.what:
        track.run(options, lambda record: _keep("track.ndjson", record))
    if "find" in options.what:
        for record in find.run(options):
            _keep("find.ndjson", record)
    if "queue" in options.what:
        for record in queue.run(options):
            print(record)
            _keep("queue.ndjson", record)
    beside = [name for name in options.what if name in ("accept", "submit")] if options.what else ["accept", "submit"]
    if beside:
        options.what = beside
        _beside_postfix(options)


def _beside_postfix(options: argparse.Namespace) -> None:
    kinds: dict[str, type[Accept | Submit]] = {"accept": Accept, "submit": Submit}
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-bench-"))
    try:
        with sink() as next_hop, postfix(_tuned(next_hop)) as server:
            for name in options.what:
                settings = {
                    "delivery": {
                        "route": "smart_host",
                        "smart_host": {"host": "127.0.0.1", "port": next_hop, "tls": "never"},
                        "allow_private": True,
                        "connections_per_destination": options.sessions,
                    },
                    "log": {"level": "warning"},
                    "submission": {"quotas": False},
                }
                with daemon(folder / name, settings) as relay:
                    _compare(kinds[name](relay, options), server, options)
    finally:
        shutil.rmtree(folder)


def _tuned(next_hop: int) -> dict[str, str]:
    return {
        "relayhost": f"[127.0.0.1]:{next_hop}",
        "default_process_limit": "100",
        "default_destination_concurrency_limit": "20",
        "smtp_connection_cache_on_demand": "yes",
        "smtp_connection_cache_destinations": "127.0.0.1",
        "smtpd_client_connection_rate_limit": "0",
        "queue_run_delay": "300s",
    }


def _compare(bench: Accept | Submit, server: Postfix, options: argparse.Namespace) -> None:
    ours: list[Measured] = []
    theirs: list[Measured] = []
    bench.ours(bench.mails())  # a warm-up that is not counted
    peer(server, bench.mails(), options.sessions)
    for _ in range(options.pairs):
        lot = bench.mails()
        ours.append(bench.ours(lot))
        theirs.append(peer(server, lot, options.sessions))
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
    summary = {
        "what": bench.name,
        "postfix": _postfix_version(),
        "options": {name: getattr(options, name) for name in ("pairs", "mails", "sessions", "size")},
        "mailrelay": [[round(one.rate, 1), round(one.p99, 2), round(one.cpu, 2)] for one in ours],
        "peer": [[round(one.rate, 1), round(one.p99, 2)] for one in theirs],
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "min": round(min(ratios), 2),
            "max": round(max(ratios), 2),
        },
    }
    _keep("first.ndjson", summary)
    print(
        f"{bench.name}: mailrelay {statistics.median(one.rate for one in ours):.0f}/s, "
        f"Postfix {statistics.median(one.rate for one in theirs):.0f}/s, ratio {summary['ratio']}; "
        f"CPU {statistics.median(one.cpu for one in ours):.1f} ms a mail; "
        f"p99 dot to 250: {statistics.median(one.p99 for one in ours):.1f} ms, "
        f"Postfix {statistics.median(one.p99 for one in theirs):.1f} ms"
    )


def _keep(name: str, summary: Mapping[str, object]) -> None:
    """Add a line to a file of results: what was measured, and by which command."""
    RESULTS.mkdir(exist_ok=True)
    line = {
        "what": summary["what"],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "bench", *sys.argv[1:]]),
        "python": platform.python_version(),
        **summary,
    }
    with (RESULTS / name).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _postfix_version() -> str:
    done = subprocess.run([need("postconf"), "-d", "-h", "mail_version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
