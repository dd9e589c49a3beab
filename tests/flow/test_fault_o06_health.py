"""/healthz and /readyz while something is wrong (O06): alive as long as the loop turns, ready only when mail can be taken and sent."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mailrelay.store.sqlite import driver
from mailrelay.web import ops
from tests.support.cli import Relay, relay
from tests.support.daemon import daemon, until
from tests.support.locked import locked


@dataclass(frozen=True)
class House:
    """A daemon, and whoever asks after its health."""

    relay: Relay
    session: aiohttp.ClientSession
    data: Path

    async def health(self) -> tuple[int, int, dict[str, str]]:
        """The status of /healthz, that of /readyz, and the reason of each part that is not ready."""
        host, port = self.relay.running.ops
        async with self.session.get(f"http://{host}:{port}/healthz") as answer:
            alive = answer.status
        async with self.session.get(f"http://{host}:{port}/readyz") as answer:
            said: Any = json.loads(await answer.text())
        assert said["ready"] is (answer.status == 200)
        return alive, answer.status, {name: one["reason"] for name, one in said["parts"].items() if not one["ready"]}

    async def until(self, true: Callable[[int, int, dict[str, str]], bool]) -> tuple[int, int, dict[str, str]]:
        """The health once it is so."""
        async with asyncio.timeout(30):
            while not true(*(found := await self.health())):  # noqa: ASYNC110 (a daemon has no event of ours)
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with relay(tmp_path) as running, aiohttp.ClientSession() as session:
        yield House(running, session, tmp_path / "data")


def _well(alive: int, status: int, reasons: dict[str, str]) -> bool:
    return (alive, status, reasons) == (200, 200, {})


async def test_fault_o06_with_nothing_wrong_it_is_alive_and_ready(house: House) -> None:
    assert await house.health() == (200, 200, {})


async def test_fault_o06_while_the_store_takes_nothing_it_lives_and_says_so(house: House) -> None:
    with locked(house.data / "mailrelay.db"):
        alive, status, reasons = await house.health()
        assert (alive, status) == (200, 503)
        assert reasons["store"] in ("no answer within 5 s", "The store is busy; try again later")
    await house.until(_well)


async def test_fault_o06_with_a_full_disk_it_lives_and_says_how_much_is_missing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ops, "_FLOOR_BYTES", 1 << 60)
        patched.setattr(ops, "_FLOOR_SHARE", 1.0)
        alive, status, reasons = await house.health()
    assert (alive, status, list(reasons)) == (200, 503, ["disk"])
    assert "bytes are free in" in reasons["disk"]
    assert await house.health() == (200, 200, {})


@pytest.mark.parametrize(("table", "part"), [("arrival", "filing"), ("destination", "dispatcher")])
async def test_fault_o06_with_a_worker_that_fails_again_and_again_it_lives_and_names_it(
    house: House, table: str, part: str
) -> None:
    with closing(driver.connect(house.data / "mailrelay.db", isolation_level=None, timeout=10)) as other:
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute(f"ALTER TABLE {table} RENAME TO gone")
        alive, status, reasons = await house.until(lambda alive, status, reasons: part in reasons)
        assert (alive, status) == (200, 503)
        assert reasons[part] == f"{part} does not run; the log says why"
        other.execute(f"ALTER TABLE gone RENAME TO {table}")
    await house.until(_well)


async def test_fault_o06_without_dns_it_is_ready_since_mail_is_taken_and_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(wire: bytes, *, udp: bool) -> None:
        """Nobody answers."""

    monkeypatch.setattr(house.relay.dns, "reply", silent)
    assert await house.health() == (200, 200, {})


def test_fault_o06_while_a_listener_lacks_its_port_or_a_stop_is_under_way_it_lives_and_is_not_ready(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path, start=False) as one, ThreadPoolExecutor(1) as beside:

        def health() -> tuple[int, dict[str, Any]]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{one.ops}/readyz", timeout=10) as answer:
                    return answer.status, json.load(answer)["parts"]
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)["parts"]
            except OSError:
                return 0, {}  # not yet

        def alive() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{one.ops}/healthz", timeout=10) as answer:
                return bool(answer.status == 200)

        def reason(part: str) -> str:
            status, parts = health()
            return str(parts[part]["reason"]) if status == 503 else ""

        with socket.socket() as other:
            other.bind(("127.0.0.1", one.edge))
            other.listen()
            starting = beside.submit(one.start, sample=False)
            assert until(lambda: reason("listeners"), "it says so") == "the listeners are not open"
            assert alive()
        starting.result(60)
        until(lambda: health()[0] == 200, "it is well")

        with socket.create_connection(("127.0.0.1", one.edge)) as client:
            client.settimeout(10)
            assert client.recv(4096).startswith(b"220 ")
            for line in (b"HELO a.test", b"MAIL FROM:<anna@example.org>"):  # a transaction under way, which is seen out
                client.sendall(line + b"\r\n")
                assert client.recv(4096).startswith(b"250 ")
            one.process.send_signal(signal.SIGTERM) if one.process else None
            assert until(lambda: reason("running"), "it says so") == "the daemon is stopping"
            assert alive()
