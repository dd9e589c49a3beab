"""An automatic reply says that somebody is away or gone: noted on the address, told, and a successor proposed (I25)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from mailrelay.filing import gather
from mailrelay.ids import IdFactory, MessageId, OrgId
from mailrelay.mail.away import Away
from mailrelay.model.absence import Absence, Instead
from mailrelay.model.address import Address
from mailrelay.model.decision import HoldReason
from mailrelay.model.envelope import Arrival
from mailrelay.model.event import EventType
from mailrelay.rules import domains
from mailrelay.store import absences, events, matches, organisations, people, unresolved
from mailrelay.store.base import Tx
from mailrelay.store.matches import Match
from mailrelay.store.unresolved import Unresolved


def note(
    tx: Tx,
    *,
    org: OrgId,
    sender: Address,
    away: Away,
    message: MessageId,
    arrival: Arrival,
    ids: IdFactory,
    at: datetime,
    zone: ZoneInfo,
) -> bool:
    """Keep what the automatic reply `message` of `sender` says; whether that is news, and then an event says so.

    `zone` is the organisation's: a day begins at its midnight. For who is gone each successor that the reply names, and that is
    neither known nor a colleague, is put on the unresolved list, once for ever. `message` is stored already.
    """
    new = Absence(
        org=org,
        key=sender.key,
        until=_begin(away.until, zone),
        since=_begin(away.since, zone),
        gone=away.gone,
        noted_at=at,
        message=message,
        instead=away.instead,
    )
    if not absences.note(tx, new):
        return False
    data = {
        "address": sender.key,
        "until": "" if new.until is None else str(away.until),
        "since": "" if new.since is None else str(away.since),
        "instead": ", ".join(map(str, away.instead)),
    }
    events.append(
        tx,
        org=org,
        at=at,
        type=EventType.ADDRESS_GONE if away.gone else EventType.ADDRESS_AWAY,
        queue_id=arrival.id,
        message=message,
        data={name: value for name, value in data.items() if value},
    )
    if away.gone:
        _propose(tx, org, sender, away.instead, message=message, arrival=arrival, ids=ids, at=at)
    return True


def _begin(day: date | None, zone: ZoneInfo) -> datetime | None:
    """Midnight of a day in `zone`; where a clock change leaves it out, the moment that would have been it."""
    return None if day is None else datetime.combine(day, time(), zone).astimezone(UTC)


def _propose(
    tx: Tx,
    org: OrgId,
    gone: Address,
    instead: Sequence[Instead],
    *,
    message: MessageId,
    arrival: Arrival,
    ids: IdFactory,
    at: datetime,
) -> None:
    old = next(iter(matches.by_addresses(tx, org, [gone.key], limit=1)), None)
    for one in _strangers(tx, org, instead):
        entry = Unresolved(
            id=ids.unresolved(),
            org=org,
            arrival=arrival.id,
            message=message,
            user=gather.user_of(arrival) or (None if old is None else old.owner),
            reason=HoldReason.GONE,
            explanation=_explained(gone, old, one),
            since=at,
        )
        if absences.propose(tx, org, gone.key, one, entry.id):
            unresolved.add(tx, entry)


def _strangers(tx: Tx, org: OrgId, instead: Sequence[Instead]) -> Iterator[Instead]:
    """Those of whom there is no record, and who are no colleagues."""
    keys = [one.address.key for one in instead]
    known = {hit.key for hit in matches.by_addresses(tx, org, keys)}
    known |= {address.key for user in people.by_addresses(tx, org, keys) for address in user.addresses}
    own = organisations.get(tx, org).domains
    return (one for one in instead if one.address.key not in known and not domains.covering(one.address.domain, own))


def _explained(gone: Address, old: Match | None, one: Instead) -> str:
    who = old.name if old is not None and old.name else str(gone)
    return f"{who} is no longer at {gone.domain}; write to {one}?"
