"""Nothing leaves: each delivery is kept as a file, exactly as it would have been sent, with its envelope beside it.

`<delivery id>.eml` is what the next hop would have read after DATA, `<delivery id>.json` what it would have heard before.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mailrelay.config.schema import Route
from mailrelay.model.delivery import Accepted, Delivery
from mailrelay.model.reply import reply
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, Parcel, Report
from mailrelay.outbound.policy.route import NoRoute
from mailrelay.outbound.transaction import Letter, Offers

ROUTE = Route.CATCH_ALL
KEPT = reply(250, "2.0.0", "kept by the catch-all")
_HOST = "catch-all"
_EVERYTHING = Offers(names=frozenset({"8bitmime", "smtputf8", "dsn", "size", "pipelining"}), size=0, auth=())


class CatchAllCourier:
    """Keeps what would have been sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def way(self, delivery: Delivery) -> Way:
        """See `Courier.way`."""
        return Way(_HOST, relay=True)

    async def deliver(self, batch: DeliveryBatch) -> None:
        """See `Courier.deliver`."""
        for parcel in batch.parcels:
            letter = await batch.letters.letter((parcel,), _EVERYTHING)
            if not isinstance(letter, Letter):
                batch.report(Report(delivery=parcel.delivery.id, outcome=letter, host=_HOST, tls=None))
                continue
            await asyncio.to_thread(self._keep, parcel, letter)
            batch.report(Report(delivery=parcel.delivery.id, outcome=Accepted(reply=KEPT), host=_HOST, tls=None))

    async def hops(self, delivery: Delivery, way: Way) -> Sequence[Hop] | NoRoute:
        """See `Courier.hops`."""
        return ()

    async def close(self) -> None:
        """Nothing is open."""

    def _keep(self, parcel: Parcel, letter: Letter) -> None:
        """Durable on return; a second time for the same delivery writes the same name (D11)."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        delivery = parcel.delivery
        envelope = {
            "delivery": delivery.id,
            "queue_id": delivery.queue_id,
            "mail_from": "" if letter.mail_from is None else str(letter.mail_from),
            "rcpt_to": str(delivery.address),
            "author": "" if delivery.mail_from is None else str(delivery.mail_from),
            "notify": sorted(delivery.recipient.notify),
            "orcpt": delivery.recipient.orcpt or "",
            "smtputf8": letter.utf8,
        }
        _write(self._folder / f"{delivery.id}.json", json.dumps(envelope, indent=2, ensure_ascii=False).encode())
        _write(self._folder / f"{delivery.id}.eml", letter.content)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def make(kit: Kit) -> CatchAllCourier:
    """The courier of this route."""
    return CatchAllCourier(kit.settings.catch_all or kit.sent)


def _write(path: Path, data: bytes) -> None:
    """A whole file or none (D03): beside it first, by a name that nobody takes for a mail's, then renamed."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
