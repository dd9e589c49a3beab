"""One SMTP connection to a next hop; the only file that knows aiosmtplib.

aiosmtplib carries the bytes. Reading replies is ours, since several stand in one segment when commands are pipelined, and
since what a hostile server sends must have an end (N05). What happens is a value: `Failed` says how far opening came, and
`send` gives each recipient an outcome.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, cast

from aiosmtplib.errors import SMTPException
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.protocol import SMTPProtocol

from mailrelay.errors import Unavailable
from mailrelay.model.delivery import Deferred, Interrupted, Outcome, Stage, TlsProof
from mailrelay.model.reply import Reply, reply
from mailrelay.model.tls_report import ResultType
from mailrelay.model.way import EgressSource
from mailrelay.outbound.authenticate import Credentials, authenticate
from mailrelay.outbound.policy.tls import NO_DEMAND, Demand
from mailrelay.outbound.transaction import (
    BeforeDot,
    Broken,
    Letter,
    Offers,
    Patience,
    Transaction,
    cannot,
    envelope,
    no_hook,
)
from mailrelay.smtp.escape import escape
from mailrelay.smtp.reply import BadReply, ReplyParser

IN_CLEAR = TlsProof(protocol="", cipher="", verified=False, detail="")
_BLOCK = 65_536
_QUIT_TIMEOUT = 5.0
# RFC 5482: what is sent must be acknowledged within two minutes; a silent peer is asked whether it lives after one.
_TCP_OPTIONS = (("TCP_USER_TIMEOUT", 120_000), ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class TlsMode(StrEnum):
    """What a hop is asked for."""

    NEVER = "never"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """Where to connect: `host` is the name that a certificate must bear, `ip` where it is."""

    host: str
    ip: str
    port: int
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    credentials: Credentials | None = None
    demand: Demand = NO_DEMAND
    """What the destination asks of TLS; `tls` is what our settings ask."""
    source: EgressSource | None = None
    """Where to connect from, and our name there; None leaves both as they are."""
    preference: int = field(default=0, compare=False)
    """Lower ones go first; it makes no other hop, since a connection to it is as good."""

    def __str__(self) -> str:
        """`mx.example.org[192.0.2.1]:25`, as logs and attempts show it."""
        return f"{self.host}[{self.ip}]:{self.port}"


class Unproved(Exception):
    """The other end is not who it should be; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How one connection is encrypted, and what it must prove before anything is said over it."""

    context: ssl.SSLContext | None
    """None stays in clear."""
    verifying: bool = False
    """Whether the handshake succeeds only with a certificate that proves the host."""
    required: bool = False
    """Whether a server without STARTTLS is left."""
    sni: str = ""
    """The name to ask for; "" for the host's."""
    timeout: float = 30.0
    """Seconds for the handshake."""
    because: str = ""
    """Who demands it, for the sentence of a failure."""
    detail: str = ""
    """Of the proof: why the certificate is not looked at."""
    prove: Callable[[ssl.SSLObject], str] | None = None
    """Looks at the session behind the handshake and says what proves the host; "" when nothing does. Raises Unproved."""


NOT_OFFERED = "the server does not offer STARTTLS"


class Failed(Exception):
    """No connection that could be used. `tls` when the handshake was at fault, and not somebody in between.

    `result` says it to the day's report, where TLS was at fault at all.
    """

    def __init__(
        self,
        outcome: Deferred | Interrupted,
        *,
        tls: bool = False,
        certificate: bool = False,
        result: ResultType | None = None,
    ) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
        self.reason = outcome.detail if isinstance(outcome, Interrupted) else str(outcome.reply)
        self.tls = tls
        self.certificate = certificate
        self.result = result


