"""O10, I11: the suppression list as people use it: looked at, brought in, taken out, lifted; and all that is known of an address."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.model.absence import Absence, Instead
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.feedback import Action, Category, Fault, Feedback, Tie
from mailrelay.model.message import Kind
from mailrelay.model.organisation import Organisation, Right, User
from mailrelay.model.sending import Scope, Sending
from mailrelay.model.suppression import SuppressionReason
from mailrelay.smtp.address import parse_address
from mailrelay.store import absences, deliveries, events, feedback, records, suppressions, tallies
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import Api, Client

V1 = "/api/v1"
CSV = """\
Email,Reason,Created,Description,IP
bob@customer.test,Bounce,2024-03-01T08:00:00Z,550 5.1.1 no such user,192.0.2.1
EVE@customer.test,spam report,2024-04-01,,192.0.2.1
carl@customer,because,,,
"=1+1@customer.test",manual,,"=HYPERLINK(""x"")",
nobody,,,,
"""


async def test_good_lines_are_in_with_their_dates_and_bad_ones_are_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(CSV)
    said = await cli("suppression", "import", str(file))
    assert said.status == 65
    assert said.error.splitlines() == [
        "line 4: reason: because is none of hard_bounce, soft_bounces, complaint, unsubscribed, opted_out, locked, by_hand",
        "line 6: address: The address has no @domain",
    ]
    assert said.out == "3 added, 0 there already, 2 left out. Columns that mean nothing here: IP\n"
    again = await cli("suppression", "import", str(file), "--json")
    assert json.loads(again.out) == {
        "added": 0,
        "unchanged": 3,
        "lifted": 0,
        "bad": 2,
        "ignored": ["IP"],
        "bad_lines": [
            {"line": 4, "because": said.error.splitlines()[0][8:]},
            {"line": 6, "because": "address: The address has no @domain"},
        ],
    }
    found = {one["key"]: one for one in (await cli.json("suppression", "list"))["items"]}
    assert list(found) == ["=1+1@customer.test", "bob@customer.test", "eve@customer.test"]
    bob = found["bob@customer.test"]
    assert (bob["reason"], bob["since"], bob["evidence"], bob["by"]) == (
        "hard_bounce",
        "2024-03-01T08:00:00Z",
        "550 5.1.1 no such user",
        "operator",
    )


@pytest.mark.parametrize("name", ["list.csv", "list.ndjson"])
async def test_what_is_taken_out_is_brought_in_elsewhere_as_it_was(
    api: Api, cli: Cli, tmp_path: Path, name: str
) -> None:
    await cli("suppression", "import", "-", stdin=CSV)
    await cli.json("suppression", "add", "dora@customer.test", "--evidence", "line one")
    api.clock.advance(timedelta(days=1))
    await cli.json("suppression", "lift", "eve@customer.test", "--note", "she called")
    out = tmp_path / name
    assert (await cli("suppression", "export", "--lifted", "--output", str(out))).status == 0
    second = await factory.org(api.store, api.clock, name="Second")
    there = ("--organisation", second.id)
    assert (await cli.json("suppression", "import", str(out), *there))["added"] == 4
    again = tmp_path / f"again-{name}"
    await cli("suppression", "export", "--lifted", "--output", str(again), *there)
    assert again.read_bytes() == out.read_bytes()
    assert [one["key"] for one in (await cli.json("suppression", "list", *there))["items"]] == [
        "=1+1@customer.test",
        "bob@customer.test",
        "dora@customer.test",
    ]
    if name == "list.csv":
        cells = [cell for row in csv.reader(io.StringIO(out.read_text(), newline="")) for cell in row]
        assert "'=1+1@customer.test" in cells
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


async def test_an_export_of_nothing_is_a_header_and_can_be_read(cli: Cli) -> None:
    said = await cli("suppression", "export")
    assert said.out == "address,reason,since,evidence,by,lifted_at,lifted_by,note,list\n"
    assert (await cli.json("suppression", "import", "-", stdin=said.out))["added"] == 0


async def test_many_lines_come_in_and_go_out_in_pieces(api: Api, admin: Client) -> None:
    number = 2_500
    file = "".join(f"a{each:06}@customer.test,hard_bounce,2025-01-01\n" for each in range(number))
    answer = await admin.post(
        f"{V1}/suppressions/import",
        data=("address,reason,since\n" + file).encode(),
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )
    assert answer.lines == [{"added": number, "unchanged": 0, "lifted": 0, "bad": 0, "ignored": []}]
    out = await admin.get(f"{V1}/suppressions/export", params={"format": "ndjson"})
    assert [one["address"] for one in out.lines] == [f"a{each:06}@customer.test" for each in range(number)]
    assert out.headers["Content-Disposition"] == 'attachment; filename="suppressions.ndjson"'
    out = await admin.get(f"{V1}/suppressions/export", params={"search": "a00001", "reason": "hard_bounce"})
    assert len(out.body.decode().splitlines()) == 1 + 10


async def test_a_file_that_is_none_is_refused_whole(api: Api, org: Organisation, admin: Client) -> None:
    path = f"{V1}/suppressions/import"
    answer = await admin.post(path, data=b"name\nBob\n", headers={"Content-Type": "text/csv"})
    assert (answer.status, answer.json["detail"]) == (422, "line 1: there is no column address (or email)")
    assert (await admin.post(path, data=b"x", headers={"Content-Type": "application/pdf"})).status == 415
    _, secret = await factory.api_token(api.store, api.clock, org, Right.READ)
    reader = api.web.bearing(secret)
    assert (await reader.post(path, data=b"address\n", headers={"Content-Type": "text/csv"})).status == 403
    assert (await reader.get(f"{V1}/suppressions/export")).status == 200


async def test_the_list_is_searched_by_reason_and_shows_who_lifted_what_and_why(api: Api, cli: Cli) -> None:
    assert (await cli("suppression", "list", "--reason", "locked")).out == "No address is suppressed that matches.\n"
    await cli.json("suppression", "add", "bob@customer.test", "--reason", "locked")
    await cli.json("suppression", "add", "bob@customer.test", "--reason", "opted_out")
    said = await cli("suppression", "lift", "bob@customer.test", "--reason", "locked", "--note", "unlocked by Anna")
    assert said.out == "Lifted from bob@customer.test: locked.\n"
    assert (await cli("suppression", "lift", "bob@customer.test", "--reason", "locked")).error == (
        "mailrelay: bob@customer.test is not suppressed (locked)\n"
    )
    assert "opted_out" in (await cli("suppression", "list")).out
    assert (await cli("suppression", "list", "--reason", "locked")).out == "No address is suppressed that matches.\n"
    lifted = (await cli("suppression", "list", "--lifted", "--reason", "locked")).out
    assert "2026-11-02 09:30:00Z by operator: unlocked by Anna" in lifted
    shown = (await cli("suppression", "show", "bob@customer.test")).out
    assert shown.splitlines()[0].split() == ["ADDRESS", "REASON", "SINCE", "BY", "LIFTED", "EVIDENCE"]
    assert (await cli("suppression", "show", "eve@customer.test")).out == (
        "Nothing ever stood against eve@customer.test.\n"
    )


async def test_i11_how_many_soft_bounces_suppress_is_a_setting(cli: Cli) -> None:
    found = await cli.json("organisation", "set", "soft_bounces=3", "soft_bounce_days=14")
    assert (found["settings"]["soft_bounces"], found["settings"]["soft_bounce_days"]) == (3, 14)
    refused = await cli("organisation", "set", "soft_bounce_days=0")
    assert refused.error == "mailrelay: settings.soft_bounce_days: must be at least 1\n"


async def test_an_imported_address_may_have_a_name(api: Api, org: Organisation, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    cells = [
        "Bob B. <bob@x.test>",
        '"""Eve, E."" <EVE@x.test>"',
        "<ann@x.test>",
        "carl@x.test <carl@y.test>",
        '"a@x.test, b <b@x.test>"',
        "Name <a@x.test> <b@x.test>",
        "Name <no address>",
        "dan@x.test dan",
    ]
    file.write_text("address\n" + "\n".join(cells) + "\n")
    answer = await cli("suppression", "import", str(file))
    assert [one.key for one in await api.store.read(suppressions.list_suppressions, org.id)] == [
        "ann@x.test",
        "bob@x.test",
        "eve@x.test",
    ]
    assert answer.error.splitlines() == [
        "line 5: address: The address has more than one @",
        "line 6: address: The address has more than one @",
        'line 7: address: After "Name" an @ must follow, not " <a@x.test> <b@x.test>"',
        'line 8: address: After "Name" an @ must follow, not " <no address>"',
        'line 9: address: "x.test dan" is not a domain',
    ]


