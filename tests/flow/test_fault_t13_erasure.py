"""T13: a person is erased: what was recorded of them is nowhere any more, and who was suppressed stays so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from mailrelay.config.schema import ListenerKind
from mailrelay.ids import MessageId
from mailrelay.model.absence import Absence, Instead
from mailrelay.model.address import Address
from mailrelay.model.event import EventType
from mailrelay.model.hit import HitKind
from mailrelay.model.suppression import SuppressionReason
from mailrelay.model.tracking import Mode
from mailrelay.outbound.hit_spool import line
from mailrelay.store import absences, erasures, events, hits, suppressions
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import event, hit, metadata, webhook, webhook_call
from tests.support import cli, factory, tracked
from tests.support.edge import MAIL, PASSWORD, edge
from tests.support.http import Api
from tests.support.outbound import until
from tests.support.smtp_client import connected
from tests.support.tracked import a_hit
from tests.support.unsubscribing import BOB, Place
from tests.support.unsubscribing import place as a_place

V1 = "/api/v1"
IP, AGENT, EVE = "203.0.113.77", "A browser that only Bob has/7.1", "eve@customer.test"
BASE_OF_LINKS = "https://only-for-bob.example/"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path, settings={"tracking": Mode.INDIVIDUAL}) as one:
        yield one


async def drained(api: Api) -> None:
    async with asyncio.timeout(30):
        while api.hits.waiting():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.01)


async def clicked(place: Place, of: str) -> None:
    """Somebody opens a mail and follows a link of it, as only Bob does."""
    for kind in (HitKind.OPEN, HitKind.CLICK):
        url = BASE_OF_LINKS + "offer" if kind is HitKind.CLICK else ""
        place.api.clock.advance(timedelta(seconds=20))
        place.api.hits.put(a_hit(place.api.clock, of, kind, ip=IP, agent=AGENT, url=url))  # type: ignore[arg-type]
    await drained(place.api)


async def tables_with(store: Store, word: str) -> set[str]:
    """The tables in which a word stands, wherever in them."""

    def walk(tx: Tx) -> set[str]:
        return {
            table.name
            for table in metadata.sorted_tables
            if any(word in repr(tuple(row)).casefold() for row in tx.execute(select(table)))
        }

    return await store.read(walk)


async def erase(place: Place, address: str = BOB) -> dict[str, object]:
    answer = await place.api.local.post(f"{V1}/addresses/{address}/erase")
    assert answer.status == 200, answer.body
    return dict(answer.json)


async def stands(place: Place) -> Collection[tuple[str, str]]:
    return [(one.reason, one.by) for one in await place.history() if one.lifted_at is None]


async def test_fault_t13_nothing_of_a_person_is_left_but_their_mail(place: Place, tmp_path: Path) -> None:
    api, org = place.api, place.whose.org.id
    (hers,) = await tracked.sent(api.store, api.clock, place.whose, EVE)
    await clicked(place, place.of)
    api.hits.put(a_hit(api.clock, hers, ip="198.51.100.9"))
    await drained(api)
    assert (await place.post()).status == 200
    given = {"address": BOB, "evidence": f"{BOB} asked by phone from {IP}"}
    assert (await api.local.post(f"{V1}/suppressions", json=given, headers={"Idempotency-Key": "once"})).status == 201
    bob = Instead("Bob", Address("bob", "customer.test"))
    for key, instead in ((BOB, ()), ("carl@customer.test", (bob,))):
        message = factory.ids(api.clock).message()
        away = Absence(
            org=org,
            key=key,
            until=None,
            since=None,
            gone=True,
            noted_at=api.clock.now(),
            message=message,
            instead=instead,
        )
        await api.store.write(absences.note, away)
    await api.store.write(absences.propose, org, "carl@customer.test", bob, factory.ids(api.clock).unresolved())
    folder = tmp_path / "hits"
    torn = line(a_hit(api.clock, place.of, ip=IP, agent=AGENT))[:-40]
    others = line(a_hit(api.clock, hers, ip="198.51.100.9"))
    (folder / "set-aside").write_bytes(line(a_hit(api.clock, place.of, ip=IP, agent=AGENT)) + others + torn)
    assert await tables_with(api.store, IP) >= {"hit", "suppression", "event"}
    assert await tables_with(api.store, BOB) >= {
        "consent",
        "suppression",
        "event",
        "absence",
        "successor",
        "given_answer",
    }
    before = await api.store.read(events.newest, org)

    with structlog.testing.capture_logs() as logs:
        done = await erase(place)

    assert (done["hits"], done["consents"], done["suppressions"]) == (3 + 1, 1, 2)
    assert done["stays"]["deliveries"] == 1  # type: ignore[index]
    assert "is kept" in str(done["stays"])
    assert str(done["key"]).startswith("sha256:")
    assert await tables_with(api.store, BOB) == {"delivery"}  # whom a mail went to is part of the mail
    for word in (IP, AGENT.casefold(), BASE_OF_LINKS):
        assert await tables_with(api.store, word) == set(), word
    left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert left == others
    assert not [one for one in logs if BOB in repr(one) or IP in repr(one)]
    # Eve's is as it was, and the journal has no gap.
    assert await tables_with(api.store, "198.51.100.9") == {"hit"}
    told = await api.store.read(events.after, org, 0, limit=1000)
    assert [one.seq for one in told] == list(range(1, before + 2))
    assert {one.type for one in told} >= {EventType.DELIVERY_CLICKED, EventType.ADDRESS_UNSUBSCRIBED}
    emptied = [one for one in told if one.type is EventType.DELIVERY_CLICKED]
    assert [(dict(one.data), one.delivery, one.user) for one in emptied] == [({"erased": "true"}, "", "")]
    assert dict(told[-1].data) == {"address": done["key"], "by": "operator"}
    assert told[-1].type is EventType.PERSON_ERASED
    again = await erase(place)
    assert (again["hits"], again["consents"], again["suppressions"], again["key"]) == (0, 0, 0, done["key"])


async def test_fault_t13_what_comes_later_of_old_mail_is_not_recorded_and_new_mail_is(place: Place) -> None:
    await clicked(place, place.of)
    await erase(place)
    await clicked(place, place.of)
    assert await tables_with(place.api.store, IP) == set()
    place.api.clock.advance(timedelta(hours=2))
    (new,) = await tracked.sent(place.api.store, place.api.clock, place.whose, BOB)  # they agree once more
    await clicked(place, place.of)
    await clicked(place, new)
    kept = await place.api.store.read(lambda tx: set(tx.execute(select(hit.c.delivery)).scalars()))
    assert kept == {new}


async def test_fault_t13_what_waits_while_a_person_is_erased_is_not_recorded(place: Place, tmp_path: Path) -> None:
    """In memory and on the disk, which a daemon finds that was not there."""
    one = a_hit(place.api.clock, place.of, ip=IP, agent=AGENT)
    place.api.stopping.set()
    await until(lambda: all(task.get_name() != "hits-spill" for task in asyncio.all_tasks()))
    (tmp_path / "hits" / "set-aside").write_bytes(line(one))
    await place.api.store.write(erasures.begin, place.whose.org.id, BOB, at=place.api.clock.now(), by="operator")
    place.api.hits.put(one)
    assert await place.api.hits.forget_erased() == 2
    assert place.api.hits.waiting() == 0
    assert (tmp_path / "hits" / "set-aside").read_bytes() == b""


async def test_fault_t13_counts_of_one_s_own_mail_go_and_of_many_stay(place: Place) -> None:
    api = place.api
    once: dict[str, Any] = {"tracking": "aggregate", "agreed": None}
    mine, shared = await tracked.sent(api.store, api.clock, place.whose, BOB, number=2, of_one_message=1, **once)
    others = [
        of
        for name in ("eve", "carl", "dora", "emil", "fay", "gus")
        for of in await tracked.sent(api.store, api.clock, place.whose, f"{name}@customer.test", **once)
    ]

    def messages(tx: Tx) -> tuple[MessageId, MessageId]:
        table = metadata.tables["delivery"]
        own, many = (tx.execute(select(table.c.message).where(table.c.id == of)).scalar_one() for of in (mine, shared))
        tx.execute(table.update().where(table.c.id.in_(others)).values(message=many))
        return own, many

    own, many = await api.store.write(messages)
    for of in (mine, shared):
        await clicked(place, of)
    await erase(place)
    assert await api.store.read(hits.counted, place.whose.org.id, own) == []
    assert len(await api.store.read(hits.counted, place.whose.org.id, many)) == 2


async def test_fault_t13_receivers_of_webhooks_may_have_said_it_back(place: Place) -> None:
    await clicked(place, place.of)

    def called(tx: Tx) -> None:
        seq = tx.execute(select(event.c.seq).where(event.c.type == EventType.DELIVERY_CLICKED)).scalar_one()
        org = place.whose.org.id
        some = {str: "", int: 0, bool: False}
        for table, row in (
            (webhook, {"id": "H1", "org": org, "types": []}),
            (webhook_call, {"webhook": "H1", "seq": seq, "org": org, "state": "dead", "said": f"no {BOB}"}),
        ):
            rest = {one.name: some[one.type.python_type] for one in table.c if not one.nullable and one.name not in row}
            tx.execute(table.insert().values(**row, **rest))

    await place.api.store.write(called)
    await erase(place)
    assert await tables_with(place.api.store, BOB) == {"delivery"}


async def test_fault_t13_who_is_suppressed_stays_so_by_api_and_after_every_import(place: Place) -> None:
    api = place.api
    await place.post("scope=all")
    await erase(place)
    assert await stands(place) == [("unsubscribed", "person")]
    listed = (await api.local.get(f"{V1}/suppressions")).json["items"]
    assert [(one["erased"], one["evidence"], one["key"][:7]) for one in listed] == [(True, "", "sha256:")]
    assert len((await api.local.get(f"{V1}/suppressions?search={BOB}")).json["items"]) == 1
    export = (await api.local.get(f"{V1}/suppressions/export?format=csv")).body
    assert BOB.encode() not in export
    csv = {"Content-Type": "text/csv"}
    for file in (export, f"address,reason\n{BOB},unsubscribed\n".encode()):
        sums = (await api.local.post(f"{V1}/suppressions/import", data=file, headers=csv)).lines[-1]
        assert (sums["added"], sums["unchanged"]) == (0, 1), sums
    people = f"module,id,name,email\ncontact,1,Bob,{BOB}\n".encode()
    assert (await api.local.post(f"{V1}/records/bulk", data=people, headers=csv)).status == 200
    refused = await api.local.delete(f"{V1}/suppressions/{BOB}")
    assert refused.status == 403, refused.body
    draft = {"from": str(place.whose.user.primary), "to": [BOB], "subject": "Hello", "text": "Hello"}
    answer = await api.local.post(f"{V1}/messages", json=draft)
    assert (answer.status, answer.json["address"], answer.json["reason"]) == (422, BOB, "unsubscribed"), answer.body
    assert "suppression" not in await tables_with(api.store, BOB)


async def test_fault_t13_their_own_page_still_brings_them_back(place: Place) -> None:
    await place.post("scope=all")
    await erase(place)
    assert b"resubscribe" in (await place.ask()).body
    assert (await place.post("scope=resubscribe")).status == 200
    assert await place.stands() == []
    assert (await place.post()).status == 200
    assert await place.stands() == [("unsubscribed", "news")]


async def test_fault_t13_over_smtp_they_stay_suppressed(tmp_path: Path) -> None:
    async with edge(tmp_path) as server:
        org, now = server.organisation.id, server.clock.now()
        await server.store.write(
            suppressions.suppress,
            org=org,
            key="eve@b.test",
            reason=SuppressionReason.COMPLAINT,
            evidence="her report",
            now=now,
        )
        await server.store.write(erasures.begin, org, "eve@b.test", at=now, by="operator")
        async with connected(server.port(ListenerKind.SUBMISSION)) as client:
            await client.ehlo()
            await client.starttls()
            await client.ehlo()
            assert (await client.log_in("anna@example.com", PASSWORD)).code == 235
            refused = await client.mail(["Eve@b.test"], MAIL)
        assert str(refused).startswith("550 5.7.1 Eve@b.test is suppressed (complaint)")


async def test_fault_t13_only_administrators_erase_and_only_what_they_saw(place: Place) -> None:
    path = f"{V1}/addresses/{BOB}"
    seen = (await place.api.local.get(path)).headers["ETag"]
    await place.post()
    assert (await place.api.local.post(f"{path}/erase", headers={"If-Match": seen})).status == 412
    assert await tables_with(place.api.store, "sha256:") == set()
    assert (await place.api.web.post(f"{path}/erase")).status == 401


async def test_fault_t13_by_command_line(place: Place, tmp_path: Path) -> None:
    await clicked(place, place.of)
    run = cli.Cli(tmp_path / "mr.sock")
    unsure = await run("address", "erase", BOB)
    assert unsure.status == 2
    assert "say --yes" in unsure.error
    done = await run("address", "erase", BOB, "--yes")
    assert f"{BOB} is erased: 2 opens and clicks" in done.out
    assert "What stays: 1 deliveries" in done.out
