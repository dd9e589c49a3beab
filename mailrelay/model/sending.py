"""Whose mail is watched and may be stopped as one, and what is counted of it (O17, O18)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import OrgId

EVERYBODY = OrgId("")
"""In an organisation's place: all of them. What the operator suspends for the whole installation is theirs."""


class Scope(StrEnum):
    """What mail is stopped together; jobs and domains are counted, too, and stop themselves."""

    JOB = "job"  # what its author calls so: a mass mail
    DOMAIN = "domain"  # all that is sent for a domain, by its envelope sender
    DESTINATION = "destination"  # all that goes to a recipient domain, or to whatever an MX site takes
    SOURCE = "source"  # all that leaves by an egress source


UNNAMED = "default"
"""The name in suspensions of the source that has none."""
COUNTED = frozenset({Scope.JOB, Scope.DOMAIN})
"""The scopes that have tallies and brakes."""


@dataclass(frozen=True, slots=True, order=True)
class Sending:
    """The mail of one job, for one domain, to one destination or by one source."""

    scope: Scope
    name: str

    def __str__(self) -> str:
        """`job:spring`: how `Delivery.held_by` says it."""
        return f"{self.scope}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of mail, a recipient each."""

    sent: int = 0
    """Taken by the next hop."""
    refused: int = 0
    """Of the bounces, those that the next hop never took."""
    hard: int = 0
    soft: int = 0
    complaints: int = 0
    unsubscribed: int = 0

    @property
    def tried(self) -> int:
        """Those that came to an answer: bounces are a share of these."""
        return self.sent + self.refused

    @property
    def bounced(self) -> int:
        """Hard and soft."""
        return self.hard + self.soft

    def __sub__(self, other: Counts) -> Counts:
        """What is left without the other, nowhere less than nothing."""
        return Counts(
            sent=max(0, self.sent - other.sent),
            refused=max(0, self.refused - other.refused),
            hard=max(0, self.hard - other.hard),
            soft=max(0, self.soft - other.soft),
            complaints=max(0, self.complaints - other.complaints),
            unsubscribed=max(0, self.unsubscribed - other.unsubscribed),
        )

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            sent=self.sent + other.sent,
            refused=self.refused + other.refused,
            hard=self.hard + other.hard,
            soft=self.soft + other.soft,
            complaints=self.complaints + other.complaints,
            unsubscribed=self.unsubscribed + other.unsubscribed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """What mail is held from `since` until somebody resumes it; `resumed_at` None while it holds."""

    org: OrgId
    """Whose mail; EVERYBODY's when the operator did it for the whole installation."""
    sending: Sending
    since: datetime
    reason: str
    """One sentence for people."""
    evidence: str
    by: str
    """The user who did it, or the id of the delivery or arrival that did."""
    resumed_at: datetime | None
    resumed_by: str
    before: Counts | None
    """What was counted on the day of its resumption until then."""
