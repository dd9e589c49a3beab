"""The way out in one process: a store, a submitter and a dispatcher over given settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailrelay.blob.folder import FolderBlobs
from mailrelay.config.schema import BrakeLevels
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import DeliveryId, IdFactory, NodeId
from mailrelay.model.delivery import Attempt, Delivery, DeliveryState
from mailrelay.model.envelope import Channel, EnvelopeRecipient
from mailrelay.model.lookup import Answer, LookupStatus, Question
from mailrelay.model.organisation import Organisation, User
from mailrelay.outbound import courier
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.dispatcher import Dispatcher
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.next_hops import NextHops
from mailrelay.outbound.shaper import Shaper
from mailrelay.outbound.stops import Stops
from mailrelay.outbound.submit import Submission, Submitted, Submitter
from mailrelay.outbound.suspended_sources import SuspendedSources
from mailrelay.outbound.vault import Vault
from mailrelay.service import Stopping
from mailrelay.smtp.address import parse_address
from mailrelay.store import deliveries
from mailrelay.store.base import Store
from tests.support import factory
from tests.support.clock import FakeClock

SECRET = b"a secret of at least thirty-two octets"


class ZoneResolver:
    """Answers out of a function of questions (`tests.support.answers.Zone`)."""

    def __init__(self, answers: Callable[[Question], Answer]) -> None:
        self.answers = answers

    async def resolve(self, question: Question) -> Answer:
        return self.answers(question)


def no_dns(question: Question) -> Answer:
    return Answer(LookupStatus.NO_NAME)


@dataclass
class Relay:
    """What a test of the way out works with."""

    store: Store
    clock: FakeClock
    bodies: Bodies
    submitter: Submitter
    dispatcher: Dispatcher
    shaper: Shaper
    stops: Stops
    stopping: Stopping
    resolver: ZoneResolver
    sent: Path
    org: Organisation
    anna: User
    bob: User
    _task: asyncio.Task[None] | None = field(default=None)

    def mail(self, author: str | None = None, body: bytes = b"body\r\n", header: bytes = b"") -> bytes:
        """A mail of Anna's, or of another author."""
        return (
            b"From: Anna <"
            + (author or str(self.anna.primary)).encode()
            + b">\r\nTo: bob@b.test\r\n"
            + header
            + b"Subject: hello\r\n\r\n"
            + body
        )

    async def submit(self, *recipients: str, **more: Any) -> Submitted:
        """A submission of Anna's to these recipients."""
        fields: dict[str, Any] = {
            "org": self.org.id,
            "user": self.anna.id,
            "channel": Channel.API,
            "mail_from": self.anna.primary,
            "recipients": tuple(EnvelopeRecipient(address=parse_address(one)) for one in recipients or ("bob@b.test",)),
            "raw": self.mail(),
        }
        return await self.submitter.submit(Submission(**{**fields, **more}))

    def start(self) -> None:
        """Let the dispatcher run until the relay is closed."""
        self._task = asyncio.create_task(self.dispatcher.run())

    async def stop(self, *, grace: float = 5.0) -> None:
        """Ask the dispatcher to stop; cancel it when it does not within `grace` seconds."""
        self.stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def delivery(self, id: DeliveryId) -> Delivery:  # noqa: A002
        return await self.store.read(deliveries.get, self.org.id, id)

    async def history(self, id: DeliveryId) -> tuple[Attempt, ...]:  # noqa: A002
        return await self.store.read(deliveries.history, id)

    async def until(
        self,
        submitted: Submitted,
        *states: DeliveryState,
        attempts: int = 0,
        timeout: float = 30.0,  # noqa: ASYNC109
    ) -> list[Delivery]:
        """Wait until every delivery is in one of these states (SENT unless said) with so many attempts."""
        wanted = states or (DeliveryState.SENT,)
        found: list[Delivery] = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    found = [await self.delivery(one) for one in submitted.deliveries]
                    if all(one.state in wanted and one.attempts >= attempts for one in found):
                        break
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{[(one.state, one.attempts, one.last_reply) for one in found]}") from None
        if DeliveryState.QUEUED in wanted:
            # How it went is known of its way a moment later; a clock put forward before that would be too early.
            with suppress(TimeoutError):
                await until(lambda: not self.dispatcher._running, timeout=0.5)
        return found


@asynccontextmanager
async def relay(
    folder: Path,
    *,
    answers: Callable[[Question], Answer] = no_dns,
    store: Store | None = None,
    clock: FakeClock | None = None,
    brakes: BrakeLevels | None = None,
    letters: Mapping[str, Any] | None = None,
    kit: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Relay]:
    """A relay over a new embedded store in `folder`, or over `store`.

    `settings` are those of `delivery`, `letters` of LetterMaker, `kit` of the courier's Kit.
    """
    clock = clock or FakeClock()
    if store is not None:
        async with _relay(folder, store, clock, answers, settings, brakes, letters or {}, kit or {}) as made:
            yield made
        return
    async with (
        factory.open_store(folder) as opened,
        _relay(folder, opened, clock, answers, settings, brakes, letters or {}, kit or {}) as made,
    ):
        yield made


@asynccontextmanager
async def _relay(
    folder: Path,
    store: Store,
    clock: FakeClock,
    answers: Callable[[Question], Answer],
    given: dict[str, Any],
    brakes: BrakeLevels | None,
    more: Mapping[str, Any],
    parts: Mapping[str, Any],
) -> AsyncIterator[Relay]:
    settings = DeliverySettings(**{"allow_private": True, "idle": 0.2, **given})
    org = await factory.org(store, clock, domains=("acme.test",))
    anna = await factory.user(store, clock, org, "anna@acme.test", alternates=("anna@home.test",))
    bob = await factory.user(store, clock, org, "bob@acme.test")
    bodies = Bodies(store, FolderBlobs(folder / "blobs"), small_body=65_536)
    stopping = Stopping()
    resolver = ZoneResolver(answers)
    fields: dict[str, Any] = {
        "settings": settings,
        "hostname": "us.test",
        "own_names": frozenset({"us.test"}),
        "own_addresses": frozenset(),
        "sent": folder / "sent",
        "resolver": resolver,
        "clock": clock,
        "suspended_sources": SuspendedSources(store, clock).of,
        "shut_out": NextHops(store, clock).shut_out,
    }
    kit = Kit(**{**fields, **parts})
    letters = LetterMaker(
        store,
        bodies,
        clock,
        hostname="us.test",
        domain="us.test",
        bounce_domain="bounce.us.test",
        secret=SECRET,
        **more,
    )
    shaper = Shaper(settings, clock)
    stops = Stops()
    made = Relay(
        store=store,
        clock=clock,
        bodies=bodies,
        submitter=Submitter(
            store, bodies, IdFactory(clock.now), clock, settings, hostname="us.test", max_recipients=1000
        ),
        dispatcher=Dispatcher(
            store,
            Router(courier.load(kit), kit, store, Vault(SECRET)),
            letters,
            clock,
            settings,
            node=NodeId("node"),
            stopping=stopping,
            brakes=brakes or BrakeLevels(),
            shaper=shaper,
            stops=stops,
            poll=0.02,
        ),
        shaper=shaper,
        stops=stops,
        stopping=stopping,
        resolver=resolver,
        sent=folder / "sent",
        org=org,
        anna=anna,
        bob=bob,
    )
    try:
        yield made
    finally:
        await made.stop()


async def until(true: Callable[[], bool], *, timeout: float = 30.0) -> None:  # noqa: ASYNC109
    """Wait until something is true."""
    async with asyncio.timeout(timeout):
        while not true():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.002)
