"""Erasing a person piece by piece, on either database (T13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from mailrelay.ids import HitId
from mailrelay.model.event import EventType
from mailrelay.model.hit import HitKind
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import erased, erasures, events, hit_taking, suppressions
from mailrelay.store.base import Store, Tx
from mailrelay.tracking import agent
from tests.support import tracked
from tests.support.clock import FakeClock
from tests.support.tracked import a_hit

BOB = "bob@customer.test"


async def test_fault_t13_each_piece_may_be_done_again(store: Store, clock: FakeClock) -> None:
    whose = await tracked.house(store, clock)
    org = whose.org.id
    (of,) = await tracked.sent(store, clock, whose, BOB)
    new = [a_hit(clock, of), a_hit(clock, of, HitKind.CLICK)]
    await store.write(hit_taking.take, HitId("B1"), new, told=(), judge=agent.judge, now=clock.now())
    for _ in range(2):
        clock.advance(timedelta(seconds=1))
        await store.write(
            suppressions.suppress,
            org=org,
            key=BOB,
            reason=SuppressionReason.COMPLAINT,
            evidence=BOB,
            now=clock.now(),
        )
        begun = await store.write(erasures.begin, org, BOB, at=clock.now(), by="operator")
        piece = await store.write(erasures.forget_deliveries, org, BOB, after="")
        assert (await store.write(erasures.forget_deliveries, org, BOB, after=piece.after)).after == ""
        upto, _ = await store.write(erasures.forget_events, org, BOB, after=0)
        assert upto == await store.read(events.newest, org)
        stays = await store.write(erasures.end, org, BOB, at=clock.now(), by="operator")
        assert (stays.deliveries, stays.messages, stays.records) == (1, 0, 0)
    assert (begun.suppressions, begun.consents, piece.hits, piece.events) == (0, 0, 0, 0)
    (held,) = await store.read(suppressions.holding, org, [BOB])
    assert (held.key, held.erased, held.evidence) == (BOB, True, "")
    told = await store.read(events.after, org, 0, limit=100)
    assert BOB not in repr(told)
    assert [one.type for one in told].count(EventType.PERSON_ERASED) == 2
    clock.advance(timedelta(seconds=1))
    (lifted,) = await store.write(suppressions.lift, org, BOB, by="anna", now=clock.now())
    assert lifted.lifted_at is not None
    assert await store.read(suppressions.holding, org, [BOB]) == ()


async def test_fault_t13_who_was_erased_is_known_by_a_former_secret_until_that_is_taken_off(
    store: Store, clock: FakeClock
) -> None:
    org = (await tracked.house(store, clock)).org.id
    old, new = b"the first secret", b"the second"

    def under(*secrets: bytes) -> Callable[..., Any]:
        def call(tx: Tx, fn: Callable[..., Any], *given: Any, **more: Any) -> Any:
            tx.secrets = secrets
            return fn(tx, *given, **more)

        return call

    complaint = {"org": org, "key": BOB, "reason": SuppressionReason.COMPLAINT, "evidence": BOB, "now": clock.now()}
    await store.write(suppressions.suppress, **complaint)
    await store.write(under(old), erasures.begin, org, BOB, at=clock.now(), by="operator")
    erased_at = {(org, BOB): clock.now()}
    for secrets, known in (((old,), True), ((new, old), True), ((new,), False)):
        held = await store.read(under(*secrets), suppressions.holding, org, [BOB])
        assert [one.erased for one in held] == [True] * known
        assert await store.read(under(*secrets), erased.since, [(org, BOB)]) == (erased_at if known else {})
    # Erased once more since then, they are known by either; and what is lifted is lifted under both.
    clock.advance(timedelta(seconds=1))
    await store.write(suppressions.suppress, **{**complaint, "now": clock.now()})
    await store.write(under(new, old), erasures.begin, org, BOB, at=clock.now(), by="operator")
    assert await store.read(under(new, old), erased.since, [(org, BOB)]) == {(org, BOB): clock.now()}
    assert await store.write(under(new, old), suppressions.lift, org, BOB, by="anna", now=clock.now())
    assert await store.read(under(new, old), suppressions.holding, org, [BOB]) == ()
