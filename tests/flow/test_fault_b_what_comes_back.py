"""B01, B03, B04, B08, B09, B10: what strangers may send to a return path, and how little of it is believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import event, func, select

from mailrelay.ids import OrgId
from mailrelay.mail import dkim
from mailrelay.mail.bounce.report import MAX_RECIPIENTS
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.feedback import Tie
from mailrelay.model.message import Kind
from mailrelay.outbound.keys import KeyPair, generate
from mailrelay.store import messages as sent_mail
from mailrelay.store import queue, unresolved
from mailrelay.store.base import Tx
from mailrelay.store.tables import arrival as arrivals
from mailrelay.store.tables import delivery as deliveries
from mailrelay.store.tables import message as messages
from tests.support import factory
from tests.support.answers import Zone
from tests.support.clock import START
from tests.support.delivery import a_delivery
from tests.support.filing import attach, mail
from tests.support.outbound import ZoneResolver
from tests.support.smtp_client import connected
from tests.support.way_back import BOUNCES, Post, Sent, way_back

BOB = "bob@customer.test"
FEEDBACK = f"feedback@{BOUNCES}"


async def rows(post: Post, table: Any, org: OrgId | None = None) -> int:
    def count(tx: Tx) -> int:
        wanted = select(func.count()).select_from(table)
        return int(tx.execute(wanted if org is None else wanted.where(table.c.org == org)).scalar_one())

    return await post.edge.store.read(count)


REWRITTEN: dict[str, Callable[[str], str]] = {
    "valid": lambda path: path,
    "upper-cased": lambda path: path.upper(),
    "stripped of its plus": lambda path: path.removeprefix("b+"),
    "with another separator": lambda path: path.replace("+", "=", 1),
}


@pytest.mark.parametrize("how", REWRITTEN)
async def test_fault_b01_a_rewritten_return_path_still_counts(tmp_path: Path, how: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        arrival = await post.bring(sent.dsn(), to=REWRITTEN[how](sent.return_path))
        assert (await post.now(sent)).state is DeliveryState.BOUNCED
        assert [row.tie for row in await post.feedback(arrival)] == [Tie.RETURN_PATH]


async def test_fault_b01_a_forged_or_expired_return_path_is_refused_in_the_dialogue(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        local, _, domain = sent.return_path.partition("@")
        forged = f"{local[:-1]}{'0' if local[-1] != '0' else '1'}@{domain}"
        assert (await post.offer(sent.dsn(), to=forged)).code == 550
        post.edge.clock.advance(timedelta(days=62))  # type: ignore[attr-defined]
        assert (await post.offer(sent.dsn(), to=sent.return_path)).code == 550
        assert (await post.now(sent)).state is DeliveryState.SENT
        assert await post.suppressed(BOB) == ()


async def test_fault_b01_a_forged_or_expired_token_inside_a_mail_is_ignored_and_logged(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        forged = sent.token[:-1] + ("0" if sent.token[-1] != "0" else "1")
        bounce = sent.dsn(to="anna@acme.test").replace(sent.token.encode(), forged.encode())
        with structlog.testing.capture_logs() as logged:
            await post.forward(bounce, cc=BOB)
        assert [one["reasons"] for one in logged if one["event"] == "feedback.ignored"] == [["forged"]]
        post.edge.clock.advance(timedelta(days=62))  # type: ignore[attr-defined]
        with structlog.testing.capture_logs() as logged:
            await post.forward(sent.dsn(to="anna@acme.test"), cc=BOB)
        assert [one["reasons"] for one in logged if one["event"] == "feedback.ignored"] == [["expired"]]
        assert (await post.now(sent)).state is DeliveryState.SENT
        assert {(one["tie"], one["believed"]) for one in await post.told(sent)} == {("message_id", "false")}
        assert await post.suppressed(BOB) == ()


async def test_fault_b01_a_token_of_another_organisation_changes_nothing(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        address = post.edge.address  # of a user of example.com
        raw = attach(sent.dsn(to="anna@example.com"), from_="anna@example.com", to=address, cc=BOB, subject="Fwd: it")
        with structlog.testing.capture_logs() as logged:
            arrival = await post.bring(raw, to=address, sender="anna@example.com")
        assert arrival.org == post.edge.organisation.id
        assert [one["reasons"] for one in logged if one["event"] == "feedback.ignored"] == [["other organisation"]]
        assert (await post.now(sent)).state is DeliveryState.SENT
        assert await post.told(sent) == []
        assert await post.suppressed(BOB) == ()


async def test_fault_b03_ten_thousand_bounces_to_unknown_addresses_cost_a_refusal_each_and_nothing_else(
    tmp_path: Path,
) -> None:
    many = 10_000
    async with way_back(tmp_path, inbound={"max_errors": 3 * many}) as post:
        await post.send(BOB)
        before = [await rows(post, table) for table in (arrivals, deliveries, messages)]
        ran: list[str] = []
        event.listen(
            post.edge.store.engine, "before_cursor_execute", lambda _c, _u, statement, *_more: ran.append(statement)
        )
        await post.relay.stop()  # or its polls would be counted
        async with connected(post.edge.port()) as client:
            await client.ehlo()
            assert (await client.say("MAIL FROM:<>")).code == 250
            ran.clear()
            for start in range(0, many, 500):
                names = [f"b+{number:023d}.{number:016d}" for number in range(start, start + 500, 2)]
                names += [f"nobody{number}" for number in range(start, start + 500, 2)]
                client.send("".join(f"RCPT TO:<{name}@{BOUNCES}>\r\n" for name in names))
                assert {answer.code for answer in await client.replies(len(names))} == {550}
            assert (await client.say("DATA")).code == 554
        assert [statement for statement in ran if not statement.startswith("SELECT")] == []
        assert [await rows(post, table) for table in (arrivals, deliveries, messages)] == before


async def test_fault_b03_a_bounce_of_a_bounce_comes_nowhere(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB, mail_from=None)
        assert (sent.return_path, sent.token) == ("", "")
        assert (await post.offer(mail(), to=f"MAILER-DAEMON@{BOUNCES}")).code == 550


async def test_fault_b04_an_out_of_office_reply_is_no_bounce_and_no_answer(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        raw = sent.reply(
            "I am out of the office and back on 16 November 2026.\r\n",
            subject="Out of office: hello",
            headers=f"Auto-Submitted: auto-replied\r\nIn-Reply-To: <{sent.message_id}>\r\n",
        )
        arrival = await post.bring(raw, to=sent.return_path)
        assert (arrival.state, (await post.message(arrival)).kind) == (ArrivalState.FILED, Kind.AUTO_REPLY)
        now = await post.now(sent)
        assert (now.state, now.replied_at, now.category) == (DeliveryState.SENT, None, None)
        (told,) = await post.told(sent)
        assert (told["kind"], told["recipient"], told["tie"]) == ("auto_reply", BOB, "return_path")
        assert await post.told(sent, "message.replied") == []
        assert await post.suppressed(BOB) == ()
        again = await post.bring(raw, to=sent.return_path)
        assert again.state is ArrivalState.DUPLICATE
        assert len(await post.told(sent)) == 1


async def test_fault_b08_a_complaint_with_the_address_taken_out_counts_by_our_id(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        arrival = await post.bring(sent.complaint(fields="Original-Rcpt-To: redacted@customer.test\r\n"), to=FEEDBACK)
        (standing,) = await post.suppressed(BOB)
        assert standing.reason == "complaint"
        assert (await post.now(sent)).complained_at == post.edge.clock.now()
        assert (await post.now(sent)).state is DeliveryState.SENT
        assert [(row.kind, row.tie, row.believed) for row in await post.feedback(arrival)] == [
            (Kind.FEEDBACK, Tie.TOKEN, True)
        ]
        assert await post.is_balanced()


async def test_fault_b08_a_complaint_belongs_to_whose_mail_it_is_about_before_anything_of_it_is_stored(
    tmp_path: Path,
) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        arrival = await post.bring(sent.complaint(), to=FEEDBACK)
        assert (arrival.org, arrival.channel, arrival.state) == (post.org.id, Channel.BOUNCE, ArrivalState.FILED)
        first = post.edge.organisation.id
        assert await rows(post, messages, first) == 0
        assert await rows(post, arrivals, first) == 0
        assert await post.records(arrival)


async def test_fault_b08_a_complaint_without_our_id_waits_for_a_person_and_suppresses_nobody(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await factory.record(post.edge.store, post.edge.clock, post.edge.organisation, "contact/1", addresses=(BOB,))
        bare = sent.without_tokens()
        for raw in (bare.complaint(fields=f"Original-Rcpt-To: {BOB}\r\n"), _without_original(bare), mail(cc=BOB)):
            arrival = await post.bring(raw, to=FEEDBACK)
            assert (arrival.org, arrival.state) == (post.edge.organisation.id, ArrivalState.UNRESOLVED)
            assert await post.records(arrival) == set()
        waiting = await post.edge.store.read(unresolved.list_open, post.edge.organisation.id)
        assert {(one.reason, one.message) for one in waiting} == {("unattributed", None)}
        assert await post.suppressed(BOB) == ()
        assert await post.told(sent) == []
        assert await post.is_balanced()


def _without_original(sent: Sent) -> bytes:
    return sent.complaint(fields=f"Original-Rcpt-To: {BOB}\r\n").replace(sent.head, b"")


async def test_fault_b08_a_complaint_whose_boundary_is_wrong_still_counts_by_its_return_path(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        broken = sent.complaint().replace(b'boundary="cut"', b'boundary="other"')
        arrival = await post.bring(broken, to=sent.return_path)
        assert arrival.state is ArrivalState.FILED
        (told,) = await post.told(sent)
        # Without its parts nothing says that it is a complaint: it is told of, and nobody is suppressed on a guess.
        assert (told["tie"], bool(await post.suppressed(BOB))) == ("return_path", told["believed"] == "true")


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "virus"])
async def test_fault_b08_what_is_no_complaint_of_a_person_suppresses_nobody(tmp_path: Path, kind: str) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await post.bring(sent.complaint(kind), to=FEEDBACK)
        assert [one["kind"] for one in await post.told(sent)] == ["feedback"]
        assert await post.suppressed(BOB) == ()


async def test_who_opts_out_is_unsubscribed_and_has_not_complained(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        await post.bring(sent.complaint("opt-out"), to=FEEDBACK)
        assert [one.reason for one in await post.suppressed(BOB)] == ["unsubscribed"]
        assert (await post.now(sent)).complained_at is None


@cache
def provider() -> KeyPair:
    return generate("provider.test", "s1", KeyAlgorithm.ED25519)


def signed(raw: bytes) -> bytes:
    key = SigningKey("provider.test", "s1", KeyAlgorithm.ED25519, provider().private_pem)
    return dkim.sign(raw, [key], now=START)


async def test_fault_b08_a_trusted_provider_is_believed_without_our_id_when_its_signature_is_good(
    tmp_path: Path,
) -> None:
    resolver = ZoneResolver(Zone({("TXT", provider().dns_name): provider().dns_text}))
    async with way_back(tmp_path, resolver=resolver, sources=frozenset(("provider.test",))) as post:
        sent, other = await post.send_all(BOB, "sue@customer.test")
        named = sent.without_tokens().complaint(fields=f"Original-Rcpt-To: {BOB}\r\n")
        forged = other.without_tokens().complaint(fields="Original-Rcpt-To: sue@customer.test\r\n")
        spoiled = signed(forged).replace(b"This is a report", b"That is a report")
        another = signed(forged.replace(b"fbl@provider.test", b"fbl@elsewhere.test"))
        for raw in (forged, spoiled, another):
            assert (await post.bring(raw, to=FEEDBACK)).state is ArrivalState.UNRESOLVED
        assert await post.suppressed("sue@customer.test") == ()
        arrival = await post.bring(signed(named), to=FEEDBACK)
        assert (arrival.org, arrival.state) == (post.org.id, ArrivalState.FILED)
        assert [one.reason for one in await post.suppressed(BOB)] == ["complaint"]
        assert [(row.tie, row.believed) for row in await post.feedback(arrival)] == [(Tie.SOURCE, True)]


async def test_fault_b08_a_trusted_complaint_that_fits_several_organisations_is_nobodys(tmp_path: Path) -> None:
    resolver = ZoneResolver(Zone({("TXT", provider().dns_name): provider().dns_text}))
    async with way_back(tmp_path, resolver=resolver, sources=frozenset(("provider.test",))) as post:
        sent = await post.send(BOB)
        store, clock, first = post.edge.store, post.edge.clock, post.edge.organisation
        ours = await store.read(sent_mail.get, post.org.id, sent.delivery.message)
        clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
        same = replace(ours, id=factory.ids(clock).message(), org=first.id)
        await store.write(sent_mail.insert, same)
        twin = replace(
            a_delivery(clock, BOB),
            org=first.id,
            message=same.id,
            state=DeliveryState.SENT,
        )
        await store.write(queue.enqueue, [twin])
        raw = signed(sent.without_tokens().complaint(fields=f"Original-Rcpt-To: {BOB}\r\n"))
        arrival = await post.bring(raw, to=FEEDBACK)
        assert (arrival.org, arrival.message) == (first.id, None)
        assert await post.suppressed(BOB) == ()


async def test_fault_b09_a_report_of_ten_thousand_recipients_is_bounded_and_condemns_nobody(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        everybody = tuple(f"user{number}@customer.test" for number in range(10_000))
        began = time.process_time()
        arrival = await post.bring(sent.dsn(recipients=everybody), to=sent.return_path)
        assert time.process_time() - began < 10
        kept = await post.feedback(arrival)
        assert 0 < len(kept) <= MAX_RECIPIENTS
        assert not any(row.believed for row in kept)
        assert (await post.now(sent)).state is DeliveryState.SENT
        (told,) = await post.told(sent)
        assert told["believed"] == "false"
        for address in (BOB, everybody[0], everybody[-1]):
            assert await post.suppressed(address) == ()


async def test_fault_b02_of_several_recipients_only_the_deliverys_own_is_believed(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB)
        arrival = await post.bring(sent.dsn(recipients=("eve@customer.test", BOB.upper())), to=sent.return_path)
        assert [(row.recipient, row.believed) for row in await post.feedback(arrival)] == [
            ("eve@customer.test", False),
            (BOB.upper(), True),
        ]
        assert await post.suppressed("eve@customer.test") == ()
        assert [one.reason for one in await post.suppressed(BOB)] == ["hard_bounce"]


async def test_fault_b10_a_remotes_words_have_no_effect_outside_the_text(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent, other = await post.send_all(BOB, "victim@customer.test")
        said = (
            "550 5.1.1 <victim@customer.test> <script>alert(1)</script> \x1b[31mred\x07 \u202e"
            "\r\n Final-Recipient: rfc822; victim@customer.test" + f"\r\n {'x' * 500}" * 4
        )
        arrival = await post.bring(sent.dsn(said=said), to=sent.return_path)
        (told,) = await post.told(sent)
        shown = told["diagnostic"]
        assert len(shown) <= 500
        assert "<script>alert(1)</script>" in shown
        assert "\\x1b[31mred\\x07" in shown
        assert shown.isprintable()
        assert (await post.now(other)).state is DeliveryState.SENT
        assert await post.suppressed("victim@customer.test") == ()
        now = await post.now(sent)
        assert (now.state, now.last_reply.isprintable()) == (DeliveryState.BOUNCED, True)
        assert all(row.diagnostic.isprintable() for row in await post.feedback(arrival))