# --- who unsubscribes ---


async def _sent(api: Api, admin: Client, anna: User, to: str, job: str) -> None:
    mail: dict[str, Any] = {"from": str(anna.primary), "to": [to], "subject": "News", "text": "Hello", "job": job}
    assert (await admin.post(f"{V1}/messages", json=mail)).status == 202


async def test_who_unsubscribes_counts_once_against_the_job_and_the_domain(
    api: Api, org: Organisation, anna: User, admin: Client
) -> None:
    await _sent(api, admin, anna, "bob@customer.test", "spring")
    given = {"address": "Bob@customer.test", "reason": "unsubscribed", "list": "news"}
    for _ in range(2):
        (one,) = (await admin.post(f"{V1}/suppressions", json=given)).json
        assert (one["reason"], one["evidence"]) == ("unsubscribed", "unsubscribed from the list news")
    named = {"address": "eve@customer.test", "reason": "unsubscribed", "job": "autumn", "evidence": "clicked"}
    (one,) = (await admin.post(f"{V1}/suppressions", json=named)).json
    assert one["evidence"] == "unsubscribed from the job autumn: clicked"
    for sending, expected in (
        (Sending(Scope.JOB, "spring"), 1),
        (Sending(Scope.DOMAIN, "example.org"), 1),
        (Sending(Scope.JOB, "autumn"), 1),
    ):
        assert (await api.store.read(tallies.since, org.id, sending, 0)).unsubscribed == expected
    refused = await admin.post(f"{V1}/suppressions", json={"address": "x@customer.test", "job": "spring"})
    assert refused.json["detail"] == "job: belongs to the reason unsubscribed"


