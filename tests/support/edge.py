"""The listeners in the test's own process, with a real store behind them, an organisation, a user and a dropbox."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from mailrelay.blob.folder import FolderBlobs
from mailrelay.blob.space import Space
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery, Dns, Inbound, Listener, ListenerKind, Submission, Tls
from mailrelay.dns.caching import CachingResolver
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import IdFactory
from mailrelay.inbound.accept import Acceptor
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.door import Door
from mailrelay.inbound.listener import Listeners
from mailrelay.inbound.passwords import hash_password
from mailrelay.inbound.recipient import Recipients
from mailrelay.inbound.submission import SubmissionDoor
from mailrelay.model.envelope import Arrival
from mailrelay.model.organisation import Dropbox, Organisation, User
from mailrelay.model.settings import OrganisationSettings
from mailrelay.outbound.submit import Submitter
from mailrelay.service import Stopping
from mailrelay.store import arrivals
from mailrelay.store.base import Tx
from mailrelay.store.sqlite import SqliteStore
from mailrelay.store.tables import arrival as arrival_table
from tests.support import factory

DOMAIN = "inbound.test"
BOUNCES = "bounce.test"
SECRET = b"a secret of thirty-two characters"
PASSWORD = "correct horse battery staple"
ROUNDS = 4
MAIL = b"From: anna@example.com\r\nTo: bob@customer.test\r\nSubject: Offer\r\n\r\nHello Bob\r\n"
ROOM = Space(free=10**12, total=10**12)


@dataclass(slots=True)
class Edge:
    """What tests look at."""

    store: SqliteStore
    bodies: Bodies
    clock: Clock
    folder: Path
    listeners: Listeners
    stopping: Stopping
    organisation: Organisation
    user: User
    dropbox: Dropbox
    certificate: Certificate
    task: asyncio.Task[None]
    """The service."""
    space: list[Space] = field(default_factory=lambda: [ROOM])
    """The last one is what the disk has."""

    @property
    def address(self) -> str:
        """The user's dropbox."""
        return f"bcc-{self.dropbox.token}@{DOMAIN}"

    def port(self, kind: ListenerKind = ListenerKind.EDGE) -> int:
        """Where a listener listens."""
        return next(bound.port for bound in self.listeners.bound if bound.kind is kind)

    async def arrivals(self) -> list[Arrival]:
        """All arrivals, oldest first."""
        return await self.store.read(_arrivals)

    async def raw(self, arrival: Arrival) -> bytes:
        """Its bytes as kept."""
        return await self.bodies.read(arrival.raw)

    async def second_dropbox(self, **settings: Any) -> tuple[Dropbox, User]:
        """Another user's, in an organisation of its own when settings are given."""
        org = self.organisation
        if settings:
            org = await factory.org(self.store, self.clock, settings=OrganisationSettings(**settings))
        user = await factory.user(self.store, self.clock, org)
        return await factory.dropbox(self.store, self.clock, user), user


def _arrivals(tx: Tx) -> list[Arrival]:
    ids = tx.execute(select(arrival_table.c.id).order_by(arrival_table.c.id)).scalars().all()
    return [found for one in ids if (found := arrivals.get(tx, one)) is not None]


@asynccontextmanager
async def edge(
    folder: Path,
    *,
    settings: OrganisationSettings | None = None,
    zone: str = "",
    submission: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    rate_grace: float = 60.0,
    small_body: int = 65_536,
    secret: bytes = SECRET,
    store: Any = None,
    **inbound: Any,
) -> AsyncIterator[Edge]:
    """Listeners on free ports of 127.0.0.1; `inbound` are settings of that section. Sessions end with the context.

    Without `store` there is a new embedded one in `folder`.
    """
    clock = clock or Clock()
    async with factory.open_store(folder) if store is None else nullcontext(store) as store:
        org = await factory.org(store, clock, domains=("example.com",), settings=settings)
        user = await factory.user(
            store,
            clock,
            org,
            "anna@example.com",
            alternates=("anna@home.test",),
            password=hash_password(PASSWORD, rounds=ROUNDS),
        )
        box = await factory.dropbox(store, clock, user)
        bodies = Bodies(store, FolderBlobs(folder / "blobs"), small_body=small_body)
        chosen = Inbound(
            **{
                "domains": (DOMAIN,),
                "bounce_domain": BOUNCES,
                "error_delay": 0.0,
                "max_connections_per_ip_per_minute": 10_000,
                "max_connections_per_ip": 1_000,
                **inbound,
            }
        )
        nameservers = (zone,) if zone else ("127.0.0.1:9",)
        resolver = CachingResolver(Dns(nameservers=nameservers, timeout=1.0), clock)
        recipients = Recipients(
            store, clock, hostname="mx.test", domains=(DOMAIN,), bounce_domain=chosen.bounce_domain, secrets=(secret,)
        )
        space = [ROOM]
        doors: dict[ListenerKind, Door] = {
            ListenerKind.EDGE: Acceptor(
                hostname="mx.test",
                settings=chosen,
                store=store,
                bodies=bodies,
                ids=IdFactory(clock.now),
                clock=clock,
                recipients=recipients,
                resolver=resolver,
                space=lambda: space[-1],
            )
        }
        submissions = Submission(**{"password_rounds": ROUNDS, **(submission or {})})
        doors[ListenerKind.SUBMISSION] = doors[ListenerKind.SUBMISSIONS] = SubmissionDoor(
            settings=submissions,
            store=store,
            clock=clock,
            submitter=Submitter(
                store,
                bodies,
                IdFactory(clock.now),
                clock,
                Delivery(),
                hostname="mx.test",
                max_recipients=submissions.max_recipients,
                domains=(DOMAIN,),
            ),
        )
        stopping = Stopping()
        certificate = Certificate(Tls(), data=folder, hostname="mx.test", clock=clock)
        listeners = Listeners(
            tuple(Listener(kind=kind, port=0) for kind in doors),
            hostname="mx.test",
            settings=chosen,
            certificate=certificate,
            doors=doors,
            stopping=stopping,
        )
        listeners.house.rate_grace = rate_grace
        task = asyncio.create_task(listeners.run())
        waiting = asyncio.create_task(listeners.ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            if task.done():
                task.result()
            yield Edge(store, bodies, clock, folder, listeners, stopping, org, user, box, certificate, task, space)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await resolver.close()


def digest(data: bytes) -> str:
    """For comparing large bodies."""
    return hashlib.sha256(data).hexdigest()
