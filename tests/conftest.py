"""What holds for every test: no deadlines, as the machine is shared; a plain log; missing peers are counted at the end."""

from __future__ import annotations

import gc
import re

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
