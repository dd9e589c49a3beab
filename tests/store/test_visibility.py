"""Who may see which mail, on both databases (I16)."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailrelay.errors import Unknown
from mailrelay.ids import Digest, MessageId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.decision import Evidence, ProposedLink
from mailrelay.model.envelope import Channel
from mailrelay.model.message import BlobRef, Direction, Message, Participant, ParticipantRole
from mailrelay.model.organisation import Organisation, User
from mailrelay.model.record import RecordRef
from mailrelay.model.settings import Sharing
from mailrelay.store import events, links, messages, newest, organisations, people, queue, records, sharing, visibility
from mailrelay.store.base import Tx
from mailrelay.store.messages import Place, Source
from mailrelay.store.tables import delivery, message, message_source
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore, counted, watched
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.delivery import a_delivery

_number = itertools.count(1)


@dataclass
class Office:
    """An organisation with Anna, Berta and mail."""

    store: AnyStore
    clock: FakeClock
    org: Organisation
    anna: User
    berta: User

    async def mail(
        self,
        *whose: User | None,
        address: str = "bob@customer.test",
        channel: Channel = Channel.DROPBOX,
    ) -> MessageId:
        """A message that came to each of these users; None is the organisation itself."""
        number = next(_number)
        self.clock.advance(timedelta(seconds=1))
        new = Message(
            id=factory.ids(self.clock).message(),
            org=self.org.id,
            direction=Direction.IN,
            queue_id=QueueId(f"Q{number}"),
            message_id=f"{number}@customer.test",
            digest=Digest(f"{number}"),
            raw=BlobRef(digest=Digest(f"{number}"), size=10),
            subject=f"Mail {number}",
            sent_at=None,
            received_at=self.clock.now(),
            participants=(Participant(ParticipantRole.FROM, Address(*address.split("@")), "Bob"),),
            parents=(),
            auth=None,
            part=0,
            automatic="",
            attachments=(),
        )

        def put(tx: Tx) -> None:
            messages.insert(tx, new)
            for user in whose:
                source = Source(
                    message=new.id,
                    arrival=QueueId(f"Q{next(_number)}x"),
                    channel=channel,
                    user=None if user is None else user.id,
                    at=self.clock.now(),
                )
                messages.add_source(tx, self.org.id, source)

        await self.store.write(put)
        return new.id

    async def seen(self, viewer: Viewer) -> set[MessageId]:
        """What a viewer sees of all mail."""

        def look(tx: Tx) -> set[MessageId]:
            wanted = select(message.c.id).where(message.c.org == viewer.org, visibility.readable(viewer))
            return {MessageId(one) for one in tx.execute(wanted).scalars()}

        return await self.store.read(look)

    async def share(self, user: User, how: Sharing | None, *domains: str) -> None:
        await self.store.write(sharing.put, self.org.id, user.id, how, domains, by="test", at=self.clock.now())

    async def settings(self, **changed: Any) -> None:
        now = await self.store.read(organisations.get, self.org.id)
        await self.store.write(
            organisations.update_organisation, replace(now, settings=replace(now.settings, **changed))
        )

    async def link(self, mail: MessageId, record: str, *, key: str = "", secret: str = "") -> None:
        proposed = ProposedLink(
            record=factory.ref(record),
            rule="match.primary",
            evidence=(Evidence(because="it has"),),
            guess=False,
            secret=secret,
        )
        await self.store.write(links.add, self.org.id, mail, proposed, at=self.clock.now(), key=key)

    def as_(self, user: User) -> Viewer:
        return Viewer(org=self.org.id, user=user.id)

    @property
    def everybody(self) -> Viewer:
        return Viewer(org=self.org.id)

    @property
    def machine(self) -> Viewer:
        return Viewer(org=self.org.id, all=True)


@pytest.fixture
async def office(store: AnyStore, clock: FakeClock) -> Office:
    org = await factory.org(store, clock, domains=("example.com",))
    anna = await factory.user(store, clock, org, "anna@example.com")
    berta = await factory.user(store, clock, org, "berta@example.com")
    return Office(store, clock, org, anna, berta)


async def test_i16_a_user_without_a_setting_shares_as_the_organisation_says(office: Office) -> None:
    mail = await office.mail(office.anna)
    assert await office.seen(office.as_(office.berta)) == {mail}
    await office.settings(sharing=Sharing.PRIVATE)
    assert await office.seen(office.as_(office.berta)) == set()
    assert await office.seen(office.as_(office.anna)) == {mail}
    await office.share(office.anna, Sharing.PUBLIC)
    assert await office.seen(office.as_(office.berta)) == {mail}


async def test_i16_private_mail_is_the_users_and_the_machines_alone(office: Office) -> None:
    await office.share(office.anna, Sharing.PRIVATE)
    mail = await office.mail(office.anna)
    assert await office.seen(office.as_(office.anna)) == {mail}
    assert await office.seen(office.as_(office.berta)) == set()
    assert await office.seen(office.everybody) == set()
    assert await office.seen(office.machine) == {mail}


async def test_i16_one_public_way_shows_a_mail_that_came_by_several(office: Office) -> None:
    await office.share(office.anna, Sharing.PRIVATE)
    mail = await office.mail(office.anna, office.berta)
    assert await office.seen(office.everybody) == {mail}


async def test_i16_what_is_the_organisations_is_everybodys_but_what_came_back_to_nobody(office: Office) -> None:
    mail = await office.mail(None, channel=Channel.ORGANISATION)
    await office.mail(None, channel=Channel.BOUNCE)
    assert await office.seen(office.everybody) == {mail}


async def test_i16_custom_shares_what_stands_on_a_chosen_record(office: Office) -> None:
    await factory.record(office.store, office.clock, office.org, "contact/1", addresses=("bob@customer.test",))
    await office.share(office.anna, Sharing.CUSTOM)
    on_it, elsewhere = await office.mail(office.anna), await office.mail(office.anna)
    await office.link(on_it, "contact/1")
    assert await office.seen(office.as_(office.berta)) == set()
    record = RecordRef("contact", "1")
    of = (office.org.id, office.anna.id, record)
    await office.store.write(sharing.choose, *of, by="test", at=office.clock.now())
    assert await office.seen(office.as_(office.berta)) == {on_it}
    assert await office.seen(office.as_(office.anna)) == {on_it, elsewhere}
    await office.store.write(sharing.leave, *of, by="test", at=office.clock.now())
    assert await office.seen(office.as_(office.berta)) == set()


async def test_i16_what_another_user_chose_shares_nothing_of_ones_own(office: Office) -> None:
    await factory.record(office.store, office.clock, office.org, "contact/1")
    await office.share(office.anna, Sharing.CUSTOM)
    await office.link(await office.mail(office.anna), "contact/1")
    of = (office.org.id, office.berta.id, RecordRef("contact", "1"))
    await office.store.write(sharing.choose, *of, by="test", at=office.clock.now())
    assert await office.seen(office.everybody) == set()


@pytest.mark.parametrize("address", ["bob@lawyers.test", "bob@mail.lawyers.test"])
async def test_i16_mail_of_an_unshared_domain_is_kept_back(office: Office, address: str) -> None:
    mail, other = (
        await office.mail(office.anna, address=address),
        await office.mail(office.anna, address="x@notlawyers.test"),
    )
    await office.store.write(sharing.keep_back, office.org.id, "lawyers.test", by="test", at=office.clock.now())
    assert await office.seen(office.as_(office.berta)) == {other}
    assert await office.seen(office.as_(office.anna)) == {mail, other}
    await office.store.write(sharing.share_again, office.org.id, "lawyers.test", by="test", at=office.clock.now())
    assert await office.seen(office.as_(office.berta)) == {mail, other}


async def test_i16_a_users_own_unshared_domain_keeps_back_nothing_of_others(office: Office) -> None:
    await office.share(office.anna, None, "lawyers.test")
    await office.mail(office.anna, address="bob@lawyers.test")
    of_berta = await office.mail(office.berta, address="bob@lawyers.test")
    assert await office.seen(office.everybody) == {of_berta}


async def test_i16_a_bcc_recipient_of_an_unshared_domain_keeps_a_mail_back(office: Office) -> None:
    mail = await office.mail(office.anna)
    one = a_delivery(office.clock, "hidden@lawyers.test")
    one = replace(one, org=office.org.id, message=mail, author=office.anna.id)
    await office.store.write(queue.enqueue, [one])
    await office.share(office.anna, None, "lawyers.test")
    assert await office.seen(office.everybody) == set()

    def deliveries_of(tx: Tx, viewer: Viewer) -> list[str]:
        wanted = select(delivery.c.id).where(visibility.readable_delivery(viewer))
        return list(tx.execute(wanted).scalars())

    assert await office.store.read(deliveries_of, office.everybody) == []
    assert await office.store.read(deliveries_of, office.as_(office.anna)) == [one.id]


async def test_i16_a_chosen_record_that_anothers_bcc_alone_leads_to_shares_nothing(office: Office) -> None:
    await office.share(office.anna, Sharing.CUSTOM)
    await office.share(office.berta, Sharing.PRIVATE)
    await factory.record(office.store, office.clock, office.org, "contact/1")
    of = (office.org.id, office.anna.id, RecordRef("contact", "1"))
    await office.store.write(sharing.choose, *of, by="test", at=office.clock.now())
    mail = await office.mail(office.anna, office.berta)
    sources = await office.store.read(messages.sources, office.org.id, mail)
    annas, bertas = ({one.user: one.arrival for one in sources}[who.id] for who in (office.anna, office.berta))
    await office.link(mail, "contact/1", secret=bertas)
    assert await office.seen(office.everybody) == set()
    other = await office.mail(office.anna, office.berta)
    await office.link(other, "contact/1", secret=annas)
    assert await office.seen(office.everybody) == {other}, "her own Bcc she knows of"
    await office.link(mail, "contact/1")
    assert await office.seen(office.everybody) == {mail, other}, "it is known without the Bcc now"


async def test_i16_links_by_a_bcc_are_shown_to_who_sees_the_mail_as_it_came_by_it(office: Office) -> None:
    await office.share(office.anna, Sharing.PRIVATE)
    mail = await office.mail(office.anna, office.berta)
    sources = await office.store.read(messages.sources, office.org.id, mail)
    await office.link(mail, "contact/1", secret={one.user: one.arrival for one in sources}[office.anna.id])
    await office.link(mail, "contact/2")
    for viewer, number in ((office.as_(office.anna), 2), (office.machine, 2), (office.as_(office.berta), 1)):
        assert len(await office.store.read(links.visible, viewer, mail)) == number
        assert len(await office.store.read(links.shown, viewer, [mail])) == number
        found = await office.store.read(links.of_record, office.org.id, factory.ref("contact/1"), viewer=viewer)
        assert len(found) == number - 1
    await office.share(office.anna, Sharing.PUBLIC)
    assert len(await office.store.read(links.visible, office.everybody, mail)) == 2


async def test_i16_on_behalf_of_who_is_deactivated_nothing_is_there_at_all(office: Office) -> None:
    mail = await office.mail(None, channel=Channel.ORGANISATION)
    await office.mail(office.berta)
    await office.store.write(people.deactivate, office.org.id, office.anna.id)
    viewer = office.as_(office.anna)
    assert await office.seen(viewer) == set()
    assert await office.store.read(newest.seen_by, viewer) == ()
    assert await office.store.read(visibility.of_these, viewer, [mail]) == frozenset()
    assert (await office.store.read(events.stretch, viewer, 0, limit=100)).events == ()
    sharers = await office.store.read(visibility.sharers_for, viewer)

    def look(tx: Tx) -> int:
        wanted = select(message.c.id).where(visibility.readable(viewer, sharers=sharers))
        return len(tx.execute(wanted).all())

    assert await office.store.read(look) == 0


async def test_i16_a_deactivated_users_mail_is_hidden_until_they_are_back(office: Office) -> None:
    mail = await office.mail(office.anna)
    await office.store.write(people.deactivate, office.org.id, office.anna.id)
    assert await office.seen(office.as_(office.berta)) == set()
    assert await office.seen(office.as_(office.anna)) == set()
    assert await office.seen(office.machine) == {mail}
    await office.store.write(people.update_user, replace(office.anna, active=True))
    assert await office.seen(office.as_(office.berta)) == {mail}
    assert await office.seen(office.as_(office.anna)) == {mail}


async def test_w09_another_organisation_sees_nothing(office: Office) -> None:
    mail = await office.mail(office.anna)
    other = await factory.org(office.store, office.clock, domains=("other.example",))
    eve = await factory.user(office.store, office.clock, other, "eve@other.example")
    for viewer in (Viewer(org=other.id, user=eve.id), Viewer(org=other.id), Viewer(org=other.id, all=True)):
        assert await office.seen(viewer) == set()
        with pytest.raises(Unknown):
            await office.store.read(visibility.check, viewer, mail)
    # A user's id of one organisation is worth nothing in the other.
    assert await office.seen(Viewer(org=office.org.id, user=eve.id)) == set()


async def test_i16_a_former_addresss_mail_stays_or_goes_and_comes_back_with_the_address(office: Office) -> None:
    contact = await factory.record(
        office.store, office.clock, office.org, "contact/1", addresses=("bob@customer.test",)
    )
    mail = await office.mail(office.anna)
    await office.link(mail, "contact/1", key="bob@customer.test")

    async def on_it() -> list[str]:
        found = await office.store.read(links.of_record, office.org.id, contact.ref, viewer=office.everybody)
        return [one.message for one in found]

    await office.store.write(records.upsert, replace(contact, addresses=()))
    assert await on_it() == [mail]
    await office.settings(keep_former_mail=False)
    assert await on_it() == []
    await office.store.write(records.upsert, contact)
    assert await on_it() == [mail]


async def test_the_conditions_read_no_table_from_end_to_end(office: Office) -> None:
    await office.share(office.anna, Sharing.CUSTOM, "lawyers.test")
    mail = await office.mail(office.anna)
    async with watched(office.store) as watch:
        for viewer in (office.as_(office.berta), office.everybody):
            await office.store.read(visibility.of_these, viewer, [mail])
            await office.store.read(links.of_record, office.org.id, RecordRef("contact", "1"), viewer=viewer)
    watch.check()


@pytest.mark.parametrize("looked_at", [newest.LOOKED_AT, 5])
async def test_i16_pages_of_the_newest_are_what_may_be_seen_whatever_the_way(
    office: Office, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    monkeypatch.setattr(newest, "LOOKED_AT", looked_at)
    chance = random.Random(16)
    await factory.record(office.store, office.clock, office.org, "contact/1")
    carla = await factory.user(office.store, office.clock, office.org, "carla@example.com")
    await office.share(office.anna, Sharing.PRIVATE)
    await office.share(carla, Sharing.CUSTOM, "lawyers.test")
    of_carla = (office.org.id, carla.id, RecordRef("contact", "1"))
    await office.store.write(sharing.choose, *of_carla, by="test", at=office.clock.now())
    users = (office.anna, office.anna, office.anna, office.berta, carla, None)
    for _ in range(60):
        address = chance.choice(["bob@customer.test", "eve@lawyers.test"])
        mail = await office.mail(*{chance.choice(users), chance.choice(users)}, address=address)
        if chance.random() < 0.3:
            await office.link(mail, "contact/1")
    for viewer in (office.everybody, office.as_(office.anna), office.as_(carla), office.machine):
        expected = sorted(await office.seen(viewer), reverse=True)  # ids are in the order of time
        for limit in (1, 7, 100):
            found: list[MessageId] = []
            before = None
            while page := await office.store.read(newest.seen_by, viewer, before=before, limit=limit):
                found += [one.id for one in page]
                before = Place(page[-1].received_at, page[-1].id)
                assert len(found) <= 60
            assert found == expected


async def test_i16_one_mail_among_very_many_that_are_hidden_is_found_at_once(office: Office) -> None:
    await office.share(office.anna, Sharing.PRIVATE)
    mail = await office.mail(office.berta)
    number = 5_000

    def many(tx: Tx) -> None:
        pattern = tx.execute(select(message).where(message.c.id == mail)).one()._asdict()
        ids = factory.ids(office.clock)
        new = [ids.message() for _ in range(number)]
        at = pattern["received_at"] + 1
        tx.execute(
            message.insert(),
            [
                {**pattern, "id": one, "message_id": one, "digest": one, "received_at": at + place}
                for place, one in enumerate(new)
            ],
        )
        tx.execute(
            message_source.insert(),
            [
                {
                    "message": one,
                    "arrival": one,
                    "org": office.org.id,
                    "channel": Channel.DROPBOX,
                    "user": office.anna.id,
                    "at": at,
                    "received_at": at + place,
                }
                for place, one in enumerate(new)
            ],
        )

    await office.store.write(many)
    with counted(office.store) as ran:
        (found,) = await office.store.read(newest.seen_by, office.as_(office.berta))
    assert found.id == mail
    assert len(ran) < 12
    async with watched(office.store) as watch:
        await office.store.read(newest.seen_by, office.as_(office.berta))
    watch.check()
