"""How a time to send at is said and shown (O5); what sends and what changes schedules share it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, WithJsonSchema

from mailrelay.errors import Invalid
from mailrelay.model.schedule import Preset, Schedule, Wish
from mailrelay.outbound.policy.schedule import read_at
from mailrelay.web.shape import Given, Shown, TimeZone


def _at(value: object) -> datetime:
    return read_at(value if isinstance(value, str) else "")


At = Annotated[
    datetime,
    PlainValidator(_at),
    WithJsonSchema({"type": "string", "examples": ["2026-12-01T08:00", "2026-12-01T08:00:00+01:00"]}),
]


class GivenSchedule(Given):
    """When a mail is to go: at a time or by a preset.

    A time without an offset is what clocks show in `zone`; without a zone, where its author is. One that clocks skip is the moment that
    they do, one that they show twice is the first of the two.
    """

    at: At | None = None
    zone: TimeZone | None = None
    preset: Annotated[Preset | None, Field(description="This evening 18:00, tomorrow 8:00 or 20:00, Monday 8:00.")] = (
        None
    )

    def wish(self) -> Wish:
        """What is asked for. Raises Invalid unless it is one thing."""
        if (self.at is None) == (self.preset is None):
            raise Invalid("schedule", "needs a time, at, or a preset, and not both")
        return Wish(at=self.at, preset=self.preset, zone=ZoneInfo(self.zone) if self.zone else None)


class ShownSchedule(Shown):
    """When a mail goes: `due_at` in UTC, `local` as clocks show it in `zone`. `version` grows with every change."""

    id: str
    queue_id: str
    author: str
    due_at: datetime
    local: datetime
    zone: str
    preset: Preset | None
    version: int

    @classmethod
    def of(cls, one: Schedule, due_at: datetime | None = None) -> ShownSchedule:
        """The schedule as it is answered; `due_at` of recipients who are away."""
        due_at = due_at or one.due_at
        return cls(
            id=one.id,
            queue_id=one.queue_id,
            author=one.author,
            due_at=due_at,
            local=due_at.astimezone(ZoneInfo(one.zone)),
            zone=one.zone,
            preset=one.preset,
            version=one.version,
        )