class Tap(Protocol):
    """Hears a dialogue as it happens; secrets are never told. Its methods return at once and raise nothing."""

    def connected(self, local: str) -> None:
        """A connection stands, from this address of ours."""
        ...

    def sent(self, data: bytes) -> None:
        """What went out."""
        ...

    def came(self, data: bytes) -> None:
        """What came in, as it came."""
        ...

    def encrypted(self, session: ssl.SSLObject) -> None:
        """From here on all is encrypted."""
        ...

    def again(self, because: str) -> None:
        """The connection is given up, and another one to the same host is tried."""
        ...


class _Wire(SMTPProtocol):
    """aiosmtplib's protocol with our reading of replies: any number in a segment, capped, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tap: Tap | None = None) -> None:
        super().__init__(loop)
        self._tap = tap
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._wanted: asyncio.Future[None] | None = None
        self._ended = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not asked for."""
        return self._parser.idle and not self._replies

    @property
    def open(self) -> bool:
        """Whether the other end is still there, as far as we know."""
        return not self._ended and self.is_connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast("asyncio.WriteTransport", transport).set_write_buffer_limits(high=_BLOCK)
        _watch_over(transport)
        if self._tap is not None:
            self._tap.connected((transport.get_extra_info("sockname") or ("",))[0])
            self._tell_encrypted(transport)

    def data_received(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.came(data)
        try:
            self._replies.extend(self._parser.feed(data))
            self._parser.feed(b"")  # a fault behind whole replies
        except BadReply as bad:
            self._end(str(bad))
        self._wake()

    def eof_received(self) -> bool:
        self._end("the remote closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(f"the connection was lost: {exc}" if exc else "the remote closed the connection")

    async def reply(self, timeout: float) -> Reply:  # noqa: ASYNC109 (of the protocol: RFC 5321 §4.5.3.2)
        """The next reply. Raises Broken when the connection ends before it, or it does not come in time."""
        try:
            async with asyncio.timeout(timeout):
                while not self._replies:
                    if self._ended:
                        raise Broken(self._ended)
                    self._wanted = self._loop.create_future()
                    await self._wanted
        except TimeoutError:
            raise Broken(f"no answer within {timeout:g} s") from None
        return self._replies.popleft()

    async def put(self, data: bytes, timeout: float, *, shown: bytes = b"") -> None:  # noqa: ASYNC109
        """Write, and wait until little of it is left in our hands; a tap is told `shown`, where that is given. Raises Broken."""
        if self._tap is not None:
            self._tap.sent(shown or data)
        try:
            self.write(data)
            async with asyncio.timeout(timeout):
                await self._drain_helper()
        except TimeoutError:
            raise Broken(f"the remote took nothing within {timeout:g} s") from None
        except (SMTPException, OSError) as error:
            raise Broken(self._ended or f"the connection was lost: {error}") from None

    async def encrypt(self, context: ssl.SSLContext, host: str, timeout: float) -> None:  # noqa: ASYNC109
        """TLS from here on. Raises OSError (ssl.SSLError among them) when the handshake fails."""
        transport = await self._loop.start_tls(
            cast("asyncio.WriteTransport", self.transport),
            self,
            context,
            server_hostname=host,
            ssl_handshake_timeout=timeout,
        )
        if transport is None:
            raise ConnectionResetError("the connection was lost during the handshake")
        self.transport = transport
        self._over_ssl = True
        self._tell_encrypted(transport)

    @property
    def session(self) -> ssl.SSLObject | None:
        """The TLS session; None in clear."""
        return None if self.transport is None else self.transport.get_extra_info("ssl_object")

    def local_address(self) -> str:
        """Our own address in this connection."""
        name = None if self.transport is None else self.transport.get_extra_info("sockname")
        return str(name[0]) if isinstance(name, tuple) else ""

    def proof(self, *, verified: bool, detail: str) -> TlsProof:
        """What is known of the encryption."""
        session = self.session
        if session is None:
            return replace(IN_CLEAR, detail=detail)
        cipher = session.cipher()
        return TlsProof(
            protocol=session.version() or "", cipher=cipher[0] if cipher else "", verified=verified, detail=detail
        )

    def _tell_encrypted(self, transport: asyncio.BaseTransport) -> None:
        session = transport.get_extra_info("ssl_object")
        if self._tap is not None and session is not None:
            self._tap.encrypted(session)

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)


class Connection:
    """An open connection, greeted, encrypted and authenticated as its hop asks. One transaction at a time."""

    def __init__(self, wire: _Wire, hop: Hop, patience: Patience) -> None:
        self.hop = hop
        self.proof = IN_CLEAR
        self.offers = Offers(names=frozenset(), size=0, auth=())
        self.transactions = 0
        self.cannot_pipeline = False
        """Whether it offers PIPELINING, and lost its way in commands that came so: the letter may be offered again without (N15)."""
        self._wire = wire
        self._patience = patience
        self._reset = False  # whether a transaction was begun that DATA did not end
        self._usable = True
        self._stage = Stage.CONNECT
        self._verified = False

    @property
    def usable(self) -> bool:
        """Whether another transaction may be tried: nothing went wrong and the server has said nothing unasked."""
        return self._usable and self._wire.open and self._wire.quiet

    @property
    def local_address(self) -> str:
        """Our own address in it."""
        return self._wire.local_address()

    @classmethod
    async def open(cls, hop: Hop, *, helo: str, patience: Patience, guard: Guard, tap: Tap | None = None) -> Connection:
        """Connect and go as far as MAIL, protected as `guard` says; `tap` hears all of it. Raises Failed; nothing is left open then."""
        wire = await _connect(hop, patience, guard if hop.tls is TlsMode.IMPLICIT else None, tap)
        connection = cls(wire, hop, patience)
        try:
            await connection._begin(hop.source.helo if hop.source is not None and hop.source.helo else helo, guard)
        except Broken as broken:
            connection.abort()
            # A refusal of ours in TLS 1.3 reaches us only behind the handshake, as the end of the connection.
            encrypted = connection._stage is Stage.TLS and wire.session is not None
            raise Failed(
                Interrupted(stage=connection._stage, detail=str(broken)),
                tls=encrypted,
                result=ResultType.VALIDATION_FAILURE if connection._stage is Stage.TLS else None,
            ) from broken
        except BaseException:
            connection.abort()
            raise
        return connection

    async def send(self, letter: Letter, *, before_dot: BeforeDot = no_hook, pipelining: bool = True) -> list[Outcome]:
        """Offer a letter; one outcome for each recipient, in their order. Never raises for what the remote does.

        What `before_dot` raises keeps the dot from being sent, and passes through; a store that is away puts the letter off.
        """
        if (refusal := cannot(letter, self.offers, self.hop.host)) is not None:
            return [refusal] * len(letter.recipients)
        self.transactions += 1
        transaction = Transaction(self._wire, self._patience, letter, time=asyncio.get_running_loop().time)
        reset, self._reset = self._reset, True
        usable, self._usable = self._usable, False  # unless it comes to an end
        pipelining = pipelining and "pipelining" in self.offers
        try:
            await transaction.open(self.offers, reset=reset, pipelining=pipelining)
            if transaction.go_ahead:
                await transaction.content(before_dot)
                self._reset = False
        except Broken as broken:
            usable = False
            self.cannot_pipeline = pipelining and transaction.got_stuck
            transaction.interrupt(str(broken))
        except Unavailable as error:
            usable = False
            transaction.put_off(_deferred("4.3.0", f"not sent: {error}", Stage.DATA))
        self.cannot_pipeline = self.cannot_pipeline or transaction.confused
        self._usable = usable and not transaction.closing
        return transaction.outcomes()

    async def try_out(self, letter: Letter) -> AsyncIterator[Reply]:
        """Say MAIL, each RCPT and RSET, but never DATA, and give the replies as they come: for a trace. Raises Broken."""
        self._usable = False
        mail, rcpts = envelope(letter, self.offers)
        for line in (mail, *rcpts, b"RSET\r\n"):
            await self._wire.put(line, self._patience.command)
            yield await self._wire.reply(self._patience.command)
        self._usable = True

    async def quit(self) -> None:
        """Say goodbye and close. What the server makes of it does not matter: what it took, it took (N01)."""
        if self.usable:
            with suppress(Broken):
                await self._wire.put(b"QUIT\r\n", _QUIT_TIMEOUT)
                await self._wire.reply(_QUIT_TIMEOUT)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._usable = False
        if self._wire.transport is not None:
            cast("asyncio.WriteTransport", self._wire.transport).abort()

    # --- opening ---

    async def _begin(self, helo: str, guard: Guard) -> None:
        detail = guard.detail
        if self.hop.tls is TlsMode.IMPLICIT:
            detail = self._prove(guard)
        banner = await self._wire.reply(self._patience.banner)
        if banner.code != 220:
            # N05: also a 5xx says only that this host is not the one; the next may be, or it later.
            raise Failed(Deferred(reply=banner, stage=Stage.CONNECT))
        await self._greet(helo)
        if guard.context is not None and self.hop.tls is not TlsMode.IMPLICIT:
            if "starttls" in self.offers:
                self._stage = Stage.TLS
                await self._start_tls(guard)
                detail = self._prove(guard)
                await self._greet(helo)  # RFC 3207 §4.2: what was said in clear is forgotten
            elif guard.required:
                # A04: whether it never had it or somebody took it out on the way, nothing is said in clear.
                raise Failed(
                    _deferred("4.7.0", _because(f"{NOT_OFFERED}, which is required", guard), Stage.TLS),
                    result=ResultType.STARTTLS_NOT_SUPPORTED,
                )
            else:
                detail = NOT_OFFERED
        self.proof = self._wire.proof(verified=self._verified, detail=detail)
        if self.hop.credentials is not None:
            self._stage = Stage.AUTH
            await self._authenticate(self.hop.credentials)

    def _prove(self, guard: Guard) -> str:
        """What the proof says, once encrypted. Raises Failed when the host is not who it should be."""
        self._verified = guard.verifying
        session = self._wire.session
        if guard.prove is None or session is None:
            return guard.detail
        try:
            proved = guard.prove(session)
        except Unproved as error:
            raise Failed(
                _deferred("4.7.5", _because(str(error), guard), Stage.TLS),
                tls=True,
                certificate=True,
                result=ResultType.VALIDATION_FAILURE,
            ) from error
        self._verified = bool(proved)
        return proved or guard.detail

    async def _greet(self, helo: str) -> None:
        """EHLO, or HELO for a server that does not know it (RFC 5321 §3.2)."""
        answer = await self._command(f"EHLO {helo}")
        if answer.is_permanent and answer.code != 521:
            answer = await self._command(f"HELO {helo}")
            if answer.is_positive:
                self.offers = Offers(names=frozenset(), size=0, auth=())
                return
        if not answer.is_positive:
            raise Failed(Deferred(reply=answer, stage=Stage.CONNECT))
        names, auth = parse_esmtp_extensions("\n".join(answer.lines))
        size = names.get("size", "").strip()
        # What `isdigit` takes beyond ASCII, such as "²", is no number.
        known = size.isascii() and size.isdigit() and len(size) <= 20
        self.offers = Offers(names=frozenset(names), size=int(size) if known else 0, auth=tuple(auth))

    async def _start_tls(self, guard: Guard) -> None:
        answer = await self._command("STARTTLS")
        if answer.code != 220:
            raise Failed(Deferred(reply=answer, stage=Stage.TLS), tls=True, result=ResultType.STARTTLS_NOT_SUPPORTED)
        if not self._wire.quiet:
            # A03, RFC 3207 §5: what came in clear behind the 220 was put there by somebody in between.
            raise Failed(
                _deferred("4.7.0", "plaintext was injected before TLS; the connection was dropped", Stage.TLS),
                result=ResultType.VALIDATION_FAILURE,
            )
        context = cast("ssl.SSLContext", guard.context)
        try:
            await self._wire.encrypt(context, guard.sni or self.hop.host, guard.timeout)
        except (OSError, ssl.SSLError) as error:
            raise _tls_failed(error, guard) from error

    async def _authenticate(self, credentials: Credentials) -> None:
        if not self.proof.verified:
            raise Failed(_deferred("4.7.0", "credentials are never sent without verified TLS", Stage.AUTH))
        refused = await authenticate(
            self._secretly, self.offers.auth, credentials, host=self.hop.host, port=self.hop.port
        )
        if refused is not None:
            raise Failed(refused)

    async def _secretly(self, line: str) -> Reply:
        """A line of an AUTH dialogue, of which a tap is told the mechanism alone."""
        words = line.split(" ")
        if words[0] != "AUTH":
            return await self._command(line, shown="***")
        return await self._command(line, shown=" ".join([*words[:2], *("***" for _ in words[2:])]))

    async def _command(self, line: str, *, shown: str = "") -> Reply:
        told = f"{shown}\r\n".encode() if shown else b""
        await self._wire.put(line.encode("ascii") + b"\r\n", self._patience.command, shown=told)
        return await self._wire.reply(self._patience.command)


async def _connect(hop: Hop, patience: Patience, guard: Guard | None, tap: Tap | None) -> _Wire:
    """The TCP connection, with TLS from the first byte when there is a guard. Raises Failed."""
    context = None if guard is None else guard.context
    loop = asyncio.get_running_loop()
    local = hop.source.address_for(hop.ip) if hop.source is not None else ""
    try:
        async with asyncio.timeout(patience.connect):
            _, wire = await loop.create_connection(
                lambda: _Wire(loop, tap),
                hop.ip,
                hop.port,
                ssl=context,
                server_hostname=hop.host if context else None,
                local_addr=(local, 0) if local else None,
            )
    except ssl.SSLError as error:
        raise _tls_failed(error, guard) from error
    except TimeoutError:
        raise Failed(Interrupted(stage=Stage.CONNECT, detail=f"no connection within {patience.connect:g} s")) from None
    except OSError as error:
        raise Failed(Interrupted(stage=Stage.CONNECT, detail=f"no connection: {error.strerror or error}")) from error
    return wire


def _watch_over(transport: asyncio.BaseTransport) -> None:
    """Let the system end a connection whose other end is gone without a word, long before our own time limits (N09)."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP_OPTIONS:
        if (number := getattr(socket, option, None)) is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, number, value)


# Of OpenSSL's reasons why a certificate proves nothing (X509_V_ERR_…), those that reports know by name.
_CERTIFICATE_RESULTS = {
    10: ResultType.CERTIFICATE_EXPIRED,
    62: ResultType.CERTIFICATE_HOST_MISMATCH,
    64: ResultType.CERTIFICATE_HOST_MISMATCH,  # of an address
}


def _because(text: str, guard: Guard | None) -> str:
    return f"{text} ({guard.because})" if guard is not None and guard.because else text


def _tls_failed(error: Exception, guard: Guard | None) -> Failed:
    result = ResultType.VALIDATION_FAILURE
    certificate = isinstance(error, ssl.SSLCertVerificationError)
    if isinstance(error, ssl.SSLCertVerificationError):
        result = _CERTIFICATE_RESULTS.get(error.verify_code, ResultType.CERTIFICATE_NOT_TRUSTED)
    why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error) or type(error).__name__
    outcome = _deferred("4.7.5", _because(f"the TLS handshake failed: {why}", guard), Stage.TLS)
    return Failed(outcome, tls=True, certificate=certificate, result=result)


def _deferred(status: str, text: str, stage: Stage) -> Deferred:
    return Deferred(reply=reply(451, status, escape(text)), stage=stage)
