"""Mass mail that was sent, its unsubscribe page, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import update

from mailrelay.clock import Clock
from mailrelay.config.schema import Config, Public
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.event import Event, EventType
from mailrelay.model.mailing_list import MailingList
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import Suppression
from mailrelay.store import events, mailing_lists, suppressions
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import delivery
from mailrelay.tracking.token import Kind, Token, make
from tests.support import factory, tracked
from tests.support.http import Answered, Api, serving
from tests.support.tracked import HOST, House

BOB = "bob@customer.test"
ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Place:
    """A delivery of a job, sent to Bob, and the public door."""

    api: Api
    whose: House
    of: DeliveryId
    list: str

    @property
    def path(self) -> str:
        return f"/u/{make(Token(Kind.UNSUBSCRIBE, self.of, list=self.list), self.api.keys, HOST)}"

    async def ask(self, method: str = "GET", path: str = "", **given: Any) -> Answered:
        return await self.api.public.ask(method, path or self.path, allow_redirects=False, **given)

    async def post(self, body: str | bytes = ONE_CLICK, headers: Mapping[str, str] | None = None) -> Answered:
        return await self.ask("POST", data=body, headers={**FORM, **(headers or {})})

    async def stands(self) -> Sequence[tuple[str, str]]:
        """Reason and list of all that stands against Bob."""
        return [(one.reason, one.list) for one in await self.history() if one.lifted_at is None]

    async def history(self) -> Sequence[Suppression]:
        return await self.api.store.read(suppressions.history, self.whose.org.id, BOB)

    async def told(self, *types: EventType) -> Sequence[Event]:
        found = await self.api.store.read(events.after, self.whose.org.id, 0, limit=1000)
        return [one for one in found if one.type in types]


async def a_list(store: Store, clock: Clock, org: OrgId, name: str = "news", **more: str) -> None:
    """A mailing list."""
    new = MailingList(org=org, name=name, created_at=clock.now(), **{"label": "Spring news", **more})
    await store.write(mailing_lists.add, new)


@asynccontextmanager
async def place(
    folder: Path,
    *,
    list_: str = "news",
    description: str = "What is <new>",
    job: str = "spring",
    settings: Mapping[str, Any] | None = None,
    **public: Any,
) -> AsyncIterator[Place]:
    """The HTTP side of a daemon, with a delivery of `job` to `list_` that was sent."""
    config = Config(data=folder, public=Public(port=0, **public))
    async with serving(folder, config=config) as api:
        org = await factory.org(api.store, api.clock, settings=OrganisationSettings(**(settings or {})))
        whose = House(org, await factory.user(api.store, api.clock, org))
        (of,) = await tracked.sent(api.store, api.clock, whose, BOB)
        if list_:
            await a_list(api.store, api.clock, org.id, list_, description=description)

        def note(tx: Tx) -> None:
            values = {"job": job, "list": list_, "sender_domain": "acme.test"}
            tx.execute(update(delivery).where(delivery.c.id == of).values(**values))

        await api.store.write(note)
        yield Place(api, whose, of, list_)
