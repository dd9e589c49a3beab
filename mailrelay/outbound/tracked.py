"""Whether and how a delivery's copy is tracked, decided when it leaves (O9): by organisation, message and person, as they are then."""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.errors import Invalid
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Channel
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Mode, effective
from mailrelay.outbound.own_field import take_field
from mailrelay.store import consents, organisations
from mailrelay.store.base import Tx
from mailrelay.tracking.copies import Tracking
from mailrelay.tracking.links import LinkPattern, LinkRules
from mailrelay.tracking.token import Keys, host_of

TRACKING_FIELD = "X-Mailrelay-Tracking"


@dataclass(frozen=True, slots=True)
class Door:
    """The installation's public endpoints, and the keys of what leads there."""

    url: str
    """Where people reach them, unless the organisation has a name of its own for them."""
    keys: Keys


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides whether a delivery is tracked."""

    delivery: DeliveryId
    org: OrgId
    key: str
    """Of its recipient's address."""
    mode: Mode | None
    """What its author asked for."""


def asked(one: Delivery) -> Asked | None:
    """What is to be asked about a delivery; None for one that is never tracked: its author said so, or nothing may come back of it."""
    if one.mail_from is None or one.channel is Channel.NOTICE or one.tracking is Mode.OFF:
        return None
    return Asked(one.id, one.org, one.address.key, one.tracking)


def tracking_of(tx: Tx, door: Door, one: Asked) -> Tracking | None:
    """How a delivery's copy is tracked if it leaves now; None: not at all."""
    settings = organisations.settings(tx, one.org)
    if settings.tracking is Mode.OFF:
        return None
    consent = consents.standing(tx, one.org, [one.key]).get(one.key)
    if effective(settings.tracking, one.mode, consent) is Mode.OFF:
        return None
    return Tracking(delivery=one.delivery, base=base_url(door, settings), rules=rules(door, settings), keys=door.keys)


def base_url(door: Door, settings: OrganisationSettings) -> str:
    """Where an organisation's pixels and links lead."""
    return f"https://{settings.tracking_host}" if settings.tracking_host else door.url.rstrip("/")


def rules(door: Door, settings: OrganisationSettings) -> LinkRules:
    """Which links of an organisation's mails stay as they are."""
    return LinkRules(
        host=host_of(base_url(door, settings)),
        own_hosts=frozenset({host_of(door.url)}),
        patterns=tuple(LinkPattern.parse(text) for text in settings.untracked_links),
    )


def take_tracking(raw: bytes) -> tuple[bytes, Mode | None]:
    """The mail without its tracking field, and what it says; None without one. Raises Invalid for anything else than a mode, once."""
    left, said = take_field(raw, TRACKING_FIELD)
    if said is None:
        return left, None
    mode = said.strip().lower()
    if mode not in set(Mode):
        raise Invalid(TRACKING_FIELD, f"must be one of {', '.join(Mode)}")
    return left, Mode(mode)