async def test_who_unsubscribes_again_after_a_lift_is_no_second_person(
    api: Api, org: Organisation, anna: User, admin: Client
) -> None:
    await _sent(api, admin, anna, "bob@customer.test", "spring")
    given = {"address": "bob@customer.test", "reason": "unsubscribed"}

    async def counted(*sendings: Sending) -> list[int]:
        return [(await api.store.read(tallies.since, org.id, one, 0)).unsubscribed for one in sendings]

    async def leaves_thrice(given: dict[str, str]) -> None:
        for _ in range(3):
            assert (await admin.post(f"{V1}/suppressions", json=given)).status == 201
            assert (await admin.delete(f"{V1}/suppressions/bob@customer.test?note=mistake")).status == 200

    spring, domain, autumn = (
        Sending(Scope.JOB, "spring"),
        Sending(Scope.DOMAIN, "example.org"),
        Sending(Scope.JOB, "autumn"),
    )
    await leaves_thrice(given)
    assert await counted(spring, domain, autumn) == [1, 1, 0]
    await leaves_thrice(given | {"job": "autumn"})
    assert await counted(spring, autumn) == [1, 1]
    api.clock.advance(timedelta(seconds=1))  # the newest mail is the one that is left
    await _sent(api, admin, anna, "bob@customer.test", "")
    await leaves_thrice(given)
    assert await counted(domain) == [2]  # mail of no job


# --- records that change, by every way in (I11) ---


async def test_i11_an_address_is_clean_again_when_a_record_gains_it(
    api: Api, org: Organisation, anna: User, admin: Client, cli: Cli, tmp_path: Path
) -> None:
    for key in ("new@customer.test", "newer@customer.test"):
        for reason in (SuppressionReason.SOFT_BOUNCES, SuppressionReason.UNSUBSCRIBED):
            await api.store.write(
                suppressions.suppress, org=org.id, key=key, reason=reason, evidence="", now=api.clock.now()
            )

    async def standing(key: str) -> list[str]:
        return [one.reason for one in await api.store.read(suppressions.holding, org.id, [key])]

    path = f"{V1}/records/contact/1"
    await admin.put(path, json={"name": "Bob", "addresses": {"email": "new@customer.test"}})
    assert await standing("new@customer.test") == ["soft_bounces", "unsubscribed"]  # made with it
    await admin.put(path, json={"name": "Bob", "addresses": {"email": "old@customer.test"}})
    await admin.put(path, json={"name": "Bob", "addresses": {"email": "New@customer.test"}})
    assert await standing("new@customer.test") == ["soft_bounces", "unsubscribed"]  # blanked by a sync, and back
    for address in ("other@customer.test", "New@customer.test"):
        await admin.put(f"{V1}/records/contact/2", json={"name": "Rob", "addresses": {"email": address}})
    assert await standing("new@customer.test") == ["unsubscribed"]
    file = tmp_path / "records.csv"
    file.write_text("module,id,name,email\ncontact,1,Bob,newer@customer.test\n")
    assert (await cli.json("record", "import", str(file)))["updated"] == 1
    assert await standing("newer@customer.test") == ["unsubscribed"]
    lifted = [one for one in await api.store.read(events.after, org.id, 0, limit=100) if "lifted" in one.type]
    assert [dict(one.data)["by"] for one in lifted] == ["record changed"] * 2
    assert (await api.store.read(records.get, org.id, factory.ref("contact/1"))).addresses[0].address.local == "newer"


