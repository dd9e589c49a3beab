"""I4: matching by primary, secondary and custom addresses, threads, return paths, and accounts by domain."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.settings import OrganisationSettings, SenderCheck, Unknown, UserSettings
from tests.support import factory
from tests.support.filing import mail, office

_NOTHING = UserSettings(modules=("contact", "lead", "account", "vendor", "site"), unknown=Unknown.NOTHING)


async def test_every_external_in_from_to_cc_and_reply_to_is_matched(tmp_path: Path) -> None:
    token = OrganisationSettings(sender_check=SenderCheck.TOKEN)
    async with office(tmp_path, settings=token, user_settings=_NOTHING) as desk:
        for number, name in enumerate(("from", "to", "cc", "reply"), start=1):
            await desk.record(f"contact/{number}", f"{name}@customer.test")
        arrival = await desk.post(
            mail(
                from_="from@customer.test",
                to="to@customer.test, anna@example.com",
                cc="CC@Customer.test",
                headers=("Reply-To: reply@customer.test",),
            )
        )
        assert await desk.links(arrival) == {"contact/1", "contact/2", "contact/3", "contact/4"}


async def test_secondary_and_custom_addresses_match_where_their_preference_is_on(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await factory.module(desk.store, desk.org, "site", "caretaker")
        await desk.record("contact/1", factory.address("second@customer.test", "secondary_email"))
        await desk.record("site/1", factory.address("caretaker@site.test", "caretaker"))
        second = await desk.post(mail(to="second@customer.test"))
        assert await desk.links(second) == {"contact/1"}
        assert [link.rule for link in (await desk.journey(second)).links] == ["match.secondary"]
        assert await desk.links(await desk.post(mail(to="caretaker@site.test"))) == {"site/1"}
        await factory.module(desk.store, desk.org, "site", "caretaker", matched=False)
        off = await desk.post(mail(to="caretaker@site.test"))
        assert off.state is ArrivalState.UNRESOLVED
        said = [
            finding.evidence[0].because for filing in (await desk.journey(off)).filings for finding in filing.findings
        ]
        assert "caretaker@site.test is caretaker of site/1, and that field is not matched" in said


async def test_a_reply_follows_its_thread_first(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.post(mail(message_id="first@mail.test"))
        reply = await desk.post(
            mail(to="assistant@customer.test", headers=("In-Reply-To: <first@mail.test>",), subject="Re: Offer")
        )
        assert await desk.links(reply) == {"contact/1"}
        (link,) = (await desk.journey(reply)).links
        assert link.rule == "match.thread"
        assert link.evidence[0].value == "first@mail.test"


async def test_references_reach_over_a_message_that_we_never_saw(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.post(mail(message_id="first@mail.test"))
        headers = ("In-Reply-To: <unseen@mail.test>", "References: <first@mail.test> <unseen@mail.test>")
        assert await desk.links(await desk.post(mail(to="x@else.test", headers=headers))) == {"contact/1"}


async def test_other_externals_of_a_reply_are_matched_after_its_thread(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "carol@customer.test")
        await desk.post(mail(message_id="first@mail.test"))
        reply = await desk.post(mail(to="carol@customer.test", headers=("In-Reply-To: <first@mail.test>",)))
        assert await desk.links(reply) == {"contact/1", "contact/2"}


async def test_an_account_matches_by_its_domain(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("account/1", "info@customer.test", name="Customer")
        arrival = await desk.post(mail(to="nobody.known@customer.test"))
        assert await desk.links(arrival) == {"account/1"}
        assert (await desk.journey(arrival)).links[0].rule == "match.account_domain"


@pytest.mark.parametrize(
    "domain", ["gmail.com", "outlook.com", "qq.com", "web.de", "mail.ru", "orange.fr", "docomo.ne.jp"]
)
async def test_an_account_never_matches_by_a_public_domain(tmp_path: Path, domain: str) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("account/1", f"shop@{domain}")
        assert await desk.links(await desk.post(mail(to=f"shop@{domain}"))) == {"account/1"}
        stranger = await desk.post(mail(to=f"stranger@{domain}"))
        assert stranger.state is ArrivalState.UNRESOLVED


async def test_an_account_is_not_matched_by_domain_where_the_organisation_says_so(tmp_path: Path) -> None:
    settings = OrganisationSettings(match_account_by_domain=False)
    async with office(tmp_path, settings=settings, user_settings=_NOTHING) as desk:
        await desk.record("account/1", "info@customer.test")
        assert await desk.links(await desk.post(mail(to="other@customer.test"))) == set()


async def test_of_several_contacts_with_an_address_the_one_of_the_user_is_meant(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "info@customer.test")
        await desk.record("contact/2", "info@customer.test", owner=desk.anna)
        assert await desk.links(await desk.post(mail(to="info@customer.test"))) == {"contact/2"}


async def test_of_several_contacts_with_an_address_the_one_on_the_thread_is_meant(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "info@customer.test", "bob@customer.test")
        await desk.record("contact/2", "info@customer.test", owner=desk.anna)
        await desk.post(mail(message_id="first@mail.test"))
        reply = await desk.post(mail(to="info@customer.test", headers=("In-Reply-To: <first@mail.test>",)))
        assert await desk.links(reply) == {"contact/1"}


async def test_a_display_name_is_never_an_address(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=_NOTHING) as desk:
        await desk.record("contact/1", "ceo@customer.test")
        arrival = await desk.post(mail(to='"ceo@customer.test" <evil@else.test>'))
        assert await desk.links(arrival) == set()
