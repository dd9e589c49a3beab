"""What is done once by a key, and changed only as it was seen, also where several do it at the same moment; on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from pydantic import BaseModel

from mailrelay.errors import Outdated
from mailrelay.ids import OrgId
from mailrelay.store import given_answers, organisations
from mailrelay.store.base import Store, Tx
from mailrelay.store.given_answers import KEPT, GivenAnswer
from mailrelay.web import etag
from mailrelay.web.etag import Seen
from tests.support import factory
from tests.support.clock import FakeClock


def _answer(sha256: str) -> GivenAnswer:
    return GivenAnswer(request_sha256=sha256, status=201, body="{}", location="/x", etag='"1"')


async def test_of_many_with_one_key_one_does_it_and_the_others_have_its_answer(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    done: list[int] = []

    def make(tx: Tx, number: int) -> int | None:
        known = given_answers.take(tx, org.id, "U1", "key", "same", now=clock.now())
        if known is not None:
            assert known == _answer("same")
            return None
        given_answers.keep(tx, org.id, "U1", "key", _answer("same"))
        return number

    found = await asyncio.gather(*(store.write(make, number) for number in range(12)))
    done = [one for one in found if one is not None]
    assert len(done) == 1


async def test_a_key_is_forgotten_in_time_and_not_before(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)

    def take(tx: Tx, key: str) -> GivenAnswer | None:
        known = given_answers.take(tx, org.id, "U1", key, "sha", now=clock.now())
        if known is None:
            given_answers.keep(tx, org.id, "U1", key, _answer("sha"))
        return known

    for number in range(30):
        assert await store.write(take, f"k{number}") is None
    clock.advance(KEPT - timedelta(seconds=1))
    assert await store.write(take, "k0") is not None
    clock.advance(timedelta(seconds=2))
    for _ in range(2):  # a few at a time
        await store.write(take, "another")
    assert await store.write(take, "k0") is None
    other = OrgId("O-other")
    assert await store.write(given_answers.take, other, "U1", "another", "x", now=clock.now()) is None
    assert await store.write(given_answers.take, org.id, "U2", "another", "x", now=clock.now()) is None


class _Shown(BaseModel):
    name: str


async def test_of_many_who_saw_the_same_version_one_changes_it(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    seen = Seen(tags=etag.of(_Shown(name=org.name)))

    def change(tx: Tx, name: str) -> bool:
        def now() -> _Shown:
            return _Shown(name=organisations.get(tx, org.id).name)

        try:
            seen.check(tx, now)
        except Outdated:
            return False
        organisations.update_organisation(tx, replace(organisations.get(tx, org.id), name=name))
        return True

    changed = await asyncio.gather(*(store.write(change, f"name {number}") for number in range(6)))
    assert changed.count(True) == 1
