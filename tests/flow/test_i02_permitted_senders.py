"""I2: who may use a dropbox, at each strictness, and what becomes of the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mailrelay.model.envelope import ArrivalState, Peer
from mailrelay.model.lookup import Answer, LookupStatus, Question, RecordType
from mailrelay.model.settings import OrganisationSettings, SenderCheck
from tests.support.filing import mail, office


class _Spf:
    """home.test lets 192.0.2.1 send; every other question has no answer, or none yet."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down

    async def resolve(self, question: Question) -> Answer:
        if self.down:
            return Answer(LookupStatus.TEMPORARY, detail="no answer")
        if question == Question(RecordType.TXT, "home.test"):
            return Answer(LookupStatus.FOUND, strings=(b"v=spf1 ip4:192.0.2.1 -all",))
        return Answer(LookupStatus.NO_NAME)


def _peer(ip: str) -> Peer:
    return Peer(ip=ip, port=25, helo="mx.home.test", esmtp=True, tls="")


async def test_primary_and_alternate_addresses_are_permitted_in_any_case(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        for sender in ("anna@example.com", "ANNA@Example.COM", "Anna <Anna@home.test>"):
            arrival = await desk.post(mail(from_=sender))
            assert arrival.state is ArrivalState.FILED, sender
            assert await desk.links(arrival) == {"contact/1"}


async def test_another_sender_is_held_visible_and_not_linked(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        for sender in ("eve@stranger.test", "ben@example.com", "anna@example.com, eve@stranger.test"):
            arrival = await desk.post(mail(from_=sender))
            assert arrival.state is ArrivalState.UNRESOLVED, sender
            assert await desk.links(arrival) == set()
        entries = await desk.waiting()
        assert [entry.reason for entry in entries] == ["unpermitted_sender"] * 3
        assert "eve@stranger.test is not an address of" in " ".join(entry.explanation for entry in entries)
        assert await desk.is_balanced()


async def test_the_token_alone_is_enough_where_the_organisation_says_so(tmp_path: Path) -> None:
    async with office(tmp_path, settings=OrganisationSettings(sender_check=SenderCheck.TOKEN)) as desk:
        await desk.record("contact/1", "bob@customer.test")
        arrival = await desk.post(mail(from_="bob@customer.test", to="someone@else.test"))
        assert arrival.state is ArrivalState.FILED
        assert await desk.links(arrival) == {"contact/1"}
        assert await desk.all_records("lead") == ()  # the strangers whom a customer writes to are not ours


async def test_a_forwarder_who_is_not_permitted_is_held(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        body = "---------- Forwarded message ---------\r\nFrom: Bob <bob@customer.test>\r\nDate: Mon, 1 Jun 2026\r\n"
        body += "Subject: x\r\nTo: <anna@example.com>\r\n\r\nHello\r\n"
        arrival = await desk.post(
            mail(from_="eve@stranger.test", to=desk.dropbox_address(), subject="Fwd: x", body=body)
        )
        assert arrival.state is ArrivalState.UNRESOLVED
        assert await desk.all_records("lead") == ()


async def test_spf_in_alignment_passes_the_strictest_check(tmp_path: Path) -> None:
    strict = OrganisationSettings(sender_check=SenderCheck.AUTHENTICATED)
    async with office(tmp_path, settings=strict, resolver=_Spf()) as desk:
        await desk.record("contact/1", "bob@customer.test")
        sent = {"from_": "anna@home.test"}
        right = await desk.post(mail(**sent), mail_from="anna@home.test", peer=_peer("192.0.2.1"))
        wrong = await desk.post(mail(**sent), mail_from="anna@home.test", peer=_peer("192.0.2.9"))
        other = await desk.post(mail(**sent), mail_from="anna@else.test", peer=_peer("192.0.2.1"))
        assert [one.state for one in (right, wrong, other)] == ["filed", "unresolved", "unresolved"]
        assert {entry.reason for entry in await desk.waiting()} == {"unauthenticated"}
        assert (await desk.journey(right)).message.auth is not None


async def test_dns_out_of_order_is_waited_for_and_then_held(tmp_path: Path) -> None:
    strict = OrganisationSettings(sender_check=SenderCheck.AUTHENTICATED)
    async with office(tmp_path, settings=strict, resolver=_Spf(down=True)) as desk:
        arrival = await desk.post(mail(), peer=_peer("192.0.2.1"))
        for _ in range(5):  # more often than our own failures are borne
            assert arrival.state is ArrivalState.ACCEPTED
            desk.clock.advance(timedelta(minutes=1))
            await desk.worker.drain()
            arrival = await desk.arrival(arrival.id)
        desk.clock.advance(timedelta(minutes=10))
        await desk.worker.drain()
        assert (await desk.arrival(arrival.id)).state is ArrivalState.UNRESOLVED
        assert [entry.reason for entry in await desk.waiting()] == ["unauthenticated"]
