"""How much of what a recipient does with a mail is recorded, and what they said to it (O9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import OrgId


class Mode(StrEnum):
    """What is recorded of a mail's opens and clicks; each says less than the next."""

    OFF = "off"  # nothing
    AGGREGATE = "aggregate"  # how many, by message, link and day; not who
    INDIVIDUAL = "individual"  # who and when, with their consent


_ORDER = (Mode.OFF, Mode.AGGREGATE, Mode.INDIVIDUAL)


class Tracked(StrEnum):
    """What became of a delivery's copy when it left: tracked, or why it was not (O9)."""

    NOT_SENT = ""  # it has not left yet
    OFF = "off"  # by the organisation, the message, or for want of the person's consent
    LINKS = "links"  # it has the pixel, and its links are rewritten as far as they may be
    PLAIN = "plain"  # it has no HTML part
    SIGNED = "signed"  # somebody signed or encrypted it: no byte may change
    UNSAFE = "unsafe"  # its HTML could not be rewritten without a risk to the rest, and left as it was
    FAILED = "failed"  # our own code failed on it, and it left as it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What one person said to individual tracking; the newest of them holds, the others are the proof of before."""

    org: OrgId
    key: str
    """The address as it is compared (`Address.key`)."""
    given: bool
    """False: withdrawn."""
    at: datetime
    by: str
    """Who recorded it: a user, a token, or "person" for themselves."""
    evidence: str
    """Which text they agreed to, where, how: what an authority would ask."""


def effective(organisation: Mode, message: Mode | None, consent: bool | None) -> Mode:
    """What may be recorded of one person and one message, now: at sending, and again at each hit (O9, T10, T11).

    `message` None: it is as the organisation has it. `consent` is what the person said last, None when nothing. A message may
    lessen what the organisation allows, never extend it. Individual needs consent; without, nothing is recorded at all, since the
    copy left without a pixel. Who withdrew is not even counted.
    """
    mode = organisation if message is None else min(organisation, message, key=_ORDER.index)
    if consent is False or (mode is Mode.INDIVIDUAL and consent is None):
        return Mode.OFF
    return mode
