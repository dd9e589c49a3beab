"""Where events are sent, and each event on its way there (R6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import EventSeq, NodeId, OrgId, UserId, WebhookId
from mailrelay.model.event import Event, EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A URL that an organisation's events are sent to. One that is not active says why; its events wait."""

    id: WebhookId
    org: OrgId
    user: UserId | None
    """Whose notices it gets, and nothing else; None for every event of the organisation."""
    url: str
    types: tuple[EventType, ...]
    """None is all."""
    description: str
    secrets: str = field(repr=False)
    """Sealed (`outbound.vault`): a `SigningSecrets`."""
    before_until: datetime | None
    """Until when the secret before the last rotation signs as well."""
    active: bool
    because: str
    created_at: datetime
    created_by: str
    changed_at: datetime
    seq: EventSeq
    """The last event of the journal that was looked at for it."""
    waiting: int = 0
    """Its calls that have not ended."""
    paused_until: datetime | None = None
    failures: int = 0
    """In a row."""
    failing_since: datetime | None = None
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str = ""
    token: str = ""
    """The token that answers for it: that made it, or changed or enabled it last; "" where that was the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecrets:
    """What its requests are signed with: `whsec_…` each; `before` is "" where there was none."""

    now: str = field(repr=False)
    before: str = field(default="", repr=False)


class CallState(StrEnum):
    """How far an event has come on its way to a webhook."""

    BEHIND = "behind"  # another call of its chain goes first
    WAITING = "waiting"  # for its time
    CALLING = "calling"
    TAKEN = "taken"
    DEAD = "dead"  # nobody took it for so long that it was given up; it can be sent again by hand


LEFT = (CallState.BEHIND, CallState.WAITING, CallState.CALLING)
"""Those that have not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One event on its way to one webhook."""

    webhook: WebhookId
    org: OrgId
    seq: EventSeq
    type: EventType
    state: CallState
    queued_at: datetime
    due_at: datetime
    expires_at: datetime
    attempts: int
    status: int
    """Of the last answer, 0 where there was none."""
    failure: str
    said: str
    """The beginning of the last answer that was no success, without what looks like a secret."""
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A call that is ours to make, with all that it takes."""

    call: Call
    webhook: Webhook
    event: Event
    node: NodeId
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a request ended. Without `failure` it was taken."""

    status: int
    failure: str
    said: str
    retry_after: float | None = None
    """Seconds that the receiver asks to be left alone for."""
    seconds: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the event is the receiver's now."""
        return not self.failure

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more, ever (410)."""
        return self.status == 410


def chain(event: Event) -> str:
    """What an event is in order with: its message, else its record, else all else whose type begins with the same word."""
    return event.message or event.record or event.type.partition(".")[0]


def event_id(event: Event) -> str:
    """Its id in requests: always the same for the same event, also when it is sent again or to another webhook.

    With its time, so that a store that was restored, and counts again from an older number, gives no number's id to another event.
    """
    return f"evt_{event.org}_{event.seq}_{int(event.at.timestamp() * 1_000_000):x}"
