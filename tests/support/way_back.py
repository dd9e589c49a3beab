"""Mail that goes out and what comes back of it: a relay that keeps what would have left, and the edge, over one store.

    async with way_back(tmp_path) as post:
        sent = await post.send("bob@customer.test")
        await post.bring(sent.dsn("5.1.1"), to=sent.return_path)
        assert (await post.now(sent)).state is DeliveryState.BOUNCED

The edge's organisation (example.com) is the installation's first; the one that sends (acme.test) is another.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailrelay.config.schema import BrakeLevels, Filing
from mailrelay.dns.resolver import Resolver
from mailrelay.ids import IdFactory, MessageId, NodeId, QueueId
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.tie import Returns
from mailrelay.inbound.worker import FilingWorker
from mailrelay.mail import message
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Arrival
from mailrelay.model.event import Event
from mailrelay.model.feedback import Feedback
from mailrelay.model.message import Message
from mailrelay.model.organisation import Dropbox, Organisation
from mailrelay.model.reply import Reply
from mailrelay.model.suppression import Suppression
from mailrelay.service import Stopping
from mailrelay.store import arrivals, events, feedback, ledger, links, messages, suppressions
from mailrelay.store.base import Store, Tx
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.edge import DOMAIN, Edge, edge
from tests.support.filing import attach
from tests.support.outbound import SECRET, Relay, relay
from tests.support.smtp_client import connected

BOUNCES = "bounce.us.test"
_number = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery as the next hop got it."""

    delivery: Delivery
    return_path: str
    content: bytes

    @property
    def address(self) -> str:
        """The recipient."""
        return str(self.delivery.address)

    @property
    def token(self) -> str:
        """Our signature in its header."""
        return message.parse(self.content).headers.get("Mailrelay-Delivery") or ""

    @property
    def message_id(self) -> str:
        """Its Message-ID, without brackets."""
        return message.parse(self.content).message_id or ""

    @property
    def head(self) -> bytes:
        """Its header alone."""
        return self.content.partition(b"\r\n\r\n")[0] + b"\r\n"

    def without_tokens(self) -> Sent:
        """The same as somebody would return it who took out what only our recipients know."""
        lines = self.content.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith((b"mailrelay-delivery:", b"return-path:"))]
        return replace(self, content=b"\r\n".join(kept))

    def dsn(
        self,
        status: str = "5.1.1",
        said: str = "",
        *,
        action: str = "failed",
        recipients: tuple[str, ...] | None = None,
        to: str = "",
        fields: str = "",
    ) -> bytes:
        """A delivery status notification of it, by RFC 3464, with its header returned."""
        klass = {"2": "250", "4": "450", "5": "550"}[status[0]]
        groups = "\r\n".join(
            f"Final-Recipient: rfc822; {one}\r\nAction: {action}\r\nStatus: {status}\r\n"
            f"Diagnostic-Code: smtp; {said or f'{klass} {status} no such user here'}\r\n"
            for one in (recipients or (self.address,))
        )
        per_message = f"Reporting-MTA: dns; mx.customer.test\r\n{fields}"
        return _report("delivery-status", per_message + "\r\n" + groups, self.head, to=to or self.return_path)

    def complaint(
        self, kind: str = "abuse", *, fields: str = "", to: str = "", from_: str = "fbl@provider.test"
    ) -> bytes:
        """A feedback report about it, by RFC 5965, the recipient taken out."""
        report = f"Feedback-Type: {kind}\r\nUser-Agent: Loop/1\r\nVersion: 1\r\n{fields}"
        return _report("feedback-report", report, self.head, to=to or f"feedback@{BOUNCES}", from_=from_)

    def reply(
        self, text: str = "Yes, please.\r\n", *, from_: str = "", headers: str = "", subject: str = "Re: hello"
    ) -> bytes:
        """An answer of its recipient."""
        return (
            f"From: {from_ or self.address}\r\nTo: anna@acme.test\r\nSubject: {subject}\r\n"
            f"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{next(_number)}@answers.test>\r\n{headers}"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}"
        ).encode()


def _report(
    kind: str, fields: str, returned: bytes, *, to: str, from_: str = "MAILER-DAEMON@mx.customer.test"
) -> bytes:
    head = (
        f"From: {from_}\r\nTo: {to}\r\nSubject: Report {next(_number)}\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{next(_number)}@reports.test>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="cut"\r\n\r\n'
        f"--cut\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n"
        f"--cut\r\nContent-Type: message/{kind}\r\n\r\n{fields}\r\n"
        f"--cut\r\nContent-Type: text/rfc822-headers\r\n\r\n"
    )
    return head.encode() + returned + b"\r\n--cut--\r\n"


