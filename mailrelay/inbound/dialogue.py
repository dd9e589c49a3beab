"""An SMTP session's dialogue: each command in its state, what it is answered, and when the session ends (RFC 5321 §3, §4)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import ClassVar

from mailrelay import log, metrics
from mailrelay.config.schema import Inbound, ListenerKind
from mailrelay.errors import Fatal, MailrelayError, Overloaded
from mailrelay.inbound import commands, sasl
from mailrelay.inbound.commands import MAX_AUTH_LINE, MAX_LINE, Command
from mailrelay.inbound.content import Content, read_content
from mailrelay.inbound.door import Door, Reception
from mailrelay.inbound.house import House
from mailrelay.inbound.limits import Patience
from mailrelay.inbound.wire import Over, Wire
from mailrelay.model.envelope import Peer
from mailrelay.model.organisation import User
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.smtp.escape import escape

_CROWDED_IDLE = 60.0
_LONGEST_HELO = 255
_COUNTED = frozenset({"MAIL", "RCPT", "DATA", "AUTH"})

logger = log.get()


class Dialogue:
    """One session, between its wire and its door."""

    def __init__(
        self,
        house: House,
        door: Door,
        wire: Wire,
        *,
        kind: ListenerKind,
        client: tuple[str, int],
        secure: Callable[[], Awaitable[str]],
    ) -> None:
        """`secure` puts the wire under TLS and returns the protocol's name; it raises Over when that fails."""
        self._house = house
        self._door = door
        self._wire = wire
        self._kind = kind
        self._ip, self._port = client
        self._secure = secure
        self._settings: Inbound = house.settings
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + house.settings.session_timeout
        self._patience = Patience(
            max_errors=house.settings.max_errors,
            max_useless=house.settings.max_useless,
            delay=house.settings.error_delay,
        )
        self._helo: bytes | None = None
        self._extended = False
        self._tls = ""
        self._user: User | None = None
        self._reception: Reception | None = None
        self._recipients = 0
        self._in_content = False

    @property
    def is_idle(self) -> bool:
        """Whether it may be ended without harm to a mail: between transactions, with nothing said that is not answered."""
        return self._wire.waits and self._reception is None and not self._wire.unread

    def close(self) -> None:
        """Leave nothing behind."""
        self._forget()

    async def run(self) -> None:
        """Hold the session to its end, which is always Over, or Fatal."""
        if self._kind is ListenerKind.SUBMISSIONS:
            self._tls = await self._secure()
        elif self._refuses_early_data:
            # Two turns of the loop, so that what was sent before the banner is there (S10).
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self._wire.unread:
                raise Over("early talker", codes.EARLY_TALKER)
        self._wire.say(commands.banner(self._house.hostname))
        while True:
            if self._house.stopping and self._reception is None:
                raise Over("", codes.SHUTTING_DOWN)
            cap = MAX_AUTH_LINE if self._door.mechanisms else MAX_LINE
            line = await self._wire.line(cap, self._deadline())
            command = line if isinstance(line, Reply) else commands.read_command(line)
            if isinstance(line, bytes) and len(line) > MAX_LINE and line[:5].upper() != b"AUTH ":
                command = codes.COMMAND_TOO_LONG
            if isinstance(command, Reply):
                await self._answer("", command)
            elif (answer := await self._obey(command)) is not None:
                await self._answer(command.verb, answer)

    async def _obey(self, command: Command) -> Reply | None:
        """The answer to a command, None when it was given; an unexpected error is 451 and shows nothing of itself."""
        verb = self._VERBS.get(command.verb)
        if verb is None:
            return codes.COMMAND_UNKNOWN
        answer: Reply | None
        try:
            return await verb(self, command.argument)
        except Over:
            raise
        except Fatal:
            self._wire.say(codes.LOCAL_ERROR)
            raise
        except Overloaded as error:
            raise Over(str(error), codes.OVERLOADED) from None
        except MailrelayError as error:
            answer = error.reply
        except Exception:
            logger.exception("session.failed", ip=self._ip, listener=self._kind.value, verb=command.verb)
            answer = codes.LOCAL_ERROR
        if self._in_content:
            raise Over("failed amid the content", answer)  # what comes next is not a command
        return answer

    async def _answer(self, verb: str, answer: Reply) -> None:
        if verb in _COUNTED:
            metrics.smtp_replies.labels(self._kind.value, verb.lower(), f"{answer.code // 100}xx").inc()
        if pause := self._patience.note(verb, answer):
            await self._wire.flush()
            await asyncio.sleep(pause)
        self._wire.say(answer)
        if self._patience.is_over:
            raise Over("too many errors", codes.TOO_MANY_ERRORS)
        if verb == "QUIT" and answer.is_positive:
            raise Over

    @property
    def _refuses_early_data(self) -> bool:
        return self._settings.early_data == "refuse"

    def _deadline(self) -> float:
        idle = self._settings.idle_timeout
        if self._house.connections.crowded:
            idle = min(idle, _CROWDED_IDLE)
        return min(self._loop.time() + idle, self._ends_at)

    def _forget(self) -> None:
        """End the transaction."""
        if self._reception is not None:
            self._reception.discard()
            self._reception = None
        self._recipients = 0
        self._wire.utf8 = False

    # --- the commands

    async def _ehlo(self, argument: bytes) -> Reply:
        if not argument:
            return codes.SYNTAX
        self._greet(argument, extended=True)
        return commands.ehlo(
            self._house.hostname,
            max_size=self._door.max_size,
            starttls=not self._tls,
            mechanisms=self._door.mechanisms if self._tls and self._user is None else (),
            future_release=self._door.future_release,
        )

    async def _hello(self, argument: bytes) -> Reply:
        if not argument:
            return codes.SYNTAX
        self._greet(argument, extended=False)
        return commands.helo(self._house.hostname)

    def _greet(self, name: bytes, *, extended: bool) -> None:
        self._forget()
        self._helo = name
        self._extended = extended

    async def _mail(self, argument: bytes) -> Reply:
        if self._helo is None:
            return codes.HELLO_FIRST
        if self._reception is not None:
            return codes.NESTED_MAIL
        if self._door.mechanisms and self._user is None:
            return codes.AUTH_REQUIRED if self._tls else codes.TLS_REQUIRED
        sender = commands.read_mail(argument, extended=self._extended)
        if isinstance(sender, Reply):
            return sender
        mail_from, params = sender
        if params.held and not self._door.future_release:
            return codes.UNKNOWN_PARAMETER
        if params.size is not None and params.size > self._door.max_size:
            return codes.too_large(limit=self._door.max_size, size=params.size)
        if self._house.memory.short():
            raise Over("memory is short", codes.OVERLOADED)
        peer = Peer(
            ip=self._ip,
            port=self._port,
            helo=escape(self._helo[:_LONGEST_HELO]),
            esmtp=self._extended,
            tls=self._tls,
            user=None if self._user is None else self._user.id,
        )
        reception = await self._door.begin(peer, self._user, mail_from, params)
        if isinstance(reception, Reply):
            return reception
        self._reception = reception
        self._wire.utf8 = params.smtputf8
        return codes.SENDER_OK

    async def _rcpt(self, argument: bytes) -> Reply:
        if self._reception is None:
            return codes.MAIL_FIRST
        recipient = commands.read_rcpt(
            argument, extended=self._extended, smtputf8=self._wire.utf8, local_domain=self._house.local_domain
        )
        if isinstance(recipient, Reply):
            return recipient
        if self._recipients >= self._door.max_recipients:
            return codes.TOO_MANY_RECIPIENTS
        answer = await self._reception.add(recipient)
        self._recipients += answer.is_positive
        return answer

    async def _data(self, argument: bytes) -> Reply:
        refusal = None
        if self._reception is None:
            refusal = codes.MAIL_FIRST
        elif argument:
            refusal = codes.NO_ARGUMENT_ALLOWED
        elif not self._recipients:
            refusal = codes.NO_VALID_RECIPIENTS
        if self._wire.unread and (refusal or self._refuses_early_data):
            # S09, S10, RFC 2920 §3.1: DATA ends a group; what follows it unasked may be content and is never a command.
            raise Over("content before 354", codes.EARLY_TALKER)
        if refusal is not None or self._reception is None:
            return refusal or codes.MAIL_FIRST
        self._wire.say(codes.SEND_DATA)
        try:
            self._in_content = True
            content = await read_content(
                self._wire,
                self._reception,
                max_size=self._door.max_size,
                min_rate=self._settings.min_rate,
                grace=self._house.rate_grace,
                deadline=self._deadline,
            )
            self._in_content = False
            return await self._judge(self._reception, content)
        finally:
            self._forget()

    async def _judge(self, reception: Reception, content: Content) -> Reply:
        if not self._extended and self._wire.unread and self._refuses_early_data:
            # RFC 2920 §3: who was offered no PIPELINING waits for the answer; what is here was smuggled.
            raise Over("pipelining after HELO", codes.EARLY_TALKER)
        if content.refusal is not None:
            logger.info("transaction.refused", ip=self._ip, listener=self._kind.value, reply=str(content.refusal))
            return content.refusal
        if content.failure is not None:
            raise content.failure
        try:
            async with asyncio.timeout(self._settings.data_timeout):
                return await reception.finish()
        except TimeoutError:
            return codes.TOO_SLOW_TO_STORE

    async def _bdat(self, argument: bytes) -> Reply | None:
        size = commands.read_chunk_size(argument)
        if size is None:
            return codes.SYNTAX
        if size > self._door.max_size:
            raise Over("BDAT", codes.too_large(limit=self._door.max_size, size=size))
        await self._answer("BDAT", codes.COMMAND_NOT_OFFERED)
        # S17, RFC 3030 §2: the chunk follows at once, whatever we answer, and is never a command.
        await self._wire.skip(size, self._deadline())
        return None

    async def _starttls(self, argument: bytes) -> Reply | None:
        if argument:
            return codes.NO_ARGUMENT_ALLOWED
        if self._tls:
            return codes.TLS_ALREADY
        if self._helo is None:
            return codes.HELLO_FIRST
        if not self._wire.unread:
            self._wire.say(codes.READY_FOR_TLS)
            await self._wire.flush()
        if self._wire.unread:
            # A01: what came in clear behind STARTTLS must not count as said under TLS.
            raise Over("data behind STARTTLS", codes.EARLY_TALKER)
        self._tls = await self._secure()
        # RFC 3207 §4.2: what was said before is forgotten, EHLO included.
        self._forget()
        self._helo = None
        return None

    async def _auth(self, argument: bytes) -> Reply:
        if not self._door.mechanisms:
            return codes.COMMAND_NOT_OFFERED
        if not self._tls:
            return codes.AUTH_NEEDS_TLS
        if self._helo is None or not self._extended:
            return codes.HELLO_FIRST
        if self._user is not None:
            return codes.AUTH_ALREADY
        if self._reception is not None:
            return codes.BAD_SEQUENCE
        credentials = await self._credentials(argument)
        if isinstance(credentials, Reply):
            return credentials
        found = await self._door.log_in(self._ip, credentials)
        if isinstance(found, Reply):
            return found
        self._user = found
        return codes.AUTHENTICATED

    async def _credentials(self, argument: bytes) -> sasl.Credentials | Reply:
        try:
            exchange = sasl.begin(argument)
            challenge = next(exchange)
            while True:
                self._wire.say_raw(b"334 " + base64.b64encode(challenge) + b"\r\n")
                line = await self._wire.line(MAX_AUTH_LINE, self._deadline())
                if isinstance(line, Reply):
                    return codes.AUTH_TOO_LONG if line is codes.COMMAND_TOO_LONG else line
                challenge = exchange.send(sasl.decode(line))
        except sasl.BadExchange as bad:
            return bad.reply
        except StopIteration as ended:
            credentials: sasl.Credentials = ended.value
            return credentials

    async def _rset(self, argument: bytes) -> Reply:
        if argument:
            return codes.NO_ARGUMENT_ALLOWED
        self._forget()
        return codes.RESET_OK

    async def _noop(self, _argument: bytes) -> Reply:
        return codes.OK

    async def _vrfy(self, argument: bytes) -> Reply:
        return codes.CANNOT_VERIFY if argument else codes.SYNTAX

    async def _expn(self, _argument: bytes) -> Reply:
        return codes.COMMAND_NOT_OFFERED

    async def _help(self, _argument: bytes) -> Reply:
        return codes.HELP

    async def _quit(self, argument: bytes) -> Reply:
        return codes.NO_ARGUMENT_ALLOWED if argument else codes.GOODBYE

    _VERBS: ClassVar[dict[str, Callable[[Dialogue, bytes], Awaitable[Reply | None]]]] = {
        "EHLO": _ehlo,
        "HELO": _hello,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
        "BDAT": _bdat,
        "STARTTLS": _starttls,
        "AUTH": _auth,
        "RSET": _rset,
        "NOOP": _noop,
        "VRFY": _vrfy,
        "EXPN": _expn,
        "HELP": _help,
        "QUIT": _quit,
    }
