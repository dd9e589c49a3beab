"""A client of the notices' stream (server-sent events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.http import Api

V1 = "/api/v1"


class Stream:
    """What a client hears on the stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def block(self) -> dict[str, str]:
        """The next block of fields; a comment's field is ""."""
        found: dict[str, str] = {}
        async with asyncio.timeout(30):
            while line := (await self._answer.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(":")
                found[name] = value.removeprefix(" ")
        return found

    async def event(self) -> dict[str, Any]:
        """The next event."""
        while "data" not in (block := await self.block()):
            assert block, "the stream ended"
        return {**json.loads(block["data"]), "id": block["id"], "event": block["event"]}

    async def end(self) -> None:
        """Until nothing more comes."""
        async with asyncio.timeout(30):
            while await self._answer.content.readline():
                pass


@asynccontextmanager
async def follow(api: Api, secret: str, *, last: str = "", query: str = "") -> AsyncIterator[Stream]:
    host, port = api.server.address
    headers = {"Authorization": f"Bearer {secret}", **({"Last-Event-ID": last} if last else {})}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{port}{V1}/notices/stream?{query}", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.read()
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)
