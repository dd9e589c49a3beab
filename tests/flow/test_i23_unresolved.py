"""I23: what could not be filed waits in one list with its reason, and is filed, released or dismissed from there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.config.schema import Filing
from mailrelay.errors import Conflict, Invalid
from mailrelay.filing import correct
from mailrelay.inbound import pipeline
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.smtp.address import parse_address
from mailrelay.store import arrivals, filings, people
from tests.flow.test_i09_explained import rerun
from tests.support import factory
from tests.support.filing import attach, mail, office

_NOTHING = UserSettings(unknown=Unknown.NOTHING)


async def test_a_tie_waits_and_is_filed_by_hand(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "info@customer.test")
        await desk.record("contact/2", "info@customer.test")
        arrival = await desk.post(mail(to="info@customer.test"))
        (entry,) = await desk.waiting()
        assert entry.reason == "tie"
        assert "contact/1 and contact/2" in entry.explanation
        how = {"by": desk.anna.id, "ids": desk.ids, "at": desk.clock.now()}
        with pytest.raises(Invalid):
            await desk.store.write(correct.file_unresolved, desk.org.id, entry.id, to=[], **how)
        to = [factory.ref("contact/2")]
        await desk.store.write(correct.file_unresolved, desk.org.id, entry.id, to=to, **how)
        assert await desk.links(arrival) == {"contact/2"}
        assert (await desk.arrival(arrival.id)).state is ArrivalState.FILED
        assert await desk.waiting() == ()
        with pytest.raises(Conflict):
            await desk.store.write(correct.dismiss, desk.org.id, entry.id, **how)
        assert await desk.is_balanced()


async def test_a_tie_beside_a_known_correspondent_does_not_hold(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "info@customer.test")
        await desk.record("contact/2", "info@customer.test")
        await desk.record("contact/3", "bob@customer.test")
        arrival = await desk.post(mail(to="info@customer.test, bob@customer.test"))
        assert (arrival.state, await desk.links(arrival)) == (ArrivalState.FILED, {"contact/3"})


async def test_an_entry_becomes_a_record(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        arrival = await desk.post(mail(to="Sue <sue@new.test>"))
        (entry,) = await desk.waiting()
        person = await desk.store.read(correct.suggestion, desk.org.id, entry.id)
        assert person is not None
        assert (person.name, str(person.address)) == ("Sue", "sue@new.test")
        ref = await desk.store.write(
            correct.create_and_file,
            desk.org.id,
            entry.id,
            module="contact",
            address=person.address,
            name=person.name,
            owner=desk.anna.id,
            by=desk.anna.id,
            ids=desk.ids,
            at=desk.clock.now(),
        )
        assert await desk.links(arrival) == {str(ref)}
        assert await desk.links(await desk.post(mail(to="sue@new.test"))) == {str(ref)}


async def test_a_dismissed_entry_is_kept_and_its_copies_do_not_come_back(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        raw = mail(to="sue@new.test")
        arrival = await desk.post(raw)
        (entry,) = await desk.waiting()
        how = {"by": desk.anna.id, "ids": desk.ids, "at": desk.clock.now()}
        await desk.store.write(correct.dismiss, desk.org.id, entry.id, **how)
        assert (await desk.arrival(arrival.id)).state is ArrivalState.DROPPED
        assert (await desk.post(raw)).state is ArrivalState.DUPLICATE
        assert await desk.waiting() == ()
        assert await desk.is_balanced()


async def test_a_released_mail_is_filed_by_the_rules_with_what_it_carries(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        originals = [mail(from_=f"{name}@customer.test", to="eve@else.test") for name in ("bob", "sue")]
        held = attach(*originals, from_="eve@else.test", to=desk.dropbox_address(), subject="Fwd: x")
        arrival = await desk.post(held)
        (entry,) = await desk.waiting()
        assert len(await desk.messages()) == 1
        await desk.store.write(correct.release, desk.org.id, entry.id, by=desk.anna.id, at=desk.clock.now())
        await desk.worker.drain()
        arrival = await desk.arrival(arrival.id)
        assert arrival.state is ArrivalState.FILED
        assert len(await desk.messages()) == 3
        assert "contact/1" in await desk.links(arrival)
        said = [one.evidence[0].because for one in (await desk.journey(arrival)).filings[0].findings]
        assert any(f"{desk.anna.id} released it" in because for because in said)
        assert await rerun(desk) == []
        assert await desk.is_balanced()


async def test_bytes_without_a_mail_header_wait_unparsed(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        for raw in (b"\x00\xff\xfe" * 100, b"", b"just some words\r\n"):
            arrival = await desk.post(raw)
            assert arrival.state is ArrivalState.UNRESOLVED
        assert {entry.reason for entry in await desk.waiting()} == {"unparsed"}


async def test_a_mail_whose_bytes_are_gone_waits_and_can_still_be_ended(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        ids = [await desk.accept(mail(body=f"{letter}" * 100_000)) for letter in "ab"]
        for blob in (tmp_path / "blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()
        await desk.worker.drain()
        entries = await desk.waiting()
        assert [entry.reason for entry in entries] == ["unparsed"] * 2
        how = {"by": desk.anna.id, "ids": desk.ids, "at": desk.clock.now()}
        await desk.store.write(correct.dismiss, desk.org.id, entries[0].id, **how)
        to = [factory.ref("contact/1")]
        await desk.store.write(correct.file_unresolved, desk.org.id, entries[1].id, to=to, **how)
        assert {(await desk.arrival(id_)).state for id_ in ids} == {ArrivalState.DROPPED, ArrivalState.FILED}
        assert await desk.is_balanced()


async def test_fault_q03_a_mail_on_which_our_code_fails_is_set_aside_and_its_neighbours_are_filed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = pipeline.rules.decide

    def fails(facts):  # type: ignore[no-untyped-def]
        if facts.message.subject == "poison":
            raise RuntimeError("a fault of ours")
        return decide(facts)

    monkeypatch.setattr(pipeline.rules, "decide", fails)
    async with office(tmp_path, filing=Filing(max_attempts=3, retry_after=5.0)) as desk:
        poison = await desk.accept(mail(subject="poison"))
        good = await desk.post(mail())
        assert good.state is ArrivalState.FILED
        waits = []
        while (await desk.arrival(poison)).state is ArrivalState.ACCEPTED:
            desk.clock.advance(timedelta(seconds=5))
            waits.append(await desk.worker.drain())
        assert waits == [1, 0, 0, 1]  # after 5 seconds, then after 15
        (entry,) = await desk.waiting()
        assert entry.reason == "failed"
        _, failure = await desk.store.read(arrivals.why, poison)
        assert "RuntimeError: a fault of ours" in failure
        assert "Traceback" in failure
        monkeypatch.undo()
        (said,) = await rerun(desk, apply=True)
        assert said.message is None
        await desk.worker.drain()
        assert (await desk.arrival(poison)).state is ArrivalState.FILED
        assert await desk.is_balanced()


async def test_fault_q03_a_mail_on_which_the_process_died_is_set_aside_unread(tmp_path: Path) -> None:
    async with office(tmp_path, filing=Filing(max_attempts=3, lease=60.0)) as desk:
        id_ = await desk.accept(mail())
        for _ in range(3):  # claimed, and then nothing more was heard of that process
            claimed = await desk.store.write(
                arrivals.claim, node=desk.ids.queue(), now=desk.clock.now(), lease=timedelta(seconds=60), limit=1
            )
            assert [one.id for one in claimed] == [id_]
            desk.clock.advance(timedelta(seconds=61))
        await desk.worker.drain()
        assert [entry.reason for entry in await desk.waiting()] == ["failed"]
        assert await desk.messages() == ()


async def test_an_address_made_meanwhile_stands_not_against_a_person(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "info@customer.test")
        await desk.record("contact/2", "info@customer.test")
        await desk.post(mail(to="info@customer.test"))
        (entry,) = await desk.waiting()
        ref = await desk.store.write(
            correct.create_and_file,
            desk.org.id,
            entry.id,
            module="lead",
            address=parse_address("info@customer.test"),
            name="Another",
            owner=None,
            by="operator",
            ids=desk.ids,
            at=desk.clock.now(),
        )
        (message,) = await desk.messages()
        assert await desk.links(message.id) == {str(ref)}
        assert not await desk.store.read(filings.is_filed, desk.org.id, message.id)


async def test_mail_to_postmaster_is_put_on_records_by_people_only(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        to_postmaster = {"channel": Channel.ORGANISATION, "recipients": ("postmaster@inbound.test",)}
        known, unknown, attached = [
            await desk.post(raw, **to_postmaster)
            for raw in (
                mail(from_="bob@customer.test", to="postmaster@inbound.test"),
                mail(from_="eve@else.test", to="bob@customer.test"),
                attach(mail(from_="bob@customer.test"), from_="eve@else.test", subject="Fwd: x"),
            )
        ]
        assert {one.state for one in (known, unknown, attached)} == {ArrivalState.UNRESOLVED}
        assert [entry.reason for entry in await desk.waiting()] == ["postmaster"] * 3
        assert [await desk.links(one) for one in (known, unknown, attached)] == [set(), set(), set()]
        assert await desk.all_records("lead") == ()
        assert await rerun(desk, apply=True) == []
        first = next(entry for entry in await desk.waiting() if entry.arrival == known.id)
        await desk.store.write(correct.release, desk.org.id, first.id, by=desk.anna.id, at=desk.clock.now())
        await desk.worker.drain()
        assert await desk.links(await desk.arrival(known.id)) == {"contact/1"}


async def test_a_mail_without_a_record_says_why_none_was_made(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.post(mail(to="no-reply@new.test"))
        (entry,) = await desk.waiting()
        none = "no-reply@new.test is no address of a record, and none was made"
        assert entry.explanation == f"{none}: no-reply@new.test is an address of a machine"
        await desk.store.write(people.update_user, replace(desk.anna, settings=_NOTHING))
        await desk.post(mail(to="sue@new.test"))
        entry = next(one for one in await desk.waiting() if one.id != entry.id)
        assert entry.explanation.endswith(f"made: {desk.anna.name} has nothing made of unknown correspondents")
