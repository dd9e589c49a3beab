"""The edge as a service: limits of connections, stopping in order, and errors of our own that lose nothing and show nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailrelay.errors import DiskFull, Fatal, StoreBusy, StoreDamaged
from mailrelay.inbound import accept
from mailrelay.store import arrivals
from tests.support.edge import MAIL, Edge, edge
from tests.support.smtp_client import SmtpClient, connected


async def test_fault_s18_connections_over_a_limit_are_refused_before_the_banner(tmp_path: Path) -> None:
    async with edge(tmp_path, max_connections_per_ip=2) as here:
        async with connected(here.port()), connected(here.port()):
            async with connected(here.port(), banner=False) as third:
                assert str(await third.reply())[:9] == "421 4.7.0"
                assert await third.closed()
            async with connected(here.port(), source="127.0.0.2") as other:
                assert (await other.ehlo()).code == 250
        await settled(here)
        async with connected(here.port()) as again:
            assert (await again.ehlo()).code == 250


async def test_fault_s18_new_connections_in_a_minute_are_limited(tmp_path: Path) -> None:
    async with edge(tmp_path, max_connections_per_ip_per_minute=3) as here:
        for _ in range(3):
            async with connected(here.port()):
                pass
        async with connected(here.port(), banner=False) as fourth:
            assert str(await fourth.reply())[:9] == "421 4.7.0"


async def test_trusted_networks_have_no_limit_of_their_own_but_share_the_total(tmp_path: Path) -> None:
    async with (
        edge(
            tmp_path,
            max_connections=3,
            max_connections_per_ip=1,
            max_connections_per_ip_per_minute=1,
            trusted_networks=("127.0.0.0/31",),
        ) as here,
        connected(here.port()),
        connected(here.port()),
        connected(here.port()),
        connected(here.port(), banner=False) as fourth,
    ):
        assert str(await fourth.reply())[:9] == "421 4.3.2"


async def settled(here: Edge) -> None:
    async with asyncio.timeout(30):
        while here.listeners.sessions:  # noqa: ASYNC110 (what the other side does has no event here)
            await asyncio.sleep(0.01)


async def test_fault_d13_a_stop_ends_idle_sessions_and_lets_a_mail_under_way_end(tmp_path: Path) -> None:
    async with edge(tmp_path) as here:
        async with connected(here.port()) as idle, connected(here.port()) as busy:
            await idle.ehlo()
            await busy.ehlo()
            await busy.say("MAIL FROM:<anna@example.com>")
            await busy.say(f"RCPT TO:<{here.address}>")
            assert (await busy.say("DATA")).code == 354
            here.stopping.set()
            assert str(await idle.reply())[:9] == "421 4.3.2"
            assert await idle.closed()
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", here.port())
            assert (await busy.content(MAIL)).code == 250
            assert str(await busy.reply())[:9] == "421 4.3.2"
            assert await busy.closed()
        assert len(await here.arrivals()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("a secret of ours"), "451 4.3.0"),
        (StoreBusy("The store is busy; try again later"), "451 4.3.0"),
        (DiskFull("The disk is full; try again later"), "452 4.3.1"),
    ],
)
async def test_an_error_of_ours_is_put_off_shows_nothing_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        with monkeypatch.context() as patch:
            patch.setattr(arrivals, "add", broken)
            answer = await client.mail(here.address, MAIL)
            assert str(answer)[:9] == code
            assert "secret" not in str(answer)
        assert ("session.failed" in "".join(capsys.readouterr())) == isinstance(error, RuntimeError)
        assert (await client.mail(here.address, MAIL)).code == 250
        assert len(await here.arrivals()) == 1


@pytest.mark.parametrize(("error", "code"), [(DiskFull("The disk is full"), 452), (RuntimeError("ours"), 451)])
async def test_fault_d05_a_disk_that_fills_amid_the_content_puts_the_mail_off_and_keeps_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def broken(*_: object) -> None:
        raise error

    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        with monkeypatch.context() as patch:
            patch.setattr(accept.BodySpool, "write", broken)
            assert (await client.mail(here.address, MAIL + b"RSET\r\nQUIT\r\n" * 20_000)).code == code
        assert (await client.mail(here.address, MAIL)).code == 250
        assert len(await here.arrivals()) == 1


async def test_fault_d04_a_damaged_store_stops_the_process_and_the_mail_is_put_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StoreDamaged("the disk failed")

    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        monkeypatch.setattr(arrivals, "add", broken)
        answer = await client.mail(here.address, MAIL)
        assert str(answer)[:9] == "451 4.3.0"
        assert "disk failed" not in str(answer)
        with pytest.raises(Fatal):
            await here.task


async def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    async with edge(tmp_path, idle_timeout=0.3, max_useless=10**9) as here, connected(here.port()) as client:
        await client.ehlo()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        flood = asyncio.create_task(say_forever(client))
        await settled(here)
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)


async def say_forever(client: SmtpClient) -> None:
    while True:
        client.send(b"HELP\r\n" * 10_000)
        await client.writer.drain()


async def test_a_session_takes_one_mail_after_another(tmp_path: Path) -> None:
    async with edge(tmp_path) as here, connected(here.port()) as client:
        await client.ehlo()
        for _ in range(20):
            begin = f"MAIL FROM:<anna@example.com>\r\nRCPT TO:<{here.address}>\r\nDATA\r\n"
            client.send(begin)
            assert [one.code for one in await client.replies(3)] == [250, 250, 354]
            client.send(MAIL + b".\r\n")
            assert (await client.reply()).code == 250
        assert len(await here.arrivals()) == 20
