"""I6: one record for one new address, never from machines; a hundred copies at once make one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.settings import OrganisationSettings, SenderCheck
from tests.support.filing import mail, office


async def test_every_unknown_recipient_of_our_mail_is_created_and_the_next_mail_finds_them(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        first = await desk.post(mail(to="Rob <rob@new.test>", cc="Sue <sue@new.test>"))
        assert sorted(lead.name for lead in await desk.all_records("lead")) == ["Rob", "Sue"]
        second = await desk.post(mail(to="ROB@new.test, sue@NEW.test"))
        assert await desk.links(first) == await desk.links(second) != set()
        assert len(await desk.all_records("lead")) == 2


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("rob@new.test", "rob@new.test"),
        ('"Roe, Robert" <rob@new.test>', "Roe, Robert"),
        ("=?utf-8?q?J=C3=BCrgen?= <rob@new.test>", "Jürgen"),
        ('"ceo@bank.test" <rob@new.test>', "rob@new.test"),
    ],
)
async def test_the_name_is_the_display_name(tmp_path: Path, to: str, name: str) -> None:
    async with office(tmp_path) as desk:
        await desk.post(mail(to=to))
        assert [lead.name for lead in await desk.all_records("lead")] == [name]


@pytest.mark.parametrize(
    "headers",
    [("Auto-Submitted: auto-replied",), ("List-Id: <news.new.test>",), ("Precedence: bulk",)],
)
async def test_nothing_is_made_of_automatic_mail(tmp_path: Path, headers: tuple[str, ...]) -> None:
    token = OrganisationSettings(sender_check=SenderCheck.TOKEN)
    async with office(tmp_path, settings=token) as desk:
        arrival = await desk.post(mail(from_="Rob <rob@new.test>", to="anna@example.com", headers=headers))
        assert arrival.state is ArrivalState.UNRESOLVED
        assert [entry.reason for entry in await desk.waiting()] == ["automatic"]
        assert await desk.all_records("lead") == ()


@pytest.mark.parametrize("address", ["no-reply@new.test", "mailer-daemon@new.test", "news-bounces@new.test"])
async def test_nothing_is_made_of_a_machines_address(tmp_path: Path, address: str) -> None:
    async with office(tmp_path) as desk:
        arrival = await desk.post(mail(to=address))
        assert arrival.state is ArrivalState.UNRESOLVED
        assert await desk.all_records("lead") == ()


async def test_an_address_in_reply_to_only_is_not_created(tmp_path: Path) -> None:
    token = OrganisationSettings(sender_check=SenderCheck.TOKEN)
    async with office(tmp_path, settings=token) as desk:
        await desk.post(mail(from_="rob@new.test", to="anna@example.com", headers=("Reply-To: other@new.test",)))
        assert [str(lead.addresses[0].address) for lead in await desk.all_records("lead")] == ["rob@new.test"]


async def test_different_mails_at_once_to_one_new_address_make_one_record(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        ids = [await desk.accept(mail(to="rob@new.test", subject=f"number {number}")) for number in range(30)]
        await asyncio.gather(desk.worker.drain(), desk.worker.drain(), desk.worker.drain())
        (lead,) = await desk.all_records("lead")
        for id_ in ids:
            arrival = await desk.arrival(id_)
            assert arrival.state is ArrivalState.FILED
            assert await desk.links(arrival) == {str(lead.ref)}
