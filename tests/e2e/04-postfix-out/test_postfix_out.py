"""Mail out to a real Postfix, by smart host and by MX: from each channel, signed so that others verify it, with its answers kept."""

from __future__ import annotations

import json
import smtplib
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from tests.support import verifiers
from tests.support.certs import certificate
from tests.support.daemon import Daemon, daemon, until
from tests.support.peers import need
from tests.support.postfix import Postfix, postfix
from tests.support.zone import DnsServer, dns_thread

pytestmark = pytest.mark.e2e

USER = "ben@example.org"
ZONE = """
customer.test. IN MX 10 mx.customer.test.
mx.customer.test. IN A 127.0.0.1
"""


@dataclass(frozen=True)
class Way:
    """Our daemon in front of a Postfix that has the mailboxes of `customer.test`."""

    relay: Daemon
    postfix: Postfix
    dns: DnsServer

    @property
    def house(self) -> dict[str, str]:
        """The password and token of the sample organisation."""
        found: dict[str, str] = json.loads((self.relay.data / "sample.json").read_text())
        return found

    def post(self, body: bytes, kind: str) -> dict[str, Any]:
        """Send by the API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.api}/api/v1/messages",
            body,
            {"Content-Type": kind, "Authorization": f"Bearer {self.house['token']}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            queued: dict[str, Any] = json.load(answer)
        return queued

    def send(self, *to: str, subject: str, text: str = "Hello", bcc: tuple[str, ...] = ()) -> dict[str, Any]:
        """Send by the API, in JSON."""
        fields = {"from": USER, "to": to, "bcc": bcc, "subject": subject, "text": text}
        return self.post(json.dumps(fields).encode(), "application/json")

    def swaks(self, port: int, *arguments: str) -> None:
        """Submit by swaks with the user's password; it must be taken."""
        where = ("--server", "127.0.0.1", "--port", str(port), "--ehlo", "laptop.test")
        login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", self.house["password"])
        done = subprocess.run(
            [need("swaks"), *where, *login, *arguments], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def arrived(self, user: str, subject: str) -> bytes:
        """What came to a mailbox with that subject, as it was on the wire."""

        def come() -> list[bytes]:
            return [one for one in self.postfix.received_bytes(user) if f"Subject: {subject}".encode() in one]

        (found,) = until(come, f"{subject!r} is with {user}; the log ends {self.postfix.log[-500:]}")
        return verifiers.wire(found)

    def ended(self, queued: dict[str, Any], number: int = 0) -> dict[str, Any]:
        """A delivery after its first attempt."""

        def tried() -> dict[str, Any]:
            shown: dict[str, Any] = self.relay.cli("queue", "show", queued["deliveries"][number]["id"])
            return shown if shown["history"] and shown["history"][-1]["outcome"] and shown["state"] != "sending" else {}

        return until(tried, "the first attempt is made")

    def keys(self, domain: str) -> dict[str, str]:
        """The public keys of a domain, as its zone holds them."""
        (found,) = [one for one in self.relay.cli("domain", "list") if one["domain"] == domain]
        return {key["dns_name"].rstrip("."): key["dns_text"] for key in found["keys"]}

    def prove(self, domain: str) -> None:
        """Publish the lines that `mailrelay domain dns` prints, and have the domain looked up."""
        for key in self.relay.cli("domain", "dns", domain)["keys"]:
            self.dns.add(key["dns_line"])
        assert self.relay.cli("domain", "prove", domain)["proved"] is True


@contextmanager
def way(folder: Path, delivery: dict[str, Any], **postfix_settings: str) -> Iterator[Way]:
    shown = certificate("localhost", "127.0.0.1", "mx.customer.test")
    server_settings = {
        "virtual_mailbox_domains": "customer.test",
        "users": "bob, carol, later",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ {later@customer.test = 450 4.2.0 Greylisted} }",
        "smtpd_tls_chain_files": str(shown.pem),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_received_header": "yes",
        **postfix_settings,
    }
    with dns_thread(ZONE) as dns, postfix(server_settings) as server:
        smart_host = {"host": "127.0.0.1", "port": server.port, "tls": "required", "ca_file": str(shown.authority)}
        more: dict[str, Any] = (
            {"smart_host": smart_host}
            if delivery["route"] == "smart_host"
            else {"port": server.port, "allow_private": True, "ca_file": str(shown.authority)}
        )
        settings = {"dns": {"nameservers": [dns.address]}, "delivery": {**delivery, **more}}
        with daemon(folder, settings) as relay:
            yield Way(relay, server, dns)


@pytest.fixture(scope="module")
def smart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """By a smart host over verified STARTTLS, with the organisation's domain proved."""
    delivery = {"route": "smart_host", "connections_per_destination": 1}
    with way(tmp_path_factory.mktemp("smart"), delivery, smtpd_tls_security_level="encrypt") as running:
        running.prove("example.org")
        yield running


@pytest.fixture(scope="module")
def mx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """By MX to a server without 8BITMIME, with no domain proved."""
    with way(
        tmp_path_factory.mktemp("mx"), {"route": "mx"}, smtpd_discard_ehlo_keywords="8bitmime, smtputf8"
    ) as running:
        yield running