@dataclass(frozen=True, slots=True)
class Post:
    """What a test works with."""

    edge: Edge
    relay: Relay
    worker: FilingWorker
    box: Dropbox
    """Anna's."""

    @property
    def org(self) -> Organisation:
        """The one that sends."""
        return self.relay.org

    async def send(self, *recipients: str, header: bytes = b"", **more: Any) -> Sent:
        """Send a mail of Anna's; what the next hop got for the first recipient."""
        return (await self.send_all(*recipients, header=header, **more))[0]

    async def send_all(self, *recipients: str, header: bytes = b"", **more: Any) -> list[Sent]:
        """Send a mail of Anna's; what the next hop got for each recipient."""
        raw = self.relay.mail(header=header)
        submitted = await self.relay.submit(*recipients, **{"raw": raw, **more})
        found = await self.relay.until(submitted)
        await self.worker.drain()
        return [self._kept(one) for one in found]

    def _kept(self, delivery: Delivery) -> Sent:
        envelope = json.loads((self.relay.sent / f"{delivery.id}.json").read_text(encoding="utf-8"))
        content = (self.relay.sent / f"{delivery.id}.eml").read_bytes()
        return Sent(delivery, envelope["mail_from"], content)

    async def offer(self, raw: bytes, *, to: str, sender: str = "") -> Reply:
        """What the edge answers to a mail from `sender`, the null reverse-path unless said."""
        async with connected(self.edge.port()) as client:
            await client.ehlo()
            return await client.mail(to, raw, sender=sender)

    async def bring(self, raw: bytes, *, to: str, sender: str = "") -> Arrival:
        """Bring a mail to the edge over SMTP, have it filed, and return the arrival as it is then."""
        answer = await self.offer(raw, to=to, sender=sender)
        assert answer.code == 250, answer
        await self.worker.drain()
        queue_id = next(word.strip(",") for word in answer.text.split() if word.startswith("Q"))
        found = await self.edge.store.read(arrivals.get, QueueId(queue_id))
        assert found is not None
        return found

    async def forward(self, raw: bytes, *, cc: str = "") -> Arrival:
        """Have Anna forward a mail to her dropbox, attached."""
        address = f"bcc-{self.box.token}@{DOMAIN}"
        wrapped = attach(raw, from_="Anna <anna@acme.test>", to=address, subject="Fwd: this came", cc=cc)
        return await self.bring(wrapped, to=address, sender="anna@acme.test")

    async def now(self, sent: Sent) -> Delivery:
        """The delivery as it is now."""
        return await self.relay.delivery(sent.delivery.id)

    async def message(self, arrival: Arrival) -> Message:
        """What became of an arrival."""
        return await self.edge.store.read(messages.get, arrival.org, MessageId(arrival.message or ""))

    async def told(self, sent: Sent, type_: str = "delivery.returned") -> list[Mapping[str, str]]:
        """The data of a delivery's events of this type, in order."""
        return [dict(one.data) for one in await self.events(sent) if one.type == type_]

    async def events(self, sent: Sent) -> list[Event]:
        """What happened to a delivery."""
        found = await self.edge.store.read(events.of_message, sent.delivery.org, sent.delivery.message)
        return [one for one in found if one.delivery in ("", sent.delivery.id)]

    async def feedback(self, arrival: Arrival) -> tuple[Feedback, ...]:
        """What is kept of a mail that came back."""
        return await self.edge.store.read(feedback.of_message, arrival.org, MessageId(arrival.message or ""))

    async def suppressed(self, address: str) -> tuple[Suppression, ...]:
        """What stands against an address."""
        return await self.edge.store.read(suppressions.holding, self.org.id, [address])

    async def records(self, arrival: Arrival) -> set[str]:
        """The records that a mail is on, or one attached to it."""

        def read(tx: Tx) -> set[str]:
            found = links.of_messages(tx, arrival.org, messages.of_arrival(tx, arrival.org, arrival.id))
            return {str(one.record) for one in found}

        return await self.edge.store.read(read)

    async def is_balanced(self) -> bool:
        """Whether the books agree that nothing is lost (K8)."""

        def read(tx: Tx) -> bool:
            return not any(one.unaccounted for one in ledger.balance(tx)) and not ledger.audit(tx)

        return await self.edge.store.read(read)


@asynccontextmanager
async def way_back(
    folder: Path,
    *,
    resolver: Resolver | None = None,
    sources: frozenset[str] = frozenset(),
    brakes: BrakeLevels | None = None,
    inbound: Mapping[str, Any] | None = None,
    store: Store | None = None,
    **delivery: Any,
) -> AsyncIterator[Post]:
    """A relay that keeps what would have left, and an edge, both running, over a new embedded store or over `store`."""
    clock = FakeClock()
    # One complaint or bounce is every one of the few mails that a test sends.
    levels = brakes or BrakeLevels(blames=1_000)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(
            edge(folder, clock=clock, secret=SECRET, bounce_domain=BOUNCES, store=store, **(inbound or {}))
        )
        clock.advance(timedelta(seconds=1))  # ids of one moment have no order
        out = await stack.enter_async_context(relay(folder, store=here.store, clock=clock, brakes=levels, **delivery))
        returns = Returns(secrets=(SECRET,), complaint_sources=sources, brakes=levels)
        ids = IdFactory(clock.now)
        service = frozenset((DOMAIN, BOUNCES))
        pipeline = Pipeline(
            here.store, here.bodies, clock, ids, resolver=resolver, service_domains=service, returns=returns
        )
        worker = FilingWorker(
            here.store, pipeline, Filing(), clock, ids, node=NodeId("test"), stopping=Stopping(), poll=0.05
        )
        out.start()
        yield Post(here, out, worker, await factory.dropbox(here.store, clock, out.anna))
