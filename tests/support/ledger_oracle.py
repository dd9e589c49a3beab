"""The oracle of loss: what the client was told, what the sink took and what the store says must agree, mail by mail.

Acknowledged: filed once and, where it goes out, at the sink at least once. Refused: nowhere. Unknown (the answer never came):
either, but never twice in the store. A second copy at the sink is allowed for each attempt that was cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Select, func, select
from sqlalchemy.exc import DatabaseError

from mailrelay.blob.folder import FolderBlobs
from mailrelay.errors import StoreDamaged
from mailrelay.filing.bodies import Bodies, BodyMissing
from mailrelay.ids import Digest
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import IN_FLIGHT_ARRIVALS, ArrivalState, Channel
from mailrelay.model.message import BlobRef
from mailrelay.store.base import Tx
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import arrival, attempt, created_address, delivery, link, message, message_source, record
from mailrelay.upkeep.ledger import Audit, audit
from tests.support.sink import Sink


class Said(StrEnum):
    """What a client knows of a mail that it sent."""

    ACK = "ack"
    NACK = "nack"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sent:
    """One mail of a client, each to a correspondent of its own."""

    id: str
    """Message-ID."""
    channel: Channel
    correspondent: str
    said: Said
    answer: str = ""


@dataclass(slots=True)
class Ledger:
    """What the client writes down."""

    mails: list[Sent] = field(default_factory=list)

    def note(self, mail: Sent) -> None:
        self.mails.append(mail)

    def count(self, said: Said, channel: Channel | None = None) -> int:
        """How many were answered so."""
        return sum(1 for one in self.mails if one.said is said and channel in (None, one.channel))


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the store of a stopped daemon says; by Message-ID, or by address."""

    messages: Counter[str]
    arrivals: Counter[str]
    """Message-ID → arrivals that it came by."""
    links: Counter[str]
    records: Counter[str]
    """Address → records that were made for it."""
    states: Mapping[tuple[str, str], str]
    """(Message-ID, recipient) → state of the delivery."""
    cut_off: Counter[tuple[str, str]]
    """(Message-ID, recipient) → attempts whose end nobody knew."""
    waiting: int
    """Arrivals that are not filed yet."""
    in_flight: int
    """Deliveries that have not ended."""
    audit: Audit


async def read_books(data: Path) -> Books:
    """Read everything out of a data folder that no daemon uses."""
    store = SqliteStore(data / "mailrelay.db")
    try:
        found = await audit(store, Bodies(store, FolderBlobs(data / "blobs"), small_body=65_536))
        return await store.read(_books, found)
    finally:
        await store.close()


async def kept_messages(data: Path) -> Counter[str]:
    """Message-ID → how many mails in a data folder bear it, filed or not, with whole bytes. Empty when there is no store at all."""
    if not (data / "mailrelay.db").exists():
        return Counter()
    store = SqliteStore(data / "mailrelay.db")
    bodies = Bodies(store, FolderBlobs(data / "blobs"), small_body=65_536)
    try:
        kept = Counter[str]()
        for digest, size in await store.read(_accepted_bytes):
            with suppress(BodyMissing, StoreDamaged):
                raw = await bodies.read(BlobRef(digest=Digest(digest), size=size))
                kept[HeaderBlock.parse(raw).all("Message-ID")[0].strip("<>")] += 1
        return kept
    except (DatabaseError, StoreDamaged):
        return Counter()
    finally:
        await store.close()


def _accepted_bytes(tx: Tx) -> list[tuple[str, int]]:
    return [(row[0], row[1]) for row in tx.execute(select(arrival.c.digest, arrival.c.size))]


