"""N04, N06 to N09, N15 on the wire: too many recipients, hosts that are not there, peers that lose their way or trickle."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailrelay.clock import Clock
from mailrelay.config.schema import Dns
from mailrelay.dns.caching import CachingResolver
from mailrelay.dns.resolver import ask
from mailrelay.errors import StoreBusy
from mailrelay.model.delivery import DeliveryState, Interrupted, Stage
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.outbound import exchange
from mailrelay.outbound.connection import Connection
from mailrelay.outbound.policy import route
from tests.support.answers import Zone
from tests.support.fault_proxy import Cut, fault_proxy
from tests.support.outbound import relay, until
from tests.support.remote import CLOSE, SILENCE, Remote, remote
from tests.support.zone import dns_server

ZONE = Zone({("MX", "b.test"): ["localhost"], ("A", "localhost"): "127.0.0.1"})
QUEUED, SENT, BOUNCED = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.BOUNCED
PEOPLE = tuple(f"r{n}@b.test" for n in range(6))


def by_mx(sink: Remote, port: int = 0, **more: object) -> dict[str, object]:
    return {"route": "mx", "port": port or sink.port, "answers": ZONE, "command_timeout": 2.0, **more}


@pytest.mark.parametrize("answer", ["452 4.5.3 too many recipients", "452 enough", "552 5.5.3 too many"])
async def test_fault_n04_those_that_are_too_many_go_at_once_in_another_transaction(tmp_path: Path, answer: str):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "250 ok", "250 ok", *[answer] * 4, "250 ok", "250 ok", *[answer] * 2)
        submitted = await us.submit(*PEOPLE, mail_from=None)
        us.start()
        found = await us.until(submitted)
        assert [one.attempts for one in found] == [1] * 6
    assert [len(one.rcpt) for one in sink.messages] == [2, 2, 2]
    assert sink.sessions == 1


async def test_fault_n04_who_takes_nobody_is_asked_again_later_and_not_for_ever(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", *["452 4.5.3 too many recipients"] * 50)
        submitted = await us.submit(*PEOPLE, mail_from=None)
        us.start()
        await us.until(submitted, QUEUED, attempts=1)
    assert sink.verbs().count("MAIL") == 1


async def test_a_mailbox_without_room_is_no_reason_to_ask_again_at_once(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "250 ok", "452 4.2.2 mailbox full")
        submitted = await us.submit(*PEOPLE[:2], mail_from=None)
        us.start()
        await us.until(submitted, QUEUED, SENT, attempts=1)
    assert sink.verbs().count("MAIL") == 1


@pytest.mark.parametrize("dot", [False, True])
async def test_fault_n15_who_breaks_on_pipelining_gets_commands_by_turns_for_a_while(tmp_path: Path, dot: bool):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, idle=0.01)) as us:
        sink.say("RCPT", "503 5.5.1 bad sequence" if dot else CLOSE)
        us.start()
        (one,) = await us.until(await us.submit())
        assert one.attempts == 1
        await until(lambda: not sink.open)
        await us.until(await us.submit("eve@b.test"))
    assert len(sink.messages) == 2
    assert sink.sessions == 3
    by_turns = [one for one in sink.segments[-4:] if one.startswith((b"MAIL", b"RCPT", b"DATA"))]
    assert [one.count(b"\r\n") for one in by_turns] == [1, 1, 1]


async def test_fault_n15_a_refusal_by_turns_is_final(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "500 5.5.2 what?", "500 5.5.2 what?")
        submitted = await us.submit()
        us.start()
        await us.until(submitted, BOUNCED)
    assert sink.sessions == 2


async def test_what_follows_a_store_that_is_away_before_the_dot_is_a_deferral_without_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    genuine = Connection.send

    async def send(self, letter, *, before_dot=None, pipelining=True):
        async def away(_):
            raise StoreBusy("away")

        return await genuine(self, letter, before_dot=away, pipelining=pipelining)

    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        monkeypatch.setattr(Connection, "send", send)
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "away" in one.last_reply
    assert not sink.messages


# --- hosts that are not there ---


@dataclass
class _Hole:
    """An address that takes SYNs and answers none: a listener whose queue is full."""

    port: int


@contextmanager
def hole(host: str, port: int) -> Iterator[_Hole]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((host, listener.getsockname()[1]))
        fillers.append(filler)
    time.sleep(0.02)
    try:
        yield _Hole(listener.getsockname()[1])
    finally:
        for one in (*fillers, listener):
            one.close()


async def test_fault_n08_a_first_host_that_is_a_black_hole_costs_seconds_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchange, "_UNTIL_THE_NEXT", 0.6)
    monkeypatch.setattr(exchange, "_SHORTEST", 0.3)
    zone = Zone(
        {
            ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(1, "dead.test"), MxRecord(2, "good.test"))),
            ("A", "dead.test"): ["127.0.0.2", "127.0.0.3"],
            ("A", "good.test"): "127.0.0.1",
        }
    )
    async with remote() as sink:
        with hole("127.0.0.2", sink.port), hole("127.0.0.3", sink.port):
            async with relay(tmp_path, **by_mx(sink, answers=zone, idle=0.01)) as us:
                us.start()
                began = time.monotonic()
                (one,) = await us.until(await us.submit())
                assert 0.5 < time.monotonic() - began < 25
                (attempt,) = await us.history(one.id)
                assert attempt.host.startswith("good.test")
                await until(lambda: not sink.open)
                monkeypatch.setattr(exchange, "_UNTIL_THE_NEXT", 60.0)
                monkeypatch.setattr(exchange, "_SHORTEST", 60.0)
                await us.until(await us.submit("eve@b.test"))


async def test_fault_n08_broken_ipv6_falls_back_to_ipv4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "_UNTIL_THE_NEXT", 0.6)
    monkeypatch.setattr(exchange, "_SHORTEST", 0.3)
    zone = Zone(
        {
            ("MX", "b.test"): ["both.test"],
            ("AAAA", "both.test"): ["2001:db8::1", "2001:db8::2"],
            ("A", "both.test"): "127.0.0.1",
        }
    )
    async with remote() as sink, relay(tmp_path, **by_mx(sink, answers=zone)) as us:
        us.start()
        (one,) = await us.until(await us.submit(), timeout=30)
        (attempt,) = await us.history(one.id)
        assert attempt.host.startswith("both.test[127.0.0.1]")


@pytest.mark.parametrize(("hops", "most"), [(2, 30.0), (3, 30.0), (5, 30.0), (12, 60.0)], ids=lambda value: str(value))
def test_fault_n08_all_hosts_but_the_last_have_less_than_thirty_seconds_together(hops: int, most: float):
    within = max(exchange._SHORTEST, exchange._UNTIL_THE_NEXT / max(1, hops - 1))
    assert within * (hops - 1) < most


# --- DNS ---


async def test_fault_n06_names_that_go_in_circles_end_and_put_off():
    zone = """
        b.test. MX 10 one.test.
        one.test. CNAME two.test.
        two.test. CNAME one.test.
        c.test. CNAME d.test.
        d.test. MX 10 mx.d.test.
        mx.d.test. CNAME real.d.test.
        real.d.test. A 192.0.2.8
        six.test. MX 10 mx.six.test.
        mx.six.test. AAAA 2001:db8::8
    """
    own = route.OwnHost(names=(), addresses=())
    async with dns_server("\n".join(line.strip() for line in zone.splitlines() if line.strip())) as server:
        resolver = CachingResolver(Dns(nameservers=(server.address,), timeout=2), Clock())
        try:

            async def go(domain: str):
                dialogue = route.to_domain(domain, own=own, allow_private=True, shuffle=lambda _: None)
                return await ask(dialogue, resolver)

            circle = await go("b.test")
            assert isinstance(circle, route.NoRoute)
            assert str(circle.reply.status) in ("4.4.3", "5.4.4")
            # RFC 5321 §5.1: an alias is followed, to the MX records and from them.
            assert [one.ip for one in await go("c.test")] == ["192.0.2.8"]
            assert [one.ip for one in await go("six.test")] == ["2001:db8::8"]
        finally:
            await resolver.close()


# --- connections that break ---


@pytest.mark.parametrize("cut", [Cut.CLOSE, Cut.RESET])
@pytest.mark.parametrize("at", [0, 1, 20, 60, 150, 400, 2000])
async def test_fault_n09_a_connection_cut_anywhere_is_tried_again_and_nothing_is_lost(
    tmp_path: Path, cut: Cut, at: int
):
    async with remote() as sink, fault_proxy(sink.port) as proxy:
        proxy.to_server.cut_at, proxy.to_server.cut = at, cut
        async with relay(tmp_path, **by_mx(sink, proxy.port, data_timeout=2.0)) as us:
            submitted = await us.submit(raw=us.mail(body=b"line\r\n" * 1000))
            us.start()
            (one,) = await us.until(submitted, QUEUED, attempts=1)
            (attempt,) = await us.history(one.id)
            assert isinstance(attempt.outcome, Interrupted)
            proxy.to_server.cut_at = None
            us.clock.advance(one.due_at - us.clock.now())
            await us.until(submitted)
    assert len(sink.messages) == 1


async def test_fault_n09_answers_that_trickle_end_by_the_time_for_an_answer(tmp_path: Path):
    async with remote() as sink, fault_proxy(sink.port) as proxy:
        proxy.to_client.bytes_per_second = 5
        async with relay(tmp_path, **by_mx(sink, proxy.port, command_timeout=0.5, connect_timeout=0.5)) as us:
            submitted = await us.submit()
            us.start()
            (one,) = await us.until(submitted, QUEUED, attempts=1)
            assert "no answer within 0.5 s" in one.last_reply


async def test_fault_n09_one_mail_ends_by_its_time_though_each_answer_comes(tmp_path: Path):
    async with remote() as sink, fault_proxy(sink.port) as proxy:
        proxy.to_client.delay = 0.3
        settings = by_mx(sink, proxy.port, transaction_timeout=0.7)
        async with relay(tmp_path, **settings) as us:
            sink.extensions = []  # no pipelining: each command waits for its answer
            submitted = await us.submit(*PEOPLE, mail_from=None)
            us.start()
            (one, *_) = await us.until(submitted, QUEUED, attempts=1)
            (attempt,) = await us.history(one.id)
            assert isinstance(attempt.outcome, Interrupted)
            assert attempt.outcome.stage in (Stage.MAIL, Stage.RCPT)


async def test_the_system_watches_over_our_connections(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DOT", SILENCE)
        seen: list[tuple[int, int]] = []
        genuine = Connection.send

        async def send(self, letter, **more):
            sock = self._wire.transport.get_extra_info("socket")
            seen.append(
                (
                    sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )
            )
            return await genuine(self, letter, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "send", send)
            await us.submit()
            us.start()
            await until(lambda: bool(seen))
            await us.stop(grace=0.1)
    assert seen == [(1, 120_000)]
