"""A mail to an address that unsubscribes: whoever sends it, whatever it says, the address alone says who leaves what (O15, T09)."""

from __future__ import annotations

from datetime import datetime

from mailrelay.config.schema import BrakeLevels
from mailrelay.filing.apply import Applied
from mailrelay.ids import DeliveryId
from mailrelay.inbound.tie import Returns
from mailrelay.mail import unsubscribe_address
from mailrelay.model.decision import DropReason
from mailrelay.model.envelope import Arrival, ArrivalState, Channel
from mailrelay.outbound import unsubscribe
from mailrelay.store import arrivals, deliveries
from mailrelay.store.base import Tx


def leaver(arrival: Arrival, returns: Returns) -> DeliveryId | None:
    """The delivery whose recipient leaves by this mail; None for any other mail."""
    if arrival.channel is not Channel.BOUNCE or arrival.target is None:
        return None
    return unsubscribe_address.read(arrival.target.address.local, returns.secrets)


def leave(tx: Tx, arrival: Arrival, of: DeliveryId, *, brakes: BrakeLevels, at: datetime) -> Applied:
    """Unsubscribe the recipient of a delivery from its list, or from all mail where it has none, and end the mail that asks for it.

    It is not filed, and nobody gets an answer. Raises Stale, and keeps nothing, when another worker has the arrival.
    """
    delivery = deliveries.by_id(tx, of)
    if delivery is not None:
        evidence = f"a mail to the address that unsubscribes, {arrival.id}"
        unsubscribe.leave(tx, delivery, delivery.list, way="mail", evidence=evidence, at=at, brakes=brakes)
    state, reason = ArrivalState.DROPPED, DropReason.UNSUBSCRIBED
    arrivals.end(tx, arrival, state=state, at=at, reason=reason, message=None)
    return Applied(state=state, reason=reason, messages=(), known=(), created=(), linked=())
