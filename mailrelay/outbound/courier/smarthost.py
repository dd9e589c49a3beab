"""All mail to one host, which takes it from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailrelay.config.schema import Route, SmartHost
from mailrelay.dns.resolver import ask
from mailrelay.model.delivery import Accepted, Delivery, Outcome
from mailrelay.model.way import Way
from mailrelay.outbound.authenticate import Credentials
from mailrelay.outbound.connection import Hop, TlsMode
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, Report, report_all
from mailrelay.outbound.courier.sources import Sources, within_reach
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.exchange import Exchange
from mailrelay.outbound.policy import relay, route
from mailrelay.outbound.pool import Pool

ROUTE = Route.SMART_HOST


class SmartHostCourier:
    """Delivers to the smart host of the installation."""

    def __init__(self, kit: Kit, host: SmartHost) -> None:
        settings = kit.settings
        self._kit = kit
        self._host = host
        self._sources = Sources(settings.sources, kit.helo)
        self._credentials = None
        if host.user is not None and host.password is not None:
            self._credentials = Credentials(host.user, host.password.reveal())
        self._pool = Pool(
            Dialler(
                settings,
                helo=kit.helo,
                clock=kit.clock,
                ca_file=host.ca_file or settings.ca_file,
                memory=kit.tls_memory,
            ),
            idle=settings.idle,
            messages=settings.messages_per_connection,
        )
        self._exchange = Exchange(self._pool, kit.clock, relayed=True)

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        suspended = await self._kit.suspended_sources(delivery.org) if self._sources else ()
        return Way(self._host.host, self._sources.choose(delivery, suspended), relay=True)

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        host = self._host.host
        hops = await self._hops(batch.way)
        if isinstance(hops, route.NoRoute):
            report_all(batch, hops, host=host, relayed=True)
            return
        said: list[Outcome] = []

        def report(one: Report) -> None:
            said.append(one.outcome)
            batch.report(one)

        await self._exchange.deliver(replace(batch, report=report), hops, meaning=relay.meaning)
        because = relay.shuts_out(said)
        if because or any(isinstance(one, Accepted) for one in said):
            await self._kit.shut_out({parcel.delivery.org for parcel in batch.parcels}, host, because)

    async def hops(self, delivery: Delivery, way: Way) -> Sequence[Hop] | route.NoRoute:
        """See `Courier.hops`."""
        return await self._hops(way)

    async def close(self) -> None:
        """See `Courier.close`."""
        await self._pool.close()

    async def _hops(self, way: Way) -> Sequence[Hop] | route.NoRoute:
        source = self._sources.named(way.source)
        found = await ask(route.to_host(self._host.host), self._kit.resolver)
        targets = found if isinstance(found, route.NoRoute) else within_reach(found, source, self._host.host)
        if isinstance(targets, route.NoRoute):
            return targets
        return [
            Hop(
                host=target.host,
                ip=target.ip,
                port=self._host.port,
                tls=TlsMode(self._host.tls),
                credentials=self._credentials,
                source=source,
            )
            for target in targets
        ]


def make(kit: Kit) -> SmartHostCourier:
    """The courier of this route. Raises ValueError without a smart host in the settings."""
    if kit.settings.smart_host is None:
        raise ValueError("the route smart_host needs a smart host")
    return SmartHostCourier(kit, kit.settings.smart_host)
