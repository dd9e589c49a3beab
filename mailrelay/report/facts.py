"""Keeps up with the journal, so that records are found by what became of their mail (K2): `store.mail_facts` made as it grows.

Every node may run it: each batch of events is claimed in the transaction that makes its facts, and is made once.
"""

from __future__ import annotations

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Unavailable
from mailrelay.ids import OrgId
from mailrelay.service import Stopping
from mailrelay.store import followers, mail_facts, modules, organisations, record_fields
from mailrelay.store.base import Bell, Store, Tx
from mailrelay.store.mail_facts import FOLLOWER

FIELDS = "record-fields"
"""Of the follower that stands at 1 once the fields of an organisation's records from before there were any are read."""
_PAUSE = 0.05
"""Seconds between looks, so that what happens at once is taken into account at once."""
_MOST_ORGANISATIONS = 200
_logger = log.get(service="facts")


class FactKeeper:
    """The service "facts"."""

    name = "facts"

    def __init__(self, store: Store, clock: Clock, stopping: Stopping, *, poll: float = 1.0) -> None:
        """`poll` seconds between looks where no bell rings: other processes write as well."""
        self._store = store
        self._clock = clock
        self._stopping = stopping
        self._poll = poll

    async def run(self) -> None:
        """Work until stopping is set. Raises Fatal."""
        await self._read_fields()
        with self._store.bells.listening(Bell.EVENTS) as bell:
            while not self._stopping.is_set():
                await self.look()
                await self._stopping.wait(_PAUSE)
                await bell.heard(timeout=self._poll)

    async def look(self) -> None:
        """Take all into account that has happened by now, unless a stop is asked for. Raises Fatal."""
        try:
            for org in await self._store.read(_to_do):
                while not self._stopping.is_set():
                    began = self._clock.monotonic()
                    progress = await self._store.write(mail_facts.follow, org)
                    metrics.fact_events.inc(progress.events)
                    metrics.fact_seconds.observe(self._clock.monotonic() - began)
                    if not progress.left:
                        break
            metrics.fact_lag.set(await self._store.read(mail_facts.behind_by))
        except Unavailable as error:
            _logger.warning("facts.delayed", reason=str(error))

    async def _read_fields(self) -> None:
        """Read the fields of records that an earlier release kept, once."""
        try:
            for org in await self._store.read(_fields_unread):
                for module in await self._store.read(modules.list_modules, org):
                    after: str | None = ""
                    while after is not None and not self._stopping.is_set():
                        after = await self._store.write(record_fields.made_again, org, module, after=after)
                if not self._stopping.is_set():
                    await self._store.write(followers.advance, FIELDS, org, 1)
        except Unavailable as error:
            _logger.warning("facts.delayed", reason=str(error))


def _to_do(tx: Tx) -> list[OrgId]:
    behind = followers.behind(tx, FOLLOWER, limit=_MOST_ORGANISATIONS)
    return list(dict.fromkeys((*behind, *mail_facts.unfinished(tx, limit=_MOST_ORGANISATIONS))))


def _fields_unread(tx: Tx) -> list[OrgId]:
    return [one.id for one in organisations.list_organisations(tx) if not followers.position(tx, FIELDS, one.id)]
