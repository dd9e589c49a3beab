"""What would happen to a mail, a live dialogue, and how TLS went: told by the installed program, with a real Postfix at the other end."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import certificate
from tests.support.daemon import PROGRAM, Daemon, daemon, until
from tests.support.postfix import Postfix, postfix
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

ZONE = """
customer.test. IN MX 10 mx.customer.test.
mx.customer.test. IN A 127.0.0.1
"""


@dataclass(frozen=True)
class Here:
    """Our daemon, and a Postfix that takes mail for `customer.test`."""

    relay: Daemon
    postfix: Postfix

    def says(self, *arguments: str) -> tuple[int, list[str]]:
        """The exit status of a command, and the lines that it prints for people."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            env={"MAILRELAY_SOCKET": str(self.relay.data / "mailrelay.sock"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    def send(self, to: str) -> dict[str, Any]:
        """Send by the API."""
        house = json.loads((self.relay.data / "sample.json").read_text())
        fields = {"from": "ben@example.org", "to": [to], "subject": "hello", "text": "Hello"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.api}/api/v1/messages",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {house['token']}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            queued: dict[str, Any] = json.load(answer)
        return queued


@contextmanager
def _here(folder: Path) -> Iterator[Here]:
    shown = certificate("localhost", "127.0.0.1", "mx.customer.test")
    settings = {
        "virtual_mailbox_domains": "customer.test",
        "users": "bob",
        "smtpd_tls_chain_files": str(shown.pem),
        "smtpd_tls_security_level": "may",
    }
    with dns_thread(ZONE) as dns, postfix(settings) as server:
        delivery = {"route": "mx", "port": server.port, "allow_private": True, "ca_file": str(shown.authority)}
        with daemon(folder, {"dns": {"nameservers": [dns.address]}, "delivery": delivery}) as relay:
            yield Here(relay, server)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    with _here(tmp_path_factory.mktemp("here")) as running:
        yield running


def test_a_live_dialogue_with_postfix_is_shown(here: Here) -> None:
    status, lines = here.says("smtp", "trace", "customer.test", "--rcpt", "bob@customer.test")
    shown = "\n".join(lines)
    assert status == 0, shown
    for text in (
        "-- DNS: 10 mx.customer.test: 127.0.0.1",
        "<- 220 postfix.test ESMTP Postfix",
        "-> STARTTLS",
        "-- encrypted: TLSv1.3",
        "-- certificate: for localhost, mx.customer.test, 127.0.0.1",
        "<- 250-PIPELINING",
        "-> RCPT TO:<bob@customer.test>",
        "-> QUIT",
        "<- 221 2.0.0 Bye",
    ):
        assert text in shown
    assert "-> DATA" not in shown
    assert lines[-1].endswith("done: bob@customer.test would be accepted, as far as RCPT")
    assert here.postfix.received("bob") == []


def test_a_recipient_that_postfix_refuses_is_shown_with_its_words(here: Here) -> None:
    status, lines = here.says("smtp", "trace", f"127.0.0.1:{here.postfix.port}", "--rcpt", "nobody@customer.test")
    assert status == 0
    assert "nobody@customer.test would be refused: 550 5.1.1" in lines[-1]


def test_what_would_happen_is_what_then_happens_and_how_tls_went_is_counted(here: Here) -> None:
    asked = ("route", "bob@customer.test", "--from", "ben@example.org")
    before = here.relay.cli(*asked)
    assert before["sentence"] == "would go to mx.customer.test now over TLS if it can"
    queued = here.send("bob@customer.test")

    def ended() -> bool:
        shown: dict[str, Any] = here.relay.cli("queue", "show", queued["deliveries"][0]["id"])
        return bool(shown["state"] == "sent")

    until(ended, "it was sent")
    after = here.relay.cli(*asked)
    assert after["sentence"] == "would go to mx.customer.test now over verified TLS"
    assert after["hops"][0]["last_protocol"] == "TLSv1.3"

    def counted() -> list[dict[str, Any]]:
        found: dict[str, Any] = here.relay.cli("tls", "report")
        return [one for one in found["items"] if one["destination"] == "customer.test"]

    (day,) = until(counted, "the session is counted")
    assert (day["successful"], day["failed"], day["report"]) == (1, 0, None)
    _, lines = here.says("tls", "report", "--domain", "customer.test")
    assert any("no-policy-found" in line and "mx.customer.test" in line for line in lines)
