"""DATA on the edge: a mail becomes durable arrivals, one for each target, in one transaction, and then 250 (I1, I24, O1)."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable

from mailrelay import log, metrics
from mailrelay.blob.space import Space
from mailrelay.clock import Clock
from mailrelay.config.schema import Inbound
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import StoreBusy
from mailrelay.filing.bodies import Bodies, BodySpool, KeptBody
from mailrelay.ids import IdFactory, QueueId
from mailrelay.inbound import permit
from mailrelay.inbound.door import Reception
from mailrelay.inbound.recipient import Recipients, Target
from mailrelay.inbound.sasl import Credentials
from mailrelay.mail import trace
from mailrelay.mail.headers import MAX_BYTES, MAX_FIELDS, HeaderBlock
from mailrelay.model.address import ReversePath
from mailrelay.model.envelope import Arrival, ArrivalState, Envelope, EnvelopeRecipient, MailParams, Peer
from mailrelay.model.organisation import User
from mailrelay.model.reply import Reply, reply
from mailrelay.smtp import codes
from mailrelay.smtp.address import format_path
from mailrelay.store import arrivals, dropboxes, people
from mailrelay.store.base import Store, Tx

_EMPTY_LINE = b"\r\n\r\n"
# Fields that we count or that only we may write; a header with none but Received needs no closer look.
_TRACE = re.compile(
    rb"^(received|delivered-to|authentication-results|return-path|x-mailrelay-[!-9;-~]*)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)

logger = log.get()


class Acceptor:
    """The edge's `door.Door`: takes mail from anybody, for our dropboxes and return paths."""

    mechanisms: tuple[str, ...] = ()
    future_release = ""

    def __init__(
        self,
        *,
        hostname: str,
        settings: Inbound,
        store: Store,
        bodies: Bodies,
        ids: IdFactory,
        clock: Clock,
        recipients: Recipients,
        resolver: Resolver,
        space: Callable[[], Space],
    ) -> None:
        self.hostname = hostname
        self.settings = settings
        self.store = store
        self.bodies = bodies
        self.ids = ids
        self.clock = clock
        self.recipients = recipients
        self.resolver = resolver
        self._space = space

    @property
    def max_size(self) -> int:
        """See `Door`."""
        return self.settings.max_size

    @property
    def max_recipients(self) -> int:
        """See `Door`."""
        return self.settings.max_recipients

    async def log_in(self, ip: str, credentials: Credentials) -> User | Reply:
        """Nobody logs in here."""
        return codes.COMMAND_NOT_OFFERED

    async def begin(
        self, peer: Peer, user: User | None, mail_from: ReversePath, params: MailParams
    ) -> Reception | Reply:
        """A reception, or 452 when the disk has no room for it beside the floor that is kept free (S06, D05)."""
        space = self._space()
        largest = self.settings.max_size
        if not space.takes(params.size or 0, largest=largest):
            logger.warning("disk.filled", free=space.free, floor=space.floor(largest), inodes=space.inodes)
            return codes.NO_SPACE
        return _Reception(self, peer, mail_from, params)


