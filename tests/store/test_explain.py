"""No statement of the store reads a large table from end to end, on either database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailrelay.ids import DeliveryId, DropboxId, OrgId, TokenId, UserId
from mailrelay.model.event import EventType
from mailrelay.model.notice import NoticeKind
from mailrelay.model.organisation import Exclusion, ExclusionKind
from mailrelay.model.sending import EVERYBODY, Scope, Sending
from mailrelay.model.sts import KeptPolicy, Mode, Policy
from mailrelay.model.suppression import SuppressionReason
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.smtp.address import parse_address
from mailrelay.store import (
    deliveries,
    dkim_keys,
    dropboxes,
    events,
    followers,
    matches,
    modules,
    organisations,
    people,
    records,
    sts_policies,
    suppressions,
    suspensions,
    tallies,
    tls_memory,
    tokens,
    user_notices,
    warnings,
)
from mailrelay.store.events import Wanted
from mailrelay.store.tables import event
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import START, FakeClock

JOB, DOMAIN = Sending(Scope.JOB, "spring"), Sending(Scope.DOMAIN, "a.test")
DESTINATION, SOURCE = Sending(Scope.DESTINATION, "b.test"), Sending(Scope.SOURCE, "one")
ORG, USER, KEYS = OrgId("O"), UserId("U"), ["a@x.test", "b@x.test"]
ANNA = Viewer(org=ORG, user=USER)
VIEWERS = (Viewer(org=ORG, all=True), ANNA, Viewer(org=ORG))
WANTED = (
    Wanted(),
    Wanted(types=frozenset({EventType.STORAGE_FULL})),
    Wanted(message="M"),
    Wanted(record="contact/1"),
    Wanted(user="U"),
)
HOST_TLS = HostTls(
    host="mx.b.test",
    ip="192.0.2.1",
    port=25,
    level=TlsLevel.CLEAR,
    protocol="",
    reason="",
    since=START,
    seen_at=START,
    look_at=None,
)
STS_POLICY = KeptPolicy(
    domain="b.test", id="1", policy=Policy(mode=Mode.NONE, max_age=timedelta(1), mx=()), fetched_at=START
)
REFS = [factory.ref("contact/1"), factory.ref("contact/2"), factory.ref("account/1")]

Statement = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Statement:
    return fn, args, kwargs


READS: tuple[Statement, ...] = (
    call(organisations.by_domain, "a.example"),
    call(organisations.excluded, ORG, keys=KEYS, domains=["x.test"]),
    call(organisations.exclusions, ORG),
    call(people.get_many, ORG, [USER]),
    call(people.list_users, ORG, after=USER),
    call(people.by_addresses, ORG, KEYS),
    call(people.by_address, "a@x.test"),
    call(dropboxes.by_token, "token", now=START),
    call(dropboxes.of_user, ORG, USER),
    call(tokens.by_secret, "00", now=START),
    call(tokens.list_tokens, ORG),
    call(modules.list_modules, ORG),
    call(records.get_many, ORG, REFS),
    call(records.list_records, ORG, "lead", after="1"),
    call(matches.by_addresses, ORG, KEYS),
    call(matches.by_domains, ORG, "account", ["x.test", "y.test"]),
    call(matches.related, ORG, REFS),
    call(matches.related, ORG, REFS, role="contact", module="deal"),
    call(suppressions.holding, ORG, KEYS),
    call(suppressions.history, ORG, "a@x.test"),
    call(suppressions.list_suppressions, ORG, after=("a", START), search="x"),
    call(
        suppressions.list_suppressions, ORG, after=("a", START), reason=SuppressionReason.LOCKED, lifted=True, limit=10
    ),
    call(deliveries.list_deliveries, ORG, job="spring"),
    call(deliveries.ends, ORG, "a@x.test", limit=10),
    call(deliveries.blamed, ORG, JOB, since=START),
    call(deliveries.blamed, ORG, DOMAIN, since=START),
    call(deliveries.count_held, ORG, JOB),
    call(deliveries.by_relay_ids, ORG, ["a-name-of-the-relay-1"]),
    call(suspensions.list_standing, ORG, after=JOB),
    call(suspensions.latest, ORG, [JOB, DOMAIN]),
    call(suspensions.history, ORG, JOB),
    call(suspensions.count),
    call(suspensions.counted, ORG, JOB, last=None, at=START),
    call(suspensions.counted, ORG, DOMAIN, last=None, at=START),
    call(suspensions.left_behind),
    call(suspensions.list_standing, EVERYBODY, after=DESTINATION),
    call(suspensions.count_held, ORG, DESTINATION),
    call(suspensions.count_held, EVERYBODY, DESTINATION),
    call(tallies.began, ORG, [JOB, DOMAIN]),
    call(tallies.list_sendings, ORG, domains_since=20_000, after=JOB),
    call(deliveries.to_address, ORG, "a@x.test", before=DeliveryId("D")),
    call(deliveries.to_address, ORG, "a@x.test", job="spring", limit=1),
    call(dkim_keys.active, "a.example", now=START),
    call(events.of_message, ORG, "M"),
    call(events.after, ORG, 0, limit=10),
    call(events.newest, ORG),
    *(call(events.stretch, one, 0, limit=10, wanted=wanted) for one in VIEWERS for wanted in WANTED),
    *(call(events.latest, one, 10, wanted=wanted) for one in VIEWERS for wanted in WANTED),
    call(followers.position, "w", ORG),
    call(followers.behind, "w", limit=10),
    call(user_notices.page, ANNA, USER, kinds=tuple(NoticeKind), before=9, unread=True, limit=10),
    call(user_notices.behind, ANNA, USER, 0, kinds=tuple(NoticeKind), limit=10),
    call(sts_policies.get, "b.test"),
    call(tls_memory.get, "mx.b.test", "192.0.2.1", 25),
    call(tls_memory.of_hosts, ["mx.b.test"]),
    call(tls_memory.list_all, after=("mx.b.test", "192.0.2.1", 25), limit=10),
)
"""What runs for a message, a login or a page; whoever adds a store function adds it here or watches it in their own test."""

WRITES: tuple[Statement, ...] = (
    call(followers.claim, "w", ORG),
    call(followers.advance, "w", ORG, 3),
    call(user_notices.mark_all_read, ANNA, USER, 0),
    call(organisations.exclude, ORG, Exclusion(kind=ExclusionKind.DOMAIN, value="x.test")),
    call(organisations.readmit, ORG, Exclusion(kind=ExclusionKind.DOMAIN, value="x.test")),
    call(dropboxes.disable, ORG, USER, now=START),
    call(dropboxes.touch, DropboxId("B"), now=START),
    call(suppressions.suppress, org=ORG, key="a@x.test", reason=SuppressionReason.LOCKED, evidence="", now=START),
    call(suppressions.lift, ORG, "a@x.test", by="U", now=START + timedelta(days=1)),
    call(suspensions.suspend, org=ORG, sending=JOB, reason="", evidence="", by="", at=START),
    call(suspensions.suspend, org=ORG, sending=DOMAIN, reason="", evidence="", by="", at=START),
    call(suspensions.suspend, org=ORG, sending=DESTINATION, reason="", evidence="", by="", at=START),
    call(suspensions.suspend, org=EVERYBODY, sending=DESTINATION, reason="", evidence="", by="", at=START),
    call(suspensions.suspend, org=EVERYBODY, sending=SOURCE, reason="", evidence="", by="", at=START),
    call(suspensions.covering, ORG, [JOB, DOMAIN, DESTINATION, SOURCE]),
    call(suspensions.resume, ORG, DESTINATION, by="U", at=START),
    call(suspensions.resume, EVERYBODY, DESTINATION, by="U", at=START),
    call(suspensions.release, ORG, DESTINATION, at=START),
    call(suspensions.resume, ORG, JOB, by="U", at=START),
    call(suspensions.resume, ORG, DOMAIN, by="U", at=START),
    call(suspensions.release, ORG, JOB, at=START),
    call(warnings.first_today, ORG, JOB, "bounces", day=20_000),
    call(deliveries.locked, DeliveryId("D")),
    call(deliveries.noticed, [DeliveryId("D")]),
    call(tls_memory.put, [HOST_TLS], now=START),
    call(tls_memory.forget, "mx.b.test"),
    call(sts_policies.put, STS_POLICY, now=START),
)


def _name(statement: Statement) -> str:
    return f"{statement[0].__module__.rpartition('.')[2]}.{statement[0].__name__}"


@pytest.mark.parametrize("statement", READS, ids=_name)
async def test_a_read_uses_an_index(store: AnyStore, statement: Statement) -> None:
    fn, args, kwargs = statement
    async with watched(store) as watch:
        await store.read(fn, *args, **kwargs)
    watch.check()


async def test_writes_use_an_index(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    async with watched(store) as watch:
        for fn, args, kwargs in WRITES:
            moved = tuple(org.id if arg == ORG else arg for arg in args)
            await store.write(fn, *moved, **{name: org.id if value == ORG else value for name, value in kwargs.items()})
    watch.check()


async def test_keeping_people_and_records_uses_an_index(store: AnyStore, clock: FakeClock) -> None:
    async with watched(store) as watch:
        org = await factory.org(store, clock)
        anna = await factory.user(store, clock, org)
        await store.write(people.update_user, anna)
        await factory.dropbox(store, clock, anna)
        one = await factory.record(store, clock, org, "lead/1", addresses=("a@x.test",), links={"account": "account/1"})
        new = factory.a_record(clock, org, "lead/2", addresses=("b@x.test",))
        await store.write(records.create_for_address, new, address=parse_address("b@x.test"), known=(), now=clock.now())
        await store.write(records.remove, org.id, one.ref, at=clock.now())
        token, _ = await factory.api_token(store, clock, org)
        await store.write(tokens.revoke, org.id, TokenId(token.id), now=clock.now())
    watch.check()


async def test_a_scan_is_noticed(store: AnyStore) -> None:
    async with watched(store) as watch:
        await store.read(lambda tx: tx.execute(select(event).where(event.c.at > 0)).all())
    assert watch.scans()
