"""What people type by mistake gets one clear sentence, and does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from mailrelay.model.organisation import User
from mailrelay.store import deliveries
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import Api, serving

V1 = "/api/v1"


@dataclass(frozen=True)
class _Place:
    api: Api
    cli: Cli
    anna: User


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[_Place]:
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as api:
            org = await factory.org(api.store, api.clock, domains=("example.org",))
            anna = await factory.user(api.store, api.clock, org, "anna@example.org")
            yield _Place(api, Cli(api.server.unix_socket), anna)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("message", "send", "--to", "b@b.test", "--text", "x"), "say who sends it: --from, or --user"),
        (
            ("message", "send", "--from", "anna@example.org", "--to", "b@b.test", "--text", "-"),
            "there is no text on standard input; nothing was sent",
        ),
        (
            ("message", "send", "--from", "anna@example.org", "--to", "b@b.test", "--text", "x", "--key", ""),
            "--key is empty",
        ),
        (("unresolved", "file", "X1"), "either --record MODULE/ID or --create MODULE"),
        (("unresolved", "file", "X1", "--record", "lead/1", "--create", "lead"), "either --record"),
        (("unresolved", "file", "X1", "--record", "lead/1", "--name", "x"), "--address and --name are for --create"),
        (("organisation", "set", "domains=example.net"), "mailrelay domain add NAME"),
        (("organisation", "set", "time_zone=Mars"), "is not an IANA time zone"),
        (("event", "list", "--after", "1", "--last", "2"), "give one of them"),
        (
            ("user", "add", "--name", "X", "--address", "bcc-x@inbound.localhost"),
            "inbound.localhost is for dropboxes and returned mail",
        ),
        (("exclusion", "add", "foo"), "foo is nobody's domain"),
        (("exclusion", "add", "co.uk"), "co.uk is nobody's domain"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_mistake_is_told_in_a_sentence(place: _Place, arguments: tuple[str, ...], said: str) -> None:
    done = await place.cli(*arguments, stdin="")
    assert done.status != 0
    assert said in done.error
    assert await place.api.store.read(deliveries.list_deliveries, place.anna.org) == ()


async def test_what_is_no_mistake_is_taken(place: _Place) -> None:
    assert "company.co.uk" in (await place.cli("exclusion", "add", "company.co.uk")).out
    found = await place.cli.json("organisation", "set", "name=New", "time_zone=Europe/Berlin", "sender_check=token")
    assert (found["name"], found["time_zone"], found["settings"]["sender_check"]) == ("New", "Europe/Berlin", "token")
    sent = await place.cli(
        "message", "send", "--user", "anna@example.org", "--to", "b@b.test", "--text", "-", stdin="x"
    )
    assert sent.status == 0, sent
    assert (await place.cli("exclusion", "remove", "foo")).status == 0  # from when it could be added


@pytest.mark.parametrize(
    "change", [{"primary": "me@bounce.localhost"}, {"alternates": ["me@example.org", "me@inbound.localhost"]}]
)
async def test_a_user_has_no_address_at_a_domain_of_ours(place: _Place, change: dict[str, object]) -> None:
    own = {place.api.application.config.inbound.bounce_domain, *place.api.application.config.inbound.domains}
    assert own == {"bounce.localhost", "inbound.localhost"}
    answer = await place.api.local.patch(f"{V1}/users/{place.anna.id}", json=change)
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] in ("primary", "alternates[1]")


async def test_an_empty_idempotency_key_is_none_at_all_and_refused(place: _Place) -> None:
    mail = {"from": "anna@example.org", "to": ["b@b.test"], "text": "x"}
    answer = await place.api.local.post(f"{V1}/messages", json=mail, headers={"Idempotency-Key": ""})
    assert answer.status == 422
    assert answer.json["detail"] == "Idempotency-Key: must not be empty"


async def test_who_sends_is_asked_without_speaking_of_a_token_on_the_socket(place: _Place) -> None:
    answer = await place.api.local.post(f"{V1}/messages", json={"to": ["b@b.test"], "text": "x"})
    assert answer.status == 422
    assert "token" not in answer.json["detail"]
    assert "?user=" in answer.json["detail"]


async def test_the_last_events_are_listed_and_those_before_them(place: _Place) -> None:
    for number in range(4):
        mail = {"from": "anna@example.org", "to": [f"b{number}@b.test"], "text": "x"}
        assert (await place.api.local.post(f"{V1}/messages", json=mail)).status == 202
    everything = [one["seq"] for one in (await place.cli.json("event", "list"))["items"]]
    assert everything == sorted(everything)
    assert len(everything) >= 4
    assert [one["seq"] for one in (await place.cli.json("event", "list", "--last", "2"))["items"]] == everything[-2:]
    before = (await place.cli.json("event", "list", "--last", "1", "--before", str(everything[-1])))["items"]
    assert [one["seq"] for one in before] == everything[-2:-1]
    assert [one["seq"] for one in (await place.cli.json("event", "list", "--after", "0"))["items"]] == everything
    assert (await place.api.local.get(f"{V1}/events?before=3")).status == 422
    assert (await place.api.local.get(f"{V1}/events?after=1&last=3")).status == 422
