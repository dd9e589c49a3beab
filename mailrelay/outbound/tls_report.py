"""Tells destinations that ask for it, once a day, how TLS with them went (RFC 8460).

A report is no delivery: nothing is told of it, nobody is written to when it fails, and the session that carries it is not counted
(its courier has no witness, and holds nobody to a policy, RFC 8460 §3): so reports beget no reports. It is written down before it is
sent, so that a day's is sent at most once, whatever dies.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import TlsReports
from mailrelay.dns.pinned import PinnedResolver
from mailrelay.dns.resolver import Resolver
from mailrelay.errors import Unavailable
from mailrelay.ids import DeliveryId, Digest, IdFactory, OrgId
from mailrelay.mail import tls_report as written
from mailrelay.mail.compose import Person
from mailrelay.model.address import Address
from mailrelay.model.delivery import Accepted, Deferred, Delivery, DeliveryState, Refused, Stage
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams, Notify
from mailrelay.model.lookup import LookupStatus, Question, RecordType
from mailrelay.model.message import BlobRef
from mailrelay.model.reply import reply
from mailrelay.model.tls_report import ReportState
from mailrelay.outbound.courier.base import Courier, DeliveryBatch, Parcel, Report
from mailrelay.outbound.prepare import Leave, Prepared, Trace, prepare
from mailrelay.outbound.tls_tally import TlsTally
from mailrelay.outbound.transaction import Letter, Offers
from mailrelay.service import Stopping
from mailrelay.store import dkim_keys, tls_reports
from mailrelay.store.base import Store, Tx

FLUSH = 10.0
LOOK = 300.0
_NOT_BEFORE = timedelta(minutes=10)
_SPREAD = timedelta(hours=4)
"""Reports of a day are spread over so long, so that nobody gets all the world's at midnight."""
_DAYS = 2
"""Days that are looked back at, for those that fell into a time when we did not run."""
_PAGE = 500
_AT_ONCE = 8
_POST_SECONDS = 60.0
_logger = log.get()


