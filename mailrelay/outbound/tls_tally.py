"""Counts how the TLS of sessions went, in memory, and writes the counts down together every few seconds (RFC 8460).

A crash loses the seconds that were not yet written: a report need not be exact, and no mail waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.model.tls_report import TlsCount, TlsResult
from mailrelay.smtp.escape import escape
from mailrelay.store import tls_reports
from mailrelay.store.base import Store

_MAX_KINDS = 20_000
"""Kinds of session between two writes; beyond them only policy and result are told apart, and beyond twice as many nothing."""
_AT_ONCE = 200
_MAX_TEXT = 200
_MAX_STRINGS = 20
_MAX_STRING = 600
_logger = log.get()


class TlsTally:
    """A `TlsWitness` for the life of the process; `flush` is called by its service."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._sessions: Counter[tuple[int, TlsResult]] = Counter()
        self._lost = 0

    def saw(self, result: TlsResult) -> None:
        """See `TlsWitness.saw`."""
        metrics.tls_sessions.labels(result.policy.type, result.result).inc()
        if not result.destination or result.destination.startswith("["):
            return  # an address has no owner who publishes records
        day = tls_reports.day_of(self._clock.now())
        key = (day, _bounded(result))
        if key not in self._sessions and len(self._sessions) >= _MAX_KINDS:
            key = (day, tls_reports.without_particulars(result))
            if key not in self._sessions and len(self._sessions) >= 2 * _MAX_KINDS:
                self._lost += 1
                return
        self._sessions[key] += 1

    async def flush(self) -> None:
        """Write down what was counted. What the store does not take now stays for the next time. Raises Fatal."""
        if self._lost:
            _logger.warning("tls-count.lost", sessions=self._lost, reason="too many kinds of session at once")
            self._lost = 0
        while self._sessions:
            some = [
                TlsCount(day=day, result=result, sessions=sessions)
                for (day, result), sessions in islice(self._sessions.items(), _AT_ONCE)
            ]
            self._take(some, 1)
            try:
                await self._store.write(tls_reports.count, some)
            except Unavailable:
                self._take(some, -1)
                return
            except BaseException:
                self._take(some, -1)
                raise

    def _take(self, some: Sequence[TlsCount], sign: int) -> None:
        """Out of the counter before the write, since sessions go on meanwhile; back into it when it failed."""
        for one in some:
            key = (one.day, one.result)
            self._sessions[key] -= sign * one.sessions
            if not self._sessions[key]:
                del self._sessions[key]


def _bounded(result: TlsResult) -> TlsResult:
    """The result with strangers' words made harmless and short."""
    strings = tuple(escape(one)[:_MAX_STRING] for one in result.policy.strings[:_MAX_STRINGS])
    patterns = tuple(escape(one)[:_MAX_TEXT] for one in result.policy.mx_patterns[:_MAX_STRINGS])
    return replace(
        result,
        policy=replace(result.policy, strings=strings, mx_patterns=patterns),
        mx_host=escape(result.mx_host)[:_MAX_TEXT],
        helo=escape(result.helo)[:_MAX_TEXT],
        detail=escape(result.detail)[:_MAX_TEXT],
    )
