"""Clients that note for each mail what they were told: at the edge, on submission over TLS with AUTH, and at the API."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from mailrelay.model.envelope import Channel
from tests.crash.relay import Relay
from tests.crash.runner import PASSWORD
from tests.support.ledger_oracle import Ledger, Said, Sent
from tests.support.smtp_client import SmtpClient, trusting

_numbers = itertools.count(1)
_PAUSE = 0.02


def content(id_: str, to: str, size: int) -> bytes:
    """A mail of about `size` bytes from the user."""
    head = (
        f"From: Anna <anna@example.com>\r\nTo: {to}\r\nSubject: {id_}\r\nDate: Mon, 01 Jun 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{id_}>\r\n\r\n"
    )
    line = f"A line of {id_}, as people write them.\r\n"
    return (head + line * max(1, (size - len(head)) // len(line))).encode()


class Client:
    """Sends to one relay and keeps the ledger."""

    def __init__(self, relay: Relay, ledger: Ledger) -> None:
        self.relay = relay
        self.ledger = ledger

    async def edge(self, session: SmtpClient, *, size: int = 2000) -> Said:
        """A mail through the dropbox, in a session after EHLO."""
        return await self._transact(session, Channel.DROPBOX, self.relay.house["dropbox"], size)

    async def submission(self, session: SmtpClient, *, size: int = 2000) -> Said:
        """A mail to somebody, in a session after AUTH."""
        return await self._transact(session, Channel.SUBMISSION, None, size)

    async def api(self, session: aiohttp.ClientSession, *, size: int = 2000) -> Said:
        """A whole mail by POST."""
        id_, to = self._new(Channel.API)
        said, answer = Said.UNKNOWN, ""
        try:
            async with session.post(
                f"http://127.0.0.1:{self.relay.port('api')}/api/v1/messages",
                data=content(id_, to, size),
                headers={"Content-Type": "message/rfc822", "Authorization": f"Bearer {self.relay.house['token']}"},
            ) as got:
                said = Said.ACK if got.status == 202 else Said.NACK
                answer = f"{got.status} {await got.text() if got.status != 202 else ''}"
        except aiohttp.ClientConnectorError:
            said = Said.NACK
        except (aiohttp.ClientError, OSError):
            pass
        self.ledger.note(Sent(id_, Channel.API, to, said, answer))
        return said

    @asynccontextmanager
    async def session(self, listener: str) -> AsyncIterator[SmtpClient]:
        """A session after EHLO (edge), or after AUTH over TLS (submissions). It ends without a word: the daemon may be dead."""
        tls = trusting() if listener == "submissions" else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.relay.port(listener), ssl=tls, limit=2**20)
        session = SmtpClient(reader, writer)
        try:
            greeting = await session.reply()
            if greeting.code != 220:
                raise ConnectionError(f"the greeting is {greeting}")
            await session.ehlo()
            if tls is not None:
                await self._log_in(session)
            yield session
        finally:
            writer.transport.abort()

    async def _log_in(self, session: SmtpClient) -> None:
        answer = await session.log_in(self.relay.house["user"], PASSWORD)
        if answer.code != 235:
            raise ConnectionError(f"AUTH was answered {answer}")

    def _new(self, channel: Channel) -> tuple[str, str]:
        number = next(_numbers)
        return f"{channel}-{number}@mail.test", f"person{number}@customer.test"

    async def _transact(self, session: SmtpClient, channel: Channel, rcpt: str | None, size: int) -> Said:
        id_, to = self._new(channel)
        said, answer = Said.NACK, ""
        try:
            for line in ("MAIL FROM:<anna@example.com>", f"RCPT TO:<{rcpt or to}>", "DATA"):
                reply = await session.say(line)
                answer = str(reply)
                if reply.code not in (250, 354):
                    await session.say("RSET")
                    return said
            said = Said.UNKNOWN  # from the first byte on that may be the dot
            reply = await session.content(content(id_, to, size))
            said, answer = Said.ACK if reply.code == 250 else Said.NACK, str(reply)
        finally:
            self.ledger.note(Sent(id_, channel, to, said, answer))
        return said

    async def load(
        self, over: Callable[[], bool], *, edge: int, submission: int, api: int, size: Callable[[], int] = lambda: 2000
    ) -> None:
        """That many sessions of each kind, each mail after mail, again after each broken connection, until `over`."""

        async def at_edge() -> None:
            async with self.session("edge") as session:
                while not over():
                    await self.edge(session, size=size())
                    await asyncio.sleep(_PAUSE)

        async def at_submission() -> None:
            async with self.session("submissions") as session:
                while not over():
                    await self.submission(session, size=size())
                    await asyncio.sleep(_PAUSE)

        async def at_api() -> None:
            async with aiohttp.ClientSession() as session:
                while not over():
                    await self.api(session, size=size())
                    await asyncio.sleep(_PAUSE)

        async def again(kind: Callable[[], Awaitable[None]]) -> None:
            while not over():
                try:
                    await kind()
                except (OSError, EOFError):
                    await asyncio.sleep(_PAUSE)

        kinds = [at_edge] * edge + [at_submission] * submission + [at_api] * api
        await asyncio.gather(*(again(kind) for kind in kinds))
