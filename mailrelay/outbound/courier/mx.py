"""Straight to the recipients' own servers, found through DNS (RFC 5321 §5.1)."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from mailrelay.config.schema import Route
from mailrelay.dns.resolver import ask
from mailrelay.model.delivery import Delivery
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, report_all
from mailrelay.outbound.courier.sources import Sources, within_reach
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.exchange import Exchange
from mailrelay.outbound.policy import route
from mailrelay.outbound.policy.tls import relaxed
from mailrelay.outbound.pool import Pool

ROUTE = Route.MX
_SITE_KEPT = 60.0
"""Seconds in which a destination stays with its site, also where DNS is silent: many deliveries ask, one question goes out."""
_MAX_SITES = 10_000


class MxCourier:
    """Delivers by MX."""

    def __init__(self, kit: Kit) -> None:
        settings = kit.settings
        self._kit = kit
        self._sources = Sources(settings.sources, kit.helo)
        self._sites: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._pool = Pool(
            Dialler(
                settings,
                helo=kit.helo,
                clock=kit.clock,
                ca_file=settings.ca_file,
                memory=kit.tls_memory,
                witness=kit.witness,
            ),
            idle=settings.idle,
            messages=settings.messages_per_connection,
        )
        self._exchange = Exchange(self._pool, kit.clock)

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        suspended = await self._kit.suspended_sources(delivery.org) if self._sources else ()
        return Way(await self._site(delivery.address.domain), self._sources.choose(delivery, suspended))

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        hops = await self._hops(batch.destination, batch.way)
        if isinstance(hops, route.NoRoute):
            report_all(batch, hops, host=batch.destination)
            return
        for optional, parcels in groupby(batch.parcels, key=lambda parcel: parcel.delivery.params.tls_optional):
            await self._exchange.deliver(replace(batch, parcels=tuple(parcels)), _asked(hops, optional=optional))

    async def hops(self, delivery: Delivery, way: Way) -> Sequence[Hop] | route.NoRoute:
        """See `Courier.hops`."""
        hops = await self._hops(delivery.address.domain, way)
        return hops if isinstance(hops, route.NoRoute) else _asked(hops, optional=delivery.params.tls_optional)

    async def close(self) -> None:
        """See `Courier.close`."""
        await self._pool.close()

    async def _hops(self, destination: str, way: Way) -> Sequence[Hop] | route.NoRoute:
        settings = self._kit.settings
        found = await ask(
            route.to_domain(
                destination,
                own=route.OwnHost(names=self._kit.own_names, addresses=self._kit.own_addresses),
                allow_private=settings.allow_private,
                shuffle=random.shuffle,
            ),
            self._kit.resolver,
        )
        source = self._sources.named(way.source)
        targets = found if isinstance(found, route.NoRoute) else within_reach(found, source, destination)
        if isinstance(targets, route.NoRoute):
            return targets
        demands = await self._kit.demands.for_destination(destination, targets)
        return [
            Hop(
                host=target.host,
                ip=target.ip,
                port=settings.port,
                demand=demand,
                source=source,
                preference=target.preference,
            )
            for target, demand in zip(targets, demands, strict=True)
        ]

    async def _site(self, domain: str) -> str:
        now = self._kit.clock.monotonic()
        known = self._sites.get(domain)
        if known is not None and now < known[0]:
            return known[1]
        site = await ask(route.site_of(domain), self._kit.resolver)
        self._sites[domain] = (now + _SITE_KEPT, site)
        self._sites.move_to_end(domain)
        if len(self._sites) > _MAX_SITES:
            self._sites.popitem(last=False)
        return site


def _asked(hops: Sequence[Hop], *, optional: bool) -> Sequence[Hop]:
    """The hops for mail whose author put delivery above encryption, or not."""
    return [replace(hop, demand=relaxed(hop.demand)) for hop in hops] if optional else hops


def make(kit: Kit) -> MxCourier:
    """The courier of this route."""
    return MxCourier(kit)
