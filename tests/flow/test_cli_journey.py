"""Mail in and out through a whole daemon, done and looked at by commands alone (I2, I9, I23, K1, K8)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Relay, relay

RECORDS = """module,id,name,email
contact,1,Bob Baker,bob@customer.example
account,1,Customer Ltd,info@customer.example
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Relay]:
    """An organisation with one user and two records."""
    async with relay(tmp_path) as running:
        cli = running.cli
        await cli.json("organisation", "add", "Example", "--domain", "example.org")
        await cli.json("user", "add", "--name", "Anna Example", "--address", "anna@example.org")
        (tmp_path / "records.csv").write_text(RECORDS)
        await cli.json("record", "import", str(tmp_path / "records.csv"))
        yield running


async def practice(house: Relay, *, sender: str = "anna@example.org", to: str = "bob@customer.example") -> str:
    """Send a mail through Anna's dropbox; its queue id."""
    box = (await house.cli.json("dropbox", "regenerate", "anna@example.org", "--overlap", "1h"))["address"]
    sent = await house.cli.json(
        *("practice", "send", "--from", sender, "--to", to, "--dropbox", box, "--port", house.port),
        *("--subject", "The \x1b[31moffer"),
    )
    assert sent["reply"] == f"250 2.0.0 queued as {sent['queue_id']}"
    assert sent["arrival"]["state"] in ("filed", "unresolved")
    return str(sent["queue_id"])


async def ended(house: Relay, message: str) -> Any:
    """The message once each of its deliveries has ended."""
    async with asyncio.timeout(30):
        while True:
            found = await house.cli.json("message", "show", message)
            if all(one["state"] not in ("queued", "sending") for one in found["deliveries"]):
                return found
            await asyncio.sleep(0.05)


async def test_a_message_is_shown_with_the_rule_the_sentence_and_the_header_of_each_link(house: Relay) -> None:
    queue_id = await practice(house)
    said = await house.cli("message", "show", queue_id)
    assert said.status == 0, said
    lines = said.out.splitlines()
    at = lines.index("On 1 record")
    assert re.fullmatch(
        r"  contact/1  Bob Baker  by rule match\.primary \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", lines[at + 1]
    )
    assert lines[at + 2 : at + 4] == [
        "    bob@customer.example is email of contact/1",
        "      To: bob@customer.example",
    ]
    assert any(line.startswith("  - match.thread") for line in lines), "misses are shown too"
    assert f"What the rules said of {queue_id}: file" in lines


async def test_fault_s25_what_strangers_wrote_does_not_act_on_the_terminal(house: Relay) -> None:
    queue_id = await practice(house)
    for command in (("message", "show", queue_id), ("message", "list"), ("event", "list")):
        said = await house.cli(*command)
        assert said.status == 0
        assert "\x1b" not in said.out
        assert "offer" in said.out or command[0] == "event"


async def test_latest_is_the_newest_message_and_raw_is_its_bytes(house: Relay) -> None:
    queue_id = await practice(house)
    by_queue_id = await house.cli.json("message", "show", queue_id)
    assert await house.cli.json("message", "show", "latest") == by_queue_id
    answered = (await house.cli("message", "answer", "latest", "--text", "We have it.")).out
    assert answered.startswith("Not answered: ")  # it is a mail of our own
    raw = (await house.cli("message", "show", by_queue_id["id"], "--raw")).out
    assert raw.startswith("Return-Path: <anna@example.org>")
    assert "Hello from mailrelay" in raw


