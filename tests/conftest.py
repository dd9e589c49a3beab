"""What holds for every test: no deadlines, as the machine is shared; a plain log; missing peers are counted at the end.

A missing tool skips its test, and fails it under CI=true; a privilege that a machine does not give (mounts, namespaces, cgroups) skips
it in any case, named and counted.
"""

from __future__ import annotations

import gc
import os
import re
from itertools import chain, groupby, islice
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("mailrelay", deadline=None)
settings.load_profile("mailrelay")

# A traceback as a picture, which is structlog's own way, takes seconds to draw: longer than most tests wait.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

_MISSING = re.compile(r"([\w.-]+) is missing: ([^'\n]+)")
_TESTS = Path(__file__).parent
_LONG = {"crash", "e2e", "faults", "fuzz"}
"""Folders of tests that take seconds each, as they start programs and wait for them."""


@pytest.hookimpl(trylast=True)  # when it is known which tests are left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that take long run first, so that at the end no worker waits for another.

    Each is given one stretch of the list to begin with, and others take over what is left at the end of it. Half of them begin with
    what takes long: were it all of them, the machine would be too busy for those that wait.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    half = (workers + 1) // 2
    files = [(path, list(tests)) for path, tests in groupby(items, key=lambda item: item.path)]
    long = [tests for path, tests in files if _is_long(path)]
    short = iter([test for path, tests in files if not _is_long(path) for test in tests])
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        if worker < half:
            dealt += chain(*long[worker::half])
        dealt += islice(short, max(0, len(items) * (worker + 1) // workers - len(dealt)))
    items[:] = [*dealt, *short]


def _is_long(path: Path) -> bool:
    return path.relative_to(_TESTS).parts[0] in _LONG


def pytest_collection_finish() -> None:
    """Thousands of collected tests are no garbage: without them a collection costs milliseconds, not half a second."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what tests went without (tests.support.peers.need), how many tests that were, and where it is to be had."""
    tests: dict[tuple[str, str], int] = {}
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if found := _MISSING.search(report.longreprtext if outcome != "skipped" else str(report.longrepr)):
                peer, remedy = found[1], found[2]
                tests[peer, remedy] = tests.get((peer, remedy), 0) + 1
    if tests:
        terminalreporter.section("Missing peers")
        for (peer, remedy), number in sorted(tests.items()):
            terminalreporter.line(f"{peer} ({number} tests): {remedy}")
