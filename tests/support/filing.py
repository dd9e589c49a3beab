"""An office with dropboxes: mail is put in as if the edge had accepted it, and filed by the real worker.

async with office(tmp_path) as desk:
    contact = await desk.record("contact/1", "bob@customer.test")
    arrival = await desk.post(mail(to="bob@customer.test"))
    assert await desk.links(arrival) == {"contact/1"}
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailrelay.blob.folder import FolderBlobs
from mailrelay.config.schema import Filing
from mailrelay.dns.resolver import Resolver
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import IdFactory, MessageId, NodeId, QueueId
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.worker import FilingWorker
from mailrelay.model.envelope import (
    Arrival,
    ArrivalState,
    ArrivalTarget,
    Channel,
    Envelope,
    EnvelopeRecipient,
    MailParams,
    Peer,
)
from mailrelay.model.organisation import Dropbox, Organisation, User
from mailrelay.model.record import Record
from mailrelay.model.settings import OrganisationSettings, UserSettings
from mailrelay.service import Stopping
from mailrelay.smtp.address import parse_address
from mailrelay.store import arrivals, filings, ledger, links, messages, records, unresolved
from mailrelay.store.base import Store, Tx
from mailrelay.store.filings import Journey
from mailrelay.store.unresolved import Unresolved
from mailrelay.store.visibility import Viewer
from tests.support import factory
from tests.support.clock import FakeClock

DOMAIN = "inbound.test"
BOUNCES = "bounce.test"
_made = iter(range(1, 10_000_000))


def mail(
    *,
    from_: str = "Anna <anna@example.com>",
    to: str = "bob@customer.test",
    cc: str = "",
    subject: str = "Offer",
    body: str = "Hello\r\n",
    message_id: str | None = "",
    headers: tuple[str, ...] = (),
    content_type: str = "text/plain; charset=utf-8",
) -> bytes:
    """A mail with CRLF lines; `message_id` "" makes a new one, None leaves it out."""
    lines = [f"From: {from_}", f"To: {to}", f"Subject: {subject}", "Date: Mon, 01 Jun 2026 10:00:00 +0000"]
    if cc:
        lines.append(f"Cc: {cc}")
    if message_id is not None:
        lines.append(f"Message-ID: <{message_id or f'{next(_made)}@mail.test'}>")
    lines += [*headers, "MIME-Version: 1.0", f"Content-Type: {content_type}", "", body]
    return "\r\n".join(lines).encode()


def attach(*mails: bytes, **fields: Any) -> bytes:
    """A forward that carries mails as message/rfc822."""
    parts = [b"--cut\r\nContent-Type: text/plain\r\n\r\nSee these.\r\n"]
    parts += [
        b"--cut\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + one for one in mails
    ]
    head = mail(content_type='multipart/mixed; boundary="cut"', body="", **fields)
    return head + b"\r\n".join([*parts, b"--cut--\r\n"])


@dataclass(slots=True)
class Desk:
    """The office."""

    store: Store
    bodies: Bodies
    clock: FakeClock
    ids: IdFactory
    org: Organisation
    anna: User
    box: Dropbox
    pipeline: Pipeline
    worker: FilingWorker
    boxes: dict[str, Dropbox] = field(default_factory=dict)

    async def record(self, place: str, *addresses: Any, **more: Any) -> Record:
        """A record of the organisation."""
        return await factory.record(self.store, self.clock, self.org, place, addresses=addresses, **more)

    async def user(self, address: str, **more: Any) -> User:
        """Another user, with a dropbox."""
        made = await factory.user(self.store, self.clock, self.org, address, **more)
        self.boxes[made.id] = await factory.dropbox(self.store, self.clock, made)
        return made

    def dropbox_address(self, user: User | None = None) -> str:
        """A user's dropbox."""
        return f"bcc-{self.boxes[(user or self.anna).id].token}@{DOMAIN}"

    async def accept(
        self,
        raw: bytes,
        *,
        user: User | None = None,
        channel: Channel = Channel.DROPBOX,
        mail_from: str | None = "anna@example.com",
        message: str | None = None,
        recipients: tuple[str, ...] = (),
        delivery: str | None = None,
        peer: Peer | None = None,
        target: ArrivalTarget | None = None,
    ) -> QueueId:
        """Write an arrival as `inbound.accept` would."""
        user = user or self.anna
        if channel is Channel.DROPBOX:
            box = self.boxes[user.id]
            target = ArrivalTarget(address=parse_address(self.dropbox_address(user)), dropbox=box.id, user=user.id)
        elif channel is Channel.BOUNCE:
            target = ArrivalTarget(address=parse_address(f"b+x@{BOUNCES}"), delivery=delivery)
        to = recipients or ((str(target.address),) if target else ())
        kept = await self.bodies.keep(raw)
        new = Arrival(
            id=self.ids.queue(),
            org=self.org.id,
            channel=channel,
            state=ArrivalState.ACCEPTED,
            envelope=Envelope(
                mail_from=None if mail_from is None else parse_address(mail_from),
                rcpt_to=tuple(EnvelopeRecipient(address=parse_address(one)) for one in to),
                params=MailParams(),
            ),
            target=target,
            peer=peer
            or Peer(ip="127.0.0.1", port=4711, helo="mail.test", esmtp=True, tls="", user=_sender(channel, user)),
            raw=kept.ref,
            received_at=self.clock.now(),
            attempts=0,
            lease=None,
            message=message,
        )

        def write(tx: Tx) -> None:
            kept.put(tx)
            arrivals.add(tx, new)

        await self.store.write(write)
        return new.id

    async def post(self, raw: bytes, **how: Any) -> Arrival:
        """Accept a mail, file what is due, and return the arrival as it is then."""
        id_ = await self.accept(raw, **how)
        await self.worker.drain()
        return await self.arrival(id_)

    async def arrival(self, id_: QueueId) -> Arrival:
        """As it is now."""
        found = await self.store.read(arrivals.get, id_)
        assert found is not None
        return found

    async def links(self, of: Arrival | MessageId) -> set[str]:
        """The records that a message is on."""
        message = MessageId(of.message or "") if isinstance(of, Arrival) else of
        found = await self.store.read(links.of_message, self.org.id, message)
        return {str(link.record) for link in found if link.removed_at is None}

    async def journey(self, of: Arrival) -> Journey:
        """All about the message of an arrival."""
        assert of.message is not None
        return await self.journey_of(MessageId(of.message))

    async def journey_of(self, message: MessageId) -> Journey:
        """All about a message."""
        return await self.store.read(filings.journey, Viewer(org=self.org.id, all=True), message)

    async def waiting(self) -> tuple[Unresolved, ...]:
        """The unresolved list."""
        return await self.store.read(unresolved.list_open, self.org.id)

    async def all_records(self, module: str) -> tuple[Record, ...]:
        """The records of a module."""
        return await self.store.read(records.list_records, self.org.id, module)

    async def messages(self) -> tuple[Any, ...]:
        """All messages, newest first."""
        return await self.store.read(messages.list_messages, self.org.id, limit=1000)

    async def is_balanced(self) -> bool:
        """Whether the ledger and the audit agree that nothing is lost (K8)."""
        sums = await self.store.read(ledger.balance)
        return not any(one.unaccounted for one in sums) and not await self.store.read(ledger.audit)