async def test_what_holds_a_message_is_said_with_the_command_that_decides(house: Relay) -> None:
    queue_id = await practice(house, sender="mallory@evil.example")
    said = await house.cli("message", "show", queue_id)
    assert "On no record" in said.out
    assert "Waits for a person: unpermitted sender" in said.out
    entry = re.findall(r"mailrelay unresolved file (X\w+)", said.out)[0]

    listed = await house.cli("unresolved", "list")
    assert entry in listed.out
    assert "mallory@evil.example" in (await house.cli("unresolved", "show", entry)).out
    assert (await house.cli("unresolved", "file", entry, "--record", "contact/1")).out == "Filed on contact/1.\n"

    said = await house.cli("message", "show", queue_id)
    assert "Waits for a person" not in said.out
    assert "  contact/1  Bob Baker  by hand, operator " in said.out
    assert (await house.cli("unresolved", "list")).out == "Nothing waits: all mail is filed.\n"
    again = await house.cli("unresolved", "dismiss", entry)
    assert again.status == 65
    assert again.error == f"mailrelay: {entry} was resolved already (filed)\n"


@pytest.mark.parametrize(("do", "then"), [("release", "On 2 records"), ("dismiss", "On no record")])
async def test_what_is_held_is_released_or_dismissed(house: Relay, do: str, then: str) -> None:
    queue_id = await practice(house, sender="mallory@evil.example")
    await house.cli.json("message", "show", queue_id)
    (entry,) = (await house.cli.json("unresolved", "list"))["items"]
    assert (await house.cli("unresolved", do, entry["id"])).status == 0
    said = await house.cli("message", "show", queue_id)
    assert then in said.out, said.out


async def test_a_record_is_made_of_what_is_held(house: Relay) -> None:
    await house.cli.json("user", "change", "anna@example.org", "--unknown", "nothing")
    await house.cli.json("message", "show", await practice(house, to="Carla New <carla@new.example>"))
    (entry,) = (await house.cli.json("unresolved", "list"))["items"]
    filed = await house.cli.json("unresolved", "file", entry["id"], "--create", "lead")
    (record,) = filed["records"]
    shown = await house.cli("record", "show", record)
    assert "Carla New" in shown.out
    assert "carla@new.example" in shown.out
    assert entry["message"] in shown.out


async def test_links_are_made_moved_and_taken_away_by_hand(house: Relay) -> None:
    message = (await house.cli.json("message", "show", await practice(house)))["id"]
    moved = await house.cli("message", "move", message, "contact/1", "account/1")
    assert "  account/1  Customer Ltd  by hand, operator " in moved.out
    assert ", taken off by operator " in moved.out
    await house.cli.json("message", "link", message, "contact/1")
    gone = await house.cli.json("message", "unlink", message, "account/1")
    assert {one["record"] for one in gone if not one["removed_at"]} == {"contact/1"}
    for bad in ("contact", "contact/", "/1"):
        assert (await house.cli("message", "link", message, bad)).status == 2
    assert (await house.cli("message", "link", message, "contact/99")).status == 66


async def test_a_mail_goes_out_and_the_reply_of_the_other_side_is_shown_word_for_word(house: Relay) -> None:
    sent = await house.cli.json(
        *("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example"),
        *("--subject", "Hello", "--text", "-", "--key", "order-1"),
        stdin="Hi Bob\n",
    )
    found = await ended(house, sent["id"])
    (delivery,) = found["deliveries"]
    assert delivery["state"] == "sent"
    said = (await house.cli("message", "show", sent["id"])).out
    assert f"Delivery {delivery['id']}  sent  bob@customer.example" in said
    assert "    accepted\n      250 2.0.0 kept by the catch-all\n" in said
    assert (
        "    accepted\n      250 2.0.0 kept by the catch-all\n"
        in (await house.cli("queue", "show", delivery["id"])).out
    )
    assert (await house.cli("queue", "list")).out.startswith("Nothing is on its way out.")
    assert delivery["id"] in (await house.cli("queue", "list", "--all")).out
    assert "Hi Bob" in (await house.cli("message", "show", sent["id"], "--raw")).out


async def test_the_same_key_is_the_same_mail(house: Relay) -> None:
    command = ("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example", "--key", "k1")
    first = await house.cli.json(*command, "--text", "Hi")
    again = await house.cli.json(*command, "--text", "Hi")
    assert again["repeated"]
    assert again["id"] == first["id"]
    assert (await house.cli(*command, "--text", "Other")).status == 65


