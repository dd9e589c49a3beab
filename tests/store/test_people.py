"""Organisations, users, dropboxes and tokens: what is kept, what is refused (I1, I2, I5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mailrelay.errors import Conflict, Invalid, NotPermitted, TooMany, Unknown
from mailrelay.ids import OrgId, TokenId, UserId, hash_secret, new_dropbox_token
from mailrelay.model.organisation import Exclusion, ExclusionKind, Right, Role
from mailrelay.model.settings import OrganisationSettings, SenderCheck, UserSettings
from mailrelay.model.settings import Unknown as UnknownBecomes
from mailrelay.smtp.address import parse_address
from mailrelay.store import dropboxes, organisations, people, tokens
from mailrelay.store.base import Store
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock


async def test_an_organisation_reads_as_it_was_kept(store: Store, clock: FakeClock) -> None:
    settings = OrganisationSettings(sender_check=SenderCheck.AUTHENTICATED, alternates_limit=2)
    org = await factory.org(store, clock, domains=("a.example", "b.example"), time_zone="Asia/Tokyo", settings=settings)
    assert await store.read(organisations.get, org.id) == org
    assert await store.read(organisations.list_organisations) == (org,)
    assert await store.read(organisations.by_domain, "b.example") == org.id
    assert await store.read(organisations.by_domain, "c.example") is None


async def test_an_organisation_changes_as_a_whole(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock, domains=("a.example", "b.example"))
    changed = replace(
        org, name="New", domains=("b.example", "c.example"), settings=OrganisationSettings(file_internal=True)
    )
    await store.write(organisations.update_organisation, changed)
    assert await store.read(organisations.get, org.id) == changed
    with pytest.raises(Unknown):
        await store.write(organisations.update_organisation, replace(changed, id=OrgId("O-none")))
    with pytest.raises(Unknown):
        await store.read(organisations.get, OrgId("O-none"))


async def test_a_domain_belongs_to_one_organisation_and_a_refusal_keeps_nothing(store: Store, clock: FakeClock) -> None:
    await factory.org(store, clock, domains=("a.example",))
    other = await factory.org(store, clock, domains=("b.example",))
    with pytest.raises(Conflict, match=r"a\.example belongs to another"):
        await factory.org(store, clock, domains=("c.example", "a.example"))
    with pytest.raises(Conflict):
        await store.write(organisations.update_organisation, replace(other, domains=("a.example",)))
    assert await store.read(organisations.by_domain, "c.example") is None
    assert await store.read(organisations.by_domain, "b.example") == other.id


async def test_the_exclude_list_is_exact(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    other = await factory.org(store, clock)
    address = Exclusion(kind=ExclusionKind.ADDRESS, value="news@shop.test")
    domain = Exclusion(kind=ExclusionKind.DOMAIN, value="bank.test")
    for entry in (domain, address, address):
        await store.write(organisations.exclude, org.id, entry)
    assert await store.read(organisations.exclusions, org.id) == (address, domain)
    assert await store.read(organisations.exclusions, other.id) == ()
    found = await store.read(
        organisations.excluded, org.id, keys=["news@shop.test", "bank.test"], domains=["bank.test", "shop.test"]
    )
    assert found == (address, domain)
    await store.write(organisations.readmit, org.id, address)
    assert await store.read(organisations.exclusions, org.id) == (domain,)


async def test_a_user_reads_as_they_were_kept(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    settings = UserSettings(modules=("lead",), unknown=UnknownBecomes.NOTHING)
    anna = await factory.user(
        store,
        clock,
        org,
        "Anna@a.example",
        alternates=("z@x.test", '"a@b"@y.test', "b@x.test"),
        role=Role.ADMINISTRATOR,
        settings=settings,
    )
    assert await store.read(people.get, org.id, anna.id) == anna
    changed = replace(anna, name="Ann", primary=anna.alternates[0], alternates=(anna.primary,), role=Role.USER)
    await store.write(people.update_user, changed)
    assert await store.read(people.get, org.id, anna.id) == changed
    assert await store.read(people.by_addresses, org.id, ["b@x.test"]) == ()
    with pytest.raises(Unknown):
        await store.write(people.update_user, replace(changed, id=UserId("U-none")))


async def test_a_user_of_one_organisation_is_unknown_to_another(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    other = await factory.org(store, clock)
    anna = await factory.user(store, clock, org, "anna@shared.test")
    twin = await factory.user(store, clock, other, "anna@shared.test")
    with pytest.raises(Unknown):
        await store.read(people.get, other.id, anna.id)
    with pytest.raises(Unknown):
        await store.write(people.deactivate, other.id, anna.id)
    assert await store.read(people.by_addresses, org.id, ["anna@shared.test"]) == (anna,)
    assert {login.user for login in await store.read(people.by_address, "anna@shared.test")} == {anna, twin}


async def test_an_address_belongs_to_one_user(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await factory.user(store, clock, org, "anna@a.example", alternates=("a2@x.test",))
    with pytest.raises(Conflict, match=r"A2@x\.test is an address of another user|a2@x\.test is an address"):
        await factory.user(store, clock, org, "bea@a.example", alternates=("A2@X.test",))
    with pytest.raises(Invalid, match="given twice"):
        await factory.user(store, clock, org, "bea@a.example", alternates=("BEA@a.example",))
    assert await store.read(people.by_addresses, org.id, ["bea@a.example"]) == ()


async def test_i02_alternates_end_at_the_organisations_limit(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock, settings=OrganisationSettings(alternates_limit=2))
    anna = await factory.user(store, clock, org, alternates=("a@x.test", "b@x.test"))
    with pytest.raises(TooMany) as refused:
        await store.write(people.update_user, replace(anna, alternates=(*anna.alternates, parse_address("c@x.test"))))
    assert (refused.value.limit, refused.value.count) == (2, 3)
    assert await store.read(people.get, org.id, anna.id) == anna


async def test_users_are_listed_in_pages(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    users = []
    for _ in range(5):
        clock.advance(timedelta(seconds=1))
        users.append(await factory.user(store, clock, org))
    first = await store.read(people.list_users, org.id, limit=3)
    rest = await store.read(people.list_users, org.id, after=first[-1].id, limit=3)
    assert [*first, *rest] == users


async def test_login_is_for_active_users_with_their_password(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org, "anna@a.example", alternates=("a2@x.test",), password="stored-form")
    for key in ("anna@a.example", "a2@x.test"):
        (login,) = await store.read(people.by_address, key)
        assert (login.user, login.password) == (anna, "stored-form")
        assert "stored-form" not in repr(login)
    await store.write(people.set_password, org.id, anna.id, None)
    assert (await store.read(people.by_address, "a2@x.test"))[0].password is None
    await store.write(people.deactivate, org.id, anna.id)
    assert await store.read(people.by_address, "anna@a.example") == ()
    assert not (await store.read(people.get, org.id, anna.id)).active


async def test_i01_a_dropbox_opens_by_its_token(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    box = await factory.dropbox(store, clock, anna)
    assert await store.read(dropboxes.by_token, box.token, now=clock.now()) == (box, anna, org)
    clock.advance(timedelta(hours=1))
    await store.write(dropboxes.touch, box.id, now=clock.now())
    (kept,) = await store.read(dropboxes.of_user, org.id, anna.id)
    assert kept == replace(box, last_used_at=clock.now())


async def test_i21_a_use_is_noted_at_most_once_an_hour(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    box = await factory.dropbox(store, clock, anna)
    first = clock.now()
    noted = []
    for minutes in (0, 59, 1, 30):
        clock.advance(timedelta(minutes=minutes))
        await store.write(dropboxes.touch, box.id, now=clock.now())
        noted.append((await store.read(dropboxes.of_user, org.id, anna.id))[0].last_used_at)
    assert noted == [first, first, first + timedelta(hours=1), first + timedelta(hours=1)]


async def test_i01_nobody_has_two_dropboxes_and_guests_none(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    guest = await factory.user(store, clock, org, role=Role.GUEST)
    gone = await factory.user(store, clock, org, active=False)
    anna = await factory.user(store, clock, org)
    await factory.dropbox(store, clock, anna)
    for nobody in (guest, gone):
        with pytest.raises(NotPermitted):
            await factory.dropbox(store, clock, nobody)
    with pytest.raises(Conflict):
        await factory.dropbox(store, clock, anna)


async def test_i01_two_dropboxes_made_at_once_are_one(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    made = await asyncio.gather(*(factory.dropbox(store, clock, anna) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in made) == 7
    assert len(await store.read(dropboxes.of_user, org.id, anna.id)) == 1


async def test_i01_regenerating_stops_the_old_dropbox_at_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    old = await factory.dropbox(store, clock, anna)
    new = replace(old, id=factory.ids(clock).dropbox(), token=new_dropbox_token())
    await store.write(dropboxes.regenerate, new, old_until=clock.now())
    assert await store.read(dropboxes.by_token, old.token, now=clock.now()) is None
    assert await store.read(dropboxes.by_token, new.token, now=clock.now()) == (new, anna, org)


async def test_i21_a_regenerated_dropbox_may_overlap_and_a_disabled_one_does_not(
    store: Store, clock: FakeClock
) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    old = await factory.dropbox(store, clock, anna)
    new = replace(old, id=factory.ids(clock).dropbox(), token=new_dropbox_token())
    until = clock.now() + timedelta(days=7)
    await store.write(dropboxes.regenerate, new, old_until=until)
    found = await store.read(dropboxes.by_token, old.token, now=until - timedelta(seconds=1))
    assert found is not None
    assert found[0] == replace(old, valid_until=until)
    assert await store.read(dropboxes.by_token, old.token, now=until) is None
    assert await store.write(dropboxes.disable, org.id, anna.id, now=clock.now()) == 2
    for token in (old.token, new.token):
        assert await store.read(dropboxes.by_token, token, now=clock.now()) is None


async def test_i01_unknown_and_revoked_tokens_cost_the_same_statements(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    box = await factory.dropbox(store, clock, anna)
    await store.write(dropboxes.disable, org.id, anna.id, now=clock.now())
    async with watched(store) as revoked:
        assert await store.read(dropboxes.by_token, box.token, now=clock.now()) is None
    async with watched(store) as unknown:
        assert await store.read(dropboxes.by_token, "a" * 26, now=clock.now()) is None
    assert [statement for statement, _ in revoked.plans] == [statement for statement, _ in unknown.plans]
    assert len(revoked.plans) == 1


async def test_i01_a_dropbox_ends_with_its_user_and_role(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    box = await factory.dropbox(store, clock, anna)
    await store.write(people.update_user, replace(anna, role=Role.GUEST))
    assert await store.read(dropboxes.by_token, box.token, now=clock.now()) is None
    await store.write(people.update_user, anna)
    assert await store.read(dropboxes.by_token, box.token, now=clock.now()) is not None
    await store.write(people.deactivate, org.id, anna.id)
    assert await store.read(dropboxes.by_token, box.token, now=clock.now()) is None


async def test_a_token_opens_by_its_secret_until_it_is_revoked(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    token, secret = await factory.api_token(store, clock, org, Right.SEND, Right.READ, on_behalf_of=anna)
    admin, admin_secret = await factory.api_token(store, clock, org)
    assert await store.read(tokens.by_secret, hash_secret(secret), now=clock.now()) == token
    assert await store.read(tokens.by_secret, hash_secret(secret + "x"), now=clock.now()) is None
    assert set(await store.read(tokens.list_tokens, org.id)) == {token, admin}
    await store.write(tokens.revoke, org.id, admin.id, now=clock.now())
    clock.advance(timedelta(days=1))
    await store.write(tokens.revoke, org.id, admin.id, now=clock.now())
    assert await store.read(tokens.by_secret, hash_secret(admin_secret), now=clock.now()) is None
    revoked = [one.revoked_at for one in await store.read(tokens.list_tokens, org.id) if one.id == admin.id]
    assert revoked == [clock.now() - timedelta(days=1)]
    with pytest.raises(Unknown):
        await store.write(tokens.revoke, org.id, TokenId("T-none"), now=clock.now())


async def test_a_token_ends_with_its_user(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org)
    _, secret = await factory.api_token(store, clock, org, on_behalf_of=anna)
    await store.write(people.deactivate, org.id, anna.id)
    assert await store.read(tokens.by_secret, hash_secret(secret), now=clock.now()) is None