def assert_verifies(raw: bytes, keys: dict[str, str], domain: str, folder: Path) -> None:
    """Both verifiers say so of both signatures."""
    assert verifiers.dkimpy(raw, keys) == [True, True]
    assert sorted(verifiers.opendkim(raw, keys, folder)) == [
        f"pass ed25519-sha256 {domain}",
        f"pass rsa-sha256 {domain}",
    ]


WHOLE = f"From: Ben Sample <{USER}>\r\nTo: Bob <bob@customer.test>\r\nBcc: carol@customer.test\r\nSubject: {{}}\r\n\r\nHi\r\n"


def submit(here: Way, channel: str, subject: str) -> None:
    """A mail to Bob with Carol in Bcc, without Message-ID and Date wherever the channel lets one leave them out."""
    mail = WHOLE.format(subject)
    envelope = ("--from", USER, "--to", "bob@customer.test,carol@customer.test", "--data", mail)
    match channel:
        case "JSON":
            here.send("bob@customer.test", subject=subject, bcc=("carol@customer.test",))
        case "rfc822":
            here.post(mail.encode(), "message/rfc822")
        case "587":
            here.swaks(here.relay.submission, "--tls", *envelope)
        case "465":
            here.swaks(here.relay.submissions, "--tls-on-connect", *envelope)


@pytest.mark.parametrize("channel", ["JSON", "rfc822", "587", "465"])
def test_a_mail_arrives_whole_signed_and_without_bcc(smart: Way, channel: str, tmp_path: Path) -> None:
    subject = f"by-{channel}"
    submit(smart, channel, subject)
    raw = smart.arrived("bob", subject)
    blind = smart.arrived("carol", subject)
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["Message-ID"]
    assert mail["Date"]
    assert "example.org" in mail["From"]
    assert b"carol" not in raw.partition(b"\r\n\r\n")[0].lower()
    assert b"\nBcc:" not in blind
    assert "TLSv1.3" in str(mail["Received"])
    assert_verifies(raw, smart.keys("example.org"), "example.org", tmp_path)
    # The return path is one that we take mail back at, and no other is.
    paths = [message_from_bytes(one, policy=policy.default)["Return-Path"].strip("<>") for one in (raw, blind)]
    assert len(set(paths)) == 2, "each delivery has its own"
    for path in paths:
        local, _, domain = path.partition("@")
        assert domain == "bounce.test"
        forged = local[:-1] + ("a" if local[-1] != "a" else "b")
        with smtplib.SMTP("127.0.0.1", smart.relay.edge, local_hostname="postfix.test", timeout=20) as client:
            client.ehlo()
            client.mail("")
            assert client.rcpt(path)[0] == 250
            assert client.rcpt(f"{forged}@{domain}")[0] == 550


def test_many_mails_share_a_connection(smart: Way) -> None:
    before = smart.postfix.log.count(": connect from")
    for number in range(12):
        smart.send("bob@customer.test", subject=f"many-{number:02}")
    for number in range(12):
        smart.arrived("bob", f"many-{number:02}")
    assert smart.postfix.log.count(": connect from") - before <= 1


def test_a_refusal_is_kept_word_for_word(smart: Way) -> None:
    queued = smart.send("nobody@customer.test", subject="nobody")
    shown = smart.ended(queued)
    assert shown["state"] == "bounced"
    (attempt,) = shown["history"]
    assert attempt["tls"]["verified"] is True
    assert (attempt["reply"]["code"], attempt["reply"]["status"]) == (550, "5.1.1")
    (line,) = attempt["reply"]["lines"]
    assert line == "<nobody@customer.test>: Recipient address rejected: User unknown in virtual mailbox table"
    assert f"550 5.1.1 {line}" in smart.postfix.log


def test_who_is_put_off_waits_and_the_others_get_theirs(smart: Way) -> None:
    queued = smart.send("later@customer.test", "bob@customer.test", subject="greylisted")
    smart.arrived("bob", "greylisted")
    shown = smart.ended(queued)
    assert (shown["state"], shown["attempts"]) == ("queued", 1)
    assert shown["history"][0]["reply"]["code"] == 450
    assert "Greylisted" in shown["last_reply"]
    assert smart.ended(queued, 1)["state"] == "sent"


def test_an_unproved_domain_leaves_as_ours_on_behalf_of_its_author(mx: Way, tmp_path: Path) -> None:
    mx.send("bob@customer.test", subject="behalf")
    raw = mx.arrived("bob", "behalf")
    mail = message_from_bytes(raw, policy=policy.default)
    assert "ben=example.org@inbound.test" in mail["From"]
    assert mail["Reply-To"] == USER or f"<{USER}>" in mail["Reply-To"]
    assert_verifies(raw, mx.keys("inbound.test"), "inbound.test", tmp_path)
    assert "TLSv1.3" in str(mail["Received"])


def test_eight_bit_content_is_converted_before_it_is_signed(mx: Way, tmp_path: Path) -> None:
    text = "Schöne Grüße, 你好\r\n"
    head = f"From: {USER}\r\nTo: bob@customer.test\r\nSubject: eight\r\nMIME-Version: 1.0\r\n"
    eight = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    mx.post((head + eight + text).encode(), "message/rfc822")
    raw = mx.arrived("bob", "eight")
    assert raw.isascii()
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["Content-Transfer-Encoding"] == "quoted-printable"
    assert mail.get_content().strip() == text.strip()  # type: ignore[attr-defined]
    assert_verifies(raw, mx.keys("inbound.test"), "inbound.test", tmp_path)
