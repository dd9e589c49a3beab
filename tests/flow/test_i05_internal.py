"""I5: colleagues, dropboxes and the exclude list are never matched nor created."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.organisation import Exclusion, ExclusionKind
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store import organisations
from tests.support.filing import mail, office


async def test_mail_among_colleagues_is_dropped_and_kept(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "ben@example.com")
        arrival = await desk.post(mail(to="ben@example.com, carl@sales.example.com"))
        assert arrival.state is ArrivalState.DROPPED
        journey = await desk.journey(arrival)
        assert journey.filings[0].reason == "internal"
        assert journey.links == ()
        assert await desk.all_records("lead") == ()
        assert await desk.is_balanced()


async def test_mail_among_colleagues_is_filed_where_the_organisation_says_so(tmp_path: Path) -> None:
    async with office(tmp_path, settings=OrganisationSettings(file_internal=True)) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.post(mail(message_id="first@mail.test"))
        about = await desk.post(mail(to="ben@example.com", headers=("In-Reply-To: <first@mail.test>",)))
        assert (about.state, await desk.links(about)) == (ArrivalState.FILED, {"contact/1"})
        other = await desk.post(mail(to="ben@example.com"))
        assert (other.state, await desk.links(other)) == (ArrivalState.FILED, set())
        assert await desk.waiting() == ()


async def test_an_internal_address_beside_a_customer_is_neither_matched_nor_created(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.user("ben@freelance.test")
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "ben@freelance.test")  # a user, although his domain is another's
        arrival = await desk.post(mail(cc="ben@freelance.test, new@example.com, " + desk.dropbox_address()))
        assert await desk.links(arrival) == {"contact/1"}
        assert await desk.all_records("lead") == ()


@pytest.mark.parametrize(
    ("kind", "value"),
    [(ExclusionKind.ADDRESS, "lawyer@firm.test"), (ExclusionKind.DOMAIN, "firm.test"), (ExclusionKind.DOMAIN, "test")],
)
async def test_what_is_excluded_is_never_matched(tmp_path: Path, kind: ExclusionKind, value: str) -> None:
    async with office(tmp_path) as desk:
        await desk.store.write(organisations.exclude, desk.org.id, Exclusion(kind=kind, value=value))
        await desk.record("contact/1", "lawyer@firm.test")
        arrival = await desk.post(mail(to="Lawyer@firm.test"))
        assert arrival.state is ArrivalState.DROPPED
        assert (await desk.journey(arrival)).filings[0].reason == "excluded"
        assert await desk.links(arrival) == set()


async def test_a_mail_that_names_nobody_but_its_author_waits_for_a_person(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:  # it may be a forward in a language that we cannot read
        arrival = await desk.post(mail(to=desk.dropbox_address()))
        assert arrival.state is ArrivalState.UNRESOLVED
        assert [entry.reason for entry in await desk.waiting()] == ["no_match"]
