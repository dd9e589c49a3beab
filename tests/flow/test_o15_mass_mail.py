"""O15 on the way out and back: what a next hop gets of mass mail, who gets none of it, and mails that unsubscribe (T09)."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import ListenerKind
from mailrelay.errors import Conflict, Invalid, Suppressed
from mailrelay.ids import DeliveryId
from mailrelay.mail import unsubscribe_address
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.envelope import ArrivalState
from mailrelay.model.event import EventType
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import PERSON, SuppressionReason
from mailrelay.model.tracking import Mode
from mailrelay.outbound.tracked import Door
from mailrelay.store import deliveries, domains, organisations, suppressions, tallies
from mailrelay.tracking.token import Keys, Kind, Token, read
from tests.flow.test_i11_hard_and_soft import by_mx
from tests.flow.test_o02_from import make_keys
from tests.support import verifiers
from tests.support.edge import PASSWORD, edge
from tests.support.outbound import Relay, relay
from tests.support.remote import remote
from tests.support.smtp_client import connected
from tests.support.unsubscribing import a_list
from tests.support.way_back import BOUNCES, SECRET, Post, way_back

KEYS = Keys.derive(b"secret")
DOOR = Door("https://mail.us.test", KEYS)
HTML = "<html><body><p>Grüße <a href='https://x.example/'>hier</a></p></body></html>\r\n".encode()
BODY = (
    b"--xyz\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHello\r\n\r\n"
    b"--xyz\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + HTML + b"\r\n--xyz--\r\n"
)  # fmt: skip
HEADER = b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="xyz"\r\n'
LINK = re.compile(r"https://mail\.us\.test/u/([\w-]+)")
BOB = "bob@b.test"


def mass(us: Relay, **more: Any) -> dict[str, Any]:
    return {"raw": us.mail(body=BODY, header=HEADER), "job": "spring", "list": "news", **more}


def read_mail(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default.clone(max_line_length=None))
    assert isinstance(found, EmailMessage)
    return found


def token(url: str) -> Token:
    match = LINK.search(url)
    assert match is not None, url
    found = read(match[1], KEYS, "mail.us.test")
    assert found is not None
    return found


async def leave(us: Relay, address: str, list_: str = "") -> None:
    await us.store.write(
        suppressions.suppress,
        org=us.org.id,
        key=address,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence="link",
        now=us.clock.now(),
        by=PERSON,
        list_=list_,
    )


async def set_(us: Relay, **settings: Any) -> None:
    await us.store.write(organisations.update_organisation, replace(us.org, settings=OrganisationSettings(**settings)))


async def news(us: Relay) -> None:
    await a_list(us.store, us.clock, us.org.id)


async def test_o15_every_copy_of_mass_mail_has_its_own_way_out_under_the_signature(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        zone = await make_keys(us, "acme.test")
        await us.store.write(domains.note_proof, us.org.id, "acme.test", proved_at=us.clock.now(), proof="ok")
        await news(us)
        await set_(us, tracking=Mode.AGGREGATE)
        us.start()
        done = await us.until(await us.submit(BOB, "eve@b.test", **mass(us)))
        published = {name: text for (kind, name), text in zone.items() if kind == "TXT"}
        assert {one.list for one in done} == {"news"}
        assert len(sink.messages) == 2
        for one in done:
            (content,) = [got.content for got in sink.messages if str(one.address) in got.rcpt[0]]
            sent = read_mail(content)
            (field,) = sent.get_all("List-Unsubscribe")
            page, mailto = field.split(", ")
            assert sent.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
            assert sent.get_all("List-Id") == [f"<news.{us.org.id.lower()}.bounce.us.test>"]
            assert token(page) == Token(Kind.UNSUBSCRIBE, one.id, list="news")
            local = re.fullmatch(r"<mailto:([^@]+)@bounce\.us\.test\?subject=unsubscribe>", mailto)
            assert local is not None
            assert unsubscribe_address.read(local[1], (SECRET,)) == one.id
            text, html = sent.iter_parts()
            for part in (text.get_content(), html.get_content()):
                assert token(part).delivery == one.id
            assert (
                text.get_content().replace("\r\n", "\n").startswith("Hello\n\nUnsubscribe from these mails: https://")
            )
            assert html.get_content().count("/c/") == 2  # tracked beside it, and the link itself is not
            # RFC 8058 §4: the signature covers both fields, once more than they are there.
            for signature in sent.get_all("DKIM-Signature"):
                (names,) = re.findall(r"\bh=([^;]*)", re.sub(r"\s", "", signature))
                assert names.lower().split(":").count("list-unsubscribe") == 2
                assert names.lower().split(":").count("list-unsubscribe-post") == 2
            assert verifiers.dkimpy(content, published) == [True, True]
            forged = content.replace(b"List-Unsubscribe=One-Click", b"List-Unsubscribe=Two-Clicks", 1)
            assert verifiers.dkimpy(forged, published) == [False, False]


async def test_mail_of_no_job_has_none_of_it(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        us.start()
        await us.until(await us.submit(raw=us.mail(body=b"{{unsubscribe}}\r\n")))
        (one,) = sink.messages
        assert one.content.endswith(b"\r\n\r\n{{unsubscribe}}\r\n")
        assert b"List-Unsubscribe" not in one.content


async def test_without_https_one_unsubscribes_by_mail_and_page_only(tmp_path: Path) -> None:
    door = Door("http://localhost:8026", KEYS)
    async with remote() as sink, relay(tmp_path, letters={"door": door}, **by_mx(sink)) as us:
        us.start()
        raw = us.mail(
            body=b"leave: {{unsubscribe}}\r\n", header=b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        )
        await us.until(await us.submit(**mass(us, raw=raw, list="")))
        sent = read_mail(sink.messages[0].content)
        assert sent["List-Unsubscribe"].startswith("<mailto:u-")
        assert sent["List-Unsubscribe-Post"] is None
        assert sent["List-Id"] is None
        assert sent.get_content().startswith("leave: http://localhost:8026/u/")


async def test_an_organisation_says_it_in_its_own_words_on_its_own_host(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await set_(us, unsubscribe_text="Möchten Sie keine Mails mehr?", tracking_host="links.acme.test")
        us.start()
        await us.until(await us.submit(**mass(us, raw=us.mail(), list="")))
        sent = read_mail(sink.messages[0].content)
        assert "Möchten Sie keine Mails mehr?: https://links.acme.test/u/" in sent.get_content()
        assert sent["List-Unsubscribe"].startswith("<https://links.acme.test/u/")


async def test_mass_mail_of_the_null_reverse_path_goes_to_each_by_itself(tmp_path: Path) -> None:
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        us.start()
        done = await us.until(await us.submit(BOB, "eve@b.test", **mass(us, list="", mail_from=None)))
        found = {token(read_mail(one.content)["List-Unsubscribe"]).delivery for one in sink.messages}
        assert found == {one.id for one in done}


async def test_who_left_a_list_gets_its_mass_mail_no_more_and_all_other_mail(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        await news(us)
        await a_list(us.store, us.clock, us.org.id, "offers", label="Offers")
        await leave(us, BOB, "news")
        with pytest.raises(Suppressed) as refused:
            await us.submit(**mass(us))
        assert str(refused.value).startswith(
            f"{BOB} is suppressed for the list news (unsubscribed) since 2026-11-02; only its owner"
        )
        for more in ({"job": ""}, {"list": ""}, {"list": "offers"}):
            assert (await us.submit(**mass(us, **({"list": ""} if "job" in more else {}), **more))).deliveries
        await leave(us, BOB)
        for more in ({"job": "", "list": ""}, {"list": ""}, {"list": "offers"}):
            with pytest.raises(Suppressed):
                await us.submit(**mass(us, **more))


async def test_a_list_that_there_is_not_and_one_without_a_job_are_refused(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        with pytest.raises(Invalid, match="there is no mailing list news"):
            await us.submit(**mass(us))
        await news(us)
        with pytest.raises(Invalid, match="say its job too"):
            await us.submit(**mass(us, job=""))
        assert (await us.submit(**mass(us), idempotency_key="a")).deliveries
        with pytest.raises(Conflict):
            await us.submit(**mass(us, list=""), idempotency_key="a")


async def test_it_takes_effect_at_once_for_what_is_queued(tmp_path: Path) -> None:
    async with relay(tmp_path) as us:
        await news(us)
        await a_list(us.store, us.clock, us.org.id, "offers", label="Offers")
        of_list, of_other = await us.submit(**mass(us)), await us.submit(**mass(us, list="offers"))
        await leave(us, BOB, "news")
        us.start()
        (stopped,) = await us.until(of_list, DeliveryState.SUPPRESSED)
        await us.until(of_other)
        assert stopped.last_reply.startswith(f"{BOB} is suppressed for the list news (unsubscribed)")
        assert await us.history(stopped.id) == ()


async def test_over_smtp_the_list_is_a_field_that_does_not_leave(tmp_path: Path) -> None:
    async with edge(tmp_path) as server:
        await a_list(server.store, server.clock, server.organisation.id)
        async with connected(server.port(ListenerKind.SUBMISSION)) as client:
            await client.ehlo()
            await client.starttls()
            await client.ehlo()
            await client.log_in("anna@example.com", PASSWORD)

            async def say(*fields: str) -> str:
                raw = "".join(f"{one}\r\n" for one in (*fields, "From: anna@example.com", "Subject: x", "", "x"))
                return str(await client.mail(BOB, raw.encode()))

            job = "X-Mailrelay-Job: spring"
            assert (await say(job, "X-Mailrelay-List: other")).startswith("554 ")
            assert "more than once" in await say(job, "X-Mailrelay-List: news", "x-mailrelay-list: news")
            assert "lower-case" in await say(job, "X-Mailrelay-List: No Name")
            assert "say its job too" in await say("X-Mailrelay-List: news")
            assert (await say(job, "X-Mailrelay-List: news")).startswith("250 ")
        (one,) = await server.store.read(deliveries.list_deliveries, server.organisation.id)
        assert (one.job, one.list) == ("spring", "news")
        assert b"mailrelay-list" not in (await server.bodies.read(one.raw)).lower()


# --- by mail (T09) ---


def address_of(of: DeliveryId, secret: bytes = SECRET) -> str:
    return str(unsubscribe_address.make(of, secret, BOUNCES))


def a_mail(to: str, from_: str = BOB) -> bytes:
    return f"From: {from_}\r\nTo: {to}\r\nSubject: unsubscribe\r\n\r\nunsubscribe {from_}\r\n".encode()


async def standing(post: Post, address: str) -> list[tuple[str, str, str]]:
    found = await post.edge.store.read(suppressions.history, post.org.id, address)
    return [(one.reason, one.list, one.by) for one in found]


async def test_fault_t09_only_the_signed_address_says_who_leaves(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        await a_list(post.edge.store, post.relay.clock, post.org.id)
        sent = await post.send(BOB, job="spring", list="news")
        to = address_of(sent.delivery.id)
        assert to in (read_mail(sent.content)["List-Unsubscribe"])
        for from_, sender in (("eve@b.test", "eve@b.test"), ("anna@acme.test", ""), (BOB, "mallory@evil.test")):
            arrival = await post.bring(a_mail(to, from_), to=to.upper(), sender=sender)
            assert (arrival.state, arrival.message) == (ArrivalState.DROPPED, None)
        assert await standing(post, BOB) == [("unsubscribed", "news", "person")]
        for nobody in ("eve@b.test", "anna@acme.test", "mallory@evil.test"):
            assert await standing(post, nobody) == []
        (told,) = await post.told(sent, EventType.ADDRESS_UNSUBSCRIBED)
        assert (told["address"], told["list"], told["way"]) == (BOB, "news", "mail")
        sending = Sending(Scope.JOB, "spring")
        assert (await post.edge.store.read(tallies.since, post.org.id, sending, 0)).unsubscribed == 1
        assert await post.is_balanced()


async def test_fault_t09_a_forged_address_is_refused_in_the_dialogue(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB, job="spring")
        for to in (
            address_of(sent.delivery.id, b"another secret"),
            address_of(DeliveryId("D" + "0" * 20)),
            address_of(sent.delivery.id).replace("u-", "u-1", 1),
            f"unsubscribe@{BOUNCES}",
        ):
            answer = await post.offer(a_mail(to), to=to, sender=BOB)
            assert answer.code == 550, answer
        assert await standing(post, BOB) == []


async def test_a_mail_of_no_list_leaves_all_and_nobody_gets_an_answer(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        sent = await post.send(BOB, job="spring")
        to = address_of(sent.delivery.id)
        await post.bring(a_mail(to), to=to, sender=BOB)
        assert await standing(post, BOB) == [("unsubscribed", "", "person")]
        with pytest.raises(Suppressed):
            await post.relay.submit(BOB)
        found = await post.edge.store.read(deliveries.list_deliveries, post.org.id)
        assert [one.id for one in found] == [sent.delivery.id]


async def test_who_opts_out_by_a_report_leaves_the_list_of_that_mail(tmp_path: Path) -> None:
    async with way_back(tmp_path) as post:
        await a_list(post.edge.store, post.relay.clock, post.org.id)
        sent = await post.send(BOB, job="spring", list="news")
        await post.bring(sent.complaint("opt-out"), to=f"feedback@{BOUNCES}")
        assert await standing(post, BOB) == [("unsubscribed", "news", "person")]
