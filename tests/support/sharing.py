"""An office whose users share, or do not, with a client for each of them (I16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mailrelay.model.organisation import Right, User
from tests.support import factory
from tests.support.cli import Cli
from tests.support.filing import Desk, office
from tests.support.http import Api, Client, serving

V1 = "/api/v1"


@dataclass
class Place:
    """Anna, who has mail; her colleague Berta; and tokens without a user."""

    api: Api
    desk: Desk
    cli: Cli
    berta: User
    anna: Client
    bertas: Client
    machine: Client
    reader: Client
    """A token without a user, to read and send."""

    async def client(self, *rights: Right, on_behalf_of: User | None = None) -> Client:
        _, secret = await factory.api_token(
            self.api.store, self.api.clock, self.desk.org, *rights, on_behalf_of=on_behalf_of
        )
        return self.api.web.bearing(secret)

    async def settings(self, **changed: Any) -> None:
        answer = await self.machine.patch(f"{V1}/organisation", json={"settings": changed})
        assert answer.status == 200, answer.body

    async def share(self, who: str, **given: Any) -> None:
        answer = await self.machine.put(f"{V1}/users/{who}/sharing", json=given)
        assert answer.status == 200, answer.body


@asynccontextmanager
async def sharing_office(folder: Path, **served: Any) -> AsyncIterator[Place]:
    """The office, served as `http.serving` is told to."""
    with structlog.testing.capture_logs():
        async with serving(folder, **served) as api, office(folder, store=api.store) as desk:
            berta = await desk.user("berta@example.com")
            nobody = api.web
            made = Place(api, desk, Cli(api.server.unix_socket), berta, nobody, nobody, nobody, nobody)
            made.anna = await made.client(Right.READ, Right.SEND, on_behalf_of=desk.anna)
            made.bertas = await made.client(Right.READ, Right.SEND, on_behalf_of=berta)
            made.machine = await made.client()
            made.reader = await made.client(Right.READ, Right.SEND)
            yield made
