"""Reads that share a transaction: one question of many, each with its own answer or its own error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailrelay.filing import gather, reading
from mailrelay.store import arrivals
from mailrelay.store.base import Tx
from mailrelay.store.together import Together
from tests.store.explain import AnyStore
from tests.support.filing import DOMAIN, attach, mail, office


class Squares:
    """Answers with squares; `asked` are the questions of each read. Negative numbers raise."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, tx: Tx, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        if any(number < 0 for number in numbers):
            raise ValueError(f"{numbers} are not all squares of anything")
        return [number * number for number in numbers]


async def test_what_is_asked_at_once_is_read_at_once(store: AnyStore) -> None:
    read = Squares()
    together = Together(store, read)
    assert await asyncio.gather(*(together.ask(number) for number in range(10))) == [n * n for n in range(10)]
    assert read.asked == [list(range(10))]
    assert await together.ask(10) == 100


async def test_an_error_is_only_theirs_who_asked_for_it(store: AnyStore) -> None:
    together = Together(store, Squares())
    answers = await asyncio.gather(*(together.ask(number) for number in (1, -2, 3)), return_exceptions=True)
    assert [answers[0], answers[2]] == [1, 9]
    assert isinstance(answers[1], ValueError)


async def test_who_stops_waiting_takes_no_answer_from_the_others(store: AnyStore) -> None:
    together = Together(store, Squares())
    first, second = asyncio.create_task(together.ask(1)), asyncio.create_task(together.ask(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 4


@pytest.mark.parametrize("most", [1_000, 2], ids=["in one", "more than one answer holds"])
async def test_facts_gathered_together_are_those_gathered_alone(
    store: AnyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    async with office(tmp_path, store=store) as desk:
        bea = await desk.user("bea@example.com")
        await desk.record("account/1", "info@customer.test")
        await desk.record("contact/1", "bob@customer.test", links={"account": "account/1"})
        await desk.record("contact/2", "rob@customer.test")
        await desk.record("deal/1", links={"contact": "contact/2"}, fields={"stage": "won"})
        await desk.post(mail(message_id="first@mail.test"))
        mails = [
            (mail(message_id="first@mail.test"), desk.anna),
            (mail(to="rob@customer.test, bea@example.com"), bea),
            (mail(to="info@customer.test", headers=("In-Reply-To: <first@mail.test>",)), desk.anna),
            (mail(to="nobody@elsewhere.test", message_id=None), bea),
            (attach(mail(from_="rob@customer.test"), to=desk.dropbox_address()), desk.anna),
        ]
        cases = []
        for raw, user in mails:
            arrival = await store.read(arrivals.get, await desk.accept(raw, user=user))
            assert arrival is not None
            cases.append(reading.read(raw, arrival, new_id=desk.ids.message).case)
        domains = frozenset((DOMAIN,))
        alone = [await store.read(gather.facts, case, service_domains=domains) for case in cases]
        assert alone[0].standing
        assert alone[1].hits
        assert alone[2].thread
        assert any(facts.related for facts in alone)
        monkeypatch.setattr(gather, "_MOST_HITS", most)
        monkeypatch.setattr(gather, "_MOST_ACCOUNTS", most)
        if most == 1_000:
            assert await store.read(gather.facts_of, cases, service_domains=domains) == tuple(alone)
        else:
            together = await store.read(gather.facts_of, cases, service_domains=domains)
            singly = [await store.read(gather.facts, case, service_domains=domains) for case in cases]
            assert together == tuple(singly)
