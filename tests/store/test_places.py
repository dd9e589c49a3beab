"""Shared addresses, addresses of records and who uses secret ones ask no large table from end to end (I13, I21)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailrelay.model.address import Address
from mailrelay.store import filing_addresses, organisation_addresses, uses
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock


async def test_their_statements_use_indexes(store: AnyStore) -> None:
    clock = FakeClock()
    async with watched(store) as watch:
        org = await factory.org(store, clock, domains=("acme.test",))
        await factory.record(store, clock, org, "contact/1")
        shared = await factory.organisation_address(store, clock, org, "support@acme.test")
        asked = [shared.address, Address("support+x", "acme.test"), Address("postmaster", "acme.test")]
        asked += [Address("x", "acme.test"), Address("x", "elsewhere.test"), Address("info", "in.test")]
        found = await store.read(organisation_addresses.opened_by, asked, domains=("in.test",))
        opened, closed = organisation_addresses.Opened, organisation_addresses.Closed
        ours = opened(org=org.id, shared=shared.id)
        master = opened(org=org.id, shared=None)
        assert found == [ours, ours, master, closed.NOBODY, closed.ELSEWHERE, closed.NOBODY]
        assert await store.read(organisation_addresses.find, {shared.address.key}) == (shared,)
        assert await store.read(organisation_addresses.list_addresses, org.id, after="A") == (shared,)
        await store.write(organisation_addresses.change, shared, by="U1", at=clock.now())
        await store.write(organisation_addresses.remove, org.id, shared.id, by="U1", at=clock.now())
        assert await store.read(organisation_addresses.find, {shared.address.key}) == ()
        again = await factory.organisation_address(store, clock, org, "support@acme.test")
        assert again.id != shared.id

        first = await factory.record_address(store, clock, org, "contact/1")
        second = await store.write(filing_addresses.regenerate, first, first, old_until=clock.now() + timedelta(days=1))
        assert second.number == 2
        assert await store.read(filing_addresses.list_addresses, org.id, record=first.record, after=1) == (second,)
        (over,) = await store.read(filing_addresses.ended, since=clock.now() - timedelta(minutes=1))
        assert (over.number, over.holds(clock.now())) == (1, True)

        async def write_two() -> None:
            def note(tx) -> None:  # type: ignore[no-untyped-def]
                for number in (1, 2):
                    uses.note(tx, org.id, uses.of_record_address(number), Address("bob", "x.test"), now=clock.now())

            await store.write(note)

        await write_two()
        await write_two()
        (used,) = await store.read(uses.list_uses, org.id, "r1")
        assert used.count == 2
    watch.check()


async def test_an_overlap_ends_with_the_address_itself_at_the_latest(store: AnyStore) -> None:
    clock = FakeClock()
    org = await factory.org(store, clock, domains=("acme.test",))
    await factory.record(store, clock, org, "contact/1")
    over_at = clock.now() + timedelta(days=2)
    old = await factory.record_address(store, clock, org, "contact/1", until=over_at)
    new = replace(old, until=None)
    made = await store.write(filing_addresses.regenerate, old, new, old_until=clock.now() + timedelta(days=7))
    assert made.number == 2
    old = await store.read(filing_addresses.get, org.id, old.number)
    assert (old.valid_until, old.ended_by != "") == (over_at, True)
    assert not await store.write(filing_addresses.end, old, until=over_at, by="U1", at=clock.now())
    assert await store.write(filing_addresses.end, old, until=clock.now(), by="U1", at=clock.now())
    assert not (await store.read(filing_addresses.get, org.id, old.number)).holds(clock.now())
