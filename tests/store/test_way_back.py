"""What comes back changes the same on either database, once however many workers see it, and reads no large table whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState
from tests.store.explain import AnyStore, watched
from tests.support.way_back import BOUNCES, way_back

BOB, SUE, TOM = "bob@customer.test", "sue@customer.test", "tom@customer.test"


async def test_what_comes_back_uses_indexes_and_changes_what_it_should(store: AnyStore, tmp_path: Path) -> None:
    async with way_back(tmp_path, store=store) as post:
        async with watched(store) as watch:
            dead, angry, kind = await post.send_all(BOB, SUE, TOM)
            await post.bring(dead.dsn(), to=dead.return_path)
            await post.bring(angry.complaint(), to=f"feedback@{BOUNCES}")
            await post.forward(kind.without_tokens().dsn("4.4.1", action="delayed"), cc=TOM)
            header = f"In-Reply-To: <relay@relay.test>\r\nReferences: <{kind.message_id}>\r\n"
            await post.forward(kind.reply(headers=header))
            await post.forward(kind.reply(from_="other@elsewhere.test", headers=header))
            out = "I am on holiday and back on 16 November 2026.\r\n"
            automatic = kind.reply(out, subject="Out of office", headers="Auto-Submitted: auto-replied\r\n")
            await post.bring(automatic, to=kind.return_path)
            assert (await post.now(dead)).state is DeliveryState.BOUNCED
            assert [one.reason for one in await post.suppressed(BOB)] == ["hard_bounce"]
            assert [one.reason for one in await post.suppressed(SUE)] == ["complaint"]
            assert (await post.now(kind)).replied_at is not None
            assert [one["kind"] for one in await post.told(kind)] == ["delay", "auto_reply"]
        watch.check()
        assert await post.is_balanced()


async def test_the_same_bounce_seen_by_many_workers_at_once_counts_once(store: AnyStore, tmp_path: Path) -> None:
    async with way_back(tmp_path, store=store) as post:
        sent = await post.send(BOB)
        bounce = sent.dsn()
        for _ in range(12):
            assert (await post.offer(bounce, to=sent.return_path)).code == 250
        await asyncio.gather(post.worker.drain(), post.worker.drain())
        states = [one.state for one in await post.edge.arrivals() if one.target is not None and one.target.delivery]
        assert sorted(states) == [ArrivalState.DUPLICATE] * 11 + [ArrivalState.FILED]
        assert len(await post.told(sent)) == len(await post.told(sent, "delivery.bounced")) == 1
        assert len(await post.suppressed(BOB)) == 1
        assert await post.is_balanced()


async def test_hostile_bytes_in_a_report_are_kept_on_either_database(store: AnyStore, tmp_path: Path) -> None:
    async with way_back(tmp_path, store=store) as post:
        sent = await post.send(BOB)
        hostile = sent.dsn(said="550 5.1.1 =?utf-8?q?=00=ED=A0=80?= \x01\x7f\u2028 unknown")
        head, body = hostile.split(b"This is a report", 1)
        body = body.replace(b"Message-ID: <", b"Message-ID: <\x01\xed\xa0\x80\xff" + b"x" * 600)
        arrival = await post.bring(head + b"This is a report" + body, to=sent.return_path)
        assert arrival.state is ArrivalState.FILED
        (row,) = await post.feedback(arrival)
        assert (row.believed, row.diagnostic.isprintable()) == (True, True)
        assert (await post.now(sent)).state is DeliveryState.BOUNCED
