"""I7: which of a contact's deals a mail shows at, whom a document resolves to, and that people have the last word."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.filing import correct
from mailrelay.filing.rerun import Rerun
from mailrelay.ids import MessageId
from mailrelay.model.decision import BY_RULE, Link
from mailrelay.model.envelope import Arrival
from mailrelay.store import links
from tests.support import factory
from tests.support.filing import BOUNCES, DOMAIN, Desk, mail, office
from tests.support.way_back import way_back

_CONTACT = {"contact": "contact/1"}


async def deals(desk: Desk, *fields: dict[str, str], names: tuple[str, ...] = ()) -> None:
    """A contact with deals 1, 2, …, made in that order."""
    await desk.record("contact/1", "bob@customer.test")
    for number, one in enumerate(fields, start=1):
        desk.clock.advance(timedelta(minutes=1))
        name = names[number - 1] if names else f"Deal {number}"
        await desk.record(f"deal/{number}", name=name, links=_CONTACT, fields=one)


async def standing(desk: Desk, of: Arrival) -> dict[str, Link]:
    found = await desk.store.read(links.of_message, desk.org.id, MessageId(of.message or ""))
    return {str(one.record): one for one in found if one.removed_at is None}


async def rerun(desk: Desk) -> list[Any]:
    runner = Rerun(desk.store, desk.bodies, desk.clock, desk.ids, service_domains=frozenset((DOMAIN, BOUNCES)))
    since = desk.clock.now() - timedelta(days=1)
    return [one async for one in runner.run(desk.org.id, since=since, apply=True)]


@pytest.mark.parametrize(
    ("fields", "names", "subject", "likely", "because"),
    [
        ([{}, {}, {}], (), "Offer", "deal/3", "changed last"),
        ([{"closing_date": "2026-12-24"}, {"closing_date": "2026-12-01"}, {}], (), "x", "deal/2", "closes soonest"),
        ([{"closing_date": "2026-10-01"}, {"closing_date": "2027-01-01"}, {}], (), "x", "deal/2", "closes soonest"),
        ([{"Closing_Date": "2026-12-24T10:00:00Z"}, {}], (), "x", "deal/1", "closes soonest, on 2026-12-24"),
        ([{"close_date": "soon"}, {}], (), "x", "deal/2", "changed last"),
        ([{"number": "D-2041"}, {"closing_date": "2026-12-01"}], (), "Re: [d-2041] Offer", "deal/1", "the number of"),
        ([{}, {}], ("Two ovens", "Drill presses"), "About the TWO  ovens!", "deal/1", "the name of"),
        ([{}, {}], ("Two ovens", "Drill presses"), "About two ovenskins", "deal/2", "changed last"),
        ([{}, {}], ("Oven", "Ofen"), "An oven and an ofen", "deal/2", "of those whose name or number"),
        ([{}, {}], ("Pie", "Cake"), "a pie", "deal/2", "changed last"),
    ],
)
async def test_of_several_open_deals_the_likeliest_is_guessed_and_marked_with_why(
    tmp_path: Path, fields: list[dict[str, str]], names: tuple[str, ...], subject: str, likely: str, because: str
) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, *fields, names=names)
        found = await standing(desk, await desk.post(mail(subject=subject)))
        assert set(found) == {"contact/1", likely}
        assert found[likely].guess
        assert found[likely].rule == "relate.likely_deal"
        assert because in found[likely].evidence[0].because
        assert not found["contact/1"].guess


async def test_the_only_open_deal_is_no_guess_and_a_closed_one_is_never_guessed(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {"stage": "won"}, {"stage": "Proposal"})
        found = await standing(desk, await desk.post(mail(subject="Deal 1")))
        assert set(found) == {"contact/1", "deal/2"}
        assert not found["deal/2"].guess
        await desk.record("deal/2", links=_CONTACT, fields={"status": "closed"})
        assert set(await standing(desk, await desk.post(mail()))) == {"contact/1"}


async def test_a_reply_stays_on_the_deal_of_its_thread_as_sure_as_that_was(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {}, {})
        first = await desk.post(mail(message_id="one@mail.test", subject="Deal 1"))
        await desk.record("deal/2", links=_CONTACT, fields={"closing_date": "2026-12-01"})
        answer = ("In-Reply-To: <one@mail.test>",)
        reply = await standing(desk, await desk.post(mail(message_id="two@mail.test", subject="Re: x", headers=answer)))
        assert set(reply) == {"contact/1", "deal/1"}
        assert (reply["deal/1"].rule, reply["deal/1"].guess) == ("relate.thread_deal", True)
        # Once a person says so it is sure, and later mail follows it as it follows any record.
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        message = MessageId(first.message or "")
        await desk.store.write(correct.link, desk.org.id, message, factory.ref("deal/1"), **at)
        sure = await standing(desk, await desk.post(mail(subject="Re: y", headers=answer)))
        assert set(sure) == {"contact/1", "deal/1"}
        assert (sure["deal/1"].rule, sure["deal/1"].guess) == ("match.thread", False)


async def test_another_copy_and_a_rerun_leave_a_guess_where_it_is(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        ben = await desk.user("ben@example.com")
        await deals(desk, {}, {})
        raw = mail(cc="ben@example.com")
        first = await desk.post(raw)
        assert set(await standing(desk, first)) == {"contact/1", "deal/2"}
        await desk.record("deal/1", name="changed since", links=_CONTACT)
        again = await desk.post(raw, user=ben, mail_from="ben@example.com")
        assert again.message == first.message
        assert set(await standing(desk, first)) == {"contact/1", "deal/2"}
        assert await rerun(desk) == []


async def test_a_guess_gives_way_to_what_becomes_sure(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {}, {})
        arrival = await desk.post(mail())
        await desk.record("deal/2", links=_CONTACT, fields={"stage": "lost"})
        (difference,) = await rerun(desk)
        assert ([str(one) for one in difference.added], [str(one) for one in difference.removed]) == (
            ["deal/1"],
            ["deal/2"],
        )
        found = await standing(desk, arrival)
        assert (found["deal/1"].rule, found["deal/1"].guess) == ("relate.open_deal", False)
        assert await rerun(desk) == []


@pytest.mark.parametrize("then_closed", [False, True])
async def test_what_a_person_did_with_a_guess_stands_in_every_rerun_and_copy(tmp_path: Path, then_closed: bool) -> None:
    async with office(tmp_path) as desk:
        ben = await desk.user("ben@example.com")
        await deals(desk, {}, {}, {})
        raw = mail(cc="ben@example.com")
        arrival = await desk.post(raw)
        assert "deal/3" in await desk.links(arrival)
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        message, org = MessageId(arrival.message or ""), desk.org.id
        await desk.store.write(correct.move, org, message, from_=factory.ref("deal/3"), to=factory.ref("deal/1"), **at)
        if then_closed:  # so that another one is the only open deal
            await desk.record("deal/1", links=_CONTACT, fields={"stage": "lost"})
            await desk.record("deal/3", links=_CONTACT, fields={"stage": "lost"})
        assert await rerun(desk) == []
        await desk.post(raw, user=ben, mail_from="ben@example.com")
        found = await standing(desk, arrival)
        assert {name: one.by for name, one in found.items()} == {"contact/1": BY_RULE, "deal/1": desk.anna.id}
        await desk.store.write(correct.unlink, org, message, factory.ref("deal/1"), **at)
        assert await rerun(desk) == []
        assert set(await standing(desk, arrival)) == {"contact/1"}


def answer(number: str, *before: str) -> bytes:
    """A mail `number` that answers those before it, the nearest last."""
    names = " ".join(f"<{one}@mail.test>" for one in before)
    return mail(message_id=f"{number}@mail.test", subject=f"Re: {number}", headers=(f"References: {names}",))


async def take_off(desk: Desk, of: Arrival, deal: str) -> None:
    at = {"by": desk.anna.id, "at": desk.clock.now()}
    await desk.store.write(correct.unlink, desk.org.id, MessageId(of.message or ""), factory.ref(deal), **at)


async def test_nothing_is_guessed_for_the_answers_to_a_mail_that_a_person_took_off_its_deal(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {}, {}, {})
        first = await desk.post(mail(message_id="one@mail.test"))
        assert "deal/3" in await desk.links(first)
        await take_off(desk, first, "deal/3")
        for number in ("two", "three"):
            assert set(await standing(desk, await desk.post(answer(number, "one")))) == {"contact/1"}
        assert await rerun(desk) == []
        # Another thread knows nothing of it.
        assert "deal/3" in await desk.links(await desk.post(mail(message_id="other@mail.test")))


async def test_the_only_open_deal_is_not_that_of_a_thread_that_was_taken_off_it_but_another_is(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {})
        first = await desk.post(mail(message_id="one@mail.test"))
        await take_off(desk, first, "deal/1")
        reply = await desk.post(answer("two", "one"))
        assert set(await standing(desk, reply)) == {"contact/1"}
        said = [one for one in (await desk.journey(reply)).filings[-1].findings if one.rule == "relate.open_deal"]
        assert said[0].evidence[0].because == f"{desk.anna.id} has taken <one@mail.test> off deal/1, and that stands"
        await desk.record("deal/1", links=_CONTACT, fields={"stage": "lost"})
        await desk.record("deal/2", links=_CONTACT)
        assert set(await standing(desk, await desk.post(answer("three", "one")))) == {"contact/1", "deal/2"}


async def test_a_thread_that_was_moved_does_not_come_back_to_the_deal_it_was_moved_from(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {}, {})
        first = await desk.post(mail(message_id="one@mail.test"))
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        from_, to = factory.ref("deal/2"), factory.ref("deal/1")
        await desk.store.write(correct.move, desk.org.id, MessageId(first.message or ""), from_=from_, to=to, **at)
        await desk.record("deal/1", links=_CONTACT, fields={"stage": "lost"})
        assert set(await standing(desk, await desk.post(answer("two", "one")))) == {"contact/1", "deal/1"}


async def test_of_a_thread_the_mail_nearest_to_the_answer_says_whether_it_is_on_a_deal(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await deals(desk, {}, {})
        first = await desk.post(mail(message_id="one@mail.test"))
        second = await desk.post(answer("two", "one"))
        await take_off(desk, second, "deal/2")
        assert set(await standing(desk, await desk.post(answer("three", "one", "two")))) == {"contact/1"}
        assert "deal/2" in await desk.links(await desk.post(answer("four", "one")))
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        await desk.store.write(
            correct.unlink, desk.org.id, MessageId(second.message or ""), factory.ref("contact/1"), **at
        )
        await desk.store.write(
            correct.link, desk.org.id, MessageId(first.message or ""), factory.ref("deal/2"), **at
        )  # sure there, and still not where it was taken off
        assert set(await standing(desk, await desk.post(answer("five", "one", "two")))) == {"contact/1"}
        assert "deal/2" in await desk.links(await desk.post(answer("six", "two", "one")))


async def test_what_comes_back_of_a_mail_that_was_taken_off_its_deal_is_not_guessed_onto_another(
    tmp_path: Path,
) -> None:
    async with way_back(tmp_path) as post:
        store, clock = post.edge.store, post.edge.clock
        await factory.record(store, clock, post.org, "contact/1", addresses=["bob@customer.test"])
        for deal in ("deal/1", "deal/2"):
            await factory.record(store, clock, post.org, deal, links=_CONTACT)
        sent = await post.send("bob@customer.test")
        message, org = sent.delivery.message, post.org.id
        guessed = {one.record for one in await store.read(links.of_messages, org, [message]) if one.guess}
        assert len(guessed) == 1
        at = {"by": sent.delivery.author, "at": clock.now()}
        await store.write(correct.unlink, org, message, guessed.pop(), **at)
        bounce = await post.bring(sent.dsn("4.2.2", action="delayed"), to=sent.return_path)
        on = await post.records(bounce)
        assert "contact/1" in on
        assert not {"deal/1", "deal/2"} & on


async def test_two_contacts_of_one_deal_make_no_two_guesses(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "sue@customer.test")
        await desk.record("deal/1", links={"contact": "contact/1", "partner": "contact/2"})
        await desk.record("deal/2", links={"contact": "contact/2"})
        found = await standing(desk, await desk.post(mail(to="bob@customer.test, sue@customer.test")))
        assert set(found) == {"contact/1", "contact/2", "deal/1"}
        assert not found["deal/1"].guess


@pytest.mark.parametrize("module", ["quote", "invoice", "sales_order", "purchase_order"])
async def test_a_document_resolves_to_its_contact_and_so_to_account_and_deal(tmp_path: Path, module: str) -> None:
    async with office(tmp_path) as desk:
        await desk.record("account/1")
        await desk.record("contact/1", "bob@customer.test", links={"account": "account/1"})
        await desk.record("contact/2", "other@customer.test")
        await desk.record("vendor/1", "sales@vendor.test")
        await desk.record("deal/1", links=_CONTACT)
        paper = {"contact": "contact/1", "copy": "contact/2", "vendor": "vendor/1"}
        await desk.record(f"{module}/1", links=paper)
        await desk.post(mail(message_id="one@mail.test"))
        first = (await desk.messages())[0]
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        await desk.store.write(correct.link, desk.org.id, first.id, factory.ref(f"{module}/1"), **at)
        await desk.store.write(correct.unlink, desk.org.id, first.id, factory.ref("contact/1"), **at)
        answer = mail(from_="new@customer.test", to="anna@example.com", headers=("In-Reply-To: <one@mail.test>",))
        found = await standing(desk, await desk.post(answer, mail_from="new@customer.test", user=desk.anna))
        if not found:  # from outside it is held for its sender: a person lets it pass
            (entry,) = await desk.waiting()
            await desk.store.write(correct.release, desk.org.id, entry.id, **at)
            await desk.worker.drain()
            found = await standing(desk, await desk.arrival(entry.arrival))
        assert {"contact/1", "account/1", "deal/1", f"{module}/1"} <= set(found)
        assert found["contact/1"].rule == "relate.document"
        assert not {"contact/2", "vendor/1"} & set(found)


async def test_a_purchase_order_without_a_contact_resolves_to_its_vendor_and_a_quote_to_nobody(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("vendor/1", "sales@vendor.test")
        for place in ("purchase_order/1", "quote/1"):
            await desk.record(place, links={"vendor": "vendor/1"})
        await desk.record("contact/1", "bob@customer.test")
        await desk.post(mail(message_id="one@mail.test"))
        first = (await desk.messages())[0]
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        for place, more in (("quote/1", set()), ("purchase_order/1", {"vendor/1"})):
            await desk.store.write(correct.link, desk.org.id, first.id, factory.ref(place), **at)
            reply = await desk.post(mail(headers=("In-Reply-To: <one@mail.test>",)))
            assert await desk.links(reply) - {"contact/1", "quote/1", "purchase_order/1"} == more