class TlsReporter:
    """The service that writes down what was counted, and sends the reports of yesterday."""

    name = "tls-reports"

    def __init__(
        self,
        store: Store,
        tally: TlsTally,
        courier: Courier,
        resolver: Resolver,
        clock: Clock,
        ids: IdFactory,
        settings: TlsReports,
        *,
        hostname: str,
        domain: str,
        allows: Callable[[str], bool],
        context: ssl.SSLContext,
        stopping: Stopping,
        https_port: int = 443,
    ) -> None:
        """`courier` has no witness and no demands. `domain` is the installation's own: it signs. `allows` judges addresses (W02)."""
        self._store = store
        self._tally = tally
        self._courier = courier
        self._resolver = resolver
        self._clock = clock
        self._ids = ids
        self._enabled = settings.enabled
        self._contact = settings.contact or f"postmaster@{domain}"
        self._organisation = settings.organisation or hostname
        self._hostname = hostname
        self._domain = domain
        self._pinned = PinnedResolver(resolver, allows)
        self._context = context
        self._stopping = stopping
        self._https_port = https_port

    async def run(self) -> None:
        """Work until stopping is set; then write down what was counted last. Raises Fatal."""
        look_at = self._clock.monotonic()
        try:
            while not self._stopping.is_set():
                await self._tally.flush()
                if self._clock.monotonic() >= look_at:
                    await self.look()
                    look_at = self._clock.monotonic() + LOOK
                await self._stopping.wait(FLUSH)
        finally:
            await self._tally.flush()
            await self._courier.close()

    async def look(self) -> None:
        """Send what is due of the last days, and forget what is old. Raises Fatal."""
        today = tls_reports.day_of(self._clock.now())
        try:
            if self._enabled:
                for day in range(today - _DAYS, today):
                    await self._report_day(day)
            await self._store.write(tls_reports.forget, before=today - tls_reports.KEPT_DAYS)
        except Unavailable as error:
            _logger.warning("claim.failed", reason=str(error))

    async def _report_day(self, day: int) -> None:
        now = self._clock.now()
        after: str | None = ""
        while after is not None and not self._stopping.is_set():
            names = await self._store.read(tls_reports.unreported, day, after=after, limit=_PAGE)
            due = [name for name in names if due_at(day, name) <= now]
            for start in range(0, len(due), _AT_ONCE):
                if self._stopping.is_set():
                    return
                await asyncio.gather(*(self._report(day, name) for name in due[start : start + _AT_ONCE]))
            after = names[-1] if len(names) == _PAGE else None

    async def _report(self, day: int, destination: str) -> None:
        answer = await self._resolver.resolve(Question(RecordType.TXT, f"_smtp._tls.{destination}"))
        if answer.status is LookupStatus.TEMPORARY:
            return  # the next look asks again, until the day is too old
        endpoints = written.wanted(answer.strings)
        if not endpoints:
            if await self._store.write(_unwanted, day, destination, at=self._clock.now()):
                metrics.tls_reports.labels("unwanted").inc()
            return
        if await self._store.write(tls_reports.begin, day, destination, at=self._clock.now()):
            await self._send(day, destination, endpoints)

    async def _send(self, day: int, destination: str, endpoints: Sequence[str | Address]) -> None:
        about = self.about(day, destination)
        counts = await self._store.read(tls_reports.counts, day, destination)
        packed = written.packed(written.document(about, counts))
        taken: list[str] = []
        failures: list[str] = []
        for endpoint in endpoints:
            try:
                if isinstance(endpoint, Address):
                    why = await self._mail(about, packed, endpoint)
                else:
                    why = await self._post(endpoint, packed)
            except Unavailable as error:
                why = str(error)
            except Exception as error:
                # A fault of ours in one report must not keep the others.
                _logger.exception("tls-report.failed", destination=destination, to=str(endpoint))
                why = f"an error on our side: {type(error).__name__}"
            (failures if why else taken).append(f"{endpoint}: {why}" if why else str(endpoint))
        state = ReportState.SENT if taken else ReportState.FAILED
        detail = "; ".join(failures)[:1000]
        await self._store.write(
            tls_reports.ended, day, destination, state, sent_to=", ".join(taken)[:1000], detail=detail
        )
        metrics.tls_reports.labels(state).inc()
        if taken:
            _logger.info("tls-report.sent", destination=destination, day=f"{about.start:%Y-%m-%d}", to=taken)
        else:
            _logger.warning("tls-report.failed", destination=destination, day=f"{about.start:%Y-%m-%d}", reason=detail)

    def about(self, day: int, destination: str) -> written.ReportOf:
        """What the report of a day to a destination says of itself."""
        return written.ReportOf(
            destination=destination,
            start=tls_reports.start_of(day),
            organisation=self._organisation,
            contact=self._contact,
            submitter=self._domain,
        )

    # --- by mail ---

    async def _mail(self, about: written.ReportOf, packed: bytes, to: Address) -> str:
        """Why it was not taken, or ""."""
        now = self._clock.now()
        keys = await self._store.read(dkim_keys.active, self._domain, now=now)
        if not keys:
            # RFC 8460 §3: one without a signature is to be ignored.
            return f"{self._domain} has no DKIM key to sign it with"
        sender = Person(self._organisation, Address("postmaster", self._domain))
        raw = written.write(about, packed, to=to, from_=sender, at=now)
        delivery = self._delivery(raw, to, now)
        reports: list[Report] = []
        letters = _Letters(raw, Leave(on_behalf_at="", keys=keys), self._hostname, now)
        await self._courier.deliver(
            DeliveryBatch(
                destination=to.domain,
                parcels=(Parcel(delivery, None),),
                letters=letters,
                report=reports.append,
                way=await self._courier.way(delivery),
                connections=1,
                before_dot=_before_dot,
            )
        )
        outcome = reports[0].outcome if reports else None
        if outcome is None:
            return "nobody was reached"
        if isinstance(outcome, Accepted):
            return ""
        return str(outcome.reply) if isinstance(outcome, Deferred | Refused) else outcome.detail

    def _delivery(self, raw: bytes, to: Address, now: datetime) -> Delivery:
        """What couriers ask for; it is in no queue, of no organisation, and has the null reverse-path: nothing comes back for it."""
        return Delivery(
            id=self._ids.delivery(),
            org=OrgId(""),
            message=self._ids.message(),
            queue_id=self._ids.queue(),
            channel=Channel.NOTICE,
            mail_from=None,
            params=MailParams(tls_optional=True),
            recipient=EnvelopeRecipient(address=to, notify=frozenset({Notify.NEVER})),
            state=DeliveryState.SENDING,
            raw=BlobRef(digest=Digest(hashlib.sha256(raw).hexdigest()), size=len(raw)),
            created_at=now,
            due_at=now,
            expires_at=now,
            attempts=1,
            last_reply="",
            lease=None,
        )

    # --- by HTTPS ---

    async def _post(self, url: str, packed: bytes) -> str:
        """Why it was not taken, or ""."""
        if self._https_port != 443:
            parts = urlsplit(url)
            url = parts._replace(netloc=f"{parts.hostname}:{self._https_port}").geturl()
        connector = aiohttp.TCPConnector(
            resolver=self._pinned, ssl=self._context, use_dns_cache=False, limit=1, force_close=True
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=_POST_SECONDS),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.post(
                    url, data=packed, headers={"Content-Type": written.MEDIA_TYPE}, allow_redirects=False
                ) as answer,
            ):
                # RFC 8460 §5.4: 2xx is a yes. What else it says is not read.
                return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except TimeoutError:
            return f"it did not answer within {_POST_SECONDS:g} s"
        except aiohttp.ClientConnectorError as error:
            return error.os_error.strerror or str(error.os_error) or "no connection"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return (str(error) or type(error).__name__)[:300]


