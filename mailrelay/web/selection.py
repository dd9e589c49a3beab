"""Which deliveries a request is about: the same words in the query of a list and in the body of an operation (R3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field, PlainValidator, StringConstraints, WithJsonSchema

from mailrelay.clock import Clock
from mailrelay.errors import Invalid
from mailrelay.ids import DeliveryId, MessageId, QueueId
from mailrelay.model.delivery import DeliveryState, DeliveryStatus
from mailrelay.model.operation import Selection
from mailrelay.outbound.policy.schedule import read_at
from mailrelay.smtp.address import BadAddress, parse_address, parse_domain
from mailrelay.store.selection_ways import NOBODY
from mailrelay.web.application import App
from mailrelay.web.shape import Given, Shown, span

_MOST_DELIVERIES = 1000
_SENDER = "Envelope sender: an address, a domain for all of its addresses, or <> for none."
_DESTINATION = "The recipient's domain."
_HELD_BY = (
    "What holds them: hand, poison, unconfirmed, or a suspension: job:spring, domain:acme.example, "
    "destination:example.com, source:one."
)
_STATUS = "Like state, but queued are those never tried, deferred the others."
_OLDER = "Queued longer ago than this (2h, 3d), or before this day or time; without an offset it is in UTC."
_NEWER = "Queued within this time (2h, 3d), or since this day or time; without an offset it is in UTC."
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = datetime.fromtimestamp(0, UTC)


def _age(value: object) -> timedelta | datetime:
    """An age as it is said, or a moment. Raises ValueError, whose text is a sentence."""
    if isinstance(value, timedelta | datetime):
        return value
    text = value if isinstance(value, str) else ""
    try:
        return span(text)
    except ValueError:
        pass
    try:
        at = read_at(f"{text}T00:00" if _DAY.fullmatch(text) else text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be an age such as 90m, 2h or 3d, or a day or time such as 2026-12-01, 2026-12-01T08:00 or "
            "2026-12-01T08:00:00+01:00; without an offset it is in UTC"
        ) from None


Age = Annotated[
    timedelta | datetime,
    PlainValidator(_age),
    WithJsonSchema({"type": "string", "examples": ["2h", "2026-12-01", "2026-12-01T08:00:00Z"]}),
]
_Word = Annotated[str, StringConstraints(max_length=500)]


class GivenSelection(Given):
    """Which deliveries: those that all of this fits; what is not said fits all."""

    deliveries: Annotated[tuple[_Word, ...], Field(max_length=_MOST_DELIVERIES)] = ()
    message: _Word = ""
    queue_id: _Word = ""
    destination: Annotated[_Word, Field(description=_DESTINATION)] = ""
    recipient: _Word = ""
    sender: Annotated[_Word, Field(description=_SENDER)] = ""
    job: _Word = ""
    held_by: Annotated[_Word, Field(description=_HELD_BY)] = ""
    state: Annotated[tuple[DeliveryState, ...], Field(max_length=len(DeliveryState))] = ()
    status: Annotated[tuple[DeliveryStatus, ...], Field(max_length=len(DeliveryStatus), description=_STATUS)] = ()
    older_than: Annotated[Age | None, Field(description=_OLDER)] = None
    newer_than: Annotated[Age | None, Field(description=_NEWER)] = None


class ShownSelection(Shown):
    """Which deliveries an operation is about; times as they were when it began."""

    deliveries: tuple[str, ...]
    message: str | None
    queue_id: str | None
    destination: str
    recipient: str
    sender: str
    job: str
    held_by: str
    states: frozenset[DeliveryState]
    statuses: frozenset[DeliveryStatus]
    created_before: datetime | None
    created_from: datetime | None


def selected(given: GivenSelection, clock: Clock, *, path: str = "") -> Selection:
    """What was given, checked. Raises Invalid; `path` is where the fields stand."""
    now = clock.now()
    return Selection(
        deliveries=tuple(DeliveryId(one) for one in given.deliveries),
        message=MessageId(given.message) if given.message else None,
        queue_id=QueueId(given.queue_id) if given.queue_id else None,
        destination=_domain(given.destination, f"{path}destination"),
        recipient=_recipient(given.recipient, f"{path}recipient"),
        sender=_sender(given.sender, f"{path}sender"),
        job=given.job,
        held_by=given.held_by,
        states=frozenset(given.state),
        statuses=frozenset(given.status),
        as_of=now,
        created_before=_moment(given.older_than, now),
        created_from=_moment(given.newer_than, now),
    )


def _in_query(
    app: App,
    message: Annotated[str, Query(max_length=500)] = "",
    queue_id: Annotated[str, Query(max_length=500)] = "",
    destination: Annotated[str, Query(max_length=500, description=_DESTINATION)] = "",
    recipient: Annotated[str, Query(max_length=500, description="The recipient's address.")] = "",
    sender: Annotated[str, Query(max_length=500, description=_SENDER)] = "",
    job: Annotated[str, Query(max_length=500, description="Only of this job.")] = "",
    held_by: Annotated[str, Query(max_length=500, description=_HELD_BY)] = "",
    state: Annotated[list[DeliveryState] | None, Query(description="Only these states.")] = None,
    status: Annotated[list[DeliveryStatus] | None, Query(description=_STATUS)] = None,
    older_than: Annotated[Age | None, Query(description=_OLDER)] = None,
    newer_than: Annotated[Age | None, Query(description=_NEWER)] = None,
) -> Selection:
    given = GivenSelection(
        message=message,
        queue_id=queue_id,
        destination=destination,
        recipient=recipient,
        sender=sender,
        job=job,
        held_by=held_by,
        state=_each_once(state),
        status=_each_once(status),
        older_than=older_than,
        newer_than=newer_than,
    )
    return selected(given, app.clock)


Selected = Annotated[Selection, Depends(_in_query)]
"""The selection in the query of a request."""


def _each_once(values: Sequence[DeliveryState] | Sequence[DeliveryStatus] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values or ()))


def _moment(age: timedelta | datetime | None, now: datetime) -> datetime | None:
    if not isinstance(age, timedelta):
        return age
    # Nothing is older than the clock can say.
    return now - age if age < now - _EPOCH else _EPOCH


def _domain(text: str, path: str) -> str:
    try:
        return parse_domain(text) if text else ""
    except BadAddress as error:
        raise Invalid(path, str(error)) from None


def _recipient(text: str, path: str) -> str:
    try:
        return parse_address(text).key if text else ""
    except BadAddress as error:
        raise Invalid(path, str(error)) from None


def _sender(text: str, path: str) -> str:
    if not text or text == NOBODY:
        return text
    try:
        return str(parse_address(text)) if "@" in text else parse_domain(text)
    except BadAddress as error:
        raise Invalid(path, str(error)) from None
