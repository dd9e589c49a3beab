"""Faults S01–S10, S19, S20, S29: what may be wrong with the content of a mail, and with when it comes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mailrelay.blob.space import Space
from mailrelay.store.base import Tx
from tests.support.edge import MAIL, Edge, edge
from tests.support.smtp_client import SmtpClient, connected

LIMIT = 100_000


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Edge]:
    async with edge(tmp_path, max_size=LIMIT) as running:
        yield running


async def begin(client: SmtpClient, here: Edge, *, hello: str = "EHLO client.test") -> None:
    await client.say(hello)
    await client.say("MAIL FROM:<anna@example.com>")
    assert (await client.say(f"RCPT TO:<{here.address}>")).code == 250
    assert (await client.say("DATA")).code == 354


FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r",
    b"\n\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


@pytest.mark.parametrize("hello", ["EHLO client.test", "HELO client.test"])
async def test_fault_s01_a_false_end_of_data_smuggles_no_second_mail(here: Edge, hello: str) -> None:
    smuggled = f"MAIL FROM:<ceo@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n".encode()
    for false_end in FALSE_ENDS:
        async with connected(here.port()) as client:
            await begin(client, here, hello=hello)
            answer = await client.content(MAIL + b"line" + false_end + smuggled + MAIL)
            assert str(answer)[:9] in ("550 5.5.2", "550 5.6.0"), false_end
            assert (await client.say("NOOP")).code == 250, false_end  # in step: nothing of the content was a command
    assert await here.arrivals() == []


async def test_fault_s01_dots_within_content_come_out_as_they_were(here: Edge) -> None:
    async with connected(here.port()) as client:
        await begin(client, here)
        assert (await client.content(MAIL + b"..\r\n..x\r\n")).code == 250
    (arrival,) = await here.arrivals()
    assert (await here.raw(arrival)).endswith(MAIL + b".\r\n.x\r\n")


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_fault_s05_the_limit_holds_to_the_byte(here: Edge, over: int) -> None:
    content = MAIL + b"x" * 70 + b"\r\n"
    content += (b"y" * 98 + b"\r\n") * ((LIMIT - len(content)) // 100)
    content += b"z" * (LIMIT + over - len(content) - 2) + b"\r\n"
    assert len(content) == LIMIT + over
    async with connected(here.port()) as client:
        await client.ehlo()
        for announced in ("", f" SIZE={len(content)}", " SIZE=10"):
            answer = await client.mail(here.address, content, params=announced)
            assert str(answer)[:9] == ("552 5.3.4" if over > 0 else "250 2.0.0"), announced
    assert len(await here.arrivals()) == (0 if over > 0 else 3)


async def test_fault_s06_a_mail_larger_than_the_free_space_is_put_off_at_mail(here: Edge) -> None:
    here.space.append(Space(free=32_000_000 + 50_000, total=40_000_000))
    async with connected(here.port()) as client:
        await client.ehlo()
        assert str(await client.say("MAIL FROM:<a@example.com> SIZE=60000"))[:9] == "452 4.3.1"
        assert (await client.say("MAIL FROM:<a@example.com> SIZE=40000")).code == 250


@pytest.mark.parametrize(
    "space",
    [
        Space(free=49_999_999, total=1_000_000_000),
        Space(free=31_999_999, total=0),
        Space(10**12, 10**12, inodes=0.04),
    ],
)
async def test_fault_d05_below_the_floor_of_the_disk_mail_is_put_off_and_taken_again_after(
    here: Edge, space: Space
) -> None:
    here.space.append(space)
    async with connected(here.port()) as client:
        await client.ehlo()
        assert str(await client.say("MAIL FROM:<a@example.com>"))[:9] == "452 4.3.1"
        here.space.pop()
        assert (await client.mail(here.address, MAIL)).code == 250


async def test_fault_s08_a_pipelined_transaction_is_answered_in_order(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        client.send(
            "MAIL FROM:<anna@example.com>\r\nRCPT TO:<nobody@inbound.test>\r\n"
            f"RCPT TO:<{here.address}>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n"
        )
        assert [one.code for one in await client.replies(5)] == [250, 550, 250, 550, 354]
        client.send(MAIL + b".\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
        assert [one.code for one in await client.replies(4)] == [250, 250, 250, 221]
        assert await client.closed()
    assert len(await here.arrivals()) == 1


async def test_fault_s08_segments_of_one_byte_change_nothing(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.send_slowly(b"EHLO client.test\r\n")
        assert (await client.reply()).code == 250
        await client.send_slowly(f"MAIL FROM:<anna@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n".encode())
        assert [one.code for one in await client.replies(3)] == [250, 250, 354]
        await client.send_slowly(MAIL + b"..\r\n.\r\nQUIT\r\n")
        assert [one.code for one in await client.replies(2)] == [250, 221]
    (arrival,) = await here.arrivals()
    assert (await here.raw(arrival)).endswith(MAIL + b".\r\n")


async def test_fault_s09_content_sent_although_no_recipient_was_taken_is_no_command(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        client.send(
            "MAIL FROM:<anna@example.com>\r\nRCPT TO:<nobody@inbound.test>\r\nDATA\r\n"
            f"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<{here.address}>\r\n.\r\n"
        )
        assert [one.code for one in await client.replies(3)] == [250, 550, 554]
        assert await client.closed()
    async with connected(here.port()) as client:
        await client.ehlo()
        await client.say("MAIL FROM:<anna@example.com>")
        await client.say("RCPT TO:<nobody@inbound.test>")
        assert str(await client.say("DATA"))[:9] == "554 5.5.1"
        assert (await client.say("DATA now")).code == 501
    assert await here.arrivals() == []


async def test_fault_s10_content_before_354_is_refused(here: Edge) -> None:
    async with connected(here.port()) as client:
        await client.ehlo()
        client.send(f"MAIL FROM:<anna@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n".encode() + MAIL + b".\r\n")
        assert [str(one)[:9] for one in await client.replies(3)] == ["250 2.1.0", "250 2.1.5", "554 5.5.0"]
        assert await client.closed()
    assert await here.arrivals() == []


async def test_fault_s10_content_before_354_is_content_where_the_setting_allows_it(tmp_path: Path) -> None:
    async with edge(tmp_path, early_data="allow") as here, connected(here.port()) as client:
        await client.ehlo()
        client.send(f"MAIL FROM:<anna@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n".encode() + MAIL + b".\r\n")
        assert [one.code for one in await client.replies(4)] == [250, 250, 354, 250]
        assert len(await here.arrivals()) == 1


async def test_fault_s10_who_talks_before_the_banner_is_refused(here: Edge) -> None:
    with socket.create_connection(("127.0.0.1", here.port())) as early:
        early.sendall(b"EHLO bot.test\r\n")
        reader, writer = await asyncio.open_connection(sock=early)
        client = SmtpClient(reader, writer)
        assert str(await client.reply())[:9] == "554 5.5.0"
        assert await client.closed()
        await client.close()


async def test_fault_s10_pipelining_behind_the_dot_after_helo_is_refused(here: Edge) -> None:
    async with connected(here.port()) as client:
        await begin(client, here, hello="HELO client.test")
        client.send(MAIL + b".\r\nMAIL FROM:<ceo@example.com>\r\n")
        assert str(await client.reply())[:9] == "554 5.5.0"
        assert await client.closed()
    assert await here.arrivals() == []


async def test_fault_s19_a_disconnect_at_any_byte_leaves_nothing_without_250(here: Edge) -> None:
    dialogue = f"EHLO client.test\r\nMAIL FROM:<anna@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n".encode()
    content = b"Subject: x\r\n\r\nHello\r\n.\r\n"
    tasks, before = len(asyncio.all_tasks()), sockets()
    for cut in range(len(dialogue) + len(content)):
        async with connected(here.port()) as client:
            client.send(dialogue[:cut])
            if cut >= len(dialogue):
                for _ in range(4):
                    await client.reply()
                client.send(content[: cut - len(dialogue)])
            if cut % 2:
                abort(client)
    await until(lambda: not here.listeners.sessions and len(asyncio.all_tasks()) <= tasks)
    assert await here.arrivals() == []
    assert list((here.folder / "blobs" / "incoming").iterdir()) == []
    assert sockets() == before


async def until(happened: Callable[[], bool]) -> None:
    """Look now and then; what another side does has no event here."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def sockets() -> int:
    """Open sockets of this process."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(descriptor.readlink()))
    return sum(link.startswith("socket:") for link in links)


def abort(client: SmtpClient) -> None:
    """RST instead of FIN."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


