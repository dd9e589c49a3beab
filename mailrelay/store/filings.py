"""What the rules said of a message, hits and misses, for each arrival of it (I9); and its whole journey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Executable, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import DeliveryId, MessageId, OrgId, QueueId
from mailrelay.model.decision import Decision, Disposition, Finding, Link
from mailrelay.model.delivery import Attempt, Delivery
from mailrelay.model.envelope import Arrival
from mailrelay.model.event import Event
from mailrelay.model.feedback import Feedback
from mailrelay.model.hit import Engagement
from mailrelay.model.message import Message
from mailrelay.store import arrivals, deliveries, events, feedback, hits, links, messages, rows, visibility
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.hits import AggregateCount
from mailrelay.store.messages import Source
from mailrelay.store.tables import filing
from mailrelay.store.visibility import Viewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """A decision as it was kept."""

    message: MessageId
    arrival: QueueId
    decided_at: datetime
    disposition: Disposition
    reason: str
    explanation: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """All that is known of a message: how it came, what the rules said, where it is, and what happened since."""

    message: Message
    sources: tuple[Source, ...]
    arrivals: tuple[Arrival, ...]
    filings: tuple[Filing, ...]
    links: tuple[Link, ...]
    """Removed ones included."""
    attached: tuple[MessageId, ...]
    """Other messages of the same arrivals: the mails attached to a forward, or the forward that carried this one (I22)."""
    deliveries: tuple[tuple[Delivery, tuple[Attempt, ...]], ...]
    feedback: tuple[Feedback, ...]
    """What it says itself of mail of ours, when it came back (I10)."""
    returned: tuple[Feedback, ...]
    """What came back about its deliveries."""
    engagements: Mapping[DeliveryId, Engagement]
    """What the opens and clicks of its deliveries come to (K1)."""
    counted: tuple[AggregateCount, ...]
    """What was counted of it, of nobody (O9)."""
    events: tuple[Event, ...]


def _put(insert: InsertInto) -> Executable:
    row = insert(filing)
    kept = ("decided_at", "disposition", "reason", "explanation", "findings")
    return row.on_conflict_do_update(
        index_elements=["message", "arrival"], set_={name: row.excluded[name] for name in kept}
    )


_PUT = for_both(_put)


def put(tx: Tx, org: OrgId, message: MessageId, arrival: QueueId, decision: Decision, *, at: datetime) -> None:
    """Keep what was decided for an arrival of a message, in place of what was decided for it before."""
    row = {
        "message": message,
        "arrival": arrival,
        "org": org,
        "decided_at": to_micros(at),
        "disposition": decision.disposition,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "findings": rows.encode(decision.findings),
    }
    tx.execute(_PUT[tx.dialect], row)


def of_message(tx: Tx, org: OrgId, message: MessageId) -> tuple[Filing, ...]:
    """Every decision on a message, first to last."""
    found = (
        select(filing)
        .where(filing.c.message == message, filing.c.org == org)
        .order_by(filing.c.decided_at, filing.c.arrival)
    )
    return tuple(
        Filing(
            message=MessageId(row.message),
            arrival=QueueId(row.arrival),
            decided_at=from_micros(row.decided_at),
            disposition=Disposition(row.disposition),
            reason=row.reason,
            explanation=row.explanation,
            findings=rows.decode(tuple[Finding, ...], row.findings),
        )
        for row in tx.execute(found)
    )


def is_filed(tx: Tx, org: OrgId, message: MessageId) -> bool:
    """Whether some arrival of the message was filed, and not only held or dropped."""
    found = select(filing.c.message).where(
        filing.c.message == message, filing.c.org == org, filing.c.disposition == Disposition.FILE
    )
    return tx.execute(found.limit(1)).first() is not None


def journey(tx: Tx, viewer: Viewer, id: MessageId) -> Journey:  # noqa: A002
    """The journey of a message that the viewer may see: what of it they may see. Raises Unknown.

    Who only received a mail is not told how it went with its author, or with others who received it: to whom it went in secret.
    """
    org = viewer.org
    (message,) = messages.as_seen(tx, viewer, [messages.get(tx, org, id)])
    sources = messages.sources(tx, org, id, viewer=viewer)
    hidden = {one.arrival for one in messages.sources(tx, org, id)} - {one.arrival for one in sources}
    came = [arrivals.get(tx, source.arrival) for source in sources]
    sent = deliveries.of_message(tx, org, id, viewer=viewer)
    seen = {one.id for one in sent}
    beside = {other for source in sources for other in messages.of_arrival(tx, org, source.arrival)} - {id}
    return Journey(
        message=message,
        sources=sources,
        arrivals=tuple(arrival for arrival in came if arrival is not None),
        filings=tuple(_told(tx, viewer, [one for one in of_message(tx, org, id) if one.arrival not in hidden])),
        links=links.visible(tx, viewer, id),
        attached=tuple(sorted(visibility.of_these(tx, viewer, beside))),
        deliveries=tuple((delivery, deliveries.history(tx, delivery.id)) for delivery in sent),
        feedback=feedback.of_message(tx, org, id),
        returned=feedback.of_deliveries(tx, org, [delivery.id for delivery in sent]) if sent else (),
        engagements={one: done for one, done in hits.engagements(tx, org, id).items() if one in seen} if sent else {},
        counted=tuple(hits.counted(tx, org, id)) if sent else (),
        events=tuple(events.of_message(tx, org, id, viewer=viewer)),
    )


def _told(tx: Tx, viewer: Viewer, found: Sequence[Filing]) -> Iterator[Filing]:
    """Decisions without the findings that the viewer must not know of."""
    known = visibility.known(tx, viewer, {one.secret for each in found for one in each.findings} - {""})
    for each in found:
        yield replace(each, findings=tuple(one for one in each.findings if not one.secret or one.secret in known))
