"""`python -m bench bounces`: how fast mail that came back is parsed and judged on one core, beside flufl.bounce.

Both are given the same bytes in the same process, in turn; each mail's own time is the CPU of this thread, the least of all
pairs, so that a busy neighbour does not count.
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

from flufl.bounce import all_failures

from bench import returned
from mailrelay.mail import bounce, message


@dataclass(slots=True)
class Judge:
    """A program that reads mail that came back: its rates by run, the least seconds of each mail, and how many it recognised."""

    name: str
    read: Callable[[bytes], bool]
    rates: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    recognised: int = 0

    def run(self, mails: Sequence[bytes]) -> None:
        """Read them all once."""
        self.recognised = 0
        seconds = []
        for raw in mails:
            began = time.thread_time()
            found = self.read(raw)
            seconds.append(time.thread_time() - began)
            self.recognised += found
        self.rates.append(len(mails) / sum(seconds))
        self.least = [min(pair) for pair in zip(self.least or seconds, seconds, strict=True)]


def _ours(raw: bytes) -> bool:
    return bounce.classify(message.parse(raw), envelope_from_null=True) is not None


def _flufl(raw: bytes) -> bool:
    try:
        return any(all_failures(message_from_bytes(raw)))
    except Exception:  # some mails are more than it bears; that is its answer
        return False


def run(options: argparse.Namespace) -> dict[str, object]:
    """Measure, print, and return what is to be kept."""
    logging.getLogger("flufl.bounce").disabled = True  # it writes a traceback for each mail that it cannot bear
    mails = list(_given(options.corpus) if options.corpus else returned.mails(options.mails))
    ours, theirs = Judge("mailrelay", _ours), Judge("flufl.bounce", _flufl)
    for read in (_ours, _flufl):
        Judge("warm-up", read).run(mails[:200])
    gc.collect()
    gc.freeze()
    for _ in range(options.pairs):
        ours.run(mails)
        theirs.run(mails)
    ratios = [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]
    for judge in (ours, theirs):
        print(
            f"{judge.name}: {statistics.median(judge.rates):.0f} mails/s, slowest {max(judge.least) * 1000:.1f} ms, "
            f"{judge.recognised} of {len(mails)} recognised"
        )
    ratio = {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)}
    print(f"ratio {ratio}")
    return {
        "what": "parse and judge mail that came back",
        "flufl.bounce": version("flufl.bounce"),
        "options": {"pairs": options.pairs, "mails": len(mails), "corpus": bool(options.corpus)},
        "kilobytes": round(sum(map(len, mails)) / len(mails) / 1024, 1),
        "mailrelay": [round(rate, 1) for rate in ours.rates],
        "peer": [round(rate, 1) for rate in theirs.rates],
        "slowest_ms": {judge.name: round(max(judge.least) * 1000, 2) for judge in (ours, theirs)},
        "recognised": {judge.name: judge.recognised for judge in (ours, theirs)},
        "ratio": ratio,
    }


def _given(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
