"""O11, N11: mail of a user or a domain goes by their own smart host; while it refuses us nothing bounces, and they are told."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mailrelay.config.secret import Secret
from mailrelay.ids import IdFactory
from mailrelay.model.delivery import DeliveryState, Stage
from mailrelay.model.event import EventType
from mailrelay.model.smart_host import HostAuth, HostScope, HostTls, Secrets, SmartHost
from mailrelay.outbound.vault import Vault
from mailrelay.store import events, ledger, smart_hosts
from tests.support.answers import Zone
from tests.support.certs import certificate
from tests.support.outbound import SECRET, Relay, relay, until
from tests.support.remote import Remote, remote
from tests.support.tls_peers import shown

CERT = certificate("localhost")
CERT_OF_OTHER = certificate("other.test").server_context()
UNTRUSTED = shown("localhost").context()
ZONE = Zone({("A", "localhost"): "127.0.0.1", ("MX", "b.test"): ["localhost"], ("A", "private.test"): "10.1.2.3"})
QUEUED, SENT, BOUNCED = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.BOUNCED


@asynccontextmanager
async def host(*auth: str) -> AsyncIterator[Remote]:
    async with remote(certificate=CERT.server_context()) as sink:
        sink.extensions.append(f"AUTH {' '.join(auth or ('PLAIN', 'LOGIN'))}")
        yield sink


def settings(direct: Remote, **more: Any) -> dict[str, Any]:
    return {"route": "mx", "port": direct.port, "answers": ZONE, "ca_file": CERT.authority, **more}


async def own(us: Relay, sink: Remote, scope: HostScope, name: str, **more: Any) -> SmartHost:
    """A smart host at the sink, with a password unless said otherwise."""
    id_ = IdFactory(us.clock.now).smart_host()
    secrets = more.pop("secrets", Secrets(password="pass word"))
    fields: dict[str, Any] = {
        "host": "localhost",
        "port": sink.port,
        "tls": HostTls.REQUIRED,
        "auth": HostAuth.PASSWORD,
        "username": "anna",
        "token_url": "",
        "client_id": "",
        "token_scope": "",
        "secret": Vault(SECRET).seal(secrets, id_),
    }
    made = SmartHost(
        id=id_,
        org=us.org.id,
        scope=scope,
        name=name,
        created_at=us.clock.now(),
        created_by="test",
        **{**fields, **more},
    )
    await us.store.write(smart_hosts.add, made)
    return made


async def told(us: Relay) -> list[dict[str, str]]:
    found = await us.store.read(events.after, us.org.id, 0, limit=1000)
    return [dict(one.data) for one in found if one.type is EventType.NEXT_HOP_PAUSED]


async def takes_mail(us: Relay, one: SmartHost) -> None:
    """Until it is known to take mail again."""
    async with asyncio.timeout(30):
        while (await us.store.read(smart_hosts.get, us.org.id, one.id)).trouble:
            await asyncio.sleep(0.01)
            us.clock.advance(timedelta(seconds=2))
            await us.until(await us.submit("again@b.test"))


async def test_a_users_smart_host_goes_before_that_of_the_domain_and_that_before_the_route(tmp_path: Path):
    async with remote() as direct, host() as annas, host() as domains, relay(tmp_path, **settings(direct)) as us:
        await own(us, annas, HostScope.USER, us.anna.id)
        await own(us, domains, HostScope.DOMAIN, "acme.test", username="relay")
        us.start()
        await us.until(await us.submit("bob@b.test", "eve@b.test"))
        await us.until(await us.submit(user=us.bob.id, mail_from=us.bob.primary, raw=us.mail("bob@acme.test")))
        await us.until(await us.submit(mail_from=None, user=us.bob.id, raw=us.mail("bob@acme.test")))
        assert all(one.unaccounted == 0 for one in await us.store.read(ledger.balance))
    assert sorted(one for taken in annas.messages for one in taken.rcpt) == ["<bob@b.test>", "<eve@b.test>"]
    assert base64.b64decode(annas.arguments("AUTH")[0].split(" ")[-1]) == b"\0anna\0pass word"
    assert len(domains.messages) == 1
    assert len(direct.messages) == 1  # a null reverse-path is nobody's domain
    assert annas.messages[0].tls


async def test_a_smart_host_that_is_removed_takes_no_more_mail_and_its_credentials_are_forgotten(tmp_path: Path):
    async with remote() as direct, host() as annas, relay(tmp_path, **settings(direct)) as us:
        one = await own(us, annas, HostScope.USER, us.anna.id)
        us.start()
        await us.until(await us.submit())
        await us.store.write(smart_hosts.remove, us.org.id, one.id, at=us.clock.now())
        us.clock.advance(timedelta(seconds=2))
        await us.until(await us.submit("eve@b.test"))
        assert (len(annas.messages), len(direct.messages)) == (1, 1)
        again = await own(us, annas, HostScope.USER, us.anna.id)
        assert again.id != one.id


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("AUTH", "535 5.7.8 who are you?"),
        ("AUTH", "454 4.7.0 later"),
        ("MAIL", "530 5.7.0 log in first"),
        ("MAIL", "550 5.7.1 not allowed to send as this"),
        ("MAIL", "452 4.3.1 daily quota exceeded"),
        ("DOT", "550 5.4.5 Daily user sending limit exceeded"),
    ],
)
async def test_fault_n11_what_refuses_us_pauses_the_host_and_no_mail_bounces(tmp_path: Path, verb: str, answer: str):
    async with remote() as direct, host() as annas, relay(tmp_path, **settings(direct)) as us:
        annas.say(verb, answer)
        made = await own(us, annas, HostScope.USER, us.anna.id)
        submitted = await us.submit("a@b.test", "b@b.test", mail_from=us.anna.primary)
        us.start()
        found = await us.until(submitted, QUEUED, SENT, attempts=1)
        put_off = [one for one in found if one.state is QUEUED]
        assert put_off
        assert {one.last_reply for one in put_off} == {answer}
        (attempt,) = await us.history(put_off[0].id)
        assert attempt.outcome.stage is Stage.AUTH
        (event,) = await told(us)
        assert (event["host"], event["smart_host"]) == ("localhost", made.id)
        assert answer in event["because"]
        shown = await us.store.read(smart_hosts.get, us.org.id, made.id)
        assert answer in shown.trouble
        us.clock.advance(timedelta(hours=5))
        await us.until(submitted)
        assert len(await told(us)) == 1
        await takes_mail(us, made)
    assert not direct.messages


@pytest.mark.parametrize(
    ("shows", "words"),
    [
        (None, "does not offer STARTTLS"),
        (CERT_OF_OTHER, "Hostname mismatch"),
        (UNTRUSTED, "unable to get local issuer certificate"),
    ],
    ids=["no STARTTLS", "another's certificate", "nobody's certificate"],
)
async def test_fault_n11_a_smart_host_without_its_tls_is_in_trouble_until_it_has_it(
    tmp_path: Path, shows: ssl.SSLContext | None, words: str
):
    async with remote() as direct, remote(certificate=shows) as annas, relay(tmp_path, **settings(direct)) as us:
        annas.extensions.append("AUTH PLAIN")
        made = await own(us, annas, HostScope.USER, us.anna.id)
        submitted = await us.submit("a@b.test", "b@b.test")
        us.start()
        await us.until(submitted, QUEUED, attempts=1)
        us.clock.advance(timedelta(hours=5))
        found = await us.until(submitted, QUEUED, attempts=2)
        assert all(words in one.last_reply for one in found)
        assert (await us.history(found[0].id))[0].outcome.stage is Stage.TLS
        (event,) = await told(us)
        assert (event["smart_host"], words in event["because"]) == (made.id, True)
        assert words in (await us.store.read(smart_hosts.get, us.org.id, made.id)).trouble
        assert "MAIL" not in annas.verbs()
        assert "AUTH" not in annas.verbs()
        annas.certificate = CERT.server_context()
        if "STARTTLS" not in annas.extensions:
            annas.extensions.append("STARTTLS")
        us.clock.advance(timedelta(hours=5))
        await us.until(submitted)
        await takes_mail(us, made)
        assert len(await told(us)) == 1


async def test_a_recipient_that_the_smart_host_refuses_is_a_bounce(tmp_path: Path):
    async with remote() as direct, host() as annas, relay(tmp_path, **settings(direct)) as us:
        annas.say("RCPT", "550 5.1.1 no such user")
        await own(us, annas, HostScope.USER, us.anna.id)
        submitted = await us.submit()
        us.start()
        await us.until(submitted, BOUNCED)
        assert not await told(us)


async def test_fault_n11_the_smart_host_of_the_installation_tells_each_organisation_once(tmp_path: Path):
    async with host() as all_:
        all_.say("AUTH", *["535 5.7.8 who are you?"] * 2)
        given = {
            "host": "localhost",
            "port": all_.port,
            "ca_file": CERT.authority,
            "user": "relay",
            "password": Secret("test", "pass word"),
        }
        async with relay(tmp_path, route="smart_host", smart_host=given, answers=ZONE) as us:
            submitted = await us.submit()
            us.start()
            await us.until(submitted, QUEUED, attempts=1)
            us.clock.advance(timedelta(hours=5))
            await us.until(submitted, QUEUED, attempts=2)
            assert [one["host"] for one in await told(us)] == ["localhost"]
            us.clock.advance(timedelta(hours=5))
            await us.until(submitted)


async def test_credentials_sealed_under_another_secret_put_off_and_say_so(tmp_path: Path):
    async with remote() as direct, host() as annas, relay(tmp_path, **settings(direct)) as us:
        sealed = Vault(b"another" * 8).seal(Secrets(password="x"), "H")
        made = await own(us, annas, HostScope.USER, us.anna.id, secret=sealed)
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "sealed under another secret" in one.last_reply
        (event,) = await told(us)
        assert "sealed under another secret" in event["because"]
        assert (await us.store.read(smart_hosts.get, us.org.id, made.id)).trouble == event["because"]
    assert not annas.sessions


async def test_fault_w03_a_smart_host_at_a_private_address_gets_nothing(tmp_path: Path):
    async with host() as annas, relay(tmp_path, **settings(annas, allow_private=False)) as us:
        await own(us, annas, HostScope.USER, us.anna.id, host="private.test")
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "private address" in one.last_reply
    assert not annas.sessions


async def test_fault_w03_a_smart_host_in_a_network_that_the_operator_allows_takes_mail(tmp_path: Path):
    given = {"allow_private": False, "smart_host_networks": ("127.0.0.0/8",)}
    async with host() as annas, relay(tmp_path, **settings(annas, **given)) as us:
        await own(us, annas, HostScope.USER, us.anna.id)
        submitted = await us.submit()
        us.start()
        await us.until(submitted, SENT)
        assert len(annas.messages) == 1


@pytest.mark.parametrize("ours", [{"own_addresses": frozenset({"127.0.0.1"})}, {"own_names": frozenset({"localhost"})}])
async def test_fault_n06_a_smart_host_that_is_ourselves_gets_nothing(tmp_path: Path, ours: dict[str, Any]):
    async with host() as annas, relay(tmp_path, **settings(annas), kit=ours) as us:
        await own(us, annas, HostScope.USER, us.anna.id)
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert "The smart host localhost is this server itself" in one.last_reply
    assert not annas.sessions


# --- OAuth 2 ---


@dataclass
class TokenServer:
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    state = TokenServer()

    async def give(request: web.Request) -> web.Response:
        state.asked.append({key: str(value) for key, value in (await request.post()).items()})
        answer = state.answers.pop(0) if state.answers else {}
        if isinstance(answer, web.Response):
            return answer
        return web.json_response({"access_token": f"token-{len(state.asked)}", "expires_in": 3600, **answer})

    app = web.Application()
    app.router.add_post("/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    try:
        yield state
    finally:
        await runner.cleanup()


OAUTH = Secrets(client_secret="client", refresh_token="refresh")


def by_oauth(tokens: TokenServer) -> dict[str, Any]:
    return {"auth": HostAuth.OAUTH2, "token_url": tokens.url, "client_id": "us", "secrets": OAUTH}


@pytest.mark.parametrize("method", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_refresh_token_becomes_an_access_token_that_is_used_again(tmp_path: Path, method: str):
    async with (
        remote() as direct,
        host("PLAIN", method) as annas,
        token_server() as tokens,
        relay(tmp_path, **settings(direct, idle=0.01)) as us,
    ):
        await own(us, annas, HostScope.USER, us.anna.id, **by_oauth(tokens))
        us.start()
        await us.until(await us.submit())
        await until(lambda: not annas.open)
        await us.until(await us.submit("eve@b.test"))
        assert annas.sessions == 2
    assert tokens.asked == [
        {"grant_type": "refresh_token", "refresh_token": "refresh", "client_id": "us", "client_secret": "client"}
    ]
    said = [base64.b64decode(line.split(" ")[2]) for line in annas.dialogue if line.startswith("AUTH")]
    bearer = b"auth=Bearer token-1\x01\x01"
    want = b"user=anna\x01" + bearer
    if method == "OAUTHBEARER":
        want = f"n,a=anna,\x01host=localhost\x01port={annas.port}\x01".encode() + bearer
    assert said == [want, want]


async def test_an_access_token_that_is_refused_is_renewed_once_and_a_new_refresh_token_is_kept(tmp_path: Path):
    async with (
        remote() as direct,
        host("XOAUTH2") as annas,
        token_server() as tokens,
        relay(tmp_path, **settings(direct)) as us,
    ):
        tokens.answers = [{}, {"refresh_token": "rotated"}]
        annas.say("AUTH", "334 eyJzdGF0dXMiOiI0MDEifQ==")
        annas.say("", "535 5.7.8 expired")
        made = await own(us, annas, HostScope.USER, us.anna.id, **by_oauth(tokens))
        us.start()
        await us.until(await us.submit())
        assert not await told(us)
        kept = await us.store.read(smart_hosts.get, us.org.id, made.id)
        assert Vault(SECRET).open(kept.secret, made.id).refresh_token == "rotated"
    assert len(tokens.asked) == 2
    assert len(annas.messages) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (web.json_response({"error": "invalid_grant"}, status=400), "invalid_grant"),
        (web.Response(text="x" * 70_000), "larger than 65536"),
        (web.Response(text="<html>"), "no token"),
        ({"access_token": "a b\n"}, "usable access token"),
    ],
    ids=["redirect", "refused", "large", "junk", "hostile"],
)
async def test_a_token_endpoint_that_gives_no_token_puts_off_and_is_told(tmp_path: Path, answer: Any, words: str):
    async with (
        remote() as direct,
        host("XOAUTH2") as annas,
        token_server() as tokens,
        relay(tmp_path, **settings(direct)) as us,
    ):
        tokens.answers = [answer]
        await own(us, annas, HostScope.USER, us.anna.id, **by_oauth(tokens))
        submitted = await us.submit()
        us.start()
        (one,) = await us.until(submitted, QUEUED, attempts=1)
        assert words in one.last_reply
        (event,) = await told(us)
        assert words in event["because"]
        (made,) = await us.store.read(smart_hosts.list_hosts, us.org.id)
        assert words in made.trouble
    assert not annas.sessions
