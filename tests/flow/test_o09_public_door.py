"""The public door: pixels and links, and everything else that strangers may send to it (O9, T01, T03, T04, T11, T14, T16, W13, W15)."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import Config, Public
from mailrelay.ids import DeliveryId
from mailrelay.model.hit import By, Hit
from mailrelay.store import deliveries, hits
from mailrelay.store.visibility import Viewer
from mailrelay.tracking.token import Keys, Kind, Token, make
from mailrelay.web.public import page
from mailrelay.web.public.client import Clients, Strangers
from mailrelay.web.public.link import token_in
from mailrelay.web.public.track import GIF
from tests.support import tracked
from tests.support.http import Answered, Api, serving
from tests.support.tracked import BROWSER, HOST, TARGET, House

AS_A_PERSON = {"User-Agent": BROWSER, "Accept": "text/html"}


@dataclass
class Place:
    api: Api
    whose: House
    of: DeliveryId

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Answered:
        return await self.api.public.ask(method, path, headers={**AS_A_PERSON, **headers}, allow_redirects=False)

    async def kept(self) -> list[Hit]:
        """The hits of the delivery, once all have been taken."""
        async with asyncio.timeout(30):
            while self.api.hits.waiting():  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)
        held = await self.api.store.read(deliveries.by_id, self.of)
        assert held is not None
        return await self.api.store.read(hits.of_message, Viewer(org=self.whose.org.id, all=True), held.message)


@asynccontextmanager
async def _door(folder: Path, **settings: Any) -> AsyncIterator[Place]:
    config = Config(data=folder, public=Public(port=0, **settings))
    async with serving(folder, config=config) as api:
        whose = await tracked.house(api.store, api.clock)
        (of,) = await tracked.sent(api.store, api.clock, whose)
        yield Place(api, whose, of)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with _door(tmp_path) as one:
        yield one


def _is_nothing(answer: Answered) -> bool:
    return answer.status == 404 and answer.body == page.NOTHING and "Location" not in answer.headers


async def test_o09_the_pixel_and_the_link_answer_and_are_kept(place: Place) -> None:
    seen = await place.ask(tracked.pixel(place.api.keys, place.of))
    assert (seen.status, seen.body, len(seen.body)) == (200, GIF, 43)
    assert (seen.headers["Content-Type"], seen.headers["Content-Length"]) == ("image/gif", "43")
    followed = await place.ask(tracked.link(place.api.keys, place.of, 3))
    assert (followed.status, followed.headers["Location"], followed.body) == (302, TARGET, b"")
    opened, clicked = await place.kept()
    assert (opened.raw.kind, opened.raw.link, opened.raw.url, opened.judged.by) == ("open", 0, "", By.PERSON)
    assert (clicked.raw.kind, clicked.raw.link, clicked.raw.url, clicked.judged.by) == ("click", 3, TARGET, By.PERSON)
    assert {(one.raw.ip, one.raw.agent, one.raw.method) for one in (opened, clicked)} == {(HOST, BROWSER, "GET")}
    assert dict(opened.raw.headers) == {"accept": "text/html"}


async def test_fault_t16_no_answer_lets_the_token_out(place: Place) -> None:
    for path in (tracked.pixel(place.api.keys, place.of), tracked.link(place.api.keys, place.of), "/c/none", "/"):
        answer = await place.ask(path, Cookie="a=b")
        fields = {name.lower(): value for name, value in answer.headers.items()}
        assert fields["referrer-policy"] == "no-referrer"
        assert {"no-store", "private"} <= set(fields["cache-control"].split(", "))
        assert "noindex" in fields["x-robots-tag"]
        assert fields["x-content-type-options"] == "nosniff"
        assert not fields.keys() & {"set-cookie", "etag", "last-modified", "server", "strict-transport-security"}
    robots = await place.ask("/robots.txt")
    assert robots.body == b"User-agent: *\nDisallow: /\n"


async def test_fault_t16_strict_transport_security_where_the_base_is_https(tmp_path: Path) -> None:
    async with _door(tmp_path, url="https://click.example.org") as place:
        for path in (tracked.pixel(place.api.keys, place.of), "/"):
            assert "max-age=" in (await place.ask(path)).headers["Strict-Transport-Security"]


async def test_a_base_with_a_path_is_known_with_it_and_without(tmp_path: Path) -> None:
    async with _door(tmp_path, url="https://www.example.org/mail") as place:
        path = tracked.link(place.api.keys, place.of)
        assert (await place.ask(path)).status == 302
        assert (await place.ask("/mail" + path)).status == 302
        assert _is_nothing(await place.ask("/mailbox" + path))


async def test_fault_t01_a_token_that_we_did_not_make_leads_nowhere(place: Place) -> None:
    good = tracked.link(place.api.keys, place.of).removeprefix("/c/")
    other = make(Token(Kind.CLICK, place.of, 1, TARGET), Keys.derive(b"another installation's secret, of length"), HOST)
    target = make(Token(Kind.CLICK, place.of, 1, "https://evil.example/"), place.api.keys, HOST)
    half = len(good) // 2
    for token in (
        *("", "A", good[:-1], good[:-22], good[1:], good + "A", other, other[:-22] + good[-22:]),
        good[:half] + ("A" if good[half] != "A" else "B") + good[half + 1 :],
        target[:-22] + good[-22:],
        good.swapcase(),
    ):
        assert _is_nothing(await place.ask(f"/c/{token}")), token
    # The token of one thing is no token of another.
    assert _is_nothing(await place.ask("/o/" + good + ".gif"))
    assert _is_nothing(
        await place.ask(tracked.pixel(place.api.keys, place.of).replace("/o/", "/c/").removesuffix(".gif"))
    )
    unsubscribe = make(Token(Kind.UNSUBSCRIBE, place.of), place.api.keys, HOST)
    assert _is_nothing(await place.ask(f"/c/{unsubscribe}"))
    assert await place.kept() == []


async def test_fault_t03_a_token_holds_on_the_host_that_it_was_made_for(place: Place) -> None:
    path = tracked.link(place.api.keys, place.of, host="track.one.example")
    assert (await place.ask(path, Host="track.one.example")).status == 302
    assert (await place.ask(path, Host="TRACK.one.example:8443")).status == 302
    for host in (
        "track.two.example",
        "127.0.0.1",
        "one.example",
        "track.one.example.evil",
        "http://track.one.example",
        "evil://track.one.example/x",
        "track.one.example/x",
        "track.one.example:443:443",
        "",
        "a b",
        "[",
        "ü",
        "x" * 5000,
    ):
        assert _is_nothing(await _raw(place, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")), host
    twice = f"GET {path} HTTP/1.1\r\nHost: track.one.example\r\nHost: track.one.example\r\nConnection: close\r\n\r\n"
    assert _is_nothing(await _raw(place, twice))


async def test_fault_t03_who_guesses_is_stopped_and_others_are_not(place: Place) -> None:
    good = tracked.link(place.api.keys, place.of)
    statuses = [(await place.ask(f"/c/{secrets.token_urlsafe(60)}")).status for _ in range(70)]
    assert statuses == [404] * 60 + [429] * 10
    assert (await place.ask("/.env")).headers["Retry-After"] == "60"
    # A good token holds all the same: others may sit behind the same address.
    assert (await place.ask(good)).status == 302
    assert len(await place.kept()) == 1


def test_fault_t03_what_is_remembered_of_strangers_is_bounded() -> None:
    now = 0.0
    strangers = Strangers(lambda: now, allowed=2, seconds=60, most=100)
    for number in range(10_000):
        strangers.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(strangers._tries) == 100
    for ip in ("2001:db8::1", "2001:db8::2"):
        assert strangers.wrong(ip)
    assert not strangers.wrong("2001:db8:0:0:9::9")  # the same network of 64 bits
    assert strangers.wrong("2001:db8:0:1::1")
    now = 61.0
    assert strangers.wrong("2001:db8::1")


async def test_fault_t04_what_is_not_a_person_s_click_answers_well_and_is_a_machine_s(place: Place) -> None:
    pixel, link = tracked.pixel(place.api.keys, place.of), tracked.link(place.api.keys, place.of)
    head = await place.ask(link, "HEAD")
    assert (head.status, head.headers["Location"], head.body) == (302, TARGET, b"")
    head = await place.ask(pixel, "HEAD")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "43", b"")
    ranged = await place.ask(pixel, Range="bytes=0-3")
    assert (ranged.status, ranged.body) == (200, GIF)
    for name, value in (("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch"), ("X-Moz", "prefetch")):
        assert (await place.ask(link, **{name: value})).status == 302
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        refused = await place.ask(link, method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS"), method
    options = await place.ask(link, "OPTIONS")
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    kept = await place.kept()
    # The pixel with a range, too: it was the same client.
    assert Counter((one.raw.method, str(one.judged.by)) for one in kept) == {
        ("HEAD", "machine"): 2,
        ("GET", "machine"): 4,
    }


@pytest.mark.parametrize(
    "junk",
    [
        "%27",
        "'",
        "%22",
        ")",
        ">",
        ".",
        ",",
        "%3E%3C",
        "%2527",
        "?",
        "?amp;data=04%7C01",
        "=",
        "%E2%80%9D",
        "&",
        "%27).",
    ],
)
async def test_fault_t04_what_others_write_behind_a_link_changes_nothing(place: Place, junk: str) -> None:
    link = await _raw(place, _get(tracked.link(place.api.keys, place.of) + junk))
    assert (link.status, link.headers["location"]) == (302, TARGET)
    assert (await _raw(place, _get(tracked.pixel(place.api.keys, place.of) + junk))).body == GIF


@pytest.mark.parametrize(
    "more", ["/", "/x", "%2F", "A", "-", "_", "%00", "%0d%0aX:1", "\\", "%5c", "''''''''''", ".gif", ";a=b"]
)
async def test_fault_t04_what_could_be_more_than_that_leads_nowhere(place: Place, more: str) -> None:
    answer = await _raw(place, _get(tracked.link(place.api.keys, place.of) + more))
    assert answer.status in (400, 404)
    assert "location" not in answer.headers


async def test_a_decoy_answers_with_nothing_to_see_and_is_a_machine_s(place: Place) -> None:
    answer = await place.ask(tracked.decoy(place.api.keys, place.of))
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Length" not in answer.headers
    (kept,) = await place.kept()
    assert (kept.raw.kind, kept.judged.by) == ("decoy", By.MACHINE)


async def test_fault_t11_the_pixel_is_served_whatever_is_recorded(place: Place) -> None:
    await tracked.say(place.api.store, place.api.clock, place.whose, "bob@customer.test", agreed=False)
    answer = await place.ask(tracked.pixel(place.api.keys, place.of))
    assert (answer.status, answer.body) == (200, GIF)
    assert await place.kept() == []


@pytest.mark.parametrize("field", ["DNT", "Sec-GPC"])
async def test_fault_t12_who_refuses_gets_the_answer_and_is_not_recorded(place: Place, field: str) -> None:
    answer = await place.ask(tracked.link(place.api.keys, place.of), **{field: "1"})
    assert (answer.status, answer.headers["Location"]) == (302, TARGET)
    assert await place.kept() == []


async def test_fault_w13_a_forged_x_forwarded_for_is_not_believed(place: Place) -> None:
    await place.ask(
        tracked.pixel(place.api.keys, place.of), **{"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    )
    (kept,) = await place.kept()
    assert kept.raw.ip == HOST


async def test_fault_w13_a_trusted_proxy_is_believed_as_far_as_it_goes(tmp_path: Path) -> None:
    async with _door(tmp_path, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8")) as place:
        pixel = tracked.pixel(place.api.keys, place.of)
        await place.ask(pixel, **{"X-Forwarded-For": "1.1.1.1, 203.0.113.9, 10.1.2.3"})
        (kept,) = await place.kept()
        assert kept.raw.ip == "203.0.113.9"


@pytest.mark.parametrize(
    ("said", "ip"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("6.6.6.6, rubbish, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.9"),
        (",,,", "10.0.0.9"),
    ],
)
def test_fault_w13_x_forwarded_for_is_read_from_its_end(said: str, ip: str) -> None:
    headers = [(b"x-forwarded-for", said.encode())] if said else []
    assert Clients(("10.0.0.0/8",)).of({"client": ("10.0.0.9", 1), "headers": headers}) == ip
    assert Clients(()).of({"client": ("10.0.0.9", 1), "headers": headers}) == "10.0.0.9"
    assert Clients(("10.0.0.0/8",)).of({"client": ("192.0.2.1", 1), "headers": headers}) == "192.0.2.1"


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/../../etc/passwd",
            "/c/../../etc/passwd",
            "/c/..%2f..%2fetc%2fpasswd",
            "//evil.example/",
            "/c//evil.example",
        ),
        *(
            "/api/v1/messages",
            "/metrics",
            "/c",
            "/c/",
            "/o/",
            "/o/.gif",
            "/%c0%ae%c0%ae/",
            "/o/%00.gif",
            "/?url=https://evil.example",
        ),
        *("http://evil.example/c/x", "/C/x", "*", "/" + "a" * 20_000),
    ],
)
async def test_fault_w15_there_is_nothing_beside_what_is_ours(place: Place, target: str) -> None:
    answer = await _raw(place, _get(target))
    assert answer.status in (400, 404, 431)
    assert "location" not in answer.headers
    assert b"evil" not in answer.body


async def test_fault_w15_a_method_in_a_field_is_not_one(place: Place) -> None:
    link = tracked.link(place.api.keys, place.of)
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert (await place.ask(link, **{name: "DELETE"})).status == 302
        assert (await place.ask(link, "POST", **{name: "GET"})).status == 405


def test_a_token_is_found_only_where_it_stands() -> None:
    token = "A" * 60
    assert token_in(f"/c/{token}", "c") == token
    assert token_in(f"/o/{token}.gif'", "o", suffix=".gif") == token
    for path in (
        f"/cc/{token}",
        f"/c{token}",
        f"c/{token}",
        f"/o/{token}",
        f"/c/{token}.gif",
        f"/c/{token}\n",
        "/c/" + "A" * 5000,
    ):
        assert token_in(path, "c") is None, path


def _get(target: str) -> str:
    return f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {BROWSER}\r\nConnection: close\r\n\r\n"


async def _raw(place: Place, request: str) -> Answered:
    """Send a request as it is written, which no HTTP library would."""
    host, port = place.api.server.public_address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request.encode())
    async with asyncio.timeout(30):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *fields = head.decode("latin-1").split("\r\n")
    return Answered(
        int(first.split()[1]), {one.partition(":")[0].lower(): one.partition(":")[2].strip() for one in fields}, body
    )
