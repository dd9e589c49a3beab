"""R3: `mailrelay route` and GET /route say what would happen to a mail now, by what would decide it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.config.schema import Config
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.config.schema import Submission as SubmissionSettings
from mailrelay.model.delivery import Deferred, Stage
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.organisation import Organisation, User
from mailrelay.model.reply import reply
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.model.tls import TlsLevel
from mailrelay.model.way import Way
from mailrelay.outbound.shaper import Go
from mailrelay.smtp.address import parse_address
from mailrelay.store import suppressions, suspensions, waiting
from tests.support import factory
from tests.support.answers import FAILED, Zone
from tests.support.cli import Cli
from tests.support.filing import DOMAIN
from tests.support.http import Api, ZoneResolver, serving
from tests.support.outbound import relay

MX = Answer(LookupStatus.FOUND, mx=(MxRecord(20, "mx2.b.test"), MxRecord(10, "mx1.b.test")))
ZONE = Zone(
    {
        ("MX", "b.test"): MX,
        ("A", "mx1.b.test"): ["192.0.43.8", "10.0.0.1"],
        ("A", "mx2.b.test"): "192.0.43.9",
        ("MX", "null.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(0, ""),)),
        ("MX", "private.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(10, "mx.private.test"),)),
        ("A", "mx.private.test"): "10.0.0.1",
        ("A", "alone.test"): "192.0.43.7",
        ("MX", "dark.test"): FAILED,
    }
)


def by_mx(folder: Path, **more: Any) -> dict[str, Any]:
    config = Config(data=folder, delivery=DeliverySettings(route="mx", **more))
    return {"config": config, "resolver": ZoneResolver(ZONE)}


async def house(api: Api) -> tuple[Organisation, User]:
    """An organisation, and a user who brings it a quota."""
    org = await factory.org(api.store, api.clock, domains=("acme.test",))
    return org, await factory.user(api.store, api.clock, org, "anna@acme.test")


async def told(api: Api, address: str = "bob@b.test", **query: str) -> dict[str, Any]:
    answer = await api.local.get("/api/v1/route", params={"address": address, **query})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def test_r03_it_says_where_a_mail_would_go_and_shows_each_host(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        await house(api)
        found = await told(api)
        assert (found["outcome"], found["sentence"]) == ("goes", "would go to mx1.b.test now over TLS if it can")
        assert [(one["host"], one["ip"]) for one in found["hops"]] == [
            ("mx1.b.test", "192.0.43.8"),
            ("mx2.b.test", "192.0.43.9"),
        ]
        first, second = found["hosts"]
        assert (first["preference"], first["host"], first["why"]) == (10, "mx1.b.test", "")
        assert {one["ip"]: one["why"] for one in first["addresses"]} == {
            "192.0.43.8": "",
            "10.0.0.1": "it is a private address, which is not allowed here",
        }
        assert second["addresses"] == [{"ip": "192.0.43.9", "why": ""}]
        assert (found["way"]["site"], found["waiting"], found["policy"]) == ("b.test", 0, None)
        assert found["quota"]["left"] == found["quota"]["limit"]


async def test_r03_an_address_is_shown_as_it_is_written(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        org, _ = await house(api)
        given = '"x y"@b.test'
        said = await Cli(api.server.unix_socket)("route", given)
        assert said.out.startswith(f"A mail to {given} would go to mx1.b.test now")
        await api.store.write(
            suppressions.suppress,
            org=org.id,
            key=parse_address(given).key,
            reason=SuppressionReason.HARD_BOUNCE,
            evidence="550",
            by="D1",
            now=api.clock.now(),
        )
        found = await told(api, given)
        assert found["address"] == given
        assert f"{given} is suppressed" in found["sentence"]


async def test_r03_where_nothing_is_counted_no_quota_is_in_the_way(tmp_path: Path) -> None:
    given = by_mx(tmp_path)
    given["config"] = given["config"].model_copy(update={"submission": SubmissionSettings(quotas=False)})
    async with serving(tmp_path, **given) as api:
        await factory.org(api.store, api.clock, domains=("acme.test",))  # with no user nothing is allowed
        found = await told(api)
        assert (found["outcome"], found["quota"]) == ("goes", None)


@pytest.mark.parametrize(
    ("address", "outcome", "words"),
    [
        ("bob@null.test", "refused", "would come back at once"),
        ("bob@private.test", "refused", "would go to a private address"),
        ("bob@nowhere.test", "refused", "does not exist"),
        ("bob@alone.test", "goes", "would go to alone.test"),
        ("bob@dark.test", "waits", "DNS gave no answer"),
        ("bob@[192.0.43.5]", "goes", "would go to 192.0.43.5"),
        (f"none@{DOMAIN}", "refused", "would be refused"),
    ],
)
async def test_r03_what_dns_makes_of_it_is_told(tmp_path: Path, address: str, outcome: str, words: str) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        await house(api)
        found = await told(api, address)
        assert found["outcome"] == outcome, found["sentence"]
        assert words in found["sentence"]


async def test_r03_suppression_suspension_and_dropboxes_come_first(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        org, anna = await house(api)
        box = await factory.dropbox(api.store, api.clock, anna)
        assert (await told(api, f"bcc-{box.token}@{DOMAIN}"))["outcome"] == "filed"
        await api.store.write(
            suspensions.suspend,
            org=org.id,
            sending=Sending(Scope.DOMAIN, "acme.test"),
            reason="too many bounces",
            evidence="",
            by="D1",
            at=api.clock.now(),
        )
        assert (await told(api))["outcome"] == "goes"  # nobody said whose it is
        for sender in ("anna@acme.test", anna.id):
            found = await told(api, **{"from": sender})
            assert (found["outcome"], found["user"]) == ("held", anna.id)
            assert found["suspension"]["reason"] == "too many bounces"
        await api.store.write(
            suppressions.suppress,
            org=org.id,
            key="bob@b.test",
            reason=SuppressionReason.HARD_BOUNCE,
            evidence="550",
            by="D1",
            now=api.clock.now(),
        )
        found = await told(api, **{"from": anna.id})
        assert (found["outcome"], found["suppression"]["evidence"]) == ("refused", "550")


async def test_r03_a_destination_and_a_job_that_are_suspended_hold_it(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        org, _ = await house(api)
        for sending in (Sending(Scope.DESTINATION, "b.test"), Sending(Scope.JOB, "spring")):
            await api.store.write(
                suspensions.suspend,
                org=org.id,
                sending=sending,
                reason="by hand",
                evidence="",
                by="U1",
                at=api.clock.now(),
            )
        assert "the destination b.test" in (await told(api))["sentence"]
        assert "the job spring" in (await told(api, "bob@alone.test", job="spring"))["sentence"]
        assert (await told(api, "bob@alone.test"))["outcome"] == "goes"


async def test_r03_the_limits_of_the_way_and_what_the_other_side_said_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        await house(api)
        shaper, way = api.application.shaper, Way("b.test")
        asked_for_less = Deferred(reply=reply(421, "4.7.0", "slow down"), stage=Stage.MAIL)
        assert isinstance(shaper.ask(way), Go)
        shaper.ended(way, [asked_for_less])
        found = await told(api)
        assert (found["outcome"], found["way"]["condition"]) == ("waits", "slowed")
        assert "slow down" in found["sentence"]
        api.clock.advance(timedelta(hours=2))
        assert (await told(api))["outcome"] == "goes"


async def test_r03_what_the_host_had_last_time_is_told_with_its_reason(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        await house(api)
        await api.application.tls_memory.note(
            ("mx1.b.test", "192.0.43.8", 25),
            TlsLevel.UNVERIFIED,
            protocol="TLSv1.3",
            reason="it has expired",
            fell=True,
        )
        found = await told(api)
        assert found["sentence"] == "would go to mx1.b.test now over unverified TLS (it has expired)"
        assert (found["hops"][0]["last"], found["hops"][0]["last_reason"]) == ("unverified", "it has expired")
        assert found["hops"][1]["last"] is None


async def test_r03_what_waits_for_the_destination_is_counted(tmp_path: Path) -> None:
    async with relay(tmp_path, route="mx") as us:
        assert await us.store.read(waiting.of, "b.test") == waiting.Waiting(deliveries=0, complete=True, next_due=None)
        due = us.clock.now()
        await us.submit("bob@b.test", "eve@b.test", "carl@c.test")
        us.clock.advance(timedelta(minutes=1))
        await us.submit("dora@b.test")
        assert await us.store.read(waiting.of, "b.test") == waiting.Waiting(deliveries=3, complete=True, next_due=due)


async def test_r03_by_the_catch_all_nothing_leaves(tmp_path: Path) -> None:
    async with serving(tmp_path, resolver=ZoneResolver(ZONE)) as api:
        await house(api)
        found = await told(api)
        assert (found["outcome"], found["hosts"], found["hops"]) == ("kept", [], [])


async def test_r03_it_is_the_operators_and_refuses_what_is_no_address(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        org, _ = await house(api)
        _, secret = await factory.api_token(api.store, api.clock, org)
        there = api.web.bearing(secret)
        assert (await there.get("/api/v1/route", params={"address": "bob@b.test"})).status == 403
        assert (await api.local.get("/api/v1/route", params={"address": "bob"})).status == 422
        unknown = await api.local.get("/api/v1/route", params={"address": "bob@b.test", "from": "U404"})
        assert unknown.status == 404


async def test_r03_the_command_says_it_in_a_sentence_and_in_tables(tmp_path: Path) -> None:
    async with serving(tmp_path, **by_mx(tmp_path)) as api:
        await house(api)
        cli = Cli(api.server.unix_socket)
        said = await cli("route", "bob@b.test", "--from", "anna@acme.test")
        assert said.status == 0, said
        first, *rest = said.out.splitlines()
        assert first == ("A mail to bob@b.test from anna@acme.test would go to mx1.b.test now over TLS if it can.")
        assert any("10.0.0.1" in line and "private" in line for line in rest)
        assert any(line.startswith("Limits") and "0 of" in line for line in rest)
        found = await cli.json("route", "bob@null.test")
        assert found["outcome"] == "refused"
        assert "null MX" in (await cli("route", "bob@null.test")).out
