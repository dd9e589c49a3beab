"""I9: every link, creation, hold and drop is explained, and the rules can be run again over stored mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay import rules
from mailrelay.filing import correct
from mailrelay.filing.rerun import Difference, Rerun
from mailrelay.ids import MessageId
from mailrelay.model.decision import Decision, FindingKind
from mailrelay.model.envelope import ArrivalState
from mailrelay.model.organisation import Exclusion, ExclusionKind, User
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.rules.facts import Facts
from mailrelay.smtp.address import parse_address
from mailrelay.store import organisations, people, records
from tests.support import factory
from tests.support.filing import BOUNCES, DOMAIN, Desk, attach, mail, office

_NOTHING = UserSettings(unknown=Unknown.NOTHING)


async def rerun(desk: Desk, *, apply: bool = False) -> list[Difference]:
    runner = Rerun(desk.store, desk.bodies, desk.clock, desk.ids, service_domains=frozenset((DOMAIN, BOUNCES)))
    since = desk.clock.now() - timedelta(days=30)
    return [one async for one in runner.run(desk.org.id, since=since, apply=apply)]


async def test_hits_and_misses_are_kept_for_every_rule_that_looked(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        journey = await desk.journey(await desk.post(mail()))
        (filing,) = journey.filings
        assert {finding.rule for finding in filing.findings} == {info.name for info in rules.listing()}
        assert all(finding.evidence and finding.evidence[0].because for finding in filing.findings)
        (hit,) = [finding for finding in filing.findings if finding.kind is FindingKind.LINK]
        assert (hit.rule, hit.evidence[0].header, hit.evidence[0].value) == ("match.primary", "To", "bob@customer.test")
        assert journey.links[0].evidence == hit.evidence


async def test_a_rerun_says_nothing_when_nothing_has_changed(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.post(mail(message_id="first@mail.test"))
        await desk.post(mail(to="new@new.test", headers=("In-Reply-To: <first@mail.test>",)))
        await desk.post(mail(to="ben@example.com"))
        await desk.post(mail(from_="eve@stranger.test"))
        await desk.post(attach(mail(from_="c@c.test", to="anna@example.com"), to=desk.dropbox_address()))
        assert await rerun(desk) == []


async def test_a_rerun_prints_the_difference_then_makes_it_once(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        filed = await desk.post(mail(message_id="first@mail.test"))
        desk.clock.advance(timedelta(seconds=1))
        held = await desk.post(mail(to="sue@new.test", subject="For Sue"))
        desk.clock.advance(timedelta(seconds=1))
        reply = await desk.post(mail(to="sue@new.test", headers=("In-Reply-To: <first@mail.test>",)))
        await desk.store.write(records.remove, desk.org.id, factory.ref("contact/1"), at=desk.clock.now())
        await desk.record("contact/2", "sue@new.test")
        await desk.record("contact/3", "bob@customer.test")
        said = await rerun(desk)
        assert [(one.message, one.added, one.removed, one.was, one.now) for one in said] == [
            (filed.message, (factory.ref("contact/3"),), (factory.ref("contact/1"),), "file", "file"),
            (held.message, (factory.ref("contact/2"),), (), "hold", "file"),
            (
                reply.message,
                (factory.ref("contact/2"), factory.ref("contact/3")),
                (factory.ref("contact/1"),),
                "file",
                "file",
            ),
        ]
        assert await desk.links(filed) == {"contact/1"}  # so far it was only said
        assert await rerun(desk, apply=True) == said
        assert await desk.links(filed) == {"contact/3"}
        assert await desk.links(reply) == {"contact/2", "contact/3"}
        assert await desk.links(held) == {"contact/2"}
        assert (await desk.arrival(held.id)).state is ArrivalState.FILED
        assert await desk.waiting() == ()
        assert await rerun(desk, apply=True) == []
        assert await desk.is_balanced()


async def test_a_rerun_creates_one_record_for_several_mails(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        for number in range(3):
            await desk.post(mail(to="Sue <sue@new.test>", subject=str(number)))
        await desk.store.write(people.update_user, _with_leads(desk))
        said = await rerun(desk)
        assert [creation.name for one in said for creation in one.created] == ["Sue"]
        assert all(one.now == "file" for one in said)
        assert len(said) == 3
        await rerun(desk, apply=True)
        assert len(await desk.all_records("lead")) == 1
        assert await desk.waiting() == ()
        assert await rerun(desk) == []


def _with_leads(desk: Desk) -> User:
    return replace(desk.anna, settings=UserSettings(unknown=Unknown.LEAD))


async def test_a_rerun_never_touches_what_people_did(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "bob@customer.test", owner=desk.anna)
        await desk.record("contact/3")
        arrival = await desk.post(mail())
        held = await desk.post(mail(to="sue@new.test"))
        by = {"by": desk.anna.id, "at": desk.clock.now()}
        message = MessageId(arrival.message or "")
        await desk.store.write(correct.unlink, desk.org.id, message, factory.ref("contact/2"), **by)
        await desk.store.write(correct.link, desk.org.id, message, factory.ref("contact/3"), **by)
        (entry,) = await desk.waiting()
        await desk.store.write(correct.dismiss, desk.org.id, entry.id, ids=desk.ids, **by)
        await desk.record("contact/4", "sue@new.test")
        entry_of_bob = Exclusion(kind=ExclusionKind.DOMAIN, value="customer.test")
        await desk.store.write(organisations.exclude, desk.org.id, entry_of_bob)
        await rerun(desk, apply=True)
        assert await desk.links(arrival) == {"contact/3"}
        assert await desk.links(held) == set()
        assert await rerun(desk) == []


async def test_what_is_excluded_later_leaves_the_record_by_a_rerun(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        arrival = await desk.post(mail())
        entry = Exclusion(kind=ExclusionKind.ADDRESS, value="bob@customer.test")
        await desk.store.write(organisations.exclude, desk.org.id, entry)
        (said,) = await rerun(desk, apply=True)
        assert (said.removed, said.now) == ((factory.ref("contact/1"),), "drop")
        assert await desk.links(arrival) == set()
        await desk.store.write(organisations.readmit, desk.org.id, entry)
        await rerun(desk, apply=True)
        assert await desk.links(arrival) == {"contact/1"}


async def test_a_mail_whose_record_is_gone_waits_for_a_person_after_a_rerun(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        arrival = await desk.post(mail())
        await desk.store.write(records.remove, desk.org.id, factory.ref("contact/1"), at=desk.clock.now())
        (said,) = await rerun(desk, apply=True)
        assert (said.removed, said.was, said.now) == ((factory.ref("contact/1"),), "file", "hold")
        (entry,) = await desk.waiting()
        assert (entry.reason, entry.message) == ("no_match", arrival.message)
        assert await rerun(desk) == []
        await desk.record("contact/2", "bob@customer.test")
        await rerun(desk, apply=True)
        assert await desk.waiting() == ()
        assert await desk.links(arrival) == {"contact/2"}
        assert await desk.is_balanced()


async def _two_copies(desk: Desk) -> tuple[MessageId, User]:
    """A mail of Ben's that came to his own dropbox, filed, and to Anna's, held."""
    ben = await desk.user("ben@example.com", name="Ben")
    raw = mail(from_="ben@example.com", to="lee@mori.test")
    filed = await desk.post(raw, user=ben, mail_from="ben@example.com")
    held = await desk.post(raw, mail_from="ben@example.com")
    assert (filed.state, held.state, held.message) == (ArrivalState.FILED, ArrivalState.UNRESOLVED, filed.message)
    desk.clock.advance(timedelta(seconds=1))
    return MessageId(filed.message or ""), ben


async def _exclude(desk: Desk, domain: str) -> Exclusion:
    entry = Exclusion(kind=ExclusionKind.DOMAIN, value=domain)
    await desk.store.write(organisations.exclude, desk.org.id, entry)
    return entry


async def test_a_rerun_names_the_copy_that_would_be_held_and_goes_on(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("lead/2", "lee@mori.test")
        await desk.record("contact/1", "bob@mori.test")
        message, _ = await _two_copies(desk)
        later = await desk.post(mail(to="bob@mori.test"))
        entry = await _exclude(desk, "mori.test")
        said = await rerun(desk)
        assert [(one.message, one.was, one.now) for one in said] == [
            (message, "file", "hold"),
            (later.message, "file", "drop"),
        ]
        assert said[0].because.startswith("ben@example.com is not an address of Anna")
        assert await rerun(desk, apply=True) == said
        assert await desk.links(message) == set()
        assert await desk.links(later) == set()
        assert [one.user for one in await desk.waiting()] == [desk.anna.id]  # the entry that was open, and no other
        assert await rerun(desk) == []
        await desk.store.write(organisations.readmit, desk.org.id, entry)
        back = await rerun(desk, apply=True)
        assert [(one.was, one.now, one.because) for one in back] == [("hold", "file", ""), ("drop", "file", "")]
        assert await rerun(desk) == []
        assert await desk.is_balanced()


async def test_turning_to_and_fro_leaves_one_open_entry(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.post(mail(to="sue@new.test"))
        for _ in range(2):
            await desk.record("contact/1", "sue@new.test")
            assert [one.now for one in await rerun(desk, apply=True)] == ["file"]
            assert await desk.waiting() == ()
            await desk.store.write(records.remove, desk.org.id, factory.ref("contact/1"), at=desk.clock.now())
            assert [one.now for one in await rerun(desk, apply=True)] == ["hold"]
            assert len(await desk.waiting()) == 1
        entry = await _exclude(desk, "new.test")
        assert [one.now for one in await rerun(desk, apply=True)] == ["drop"]
        assert await desk.waiting() == ()
        await desk.store.write(organisations.readmit, desk.org.id, entry)
        assert [one.now for one in await rerun(desk, apply=True)] == ["hold"]
        assert len(await desk.waiting()) == 1
        assert await desk.is_balanced()


@pytest.mark.parametrize("apply", [False, True])
async def test_a_mail_that_our_code_fails_on_stops_no_rerun(
    tmp_path: Path, apply: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        first = await desk.post(mail())
        desk.clock.advance(timedelta(seconds=1))
        second = await desk.post(mail())
        await _exclude(desk, "customer.test")
        decide = rules.decide

        def fail(facts: Facts) -> Decision:
            if facts.message.id == first.message:
                raise RuntimeError("a fault of ours")
            return decide(facts)

        monkeypatch.setattr(rules, "decide", fail)
        broken, said = await rerun(desk, apply=apply)
        assert (broken.message, broken.failed, said.failed) == (first.message, True, False)
        assert broken.because == "our own code failed on it (RuntimeError), and it is left as it was; the log says more"
        assert (said.message, said.now) == (second.message, "drop")
        assert await desk.links(first) == {"contact/1"}


async def test_what_rules_derived_from_a_record_goes_and_comes_with_it(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("account/1")
        await desk.record("contact/1", "bob@customer.test", links={"account": "account/1"})
        await desk.record("contact/2", "sue@customer.test", links={"account": "account/1"})
        await desk.record("deal/1", links={"contact": "contact/1"})
        arrival = await desk.post(mail(to="bob@customer.test, sue@customer.test"))
        message = MessageId(arrival.message or "")
        everything = {"account/1", "contact/1", "contact/2", "deal/1"}
        assert await desk.links(arrival) == everything
        by = {"by": desk.anna.id, "at": desk.clock.now()}
        await desk.store.write(correct.unlink, desk.org.id, message, factory.ref("contact/1"), **by)
        assert await desk.links(arrival) == {"account/1", "contact/2"}
        assert await rerun(desk) == []
        await desk.store.write(correct.unlink, desk.org.id, message, factory.ref("contact/2"), **by)
        assert await desk.links(arrival) == set()
        assert await rerun(desk) == []
        await desk.store.write(correct.link, desk.org.id, message, factory.ref("contact/1"), **by)
        assert await desk.links(arrival) == {"account/1", "contact/1", "deal/1"}
        assert await rerun(desk) == []


async def test_a_mail_that_a_person_put_on_a_record_stays_filed(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/3")
        arrival = await desk.post(mail())
        message = MessageId(arrival.message or "")
        by = {"by": desk.anna.id, "at": desk.clock.now()}
        to = {"from_": factory.ref("contact/1"), "to": factory.ref("contact/3")}
        await desk.store.write(correct.move, desk.org.id, message, **to, **by)
        assert await rerun(desk) == []
        await _exclude(desk, "customer.test")  # would be dropped
        assert await rerun(desk) == []
        await desk.store.write(people.update_user, replace(desk.anna, primary=parse_address("anna@new.test")))
        assert await rerun(desk, apply=True) == []  # would be held
        assert await desk.links(arrival) == {"contact/3"}
        assert await desk.waiting() == ()