# --- all that is known of an address ---


async def test_everything_known_of_an_address_is_on_one_page(
    api: Api, org: Organisation, anna: User, admin: Client, cli: Cli
) -> None:
    await factory.record(api.store, api.clock, org, "contact/1", name="Bob Baker", addresses=("bob@customer.test",))
    await _sent(api, admin, anna, "bob@customer.test", "spring")
    await cli.json("suppression", "add", "bob@customer.test", "--reason", "locked", "--evidence", "asked by phone")
    found = await cli.json("address", "show", "BOB@customer.test")
    assert found["key"] == "bob@customer.test"
    assert found["may_be_sent_to"] is False
    assert [one["reason"] for one in found["suppressions"]] == ["locked"]
    assert [(one["record"], one["field"]) for one in found["records"]] == [("contact/1", "email")]
    assert [(one["status"], one["job"]) for one in found["deliveries"]] == [("queued", "spring")]
    assert found["feedback"] == []
    assert found["absence"] is None
    (one,) = await api.store.read(deliveries.to_address, org.id, "bob@customer.test")
    assert one.state is DeliveryState.QUEUED
    said = (await cli("address", "show", "bob@customer.test")).out
    assert said.startswith(
        "bob@customer.test is not sent to: locked since 2026-11-02 09:30:00Z.\n"
        "To let it be sent to again: mailrelay suppression lift bob@customer.test\n"
    )
    assert "asked by phone" in said
    assert "Bob Baker" in said
    assert said.endswith("Nothing came back about it.\n")
    await _came_back(api, one)
    said = (await cli("address", "show", "bob@customer.test")).out
    assert "Away until 2026-11-09 09:30:00Z, says the automatic reply " in said
    assert "Instead: carl@customer.test" in said
    assert said.splitlines()[-1].split()[-9:] == [
        "user",
        "unknown,",
        "hard",
        "yes",
        "550",
        "5.1.1",
        "no",
        "such",
        "user",
    ]
    unknown = (await cli("address", "show", "eve@customer.test")).out
    assert unknown == (
        "eve@customer.test may be sent to: nothing stands against it.\n\nNo record has it.\n\n"
        "No mail was sent to it.\n\nNothing came back about it.\n"
    )
    assert (await admin.get(f"{V1}/addresses/a@@b")).status == 422


async def _came_back(api: Api, one: Delivery) -> None:
    """A bounce about this delivery, and an automatic reply of its recipient; the mail itself stands for both."""
    away = Absence(
        org=one.org,
        key=one.address.key,
        until=api.clock.now() + timedelta(days=7),
        since=None,
        gone=False,
        noted_at=api.clock.now(),
        message=one.message,
        instead=(Instead("", parse_address("carl@customer.test")),),
    )
    report = Feedback(
        org=one.org,
        message=one.message,
        position=0,
        arrival=one.queue_id,
        delivery=one.id,
        kind=Kind.BOUNCE,
        recipient=str(one.address),
        key=one.address.key,
        status="5.1.1",
        code=550,
        diagnostic="550 5.1.1 no such user",
        action=Action.FAILED,
        category=Category.USER_UNKNOWN,
        hard=True,
        fault=Fault.RECIPIENT,
        tie=Tie.RETURN_PATH,
        believed=True,
        at=api.clock.now(),
    )
    await api.store.write(absences.note, away)
    await api.store.write(feedback.add, [report])
