"""O9 on the way out: each copy has its own pixel and links or none, by organisation, message and consent as they are when it leaves."""

from __future__ import annotations

import quopri
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mailrelay.clock import Clock
from mailrelay.config.schema import ListenerKind
from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Consent, Mode, Tracked
from mailrelay.outbound.tracked import Door
from mailrelay.store import consents, deliveries, domains, events, organisations
from mailrelay.store.base import Store
from mailrelay.tracking.token import Keys, Kind, Token, read
from tests.flow.test_i11_hard_and_soft import by_mx
from tests.flow.test_o02_from import make_keys
from tests.support import factory, verifiers
from tests.support.cli import Cli
from tests.support.edge import PASSWORD, edge
from tests.support.http import serving
from tests.support.outbound import Relay, relay
from tests.support.remote import Remote, remote
from tests.support.smtp_client import connected

KEYS = Keys.derive(b"secret")
DOOR = Door("https://mail.us.test", KEYS)
HTML = '<html><body><p>Grüße <a href="https://x.example/?a=1&amp;b=2">hier</a></p></body></html>\r\n'.encode()
BODY = (
    b"--xyz\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nhttps://x.example/?a=1\r\n"
    b"--xyz\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + HTML + b"\r\n--xyz--\r\n"
)  # fmt: skip
HEADER = b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="xyz"\r\n'
OURS = re.compile(rb"https://([a-z.]+)/(?:c/([\w-]+)|o/([\w-]+)\.gif)")
ADDED = re.compile(rb'<img src="https://[a-z.]+/o/[^>]*><a [^>]*></a>')


async def allow(us: Relay, mode: Mode, **more) -> None:
    settings = OrganisationSettings(tracking=mode, **more)
    await us.store.write(organisations.update_organisation, replace(us.org, settings=settings))


async def says(us: Relay, address: str, *, given: bool) -> None:
    said = Consent(org=us.org.id, key=address, given=given, at=us.clock.now(), by="anna", evidence="form")
    await us.store.write(consents.record, said)


def letter(us: Relay, body: bytes = BODY, header: bytes = HEADER) -> bytes:
    return us.mail(body=body, header=header)


def tokens(content: bytes, host: str = "mail.us.test") -> list[Token]:
    found = []
    for match in OURS.finditer(content):
        token = read((match[2] or match[3]).decode(), KEYS, match[1].decode())
        assert match[1].decode() == host
        assert token is not None
        found.append(token)
    return found


def copies(sink: Remote) -> Mapping[str, bytes]:
    """What each recipient got, without the header."""
    return {one.rcpt[0]: one.content.partition(b"\r\n\r\n")[2] for one in sink.messages}


def undone(content: bytes) -> bytes:
    return OURS.sub(b"https://x.example/?a=1&amp;b=2", ADDED.sub(b"", content))


async def test_o09_each_copy_has_tokens_of_its_own_delivery_and_nothing_else_is_changed(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        us.start()
        submitted = await us.submit("bob@b.test", "eve@b.test", raw=letter(us))
        done = await us.until(submitted)
        got = copies(sink)
        for one in done:
            content = next(body for rcpt, body in got.items() if str(one.address) in rcpt)
            found = tokens(content)
            assert [token.kind for token in found] == [Kind.CLICK, Kind.OPEN, Kind.DECOY]
            assert {token.delivery for token in found} == {one.id}
            assert (found[0].target, found[0].link) == ("https://x.example/?a=1&b=2", 1)
            assert undone(content) == BODY
            assert one.tracked is Tracked.LINKS
        sent = [
            event for event in await us.store.read(events.after, us.org.id, 0, limit=100)
            if event.type is EventType.DELIVERY_SENT
        ]  # fmt: skip
        assert [dict(event.data)["tracked"] for event in sent] == ["links", "links"]


@pytest.mark.parametrize(
    ("organisation", "message", "consent", "expected"),
    [
        (Mode.OFF, Mode.INDIVIDUAL, True, False),
        (Mode.INDIVIDUAL, None, None, False),
        (Mode.INDIVIDUAL, None, False, False),
        (Mode.INDIVIDUAL, None, True, True),
        (Mode.INDIVIDUAL, Mode.AGGREGATE, None, True),
        (Mode.INDIVIDUAL, Mode.OFF, True, False),
        (Mode.AGGREGATE, None, False, False),
        (Mode.AGGREGATE, None, None, True),
    ],
)
async def test_fault_t10_without_consent_a_copy_has_no_pixel_and_no_link_is_rewritten(
    tmp_path: Path, organisation: Mode, message: Mode | None, consent: bool | None, expected: bool
):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, organisation)
        if consent is not None:
            await says(us, "bob@b.test", given=consent)
        us.start()
        (done,) = await us.until(await us.submit(raw=letter(us), tracking=message))
        (content,) = copies(sink).values()
        assert (content != BODY) is expected
        assert bool(tokens(content)) is expected
        assert undone(content) == BODY
        assert (done.tracked, done.tracking) == (Tracked.LINKS if expected else Tracked.OFF, message)


