"""The queue in hand: what people list, count, hold, release, retry, cancel, return and confirm, by command and by API (R3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mailrelay.cli import operation
from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.store import ledger, queue, selections
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import delivery
from tests.support.cli import Cli, relay
from tests.support.delivery import a_delivery


@dataclass(frozen=True)
class House:
    """A daemon with an organisation, whose queue is filled by hand."""

    cli: Cli
    store: Store
    org: OrgId

    async def queued(self, *recipients: str, **more: Any) -> list[str]:
        """Deliveries that are due in an hour; their ids."""
        clock = Clock()
        due = {"org": self.org, "due_at": clock.now() + timedelta(hours=1), **more}
        made = [a_delivery(clock, recipient, **due) for recipient in recipients]
        await self.store.write(queue.enqueue, made)
        return [one.id for one in made]

    async def held_by(self, id_: str, by: str) -> None:
        """As if something else held it."""

        def change(tx: Tx) -> None:
            held = update(delivery).where(delivery.c.id == DeliveryId(id_))
            tx.execute(held.values(state=DeliveryState.HELD, held_by=by))

        await self.store.write(change)

    async def balanced(self) -> bool:
        """Whether the books agree (K8)."""
        return all(one.unaccounted == 0 for one in await self.store.read(ledger.balance))

    async def state(self, id_: str) -> str:
        return str((await self.cli.json("queue", "show", id_))["state"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with relay(tmp_path) as running:
        org = await running.cli.json("organisation", "add", "Example", "--domain", "example.org")
        yield House(running.cli, running.running.application.store, OrgId(org["id"]))


async def test_r03_everything_is_found_by_what_is_known_of_it(house: House) -> None:
    bob, _ = await house.queued("bob@b.test", "eve@c.test")
    await house.queued("joe@b.test", job="spring")

    async def found(*options: str) -> list[str]:
        return [one["recipient"] for one in (await house.cli.json("queue", "list", *options))["items"]]

    assert sorted(await found()) == ["bob@b.test", "eve@c.test", "joe@b.test"]
    assert await found("--recipient", "bob@b.test") == ["bob@b.test"]
    assert await found("--destination", "c.test") == ["eve@c.test"]
    assert await found("--job", "spring") == ["joe@b.test"]
    assert len(await found("--sender", "anna@a.test")) == len(await found("--sender", "a.test")) == 3
    assert await found("--sender", "b.test") == []
    assert len(await found("--oldest-first", "--limit", "2")) == 2
    assert await found("--older-than", "1m") == []
    assert len(await found("--newer-than", "1m")) == 3
    assert (await house.cli("queue", "list", "--destination", "d.test")).out.startswith("Nothing matches.")
    counted = (await house.cli("queue", "counts", "--destination", "b.test")).out.splitlines()
    assert [line.split() for line in counted] == [["STATUS", "HELD", "BY", "COUNT"], ["queued", "2"]]
    assert (await house.cli("queue", "counts", "--job", "none")).out == "Nothing matches.\n"
    said = await house.cli("queue", "list", "--older-than", "yesterday")
    assert said.status == 65
    assert said.error.count("\n") == 1
    assert "older_than: must be an age such as 90m, 2h or 3d, or a day or time such as 2026-12-01" in said.error
    for moment in ("2000-01-01", "2000-01-01T08:00", "2000-01-01 08:00", "2000-01-01T08:00+01:00", "999999w"):
        assert await found("--older-than", moment) == []
        assert len(await found("--newer-than", moment)) == 3
    tomorrow = datetime.now(UTC) + timedelta(hours=1)
    assert len(await found("--older-than", f"{tomorrow:%Y-%m-%dT%H:%M}")) == 3
    assert await found("--older-than", f"{tomorrow:%Y-%m-%dT%H:%M}+02:00") == []
    assert bob in (await house.cli("queue", "show", bob)).out


async def test_r03_a_long_look_is_cut_short_and_says_how_to_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "LOOKED_AT", 2)
    rare, *_ = await house.queued("bob@b.test", *(f"r{number}@b.test" for number in range(5)), job="spring")
    await house.queued(*(f"s{number}@b.test" for number in range(5)), job="other")
    both = ("queue", "list", "--sender", "anna@a.test", "--recipient", "bob@b.test", "--job", "spring")
    assert rare in (await house.cli(*both)).out
    common = ("queue", "list", "--destination", "b.test", "--job", "none")
    assert (await house.cli(*common)).out.startswith("Nothing matches.")
    monkeypatch.setattr("mailrelay.cli.queue._PATIENCE", 0.0)
    narrow = (
        "queue",
        "list",
        "--destination",
        "b.test",
        "--state",
        "queued",
        "--sender",
        "anna@a.test",
        "--job",
        "spring",
    )
    found: list[str] = []
    after: tuple[str, ...] = ()
    for _ in range(20):
        said = (await house.cli(*narrow, *after)).out
        *listed, last = said.splitlines()
        found += [
            line.split()[0] for line in (listed if "--after" in last else said.splitlines()) if line.startswith("D0")
        ]
        if "--after" not in last:
            break
        assert last.startswith("Not all were looked at yet, newest first; go on with the same and --after D")
        after = ("--after", last.split()[-1])
    assert after
    assert len(set(found)) == len(found) == 6
    assert (await house.cli(*common)).out.startswith("Not all were looked at yet")


async def test_r03_a_count_above_its_bound_says_more_than(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (selections, operation):
        monkeypatch.setattr(module, "COUNTED", 4)
    ids = await house.queued(*(f"r{number}@b.test" for number in range(6)))
    await house.held_by(ids[0], "job:spring")
    said = await house.cli("queue", "hold", "--destination", "b.test", "--dry-run")
    assert said.out.splitlines()[0] == "More than 4 deliveries are selected; of the 4 that were counted:"
    assert (
        "More than 4: only these were counted." in (await house.cli("queue", "counts", "--destination", "b.test")).out
    )


async def test_r03_a_dry_run_counts_and_does_nothing(house: House) -> None:
    ids = await house.queued("bob@b.test", "eve@b.test")
    await house.held_by(ids[0], "job:spring")
    said = await house.cli("queue", "hold", "--destination", "b.test", "--dry-run")
    assert said.out.splitlines() == [
        "1 would be held. Nothing is done yet: leave out --dry-run.",
        "  1 would be left: held by job:spring",
    ]
    assert await house.state(ids[1]) == "queued"
    said = await house.cli("queue", "hold", "--destination", "c.test", "--dry-run")
    assert said.out == "Nothing matches; nothing would change.\n"
    assert (await house.cli("queue", "operations")).out.startswith("Nobody has held")


async def test_r03_what_is_held_is_shown_with_who_and_why_and_released(house: House) -> None:
    (one,) = await house.queued("bob@b.test")
    said = await house.cli("queue", "hold", one, "--reason", "wrong price")
    assert said.out.startswith("1 held (P"), said
    shown = (await house.cli("queue", "show", one)).out
    assert "held by hand: mailrelay queue release" in " ".join(shown.split())
    assert "delivery.held" in shown
    assert "by=operator" in shown
    assert "reason=wrong price" in shown
    assert (await house.cli("queue", "release", "--held-by", "hand")).out.startswith("1 released")
    assert await house.state(one) == "queued"
    listed = (await house.cli("queue", "operations")).out
    assert "wrong price" in listed
    assert "--held-by hand" in listed
    operation = (await house.cli.json("queue", "operations"))["items"][0]
    assert (await house.cli("queue", "operations", operation["id"])).out.startswith("1 released")
    assert (await house.cli("queue", "operations", operation["id"], "--stop")).status == 65


async def test_r03_nothing_is_done_to_all_unless_that_is_said(house: House) -> None:
    (one,) = await house.queued("bob@b.test")
    said = await house.cli("queue", "cancel")
    assert (said.status, await house.state(one)) == (65, "queued")
    assert "--all" in said.error
    assert (await house.cli("queue", "cancel", "--all")).out.startswith("1 cancelled")
    assert await house.state(one) == "cancelled"
    assert (await house.cli("queue", "cancel", "--all")).out.startswith("Nothing matched")
    said = await house.cli("queue", "cancel", one)
    assert (said.status, "1 left as they are: cancelled" in said.out) == (65, True)
    assert (await house.cli("queue", "cancel", "D0")).status == 66
    assert await house.balanced()


async def test_r03_what_may_have_arrived_is_confirmed_or_sent_again_on_purpose(house: House) -> None:
    first, second = await house.queued("bob@b.test", "eve@b.test", job="spring")
    for one in (first, second):
        await house.held_by(one, "unconfirmed")
    said = await house.cli("queue", "release", first)
    assert said.status == 65
    assert "may have arrived" in said.out
    assert (await house.cli("queue", "confirm", first, "--reason", "their log has it")).out.startswith("1 confirmed")
    assert await house.state(first) == "sent"
    assert (await house.cli("queue", "release", "--job", "spring", "--yes")).out.startswith("1 released")
    assert await house.balanced()


async def test_r03_what_is_returned_is_told_to_its_author(house: House) -> None:
    (one,) = await house.queued("bob@b.test")
    said = await house.cli("queue", "bounce", one, "--reason", "This partner has moved.")
    assert said.out.startswith("1 returned to their authors")
    shown = await house.cli.json("queue", "show", one)
    assert (shown["state"], shown["bounce"], shown["category"]) == ("bounced", None, "by_hand")
    assert shown["last_reply"] == "This partner has moved."
    assert (await house.cli("address", "show", "bob@b.test")).out.count("suppressed since") == 0


async def test_r03_much_goes_on_without_whoever_asked(house: House) -> None:
    await house.queued(*(f"r{number}@b.test" for number in range(1500)))
    said = await house.cli.json("queue", "hold", "--destination", "b.test", "--no-wait")
    assert said["changed"] == 500
    async with asyncio.timeout(30):
        while True:
            one = (await house.cli.json("queue", "operations"))["items"][0]
            if one["ended_at"]:
                break
            await asyncio.sleep(0.05)
    assert (one["changed"], one["left"]) == (1500, {})
    assert one["selection"]["destination"] == "b.test"
    assert await house.balanced()
