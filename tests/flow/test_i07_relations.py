"""I7, its first part: a contact's account and only open deal; what people do stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.errors import Invalid, Unknown
from mailrelay.filing import correct
from mailrelay.ids import MessageId
from tests.support import factory
from tests.support.filing import mail, office


async def test_a_mail_with_a_contact_shows_at_its_account_and_only_open_deal(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("account/1")
        await desk.record("contact/1", "bob@customer.test", links={"account": "account/1"})
        await desk.record("deal/1", links={"contact": "contact/1"}, fields={"stage": "Closed Won"})
        await desk.record("deal/2", links={"contact": "contact/1"}, fields={"stage": "Negotiation"})
        assert await desk.links(await desk.post(mail())) == {"contact/1", "account/1", "deal/2"}
        await desk.record("deal/3", links={"contact": "contact/1"}, fields={"stage": "lost"})
        assert await desk.links(await desk.post(mail())) == {"contact/1", "account/1", "deal/2"}


async def test_what_a_person_unlinked_is_not_linked_again_by_another_copy(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        raw = mail()
        first = await desk.post(raw)
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        message = MessageId(first.message or "")
        await desk.store.write(correct.unlink, desk.org.id, message, factory.ref("contact/1"), **at)
        again = await desk.post(raw)
        assert again.state == "duplicate"
        assert await desk.links(again) == set()
        (link,) = (await desk.journey(again)).links
        assert link.removed_by == desk.anna.id


async def test_a_person_links_and_moves(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2")
        arrival = await desk.post(mail())
        message = MessageId(arrival.message or "")
        at = {"by": desk.anna.id, "at": desk.clock.now()}
        one, two = factory.ref("contact/1"), factory.ref("contact/2")
        await desk.store.write(correct.move, desk.org.id, message, from_=one, to=two, **at)
        assert await desk.links(arrival) == {"contact/2"}
        await desk.store.write(correct.link, desk.org.id, message, one, **at)
        assert await desk.links(arrival) == {"contact/1", "contact/2"}
        types = [event.type for event in (await desk.journey(arrival)).events]
        assert types[-3:] == ["message.unlinked", "message.linked", "message.linked"]
        with pytest.raises(Unknown):
            await desk.store.write(correct.link, desk.org.id, message, factory.ref("contact/9"), **at)
        with pytest.raises(Unknown):
            await desk.store.write(correct.unlink, desk.org.id, message, factory.ref("account/1"), **at)
        with pytest.raises(Invalid):
            await desk.store.write(correct.move, desk.org.id, message, from_=one, to=one, **at)
