"""The egress sources of the configuration, as couriers use them (O11)."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

from mailrelay import log
from mailrelay.config import schema
from mailrelay.model.delivery import Deferred, Delivery, Stage
from mailrelay.model.reply import reply
from mailrelay.model.way import EgressSource
from mailrelay.outbound.policy import source as policy
from mailrelay.outbound.policy.route import Target

_logger = log.get()


class Sources:
    """Chooses, and finds by name."""

    def __init__(self, settings: Sequence[schema.Source], helo: str) -> None:
        """`helo` is the name of those that have none of their own."""
        self._offers = offers(settings, helo)
        self._by_name = {one.source.name: one.source for one in self._offers}
        for one in self._by_name.values():
            _look_at(one)

    def __bool__(self) -> bool:
        return bool(self._offers)

    def choose(self, delivery: Delivery, suspended: Collection[str] = ()) -> str:
        """The name of the source that a delivery leaves by; "" for the system's own address. All of a message leave by one."""
        chosen = policy.choose(
            self._offers, sender_domain=delivery.sender_domain, key=delivery.queue_id, suspended=suspended
        )
        return "" if chosen is None else chosen.name

    def named(self, name: str) -> EgressSource | None:
        """The source of that name; None for the system's own address, also where the source is in the configuration no more."""
        return self._by_name.get(name)


def offers(settings: Sequence[schema.Source], helo: str) -> Sequence[policy.Offer]:
    """The sources that there are, for `policy.choose`."""
    return [
        policy.Offer(
            source=EgressSource(
                name=one.name, address=one.address or "", address6=one.address6 or "", helo=one.helo or helo
            ),
            domains=frozenset(one.domains),
            weight=one.weight,
        )
        for one in settings
    ]


def within_reach(
    targets: Sequence[Target], source: EgressSource | None, destination: str
) -> Sequence[Target] | Deferred:
    """The targets that the source has an address for; why there are none. That is ours to mend, so nothing is refused for it."""
    found = [target for target in targets if policy.reaches(source, target.ip)]
    if found or source is None:
        return found
    kind = "IPv6" if not source.address6 else "IPv4"
    text = f"The source {source.name} has no {kind} address, and {destination} has no other"
    return Deferred(reply=reply(451, "4.4.4", text), stage=Stage.RESOLVE)


def _look_at(source: EgressSource) -> None:
    """Say so when an address is none of this machine: mail would wait without anybody knowing why."""
    for address in filter(None, (source.address, source.address6)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((address, 0))
        except OSError as error:
            _logger.warning("source.missing", source=source.name, address=address, reason=error.strerror or str(error))
