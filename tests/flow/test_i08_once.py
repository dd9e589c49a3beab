"""I8: one message, however many ways it comes."""

from __future__ import annotations

from pathlib import Path

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.settings import OrganisationSettings, SenderCheck, UserSettings
from tests.support.filing import attach, mail, office

_TOKEN = OrganisationSettings(sender_check=SenderCheck.TOKEN)


async def test_the_same_mail_by_two_dropboxes_is_one_message_with_the_links_of_both_users(tmp_path: Path) -> None:
    async with office(tmp_path, settings=_TOKEN) as desk:
        ben = await desk.user("ben@example.com", settings=UserSettings(modules=("vendor",)))
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("vendor/1", "bob@customer.test")
        raw = mail()
        first = await desk.post(raw)
        second = await desk.post(b"Received: from another.way\r\n" + raw, user=ben)
        assert first.message == second.message
        assert (first.state, second.state) == (ArrivalState.FILED, ArrivalState.DUPLICATE)
        assert await desk.links(second) == {"contact/1", "vendor/1"}
        journey = await desk.journey(second)
        assert {source.user for source in journey.sources} == {desk.anna.id, ben.id}
        assert len(journey.filings) == 2
        assert await desk.is_balanced()


async def test_a_copy_that_one_user_may_not_send_is_held_for_that_user_only(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        ben = await desk.user("ben@example.com")
        await desk.record("contact/1", "bob@customer.test")
        raw = mail()
        first = await desk.post(raw)
        second = await desk.post(raw, user=ben)
        assert (first.state, second.state) == (ArrivalState.FILED, ArrivalState.UNRESOLVED)
        assert first.message == second.message
        assert [entry.user for entry in await desk.waiting()] == [ben.id]


async def test_a_re_used_message_id_with_other_content_is_another_message(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        one = await desk.post(mail(message_id="same@mail.test", body="one"))
        two = await desk.post(mail(message_id="same@mail.test", body="two"))
        assert one.message != two.message
        assert two.state is ArrivalState.FILED


async def test_mails_without_a_message_id_are_the_same_by_their_content(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        arrivals = [await desk.post(mail(message_id=None)) for _ in range(2)]
        assert [one.state for one in arrivals] == ["filed", "duplicate"]


async def test_copies_of_a_held_mail_make_one_entry(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        raw = mail(from_="eve@stranger.test")
        states = [(await desk.post(raw)).state for _ in range(3)]
        assert states == ["unresolved", "duplicate", "duplicate"]
        assert len(await desk.waiting()) == 1
        assert await desk.is_balanced()


async def test_an_attached_mail_that_also_came_by_itself_is_one_message(tmp_path: Path) -> None:
    async with office(tmp_path, settings=_TOKEN) as desk:
        await desk.record("contact/1", "bob@customer.test")
        original = mail(from_="Bob <bob@customer.test>", to="anna@example.com")
        alone = await desk.post(original)
        await desk.post(attach(original, to=desk.dropbox_address(), subject="Fwd: Offer"))
        assert len(await desk.messages()) == 2
        assert len((await desk.journey(alone)).sources) == 2


async def test_a_colleague_who_forwards_it_attached_adds_links_to_the_same_message(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("lead/1", "bob@customer.test")
        ben = await desk.user("ben@example.com", settings=UserSettings(modules=("lead",)))
        raw = mail()
        filed = await desk.post(raw)
        held = await desk.post(raw, user=ben)
        assert held.state is ArrivalState.UNRESOLVED
        assert await desk.links(filed) == {"contact/1"}
        forward = attach(raw, from_="ben@example.com", to=desk.dropbox_address(ben), subject="Fwd: Offer")
        await desk.post(forward, user=ben, mail_from="ben@example.com")
        assert await desk.links(filed) == {"contact/1", "lead/1"}
        assert await desk.waiting() == ()
