"""A whole daemon with an organisation, and mail by SMTP to its doors: what comes of each mail, once it is filed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailrelay.ids import QueueId
from mailrelay.model.envelope import ArrivalState
from mailrelay.model.reply import Reply
from mailrelay.store import arrivals, organisations
from tests.support import factory
from tests.support.cli import Relay, relay
from tests.support.smtp_client import connected


@dataclass(frozen=True)
class House:
    """`relay` is the daemon; users are Anna and Ben of example.org."""

    relay: Relay

    async def json(self, *arguments: str) -> Any:
        """What a command prints."""
        return await self.relay.cli.json(*arguments)

    async def refused(self, *arguments: str) -> str:
        """What a command says that must fail."""
        said = await self.relay.cli(*arguments)
        assert said.status != 0, said
        return said.error

    async def smtp(self, to: str, content: bytes, *, sender: str = "bob@customer.example") -> Reply:
        """The answer to a mail."""
        async with connected(int(self.relay.port)) as client:
            await client.ehlo()
            return await client.mail(to, content, sender=sender)

    async def record(self, place: str, *addresses: Any, **more: Any) -> None:
        """A record of the organisation, as `factory.record` makes it."""
        app = self.relay.running.application
        (org,) = await app.store.read(organisations.list_organisations)
        await factory.record(app.store, app.clock, org, place, addresses=addresses, **more)

    async def filed(self, to: str, content: bytes, *, sender: str = "bob@customer.example") -> Any:
        """The message that a mail became, once it is filed or held."""
        answer = await self.smtp(to, content, sender=sender)
        assert answer.code == 250, answer
        found = re.search(r"queued as (Q\w+)", str(answer))
        assert found is not None
        return await self.message(found[1])

    async def message(self, queue_id: str) -> Any:
        """The message of a queue id, once no worker has it."""
        app = self.relay.running.application
        async with asyncio.timeout(30):
            while True:
                arrival = await app.store.read(arrivals.get, QueueId(queue_id))
                if arrival is not None and arrival.state not in (ArrivalState.ACCEPTED, ArrivalState.WORKING):
                    return await self.json("message", "show", queue_id)
                await asyncio.sleep(0.02)


def on(message: Any) -> dict[str, Any]:
    """The standing links of a message, by record."""
    return {one["record"]: one for one in message["links"] if not one["removed_at"]}


@asynccontextmanager
async def house(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A daemon with an organisation example.org, a user Anna and a user Ben."""
    async with relay(folder, **settings) as running:
        made = House(running)
        await made.json("organisation", "add", "Example", "--domain", "example.org")
        for name in ("anna", "ben"):
            await made.json("user", "add", "--name", name.capitalize(), "--address", f"{name}@example.org")
        yield made
