"""Smart hosts of users and domains on both databases: whose is in force, one each, told once, found by index (O11, N11)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mailrelay.errors import Conflict, Unknown
from mailrelay.ids import OrgId, SmartHostId, UserId
from mailrelay.model.event import EventType
from mailrelay.model.smart_host import HostAuth, HostScope, HostTls, SmartHost
from mailrelay.store import events, smart_hosts
from mailrelay.store.base import Store
from tests.store.explain import watched
from tests.support.clock import START

ORG, OTHER, ANNA = OrgId("O1"), OrgId("O2"), UserId("U1")


def a_host(id_: str, scope: HostScope = HostScope.DOMAIN, name: str = "a.example", org: OrgId = ORG) -> SmartHost:
    return SmartHost(
        id=SmartHostId(id_),
        org=org,
        scope=scope,
        name=name,
        host="smtp.example",
        port=587,
        tls=HostTls.REQUIRED,
        auth=HostAuth.PASSWORD,
        username="relay",
        token_url="",
        client_id="",
        token_scope="",
        secret="1:sealed",
        created_at=START,
        created_by="operator",
    )


async def test_the_users_goes_before_the_domains_and_nobody_elses_counts(store: Store) -> None:
    domains, annas = a_host("H1"), a_host("H2", HostScope.USER, ANNA)
    for one in (domains, annas, a_host("H3", org=OTHER)):
        await store.write(smart_hosts.add, one)
    async with watched(store) as watch:
        assert await store.read(smart_hosts.of, ORG, ANNA, "a.example") == annas
        assert await store.read(smart_hosts.of, ORG, ANNA, "b.example") == annas
        assert await store.read(smart_hosts.of, ORG, UserId("U2"), "a.example") == domains
        assert await store.read(smart_hosts.of, ORG, None, "") is None
        assert await store.read(smart_hosts.list_hosts, ORG) == [domains, annas]
        assert await store.read(smart_hosts.list_hosts, ORG, user=ANNA) == [annas]
        assert await store.read(smart_hosts.list_hosts, ORG, after="H1", limit=1) == [annas]
    watch.check()
    with pytest.raises(Unknown):
        await store.read(smart_hosts.get, OTHER, annas.id)


async def test_of_two_that_are_added_at_once_one_is(store: Store) -> None:
    results = await asyncio.gather(
        *(store.write(smart_hosts.add, a_host(f"H{n}")) for n in range(4)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in results) == 3
    (made,) = await store.read(smart_hosts.list_hosts, ORG)
    await store.write(smart_hosts.remove, ORG, made.id, at=START)
    with pytest.raises(Unknown):
        await store.write(smart_hosts.remove, ORG, made.id, at=START)
    await store.write(smart_hosts.add, a_host("H9"))


async def test_fault_n11_its_refusal_is_told_once_until_it_works_again(store: Store) -> None:
    host = a_host("H1")
    await store.write(smart_hosts.add, host)

    async def told() -> int:
        found = await store.read(events.after, ORG, 0, limit=100)
        return sum(one.type is EventType.NEXT_HOP_PAUSED for one in found)

    assert await store.write(smart_hosts.refuses, host, "535 no", at=START)
    assert not await store.write(smart_hosts.refuses, host, "535 still no", at=START)
    shown = await store.read(smart_hosts.get, ORG, host.id)
    assert (shown.trouble, shown.trouble_since, await told()) == ("535 no", START, 1)
    await store.write(smart_hosts.works, host.id)
    assert await store.read(smart_hosts.get, ORG, host.id) == host
    assert await store.write(smart_hosts.refuses, host, "535 no", at=START)
    assert await told() == 2


async def test_new_secrets_do_not_overwrite_newer_ones(store: Store) -> None:
    host = a_host("H1")
    await store.write(smart_hosts.add, host)
    assert await store.write(smart_hosts.reseal, host.id, old="1:sealed", new="1:second")
    assert not await store.write(smart_hosts.reseal, host.id, old="1:sealed", new="1:late")
    assert await store.read(smart_hosts.get, ORG, host.id) == replace(host, secret="1:second")
