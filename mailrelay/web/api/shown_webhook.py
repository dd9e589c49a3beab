"""A webhook as it is given and as it is answered (R6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

from mailrelay.model.event import EventType
from mailrelay.model.reach import LONGEST_URL
from mailrelay.model.webhook import Webhook
from mailrelay.web.shape import Given, Shown, Span

_Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
_Types = Annotated[tuple[EventType, ...], Field(max_length=len(EventType), description="Of events; none is all.")]
_Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class GivenWebhook(Given):
    """Where events are to be sent."""

    url: _Url = Field(description="https, at a public address. What answers 2xx within 15 seconds has taken the event.")
    types: _Types = ()
    user: str | None = Field(
        None, description="Only this user's notices, by id or address; without, every event of the organisation."
    )
    description: _Line = ""


class ChangedWebhook(Given):
    """What is to be otherwise; what is left out stays."""

    url: _Url | None = None
    types: _Types | None = None
    description: _Line | None = None


class Health(Shown):
    """How the calls of a webhook go."""

    seq: int = Field(description="The last event of the journal that was looked at for it.")
    waiting: int = Field(description="Events on their way to it.")
    failures: int = Field(description="In a row, now.")
    failing_since: datetime | None
    failure: str = Field(description='What went wrong the last time; "" while all is well.')
    paused_until: datetime | None = Field(description="Nothing is sent before: it asked for that, or took nothing.")
    succeeded_at: datetime | None
    failed_at: datetime | None


class ShownWebhook(Shown):
    """A webhook without its secret. How its calls go is its health: that changes all the time."""

    id: str
    url: str
    types: tuple[EventType, ...]
    user: str | None
    description: str
    active: bool
    because: str = Field(description='Why it is not active; "" while it is.')
    before_until: datetime | None = Field(description="Until when the secret before the last rotation signs as well.")
    created_at: datetime
    created_by: str
    changed_at: datetime
    token: str = Field(
        description="The token that made it, or changed or enabled it last: revoking that disables it. Empty: the operator."
    )


class ListedWebhook(ShownWebhook):
    """A webhook, and how its calls go."""

    health: Health

    @classmethod
    def of(cls, one: Webhook) -> ListedWebhook:
        """The webhook as lists have it."""
        return cls(**ShownWebhook.model_validate(one).model_dump(), health=Health.model_validate(one))


class NewWebhook(ShownWebhook):
    """A new webhook, or one with a new secret: shown this once."""

    secret: str | None = Field(
        repr=False, description="What requests are signed with; null in the answer to a repeat: it is not shown again."
    )


class Rotation(Given):
    """How long the secret that there was goes on signing beside the new one."""

    overlap: Span = timedelta(days=1)


class Tried(Shown):
    """How a test went; `because` is why not, `said` the beginning of the answer then."""

    works: bool
    status: int
    because: str
    said: str
    seconds: float