async def test_fault_t10_of_two_recipients_only_the_one_who_agreed_is_tracked(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.INDIVIDUAL)
        await says(us, "eve@b.test", given=True)
        us.start()
        bob, eve = await us.until(await us.submit("bob@b.test", "eve@b.test", raw=letter(us)))
        bare = next(body for rcpt, body in copies(sink).items() if "bob" in rcpt)
        tracked = next(body for rcpt, body in copies(sink).items() if "eve" in rcpt)
        assert bare == BODY
        assert {token.delivery for token in tokens(tracked)} == {eve.id}
        assert (bob.tracked, eve.tracked) == (Tracked.OFF, Tracked.LINKS)


async def test_consent_is_looked_up_when_a_copy_leaves(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.INDIVIDUAL)
        await says(us, "bob@b.test", given=True)
        submitted = await us.submit(raw=letter(us))
        await says(us, "bob@b.test", given=False)
        us.start()
        await us.until(submitted)
        assert list(copies(sink).values()) == [BODY]


async def test_what_is_tried_again_leaves_the_same(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        sink.say("DOT", "451 4.3.0 later")
        us.start()
        submitted = await us.submit(raw=letter(us))
        (waiting,) = await us.until(submitted, DeliveryState.QUEUED, attempts=1)
        assert waiting.tracked is Tracked.LINKS
        await us.store.write(deliveries.change, waiting.id, {"due_at": us.clock.now()})
        us.clock.advance(waiting.due_at - us.clock.now())
        (done,) = await us.until(submitted)
        (content,) = copies(sink).values()
        assert undone(content) == BODY
        assert done.tracked is Tracked.LINKS


async def test_fault_t15_the_signature_is_made_after_rewriting_and_verifies_elsewhere(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        zone = await make_keys(us, "acme.test")
        await us.store.write(domains.note_proof, us.org.id, "acme.test", proved_at=us.clock.now(), proof="ok")
        await allow(us, Mode.AGGREGATE)
        us.start()
        await us.until(await us.submit("bob@b.test", "eve@b.test", raw=letter(us)))
        published = {name: text for (kind, name), text in zone.items() if kind == "TXT"}
        assert len(sink.messages) == 2
        for one in sink.messages:
            assert len(tokens(one.content)) == 3
            assert verifiers.dkimpy(one.content, published) == [True, True]


SIGNED = (
    b"--xyz\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + HTML + b"\r\n"
    b"--xyz\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--xyz--\r\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("header", "body", "said"),
    [
        (b"", b"plain https://x.example/\r\n", Tracked.PLAIN),
        (b'MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="xyz"\r\n', SIGNED, Tracked.SIGNED),
        (b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-16\r\n", b"<a href='https://x.example/'>x</a>\r\n", Tracked.UNSAFE),
    ],
)  # fmt: skip
async def test_fault_t15_what_cannot_be_tracked_leaves_as_it_is_and_says_why(
    tmp_path: Path, header: bytes, body: bytes, said: Tracked
):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        us.start()
        (done,) = await us.until(await us.submit(raw=letter(us, body, header)))
        assert list(copies(sink).values()) == [body]
        assert done.tracked is said


async def test_a_line_that_grows_too_long_is_encoded_and_decodes_to_the_same(tmp_path: Path):
    link = b'<a href="https://x.example/?a=1&amp;b=2">x</a>'
    html = b"<html><body>" + link * 20 + b"</body></html>\r\n"
    assert max(map(len, html.split(b"\r\n"))) < 998
    header = b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        us.start()
        await us.until(await us.submit(raw=letter(us, html, header)))
        (content,) = copies(sink).values()
        assert max(map(len, content.split(b"\r\n"))) <= 76
        assert undone(quopri.decodestring(content)) == html
        assert len(tokens(quopri.decodestring(content))) == 22
        assert HeaderBlock.parse(sink.messages[0].content).get("Content-Transfer-Encoding") == "quoted-printable"


async def test_an_organisations_own_host_and_its_links_that_stay(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE, tracking_host="links.acme.test")
        us.start()
        await us.until(await us.submit(raw=letter(us)))
        (content,) = copies(sink).values()
        assert len(tokens(content, "links.acme.test")) == 3
        sink.messages.clear()
        await allow(us, Mode.AGGREGATE, untracked_links=("https://x.example/",))
        await us.until(await us.submit(raw=letter(us)))
        (content,) = copies(sink).values()
        assert [token.kind for token in tokens(content)] == [Kind.OPEN, Kind.DECOY]


async def test_mail_that_nothing_may_come_back_of_is_not_tracked(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        us.start()
        (done,) = await us.until(await us.submit(raw=letter(us), mail_from=None))
        assert list(copies(sink).values()) == [BODY]
        assert done.tracked is Tracked.OFF


async def test_a_fault_of_ours_in_tracking_stops_no_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("mailrelay.outbound.prepare.tracking_edits", broken)
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        us.start()
        (done,) = await us.until(await us.submit(raw=letter(us)))
        assert list(copies(sink).values()) == [BODY]
        assert done.tracked is Tracked.FAILED


async def test_a_mail_that_our_code_failed_on_is_tracked_in_a_process_of_its_own(tmp_path: Path):
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await allow(us, Mode.AGGREGATE)
        submitted = await us.submit(raw=letter(us))
        await us.store.write(deliveries.change, submitted.deliveries[0], {"faults": 1})
        us.start()
        (done,) = await us.until(submitted, timeout=30)
        (content,) = copies(sink).values()
        assert {token.delivery for token in tokens(content)} == {done.id}
        assert undone(content) == BODY


# --- the ways in


async def test_a_mode_is_asked_for_in_json_or_in_the_header_and_the_field_never_leaves(tmp_path: Path):
    async with serving(tmp_path) as api, relay(tmp_path, store=api.store, clock=api.clock) as us:
        _, secret = await factory.api_token(api.store, api.clock, us.org)
        web = api.web.bearing(secret)
        fields = {"from": "anna@acme.test", "to": ["bob@b.test"], "text": "hi"}
        kind = {"Content-Type": "message/rfc822"}
        whole = us.mail(header=b"X-Mailrelay-Tracking: Off\r\n")
        asked = [
            (await web.post("/api/v1/messages", json={**fields, "tracking": "aggregate"}), "aggregate"),
            (await web.post("/api/v1/messages", data=whole, headers=kind), "off"),
            (await web.post("/api/v1/messages", json=fields), None),
        ]
        for answer, mode in asked:
            assert answer.status == 202, answer.body
            shown = (await web.get(f"/api/v1/queue/{answer.json['deliveries'][0]['id']}")).json
            assert (shown["tracking"], shown["tracked"]) == (mode, "")
            assert b"X-Mailrelay" not in (await web.get(f"/api/v1/messages/{answer.json['id']}/raw")).body
        for wrong in (
            await web.post("/api/v1/messages", json={**fields, "tracking": "everything"}),
            await web.post("/api/v1/messages", data=whole.replace(b"Off", b"all"), headers=kind),
            await web.post("/api/v1/messages", data=b"X-Mailrelay-Tracking: off\r\n" + whole, headers=kind),
        ):
            assert wrong.status == 422
            assert b"racking" in wrong.body


async def test_over_smtp_a_mode_stands_in_the_header_and_is_taken_out(tmp_path: Path):
    async with edge(tmp_path) as here, connected(here.port(ListenerKind.SUBMISSION)) as client:
        await client.ehlo()
        await client.starttls()
        await client.ehlo()
        await client.log_in("anna@example.com", PASSWORD)
        mail = b"From: anna@example.com\r\nTo: bob@customer.test\r\nSubject: hi\r\n\r\nbody\r\n"
        assert (await client.mail("bob@customer.test", b"X-Mailrelay-Tracking: aggregate\r\n" + mail)).is_positive
        (arrival,) = await here.arrivals()
        assert b"X-Mailrelay" not in await here.raw(arrival)
        (one,) = await here.store.read(deliveries.list_deliveries, arrival.org)
        assert one.tracking is Mode.AGGREGATE
        refused = await client.mail("bob@customer.test", b"X-Mailrelay-Tracking: all\r\n" + mail)
        assert str(refused).startswith("554 5.6.0 X-Mailrelay-Tracking: must be one of off")
        twice = await client.mail("bob@customer.test", b"X-Mailrelay-Tracking: off\r\n" * 2 + mail)
        assert str(twice).startswith("554 5.6.0 X-Mailrelay-Tracking: stands more than once")


# --- settings and consents


async def test_the_settings_are_checked_and_shown(tmp_path: Path):
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        web = api.web.bearing(secret)
        given = {
            "tracking": "individual",
            "tracking_host": "Links.Acme.Example",
            "untracked_links": ["acme.example/account", "https://private.example"],
        }
        shown = (await web.patch("/api/v1/organisation", json={"settings": given})).json["settings"]
        assert (shown["tracking"], shown["tracking_host"], shown["honour_dnt"]) == (
            "individual",
            "links.acme.example",
            True,
        )
        assert shown["untracked_links"] == ["https://acme.example/account", "https://private.example/"]
        for wrong in (
            {"tracking": "all"},
            {"tracking_host": "https://x.example"},
            {"tracking_host": "x.example:80"},
            {"tracking_host": "localhost"},
            {"untracked_links": ["no host"]},
            {"untracked_links": ["ftp:"]},
        ):
            assert (await web.patch("/api/v1/organisation", json={"settings": wrong})).status == 422
        done = await Cli(api.server.unix_socket)("organisation", "set", "untracked_links=a.example/x,b.example")
        assert "https://a.example/x" in done.out


async def said(store: Store, clock: Clock, org, address: str) -> list[tuple[bool, str]]:
    return [(one.given, one.evidence) for one in await store.read(consents.history, org.id, address)]


async def test_consents_are_written_down_listed_and_kept_as_proof(tmp_path: Path):
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock)
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        web = api.web.bearing(secret)
        path = "/api/v1/consents/Bob@Customer.example"
        assert (await web.get(path)).status == 404
        assert (await web.get("/api/v1/consents")).json == {"items": [], "next": None}
        first = await web.put(path, json={"given": True, "evidence": "form of 2026-11-02"})
        assert (first.status, first.json["key"], first.json["given"]) == (200, "bob@customer.example", True)
        again = await web.put(path, json={"given": True, "evidence": "form of 2026-11-02"})
        assert again.json == first.json
        stale = await web.put(path, json={"given": True, "evidence": "x"}, headers={"If-Match": '"other"'})
        assert stale.status == 412
        assert (await web.put(path, json={"given": False, "evidence": "by phone"})).json["given"] is False
        assert (await web.get(path)).json["evidence"] == "by phone"
        history = (await web.get(f"{path}/history")).json["items"]
        assert [(one["given"], one["evidence"]) for one in history] == [
            (False, "by phone"),
            (True, "form of 2026-11-02"),
        ]
        for n in range(3):
            await web.put(f"/api/v1/consents/r{n}@b.example", json={"given": n != 1, "evidence": "form"})
        page = (await web.get("/api/v1/consents?given=true&limit=1")).json
        assert [one["key"] for one in page["items"]] == ["r0@b.example"]
        rest = (await web.get("/api/v1/consents", params={"given": "true", "after": page["next"]})).json
        assert [one["key"] for one in rest["items"]] == ["r2@b.example"]
        everybody = (await web.get("/api/v1/consents")).json["items"]
        assert [one["key"] for one in everybody] == [
            "bob@customer.example",
            "r0@b.example",
            "r1@b.example",
            "r2@b.example",
        ]
        for wrong in (
            {"given": True},
            {"given": True, "evidence": " "},
            {"evidence": "x"},
            {"given": "x", "evidence": "x"},
        ):
            assert (await web.put(path, json=wrong)).status == 422
        assert (await web.put("/api/v1/consents/nobody", json={"given": True, "evidence": "x"})).status == 422
        told = [
            one
            for one in await api.store.read(events.after, org.id, 0, limit=50)
            if one.type is EventType.CONSENT_CHANGED
        ]
        assert [dict(one.data)["given"] for one in told][:2] == ["true", "false"]
        assert len(told) == 5
        other = await factory.org(api.store, api.clock)
        assert await said(api.store, api.clock, other, "bob@customer.example") == []
        _, reader = await factory.api_token(api.store, api.clock, org, Right.READ)
        refused = await api.web.bearing(reader).put(path, json={"given": True, "evidence": "x"})
        assert refused.status == 403
        assert await api.store.write(consents.forget, org.id, "bob@customer.example") == 2
        assert (await web.get(path)).status == 404


async def test_consents_on_the_command_line(tmp_path: Path):
    async with serving(tmp_path) as api:
        await factory.org(api.store, api.clock)
        cli = Cli(api.server.unix_socket)
        assert "Nobody said anything" in (await cli("tracking", "consent", "list")).out
        assert "never said anything" in (await cli("tracking", "consent", "show", "bob@b.example")).out
        given = await cli("tracking", "consent", "give", "bob@b.example", "--evidence", "form")
        assert (given.status, given.out) == (0, "bob@b.example agrees to individual tracking.\n")
        assert "not tracked any more" in (await cli("tracking", "consent", "withdraw", "bob@b.example")).out
        shown = (await cli("tracking", "consent", "show", "bob@b.example")).out
        assert shown.index("withdrawn") < shown.index("given")
        assert "bob@b.example" in (await cli("tracking", "consent", "list", "--withdrawn")).out
        assert "bob@b.example" not in (await cli("tracking", "consent", "list", "--given")).out
