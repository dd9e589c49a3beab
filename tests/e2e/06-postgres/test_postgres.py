"""The daemon on PostgreSQL: a mail in and a mail out, the books, and two daemons that share one database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.support import postgres
from tests.support.daemon import Daemon, daemon, until
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

USER, CUSTOMER = "ben@example.org", "bob@bluebird.example"


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The store's settings for a database of our own, and a DNS that answers at once."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with postgres.database(postgres.server(shared)) as dsn, dns_thread() as dns:
        url = make_url(dsn)
        store: dict[str, Any] = {"url": url.set(password=None).render_as_string()}
        if url.password:
            secret = tmp_path_factory.mktemp("secret") / "password"
            secret.write_text(url.password)
            secret.chmod(0o600)
            store["password"] = {"file": str(secret)}
        yield {"store": store, "dns": {"nameservers": [dns.address]}}


def dropbox(relay: Daemon) -> str:
    found: str = json.loads((relay.data / "sample.json").read_text())["dropbox"]
    return found


def send_in(relay: Daemon, box: str, subject: str) -> str:
    """A mail through a dropbox; its queue id, once it is filed."""
    who = ("--from", USER, "--to", CUSTOMER, "--dropbox", box, "--subject", subject)
    queue_id: str = relay.cli("practice", "send", "--port", str(relay.edge), *who)["queue_id"]
    shown = until(lambda: relay.cli("message", "show", queue_id), "it is a message")
    assert {link["record"]: link["rule"] for link in shown["links"]}["contact/1"] == "match.primary"
    return queue_id


def send_out(relay: Daemon, subject: str) -> None:
    """A mail to a customer, until the catch-all has it."""
    queued = relay.cli("message", "send", "--from", USER, "--to", CUSTOMER, "--subject", subject, "--text", "Hi")
    until(lambda: relay.cli("queue", "show", queued["deliveries"][0]["id"])["state"] == "sent", "it is sent")


def letters(*relays: Daemon) -> list[bytes]:
    """What the catch-alls keep."""
    return [path.read_bytes() for relay in relays for path in (relay.data / "sent").rglob("*.eml")]


def assert_balanced(relay: Daemon) -> None:
    """Once nothing is in flight, the books say so."""

    def quiet() -> dict[str, Any]:
        books: dict[str, Any] = relay.cli("audit")
        return books if not any(one["in_flight"] for one in books["balances"]) else {}

    books = until(quiet, "nothing is in flight")
    assert books["balanced"] is True
    assert books["balances"]


def test_mail_in_and_out_on_postgresql_and_again_after_a_restart(tmp_path: Path, settings: dict[str, Any]) -> None:
    with daemon(tmp_path / "relay", settings) as relay:
        first = send_in(relay, dropbox(relay), "in")
        send_out(relay, "out")
        (letter,) = letters(relay)
        assert letter.count(b"DKIM-Signature:") == 2
        assert_balanced(relay)
        assert relay.stop() == 0
        relay.start()
        assert relay.cli("message", "show", first)["subject"] == "in"
        send_in(relay, dropbox(relay), "again")
        assert_balanced(relay)


def test_two_daemons_on_one_database_see_the_same_mail(tmp_path: Path, settings: dict[str, Any]) -> None:
    with daemon(tmp_path / "one", settings) as one:
        other_settings = {**settings, "hostname": "other.mailrelay.test"}
        with daemon(tmp_path / "two", other_settings, start=False) as two:
            two.start(sample=False)
            box = dropbox(one)
            for number in range(2):
                here = send_in(one, box, f"to one, {number}")
                there = send_in(two, box, f"to two, {number}")
                assert two.cli("message", "show", here) == one.cli("message", "show", here)
                assert two.cli("message", "show", there) == one.cli("message", "show", there)
                send_out(one, f"from one, {number}")
                send_out(two, f"from two, {number}")
            assert len(letters(one, two)) == 4
            assert_balanced(one)
            assert_balanced(two)
