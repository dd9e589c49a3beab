"""Records: kept, changed, found by address and by link, and created once for a new correspondent (I4, I6, I7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mailrelay.errors import Conflict, Invalid, Stale, Unknown
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Organisation
from mailrelay.model.record import STANDARD_MODULES, AddressField, AddressKind, Record
from mailrelay.smtp.address import parse_address
from mailrelay.store import events, matches, modules, records
from mailrelay.store.base import Store
from mailrelay.store.records import Change
from tests.support import factory
from tests.support.clock import FakeClock


@pytest.fixture
async def org(store: Store, clock: FakeClock) -> Organisation:
    return await factory.org(store, clock)


async def test_an_organisation_begins_with_the_standard_modules(store: Store, org: Organisation) -> None:
    known = {module.name: module for module in await store.read(modules.list_modules, org.id)}
    assert {name: module.label for name, module in known.items()} == dict(STANDARD_MODULES)
    assert not any(module.custom for module in known.values())
    assert [field.name for field in known["lead"].address_fields] == ["email", "secondary_email"]
    assert [field.kind for field in known["account"].address_fields] == [AddressKind.PRIMARY]
    assert known["deal"].address_fields == ()


async def test_a_custom_module_reads_as_it_was_kept(store: Store, org: Organisation) -> None:
    tenant = await factory.module(store, org, "tenant", "office", "home", matched=False)
    assert await store.read(modules.get, org.id, "tenant") == tenant
    with pytest.raises(Unknown):
        await store.read(modules.get, org.id, "landlord")


async def test_a_record_reads_as_it_was_kept(store: Store, clock: FakeClock, org: Organisation) -> None:
    anna = await factory.user(store, clock, org)
    kept = await factory.record(
        store,
        clock,
        org,
        "contact/17",
        name="Zoë O'Hara",
        addresses=("Zoe@customer.test", factory.address('"a@b"@old.test', "secondary_email")),
        owner=anna,
        links={"account": "account/3"},
        fields={"phone": "+49 30 1", "note": '{"a": 1}', "empty": ""},
    )
    assert await store.read(records.get, org.id, kept.ref) == kept
    assert await store.read(records.get_many, org.id, [kept.ref, factory.ref("lead/17")]) == (kept,)
    with pytest.raises(Unknown, match="lead/17"):
        await store.read(records.get, org.id, factory.ref("lead/17"))


async def test_upsert_says_what_changed_and_keeps_the_origin(store: Store, clock: FakeClock, org: Organisation) -> None:
    old = factory.a_record(clock, org, "lead/1", addresses=("a@x.test",), source="dropbox")
    assert await store.write(records.upsert, old) is Change.CREATED
    clock.advance(timedelta(days=1))
    same = factory.a_record(clock, org, "lead/1", addresses=("a@x.test",), source="bulk")
    assert await store.write(records.upsert, same) is Change.UNCHANGED
    assert await store.read(records.get, org.id, old.ref) == old
    new = replace(same, name="Renamed")
    assert await store.write(records.upsert, new) is Change.UPDATED
    assert await store.read(records.get, org.id, old.ref) == replace(old, name="Renamed", updated_at=clock.now())


async def test_many_are_kept_at_once_the_last_of_a_pair_staying(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    first = factory.a_record(clock, org, "lead/1", addresses=("a@x.test",))
    second = factory.a_record(clock, org, "account/1", addresses=("b@x.test",))
    third = replace(first, name="Later")
    assert await store.write(records.upsert_many, []) == ()
    changes = await store.write(records.upsert_many, [first, second, first, third])
    assert changes == (Change.CREATED, Change.CREATED, Change.UNCHANGED, Change.UPDATED)
    assert await store.read(records.get_many, org.id, [first.ref, second.ref]) == (second, third)


async def test_many_are_kept_all_or_none(store: Store, clock: FakeClock, org: Organisation) -> None:
    good = factory.a_record(clock, org, "lead/1")
    with pytest.raises(Invalid, match="no module vehicle"):
        await store.write(records.upsert_many, [good, factory.a_record(clock, org, "vehicle/1")])
    with pytest.raises(Invalid, match="deal has no address field email"):
        await store.write(records.upsert_many, [good, factory.a_record(clock, org, "deal/1", addresses=("a@x.test",))])
    assert await store.read(records.list_records, org.id, "lead") == ()


async def test_an_address_that_changes_is_found_under_the_new_one_only(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    old = await factory.record(
        store, clock, org, "contact/1", addresses=("old@x.test", factory.address("k@x.test", "secondary_email"))
    )
    await store.write(records.upsert, replace(old, addresses=(factory.address("new@y.test"), old.addresses[1])))
    found = await store.read(matches.by_addresses, org.id, ["old@x.test", "new@y.test", "k@x.test"])
    assert [(match.key, match.field) for match in found] == [("k@x.test", "secondary_email"), ("new@y.test", "email")]
    assert await store.read(matches.by_domains, org.id, "contact", ["y.test"]) == (found[1],)


async def test_i04_addresses_are_found_over_all_modules_in_any_case(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    anna = await factory.user(store, clock, org)
    other = await factory.org(store, clock)
    await factory.module(store, org, "tenant", "office", matched=False)
    await factory.record(store, clock, org, "contact/1", addresses=("Bob@X.test",), owner=anna, name="Bob")
    await factory.record(store, clock, org, "lead/1", addresses=(factory.address("bob@x.test", "secondary_email"),))
    await factory.record(store, clock, org, "tenant/1", addresses=(factory.address("bob@x.test", "office"),))
    await factory.record(store, clock, org, "lead/2", addresses=("carl@x.test",))
    await factory.record(store, clock, other, "lead/3", addresses=("bob@x.test",))
    found = await store.read(matches.by_addresses, org.id, ["bob@x.test", "dora@x.test"])
    assert [(str(match.ref), match.kind, match.matched, match.owner) for match in found] == [
        ("contact/1", AddressKind.PRIMARY, True, anna.id),
        ("lead/1", AddressKind.SECONDARY, True, None),
        ("tenant/1", AddressKind.CUSTOM, False, None),
    ]
    assert found[0].name == "Bob"


async def test_i04_a_fields_preference_reaches_the_records_that_are_there(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    tenant = await factory.module(store, org, "tenant", "office", matched=False)
    await factory.record(store, clock, org, "tenant/1", addresses=(factory.address("bob@x.test", "office"),))
    on = AddressField(name="office", kind=AddressKind.SECONDARY, matched=True)
    await store.write(modules.put, replace(tenant, address_fields=(on,)))
    (found,) = await store.read(matches.by_addresses, org.id, ["bob@x.test"])
    assert (found.kind, found.matched) == (AddressKind.SECONDARY, True)
    with pytest.raises(Conflict, match="office of tenant still holds addresses"):
        await store.write(modules.put, replace(tenant, address_fields=()))
    assert (await store.read(modules.get, org.id, "tenant")).address_fields == (on,)


async def test_i04_a_domain_is_matched_exactly_and_in_its_module(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    await factory.record(store, clock, org, "account/1", addresses=("info@customer.test",))
    await factory.record(store, clock, org, "account/2", addresses=("info@sub.customer.test",))
    await factory.record(store, clock, org, "lead/1", addresses=("bob@customer.test",))
    found = await store.read(matches.by_domains, org.id, "account", ["customer.test"])
    assert [str(match.ref) for match in found] == ["account/1"]


async def test_i07_links_are_followed_both_ways(store: Store, clock: FakeClock, org: Organisation) -> None:
    contact = await factory.record(store, clock, org, "contact/1", links={"account": "account/1", "boss": "contact/9"})
    await factory.record(store, clock, org, "account/1")
    await factory.record(store, clock, org, "deal/1", links={"contact": "contact/1"})
    await factory.record(store, clock, org, "deal/2", links={"contact": "contact/2"})
    await factory.record(store, clock, org, "quote/1", links={"contact": "contact/1"})
    found = await store.read(matches.related, org.id, [contact.ref])
    assert [(one.outgoing, one.role, str(one.ref)) for one in found] == [
        (True, "account", "account/1"),
        (False, "contact", "deal/1"),
        (False, "contact", "quote/1"),
    ]
    assert {one.of for one in found} == {contact.ref}
    deals = await store.read(matches.related, org.id, [contact.ref], role="contact", module="deal")
    assert [str(one.ref) for one in deals] == ["deal/1"]


async def test_records_are_listed_in_pages(store: Store, clock: FakeClock, org: Organisation) -> None:
    for number in (3, 1, 4, 2):
        await factory.record(store, clock, org, f"lead/{number}")
    await factory.record(store, clock, org, "contact/9")
    first = await store.read(records.list_records, org.id, "lead", limit=3)
    rest = await store.read(records.list_records, org.id, "lead", after=first[-1].ref.id, limit=3)
    assert [str(one.ref) for one in (*first, *rest)] == ["lead/1", "lead/2", "lead/3", "lead/4"]


async def test_a_removed_record_is_found_no_more(store: Store, clock: FakeClock, org: Organisation) -> None:
    gone = await factory.record(store, clock, org, "lead/1", addresses=("a@x.test",), links={"account": "account/1"})
    await store.write(records.remove, org.id, gone.ref, at=clock.now())
    assert await store.read(matches.by_addresses, org.id, ["a@x.test"]) == ()
    with pytest.raises(Unknown):
        await store.write(records.remove, org.id, gone.ref, at=clock.now())


def _newcomer(clock: FakeClock, org: Organisation, module: str = "lead") -> Record:
    return replace(
        factory.a_record(clock, org, f"{module}/new", name="New", addresses=("new@x.test",), source="dropbox"),
        ref=factory.ref(f"{module}/{factory.ids(clock).record()}"),
    )


async def test_i06_one_record_for_one_new_address_however_many_are_first(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    address = parse_address("New@x.test")
    made = await asyncio.gather(
        *(
            store.write(
                records.create_for_address,
                _newcomer(clock, org),
                address=address,
                known=(),
                now=clock.now(),
                queue_id="Q1",
            )
            for _ in range(100)
        ),
        return_exceptions=True,
    )
    assert sum(one is None for one in made) == 1
    assert sum(isinstance(one, Stale) for one in made) == 99
    (kept,) = await store.read(records.list_records, org.id, "lead")
    assert (kept.source, kept.name) == ("dropbox", "New")
    (event,) = await store.read(events.after, org.id, 0, limit=200)
    assert (event.type, event.queue_id) == (EventType.RECORD_CREATED, "Q1")
    assert dict(event.data)["record"] == str(kept.ref)


async def test_i06_a_record_that_was_seen_does_not_forbid_another(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    seen = await factory.record(store, clock, org, "vendor/1", addresses=("new@x.test",))
    address = parse_address("new@x.test")
    with pytest.raises(Stale):
        await store.write(records.create_for_address, _newcomer(clock, org), address=address, known=(), now=clock.now())
    await store.write(
        records.create_for_address, _newcomer(clock, org), address=address, known=(seen.ref,), now=clock.now()
    )
    assert len(await store.read(matches.by_addresses, org.id, ["new@x.test"])) == 2


async def test_i06_an_address_that_its_record_has_lost_is_new_again(
    store: Store, clock: FakeClock, org: Organisation
) -> None:
    address = parse_address("new@x.test")
    first = _newcomer(clock, org)
    await store.write(records.create_for_address, first, address=address, known=(), now=clock.now())
    await store.write(records.upsert, replace(first, addresses=(factory.address("moved@x.test"),)))
    await store.write(records.create_for_address, _newcomer(clock, org), address=address, known=(), now=clock.now())
    assert len(await store.read(records.list_records, org.id, "lead")) == 2
