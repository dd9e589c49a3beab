"""K1: every message and every delivery says how far it came, put off mail too; asked of the API and by command."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from mailrelay.model.delivery import DeliveryState, DeliveryStatus, message_status
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.organisation import Right
from tests.support import factory
from tests.support.answers import Zone
from tests.support.cli import Cli
from tests.support.http import serving
from tests.support.outbound import relay
from tests.support.remote import remote

V1 = "/api/v1"
ZONE = Zone(
    {("MX", "b.test"): Answer(LookupStatus.FOUND, mx=(MxRecord(10, "localhost"),)), ("A", "localhost"): "127.0.0.1"}
)


async def test_k01_a_mail_is_queued_then_deferred_then_sent(tmp_path: Path) -> None:
    with structlog.testing.capture_logs():
        async with (
            remote() as sink,
            serving(tmp_path) as api,
            relay(
                tmp_path, store=api.store, clock=api.clock, route="mx", port=sink.port, answers=ZONE, first_retry=60
            ) as us,
        ):
            cli = Cli(api.server.unix_socket)
            _, secret = await factory.api_token(api.store, api.clock, us.org, Right.READ)
            web = api.web.bearing(secret)

            async def told(message: str) -> tuple[str, str, str, dict[str, int]]:
                """The message's status alone and in the list, its delivery's, and what is counted."""
                shown = (await web.get(f"{V1}/messages/{message}")).json
                (listed,) = (await web.get(f"{V1}/messages")).json["items"]
                counts = (await api.local.get(f"{V1}/queue/counts")).json
                return (
                    shown["status"],
                    listed["status"],
                    shown["deliveries"][0]["status"],
                    {one["state"]: one["count"] for one in counts if one["count"]},
                )

            submitted = await us.submit("bob@b.test")
            assert await told(submitted.message) == ("queued", "queued", "queued", {"queued": 1})

            sink.say("RCPT", "450 4.2.0 greylisted")
            us.start()
            await us.until(submitted, DeliveryState.QUEUED, attempts=1)
            assert await told(submitted.message) == ("deferred", "deferred", "deferred", {"deferred": 1})
            (one,) = (await web.get(f"{V1}/queue?status=deferred")).json["items"]
            assert (one["state"], one["status"]) == ("queued", "deferred")
            assert (await web.get(f"{V1}/queue?status=queued")).json["items"] == []
            assert len((await web.get(f"{V1}/queue?state=queued")).json["items"]) == 1
            said = await cli("queue", "list", "--state", "deferred")
            assert (said.status, "deferred" in said.out, "450 4.2.0" in said.out) == (0, True, True)
            assert "deferred" in (await cli("queue", "list")).out
            assert "Nothing" in (await cli("queue", "list", "--state", "queued")).out
            counted = {one["state"]: one["count"] for one in await cli.json("queue", "counts")}
            assert (counted["deferred"], counted["queued"]) == (1, 0)
            assert "  status      deferred\n" in (await cli("message", "show", submitted.message)).out
            assert "deferred" in (await cli("message", "list")).out

            us.clock.advance(timedelta(minutes=2))
            await us.until(submitted)
            assert await told(submitted.message) == ("sent", "sent", "sent", {})


async def test_k01_of_several_recipients_the_message_says_how_it_stands_with_them(tmp_path: Path) -> None:
    with structlog.testing.capture_logs():
        async with (
            remote() as sink,
            serving(tmp_path) as api,
            relay(tmp_path, store=api.store, clock=api.clock, route="mx", port=sink.port, answers=ZONE) as us,
        ):
            cli = Cli(api.server.unix_socket)
            sink.say("RCPT", "250 ok", "550 5.1.1 nobody here")
            submitted = await us.submit("bob@b.test", "eve@b.test")
            us.start()
            await us.until(submitted, DeliveryState.SENT, DeliveryState.BOUNCED)
            assert (await cli.json("message", "show", submitted.message))["status"] == "partially_sent"
            assert "partially sent (1 sent, 1 bounced)" in (await cli("message", "show", submitted.message)).out


@pytest.mark.parametrize(
    ("deliveries", "status"),
    [
        ("", None),
        ("queued queued", "queued"),
        ("sent queued", "queued"),
        ("queued sending", "sending"),
        ("sent deferred queued", "deferred"),
        ("bounced deferred", "deferred"),
        ("scheduled", "scheduled"),
        ("held queued", "held"),
        ("sent sent", "sent"),
        ("sent delivered", "sent"),
        ("delivered", "delivered"),
        ("sent bounced", "partially_sent"),
        ("delivered suppressed", "partially_sent"),
        ("failed bounced", "bounced"),
        ("failed", "failed"),
        ("expired expired", "expired"),
        ("suppressed cancelled", "suppressed"),
    ],
)
def test_k01_a_messages_status_is_that_of_its_deliveries(deliveries: str, status: str | None) -> None:
    assert message_status([DeliveryStatus(one) for one in deliveries.split()]) == status


def test_k01_every_state_is_a_status_and_so_is_what_recipients_did() -> None:
    assert {*DeliveryStatus} - {*DeliveryState} == {"deferred", "opened", "clicked", "replied"}
    assert {*DeliveryState} < {*DeliveryStatus}
    assert all(str(message_status([status])) == str(status) for status in DeliveryStatus)
