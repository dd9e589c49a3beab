"""I13: shared addresses take mail for nobody in particular, and send for those who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailrelay.errors import Conflict, NotPermitted, TooMany
from mailrelay.model.delivery import DeliveryState, Notice
from mailrelay.model.organisation import Role
from mailrelay.model.settings import OrganisationSettings
from mailrelay.smtp.address import parse_address
from mailrelay.store import notices, organisation_addresses, organisations
from tests.support import factory
from tests.support.filing import DOMAIN, mail
from tests.support.house import House, house, on
from tests.support.outbound import relay as way_out


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def to_support(**fields: Any) -> bytes:
    return mail(**{"from_": "Bob <bob@customer.example>", "to": "support@example.org", **fields})


async def test_mail_to_it_is_matched_and_belongs_to_no_user(here: House) -> None:
    assert str(await here.smtp("support@example.org", to_support()))[:9] == "550 5.7.1"
    made = await here.json(
        "organisation-address", "make", "Support@example.org", "--name", "Support", "--owner", "anna@example.org"
    )
    await here.record("contact/1", "bob@customer.example")
    found = await here.filed("SUPPORT+ticket-7@Example.org", to_support())
    assert set(on(found)) == {"contact/1"}
    assert [(one["channel"], one["user"]) for one in found["sources"]] == [("organisation", None)]

    stranger = await here.filed(
        "support@example.org", to_support(from_="Eve <eve@new.example>"), sender="eve@new.example"
    )
    ((lead, link),) = on(stranger).items()
    assert (lead.partition("/")[0], link["rule"]) == ("lead", "create.unknown_correspondent")
    assert (await here.json("record", "show", lead))["owner"] == made["owner"]

    changed = await here.json("organisation-address", "change", made["id"], "--unknown", "nothing", "--owner", "none")
    assert (changed["unknown"], changed["owner"]) == ("nothing", None)
    nobody = await here.filed("support@example.org", to_support(from_="x@other.example"), sender="x@other.example")
    assert "support@example.org has nothing made" in nobody["filings"][0]["explanation"].lower()

    await here.json("organisation-address", "remove", made["id"])
    assert (await here.json("organisation-address", "list"))["items"] == []
    assert str(await here.smtp("support@example.org", to_support()))[:9] == "550 5.7.1"


async def test_rfc5321_postmaster_is_there_beside_it_and_waits_for_a_person(here: House) -> None:
    assert (await here.smtp("postmaster@example.org", to_support())).code == 550
    await here.json("organisation-address", "make", "support@example.org")
    held = await here.filed("postmaster@example.org", to_support(to="postmaster@example.org"))
    assert held["filings"][0]["reason"] == "postmaster"
    assert str(await here.smtp("sales@example.org", to_support()))[:9] == "550 5.1.1"


@pytest.mark.parametrize(
    ("address", "because"),
    [
        ("support@elsewhere.example", "is no domain of the organisation"),
        ("a+b@example.org", "behind a +"),
        ("anna@example.org", "is an address of a user"),
        ("bcc-x@inbound.localhost", "means something else"),
        ("r-x@inbound.localhost", "means something else"),
        ("Postmaster@inbound.localhost", "means something else"),
    ],
)
async def test_what_cannot_be_one_is_refused_with_the_reason(here: House, address: str, because: str) -> None:
    domain = here.relay.running.application.config.inbound.domains[0]
    said = await here.refused("organisation-address", "make", address.replace("inbound.localhost", domain))
    assert because in said


async def test_one_at_the_dropboxes_domain_takes_mail_and_a_user_writes_to_it(here: House) -> None:
    domain = here.relay.running.application.config.inbound.domains[0]
    sales = f"sales@{domain}"
    await here.json("organisation-address", "make", sales)
    await here.record("contact/1", "bob@customer.example")
    assert set(on(await here.filed(sales, to_support(to=sales)))) == {"contact/1"}
    sent = await here.json(
        *("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example", "--cc", sales),
        *("--subject", "Hello", "--text", "Hi"),
    )
    assert [one["recipient"] for one in sent["deliveries"]] == ["bob@customer.example"]
    async with asyncio.timeout(30):
        while len(found := (await here.message(sent["queue_id"]))["sources"]) < 2:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)
    assert {one["channel"] for one in found} == {"api", "organisation"}


async def test_those_who_may_send_as_it_and_what_they_send_is_the_organisations(here: House) -> None:
    made = await here.json("organisation-address", "make", "support@example.org", "--sender", "anna@example.org")
    letter = (
        "message",
        "send",
        "--from",
        "support@example.org",
        "--to",
        "bob@customer.example",
        "--subject",
        "x",
        "--text",
        "y",
    )
    refusal = await here.refused(*letter, "--user", "ben@example.org")
    assert "support@example.org in the From or Sender field is a shared address that you may not send as" in refusal
    sent = await here.message((await here.json(*letter, "--user", "anna@example.org"))["queue_id"])
    assert {one["user"] for one in sent["sources"]} == {None}
    # The answer comes back to it, and follows its thread.
    reply = await here.filed("support@example.org", to_support(headers=(f"In-Reply-To: <{sent['message_id']}>",)))
    assert set(on(reply)) == set(on(sent))
    assert on(sent)
    await here.json("organisation-address", "change", made["id"], "--sender", "all")
    assert (await here.json(*letter, "--user", "ben@example.org"))["deliveries"]


async def test_o02_guests_and_inactive_users_send_as_none_and_nobody_sends_as_another_organisations(
    tmp_path: Path,
) -> None:
    async with way_out(tmp_path) as us:
        await factory.organisation_address(us.store, us.clock, us.org, "info@acme.test")
        other = await factory.org(us.store, us.clock, domains=("other.test",))
        await factory.organisation_address(us.store, us.clock, other, "info@other.test")
        guest = await factory.user(us.store, us.clock, us.org, "guest@acme.test", role=Role.GUEST)
        info = parse_address("info@acme.test")
        assert (await us.submit(raw=us.mail("info@acme.test"), mail_from=info)).deliveries
        assert (await us.submit(raw=us.mail("info+de@acme.test"), mail_from=us.anna.primary)).deliveries
        with pytest.raises(NotPermitted, match="shared address"):
            await us.submit(user=guest.id, raw=us.mail("info@acme.test"), mail_from=guest.primary)
        with pytest.raises(NotPermitted, match="none of your addresses"):
            await us.submit(raw=us.mail("info@other.test"), mail_from=us.anna.primary)


async def test_what_goes_wrong_with_mail_sent_as_it_is_told_to_who_sent_it(tmp_path: Path) -> None:
    async with way_out(tmp_path) as us:
        await factory.organisation_address(us.store, us.clock, us.org, "info@acme.test")
        info = parse_address("info@acme.test")
        sent = await us.submit(raw=us.mail("info@acme.test"), mail_from=info)

        def owe(tx: Any) -> Any:
            from sqlalchemy import update

            from mailrelay.store.tables import delivery

            tx.execute(update(delivery).values(state=DeliveryState.EXPIRED, notice=Notice.FAILED))
            return notices.owed(tx, sent.queue_id)

        assert (await us.store.write(owe)).author == us.anna.primary


async def test_an_organisation_has_as_many_as_its_setting_says_and_each_address_is_ones(tmp_path: Path) -> None:
    async with way_out(tmp_path) as us:
        few = await factory.org(
            us.store, us.clock, domains=("few.test",), settings=OrganisationSettings(organisation_addresses=2)
        )
        for name in ("a", "b"):
            await factory.organisation_address(us.store, us.clock, few, f"{name}@{DOMAIN}")
        with pytest.raises(TooMany, match="2 addresses"):
            await factory.organisation_address(us.store, us.clock, few, f"c@{DOMAIN}")
        with pytest.raises(Conflict, match="in use"):
            await factory.organisation_address(us.store, us.clock, us.org, f"A@{DOMAIN}")
        with pytest.raises(Conflict, match="address of the organisation"):
            await factory.user(us.store, us.clock, few, f"b@{DOMAIN}")
        assert (await us.store.read(organisations.get, us.org.id)).settings.organisation_addresses == 10


async def test_one_at_a_domain_that_the_organisation_has_lost_takes_nothing(tmp_path: Path) -> None:
    from dataclasses import replace

    async with way_out(tmp_path) as us:
        await factory.organisation_address(us.store, us.clock, us.org, "info@acme.test")
        info = parse_address("info@acme.test")

        async def opened() -> Any:
            (found,) = await us.store.read(organisation_addresses.opened_by, [info], domains=(DOMAIN,))
            return found

        assert (await opened()).org == us.org.id
        await us.store.write(organisations.update_organisation, replace(us.org, domains=()))
        assert await opened() is organisation_addresses.Closed.ELSEWHERE
        await factory.org(us.store, us.clock, domains=("acme.test",))
        assert await opened() is organisation_addresses.Closed.ELSEWHERE


async def test_its_settings_are_for_what_comes_and_not_for_what_a_user_sends_as_it(here: House) -> None:
    await here.json("organisation-address", "make", "support@example.org", "--unknown", "nothing")
    sent = await here.json(
        *("message", "send", "--from", "support@example.org", "--user", "anna@example.org"),
        *("--to", "eve@new.example", "--subject", "x", "--text", "y"),
    )
    (lead,) = on(await here.message(sent["queue_id"]))
    assert lead.startswith("lead/")
    anna = await here.json("user", "show", "anna@example.org")
    assert (await here.json("record", "show", lead))["owner"] == anna["id"]


async def test_a_mail_from_it_to_itself_goes_nowhere_and_waits_nowhere(here: House) -> None:
    await here.json("organisation-address", "make", "support@example.org")
    sent = await here.json(
        *("message", "send", "--from", "support@example.org", "--user", "anna@example.org"),
        *("--to", "support@example.org", "--subject", "round", "--text", "and round"),
    )
    assert sent["deliveries"] == []
    assert [one["channel"] for one in (await here.message(sent["queue_id"]))["sources"]] == ["api"]
    assert (await here.json("unresolved", "list"))["items"] == []
