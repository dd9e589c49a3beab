"""I6, I8: many copies at once make one message and one record, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from mailrelay.store.base import Store
from tests.support.filing import mail, office


async def test_a_hundred_copies_at_once_make_one_message_and_one_record(store: Store, tmp_path: Path) -> None:
    async with office(tmp_path, store=store) as desk:
        raw = mail(to="Rob <rob@new.test>")
        ids = await asyncio.gather(*(desk.accept(raw) for _ in range(100)))
        await asyncio.gather(*(desk.worker.drain() for _ in range(4)))
        arrivals = [await desk.arrival(id_) for id_ in ids]
        assert Counter(one.state for one in arrivals) == {"filed": 1, "duplicate": 99}
        assert len({one.message for one in arrivals}) == 1
        (lead,) = await desk.all_records("lead")
        assert await desk.links(arrivals[0]) == {str(lead.ref)}
        assert len((await desk.journey(arrivals[0])).sources) == 100
        assert await desk.is_balanced()


async def test_mails_at_once_to_new_addresses_in_either_order_make_one_record_each(
    store: Store, tmp_path: Path
) -> None:
    async with office(tmp_path, store=store) as desk:
        for number in range(20):
            people = ["a@new.test", "b@new.test", "c@new.test"]
            await desk.accept(mail(to=", ".join(people[:: 1 if number % 2 else -1]), subject=str(number)))
        await asyncio.gather(*(desk.worker.drain() for _ in range(4)))
        assert len(await desk.all_records("lead")) == 3
        assert await desk.waiting() == ()
        assert await desk.is_balanced()