class _Reception:
    """One transaction on the edge."""

    def __init__(self, acceptor: Acceptor, peer: Peer, mail_from: ReversePath, params: MailParams) -> None:
        self._acceptor = acceptor
        self._peer = peer
        self._mail_from = mail_from
        self._params = params
        self._targets: dict[str, tuple[EnvelopeRecipient, Target]] = {}
        self._ids: list[QueueId] = []
        self._head = bytearray()
        self._original_head = b""
        self._refusal: Reply | None = None
        self._spool: BodySpool | None = None
        self._abandoned = threading.Event()

    async def add(self, recipient: EnvelopeRecipient) -> Reply:
        """See `Reception`."""
        found = await self._acceptor.recipients.resolve(recipient.address)
        if isinstance(found, Reply):
            # Not the address itself: it may be somebody's secret with one letter wrong.
            logger.info("rcpt.refused", ip=self._peer.ip, domain=recipient.address.domain, reply=str(found))
            return found
        # One arrival for each place, however often and in whatever case it was named.
        place = found.place.dropbox or found.place.delivery or found.place.shared or recipient.address.key
        self._targets.setdefault(place, (recipient, found))
        return codes.RECIPIENT_OK

    def write(self, piece: bytes) -> None:
        """See `Reception`. The header is held back until it is whole and edited; what follows goes to the spool as it comes."""
        if self._refusal is not None:
            return
        if self._spool is not None:
            self._spool.write(piece)
            return
        searched = max(len(self._head) - len(_EMPTY_LINE), 0)
        self._head += piece
        if self._head.startswith(b"\r\n"):
            end = 2
        elif (found := self._head.find(_EMPTY_LINE, searched)) >= 0:
            end = found + len(_EMPTY_LINE)
        else:
            if len(self._head) > MAX_BYTES:
                self._refuse(codes.HEADER_TOO_LARGE)
            return
        self._end_header(end)

    async def finish(self) -> Reply:
        """See `Reception`. 250 names the queue ids, one for each target."""
        began = self._acceptor.clock.monotonic()
        if self._spool is None and self._refusal is None:
            self._end_header(len(self._head))  # no empty line: a mail of a header only
        if self._refusal is not None or self._spool is None:
            return self._refused(self._refusal or codes.LOCAL_ERROR)
        try:
            kept = await self._spool.keep()
            self._spool = None
            if refusal := await self._unpermitted(kept):
                return self._refused(refusal)
            accepted = self._arrivals(kept)
            await self._acceptor.store.write(_put, kept, accepted, self._abandoned)
        except asyncio.CancelledError:
            # D10: too late for the client. A transaction that has not begun will keep nothing; one that is being committed
            # cannot be called back, and the retry of its mail is then seen to be a duplicate (S20, I8).
            self._abandoned.set()
            raise
        took = self._acceptor.clock.monotonic() - began
        for arrival in accepted:
            metrics.accepted.labels(arrival.channel).inc()
            metrics.accepted_bytes.labels(arrival.channel).observe(arrival.raw.size)
            metrics.accept_seconds.labels(arrival.channel).observe(took)
            logger.info(
                "arrival.accepted",
                queue_id=arrival.id,
                org=arrival.org,
                channel=arrival.channel.value,
                size=arrival.raw.size,
                ip=self._peer.ip,
            )
        return codes.queued(", ".join(arrival.id for arrival in accepted))

    def discard(self) -> None:
        """See `Reception`."""
        self._head.clear()
        if self._spool is not None:
            self._spool.discard()
            self._spool = None
        if self._refusal is None:
            self._refusal = codes.LOCAL_ERROR  # what is still written is dropped

    def _refuse(self, refusal: Reply) -> None:
        self.discard()
        self._refusal = refusal

    def _refused(self, refusal: Reply) -> Reply:
        logger.info("transaction.refused", ip=self._peer.ip, reply=str(refusal))
        return refusal

    def _end_header(self, end: int) -> None:
        """The first `end` bytes are the header: edit it, and pass it on with what of the body is here."""
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        self._head.clear()
        self._original_head = head
        edited = self._edited(head)
        if isinstance(edited, Reply):
            self._refuse(edited)
            return
        self._ids = [self._acceptor.ids.queue() for _ in self._targets]
        self._spool = self._acceptor.bodies.spool()
        self._spool.write(self._trace() + edited + rest)

    def _edited(self, head: bytes) -> bytes | Reply:
        """The header without what only we may say (S24), or the refusal of one that is too large or in a loop (S23, S29)."""
        found = _TRACE.findall(head)
        settings = self._acceptor.settings
        if len(found) <= settings.max_hops and all(name in (b"Received", b"received") for name in found):
            return codes.HEADER_TOO_LARGE if head.count(b"\n") > MAX_FIELDS and _fields(head) > MAX_FIELDS else head
        block = HeaderBlock.parse(head)
        if len(block.fields) > MAX_FIELDS:
            return codes.HEADER_TOO_LARGE
        here = [recipient.address for recipient, _ in self._targets.values()]
        if why := trace.loop(block, here, max_hops=settings.max_hops):
            return reply(554, "5.4.6", f"{why}; check the forwarding rules")
        # RFC 5321 §4.4: one Return-Path, written by who delivers at last.
        cleaned = trace.without_forged(block, authserv_id=self._acceptor.hostname).without(("Return-Path",))
        return cleaned.join(head)

    def _trace(self) -> bytes:
        peer = self._peer
        protocol = "SMTP"
        if peer.esmtp:
            # RFC 3848, RFC 6531 §3.7.3
            protocol = ("UTF8SMTP" if self._params.smtputf8 else "ESMTP") + ("S" if peer.tls else "")
        received = trace.received(
            helo=peer.helo,
            peer_ip=peer.ip,
            by=self._acceptor.hostname,
            protocol=protocol,
            queue_id=self._ids[0],
            at=self._acceptor.clock.now(),
            tls=peer.tls,
        )
        return f"Return-Path: {format_path(self._mail_from)}\r\n".encode() + received

    def _arrivals(self, kept: KeptBody) -> list[Arrival]:
        now = self._acceptor.clock.now()
        return [
            Arrival(
                id=queue_id,
                org=target.org,
                channel=target.channel,
                state=ArrivalState.ACCEPTED,
                envelope=Envelope(mail_from=self._mail_from, rcpt_to=(recipient,), params=self._params),
                target=target.place,
                peer=self._peer,
                raw=kept.ref,
                received_at=now,
                attempts=0,
                lease=None,
                message=None,
            )
            for queue_id, (recipient, target) in zip(self._ids, self._targets.values(), strict=True)
        ]

    async def _unpermitted(self, kept: KeptBody) -> Reply | None:
        """The refusal when no target wants the mail of this sender (I24); where one does, filing holds it for the others."""
        if not all(permit.may_refuse(target) for _, target in self._targets.values()):
            return None
        raw = kept.small if kept.small is not None else await self._acceptor.bodies.read(kept.ref)
        refusal: Reply | None = None
        for _, target in self._targets.values():
            if target.place.user is None:
                return None
            refusal = await permit.refusal(
                target,
                await self._acceptor.store.read(people.get, target.org, target.place.user),
                raw,
                head=self._original_head,
                peer=self._peer,
                mail_from=self._mail_from,
                resolver=self._acceptor.resolver,
                now=self._acceptor.clock.now(),
                timeout=self._acceptor.settings.verify_timeout,
            )
            if refusal is None:
                return None
        return refusal


def _fields(head: bytes) -> int:
    """How many lines begin a field."""
    return head.count(b"\n") - head.count(b"\n ") - head.count(b"\n\t")


def _put(tx: Tx, kept: KeptBody, accepted: list[Arrival], abandoned: threading.Event) -> None:
    if abandoned.is_set():
        raise StoreBusy("The client was told that this mail was not taken")
    kept.put(tx)
    for arrival in accepted:
        arrivals.add(tx, arrival)
        if arrival.target is not None and arrival.target.dropbox is not None:
            dropboxes.touch(tx, arrival.target.dropbox, now=arrival.received_at)
