"""A live dialogue with one destination or host, for the operator to read: everything but a mail is said to it.

It goes by the couriers' own hops, dialler and connection, with a tap on the line. Nothing of it is remembered or counted, no DATA is ever
sent, and secrets are never shown.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.dns.resolver import ask
from mailrelay.errors import Conflict, Invalid, MailrelayError
from mailrelay.ids import OrgId
from mailrelay.model.address import Address
from mailrelay.model.envelope import EnvelopeRecipient, MailParams
from mailrelay.model.reply import Reply
from mailrelay.outbound.connection import Connection, Failed, Hop
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.courier.sources import Sources, within_reach
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.explain import Asked, Explainer, HostSeen, probe_of
from mailrelay.outbound.policy import route
from mailrelay.outbound.transaction import Broken, Letter
from mailrelay.smtp.escape import escape

_logger = log.get()
_SECONDS = 180.0
"""How long a trace may take in all."""
_STEP_SECONDS = 60.0
_LOOK = 0.5
_MOST_LINES = 2_000
_LONGEST_LINE = 1_000
_AT_ONCE = 4
_MAX_NAMES = 10
_SIZE = 1_000  # that MAIL announces: of a small mail


class Direction(StrEnum):
    """Whose a line is."""

    NOTE = "note"  # ours, about the dialogue
    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trace; `at` is seconds since it began."""

    at: float
    direction: Direction
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to trace: `domain` as a mail to it would go, or else `host` at `port` (0: the port that mail goes to).

    `rcpt` is offered in a transaction that is given up before DATA. `source` is an egress source by name, "" for the one that a mail
    would take. `org` is whose own smart host mail from `sender` may go to; EVERYBODY has none.
    """

    org: OrgId
    domain: str = ""
    host: str = ""
    port: int = 0
    rcpt: Address | None = None
    sender: Address | None = None
    source: str = ""


class Tracer:
    """Traces, a few at a time."""

    def __init__(self, router: Router, explainer: Explainer, kit: Kit) -> None:
        """`kit` is what the couriers are made of."""
        self._router = router
        self._explainer = explainer
        self._kit = kit
        self._sources = {one.name for one in kit.settings.sources}
        self._running = 0

    def check(self, wanted: Wanted) -> None:
        """Raises Invalid for a source that there is not, and Conflict when enough are traced already."""
        if wanted.source and wanted.source not in self._sources:
            known = ", ".join(sorted(self._sources)) or "none is configured"
            raise Invalid("source", f"is no egress source; there are: {known}")
        if self._running >= _AT_ONCE:
            raise Conflict(f"{_AT_ONCE} traces run already; wait until one ends")

    async def trace(
        self, wanted: Wanted, *, gone: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncGenerator[Line, None]:
        """The lines as they come; the last is a note that says how it ended. Closing the iterator ends the dialogue.

        `gone` is asked now and then whether nobody looks on any more.
        """
        self.check(wanted)
        record = _Record(self._kit.clock)
        task = asyncio.create_task(self._run(wanted, record), name="trace")
        self._running += 1
        try:
            while True:
                try:
                    async with asyncio.timeout(_LOOK):
                        line = await record.lines.get()
                except TimeoutError:
                    if gone is not None and await gone():
                        return
                    continue
                if line is None:
                    return
                yield line
        finally:
            self._running -= 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, wanted: Wanted, record: _Record) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                await self._dialogue(wanted, record)
        except TimeoutError:
            record.note(f"failed: it took longer than {_SECONDS:g} s")
        except MailrelayError as error:
            record.note(f"failed: {error}")
        except Exception:
            _logger.exception("trace.failed", target=wanted.domain or wanted.host)
            record.note("failed: an error on our side; the log has it")
        finally:
            record.end()

    async def _dialogue(self, wanted: Wanted, record: _Record) -> None:
        hops = await (self._to_domain(wanted, record) if wanted.domain else self._to_host(wanted, record))
        failed = ""
        for number, hop in enumerate(hops, start=1):
            record.note(f"{number}. {hop}: {hop.demand.reason}")
            if hop.tls != "opportunistic":
                record.note(f"our settings ask for TLS: {hop.tls}")
            try:
                connection = await self._dialler().dial(hop, last=number == len(hops), tap=record)
            except Failed as error:
                record.flush()
                failed = str(error.reason)
                record.note(f"this host failed: {failed}")
                continue
            await self._converse(wanted, connection, record)
            return
        if hops:
            record.note(f"failed: no host could be used; the last said: {failed}")

    async def _converse(self, wanted: Wanted, connection: Connection, record: _Record) -> None:
        proof = connection.proof
        how = "verified" if proof.verified else f"not verified: {proof.detail}" if proof.detail else "not verified"
        record.note(f"TLS: {proof.protocol} {proof.cipher}, {how}" if proof.protocol else f"in clear: {proof.detail}")
        said: list[Reply] = []
        try:
            if wanted.rcpt is not None:
                letter = Letter(
                    mail_from=wanted.sender,
                    recipients=(EnvelopeRecipient(address=wanted.rcpt),),
                    params=MailParams(),
                    content=b"x" * _SIZE,
                    utf8=not wanted.rcpt.local.isascii(),
                )
                said = [reply async for reply in connection.try_out(letter)]
            await connection.quit()
        except Broken as error:
            record.note(f"failed: {error}")
            return
        finally:
            connection.abort()
            record.flush()
        record.note(_verdict(wanted, said))

    # --- where to ---

    async def _to_domain(self, wanted: Wanted, record: _Record) -> Sequence[Hop]:
        address = wanted.rcpt or Address("postmaster", wanted.domain)
        asked = Asked(org=wanted.org, address=replace(address, domain=wanted.domain), sender=wanted.sender)
        probe = probe_of(asked, self._kit.clock.now())
        way = await self._router.way(probe)
        if wanted.source:
            way = replace(way, source=wanted.source)
        hops = await self._router.hops(probe, way)
        found = () if isinstance(hops, route.NoRoute) else hops
        if way.source:
            record.note(f"from the egress source {way.source}")
        if way.relay:
            record.note(f"mail for {wanted.domain} goes to the smart host {way.site}")
        elif found or isinstance(hops, route.NoRoute):
            for host in await self._explainer.hosts(wanted.domain, found):
                record.note(f"DNS: {_shown(host)}")
        if isinstance(hops, route.NoRoute):
            record.note(f"failed: {hops.reply}")
        elif not found:
            record.note("failed: nothing leaves this machine by the route of the configuration, which is catch_all")
        return found

    async def _to_host(self, wanted: Wanted, record: _Record) -> Sequence[Hop]:
        found = await ask(route.to_host(wanted.host), self._kit.resolver)
        source = Sources(self._kit.settings.sources, self._kit.helo).named(wanted.source)
        targets = found if isinstance(found, route.NoRoute) else within_reach(found, source, wanted.host)
        if isinstance(targets, route.NoRoute):
            record.note(f"failed: {targets.reply}")
            return ()
        port = wanted.port or self._kit.settings.port
        return [Hop(host=one.host, ip=one.ip, port=port, source=source) for one in targets]

    def _dialler(self) -> Dialler:
        """One that remembers nothing, so that the best is tried, and waits no longer than somebody looks on."""
        settings = self._kit.settings
        short = {
            name: min(getattr(settings, name), _STEP_SECONDS)
            for name in ("connect_timeout", "command_timeout", "tls_timeout")
        }
        relay = settings.smart_host
        return Dialler(
            settings.model_copy(update=short),
            helo=self._kit.helo,
            clock=self._kit.clock,
            ca_file=(relay.ca_file if relay is not None else None) or settings.ca_file,
        )


class _Record:
    """A `connection.Tap`: makes lines of a dialogue, with nothing in them that would act on a terminal (N05, S25)."""

    def __init__(self, clock: Clock) -> None:
        self.lines: asyncio.Queue[Line | None] = asyncio.Queue()
        self._clock = clock
        self._began = clock.monotonic()
        self._number = 0
        self._partial = b""
        self._ended = False

    def note(self, text: str) -> None:
        self._put(Direction.NOTE, text)

    def connected(self, local: str) -> None:
        self.flush()
        self.note(f"connected from {local}")

    def sent(self, data: bytes) -> None:
        for line in data.removesuffix(b"\r\n").split(b"\r\n"):
            self._put(Direction.OUT, line)

    def came(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._put(Direction.IN, line.removesuffix(b"\r"))
        if len(self._partial) > _LONGEST_LINE:
            self.flush()

    def encrypted(self, session: ssl.SSLObject) -> None:
        cipher = session.cipher()
        self.note(f"encrypted: {session.version() or '?'}, {cipher[0] if cipher else '?'}")
        for fact in certificate_facts(session.getpeercert(binary_form=True), self._clock.now()):
            self.note(f"certificate: {fact}")

    def again(self, because: str) -> None:
        self.flush()
        self.note(f"given up, since TLS failed: {because}; once more")

    def flush(self) -> None:
        """Show what came without an end of line."""
        if self._partial:
            self._put(Direction.IN, self._partial)
            self._partial = b""

    def end(self) -> None:
        self.flush()
        self._ended = True
        self.lines.put_nowait(None)

    def _put(self, direction: Direction, text: bytes | str) -> None:
        if self._ended or self._number > _MOST_LINES:
            return
        self._number += 1
        if self._number > _MOST_LINES:
            direction, text = Direction.NOTE, f"failed: more than {_MOST_LINES} lines; the rest is not shown"
        long = len(text) > _LONGEST_LINE
        shown = escape(text[:_LONGEST_LINE]) + ("…" if long else "")
        at = round(self._clock.monotonic() - self._began, 3)
        self.lines.put_nowait(Line(at, direction, shown))


def certificate_facts(der: bytes | None, now: datetime) -> Sequence[str]:
    """What a certificate says, each in a line; one line when it cannot be read, none without one."""
    if der is None:
        return ()
    try:
        one = x509.load_der_x509_certificate(der)
        key = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        end, begin = one.not_valid_after_utc, one.not_valid_before_utc
        subject, issuer = one.subject.rfc4514_string(), one.issuer.rfc4514_string()
        names = _names(one)
    except Exception as error:  # noqa: BLE001 (a stranger's bytes in a foreign parser)
        return (f"it cannot be read ({type(error).__name__})",)
    state = "expired" if end < now else "not valid yet" if begin > now else "valid"
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return (
        f"subject {subject or '(empty)'}",
        f"for {', '.join(names[:_MAX_NAMES]) or 'no name'}{more}",
        f"issued by {issuer or '(empty)'}",
        f"{state} from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
        f"TLSA 3 1 1 {hashlib.sha256(key).hexdigest()}",
    )


def _names(one: x509.Certificate) -> Sequence[str]:
    try:
        value = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return [*value.get_values_for_type(x509.DNSName), *map(str, value.get_values_for_type(x509.IPAddress))]


def _shown(host: HostSeen) -> str:
    """`10 mx.b.test: 192.0.2.1, 192.0.2.2 (why not)`."""
    head = f"{'' if host.preference is None else f'{host.preference} '}{host.host}"
    if host.why:
        return f"{head}: {host.why}"
    return f"{head}: " + ", ".join(f"{one.ip} ({one.why})" if one.why else one.ip for one in host.addresses)


def _verdict(wanted: Wanted, said: Sequence[Reply]) -> str:
    if not said:
        return "done: the host takes connections"
    bad = next((one for one in said if not one.is_positive), None)
    if bad is None:
        return f"done: {wanted.rcpt} would be accepted, as far as RCPT"
    return f"done: {wanted.rcpt} would {'wait' if bad.is_transient else 'be refused'}: {bad}"