async def test_fault_s19_a_large_mail_cut_off_leaves_no_file(here: Edge) -> None:
    async with connected(here.port()) as client:
        await begin(client, here)
        client.send(MAIL + (b"x" * 76 + b"\r\n") * 1_100)
        await client.writer.drain()
        await until(lambda: bool(list((here.folder / "blobs" / "incoming").iterdir())))
        abort(client)
    await until(lambda: not here.listeners.sessions)
    assert list((here.folder / "blobs" / "incoming").iterdir()) == []
    assert await here.arrivals() == []


def stall(tx: Tx, go_on: threading.Event) -> None:
    """Keeps the writer busy."""
    assert tx
    go_on.wait(30)


async def test_fault_s20_a_reset_between_the_dot_and_250_keeps_the_mail(here: Edge) -> None:
    go_on = threading.Event()
    busy = asyncio.create_task(here.store.write(stall, go_on))
    async with connected(here.port()) as client:
        await begin(client, here)
        client.send(MAIL + b".\r\n")
        await until(lambda: not here.store._jobs.empty())  # it waits behind the writer's
        abort(client)
        await asyncio.sleep(0.05)
    go_on.set()
    await busy
    await until(lambda: not here.listeners.sessions)
    assert len(await here.arrivals()) == 1


async def test_fault_d10_what_is_not_stored_in_time_is_put_off_and_not_kept(tmp_path: Path) -> None:
    async with edge(tmp_path, data_timeout=0.2) as here, connected(here.port()) as client:
        go_on = threading.Event()
        busy = asyncio.create_task(here.store.write(stall, go_on))
        await begin(client, here)
        assert str(await client.content(MAIL))[:9] == "451 4.3.0"
        go_on.set()
        await busy
        assert (await client.mail(here.address, MAIL)).code == 250
        assert len(await here.arrivals()) == 1


