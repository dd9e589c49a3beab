"""O11: by MX or a smart host, over STARTTLS, on reused connections, with retry and expiry."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.config.secret import Secret
from mailrelay.errors import StoreBusy
from mailrelay.ids import NodeId
from mailrelay.mail import return_path
from mailrelay.model.delivery import Accepted, Deferred, DeliveryState, Interrupted, Refused, Stage
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.outbound import dispatcher, settle
from mailrelay.outbound.prepare import prepare
from mailrelay.store import events, ledger, queue
from tests.support.answers import FAILED, Zone
from tests.support.certs import certificate
from tests.support.outbound import SECRET, Relay, relay, until
from tests.support.remote import CLOSE, SILENCE, Remote, remote

MX_B = Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),))
ZONE = Zone({("MX", "b.test"): MX_B, ("A", "localhost"): "127.0.0.1", ("MX", "c.test"): MX_B})


def by_mx(sink: Remote, **more):
    return {"route": "mx", "port": sink.port, "answers": ZONE, **more}


async def books_balance(us: Relay) -> bool:
    return all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))


async def test_mail_goes_to_the_mx_and_comes_as_it_was_stored(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit()
        us.start()
        (sent,) = await us.until(submitted)
        assert sent.last_reply == "250 2.0.0 taken"
        (attempt,) = await us.history(sent.id)
        assert attempt.host == f"localhost[127.0.0.1]:{sink.port}"
        assert isinstance(attempt.outcome, Accepted)
        assert await books_balance(us)
    (taken,) = sink.messages
    assert taken.rcpt == ["<bob@b.test>"]
    assert taken.content.endswith(b"\r\n\r\nbody\r\n")
    local = taken.mail.removeprefix("<").split("@")[0]
    token = return_path.read(local, [SECRET], now=us.clock.now())
    assert isinstance(token, return_path.ReturnPathToken)
    assert token.delivery == submitted.deliveries[0]


async def test_the_null_reverse_path_stays_one(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit("a@b.test", "b@b.test", mail_from=None)
        us.start()
        await us.until(submitted)
    assert [one.mail.split(" ")[0] for one in sink.messages] == ["<>"]
    assert sink.messages[0].rcpt == ["<a@b.test>", "<b@b.test>"]


async def test_many_mails_share_a_connection_up_to_its_limit(tmp_path: Path):
    settings = {"connections_per_destination": 1, "messages_per_connection": 8, "idle": 5.0}
    async with remote() as sink, relay(tmp_path, **by_mx(sink, **settings)) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(24)))
        us.start()
        await us.until(submitted)
    assert len(sink.messages) == 24
    assert sink.sessions == 3


async def test_an_idle_connection_is_used_again_and_then_closed(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, idle=2.0)) as us:
        us.start()
        await us.until(await us.submit())
        await us.until(await us.submit("eve@c.test"))
        assert sink.sessions == 1
        await until(lambda: not sink.open)
        assert sink.verbs()[-1] == "QUIT"


async def test_a_connection_that_was_closed_while_idle_costs_no_attempt(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, idle=5.0)) as us:
        us.start()
        await us.until(await us.submit())
        sink.say("MAIL", "421 4.4.2 idle too long")
        (sent,) = await us.until(await us.submit("eve@b.test"))
        assert sent.attempts == 1
    assert sink.sessions == 2


@pytest.mark.parametrize(
    ("limit", "preferences", "most"),
    [
        # Of equal hosts, the one that we are connected to is as good; a better one is never passed over for it.
        pytest.param(1, (10, 10, 10), 2, id="equals, one connection"),
        pytest.param(1, (10, 20, 30), 12, id="a best one, one connection"),
        pytest.param(2, (10, 20, 30), 2, id="a best one, two connections"),
    ],
)
async def test_idle_connections_count_towards_the_limit_of_their_site(
    tmp_path: Path, limit: int, preferences: tuple[int, ...], most: int
):
    hosts = [f"mx{number}.site.test" for number in range(3)]
    records = tuple(MxRecord(*one) for one in zip(preferences, hosts, strict=True))
    zone = Zone(
        {
            ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=records),
            ("MX", "c.test"): Answer(LookupStatus.FOUND, mx=records[1:]),
            **{("A", host): "127.0.0.1" for host in hosts},
        }
    )
    settings = {"connections_per_destination": limit, "idle": 5.0, "answers": zone}
    async with remote() as sink, relay(tmp_path, **by_mx(sink) | settings) as us:
        us.start()
        for number in range(12):
            (sent,) = await us.until(await us.submit(f"r{number}@{'bc'[number % 2]}.test"))
            assert sent.state is DeliveryState.SENT
            await until(lambda: sink.open <= limit)
        assert sink.sessions <= most


async def test_connections_to_one_destination_are_limited_and_others_do_not_wait(tmp_path: Path):
    settings = {"connections_per_destination": 2, "batch": 100}
    async with remote() as slow, remote() as quick:
        zone = Zone({("A", "b.test"): "127.0.0.1"})
        slow.say("DOT", *[SILENCE] * 50)
        async with relay(tmp_path, **{**by_mx(slow), "answers": zone, **settings}) as us:
            stuck = await us.submit(*(f"r{n}@b.test" for n in range(40)))
            us.start()
            await until(lambda: slow.open == 2)
            await asyncio.sleep(0.1)
            assert slow.open == 2
            assert quick.open == 0
            await us.stop(grace=0.1)
            for one in stuck.deliveries:
                assert (await us.delivery(one)).state is DeliveryState.QUEUED


async def test_one_message_to_many_is_signed_once_for_each_kind_of_hop(tmp_path: Path):
    prepared = []
    noted = {"make": lambda *a, **k: prepared.append(1) or prepare(*a, **k)}
    async with remote() as sink, relay(tmp_path, letters=noted, **by_mx(sink, connections_per_destination=1)) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(20)))
        us.start()
        await us.until(submitted)
    assert len(prepared) == 1


@pytest.mark.parametrize("names", [("localhost",), ("other.test",)], ids=["proved", "wrong name"])
async def test_starttls_is_used_where_it_is_offered_and_what_was_seen_is_kept(tmp_path: Path, names):
    cert = certificate(*names)
    async with (
        remote(certificate=cert.server_context()) as sink,
        relay(tmp_path, **by_mx(sink, ca_file=cert.authority)) as us,
    ):
        submitted = await us.submit()
        us.start()
        (sent,) = await us.until(submitted)
        (attempt,) = await us.history(sent.id)
    assert sink.messages[0].tls
    assert attempt.tls is not None
    assert attempt.tls.protocol.startswith("TLSv1.")
    assert attempt.tls.verified is (names == ("localhost",))
    assert ("match" in attempt.tls.detail) is not attempt.tls.verified


async def test_fault_n10_a_handshake_that_fails_is_tried_in_clear_when_opportunistic(tmp_path: Path):
    async with remote(certificate=certificate().server_context()) as sink:
        sink.handshakes_fail = True
        async with relay(tmp_path, **by_mx(sink)) as us:
            submitted = await us.submit()
            us.start()
            (sent,) = await us.until(submitted)
            (attempt,) = await us.history(sent.id)
    assert not sink.messages[0].tls
    assert attempt.tls is not None
    assert attempt.tls.protocol == ""
    assert "handshake failed" in attempt.tls.detail


async def test_a_smart_host_gets_all_with_credentials_over_verified_tls(tmp_path: Path):
    cert = certificate("localhost")
    async with remote(certificate=cert.server_context()) as sink:
        sink.extensions.append("AUTH PLAIN LOGIN")
        host = {
            "host": "localhost",
            "port": sink.port,
            "ca_file": cert.authority,
            "user": "relay",
            "password": Secret("test", "pass word"),
        }
        zone = Zone({("A", "localhost"): "127.0.0.1"})
        async with relay(tmp_path, route="smart_host", smart_host=host, answers=zone) as us:
            submitted = await us.submit("bob@b.test", "eve@elsewhere.test")
            us.start()
            await us.until(submitted)
    assert len(sink.messages) == 2
    assert sink.sessions == 1
    assert sink.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


async def test_fault_n10_n11_a_smart_host_that_cannot_prove_itself_gets_nothing_and_nothing_bounces(tmp_path: Path):
    cert = certificate("other.test")
    async with remote(certificate=cert.server_context()) as sink:
        sink.extensions.append("AUTH PLAIN")
        host = {
            "host": "localhost",
            "port": sink.port,
            "ca_file": cert.authority,
            "user": "relay",
            "password": Secret("test", "pass word"),
        }
        zone = Zone({("A", "localhost"): "127.0.0.1"})
        async with relay(tmp_path, route="smart_host", smart_host=host, answers=zone) as us:
            submitted = await us.submit()
            us.start()
            (put_off,) = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
    assert "4.7.5" in put_off.last_reply
    assert not {"AUTH", "MAIL"} & set(sink.verbs())


async def test_a_deferred_delivery_is_retried_with_growing_pauses_until_it_is_taken(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "450 4.2.0 greylisted", "450 4.2.0 greylisted")
        submitted = await us.submit()
        us.start()
        for attempt, seconds in ((1, 300), (2, 600)):
            (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=attempt)
            pause = (one.due_at - us.clock.now()).total_seconds()
            assert 0.9 * seconds <= pause <= 1.1 * seconds
            us.clock.advance(timedelta(seconds=pause))
        (sent,) = await us.until(submitted)
        history = await us.history(sent.id)
        assert [type(one.outcome) for one in history] == [Deferred, Deferred, Accepted]
        assert str(history[0].outcome.reply) == "450 4.2.0 greylisted"
        kinds = [one.type.value for one in await us.store.read(events.of_message, us.org.id, submitted.message)]
        assert kinds[1:] == ["delivery.queued", "delivery.deferred", "delivery.deferred", "delivery.sent"]
        assert await books_balance(us)


async def test_after_five_days_it_expires_with_a_last_try_at_the_end(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", *["450 4.2.0 never mind"] * 100)
        submitted = await us.submit()
        began = us.clock.now()
        us.start()
        attempts = 0
        while True:
            attempts += 1
            (one,) = await us.until(submitted, DeliveryState.QUEUED, DeliveryState.EXPIRED, attempts=attempts)
            if one.state is DeliveryState.EXPIRED:
                break
            us.clock.advance(one.due_at - us.clock.now())
        assert us.clock.now() - began == timedelta(days=5)
        assert 30 < attempts < 50
        assert one.last_reply == "450 4.2.0 never mind"
        assert await books_balance(us)


@pytest.mark.parametrize(
    ("domain", "code", "state"),
    [
        ("nowhere.test", "550 5.1.2", DeliveryState.FAILED),
        ("null.test", "556 5.1.10", DeliveryState.FAILED),
        ("ourselves.test", "554 5.4.6", DeliveryState.FAILED),
        ("broken.test", "451 4.4.3", DeliveryState.QUEUED),
    ],
)
async def test_what_dns_says_decides_before_anybody_is_dialled(tmp_path: Path, domain: str, code: str, state):
    zone = Zone(
        {
            ("MX", "null.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(0, ""),)),
            ("MX", "ourselves.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(5, "us.test"),)),
            ("MX", "broken.test"): FAILED,
        }
    )
    async with relay(tmp_path, route="mx", answers=zone) as us:
        submitted = await us.submit(f"bob@{domain}")
        us.start()
        (one,) = await us.until(submitted, state, attempts=1)
        assert one.last_reply.startswith(code)
        assert await books_balance(us)


async def test_fault_n06_a_private_address_gets_nothing_unless_allowed(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, allow_private=False)) as us:
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, DeliveryState.FAILED)
        assert one.last_reply.startswith("550 5.4.4")
    assert sink.sessions == 0


async def test_fault_n08_the_second_host_is_used_when_the_first_is_not_there_and_that_is_remembered(tmp_path: Path):
    silent = socket.socket()
    silent.bind(("127.0.0.2", 0))  # bound, not listening
    port = silent.getsockname()[1]
    zone = Zone(
        {
            ("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(1, "dead.test"), MxRecord(2, "good.test"))),
            ("A", "dead.test"): "127.0.0.2",
            ("A", "good.test"): "127.0.0.1",
        }
    )
    with silent:
        async with remote(port=port) as sink, relay(tmp_path, route="mx", port=port, answers=zone, idle=0.05) as us:
            us.start()
            (one,) = await us.until(await us.submit())
            (attempt,) = await us.history(one.id)
            assert attempt.host.startswith("good.test[127.0.0.1]")
            await us.until(await us.submit("eve@b.test"))
    assert len(sink.messages) == 2


async def test_fault_n15_eight_bits_are_converted_and_signed_for_a_hop_that_lacks_them(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.extensions = ["PIPELINING"]
        raw = us.mail(body="grüße\r\n".encode(), header=b"Content-Type: text/plain; charset=utf-8\r\n")
        submitted = await us.submit("bob@b.test", raw=raw)
        us.start()
        await us.until(submitted)
        assert sink.messages[0].content.isascii()
        assert b"gr=C3=BC=C3=9Fe" in sink.messages[0].content
        submitted = await us.submit("jörg@b.test")
        (refused,) = await us.until(submitted, DeliveryState.FAILED)
        assert "5.6.7" in refused.last_reply
        sink.extensions = ["PIPELINING", "SIZE 100"]


async def test_fault_n15_a_message_over_the_hops_size_fails_with_the_figures(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.extensions = ["PIPELINING", "SIZE 100"]
        submitted = await us.submit()
        us.start()
        (refused,) = await us.until(submitted, DeliveryState.FAILED)
        assert refused.last_reply.startswith("552 5.3.4")
        assert "100" in refused.last_reply
    assert not sink.messages


async def test_fault_d11_a_delivery_whose_answer_was_lost_is_sent_once_more_with_the_same_message_id(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("DOT", CLOSE)
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        assert "interrupted at dot" in one.last_reply
        us.clock.advance(one.due_at - us.clock.now())
        (one,) = await us.until(submitted)
        history = await us.history(one.id)
        assert isinstance(history[0].outcome, Interrupted)
        assert history[0].outcome.stage is Stage.DOT
    assert len(sink.messages) == 2
    ids = {line for taken in sink.messages for line in taken.content.split(b"\r\n") if line.startswith(b"Message-ID")}
    assert len(ids) == 1


async def test_fault_d11_what_a_killed_process_had_begun_is_finished_by_the_next(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit()
        held = await us.store.write(
            queue.claim, node=NodeId("node"), now=us.clock.now(), lease=timedelta(hours=1), limit=5
        )
        await us.store.write(queue.begin_attempts, held, host="b.test", at=us.clock.now())
        us.start()
        (one,) = await us.until(submitted)
        assert [type(attempt.outcome) for attempt in await us.history(one.id)] == [Interrupted, Accepted]
        assert await books_balance(us)


async def test_fault_d13_a_stop_finishes_what_runs_and_leaves_the_rest_queued(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink, connections_per_destination=1)) as us:
        submitted = await us.submit(*(f"r{n}@b.test" for n in range(50)))
        us.start()
        await until(lambda: bool(sink.messages))
        await us.stop()
        states = [(await us.delivery(one)).state for one in submitted.deliveries]
        assert set(states) <= {DeliveryState.SENT, DeliveryState.QUEUED}
        assert states.count(DeliveryState.SENT) == len(sink.messages)
        assert await books_balance(us)


async def test_what_our_own_code_raises_is_a_deferral_and_a_kept_delivery_and_its_neighbours_go(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        submitted = await us.submit("bob@b.test", "eve@b.test")
        genuine, failures = us.bodies.read, [RuntimeError("secret detail")]

        async def read(ref):
            if failures:
                raise failures.pop()
            return await genuine(ref)

        us.bodies.read = read  # type: ignore[method-assign]
        us.start()
        bob, _ = await us.until(submitted, DeliveryState.QUEUED, DeliveryState.SENT, attempts=1)
        assert bob.last_reply.startswith("451 4.3.0")
        assert "secret" not in bob.last_reply
        us.clock.advance(timedelta(hours=1))
        bob, eve = await us.until(submitted)
        assert (bob.attempts, eve.attempts) == (2, 1)
        assert await books_balance(us)


async def test_a_courier_that_raises_puts_its_batch_off_and_the_next_batch_goes(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        failures = [RuntimeError("secret detail")] * 3  # of the way of either, which delays nobody, and of the attempt

        def answers(question):
            if failures:
                raise failures.pop()
            return ZONE(question)

        us.resolver.answers = answers
        submitted = await us.submit("bob@b.test", "eve@b.test")
        us.start()
        found = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        assert {one.last_reply[:9] for one in found} == {"451 4.3.0"}
        us.clock.advance(timedelta(hours=1))
        await us.until(submitted)
        assert await books_balance(us)


async def test_a_store_that_is_away_for_a_moment_loses_no_outcome(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        genuine, failures = us.store.write, [1, 1]

        async def write(fn, *args, **kwargs):
            if fn is queue.settle and failures:
                failures.pop()
                raise StoreBusy("away")
            return await genuine(fn, *args, **kwargs)

        us.store.write = write  # type: ignore[method-assign]
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted)
        assert one.attempts == 1
    assert len(sink.messages) == 1


async def test_a_refusal_is_a_bounce_with_the_remotes_words(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, **by_mx(sink)) as us:
        sink.say("RCPT", "550-5.1.1 The account you tried\r\n550 5.1.1 does not exist")
        submitted = await us.submit("bob@b.test", "eve@b.test")
        us.start()
        bob, eve = await us.until(submitted, DeliveryState.SENT, DeliveryState.BOUNCED)
        assert (bob.state, eve.state) == (DeliveryState.BOUNCED, DeliveryState.SENT)
        assert bob.last_reply == "550 5.1.1 The account you tried does not exist"
        (attempt,) = await us.history(bob.id)
        assert isinstance(attempt.outcome, Refused)
        assert attempt.outcome.reply.lines == ("The account you tried", "does not exist")
        assert await books_balance(us)


async def test_fault_q01_a_clock_put_forward_does_not_send_again_what_is_under_way(tmp_path: Path):
    async with remote() as sink:
        sink.say("DOT", SILENCE)
        async with relay(tmp_path, **by_mx(sink, data_timeout=1.0, lease=60.0)) as us:
            submitted = await us.submit()
            us.start()
            await until(lambda: len(sink.messages) == 1)
            us.clock.advance(timedelta(days=1))
            await asyncio.sleep(0.4)
            assert len(sink.messages) == 1
            (held,) = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
            assert held.attempts == 1


async def test_fault_d13_a_store_that_is_away_does_not_keep_a_stop_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with remote() as sink:
        sink.say("DOT", SILENCE)
        async with relay(tmp_path, **by_mx(sink, data_timeout=60.0)) as us:
            await us.submit()
            us.start()
            await until(lambda: len(sink.messages) == 1)
            write = us.store.write

            async def away(fn, /, *args, **more):
                if fn is queue.settle:
                    raise StoreBusy("away")
                return await write(fn, *args, **more)

            monkeypatch.setattr(us.store, "write", away)
            for module in (settle, dispatcher):
                monkeypatch.setattr(module, "_LAST_WAIT", 0.2)
            async with asyncio.timeout(30):
                await us.stop(grace=0.1)
            monkeypatch.undo()
