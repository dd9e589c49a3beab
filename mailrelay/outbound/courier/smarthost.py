"""All mail to one host, which takes it from there."""

from __future__ import annotations

from mailrelay.config.schema import Route, SmartHost
from mailrelay.dns.resolver import ask
from mailrelay.model.delivery import Delivery
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Credentials, Hop, TlsMode
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, Report
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.exchange import Exchange
from mailrelay.outbound.policy import route
from mailrelay.outbound.pool import Pool

ROUTE = Route.SMART_HOST


class SmartHostCourier:
    """Delivers to the smart host."""

    def __init__(self, kit: Kit, host: SmartHost) -> None:
        settings = kit.settings
        self._host = host
        self._resolver = kit.resolver
        self._credentials = None
        if host.user is not None and host.password is not None:
            self._credentials = Credentials(host.user, host.password.reveal())
        self._pool = Pool(
            Dialler(settings, helo=kit.helo, clock=kit.clock, ca_file=host.ca_file or settings.ca_file),
            idle=settings.idle,
            messages=settings.messages_per_connection,
        )
        self._exchange = Exchange(self._pool, kit.clock)

    def destination(self, delivery: Delivery) -> str:
        """The smart host, whoever the recipient is."""
        return self._host.host

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        return Way(self._host.host)

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        found = await ask(route.to_host(self._host.host), self._resolver)
        if isinstance(found, route.NoRoute):
            for parcel in batch.parcels:
                batch.report(Report(delivery=parcel.delivery.id, outcome=found, host=self._host.host, tls=None))
            return
        await self._exchange.deliver(batch, [self._hop(target) for target in found])

    async def close(self) -> None:
        """See `Courier.close`."""
        await self._pool.close()

    def _hop(self, target: route.Target) -> Hop:
        return Hop(
            host=target.host,
            ip=target.ip,
            port=self._host.port,
            tls=TlsMode(self._host.tls),
            credentials=self._credentials,
        )


def make(kit: Kit) -> SmartHostCourier:
    """The courier of this route. Raises ValueError without a smart host in the settings."""
    if kit.settings.smart_host is None:
        raise ValueError("the route smart_host needs a smart host")
    return SmartHostCourier(kit, kit.settings.smart_host)