async def test_a_whole_mail_is_sent_from_a_file(house: Relay, tmp_path: Path) -> None:
    eml = tmp_path / "one.eml"
    eml.write_text(
        "From: anna@example.org\nTo: bob@customer.example\nBcc: eve@customer.example\nSubject: Whole\n\nHi\n"
    )
    sent = await house.cli.json("message", "send", "--eml", str(eml))
    assert {one["recipient"] for one in sent["deliveries"]} == {"bob@customer.example", "eve@customer.example"}
    assert "eve@" not in (await house.cli("message", "show", sent["id"], "--raw")).out


async def test_an_address_that_is_suppressed_is_refused_until_it_is_lifted(house: Relay) -> None:
    send = ("message", "send", "--from", "anna@example.org", "--to", "bob@customer.example", "--text", "Hi")
    await house.cli.json("suppression", "add", "bob@customer.example")
    refused = await house.cli(*send)
    assert refused.status == 65
    assert refused.error.startswith("mailrelay: bob@customer.example is suppressed (by hand) since ")
    assert "bob@customer.example" in (await house.cli("suppression", "list")).out
    await house.cli.json("suppression", "lift", "bob@customer.example")
    assert (await house.cli(*send)).status == 0


async def test_rules_are_listed_and_run_again_first_dry_then_for_real(house: Relay) -> None:
    await house.cli.json("message", "show", await practice(house, to="dora@other.example"))
    listed = await house.cli.json("rules", "list")
    names = [one["name"] for one in listed]
    assert names.index("match.thread") < names.index("match.primary")
    assert [line.split()[1] for line in (await house.cli("rules", "list")).out.splitlines()[1:]] == names
    assert (await house.cli("rules", "rerun", "--since", "30d")).out.startswith("Today's rules file the mail")

    message = await house.cli.json("message", "show", await practice(house))
    await house.cli("record", "remove", "contact/1")
    assert "  contact/1  (a record that is gone)  by rule" in (await house.cli("message", "show", message["id"])).out
    dry = await house.cli("rules", "rerun", "--since", "30d")
    assert message["id"] in dry.out
    assert dry.out.endswith("To do it: mailrelay rules rerun --since 30d --apply\n")
    done = await house.cli.json("rules", "rerun", "--since", "30d", "--apply")
    assert done["applied"]
    assert [one["message"] for one in done["items"]] == [message["id"]]
    assert (await house.cli("rules", "rerun", "--since", "30d", "--apply")).out.startswith("Today's rules file")
    wrong = await house.cli("rules", "rerun", "--since", "soon")
    assert wrong.status == 65
    assert "since" in wrong.error


async def test_the_audit_balances_and_says_so(house: Relay) -> None:
    assert (await house.cli("audit")).out == "No mail was accepted yet.\n"
    await house.cli.json("message", "show", await practice(house))
    said = await house.cli("audit")
    assert said.status == 0
    assert said.out.endswith("The books balance.\n")
    assert (await house.cli.json("audit"))["balanced"]


async def test_readiness_is_asked_over_the_same_socket(house: Relay) -> None:
    said = await house.cli("check", "--ready")
    assert said.status == 0
    assert said.out.startswith("The daemon is ready.\n")
    found = await house.cli.json("check", "--ready")
    assert found["ready"]
    assert set(found["parts"]) >= {"store", "disk", "listeners"}


async def test_a_refusal_of_practice_mail_is_given_word_for_word(house: Relay) -> None:
    send = ("practice", "send", "--from", "a@example.org", "--to", "b@c.example", "--port", house.port, "--dropbox")
    said = await house.cli(*send, "bcc-nobody@inbound.localhost")
    assert said.status == 65
    assert said.error.startswith("mailrelay: refused: 550 5.1.1 ")
    said = await house.cli(*send[:-2], "1", "--dropbox", "x@inbound.localhost")
    assert said.status in (2, 69)
