"""O15: the page that unsubscribes and the one click of mail programs (RFC 8058; T06, T07, T08)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailrelay import metrics
from mailrelay.model.event import EventType
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.store import suppressions, tallies
from mailrelay.store.sqlite import SqliteStore
from mailrelay.tracking.token import Keys, Kind, Token, make
from mailrelay.web.public import page
from tests.support.locked import locked
from tests.support.tracked import HOST
from tests.support.unsubscribing import BOB, ONE_CLICK, Place
from tests.support.unsubscribing import place as a_place

MULTIPART = (
    '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
    {"Content-Type": "multipart/form-data; boundary=b"},
)
TOLD = (EventType.ADDRESS_UNSUBSCRIBED, EventType.ADDRESS_RESUBSCRIBED)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path) as one:
        yield one


def text(body: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body.decode()))


async def raw(place: Place, request: bytes) -> bytes:
    host, port = place.api.server.public_address
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def test_fault_t06_a_scanner_that_asks_a_hundred_times_changes_nothing(place: Place) -> None:
    for number in range(100):
        method = "HEAD" if number % 10 == 9 else "GET"
        answer = await place.ask(method, headers={"User-Agent": "a scanner", "Purpose": "prefetch"})
        assert answer.status == 200
        assert bool(answer.body) is (method == "GET")
    for options in ("", "?scope=all", "?List-Unsubscribe=One-Click"):
        assert (await place.ask(path=place.path + options)).status == 200
    assert (await place.ask("OPTIONS")).headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert (await place.ask("PUT", data=ONE_CLICK)).status == 405
    assert await place.history() == ()
    assert await place.told(*EventType) == []
    assert (await place.post()).status == 200  # its token is still good


async def test_the_page_says_who_leaves_what_and_tells_nobody_else(place: Place) -> None:
    answer = await place.ask()
    said = text(answer.body)
    assert "b•••@customer.test gets mails of “Spring news” from" in said
    assert "bob" not in answer.body.decode()
    assert "What is &lt;new&gt;" in answer.body.decode()
    assert re.findall(r'value="(\w+)"', answer.body.decode()) == ["list", "all"]
    assert b"<script" not in answer.body
    fields = {name.lower(): value for name, value in answer.headers.items()}
    assert fields["content-security-policy"].startswith("default-src 'none'")
    assert fields["referrer-policy"] == "no-referrer"
    assert "noindex" in fields["x-robots-tag"]
    assert "no-store" in fields["cache-control"]
    assert "set-cookie" not in fields


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ONE_CLICK, {}),
        (
            ONE_CLICK,
            {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "Origin": "https://mail.example"},
        ),
        (ONE_CLICK, {"Origin": "null", "Referer": "https://evil.example/", "Cookie": "a=b"}),
        (ONE_CLICK + "&more=1", {}),
        (ONE_CLICK + "\r\n", {}),
        MULTIPART,
    ],
)
async def test_fault_t07_one_click_in_either_encoding_twice(place: Place, body: str, headers: dict[str, str]) -> None:
    for _ in range(2):
        answer = await place.post(body, headers)
        assert answer.status == 200
        assert "Location" not in answer.headers
        assert "gets no more mails of “Spring news”" in text(answer.body)
    assert await place.stands() == [("unsubscribed", "news")]
    (one,) = await place.history()
    assert (one.by, one.evidence) == ("person", "one click in their mail program")
    (event,) = await place.told(*TOLD)
    assert (event.delivery, dict(event.data)) == (
        place.of,
        {"address": BOB, "list": "news", "way": "one_click", "evidence": "one click in their mail program"},
    )
    sending = Sending(Scope.JOB, "spring")
    assert (await place.api.store.read(tallies.since, place.whose.org.id, sending, 0)).unsubscribed == 1


async def test_fault_t07_by_http_1_0_without_a_cookie(place: Place) -> None:
    body = ONE_CLICK.encode()
    request = b"POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
    answer = await raw(place, request % (place.path.encode(), HOST.encode(), len(body), body))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert await place.stands() == [("unsubscribed", "news")]


async def test_fault_t07_many_at_once_are_one(place: Place) -> None:
    answers = await asyncio.gather(*(place.post() for _ in range(20)))
    assert {one.status for one in answers} == {200}
    assert len(await place.history()) == len(await place.told(*TOLD)) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("", {}),
        ("List-Unsubscribe=one-click", {}),
        ("list-unsubscribe=One-Click", {}),
        ("List-Unsubscribe", {}),
        ("scope=everything", {}),
        ("scope=one_click", {}),
        ("scope=list&scope=all", {}),
        ("\x00", {}),
        (b"\xff\xfe", {}),
        ("&".join(f"a{number}=1" for number in range(100)) + "&" + ONE_CLICK, {}),
        (MULTIPART[0].replace("One-Click", "Two"), MULTIPART[1]),
        ("--b\r\nnonsense", MULTIPART[1]),
        (MULTIPART[0], {"Content-Type": "multipart/form-data"}),
        (
            '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"; filename="a"\r\n\r\nOne-Click\r\n--b--\r\n',
            MULTIPART[1],
        ),
        ('{"List-Unsubscribe": "One-Click"}', {"Content-Type": "application/json"}),
    ],
)
async def test_fault_t08_a_wrong_body_is_400_and_nothing_else(
    place: Place, body: str | bytes, headers: dict[str, str]
) -> None:
    answer = await place.post(body, headers)
    assert answer.status == 400
    assert await place.history() == ()


async def test_fault_t08_a_body_that_is_too_large_is_refused(place: Place) -> None:
    assert (await place.post(ONE_CLICK + "&a=" + "x" * 20_000)).status == 413
    assert await place.history() == ()


async def test_fault_t08_a_bad_token_is_404_and_nothing_else(place: Place) -> None:
    good = place.path.removeprefix("/u/")
    other = make(Token(Kind.UNSUBSCRIBE, place.of, list="news"), Keys.derive(b"another secret, of some length"), HOST)
    elsewhere = make(Token(Kind.UNSUBSCRIBE, place.of, list="news"), place.api.keys, "other.example")
    click = make(Token(Kind.CLICK, place.of, 1, "https://x.example/"), place.api.keys, HOST)
    gone = make(Token(Kind.UNSUBSCRIBE, type(place.of)("D" + "0" * 20)), place.api.keys, HOST)
    for token in ("", "x", good[:-1], good + "A", other, elsewhere, click, gone, secrets.token_urlsafe(60)):
        for method in ("GET", "POST"):
            answer = await place.ask(method, f"/u/{token}", data=ONE_CLICK if method == "POST" else None)
            assert (answer.status, answer.body) == (404, page.NOTHING), token
    assert await place.history() == ()


async def test_the_page_s_own_buttons_leave_a_list_and_all_and_come_back(place: Place) -> None:
    left = await place.post("scope=list")
    assert re.findall(r'value="(\w+)"', left.body.decode()) == ["all", "resubscribe"]
    assert await place.stands() == [("unsubscribed", "news")]
    left = await place.post("scope=all")
    assert "gets no more mails from" in text(left.body)
    assert re.findall(r'value="(\w+)"', left.body.decode()) == ["resubscribe"]
    assert sorted(await place.stands()) == [("unsubscribed", ""), ("unsubscribed", "news")]
    back = await place.post("scope=resubscribe")
    assert "gets mails of “Spring news”" in text(back.body)
    assert await place.stands() == []
    assert {one.lifted_by for one in await place.history()} == {"person"}
    told = await place.told(*TOLD)
    assert [(one.type, dict(one.data)["list"]) for one in told][:2] == [
        (EventType.ADDRESS_UNSUBSCRIBED, "news"),
        (EventType.ADDRESS_UNSUBSCRIBED, ""),
    ]
    assert {(one.type, dict(one.data)["list"]) for one in told[2:]} == {
        (EventType.ADDRESS_RESUBSCRIBED, "news"),
        (EventType.ADDRESS_RESUBSCRIBED, ""),
    }
    await place.post("scope=resubscribe")
    assert len(await place.told(*TOLD)) == 4


async def test_who_comes_back_gets_no_mail_that_something_else_is_against(place: Place) -> None:
    await place.api.store.write(
        suppressions.suppress,
        org=place.whose.org.id,
        key=BOB,
        reason=SuppressionReason.COMPLAINT,
        evidence="abuse",
        now=place.api.clock.now(),
    )
    await place.post()
    await place.post("scope=resubscribe")
    assert await place.stands() == [("complaint", "")]


async def test_what_somebody_entered_for_them_becomes_their_own_word(place: Place) -> None:
    await place.api.store.write(
        suppressions.suppress,
        org=place.whose.org.id,
        key=BOB,
        reason=SuppressionReason.UNSUBSCRIBED,
        evidence="by phone",
        now=place.api.clock.now(),
        by="U1",
        list_="news",
    )
    for _ in range(2):
        assert (await place.post()).status == 200
    (one,) = await place.history()
    assert (one.by, one.is_own_word) == ("person", True)
    assert len(await place.told(*TOLD)) == 1


async def test_mass_mail_of_no_list_is_left_altogether(tmp_path: Path) -> None:
    async with a_place(tmp_path, list_="") as place:
        assert re.findall(r'value="(\w+)"', (await place.ask()).body.decode()) == ["all"]
        assert (await place.post("scope=list")).status == 400
        assert (await place.post()).status == 200
        assert await place.stands() == [("unsubscribed", "")]


async def test_a_form_of_the_organisation_s_own_stands_behind_it(tmp_path: Path) -> None:
    settings = {"unsubscribe_url": "https://acme.example/mails?list={list}&of={delivery}&x=<>"}
    async with a_place(tmp_path, settings=settings) as place:
        body = (await place.ask()).body.decode()
        assert f'href="https://acme.example/mails?list=news&amp;of={place.of}&amp;x=&lt;&gt;"' in body
        assert (await place.post()).status == 200  # one click stays ours


async def test_fault_t07_while_the_store_is_away_it_is_503_and_never_a_false_200(place: Place) -> None:
    before = metrics.unsubscribe_requests.labels("unavailable")._value.get()
    assert isinstance(place.api.store, SqliteStore)
    with locked(place.api.store.path):
        answer = await place.post()
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "nothing has changed" in text(answer.body)
    assert metrics.unsubscribe_requests.labels("unavailable")._value.get() == before + 1
    assert await place.history() == ()
    assert (await place.post()).status == 200
    assert await place.stands() == [("unsubscribed", "news")]
