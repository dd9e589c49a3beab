"""The API's frame: who may ask, what errors look like, what a body may be, and the operator's endpoints."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from mailrelay.errors import DiskFull, StoreBusy, StoreDamaged
from mailrelay.model.organisation import Organisation, Right, Role
from mailrelay.store import people, tokens
from mailrelay.store.base import Tx
from tests.support import factory
from tests.support.http import Api, serving

V1 = "/api/v1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def org(api: Api) -> Organisation:
    return await factory.org(api.store, api.clock, domains=("example.org",))


async def _token(api: Api, org: Organisation, *rights: Right) -> str:
    _, secret = await factory.api_token(api.store, api.clock, org, *rights)
    return secret


async def test_without_a_token_the_answer_is_401_as_a_problem(api: Api, org: Organisation) -> None:
    answer = await api.web.get(f"{V1}/users")
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json["type"] == "urn:mailrelay:problem:not-authenticated"
    assert answer.json["status"] == 401
    assert "bearer token" in answer.json["detail"]


@pytest.mark.parametrize("token", ["mr_wrong", "", "x" * 5000, "mr_ä"])
async def test_a_token_that_is_not_known_is_401(api: Api, org: Organisation, token: str) -> None:
    assert (await api.web.bearing(token).get(f"{V1}/users")).status == 401


async def test_a_revoked_token_is_401(api: Api, org: Organisation) -> None:
    token, secret = await factory.api_token(api.store, api.clock, org)
    assert (await api.web.bearing(secret).get(f"{V1}/users")).status == 200
    await api.store.write(tokens.revoke, org.id, token.id, now=api.clock.now())
    assert (await api.web.bearing(secret).get(f"{V1}/users")).status == 401


async def test_a_token_may_do_what_its_rights_say(api: Api, org: Organisation) -> None:
    reader = api.web.bearing(await _token(api, org, Right.READ))
    assert (await reader.get(f"{V1}/users")).status == 200
    assert (await reader.put(f"{V1}/exclusions/example.com")).status == 403
    sender = api.web.bearing(await _token(api, org, Right.SEND))
    assert (await sender.get(f"{V1}/users")).status == 403


async def test_a_users_token_is_an_administrators_only_while_the_user_is(api: Api, org: Organisation) -> None:
    user = await factory.user(api.store, api.clock, org, "anna@example.org", role=Role.ADMINISTRATOR)
    _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN, Right.READ, on_behalf_of=user)
    client = api.web.bearing(secret)
    assert (await client.put(f"{V1}/exclusions/example.com")).status == 200
    assert (await api.local.patch(f"{V1}/users/{user.id}", json={"role": "user"})).status == 200
    assert (await client.put(f"{V1}/exclusions/example.net")).status == 403
    assert (await client.get(f"{V1}/users")).status == 200
    await api.store.write(people.deactivate, org.id, user.id)
    assert (await client.get(f"{V1}/users")).status == 401


async def test_fault_w09_another_organisations_things_are_not_there(api: Api, org: Organisation) -> None:
    user = await factory.user(api.store, api.clock, org, "anna@example.org")
    other = await factory.org(api.store, api.clock)
    stranger = api.web.bearing(await _token(api, other, Right.ADMIN))
    for method, path in (
        ("GET", f"/users/{user.id}"),
        ("PATCH", f"/users/{user.id}"),
        ("GET", "/users/anna@example.org"),
        ("POST", f"/users/{user.id}/dropboxes"),
        ("GET", "/domains/example.org"),
        ("DELETE", "/domains/example.org"),
    ):
        answer = await stranger.ask(method, V1 + path, json={} if method == "PATCH" else None)
        assert answer.status == 404, path
    assert (await stranger.put(f"{V1}/domains/example.org")).status == 409


async def test_fault_w10_a_token_is_neither_logged_nor_answered(
    api: Api, org: Organisation, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = await _token(api, org, Right.READ)
    answers = [
        await api.web.bearing(secret).get(f"{V1}/nowhere"),
        await api.web.bearing(secret).put(f"{V1}/exclusions/x"),
        await api.web.bearing(secret + "x").get(f"{V1}/users"),
        await api.web.get(f"{V1}/users?token={secret}"),
    ]
    assert [answer.status for answer in answers] == [404, 403, 401, 401]
    captured = capfd.readouterr()
    for text in (caplog.text, captured.out, captured.err, *(answer.body.decode() for answer in answers)):
        assert secret not in text


async def test_the_unix_socket_is_the_operators_and_only_its_own_user_can_open_it(api: Api, org: Organisation) -> None:
    assert stat.S_IMODE(api.server.unix_socket.stat().st_mode) == 0o600
    assert (await api.local.get(f"{V1}/organisation")).json["name"] == org.name
    assert (await api.local.get(f"{V1}/organisations")).status == 200
    admin = api.web.bearing(await _token(api, org, Right.ADMIN))
    assert (await admin.get(f"{V1}/organisations")).status == 403
    assert (await admin.get(f"{V1}/audit")).status == 403


async def test_the_operator_says_which_organisation_when_there_are_several(api: Api, org: Organisation) -> None:
    other = await factory.org(api.store, api.clock, name="Other")
    answer = await api.local.get(f"{V1}/organisation")
    assert answer.status == 422
    assert "Other" in answer.json["detail"]
    for name in (other.id, "Other"):
        answer = await api.local.get(f"{V1}/organisation", headers={"X-Mailrelay-Organisation": name})
        assert answer.json["id"] == other.id
    answer = await api.local.get(f"{V1}/organisation", headers={"X-Mailrelay-Organisation": "nobody"})
    assert answer.status == 404


async def test_the_operator_makes_the_first_organisation(api: Api) -> None:
    answer = await api.local.get(f"{V1}/users")
    assert answer.status == 404
    assert "organisation" in answer.json["detail"]
    made = await api.local.post(f"{V1}/organisations", json={"name": "New", "domains": ["NEW.example"]})
    assert made.status == 201, made.body
    assert made.json["domains"] == ["new.example"]
    assert (await api.local.get(f"{V1}/users")).json == {"items": [], "next": None}


async def test_a_wrong_value_is_named_by_its_field(api: Api, org: Organisation) -> None:
    answer = await api.local.post(
        f"{V1}/users", json={"name": "", "primary": "nobody", "alternates": ["ok@example.org", 7], "colour": "red"}
    )
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    by_field = {one["field"]: one["detail"] for one in answer.json["errors"]}
    assert set(by_field) == {"name", "primary", "alternates[1]", "colour"}
    assert by_field["colour"] == "there is no such field"
    assert "@" in by_field["primary"]


async def test_an_unknown_path_or_method_is_a_problem_too(api: Api) -> None:
    for method, path, status in (("GET", "/x", 404), ("GET", f"{V1}/nowhere", 404), ("PUT", f"{V1}/users", 405)):
        answer = await api.local.ask(method, path)
        assert answer.status == status
        assert answer.json["status"] == status


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"{", "not JSON"),
        (b'{"name": "a", "name": "b"}', "'name' twice"),
        (b'{"name": NaN}', "NaN"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"name": "a\\u0000b"}', "NUL"),
    ],
    ids=["cut", "twice", "nan", "latin", "deep", "nul"],
)
async def test_fault_w08_json_means_one_thing(api: Api, org: Organisation, body: bytes, because: str) -> None:
    answer = await api.local.patch(f"{V1}/organisation", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert because in answer.json["detail"]


async def test_text_that_no_database_keeps_is_refused(api: Api, org: Organisation) -> None:
    assert (await api.local.get(f"{V1}/users/a%00b")).status == 400
    assert (await api.local.get(f"{V1}/suppressions?search=a%00b")).status == 400
    lone = b'{"name": "a\\ud800", "primary": "a\\ud800@example.org"}'
    answer = await api.local.post(f"{V1}/users", data=lone, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    both = b'{"name": "\\ud83d\\ude00", "primary": "anna@example.org"}'
    answer = await api.local.post(f"{V1}/users", data=both, headers={"Content-Type": "application/json"})
    assert answer.json["name"] == "\U0001f600"


async def test_fault_w08_a_body_over_the_limit_is_413_while_it_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body=1000) as api:
        await factory.org(api.store, api.clock)
        headers = {"Content-Type": "application/json"}
        answer = await api.local.post(f"{V1}/users", data=b"x" * 1001, headers=headers)
        assert answer.status == 413
        assert "1000 bytes" in answer.json["detail"]

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"y" * 100

        answer = await api.local.post(f"{V1}/users", data=pieces(), headers=headers)
        assert answer.status == 413


async def test_an_unexpected_error_is_500_without_its_text_and_logged(
    api: Api, org: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret reason")

    monkeypatch.setattr(people, "list_users", broken)
    with structlog.testing.capture_logs() as logged:
        answer = await api.local.get(f"{V1}/users")
    assert answer.status == 500
    assert answer.json["type"] == "urn:mailrelay:problem:internal"
    assert b"secret reason" not in answer.body
    (line,) = logged
    assert line["event"] == "request.failed"
    assert line["path"] == f"{V1}/users"
    assert line["exc_info"]


@pytest.mark.parametrize(("error", "status"), [(DiskFull("no space"), 507), (StoreBusy("busy"), 503)])
async def test_what_passes_is_503_or_507_with_retry_after(
    api: Api, org: Organisation, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(people, "list_users", failing)
    answer = await api.local.get(f"{V1}/users")
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) > 0


async def test_fault_d04_a_store_that_has_failed_is_503_and_one_line_in_the_log(api: Api, org: Organisation) -> None:
    def failing(tx: Tx) -> None:
        raise StoreDamaged("secret reason")

    with pytest.raises(StoreDamaged):
        await api.store.write(failing)
    with structlog.testing.capture_logs() as logged:
        answer = await api.local.put(f"{V1}/exclusions/example.com")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert b"secret reason" not in answer.body
    (line,) = logged
    assert (line["event"], line["path"]) == ("request.failed", f"{V1}/exclusions/example.com")
    assert line["because"] == "secret reason"
    assert "exc_info" not in line


async def test_while_the_store_closes_a_request_is_503(api: Api, org: Organisation) -> None:
    await api.store.close()
    with structlog.testing.capture_logs() as logged:
        for answer in (await api.local.get(f"{V1}/users"), await api.local.put(f"{V1}/exclusions/example.com")):
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
    assert logged == []


async def test_a_request_that_the_daemons_end_cuts_off_is_503(
    api: Api, org: Organisation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def slow(tx: Tx, *_: object, **__: object) -> None:
        began.set()
        goes_on.wait(30)

    monkeypatch.setattr(people, "list_users", slow)
    asking = asyncio.create_task(api.local.get(f"{V1}/users"))
    assert await asyncio.to_thread(began.wait, 30)
    for task in asyncio.all_tasks():
        if task.get_coro().__qualname__.endswith("run_asgi"):  # type: ignore[union-attr]
            task.cancel()
    answer = await asking
    goes_on.set()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "stopping" in answer.json["detail"]
    assert not caplog.records


async def test_the_description_is_openapi_3_1_and_every_path_wants_authentication(api: Api) -> None:
    described = (await api.web.get(f"{V1}/openapi.json")).json
    assert described["openapi"].startswith("3.1")
    open_doors = [
        (method, path)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security")
    ]
    local_only = {"organisations", "ledger", "audit", "queue/counts", "shaping", "smtp", "tls", "installation"}
    for _, path in open_doors:
        below = path.removeprefix(f"{V1}/")
        assert any(below == one or below.startswith(f"{one}/") for one in local_only), path
    for method, path in open_doors:
        assert (await api.web.ask(method.upper(), path)).status == 403


async def test_readiness_is_truthful(tmp_path: Path) -> None:
    works = True

    async def probe() -> str:
        return "" if works else "the disk is full"

    async def broken() -> str:
        raise StoreBusy("the store is busy")

    probes = {"store": probe}
    async with serving(tmp_path, probes=probes) as api:
        assert (await api.ops.get("/readyz")).json == {"ready": True, "parts": {"store": {"ready": True, "reason": ""}}}
        works = False
        answer = await api.ops.get("/readyz")
        assert answer.status == 503
        assert answer.json["parts"]["store"]["reason"] == "the disk is full"
        probes["other"] = broken
        assert (await api.ops.get("/readyz")).json["parts"]["other"]["reason"] == "the store is busy"
        assert (await api.ops.get("/healthz")).json["alive"] is True


async def test_metrics_are_on_the_operators_port_only(api: Api) -> None:
    text = (await api.ops.get("/metrics")).body.decode()
    assert "mailrelay_store_commit_duration_seconds_count" in text
    assert 'mailrelay_http_requests_total{klass="2xx"}' in text
    assert (await api.web.get("/metrics")).status == 404


async def test_a_stop_lets_a_request_finish_and_frees_the_sockets(tmp_path: Path) -> None:
    entered = asyncio.Event()

    async def slow() -> str:
        entered.set()
        await asyncio.sleep(0.3)
        return ""

    async with serving(tmp_path, probes={"slow": slow}) as api:
        asking = asyncio.create_task(api.ops.get("/readyz"))
        await entered.wait()
        host, port = api.server.address
        api.stopping.set()
        assert (await asking).status == 200
    with socket.socket() as probe:
        assert probe.connect_ex((host, port)) != 0
    assert not api.server.unix_socket.exists()


async def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "mr.sock"))
    async with serving(tmp_path) as api:
        assert (await api.local.get(f"{V1}/openapi.json")).status == 200
