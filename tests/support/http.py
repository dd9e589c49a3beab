"""The real HTTP service on real sockets, over a real store; and a client that speaks JSON to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from mailrelay.blob.folder import FolderBlobs
from mailrelay.blob.object_folder import FolderObjects
from mailrelay.config.schema import Config, Http, Public
from mailrelay.dns.outgoing import Outgoing
from mailrelay.dns.resolver import Resolver
from mailrelay.filing.bodies import Bodies
from mailrelay.filing.contents import Contents
from mailrelay.ids import IdFactory
from mailrelay.memory import Memory
from mailrelay.model.lookup import Answer, Question
from mailrelay.model.reach import Reach
from mailrelay.outbound import courier
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.explain import Explainer
from mailrelay.outbound.hit_spool import Spool
from mailrelay.outbound.hits import Hits
from mailrelay.outbound.policy.tls import NoDemands
from mailrelay.outbound.shaper import Shaper
from mailrelay.outbound.submit import Submitter
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.outbound.trace import Tracer
from mailrelay.outbound.trust import trusting
from mailrelay.outbound.vault import Vault
from mailrelay.service import Stopping
from mailrelay.store.base import Store
from mailrelay.tracking import agent
from mailrelay.tracking.token import Keys
from mailrelay.web import ops
from mailrelay.web.application import Application
from mailrelay.web.public import app as public_door
from mailrelay.web.server import HttpServer
from mailrelay.webhook.request import Poster
from tests.support.answers import Zone
from tests.support.clock import FakeClock
from tests.support.factory import open_store
from tests.support.filing import DOMAIN

SECRET = b"a secret of at least thirty-two octets"


@dataclass(frozen=True)
class Answered:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Client:
    """Speaks to one of the doors; `token` None sends no Authorization."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str | None = None) -> None:
        self._session = session
        self._base = base
        self._token = token

    def bearing(self, token: str) -> Client:
        return Client(self._session, self._base, token)

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **given: Any) -> Answered:
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        async with self._session.request(method, self._base + path, headers=sent, **given) as answer:
            return Answered(answer.status, answer.headers, await answer.read())

    async def beginning(
        self, method: str, path: str, *, seconds: float, headers: Mapping[str, str] | None = None, **given: Any
    ) -> bytes:
        """What comes at once of an answer that has no end."""
        sent = {**(headers or {}), **({} if self._token is None else {"Authorization": f"Bearer {self._token}"})}
        came = b""
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(seconds),
                self._session.request(method, self._base + path, headers=sent, **given) as answer,
            ):
                async for piece in answer.content.iter_any():
                    came += piece
        return came

    async def get(self, path: str, **given: Any) -> Answered:
        return await self.ask("GET", path, **given)

    async def post(self, path: str, **given: Any) -> Answered:
        return await self.ask("POST", path, **given)

    async def put(self, path: str, **given: Any) -> Answered:
        return await self.ask("PUT", path, **given)

    async def patch(self, path: str, **given: Any) -> Answered:
        return await self.ask("PATCH", path, **given)

    async def delete(self, path: str, **given: Any) -> Answered:
        return await self.ask("DELETE", path, **given)


class ZoneResolver:
    """Answers from a zone, without a network."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    async def resolve(self, question: Question) -> Answer:
        return self._zone(question)


@dataclass(frozen=True)
class Api:
    """The running service and what is behind it. `web` is its TCP door, `local` the Unix socket, `ops` the operator's, `public`
    everybody's; `keys` make the tokens of pixels and links, and `hits` takes what is done with them."""

    server: HttpServer
    application: Application
    store: Store
    clock: FakeClock
    stopping: Stopping
    web: Client
    local: Client
    ops: Client
    public: Client
    keys: Keys
    hits: Hits


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    config: Config | None = None,
    probes: Mapping[str, ops.Probe] | None = None,
    resolver: Resolver | None = None,
    clock: FakeClock | None = None,
    max_body: int = 64_000_000,
    memory: Memory | None = None,
    store: Store | None = None,
) -> AsyncIterator[Api]:
    """The HTTP service on free ports, over `store`, else a new one in `folder`."""
    clock = clock or FakeClock()
    config = config or Config(data=folder)
    http = Http(port=0, ops_port=0, max_body=max_body, max_file=max_body)
    stopping = Stopping()
    async with contextlib.nullcontext(store) if store is not None else open_store(folder) as store:
        bodies = Bodies(store, FolderBlobs(folder / "blobs"), small_body=65_536)
        ids = IdFactory(clock.now)
        asked, vault = resolver or ZoneResolver(Zone({})), Vault(SECRET)
        kit = Kit(
            settings=config.delivery,
            hostname="relay.example",
            own_names=frozenset(),
            own_addresses=frozenset(),
            sent=folder / "sent",
            resolver=asked,
            clock=clock,
        )
        router = Router(courier.load(kit), kit, store, vault)
        shaper, tls_memory = Shaper(config.delivery, clock), TlsMemory(clock, store)
        explainer = Explainer(
            store, router, shaper, tls_memory, kit, dropbox_domains=(DOMAIN,), quotas=config.submission.quotas
        )
        reach = Reach.of(config.webhooks.allow_private, http=config.webhooks.allow_http)
        outgoing = Outgoing(asked, reach, trusting(config.delivery.ca_file), agent="mailrelay tests")
        hits = Hits(
            store,
            Spool(folder / "hits", new_id=ids.hit, has_room=lambda size: True),
            clock,
            judge=agent.judge,
            new_id=ids.hit,
            stopping=stopping,
        )
        application = Application(
            config=config,
            store=store,
            bodies=bodies,
            contents=Contents(
                FolderObjects(folder / "attachments"),
                None if config.attachments.folder is None else FolderObjects(config.attachments.folder, ours=False),
            ),
            clock=clock,
            ids=ids,
            submitter=Submitter(
                store,
                bodies,
                ids,
                clock,
                config.delivery,
                hostname="relay.example",
                max_recipients=100,
                domains=(DOMAIN, *config.inbound.domains),
                secrets=(SECRET,),
            ),
            resolver=asked,
            demands=NoDemands(),
            tls_memory=tls_memory,
            shaper=shaper,
            explainer=explainer,
            tracer=Tracer(router, explainer, kit),
            router=router,
            hits=hits,
            vault=vault,
            secret=SECRET,
            webhooks=Poster(outgoing, vault, clock, timeout=config.webhooks.timeout),
            stopping=stopping,
            memory=memory or Memory(),
        )
        keys = Keys.derive(SECRET)
        server = HttpServer(
            http,
            application,
            public=Public(port=0),
            public_door=public_door.build(application, keys=keys, hits=hits),
            probes=probes or {"store": ops.store_writes(store), "stopping": ops.not_stopping(stopping)},
            stopping=stopping,
            ended=stopping,
            unix_socket=folder / "mr.sock",
            grace=2,
        )
        running = asyncio.gather(server.run(), hits.run())
        host, port = server.address
        _, ops_port = server.ops_address
        _, public_port = server.public_address
        try:
            async with (
                aiohttp.ClientSession() as tcp,
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(server.unix_socket))) as unix,
            ):
                yield Api(
                    server=server,
                    application=application,
                    store=store,
                    clock=clock,
                    stopping=stopping,
                    web=Client(tcp, f"http://{host}:{port}"),
                    local=Client(unix, "http://local"),
                    ops=Client(tcp, f"http://{host}:{ops_port}"),
                    public=Client(tcp, f"http://{host}:{public_port}"),
                    keys=keys,
                    hits=hits,
                )
        finally:
            await outgoing.close()
            stopping.set()
            await running
