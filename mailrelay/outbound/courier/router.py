"""Which courier a delivery takes: its author's own smart host, its domain's, else the route of the installation (O11)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from mailrelay.errors import Unknown
from mailrelay.ids import OrgId, SmartHostId, UserId
from mailrelay.model.delivery import Deferred, Delivery, Stage
from mailrelay.model.reply import reply
from mailrelay.model.smart_host import SmartHost
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.courier.base import Courier, DeliveryBatch, Kit, report_all
from mailrelay.outbound.courier.own_host import OwnHosts, Tried
from mailrelay.outbound.policy.route import NoRoute
from mailrelay.outbound.vault import Vault
from mailrelay.store import smart_hosts
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together, one_by_one

_Whose = tuple[OrgId, UserId | None, str]
_KEPT = 1.0
"""Seconds until a change is seen: a batch of a mass mail asks once."""
_MAX_KEPT = 10_000
_REMOVED = Deferred(
    reply=reply(451, "4.4.4", "The smart host that it was to go to was removed just now; it goes another way"),
    stage=Stage.RESOLVE,
)


class Router:
    """A `Courier` that gives each batch to the right one."""

    def __init__(self, inner: Courier, kit: Kit, store: Store, vault: Vault) -> None:
        """`inner` is the courier of the installation's route."""
        self._inner = inner
        self._store = store
        self._clock = kit.clock
        self._own = OwnHosts(kit, store, vault)
        self._found: OrderedDict[_Whose, tuple[float, SmartHost | None]] = OrderedDict()
        self._asking = Together(store, one_by_one(_of))

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        host = await self.smart_host((delivery.org, delivery.author, delivery.sender_domain))
        return await self._inner.way(delivery) if host is None else self._own.way(host)

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        if not batch.way.smart_host:
            await self._inner.deliver(batch)
            return
        org = batch.parcels[0].delivery.org
        try:
            host = await self._store.read(smart_hosts.get, org, SmartHostId(batch.way.smart_host))
        except Unknown:
            report_all(batch, _REMOVED, host=batch.way.site, relayed=True)
            return
        await self._own.deliver(batch, host)

    async def hops(self, delivery: Delivery, way: Way) -> Sequence[Hop] | NoRoute:
        """See `Courier.hops`; those of an organisation's smart host without credentials."""
        if not way.smart_host:
            return await self._inner.hops(delivery, way)
        try:
            host = await self._store.read(smart_hosts.get, delivery.org, SmartHostId(way.smart_host))
        except Unknown:
            return _REMOVED
        return await self._own.hops(host)

    async def close(self) -> None:
        """See `Courier.close`."""
        await self._own.close()
        await self._inner.close()

    async def test(self, host: SmartHost) -> Tried:
        """Connect to an organisation's smart host and log in; nothing is sent."""
        return await self._own.test(host)

    async def smart_host(self, whose: _Whose) -> SmartHost | None:
        """The organisation's own smart host in force for (organisation, author, sender domain); a second old at most."""
        now = self._clock.monotonic()
        known = self._found.get(whose)
        if known is not None and now < known[0]:
            return known[1]
        found = await self._asking.ask(whose)
        self._found[whose] = (now + _KEPT, found)
        self._found.move_to_end(whose)
        if len(self._found) > _MAX_KEPT:
            self._found.popitem(last=False)
        return found


def _of(tx: Tx, whose: _Whose) -> SmartHost | None:
    return smart_hosts.of(tx, *whose)
