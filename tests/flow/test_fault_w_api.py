"""W07, W08, W10, W15: what strangers do to the API's door, and what it never does for them."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from mailrelay import metrics
from mailrelay.errors import TooManyTries
from mailrelay.model.organisation import Organisation, Right
from mailrelay.web import flood
from tests.support import factory
from tests.support.http import Api, serving

V1 = "/api/v1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def org(api: Api) -> Organisation:
    return await factory.org(api.store, api.clock, domains=("example.org",))


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()]


async def _raw(api: Api, request: bytes) -> bytes:
    """All that comes back for bytes on a connection of their own."""
    reader, writer = await asyncio.open_connection(*api.server.address)
    writer.write(request)
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    async with asyncio.timeout(20):
        found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(
    "content",
    ["file:///etc/passwd", "/etc/passwd", "http://169.254.169.254/latest", "data:text/plain,x", {"href": "http://x"}],
    ids=["file", "path", "metadata", "data", "object"],
)
async def test_fault_w07_an_attachment_is_never_fetched(api: Api, org: Organisation, content: object) -> None:
    await factory.user(api.store, api.clock, org, "anna@example.org")
    mail = {"from": "anna@example.org", "to": ["bob@b.test"], "text": "x"}
    answer = await api.local.post(
        f"{V1}/messages", json={**mail, "attachments": [{"name": "passwd", "content": content}]}
    )
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "attachments[0].content"
    for name in ("url", "href", "path"):
        answer = await api.local.post(
            f"{V1}/messages", json={**mail, "attachments": [{"name": "a", name: str(content)}]}
        )
        assert answer.status == 422
        assert {"field": f"attachments[0].{name}", "detail": "there is no such field"} in answer.json["errors"]


async def test_fault_w07_html_is_sent_as_it_is_and_nothing_in_it_is_loaded(api: Api, org: Organisation) -> None:
    await factory.user(api.store, api.clock, org, "anna@example.org")
    touched = asyncio.Event()
    server = await asyncio.start_server(lambda *_: touched.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    html = f'<img src="http://127.0.0.1:{port}/x.png"><link rel=stylesheet href="http://127.0.0.1:{port}/x.css">'
    sent = await api.local.post(f"{V1}/messages", json={"from": "anna@example.org", "to": ["bob@b.test"], "html": html})
    assert sent.status == 202
    await asyncio.sleep(0.1)
    assert not touched.is_set()
    server.close()


async def test_fault_w08_a_body_that_is_packed_is_refused_and_not_unpacked(api: Api, org: Organisation) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    answer = await api.local.post(f"{V1}/users", data=bomb, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.status == 415
    assert "Content-Encoding" in answer.json["detail"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5x\r\n",
    ],
    ids=["both", "two lengths", "chunked, then not", "negative", "no number"],
)
async def test_fault_w08_a_request_whose_end_is_not_clear_smuggles_no_second_one(
    api: Api, org: Organisation, head: bytes
) -> None:
    second = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    found = await _raw(api, b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + second)
    assert b"200 OK" not in found
    assert b'"openapi"' not in found


async def test_fault_w08_a_gigabyte_that_is_announced_is_413_before_any_of_it_comes(
    api: Api, org: Organisation
) -> None:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
    reader, writer = await asyncio.open_connection(*api.server.address)
    head = f"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: 1000000000\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_fault_w08_deep_json_of_a_hundred_thousand_levels_is_400(api: Api, org: Organisation) -> None:
    deep = b'{"name": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"
    answer = await api.local.patch(f"{V1}/organisation", data=deep, headers=JSON)
    assert answer.status == 400
    assert "nested too deeply" in answer.json["detail"]


@pytest.mark.parametrize("name", ["token", "api_key", "access_token", "key"])
async def test_fault_w10_a_token_in_the_query_is_refused_and_shown_nowhere(
    api: Api, org: Organisation, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.READ)
    with structlog.testing.capture_logs() as logged:
        stranger = await api.web.get(f"{V1}/users?{name}={secret}")
        known = await api.web.bearing(secret).get(f"{V1}/users?{name}={secret}")
        odd = await api.web.bearing(secret).get(f"{V1}/users/{secret}")
    assert (stranger.status, known.status, odd.status) == (401, 422, 404)
    told = capfd.readouterr()
    for text in (str(logged), told.out, told.err, *(one.body.decode() for one in (stranger, known, odd))):
        assert secret not in text


async def test_fault_w10_tokens_are_kept_as_hashes(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await factory.org(api.store, api.clock)
        key = {"Idempotency-Key": "one"}
        made = await api.local.post(f"{V1}/tokens", json={"name": "CRM", "rights": ["read"]}, headers=key)
        secret = made.json["secret"].encode()
    assert secret
    kept = {file: file.read_bytes() for file in await asyncio.to_thread(_files, tmp_path)}
    assert kept
    assert not [file for file, content in kept.items() if secret in content]


async def test_fault_w10_a_token_ends_when_it_was_to_end_and_says_when_it_was_used(api: Api, org: Organisation) -> None:
    end = api.clock.now() + timedelta(days=1)
    given = {"name": "CRM", "rights": ["read"], "expires_at": end.isoformat()}
    made = await api.local.post(f"{V1}/tokens", json=given)
    client, path = api.web.bearing(made.json["secret"]), made.headers["Location"]
    assert (await api.local.get(path)).json["used_at"] is None
    assert (await client.get(f"{V1}/users")).status == 200
    assert (await api.local.get(path)).json["used_at"] is not None
    api.clock.advance(timedelta(days=1))
    assert (await client.get(f"{V1}/users")).status == 401
    past = await api.local.post(f"{V1}/tokens", json=given)
    assert (past.status, past.json["errors"][0]["field"]) == (422, "expires_at")


async def test_fault_w15_who_guesses_tokens_waits_and_a_good_one_is_let_in(api: Api, org: Organisation) -> None:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.READ)
    statuses = [(await api.web.bearing(f"mr_guess{n}").get(f"{V1}/users")).status for n in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    late = await api.web.bearing("mr_guess").get(f"{V1}/users")
    assert 0 < int(late.headers["Retry-After"]) <= 60
    assert late.json["type"] == "urn:mailrelay:problem:too-many-tries"
    assert (await api.web.bearing(secret).get(f"{V1}/users")).status == 200
    api.clock.advance(timedelta(minutes=1))
    assert (await api.web.bearing("mr_guess").get(f"{V1}/users")).status == 401


def test_fault_w15_guessing_from_everywhere_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "_MOST", 100)
    guesses = flood.Flood()
    for number in range(1000):
        assert guesses.wrong(f"2001:db8:{number:x}::1", 0.0) == 1
    assert len(guesses._known) == 100
    for number in range(flood._TRIES - 1):
        guesses.wrong(f"2001:db8:3e7::{number:x}", 1.0)  # one /64 is one place
    with pytest.raises(TooManyTries):
        guesses.wrong("2001:db8:3e7::ffff", 2.0)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/docs/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/docs/../../../../etc/passwd",
        "//etc/passwd",
        "/api/v1/messages/..%2f..%2fmailrelay.db/raw",
        "/metrics",
        "/%00",
    ],
)
async def test_fault_w15_a_path_leads_nowhere_but_to_the_api(api: Api, org: Organisation, path: str) -> None:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
    found = await _raw(
        api, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n".encode()
    )
    status = int(found.split(b" ")[1])
    assert status in (400, 404)
    assert b"root:" not in found


async def test_fault_w15_a_flood_of_404_is_neither_logged_nor_asked_of_the_store(api: Api, org: Organisation) -> None:
    def transactions() -> float:
        name, kinds = "mailrelay_store_transactions_total", ("read", "write")
        found = (metrics.REGISTRY.get_sample_value(name, {"kind": kind, "outcome": "ok"}) for kind in kinds)
        return sum(one or 0.0 for one in found)

    before = transactions()
    assert before > 0
    with structlog.testing.capture_logs() as logged:
        for number in range(200):
            assert (await api.web.bearing("mr_none").get(f"{V1}/nothing-{number}")).status == 404
    assert (logged, transactions()) == ([], before)


async def test_fault_w15_a_request_is_what_its_first_line_says(api: Api, org: Organisation) -> None:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
    client = api.web.bearing(secret)
    made = await client.post(f"{V1}/users", json={"name": "Anna", "primary": "anna@example.org"})
    path = made.headers["Location"]
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert (await client.get(path, headers={header: "DELETE"})).status == 200
        assert (await client.post(path, json={}, headers={header: "PATCH"})).status == 405
    for host in ("evil.example", "127.0.0.1:1", "", "a b", "x" * 300):
        answer = await client.post(f"{V1}/tokens", json={"name": "t", "rights": ["read"]}, headers={"Host": host})
        assert answer.status == 201
        assert answer.headers["Location"].startswith(f"{V1}/tokens/")  # a path: no host gets into it
    for method in ("TRACE", "CONNECT", "PROPFIND", "BREW"):
        found = await _raw(api, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert int(found.split(b" ")[1]) in (400, 404, 405), found
    assert (await client.ask("OPTIONS", path)).status == 405
    head = await client.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["ETag"] == (await client.get(path)).headers["ETag"]
    forwarded = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "evil.example", "X-Original-URL": "/metrics"}
    assert (await client.get(path, headers=forwarded)).json["id"] == made.json["id"]


async def test_fault_w08_bytes_that_only_look_like_base64_are_refused(api: Api, org: Organisation) -> None:
    await factory.user(api.store, api.clock, org, "anna@example.org")
    mail = {"from": "anna@example.org", "to": ["bob@b.test"], "text": "x"}
    for content, status in ((base64.b64encode(b"x").decode(), 202), ("x*", 422), ("====", 422)):
        body = json.dumps({**mail, "attachments": [{"name": "a", "content": content}]})
        assert (await api.local.post(f"{V1}/messages", data=body, headers=JSON)).status == status


async def test_fault_w14_the_metrics_do_not_grow_with_domains_tokens_or_paths(api: Api, org: Organisation) -> None:
    await factory.user(api.store, api.clock, org, "anna@example.org")

    async def series() -> set[bytes]:
        text = (await api.ops.get("/metrics")).body
        return {line.rpartition(b" ")[0] for line in text.splitlines() if not line.startswith(b"#")}

    mail = {"from": "anna@example.org", "text": "x"}
    assert (await api.local.post(f"{V1}/messages", json={**mail, "to": ["bob@b.test"]})).status == 202
    before = await series()
    for number in range(5):
        to = [f"bob@d{number}-{n}.test" for n in range(50)]
        assert (await api.local.post(f"{V1}/messages", json={**mail, "to": to})).status == 202
        assert (await api.local.put(f"{V1}/domains/d{number}.example")).status == 200
        assert (await api.web.bearing(f"mr_{number}").get(f"{V1}/nothing/{number}")).status == 404
    assert await series() == before
    assert api.server.ops_address[0] == "127.0.0.1"
