"""The service that writes to authors, beside a `tests.support.outbound.Relay`."""

from __future__ import annotations

from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.ids import IdFactory
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Channel
from mailrelay.outbound.notify import Notifier
from mailrelay.store import deliveries
from tests.support.outbound import Relay


def notifier(us: Relay, *, wait: float = 0.0, own: tuple[str, ...] = ("in.us.test", "bounce.us.test")) -> Notifier:
    """A service of a relay's; `wait` seconds for other recipients, `own` are domains of dropboxes and return paths."""
    return Notifier(
        us.store,
        us.bodies,
        IdFactory(us.clock.now),
        us.clock,
        DeliverySettings(notice_wait=wait),
        hostname="mx.us.test",
        domain="us.test",
        own_domains=own,
        stopping=us.stopping,
        poll=0.01,
    )


async def notices(us: Relay) -> list[Delivery]:
    """The deliveries of notices, oldest first."""
    found = await us.store.read(deliveries.list_deliveries, us.org.id)
    return [one for one in reversed(found) if one.channel is Channel.NOTICE]
