"""O11, W03: smart hosts over the API and by commands: who may, what is refused, and that no secret is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text

from mailrelay.config.schema import Config, Delivery
from mailrelay.model.organisation import Organisation, Right, User
from tests.support import factory
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.cli import Cli
from tests.support.http import Api, Client, ZoneResolver, serving
from tests.support.remote import remote

CERT = certificate("localhost")
HOSTS = "/api/v1/smart-hosts"
ZONE = Zone({("A", "localhost"): "127.0.0.1", ("A", "public.test"): "9.9.9.9", ("A", "private.test"): "10.0.0.1"})


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    with structlog.testing.capture_logs():
        async with serving(tmp_path, resolver=ZoneResolver(ZONE)) as running:
            yield running


@pytest.fixture
async def org(api: Api) -> Organisation:
    return await factory.org(api.store, api.clock, domains=("example.org",))


@pytest.fixture
async def anna(api: Api, org: Organisation) -> User:
    return await factory.user(api.store, api.clock, org, "anna@example.org")


async def bearing(api: Api, org: Organisation, *rights: Right, user: User | None = None) -> Client:
    _, secret = await factory.api_token(api.store, api.clock, org, *rights, on_behalf_of=user)
    return api.web.bearing(secret)


def given(**more: object) -> dict[str, object]:
    return {
        "scope": "domain",
        "name": "example.org",
        "host": "public.test",
        "username": "relay",
        "password": "a very secret word",
        **more,
    }


async def test_a_smart_host_is_added_shown_without_secrets_and_removed(api: Api, org: Organisation):
    admin = await bearing(api, org, Right.ADMIN)
    assert (await admin.get(HOSTS)).json == {"items": [], "next": None}
    made = await admin.post(HOSTS, json=given())
    assert made.status == 201, made.body
    assert (await admin.post(HOSTS, json=given())).status == 409
    for answer in (made, await admin.get(HOSTS), await admin.get(f"{HOSTS}/{made.json['id']}")):
        assert b"secret" not in answer.body
    rows = await api.store.read(lambda tx: [str(row) for row in tx.execute(text("SELECT * FROM smart_host"))])
    assert "a very secret word" not in "".join(rows)
    assert (await admin.delete(f"{HOSTS}/{made.json['id']}")).status == 204
    assert (await admin.delete(f"{HOSTS}/{made.json['id']}")).status == 404
    rows = await api.store.read(lambda tx: list(tx.execute(text("SELECT secret FROM smart_host"))))
    assert [row[0] for row in rows] == [""]


async def test_a_user_has_their_own_and_sees_no_others(api: Api, org: Organisation, anna: User):
    bob = await factory.user(api.store, api.clock, org, "bob@example.org")
    admin = await bearing(api, org, Right.ADMIN)
    hers = await bearing(api, org, Right.SEND, Right.READ, user=anna)
    theirs = (await admin.post(HOSTS, json=given())).json["id"]
    mine = await hers.post(HOSTS, json=given(scope="user", name="anna@example.org"))
    assert (mine.status, mine.json["name"]) == (201, anna.id)
    assert [one["id"] for one in (await hers.get(HOSTS)).json["items"]] == [mine.json["id"]]
    assert len((await admin.get(HOSTS)).json["items"]) == 2
    for path in (f"{HOSTS}/{theirs}", f"{HOSTS}/H0000"):
        assert (await hers.get(path)).status == 404
        assert (await hers.delete(path)).status == 404
        assert (await hers.post(f"{path}/test")).status == 404
    for name in (bob.id, "bob@example.org"):
        assert (await hers.post(HOSTS, json=given(scope="user", name=name))).status == 403
    assert (await hers.post(HOSTS, json=given(name="example.org"))).status == 403
    only_reads = await bearing(api, org, Right.READ, user=anna)
    assert (await only_reads.delete(f"{HOSTS}/{mine.json['id']}")).status == 403
    other = await factory.org(api.store, api.clock, domains=("other.org",), name="Other")
    assert (await (await bearing(api, other, Right.ADMIN)).get(f"{HOSTS}/{theirs}")).status == 404
    assert (await hers.delete(f"{HOSTS}/{mine.json['id']}")).status == 204


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"host": "private.test"}, 422, "private address"),
        ({"host": "localhost"}, 422, "private address"),
        ({"host": "127.0.0.1"}, 422, "private address"),
        ({"host": "169.254.169.254"}, 422, "private address"),
        ({"host": "::ffff:10.0.0.1"}, 422, "private address"),
        ({"host": "nowhere.test"}, 422, "no address"),
        ({"host": "not a host"}, 422, "host name"),
        ({"port": 22}, 422, "at which mail is taken"),
        ({"tls": "opportunistic"}, 422, "never sent without verified TLS"),
        ({"password": ""}, 422, "is needed"),
        ({"auth": "none"}, 422, "is not used"),
        ({"username": "a\r\nb"}, 422, "username: must be one line, without control characters"),
        ({"password": "a\nb"}, 422, "password: must be one line, without control characters"),
        ({"name": "elsewhere.org"}, 404, "sends no mail for"),
        ({"scope": "user", "name": "nobody@example.org"}, 422, "no such user"),
        ({"auth": "oauth2", "password": ""}, 422, "is needed"),
    ],
)
async def test_fault_w03_what_cannot_be_is_refused_with_why(
    api: Api, org: Organisation, fields: dict[str, object], status: int, words: str
):
    admin = await bearing(api, org, Right.ADMIN)
    answer = await admin.post(HOSTS, json=given(**fields))
    assert (answer.status, words in str(answer.json)) == (status, True), answer.body
    assert b"very secret" not in answer.body


@pytest.mark.parametrize(
    "url",
    [
        "http://public.test/token",
        "https://127.0.0.1/token",
        "https://[::1]/token",
        "https://user:word@public.test/token",
        "https://public.test:8443/token",
        "file:///etc/passwd",
        "https://",
    ],
)
async def test_fault_w03_a_token_endpoint_is_an_https_url_of_a_public_host(api: Api, org: Organisation, url: str):
    admin = await bearing(api, org, Right.ADMIN)
    oauth = given(auth="oauth2", password="", client_id="us", refresh_token="a very secret word", token_url=url)
    answer = await admin.post(HOSTS, json=oauth)
    assert answer.status == 422
    assert "token_url" in str(answer.json)
    assert b"very secret" not in answer.body


def _local(folder: Path) -> Config:
    return Config(data=folder, delivery=Delivery(allow_private=True, ca_file=CERT.authority))


async def test_a_smart_host_is_kept_and_tried_out_by_commands(tmp_path: Path):
    async with remote(certificate=CERT.server_context()) as sink:
        sink.extensions.append("AUTH PLAIN")
        with structlog.testing.capture_logs():
            async with serving(tmp_path, resolver=ZoneResolver(ZONE), config=_local(tmp_path)) as api:
                org = await factory.org(api.store, api.clock, domains=("example.org",))
                await factory.user(api.store, api.clock, org, "anna@example.org")
                cli = Cli(api.server.unix_socket)
                assert "all mail goes the way of the installation" in (await cli("smart-host", "list")).out
                word = tmp_path / "word"
                word.write_text("pass word\n")
                made = await cli.json(
                    *("smart-host", "add", "user", "anna@example.org", "localhost", "--port", str(sink.port)),
                    *("--username", "anna", "--password-file", str(word)),
                )
                id_ = made["id"]
                sink.say("AUTH", "535 5.7.8 \x1b[2Jno")
                refused = await cli("smart-host", "test", id_)
                assert refused.status == 75
                assert "535 5.7.8" in refused.error
                assert "\x1b" not in refused.error
                assert "lets us in, over TLSv1." in (await cli("smart-host", "test", id_)).out
                assert "takes mail" in (await cli("smart-host", "list")).out
                shown = (await cli("smart-host", "show", id_)).out
                assert "localhost" in shown
                assert "pass word" not in shown
                assert "is removed" in (await cli("smart-host", "remove", id_)).out
                assert (await cli("smart-host", "show", id_)).status == 66
    assert "MAIL" not in sink.verbs()
