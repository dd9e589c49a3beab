"""I21: what is sent to a record's own address is filed there; old secret addresses end, and say who still uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from mailrelay.ids import OrgId
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.inbound.recipient import Recipients, Target
from mailrelay.mail import record_address
from mailrelay.mail.record_address import RecordAddressToken
from mailrelay.model.address import Address
from mailrelay.model.envelope import Arrival, ArrivalState, ArrivalTarget, Channel
from mailrelay.model.record import FilingAddress
from mailrelay.model.reply import Reply
from mailrelay.store import filing_addresses, records, uses
from mailrelay.store.base import Tx
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.filing import BOUNCES, DOMAIN, mail, office
from tests.support.house import House, house, on

SECRET = b"a secret of thirty-two characters"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.record("contact/1", "bob@customer.example")
        await made.record("deal/9")
        yield made


async def until_refused(here: House, address: str) -> Reply:
    """The door hears of an end in a moment."""
    async with asyncio.timeout(30):
        while (answer := await here.smtp(address, mail())).code == 250:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.05)
    return answer


async def test_mail_to_it_is_filed_there_whoever_writes_and_whatever_else_matches(here: House) -> None:
    made = await here.json("record-address", "make", "deal/9")
    assert made["address"].startswith("r-")
    stranger = mail(from_="x@new.example", to=made["address"].upper(), subject="For the deal")
    found = await here.filed(made["address"].upper(), stranger, sender="x@new.example")
    assert set(on(found)) == {"deal/9"}
    assert on(found)["deal/9"]["rule"] == "match.record_address"
    assert [(one["channel"], one["user"]) for one in found["sources"]] == [("record", None)]
    known = await here.filed(made["address"], mail(from_="bob@customer.example", to="other@elsewhere.example"))
    assert set(on(known)) == {"deal/9", "contact/1"}
    colleague = await here.filed(made["address"], mail(from_="anna@example.org", to="ben@example.org"))
    assert set(on(colleague)) == {"deal/9"}  # mail among colleagues, which is dropped elsewhere
    assert set(on(await here.filed(made["address"], b"no header at all\r\n"))) == {"deal/9"}
    used = (await here.json("record-address", "show", str(made["number"])))["uses"]
    assert {one["address"]: one["count"] for one in used} == {
        "anna@example.org": 1,
        "bob@customer.example": 2,
        "x@new.example": 1,
    }


async def test_an_old_one_holds_for_its_overlap_and_says_who_still_uses_it(here: House) -> None:
    old = await here.json("record-address", "make", "contact/1", "--until", "2099-12-31")
    assert "has an address already" in await here.refused("record-address", "make", "contact/1")
    new = await here.json("record-address", "regenerate", str(old["number"]), "--overlap", "7d")
    assert new["number"] != old["number"]
    assert set(on(await here.filed(old["address"], mail(from_="late@customer.example")))) == {"contact/1"}
    shown = await here.json("record-address", "show", str(old["number"]))
    assert shown["valid"]
    assert shown["valid_until"]
    assert [one["address"] for one in shown["uses"]] == ["late@customer.example"]
    assert (await here.json("record-address", "show", str(new["number"])))["uses"] == []
    listed = (await here.json("record-address", "list", "--record", "contact/1"))["items"]
    assert [one["number"] for one in listed] == [old["number"], new["number"]]
    assert "over already" in await here.refused("record-address", "regenerate", str(old["number"]))


async def test_fault_s21_a_revoked_one_is_refused_as_one_that_never_was(here: House) -> None:
    made = await here.json("record-address", "make", "deal/9")
    await here.json("record-address", "revoke", str(made["number"]))
    answer = await until_refused(here, made["address"])
    never = made["address"][:-1] if "@" not in made["address"] else made["address"].replace("@", "x@")
    assert str(answer) == str(await here.smtp(never, mail()))
    again = await here.json("record-address", "make", "deal/9")
    assert set(on(await here.filed(again["address"], mail(from_="x@new.example")))) == {"deal/9"}


async def test_what_a_user_sends_to_one_is_filed_there_and_leaves_not(here: House) -> None:
    made = await here.json("record-address", "make", "deal/9")
    letter = ("message", "send", "--from", "anna@example.org", "--subject", "x", "--text", "y")
    sent = await here.json(*letter, "--to", "bob@customer.example", "--bcc", made["address"])
    assert [one["recipient"] for one in sent["deliveries"]] == ["bob@customer.example"]
    async with asyncio.timeout(30):
        while set(on(found := await here.message(sent["queue_id"]))) != {"contact/1", "deal/9"}:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)
    assert {one["channel"] for one in found["sources"]} == {"api", "record"}
    await here.json("record-address", "revoke", str(made["number"]))
    assert "No such dropbox" in await here.refused(*letter, "--to", made["address"])


async def test_a_dropbox_says_who_uses_the_old_one(here: House) -> None:
    old = await here.json("dropbox", "make", "anna@example.org")
    await here.json("dropbox", "regenerate", "anna@example.org", "--overlap", "7d")
    for _ in range(2):
        raw = mail(from_="Anna <anna@example.org>", to="bob@customer.example")
        await here.filed(old["address"], raw, sender="anna@example.org")
    listed = await here.json("dropbox", "uses", "anna@example.org")
    users = {one["dropbox"]["address"]: [(use["address"], use["count"]) for use in one["uses"]] for one in listed}
    assert users[old["address"]] == [("anna@example.org", 2)]
    assert len(users) == 2
    said = await here.relay.cli("dropbox", "uses", "anna@example.org")
    assert "anna@example.org" in said.out
    sent = await here.json(
        *("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example", "--bcc", old["address"]),
        *("--subject", "x", "--text", "y"),
    )
    await here.message(sent["queue_id"])
    listed = await here.json("dropbox", "uses", "anna@example.org")
    assert [use["count"] for one in listed for use in one["uses"]] == [3]


async def test_rcpt_knows_one_without_a_look_into_the_store(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock)
        asked: list[str] = []
        event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        recipients = Recipients(
            store, clock, hostname="mx.test", domains=(DOMAIN,), bounce_domain=BOUNCES, secrets=(b"new" * 11, SECRET)
        )
        last_day = clock.now().date()
        address = record_address.make(RecordAddressToken(org.id, 7, last_day), SECRET, DOMAIN)
        found = await recipients.resolve(Address(address.local.upper(), DOMAIN))
        assert isinstance(found, Target)
        assert (found.org, found.place.filing, asked) == (org.id, 7, [])
        clock.advance(timedelta(days=1))
        over = await recipients.resolve(address)
        assert isinstance(over, Reply)
        assert str(over).startswith("550 5.1.1 This address was valid until 2026-11-02")
        assert asked == []


async def test_what_came_before_the_door_heard_of_the_end_waits_for_a_person(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1")
        made = await factory.record_address(desk.store, desk.clock, desk.org, "contact/1")

        async def post(number: int) -> Arrival:
            target = ArrivalTarget(address=Address("r-x", DOMAIN), filing=number)
            raw = mail(from_="x@new.test")
            return await desk.post(raw, channel=Channel.RECORD, mail_from="x@new.test", target=target)

        assert await desk.links(await post(made.number)) == {"contact/1"}
        desk.clock.advance(timedelta(minutes=1))
        now = desk.clock.now()
        assert await desk.store.write(filing_addresses.end, made, until=now, by="U1", at=now)
        assert not await desk.store.write(filing_addresses.end, made, until=now, by="U1", at=now)
        again = await factory.record_address(desk.store, desk.clock, desk.org, "contact/1")
        await desk.store.write(records.remove, desk.org.id, factory.ref("contact/1"), by="U1", at=now)
        for number in (made.number, 99, again.number):
            assert (await post(number)).state is ArrivalState.UNRESOLVED
        waiting = await desk.waiting()
        assert [entry.reason for entry in waiting] == ["address_ended"] * 3
        explained = " ".join(entry.explanation for entry in waiting)
        assert all(part in explained for part in ("no longer valid", "not known here", "is there no more"))
        assert await desk.is_balanced()


async def test_a_record_has_one_that_is_valid_and_numbers_are_never_given_twice(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock)
        for place in ("contact/1", "contact/2"):
            await factory.record(store, clock, org, place)
        tomorrow = clock.now() + timedelta(days=1)
        first = await factory.record_address(store, clock, org, "contact/1", until=tomorrow)
        second = await factory.record_address(store, clock, org, "contact/2")
        clock.advance(timedelta(days=2))
        third = await factory.record_address(store, clock, org, "contact/1")
        assert [first.number, second.number, third.number] == [1, 2, 3]
        ended = EndedAddresses(store, clock)
        later = clock.now() + timedelta(hours=1)
        assert await store.write(filing_addresses.end, third, until=later, by="U1", at=clock.now())
        await ended.look()
        assert not ended.is_over(org.id, 3)
        clock.advance(timedelta(hours=1))
        assert ended.is_over(org.id, 3)
        assert not ended.is_over(OrgId("O2"), 3)


async def test_no_more_than_so_many_are_noted_of_one_address(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = (await factory.org(store, clock)).id

        def note(tx: Tx, first: int, last: int) -> None:
            for number in range(first, last):
                uses.note(tx, org, "r1", Address(f"u{number:04}", "new.test"), now=clock.now())

        await store.write(note, 0, uses.MOST)
        clock.advance(timedelta(hours=1))
        await store.write(note, uses.MOST - 1, uses.MOST + 5)
        found = await store.read(uses.list_uses, org, "r1", limit=1000)
        assert len(found) == uses.MOST
        assert (found[-1].count, found[-1].last_at - found[-1].first_at) == (2, timedelta(hours=1))
        page = await store.read(uses.list_uses, org, "r1", after=found[9].address.key, limit=2)
        assert page == found[10:12]


def test_it_holds_until_the_first_of_its_ends() -> None:
    at = datetime(2026, 11, 2, tzinfo=UTC)
    one = FilingAddress(
        org=OrgId("O1"),
        number=1,
        record=factory.ref("deal/1"),
        until=at + timedelta(days=2),
        created_at=at,
        created_by="",
        valid_until=at + timedelta(days=1),
    )
    assert one.holds(at)
    assert not one.holds(at + timedelta(days=1))
