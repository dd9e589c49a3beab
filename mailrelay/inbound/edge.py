"""An SMTP connection as asyncio sees it: the only file that knows aiosmtpd, whose protocol class carries it.

What is read and answered is our own (`wire`, `dialogue`): aiosmtpd reads content without a bound (S03), upper-cases
parameters (S16), shows an exception's text, answers without enhanced status, and cancels a session in the midst of storing
a mail when the client closes.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiosmtpd.smtp import SMTP

from mailrelay import log, metrics
from mailrelay.config.schema import ListenerKind
from mailrelay.errors import Fatal
from mailrelay.inbound.dialogue import Dialogue
from mailrelay.inbound.door import Door
from mailrelay.inbound.house import House
from mailrelay.inbound.wire import CHUNK, Over, Wire, wire_form
from mailrelay.smtp import codes

_LINGER = 5.0

logger = log.get()


class Session(SMTP):
    """One connection. Its task ends by itself once the connection is gone; nothing of it outlives that."""

    line_length_limit = CHUNK  # the reader's high-water mark is twice that

    def __init__(
        self, house: House, door: Door, kind: ListenerKind, sessions: set[Session], *, loop: asyncio.AbstractEventLoop
    ) -> None:
        """The session is in `sessions` for as long as it lives."""
        super().__init__(None, hostname=house.hostname, ident="mailrelay", loop=loop)
        self._house = house
        self._door = door
        self._kind = kind
        self._sessions = sessions
        self._client = ("", 0)
        self._dialogue: Dialogue | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a session, unless there are too many."""
        peer = transport.get_extra_info("peername")
        if not peer:  # gone before we looked
            cast("asyncio.Transport", transport).abort()
            return
        self._client = (peer[0], peer[1])
        refusal = codes.SHUTTING_DOWN if self._house.stopping else None
        # The system gives out the lowest number that is free: a high one says that few are left.
        if self._house.memory.short() or transport.get_extra_info("socket").fileno() >= self._house.descriptors:
            refusal = refusal or codes.OVERLOADED
        refusal = refusal or self._house.connections.admit(peer[0], now=self.loop.time())
        if refusal is None:
            self._sessions.add(self)
            metrics.sessions.labels(self._kind.value).inc()
            metrics.sessions_open.labels(self._kind.value).inc()
            super().connection_made(transport)
            return
        logger.info("session.refused", ip=peer[0], listener=self._kind.value, reply=str(refusal))
        if self._kind is not ListenerKind.SUBMISSIONS:
            cast("asyncio.Transport", transport).write(wire_form(refusal))
        transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The session's task meets the end of its input; a mail that is being stored is stored (S20)."""
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def eof_received(self) -> bool | None:
        """A client may close its side after QUIT and still read our answers."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """The time-out of aiosmtpd is not used: each wait of ours has its deadline."""

    def stop(self) -> None:
        """End the session now if it is between transactions; else it ends by itself after this one (RFC 5321 §3.8)."""
        if self._dialogue is not None and self._dialogue.is_idle:
            self._writer.write(wire_form(codes.SHUTTING_DOWN))
            self._writer.close()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The session's task once it is under way."""
        return self._handler_coroutine

    async def _handle_client(self) -> None:
        wire = Wire(self._reader, self._writer, idle=self._house.settings.idle_timeout)
        dialogue = Dialogue(self._house, self._door, wire, kind=self._kind, client=self._client, secure=self._secure)
        self._dialogue = dialogue
        try:
            await dialogue.run()
        except Over as over:
            if over.answer is not None:
                wire.say(over.answer)
            if over.reason:
                logger.info("session.refused", ip=self._client[0], listener=self._kind.value, reason=over.reason)
        except Fatal as fatal:
            self._house.fail(fatal)
        except Exception:
            logger.exception("session.failed", ip=self._client[0], listener=self._kind.value)
        finally:
            self._dialogue = None
            dialogue.close()
            self.leave(wire.unsent())

    def leave(self, last_words: bytes = b"") -> None:
        """Close the connection; to be called from outside only when the session's task never began."""
        self._sessions.discard(self)
        self._house.connections.release(self._client[0])
        metrics.sessions_open.labels(self._kind.value).dec()
        transport = cast("asyncio.Transport", self.transport)
        if transport.is_closing():
            return
        if last_words:
            transport.write(last_words)
        transport.close()
        if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
            # A client that neither reads nor closes would keep the descriptor.
            self.loop.call_later(_LINGER, transport.abort)

    async def _secure(self) -> str:
        """Put the connection under TLS; returns the protocol's name. Raises Over when the handshake fails (A02)."""
        plain = cast("asyncio.Transport", self.transport)
        handshake = asyncio.ensure_future(
            self.loop.start_tls(
                plain,
                self,
                self._house.tls(),
                server_side=True,
                ssl_handshake_timeout=self._house.settings.tls_timeout,
            )
        )
        try:
            await asyncio.sleep(0)  # its first step, which puts the protocol of TLS in our place
            self._hand_over(plain)
            secured = await handshake
        except (OSError, TimeoutError) as error:
            plain.abort()
            raise Over(f"TLS handshake: {getattr(error, 'reason', '') or type(error).__name__}") from None
        if secured is None:
            raise Over("TLS handshake: the connection is gone")
        self.transport = self._transport = secured
        for end in (self._reader, self._writer):  # as aiosmtpd does: the public way refuses a second transport
            setattr(end, "_transport", secured)  # noqa: B010 (mypy knows no such attribute)
        self._over_ssl = True
        return secured.get_extra_info("ssl_object").version() or "TLS"

    def _hand_over(self, plain: asyncio.Transport) -> None:
        """Give TLS what was read before it was there.

        Behind STARTTLS nothing may be (A01), but on 465 a busy loop reads the ClientHello before this session's task begins;
        left in our buffer, both sides would wait for each other.
        """
        early: bytearray = self._reader._buffer  # type: ignore[attr-defined]  # as in `wire.Wire.unread`
        if early and (current := plain.get_protocol()) is not self:
            protocol = cast("asyncio.BufferedProtocol", current)  # uvloop's is one by its methods only
            memoryview(protocol.get_buffer(len(early)))[: len(early)] = early
            protocol.buffer_updated(len(early))
            early.clear()
