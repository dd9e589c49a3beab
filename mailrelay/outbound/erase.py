"""Erasing a person, from the first piece to the last: what is stored, what still waits to be, and the journal (T13)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.ids import OrgId
from mailrelay.outbound.hits import Hits
from mailrelay.store import erasures, events
from mailrelay.store.base import Store, Tx
from mailrelay.store.erasures import Begun, Staying

_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What went, and what stays."""

    at: datetime
    begun: Begun
    hits: int
    events: int
    stays: Staying


async def erase(store: Store, clock: Clock, hits: Hits, org: OrgId, key: str, *, begun: Begun, by: str) -> Erased:
    """Go on with erasing the person of an address (by key), which `begun` says has begun.

    Each piece is durable by itself; after an error, or a crash, the whole is to be asked for again, and does what is left.
    Raises OSError, Unavailable.
    """
    gone = emptied = 0
    after = ""
    while True:
        piece = await store.write(erasures.forget_deliveries, org, key, after=after)
        if not piece.after:
            break
        after, gone, emptied = piece.after, gone + piece.hits, emptied + piece.events
    gone += await hits.forget_erased()
    upto = 0
    newest = await store.read(events.newest, org)
    while upto < newest:
        upto, changed = await store.write(erasures.forget_events, org, key, after=upto)
        emptied += changed
    at = clock.now()

    def end(tx: Tx) -> Staying:
        tx.afterwards(partial(_logger.info, "person.erased", org=org, hits=gone, events=emptied, by=by))
        tx.afterwards(metrics.persons_erased.inc)
        return erasures.end(tx, org, key, at=at, by=by)

    return Erased(at=at, begun=begun, hits=gone, events=emptied, stays=await store.write(end))
