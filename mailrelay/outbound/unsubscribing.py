"""How the recipient of a copy of mass mail leaves it: by the organisation's page, and by a mail to an address of ours (O15)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailrelay.ids import DeliveryId, OrgId
from mailrelay.mail import unsubscribe_address
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Channel
from mailrelay.outbound.tracked import Door, base_url
from mailrelay.store import organisations
from mailrelay.store.base import Tx
from mailrelay.tracking.token import Kind, Token, host_of, make
from mailrelay.tracking.unsubscribe import SENTENCE, Unsubscribing


@dataclass(frozen=True, slots=True)
class Way:
    """Where mails that unsubscribe go, and what signs their addresses."""

    domain: str
    """Of return paths: the daemon takes its mail."""
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What decides how somebody leaves a delivery."""

    delivery: DeliveryId
    org: OrgId
    list: str


def asked(one: Delivery) -> Asked | None:
    """What is to be asked about a delivery; None for what is no mass mail."""
    return Asked(one.id, one.org, one.list) if one.job and one.channel is not Channel.NOTICE else None


def unsubscribing_of(tx: Tx, door: Door | None, way: Way, one: Asked) -> Unsubscribing:
    """How the recipient of a delivery leaves it; without a public door by mail only."""
    settings = organisations.settings(tx, one.org)
    page = ""
    if door is not None:
        base = base_url(door, settings)
        page = f"{base}/u/{make(Token(Kind.UNSUBSCRIBE, one.delivery, list=one.list), door.keys, host_of(base))}"
    return Unsubscribing(
        page=page,
        mailto=str(unsubscribe_address.make(one.delivery, way.secret, way.domain)),
        one_click=page.startswith("https://"),
        sentence=settings.unsubscribe_text or SENTENCE,
        # RFC 2919 §2: the same for a list whatever people call it.
        list_id=f"<{one.list}.{one.org.lower()}.{way.domain}>" if one.list else "",
    )