class _Letters:
    """Signs the one mail of a report for the hop that takes it."""

    def __init__(self, raw: bytes, leave: Leave, hostname: str, at: datetime) -> None:
        self._raw = raw
        self._leave = leave
        self._hostname = hostname
        self._at = at

    async def letter(self, parcels: tuple[Parcel, ...], offers: Offers) -> Letter | Refused | Deferred:
        """See `courier.base.Letters`."""
        first = parcels[0].delivery
        trace = Trace(hostname=self._hostname, queue_id=first.queue_id, channel=first.channel, at=self._at)
        utf8 = not first.address.local.isascii()
        if utf8 and "smtputf8" not in offers:
            return Refused(reply=reply(550, "5.6.7", "the address needs SMTPUTF8"), stage=Stage.RCPT, by_us=True)
        made = await asyncio.to_thread(
            prepare, self._raw, leave=self._leave, trace=trace, eight_bit=True, smtputf8=utf8, now=self._at
        )
        if not isinstance(made, Prepared):
            return made
        return Letter(
            mail_from=None,
            recipients=tuple(parcel.delivery.recipient for parcel in parcels),
            params=first.params,
            content=made.content,
            utf8=utf8,
        )


def due_at(day: int, destination: str) -> datetime:
    """When the report of a day goes to a destination: within hours after its end, at the same time each day."""
    share = int.from_bytes(hashlib.sha256(destination.encode()).digest()[:4]) / 2**32
    return tls_reports.start_of(day + 1) + _NOT_BEFORE + share * _SPREAD


def _unwanted(tx: Tx, day: int, destination: str, *, at: datetime) -> bool:
    if not tls_reports.begin(tx, day, destination, at=at):
        return False
    tls_reports.ended(tx, day, destination, ReportState.UNWANTED)
    return True


async def _before_dot(_: Sequence[DeliveryId]) -> None:
    """Nothing is written down: there is no second try."""