def _sender(channel: Channel, user: User) -> Any:
    return user.id if channel in (Channel.API, Channel.SUBMISSION) else None


@asynccontextmanager
async def office(
    folder: Path,
    *,
    store: Store | None = None,
    settings: OrganisationSettings | None = None,
    user_settings: UserSettings | None = None,
    resolver: Resolver | None = None,
    filing: Filing | None = None,
) -> AsyncIterator[Desk]:
    """An organisation example.com with the user Anna, who has a dropbox and an alternate address."""
    if store is None:
        async with (
            factory.open_store(folder) as opened,
            office(
                folder, store=opened, settings=settings, user_settings=user_settings, resolver=resolver, filing=filing
            ) as desk,
        ):
            yield desk
        return
    clock = FakeClock()
    ids = factory.ids(clock)
    org = await factory.org(store, clock, domains=("example.com",), settings=settings)
    anna = await factory.user(
        store, clock, org, "anna@example.com", alternates=("anna@home.test",), settings=user_settings
    )
    box = await factory.dropbox(store, clock, anna)
    bodies = Bodies(store, FolderBlobs(folder / "blobs"), small_body=65_536)
    pipeline = Pipeline(store, bodies, clock, ids, resolver=resolver, service_domains=frozenset((DOMAIN, BOUNCES)))
    worker = FilingWorker(
        store,
        pipeline,
        filing or Filing(),
        clock,
        ids,
        node=NodeId("test"),
        stopping=Stopping(),
        poll=0.05,
    )
    yield Desk(store, bodies, clock, ids, org, anna, box, pipeline, worker, {anna.id: box})