def _books(tx: Tx, found: Audit) -> Books:
    def counted(statement: Select[tuple[str, int]]) -> Counter[str]:
        return Counter({row[0]: row[1] for row in tx.execute(statement)})

    out = select(message.c.message_id, delivery.c.recipient_key, delivery.c.state).join_from(
        delivery, message, message.c.id == delivery.c.message
    )
    tries = select(message.c.message_id, delivery.c.recipient_key, attempt.c.outcome).select_from(
        delivery.join(message, message.c.id == delivery.c.message).join(attempt, attempt.c.delivery == delivery.c.id)
    )
    states = {(row[0], row[1]): str(row[2]) for row in tx.execute(out)}
    waiting = select(func.count()).where(arrival.c.state.in_((ArrivalState.ACCEPTED, ArrivalState.WORKING)))
    assert ArrivalState.UNRESOLVED in IN_FLIGHT_ARRIVALS
    return Books(
        messages=counted(select(message.c.message_id, func.count()).group_by(message.c.message_id)),
        arrivals=counted(
            select(message.c.message_id, func.count())
            .join_from(message, message_source, message_source.c.message == message.c.id)
            .group_by(message.c.message_id)
        ),
        links=counted(
            select(message.c.message_id, func.count())
            .join_from(message, link, link.c.message == message.c.id)
            .group_by(message.c.message_id)
        ),
        records=counted(
            select(created_address.c.key, func.count())
            .join_from(
                created_address,
                record,
                (record.c.module == created_address.c.module) & (record.c.id == created_address.c.record),
            )
            .group_by(created_address.c.key)
        ),
        states=states,
        cut_off=Counter((row[0], row[1]) for row in tx.execute(tries) if _is_cut_off(row[2])),
        waiting=tx.execute(waiting).scalar_one(),
        in_flight=sum(1 for state in states.values() if state in (DeliveryState.QUEUED, DeliveryState.SENDING)),
        audit=found,
    )


def _is_cut_off(outcome: Mapping[str, object] | None) -> bool:
    """Whether the remote may have taken the mail without our knowing."""
    return outcome is None or "interrupted" in str(outcome).lower()


def problems(mails: Iterable[Sent], books: Books, sink: Sink | None) -> list[str]:
    """Every mail that is lost, doubled or there although it was refused; and where the books do not balance."""
    found = [f"the books are off: {one}" for one in books.audit.balances if one.unaccounted]
    found += [f"audit: {one.id} ({one.channel}) {one.what}" for one in books.audit.discrepancies]
    if books.waiting:
        found.append(f"{books.waiting} arrivals are not filed")
    known = set()
    for one in mails:
        known.add(one.id)
        found += [f"{one.id} ({one.channel}, {one.said}): {what}" for what in _of_one(one, books, sink)]
    if sink is not None:
        found += [f"{id_}: at the sink, and nobody sent it" for id_, _ in sink.copies if id_ not in known]
    found += [f"{id_}: stored, and nobody sent it" for id_ in books.messages if id_ not in known]
    return found


def _of_one(mail: Sent, books: Books, sink: Sink | None) -> Iterable[str]:
    least, most = {Said.ACK: (1, 1), Said.NACK: (0, 0), Said.UNKNOWN: (0, 1)}[mail.said]
    for what, number in (
        ("messages", books.messages[mail.id]),
        ("arrivals", books.arrivals[mail.id]),
        ("links", books.links[mail.id]),
        ("records", books.records[mail.correspondent]),
    ):
        if not least <= number <= most:
            yield f"{number} {what}"
    if mail.channel is Channel.DROPBOX or sink is None:
        return
    place = (mail.id, mail.correspondent)
    copies, state = sink.copies[place], books.states.get(place, "")
    if state and state != DeliveryState.SENT:
        yield f"its delivery is {state}"
    if copies < (1 if state else least):
        yield "never came to the sink"
    if copies and not most:
        yield "came to the sink"
    if copies - 1 > books.cut_off[place]:
        yield f"came {copies} times, and {books.cut_off[place]} attempts were cut off"
    if len(sink.contents.get(mail.id, ())) > 1:
        yield "came with different content"


def check(ledger: Ledger, books: Books, sink: Sink | None) -> None:
    """Raises AssertionError that names every fault."""
    found = problems(ledger.mails, books, sink)
    assert not found, f"{len(found)} faults:\n" + "\n".join(found[:40])
