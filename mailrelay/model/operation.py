"""What somebody does to deliveries that have not ended yet: which of them, what, why, and how far it has come (R3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DeliveryId, MessageId, OperationId, OrgId, QueueId
from mailrelay.model.delivery import DeliveryState, DeliveryStatus


class Control(StrEnum):
    """What is done to a delivery."""

    HOLD = "hold"  # what waits is kept until it is released
    RELEASE = "release"  # what is held by hand, as poison or unconfirmed goes on
    RETRY = "retry"  # what waits for its next attempt is due now
    CANCEL = "cancel"  # it ends here, and nobody is told but who asked
    BOUNCE = "bounce"  # it ends here, and its author gets a DSN
    CONFIRM = "confirm"  # what is unconfirmed has arrived


STOPPING = frozenset({Control.HOLD, Control.CANCEL, Control.BOUNCE})
"""What must not be sent any more once it was asked for, unless its final dot has been (Q06)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which deliveries: those that every field fits that is said; nothing said fits all."""

    deliveries: tuple[DeliveryId, ...] = ()
    message: MessageId | None = None
    queue_id: QueueId | None = None
    destination: str = ""
    """The recipient's domain."""
    recipient: str = ""
    """The recipient's address, by key."""
    sender: str = ""
    """The envelope sender: `local@domain`, a domain for all of its addresses, or `<>`."""
    job: str = ""
    held_by: str = ""
    """`hand`, `poison`, `unconfirmed`, or a suspension, `scope:name`."""
    states: frozenset[DeliveryState] = frozenset()
    statuses: frozenset[DeliveryStatus] = frozenset()
    created_before: datetime | None = None
    """Those queued before this moment; `created_from`: then or later. By the milliseconds in their ids."""
    created_from: datetime | None = None

    as_of: datetime | None = None
    """When it was asked: what was sent long before counts as delivered (K1). It selects nothing by itself."""

    @property
    def everything(self) -> bool:
        """Nothing is said."""
        return replace(self, as_of=None) == Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something that somebody does to many deliveries, carried out piece by piece."""

    id: OperationId
    org: OrgId
    control: Control
    selection: Selection
    reason: str
    """A sentence for people; of a bounce its author reads it."""
    again: bool
    """Whether to release what may have arrived already, so that it may come twice."""
    by: str
    at: datetime
    until: DeliveryId
    """The last delivery that there was: later mail is not touched."""
    cursor: DeliveryId
    """The last one that was looked at; "" before the first."""
    changed: int
    left: Mapping[str, int]
    """How many were left as they are, by what they were: `sending`, `held by job:spring`."""
    under_way: tuple[DeliveryId, ...]
    """Those in the middle of an attempt: they are looked at again when it has ended."""
    ended_at: datetime | None
    stopped_by: str
    """Who stopped it before its end."""


def states_of(status: DeliveryStatus) -> frozenset[DeliveryState]:
    """The states that a delivery of this status may be in."""
    match status:
        case DeliveryStatus.DEFERRED:
            return frozenset({DeliveryState.QUEUED})
        case DeliveryStatus.REPLIED | DeliveryStatus.CLICKED | DeliveryStatus.OPENED | DeliveryStatus.DELIVERED:
            return frozenset({DeliveryState.SENT, DeliveryState.DELIVERED})
        case _:
            return frozenset({DeliveryState(status)})


def states_in(selection: Selection) -> frozenset[DeliveryState]:
    """The states that a selected delivery may be in; none when the selection contradicts itself."""
    found = selection.states or frozenset(DeliveryState)
    if selection.statuses:
        found &= frozenset().union(*(states_of(one) for one in selection.statuses))
    if selection.held_by:
        found &= {DeliveryState.HELD}
    return found
