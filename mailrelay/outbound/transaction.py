"""One SMTP transaction as a client, MAIL to the final dot, over anything that carries lines (RFC 5321 §3.3, RFC 2920)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailrelay.model.address import ReversePath
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Refused, Stage
from mailrelay.model.envelope import BodyType, EnvelopeRecipient, MailParams, Notify
from mailrelay.model.reply import Reply, reply
from mailrelay.smtp import codes
from mailrelay.smtp.address import format_address, format_path
from mailrelay.smtp.data import END, stuff
from mailrelay.smtp.params import encode_orcpt, encode_xtext

_BLOCK = 65_536
_DATA_COMMAND_TIMEOUT = 120.0  # RFC 5321 §4.5.3.2.4
_BLOCK_TIMEOUT = 180.0  # RFC 5321 §4.5.3.2.5
_GRACE = 60.0  # of content, before its rate is looked at
# RFC 5321 §4.2.4: a server that cannot follow says so with these; to commands in one segment it may mean that it reads one of them.
_LOST_COUNT = frozenset({500, 502, 503})
_LOST_COUNT_STATUS = ("5.5.1", "5.5.2")

BeforeDot = Callable[[Sequence[int]], Awaitable[None]]
"""Awaited right before the final dot with the places of those recipients that the message is for."""


class Broken(Exception):
    """The dialogue cannot go on."""


async def no_hook(_: Sequence[int]) -> None:
    """A `BeforeDot` that does nothing."""


class Wire(Protocol):
    """What a transaction is said over."""

    @property
    def quiet(self) -> bool:
        """Whether no reply waits to be read."""
        ...

    async def put(self, data: bytes, timeout: float) -> None:  # noqa: ASYNC109
        """Write. Raises Broken."""
        ...

    async def reply(self, timeout: float) -> Reply:  # noqa: ASYNC109
        """The next reply. Raises Broken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the server said to EHLO; `size` 0 for no limit."""

    names: frozenset[str]
    size: int
    auth: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds to wait: for the connection, the banner, the answer to a command, the answer to the final dot."""

    connect: float
    banner: float
    command: float
    data: float
    whole: float = 3600.0
    """All of a transaction, however steadily the other side crawls (N09)."""
    rate: float = 1000.0
    """Bytes of content a second that the other side must take, after the first minute."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class Letter:
    """One transaction: `content` is RFC 5322 bytes with CRLF, signed; `utf8` when its header or an address needs SMTPUTF8."""

    mail_from: ReversePath
    recipients: tuple[EnvelopeRecipient, ...]
    params: MailParams
    content: bytes = field(repr=False)
    utf8: bool = False


class Transaction:
    """MAIL to the final dot, and what was said to each recipient."""

    def __init__(self, wire: Wire, patience: Patience, letter: Letter, *, time: Callable[[], float]) -> None:
        """`time` is monotonic."""
        self.go_ahead = False
        self.closing = False
        self.confused = False
        """It answered commands that came in one segment as if they came out of turn: nothing that it said counts (N15)."""
        self._time = time
        self._until = time() + patience.whole
        self._wire = wire
        self._patience = patience
        self._letter = letter
        self._outcomes: list[Outcome | None] = [None] * len(letter.recipients)
        self._stage = Stage.MAIL
        self._tells = True

    @property
    def got_stuck(self) -> bool:
        """Whether it broke off between the answer to MAIL and the content."""
        return self._stage in (Stage.RCPT, Stage.DATA) and not self.go_ahead

    async def open(self, offers: Offers, *, reset: bool, pipelining: bool = True) -> None:
        """MAIL, RCPTs and DATA, and what is said to them; RSET before, when `reset`. Raises Broken.

        In one segment where the server offers it, unless not `pipelining`.
        """
        mail, rcpts = envelope(self._letter, offers)
        self._tells = "dsn" in offers
        if pipelining and "pipelining" in offers:
            await self._open_pipelined(mail, rcpts, reset=reset)
        else:
            await self._open_by_turns(mail, rcpts, reset=reset)

    async def _open_pipelined(self, mail: bytes, rcpts: Sequence[bytes], *, reset: bool) -> None:
        """All in one segment (RFC 2920 §3.1); then as many replies."""
        await self._put((b"RSET\r\n" if reset else b"") + mail + b"".join(rcpts) + b"DATA\r\n")
        if reset:
            await self._reply()
        answer = await self._reply()
        refused = self._mail_said(answer)
        self._note_confusion(answer)
        self._stage = Stage.RCPT
        for index in range(len(rcpts)):
            answer = await self._reply()
            if not refused:
                self._note_confusion(answer)
                self._rcpt_said(index, answer)
        self._stage = Stage.DATA
        answer = await self._reply(_DATA_COMMAND_TIMEOUT)
        if None in self._outcomes:
            self._note_confusion(answer)
        self._data_said(answer)
        if self.confused:
            self.go_ahead = False
            self.closing = True
        elif answer.code == 354 and not self.go_ahead:
            # RFC 2920 §3.1: nobody was accepted and yet it waits for a message; it gets an empty one for nobody.
            await self._put(END)
            await self._reply(self._patience.data)

    async def _open_by_turns(self, mail: bytes, rcpts: Sequence[bytes], *, reset: bool) -> None:
        """Waiting for each reply."""
        if reset:
            await self._say(b"RSET\r\n")
        if self._mail_said(await self._say(mail)):
            return
        self._stage = Stage.RCPT
        for index, rcpt in enumerate(rcpts):
            self._rcpt_said(index, await self._say(rcpt))
        if None in self._outcomes:
            self._stage = Stage.DATA
            self._data_said(await self._say(b"DATA\r\n", _DATA_COMMAND_TIMEOUT))

    async def content(self, before_dot: BeforeDot = no_hook) -> None:
        """The message and its dot, in blocks; then the reply that decides. Raises Broken, and what `before_dot` raises."""
        wire = stuff(self._letter.content) + END
        started = self._time()
        for start in range(0, len(wire), _BLOCK):
            if start + _BLOCK >= len(wire):
                await before_dot([index for index, known in enumerate(self._outcomes) if known is None])
                if not self._wire.quiet:
                    break
                self._stage = Stage.DOT  # from here on it may have been taken, whatever breaks
            try:
                await self._put(wire[start : start + _BLOCK])
                if self._stage is Stage.DATA:
                    self._keeps_up(start, self._time() - started)
            except Broken:
                if self._wire.quiet:
                    raise
                break  # N03: it answered before the end and closed; the answer counts
            if self._stage is Stage.DATA and not self._wire.quiet:
                break
        early = self._stage is Stage.DATA
        answer = await self._reply(self._patience.data)
        if early:
            self.closing = True
            if answer.is_positive:
                raise Broken(f"it answered {answer} before the end of the message")
        self._decide(answer)

    def interrupt(self, detail: str) -> None:
        """The dialogue broke off: so it ends for all who had no answer yet."""
        self._fill(Interrupted(stage=self._stage, detail=detail))

    def put_off(self, outcome: Deferred) -> None:
        """So it ends for all who had no answer yet: something on our side went wrong."""
        self._fill(outcome)

    def outcomes(self) -> list[Outcome]:
        """One for each recipient."""
        self._fill(Interrupted(stage=self._stage, detail="the dialogue ended early"))
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _mail_said(self, answer: Reply) -> bool:
        outcome = _judged(answer, Stage.MAIL)
        if outcome is not None:
            self._fill(outcome)
        return outcome is not None

    def _rcpt_said(self, index: int, answer: Reply) -> None:
        # RFC 5321 §4.5.3.1.10: 552 to RCPT is the old way to say 452, too many recipients.
        if answer.code == 552 and (answer.status is None or str(answer.status) == "5.5.3"):
            self._outcomes[index] = Deferred(reply=answer, stage=Stage.RCPT)
        else:
            self._outcomes[index] = _judged(answer, Stage.RCPT)

    def _data_said(self, answer: Reply) -> None:
        if None not in self._outcomes:
            return
        if answer.code == 354:
            self.go_ahead = True
        else:
            self._decide(answer)

    def _decide(self, answer: Reply) -> None:
        """The answer for all who were accepted so far."""
        if answer.is_positive and not (self._stage is Stage.DOT and answer.code < 300):
            self._fill(Interrupted(stage=self._stage, detail=f"unexpected answer {answer}"))
            self.closing = True
        else:
            self._fill(_judged(answer, self._stage) or Accepted(reply=answer, tells=self._tells))

    def _fill(self, outcome: Outcome) -> None:
        self._outcomes = [outcome if known is None else known for known in self._outcomes]

    def _note_confusion(self, answer: Reply) -> None:
        status = "" if answer.status is None else str(answer.status)
        if answer.code in _LOST_COUNT and (not status or status in _LOST_COUNT_STATUS):
            self.confused = True

    def _keeps_up(self, sent: int, seconds: float) -> None:
        """Raises Broken when the other side takes the content too slowly (N09)."""
        if seconds > _GRACE and sent < (seconds - _GRACE) * self._patience.rate:
            raise Broken(f"the remote took {sent} bytes in {seconds:.0f} s, which is too slow")

    async def _say(self, line: bytes, timeout: float | None = None) -> Reply:  # noqa: ASYNC109
        await self._put(line)
        return await self._reply(timeout)

    async def _put(self, data: bytes) -> None:
        await self._wire.put(data, self._at_most(_BLOCK_TIMEOUT))

    def _at_most(self, seconds: float) -> float:
        """So long, or what is left of the time for all. Raises Broken when nothing is."""
        left = self._until - self._time()
        if left <= 0:
            raise Broken(f"the transaction was not done within {self._patience.whole:g} s")
        return min(seconds, left)

    async def _reply(self, timeout: float | None = None) -> Reply:  # noqa: ASYNC109
        command = self._patience.command
        answer = await self._wire.reply(self._at_most(command if timeout is None else timeout))
        if answer.code == 421:
            self.closing = True
        return answer


def _judged(answer: Reply, stage: Stage) -> Deferred | Refused | Interrupted | None:
    """What a reply means for a recipient; None when it is a yes."""
    if answer.is_transient:
        return Deferred(reply=answer, stage=stage)
    if answer.is_permanent:
        return Refused(reply=answer, stage=stage)
    if answer.code >= 300:
        return Interrupted(stage=stage, detail=f"unexpected answer {answer}")
    return None


def cannot(letter: Letter, offers: Offers, host: str) -> Refused | None:
    """Why a server that offers this cannot take the letter (N15), or None."""
    if offers.size and len(letter.content) > offers.size:
        text = f"The message has {len(letter.content)} bytes, more than the {offers.size} that {host} takes"
        return Refused(reply=reply(552, "5.3.4", text), stage=Stage.MAIL, by_us=True)
    if letter.utf8 and "smtputf8" not in offers:
        return Refused(reply=codes.SMTPUTF8_NOT_POSSIBLE, stage=Stage.MAIL, by_us=True)
    if not letter.content.isascii() and "8bitmime" not in offers:
        return Refused(reply=codes.CONVERSION_NOT_POSSIBLE, stage=Stage.MAIL, by_us=True)
    return None


def envelope(letter: Letter, offers: Offers) -> tuple[bytes, Sequence[bytes]]:
    """The MAIL and the RCPT commands for a server that offers this, as the wire has them."""
    return _mail(letter, offers), [_rcpt(recipient, offers) for recipient in letter.recipients]


def _mail(letter: Letter, offers: Offers) -> bytes:
    words = [f"MAIL FROM:{format_path(letter.mail_from)}"]
    if "size" in offers:
        words.append(f"SIZE={len(letter.content)}")
    if "8bitmime" in offers and not letter.content.isascii():
        words.append(f"BODY={BodyType.EIGHT_BIT}")
    if letter.utf8:
        words.append("SMTPUTF8")
    if "dsn" in offers:
        if letter.params.ret is not None:
            words.append(f"RET={letter.params.ret}")
        if letter.params.envid is not None:
            words.append(f"ENVID={encode_xtext(letter.params.envid)}")
    return " ".join(words).encode() + b"\r\n"


def _rcpt(recipient: EnvelopeRecipient, offers: Offers) -> bytes:
    words = [f"RCPT TO:<{format_address(recipient.address)}>"]
    if "dsn" in offers:
        if recipient.notify:
            words.append("NOTIFY=" + ",".join(one for one in Notify if one in recipient.notify))
        if recipient.orcpt is not None:
            words.append(f"ORCPT={encode_orcpt(recipient.orcpt)}")
    return " ".join(words).encode() + b"\r\n"
