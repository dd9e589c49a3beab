"""Attachments of records on both databases: held and counted once, claimed by one, and no statement reads a large table whole (I17)."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from mailrelay.ids import AttachmentId, Digest, EventSeq, OrgId, UserId
from mailrelay.model.attachment import Attachments, AttachmentState, Place, RecordAttachment
from mailrelay.model.organisation import Organisation
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import attachments, contents, followers
from mailrelay.store.attachments import Unread
from mailrelay.store.base import Store, Tx
from mailrelay.store.contents import Content
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.clock import FakeClock

LEASE = timedelta(minutes=5)


def a_file(org: Organisation, clock: FakeClock, number: int, data: bytes = b"x" * 10) -> RecordAttachment:
    return RecordAttachment(
        id=AttachmentId(f"E{number:020}"),
        org=org.id,
        record=factory.ref("contact/1"),
        message="M1",
        part=str(number),
        name="offer.pdf",
        type="application/pdf",
        size=len(data),
        sha256=Digest(hashlib.sha256(data).hexdigest()),
        at=clock.now(),
        by="rule",
        place=Place.FOLDER,
        state=AttachmentState.WAITING,
    )


async def noticed(store: Store, org: Organisation, *files: RecordAttachment) -> int:
    at = await store.read(followers.position, attachments.FOLLOWER, org.id)
    read = Unread(after=at, upto=at + 1, linked=(), settings=org.settings)
    return await store.write(attachments.notice, org.id, read, files)


async def test_what_is_noticed_twice_is_there_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    assert await noticed(store, org, a_file(org, clock, 1)) == 1
    assert await noticed(store, org, a_file(org, clock, 1), a_file(org, clock, 2)) == 1
    late = Unread(after=EventSeq(0), upto=9, linked=(), settings=org.settings)
    assert await store.write(attachments.notice, org.id, late, [a_file(org, clock, 3)]) == 0


async def test_many_who_claim_at_once_hold_and_count_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await noticed(store, org, *(a_file(org, clock, n, b"%d" % (n % 3) * 10) for n in range(12)))
    claimed = await asyncio.gather(
        *(store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=5) for _ in range(6))
    )
    jobs = [job for one in claimed for job in one.jobs]
    assert len({job.attachment.id for job in jobs}) == len(jobs)
    while left := (await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=5)).jobs:
        jobs += left
    assert len(jobs) == 12
    assert len({job.content.name for job in jobs}) == 3
    done = await asyncio.gather(*(store.write(attachments.filed, job, at=clock.now()) for job in jobs))
    assert all(done)
    storage = await store.read(attachments.storage, org.id)
    assert (storage.used, storage.contents, storage.waiting) == (30, 3, 0)
    assert not await store.write(attachments.filed, jobs[0], at=clock.now())


async def test_a_lease_that_ends_is_another_ones_and_counts_nothing_twice(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    await noticed(store, org, a_file(org, clock, 1))
    first = await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=5)
    clock.advance(LEASE)
    second = await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=5)
    assert first.jobs[0].content == second.jobs[0].content
    assert second.jobs[0].attempts == 2
    assert (await store.read(attachments.storage, org.id)).used == 10


async def test_the_limit_holds_however_many_ask_at_once(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock, settings=OrganisationSettings(storage_limit=35))
    await noticed(store, org, *(a_file(org, clock, n, b"%d" % n * 10) for n in range(8)))
    claimed = await asyncio.gather(
        *(store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=3) for _ in range(5))
    )
    assert sum(len(one.jobs) for one in claimed) == 3
    assert sum(one.left_out for one in claimed) == 5
    assert sum(len(one.full) for one in claimed) == 1
    assert (await store.read(attachments.storage, org.id)).used == 30


async def test_many_that_are_too_large_do_not_stand_in_the_way_of_one_that_fits(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "_BATCH", 2)
    org = await factory.org(store, clock, settings=OrganisationSettings(storage_limit=35))
    sizes = (30, 20, 20, 20, 10, 4)
    files = [a_file(org, clock, n, b"%d" % n * size) for n, size in enumerate(sizes)]
    await noticed(store, org, replace(files[0], message=""), *files[1:])
    claimed = await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=10)
    assert [one.attachment.size for one in claimed.jobs] == [30, 4]
    (first, *_) = claimed.jobs
    await store.write(attachments.filed, first, at=clock.now())
    machine = Viewer(org=org.id, all=True)
    how = {"by": "anna", "at": clock.now()}
    await store.write(attachments.remove, machine, first.attachment.record, first.attachment.id, **how)
    # 4 of 35 are taken: of those that wait 20 fit, and 10 behind the other two of 20 that do not.
    filed: list[int] = []
    for _ in range(3):
        await store.write(attachments.go_on, org.id, now=clock.now())
        again = await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=10)
        filed += [one.attachment.size for one in again.jobs]
    assert filed == [20, 10]
    assert (await store.read(attachments.storage, org.id)).used == 34


async def test_bytes_that_nobody_came_to_hold_go_unless_somebody_else_holds_them(
    store: Store, clock: FakeClock
) -> None:
    org = await factory.org(store, clock)
    digest = Digest("a" * 64)

    def unused(tx: Tx, put: Content) -> None:
        contents.lock(tx, org.id)
        contents.not_needed(tx, org.id, digest, put, at=clock.now())

    def hold(tx: Tx) -> Content | None:
        contents.lock(tx, org.id)
        return contents.hold(tx, org.id, digest, 10, Place.FOLDER, limit=0)

    first = await store.read(contents.next_name, org.id, digest, Place.FOLDER)
    await store.write(unused, first)
    held = await store.write(hold)
    assert held is not None
    assert held.name != first.name
    assert await store.read(contents.find, org.id, digest) == held
    await store.write(unused, held)
    leaving = await store.write(contents.claim_leaving, now=clock.now(), lease=LEASE, limit=10)
    assert [name for _, name, _ in leaving] == [first.name]
    assert not await store.write(contents.claim_leaving, now=clock.now(), lease=LEASE, limit=10)
    await store.write(contents.left, [(Place.FOLDER, first.name)])
    clock.advance(LEASE)
    assert not await store.write(contents.claim_leaving, now=clock.now(), lease=LEASE, limit=10)


async def test_no_statement_reads_a_large_table_whole(store: AnyStore, clock: FakeClock) -> None:
    org = await factory.org(
        store, clock, settings=OrganisationSettings(attachments=Attachments.RECORD, storage_limit=15)
    )
    await noticed(store, org, *(a_file(org, clock, n, b"%d" % n * 10) for n in range(3)))
    ref = factory.ref("contact/1")
    async with watched(store) as watch:
        claimed = await store.write(attachments.claim, now=clock.now(), lease=LEASE, limit=5)
        await store.write(attachments.filed, claimed.jobs[0], at=clock.now())
        await store.write(attachments.put_off, claimed.jobs[0], to=clock.now(), reason="x")
        await store.write(attachments.go_on, org.id, now=clock.now())
        for viewer in (Viewer(org=org.id, all=True), Viewer(org=org.id), Viewer(org=org.id, user=UserId("U"))):
            await store.read(attachments.of_record, viewer, ref)
            await store.read(attachments.of_record, viewer, ref, before="E9")
        await store.read(attachments.storage, org.id)
        await store.read(attachments.waiting)
        await store.read(attachments.unread, org.id)
        await store.read(contents.full)
        await store.read(contents.find, OrgId("O"), Digest("a"))
        await store.write(contents.leave, Place.FOLDER, "x", at=clock.now())
        await store.write(contents.claim_leaving, now=clock.now(), lease=LEASE, limit=5)
        await store.write(contents.left, [(Place.FOLDER, "x")])
    assert [scan for scan in watch.scans() if not scan.startswith("storage:")] == []
