"""What hosts' TLS was like, and MTA-STS policies, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailrelay.model.sts import KeptPolicy, Mode, Policy
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.store import sts_policies, tls_memory
from tests.store.explain import AnyStore
from tests.support.clock import START, FakeClock


def host(name: str = "mx.b.test", ip: str = "192.0.2.1", **more: object) -> HostTls:
    fields: dict[str, object] = {
        "level": TlsLevel.CLEAR,
        "protocol": "",
        "reason": "the server does not offer STARTTLS",
        "since": START,
        "seen_at": START,
        "look_at": None,
    }
    return HostTls(host=name, ip=ip, port=25, **{**fields, **more})  # type: ignore[arg-type]


async def test_hosts_are_remembered_listed_by_pages_and_forgotten(store: AnyStore):
    seen = [host(f"mx{at}.b.test", ip) for at in range(3) for ip in ("192.0.2.1", "2001:db8::1")]
    seen[2] = replace(seen[2], level=TlsLevel.VERIFIED, protocol="TLSv1.3", reason="", look_at=START)
    await store.write(tls_memory.put, seen, now=START)
    await store.write(tls_memory.put, [replace(seen[0], reason="now another")], now=START)
    first = await store.read(tls_memory.list_all, after=None, limit=4)
    rest = await store.read(tls_memory.list_all, after=(first[-1].host, first[-1].ip, 25), limit=4)
    assert [*first, *rest] == [replace(seen[0], reason="now another"), *seen[1:]]
    assert await store.read(tls_memory.list_all, after=None, limit=9, level=TlsLevel.VERIFIED) == (seen[2],)
    assert await store.read(tls_memory.get, "mx1.b.test", "192.0.2.1", 25) == seen[2]
    assert await store.read(tls_memory.of_hosts, ["mx1.b.test", "mx9.b.test"]) == tuple(seen[2:4])
    assert await store.write(tls_memory.forget, "mx1.b.test") == 2
    assert await store.read(tls_memory.get, "mx1.b.test", "192.0.2.1", 25) is None


async def test_what_was_not_seen_for_a_season_is_forgotten(store: AnyStore):
    await store.write(tls_memory.put, [host()], now=START)
    later = START + timedelta(days=91)
    await store.write(tls_memory.put, [host("other.test", seen_at=later)], now=later)
    found = await store.read(tls_memory.list_all, after=None, limit=9)
    assert [one.host for one in found] == ["other.test"]


async def test_policies_are_kept_and_go_when_they_hold_no_more(store: AnyStore):
    policy = Policy(mode=Mode.ENFORCE, max_age=timedelta(days=1), mx=("*.b.test", "mx.c.test"))
    one = KeptPolicy(domain="b.test", id="1", policy=policy, fetched_at=START)
    await store.write(sts_policies.put, one, now=START)
    newer = replace(one, id="2", policy=replace(policy, mode=Mode.TESTING))
    await store.write(sts_policies.put, newer, now=START)
    assert await store.read(sts_policies.get, "b.test") == newer
    later = START + timedelta(days=2)
    await store.write(sts_policies.put, replace(one, domain="c.test", fetched_at=later), now=later)
    assert await store.read(sts_policies.get, "b.test") is None
    assert await store.read(sts_policies.get, "c.test") is not None


async def test_the_memory_writes_at_a_change_and_knows_it_after_a_restart(store: AnyStore):
    clock = FakeClock()
    place = ("mx.b.test", "192.0.2.1", 25)
    memory = TlsMemory(clock, store)
    assert await memory.recall(place) is None
    fell = await memory.note(place, TlsLevel.UNVERIFIED, protocol="TLSv1.3", reason="expired", fell=True)
    assert fell.look_at == clock.now() + timedelta(hours=1)
    clock.advance(timedelta(minutes=10))
    again = await memory.note(place, TlsLevel.UNVERIFIED, protocol="TLSv1.3", reason="expired", fell=False)
    assert again is fell  # nothing new, nothing written
    await memory.close()
    after = TlsMemory(clock, store)
    assert await after.recall(place) == fell
    clock.advance(timedelta(days=2))
    seen = await after.note(place, TlsLevel.VERIFIED, protocol="TLSv1.3", reason="", fell=False)
    assert (seen.since, seen.look_at) == (clock.now(), None)
    clock.advance(timedelta(days=2))
    same = await after.note(place, TlsLevel.VERIFIED, protocol="TLSv1.3", reason="", fell=False)
    assert (same.since, same.seen_at) == (seen.since, clock.now())  # once a day, so that it is not forgotten
    assert await after.forget("mx.b.test") in (0, 1)
    assert await after.recall(place) is None
    await after.close()
    assert await store.read(tls_memory.list_all, after=None, limit=9) == ()
