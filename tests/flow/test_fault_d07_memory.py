"""Memory runs short (D07): HTTP says 503 and when to come again, and large letters go out in turn; small things go on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.memory import Memory, Use
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.organisation import Right
from mailrelay.outbound import letters
from mailrelay.outbound.prepare import prepare
from tests.support import factory
from tests.support.answers import Zone
from tests.support.http import serving
from tests.support.outbound import relay
from tests.support.remote import SILENCE, remote

_MB = 1_000_000
_LARGE = b"a line of seventy octets, as mail has them, and then a line end....\r\n" * 15_000
_HEAD = b"From: anna@example.org\r\nTo: bob@b.test\r\nSubject: Offer\r\n\r\n"


class Given:
    """So much memory as a test says."""

    def __init__(self, used: int) -> None:
        self.used = used

    def __call__(self) -> Use:
        return Use(100 * _MB, self.used)


async def test_fault_d07_http_refuses_mail_with_503_and_a_time_while_memory_is_short(tmp_path: Path) -> None:
    given = Given(80 * _MB)
    async with serving(tmp_path, memory=Memory(given)) as api:
        org = await factory.org(api.store, api.clock)
        anna = await factory.user(api.store, api.clock, org, "anna@example.org")
        _, token = await factory.api_token(api.store, api.clock, org, Right.SEND, on_behalf_of=anna)
        client, mail = api.web.bearing(token), {"Content-Type": "message/rfc822"}

        async def in_pieces() -> AsyncIterator[bytes]:
            yield _HEAD
            yield _LARGE

        bodies: list[Any] = [_HEAD + b"hi\r\n", _HEAD + _LARGE, in_pieces()]
        for body in bodies:
            refused = await client.post("/api/v1/messages", data=body, headers=mail)
            assert refused.status == 503, refused
            assert refused.headers["Retry-After"] == "5"
            assert refused.json["detail"] == "Memory is short; try again later"
        # Who looks at it, or ends what causes it, is answered.
        assert (await api.local.get("/api/v1/ledger")).status == 200
        given.used = 10 * _MB
        await asyncio.sleep(0.06)
        for body in (_HEAD + b"hi\r\n", _HEAD + _LARGE, in_pieces()):
            answered = await client.post("/api/v1/messages", data=body, headers=mail)
            assert answered.status == 202, answered


async def test_fault_d07_what_a_request_took_is_given_back_however_it_ends(tmp_path: Path) -> None:
    memory = Memory(Given(10 * _MB))
    async with serving(tmp_path, memory=memory) as api:
        for _ in range(50):
            assert (await api.web.post("/api/v1/messages", data=_LARGE)).status in (401, 403)
        assert memory.take(32 * _MB)  # all that there is to give


async def test_fault_d07_room_is_for_what_came_and_a_stranger_is_told_so_before_his_body_is_read(
    tmp_path: Path,
) -> None:
    memory = Memory(Given(10 * _MB))
    async with serving(tmp_path, memory=memory) as api:
        org = await factory.org(api.store, api.clock)
        _, token = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        connections = []
        for said in ("", f"Authorization: Bearer {token}\r\n"):
            reader, writer = await asyncio.open_connection(*api.server.address)
            writer.write(
                f"POST /api/v1/suspensions HTTP/1.1\r\nHost: x\r\n{said}Content-Type: application/json\r\n"
                f"Content-Length: {7 * _MB}\r\n\r\n ".encode()
            )
            connections.append((reader, writer))
        async with asyncio.timeout(20):
            assert (await connections[0][0].readline()).startswith(b"HTTP/1.1 401")
        assert memory.fits(32 * _MB)
        connections[1][1].write(b" " * _MB)
        async with asyncio.timeout(20):
            while memory.fits(29 * _MB):  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.01)
        assert memory.fits(28 * _MB - 1_000)
        for _, writer in connections:
            writer.close()
        async with asyncio.timeout(20):
            while not memory.fits(32 * _MB):  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.01)


async def test_fault_d07_large_letters_wait_briefly_for_room_that_others_have_and_small_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_ROOM_SECONDS", 0.3)
    memory = Memory(Given(10 * _MB))
    assert memory.take(30 * _MB)
    zone = Zone({("A", "b.test"): "127.0.0.1", ("A", "c.test"): "127.0.0.1"})
    async with (
        remote() as sink,
        relay(tmp_path, route="mx", port=sink.port, answers=zone, letters={"memory": memory}, connections=2) as us,
    ):
        large = [await us.submit(f"r{number}@b.test", raw=us.mail(body=_LARGE)) for number in range(4)]
        small = await us.submit("eve@c.test")
        us.start()
        await us.until(small)
        for one in large:
            (put_off,) = await us.until(one, DeliveryState.QUEUED, attempts=1)
            assert "memory" in put_off.last_reply
        memory.give_back(30 * _MB)
        us.clock.advance(timedelta(hours=1))
        for one in large:
            await us.until(one)


async def test_fault_d07_large_letters_are_made_one_after_another_where_there_is_room_for_one(tmp_path: Path) -> None:
    together = [0, 0]
    lock = threading.Lock()

    def make(*given: Any, **named: Any) -> Any:
        with lock:
            together[0] += 1
            together[1] = max(together)
        time.sleep(0.05)
        try:
            return prepare(*given, **named)
        finally:
            with lock:
                together[0] -= 1

    # 32 MB to give; a letter of 1 MB takes four of them, one of 10 MB goes alone all the same.
    memory = Memory(Given(67 * _MB))
    async with (
        remote() as sink,
        relay(
            tmp_path,
            route="smart_host",
            smart_host={"host": "127.0.0.1", "port": sink.port, "tls": "never"},
            letters={"memory": memory, "make": make},
        ) as one,
    ):
        sent = [await one.submit(f"bob{number}@b.test", raw=one.mail(body=_LARGE)) for number in range(5)]
        sent.append(await one.submit("bob@c.test", raw=one.mail(body=_LARGE * 5)))
        one.start()
        for each in sent:
            await one.until(each)
    assert len(sink.messages) == 6
    assert together == [0, 1]


async def test_fault_d07_no_more_large_letters_are_made_than_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "_ROOM_SECONDS", 0.3)
    monkeypatch.setattr("mailrelay.memory._PATIENCE", 0.1)
    async with remote() as sink:
        zone = Zone({("A", f"{name}.test"): "127.0.0.1" for name in "bcd"})
        given = {"memory": Memory(Given(90 * _MB))}
        async with relay(tmp_path, letters=given, answers=zone, route="mx", port=sink.port) as one:
            sink.say("DOT", SILENCE)
            sent = [await one.submit(f"bob@{name}.test", raw=one.mail(body=_LARGE)) for name in "bcd"]
            one.start()
            async with asyncio.timeout(20):
                while True:
                    found = [(await one.until(each, *DeliveryState))[0] for each in sent]
                    replies = [str(each.last_reply)[:9] for each in found if each.last_reply]
                    if len(replies) == 2:
                        break
                    await asyncio.sleep(0.05)
    assert replies == ["451 4.3.1"] * 2
    assert sink.verbs().count("DATA") == 1