@pytest.mark.parametrize(("length", "code"), [(998, "250 2.0.0"), (999, "500 5.5.2")])
async def test_fault_s29_a_line_has_at_most_998_characters(here: Edge, length: int, code: str) -> None:
    async with connected(here.port()) as client:
        await begin(client, here)
        assert str(await client.content(MAIL + b"x" * length + b"\r\n"))[:9] == code
        assert (await client.say("NOOP")).code == 250


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: " + b"x" * 90_000 + b"\r\n",
        b"X-Field: x\r\n" * 5_000,
        b"X-Field: x\r\nReceived: y\r\nDelivered-To: z\r\n" * 400,
        b"Subject: x\r\n" + b" y\r\n" * 24_000,
    ],
    ids=["long line", "many fields", "many fields that count", "long field"],
)
async def test_fault_s29_a_header_over_a_cap_is_refused(tmp_path: Path, header: bytes) -> None:
    async with edge(tmp_path, max_size=1_000_000, max_hops=10_000) as here, connected(here.port()) as client:
        await begin(client, here)
        padding = b"X: " + b"y" * 900 + b"\r\n"
        answer = await client.content(
            header + padding * (300 if header.count(b" y") > 10_000 else 0) + b"\r\nHello\r\n"
        )
        assert answer.is_permanent, answer
        assert await here.arrivals() == []


async def test_fault_n09_content_that_trickles_ends_the_session(tmp_path: Path) -> None:
    async with edge(tmp_path, min_rate=500, rate_grace=0.1) as here, connected(here.port()) as client:
        await begin(client, here)
        client.send(b"Subject: slow\r\n")
        assert str(await client.reply())[:9] == "421 4.4.2"
        assert await client.closed()


async def test_an_idle_session_is_ended(tmp_path: Path) -> None:
    async with edge(tmp_path, idle_timeout=0.2) as here, connected(here.port()) as client:
        await client.ehlo()
        assert str(await client.reply())[:9] == "421 4.4.2"
        assert await client.closed()


async def test_a_session_has_an_end(tmp_path: Path) -> None:
    async with edge(tmp_path, idle_timeout=0.4, session_timeout=0.5) as here, connected(here.port()) as client:
        codes = []
        while not codes or codes[-1] == 250:
            codes.append((await client.say("NOOP")).code)
            await asyncio.sleep(0.05)
        assert codes[-1] == 421
