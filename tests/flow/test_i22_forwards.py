"""I22: a forward is filed as the original correspondent's mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.model.envelope import ArrivalState
from mailrelay.model.settings import OrganisationSettings, SenderCheck
from tests.support.filing import attach, mail, office

_BLOCKS = {
    "gmail": (
        "Fwd: Question",
        (
            "---------- Forwarded message ---------\r\nFrom: Bob Roe <bob@customer.test>\r\nDate: Mon, 1 Jun 2026 at 10:00\r\n"
            "Subject: Question\r\nTo: <anna@example.com>\r\n\r\nHello\r\n"
        ),
    ),
    "outlook, German": (
        "WG: Frage",
        (
            "Siehe unten.\r\n\r\nVon: Bob Roe <bob@customer.test>\r\nGesendet: Montag, 1. Juni 2026 10:00\r\n"
            "An: Anna <anna@example.com>\r\nBetreff: Frage\r\n\r\nHallo\r\n"
        ),
    ),
    "apple, French": (
        "Fwd: Question",
        (
            "Début du message réexpédié :\r\n\r\nDe: Bob Roe <bob@customer.test>\r\nObjet: Question\r\n"
            "Date: 1 juin 2026 à 10:00:00 UTC+2\r\nÀ: anna@example.com\r\n\r\nBonjour\r\n"
        ),
    ),
}


@pytest.mark.parametrize("client", sorted(_BLOCKS))
async def test_an_inline_forward_goes_to_the_original_sender(tmp_path: Path, client: str) -> None:
    subject, body = _BLOCKS[client]
    async with office(tmp_path) as desk:
        arrival = await desk.post(mail(to=desk.dropbox_address(), subject=subject, body=body))
        assert arrival.state is ArrivalState.FILED
        (lead,) = await desk.all_records("lead")
        assert (lead.name, str(lead.addresses[0].address)) == ("Bob Roe", "bob@customer.test")
        assert await desk.links(arrival) == {str(lead.ref)}
        roles = {person.role: str(person.address) for person in (await desk.journey(arrival)).message.participants}
        assert roles["forwarded_from"] == "bob@customer.test"


async def test_that_the_forwarder_is_a_record_himself_changes_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "anna@home.test")  # the forwarder is a record himself
        await desk.record("contact/3", "partner@else.test")
        subject, body = _BLOCKS["gmail"]
        sent = mail(
            from_="anna@home.test", to=f"partner@else.test, {desk.dropbox_address()}", subject=subject, body=body
        )
        assert await desk.links(await desk.post(sent)) == {"contact/1", "contact/3"}


async def test_a_mail_that_a_colleague_had_forwarded_is_the_customers(tmp_path: Path) -> None:
    inner = _BLOCKS["gmail"][1].replace("To: <anna@", "To: <ben@")
    outer = inner.replace("Bob Roe <bob@customer.test>", "Ben <ben@example.com>").replace("Hello\r\n", inner)
    async with office(tmp_path) as desk:
        await desk.post(mail(to=desk.dropbox_address(), subject="Fwd: Fwd: Question", body=outer))
        assert [str(lead.addresses[0].address) for lead in await desk.all_records("lead")] == ["bob@customer.test"]


async def test_a_forward_of_our_own_mail_goes_to_whom_it_was_sent(tmp_path: Path) -> None:
    body = _BLOCKS["gmail"][1].replace("Bob Roe <bob@customer.test>", "Anna <anna@example.com>")
    body = body.replace("To: <anna@example.com>", "To: <sue@new.test>")
    async with office(tmp_path) as desk:
        await desk.post(mail(to=desk.dropbox_address(), subject="Fwd: Question", body=body))
        assert [str(lead.addresses[0].address) for lead in await desk.all_records("lead")] == ["sue@new.test"]


async def test_every_mail_attached_to_a_forward_is_filed_as_its_own(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        originals = [
            mail(from_="Bob <bob@customer.test>", to="anna@example.com", message_id="one@mail.test"),
            mail(from_="Sue <sue@new.test>", to="anna@example.com", message_id="two@mail.test"),
            mail(from_="Sue <sue@new.test>", to="anna@example.com", subject="More", message_id="three@mail.test"),
        ]
        arrival = await desk.post(attach(*originals, originals[0], to=desk.dropbox_address(), subject="Fwd: three"))
        assert arrival.state is ArrivalState.FILED
        (lead,) = await desk.all_records("lead")
        filed = {message.message_id: message for message in await desk.messages() if message.part}
        assert sorted(message.part for message in filed.values()) == [1, 2, 3]
        assert await desk.links(filed["one@mail.test"].id) == {"contact/1"}
        assert await desk.links(filed["two@mail.test"].id) == {str(lead.ref)}
        assert await desk.links(filed["three@mail.test"].id) == {str(lead.ref)}
        assert await desk.links(arrival) == {"contact/1", str(lead.ref)}  # the note on top is found at both
        assert await desk.bodies.read(filed["two@mail.test"].raw) == originals[1]
        assert len((await desk.journey(arrival)).attached) == 3


async def test_a_mail_sent_with_another_attached_is_no_forward(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        other = mail(from_="sue@new.test", to="anna@example.com")
        assert await desk.links(await desk.post(attach(other, to="bob@customer.test"))) == {"contact/1"}
        assert len(await desk.messages()) == 1


async def test_attached_mails_that_answer_one_another_are_filed(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        one = mail(from_="sue@new.test", to="anna@example.com", message_id="one@mail.test")
        two = mail(from_="sue@new.test", to="anna@example.com", headers=("In-Reply-To: <one@mail.test>",))
        arrival = await desk.post(attach(one, two, to=desk.dropbox_address()))
        assert arrival.state is ArrivalState.FILED
        assert len(await desk.all_records("lead")) == 1


_EMIL = _BLOCKS["gmail"][1].replace("Bob Roe <bob@customer.test>", "Emil Ek <emil@supplier.test>")


async def test_whom_a_forward_was_sent_to_is_matched_beside_its_original_sender(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("deal/1", links={"contact": "contact/1"})
        await desk.record("contact/2", "emil@supplier.test")
        arrival = await desk.post(mail(subject="Fwd: Prices", body=_EMIL))
        assert await desk.links(arrival) == {"contact/1", "deal/1", "contact/2"}
        evidence = {link.record.id: link.evidence[0].header for link in (await desk.journey(arrival)).links}
        assert evidence["2"] == "From of the forwarded mail"


async def test_a_new_mail_that_quotes_somebody_else_is_still_whom_it_is_to(tmp_path: Path) -> None:
    block = "Look below.\r\n\r\nFrom: Emil Ek <emil@supplier.test>\r\nSent: Monday, 1 June 2026 10:00\r\n"
    block += "To: Anna <anna@example.com>\r\nSubject: Prices\r\n\r\nHello\r\n"
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "emil@supplier.test")
        assert await desk.links(await desk.post(mail(subject="About Emil", body=block))) == {"contact/1", "contact/2"}


async def test_an_unknown_buyer_to_whom_we_forward_is_created_like_the_original_sender(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        arrival = await desk.post(mail(to="Lena <lena@buyer.test>", subject="FW: Prices", body=_EMIL))
        leads = await desk.all_records("lead")
        assert {lead.name for lead in leads} == {"Lena", "Emil Ek"}
        assert await desk.links(arrival) == {str(lead.ref) for lead in leads}


async def test_whom_a_stranger_forwarded_to_is_not_created(tmp_path: Path) -> None:
    anyone = OrganisationSettings(sender_check=SenderCheck.TOKEN)
    async with office(tmp_path, settings=anyone) as desk:
        to = f"lena@buyer.test, {desk.dropbox_address()}"
        await desk.post(mail(from_="eve@else.test", to=to, subject="Fwd: Prices", body=_EMIL))
        assert [lead.name for lead in await desk.all_records("lead")] == ["Emil Ek"]


async def test_mails_attached_beside_an_inline_block_are_filed_too(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        one = mail(from_="sue@new.test", to="anna@example.com", message_id="one@mail.test")
        raw = attach(one, to=desk.dropbox_address(), subject="Fwd: Question")
        raw = raw.replace(b"See these.\r\n", _BLOCKS["gmail"][1].encode())
        arrival = await desk.post(raw)
        (lead,) = await desk.all_records("lead")
        assert await desk.links(arrival) == {"contact/1", str(lead.ref)}
        (part,) = [message for message in await desk.messages() if message.part]
        assert (part.message_id, await desk.links(part.id)) == ("one@mail.test", {str(lead.ref)})


@pytest.mark.parametrize("to", ["anna@example.com", "ben@example.com", "undisclosed-recipients:;"])
async def test_attached_mails_in_a_mail_to_nobody_else_are_forwarded_whatever_its_subject(
    tmp_path: Path, to: str
) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        one = mail(from_="bob@customer.test", to="anna@example.com", message_id="one@mail.test")
        arrival = await desk.post(attach(one, to=to, subject="Invoice of Bob"))
        assert await desk.links(arrival) == {"contact/1"}
        assert {message.message_id for message in await desk.messages() if message.part} == {"one@mail.test"}
