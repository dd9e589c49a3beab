"""I3: which modules are searched, in which order, and what an unknown correspondent becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.settings import Unknown, UserSettings
from tests.support import factory
from tests.support.filing import mail, office


@pytest.mark.parametrize("modules", [("contact", "lead"), ("lead", "contact")])
async def test_the_first_module_with_the_address_wins(tmp_path: Path, modules: tuple[str, ...]) -> None:
    async with office(tmp_path, user_settings=UserSettings(modules=modules)) as desk:
        await desk.record("lead/1", "bob@customer.test")
        await desk.record("contact/1", factory.address("bob@customer.test", "secondary_email"))
        assert await desk.links(await desk.post(mail())) == {f"{modules[0]}/1"}


async def test_a_module_that_is_not_searched_is_not_matched(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=UserSettings(modules=("contact",), unknown=Unknown.NOTHING)) as desk:
        await desk.record("lead/1", "bob@customer.test")
        arrival = await desk.post(mail())
        assert arrival.state is ArrivalState.UNRESOLVED
        assert [entry.reason for entry in await desk.waiting()] == ["no_match"]


@pytest.mark.parametrize("unknown", [Unknown.LEAD, Unknown.CONTACT])
async def test_an_unknown_correspondent_becomes_a_lead_or_a_contact(tmp_path: Path, unknown: Unknown) -> None:
    async with office(tmp_path, user_settings=UserSettings(unknown=unknown)) as desk:
        arrival = await desk.post(mail(to="Robert Roe <rob@new.test>"))
        (made,) = await desk.all_records(unknown)
        assert (made.name, made.owner, made.source) == ("Robert Roe", desk.anna.id, "dropbox")
        assert [str(one.address) for one in made.addresses] == ["rob@new.test"]
        assert await desk.links(arrival) == {str(made.ref)}
        (link,) = (await desk.journey(arrival)).links
        assert link.rule == "create.unknown_correspondent"


async def test_each_user_has_settings_of_their_own(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        ben = await desk.user("ben@example.com", settings=UserSettings(modules=("vendor",), unknown=Unknown.NOTHING))
        await desk.record("vendor/1", "bob@customer.test")
        await desk.record("contact/1", "bob@customer.test")
        assert await desk.links(await desk.post(mail())) == {"contact/1"}
        assert await desk.links(await desk.post(mail(from_="ben@example.com"), user=ben)) == {"vendor/1"}
