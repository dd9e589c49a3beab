"""Straight to the recipients' own servers, found through DNS (RFC 5321 §5.1)."""

from __future__ import annotations

import random

from mailrelay.config.schema import Route
from mailrelay.dns.resolver import ask
from mailrelay.model.delivery import Delivery
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, Report
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.exchange import Exchange
from mailrelay.outbound.policy import route
from mailrelay.outbound.pool import Pool

ROUTE = Route.MX


class MxCourier:
    """Delivers by MX."""

    def __init__(self, kit: Kit) -> None:
        settings = kit.settings
        self._kit = kit
        self._pool = Pool(
            Dialler(settings, helo=kit.helo, clock=kit.clock, ca_file=settings.ca_file),
            idle=settings.idle,
            messages=settings.messages_per_connection,
        )
        self._exchange = Exchange(self._pool, kit.clock)

    def destination(self, delivery: Delivery) -> str:
        """The recipient's domain."""
        return delivery.address.domain

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        return Way(delivery.address.domain)

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        found = await ask(
            route.to_domain(
                batch.destination,
                own=route.OwnHost(names=self._kit.own_names, addresses=self._kit.own_addresses),
                allow_private=self._kit.settings.allow_private,
                shuffle=random.shuffle,
            ),
            self._kit.resolver,
        )
        if isinstance(found, route.NoRoute):
            for parcel in batch.parcels:
                batch.report(Report(delivery=parcel.delivery.id, outcome=found, host=batch.destination, tls=None))
            return
        port = self._kit.settings.port
        await self._exchange.deliver(batch, [Hop(host=target.host, ip=target.ip, port=port) for target in found])

    async def close(self) -> None:
        """See `Courier.close`."""
        await self._pool.close()


def make(kit: Kit) -> MxCourier:
    """The courier of this route."""
    return MxCourier(kit)
