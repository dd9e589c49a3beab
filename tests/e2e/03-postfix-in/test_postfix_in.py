"""Mail in as it comes in life: a mail program hands it to Postfix, and Postfix brings the blind copy to us over STARTTLS."""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import certificate
from tests.support.daemon import Daemon, daemon, until
from tests.support.peers import need
from tests.support.postfix import Postfix, postfix
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

USER = "ben@example.org"
CUSTOMER = "bob@bluebird.example"
LARGEST = 1_000_000


@dataclass(frozen=True)
class Way:
    """A Postfix that has `example.org` at home, brings us what is ours, and throws the rest away."""

    relay: Daemon
    postfix: Postfix
    dropbox: str

    def send(
        self,
        mail: bytes,
        *to: str,
        options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
        times: int = 1,
    ) -> None:
        """What a mail program does: one session, the dropbox among the recipients, not in the header."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, local_hostname="laptop.test", timeout=20) as client:
            for _ in range(times):
                client.sendmail(USER, to or (CUSTOMER, self.dropbox), mail, options, rcpt_options)

    def filed(self, subject: str, of: Sequence[str] = ("contact/1", "account/1", "deal/1")) -> dict[str, Any]:
        """The journey of the only message of that subject, once it is on these records, and perhaps on more."""

        def there() -> list[dict[str, Any]]:
            found = [one for one in self.relay.cli("message", "list")["items"] if one["subject"] == subject]
            return [one for one in found if one["records"]]

        (found,) = until(there, f"{subject!r} is filed")
        assert set(of) <= set(found["records"])
        shown: dict[str, Any] = self.relay.cli("message", "show", found["id"])
        return shown

    def raw(self, message: str) -> bytes:
        """The message as it is kept."""
        url = f"http://local/api/v1/messages/{message}/raw"
        done = subprocess.run(
            [need("curl"), "-sS", "--fail", "--unix-socket", self.relay.data / "mailrelay.sock", url],
            capture_output=True,
            check=True,
            timeout=20,
        )
        return done.stdout

    def bounce(self, about: str) -> str:
        """The notice that Postfix wrote to the author, with `about` in it."""

        def come() -> list[str]:
            return [text for one in self.postfix.received_bytes("ben") if about in (text := one.decode())]

        return until(come, f"Postfix bounces {about}")[0]


@contextmanager
def way(folder: Path, **postfix_settings: str) -> Iterator[Way]:
    shown = certificate("mailrelay.test", "127.0.0.1")
    with dns_thread() as dns:
        settings = {
            "tls": {"certificate": str(shown.pem), "key": str(shown.pem)},
            "dns": {"nameservers": [dns.address]},
            "inbound": {"max_size": LARGEST},
        }
        with (
            daemon(folder, settings) as relay,
            postfix(
                {
                    "virtual_mailbox_domains": "example.org",
                    "users": "ben",
                    "transport_maps": f"inline:{{inbound.test=smtp:[127.0.0.1]:{relay.edge}}}",
                    "default_transport": "discard:",
                    "message_size_limit": "10240000",
                    "smtp_tls_security_level": "encrypt",
                    "smtp_tls_CAfile": str(shown.authority),
                    "smtp_tls_loglevel": "1",
                    **postfix_settings,
                }
            ) as server,
        ):
            box = next(one for one in relay.cli("dropbox", "show", USER) if not one["valid_until"])
            yield Way(relay, server, box["address"])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with way(tmp_path_factory.mktemp("relay")) as running:
        yield running


def mail(subject: str, body: str = "Hello Bob\r\n", *, to: str = CUSTOMER, more: str = "") -> bytes:
    head = (
        f"From: Ben Sample <{USER}>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@laptop.test>\r\n"
        f"Date: Mon, 02 Nov 2026 09:30:00 +0000\r\nMIME-Version: 1.0\r\n{more}"
    )
    return f"{head}\r\n{body}".encode()


def test_a_mail_with_the_dropbox_in_bcc_is_filed_by_rule_and_evidence(here: Way) -> None:
    here.send(mail("ovens"))
    found = here.filed("ovens")
    by_rule = {link["record"]: link for link in found["links"]}
    assert by_rule["contact/1"]["rule"] == "match.primary"
    assert by_rule["contact/1"]["evidence"][0]["value"] == CUSTOMER
    raw = here.raw(found["id"])
    assert here.dropbox.encode() not in raw
    assert b"from postfix.test" in raw
    assert b"with ESMTPS" in raw
    assert "Trusted TLS connection established to 127.0.0.1" in here.postfix.log


def test_swaks_pipelines_to_postfix_and_postfix_to_us(here: Way) -> None:
    where = ("--server", "127.0.0.1", "--port", str(here.postfix.port), "--ehlo", "laptop.test", "--pipeline")
    what = ("--from", USER, "--to", f"{CUSTOMER},{here.dropbox}", "--data", mail("piped").decode())
    done = subprocess.run([need("swaks"), *where, *what], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout
    here.filed("piped")


def test_eight_bit_content_is_kept_as_it_was(here: Way) -> None:
    body = "Schöne Grüße, 你好\r\n.\r\n..\r\n"
    more = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    here.send(mail("eight", body.replace("\r\n.", "\r\n."), more=more), options=["BODY=8BITMIME"])
    assert here.raw(here.filed("eight")["id"]).endswith(body.encode())


def test_a_mail_that_needs_smtputf8_is_filed(here: Way) -> None:
    here.send(mail("Grüße-utf8", to=f"{CUSTOMER}, Jürgen <jürgen@büro.example>"), options=["SMTPUTF8", "BODY=8BITMIME"])
    found = here.filed("Grüße-utf8", of=("contact/1",))
    assert b"with UTF8SMTPS" in here.raw(found["id"])
    assert "jürgen@büro.example" in str(found["participants"]) or "jürgen@xn--bro-hoa.example" in str(
        found["participants"]
    )


def test_dsn_parameters_are_taken(here: Way) -> None:
    here.send(
        mail("dsn"),
        options=["RET=HDRS", "ENVID=e+3D1"],
        rcpt_options=["NOTIFY=FAILURE,DELAY", f"ORCPT=rfc822;{CUSTOMER}"],
    )
    here.filed("dsn")


def test_a_hundred_copies_make_one_message_and_one_record(here: Way) -> None:
    stranger = "nadia.new@stranger.example"
    here.send(mail("copies", to=f"Nadia New <{stranger}>"), stranger, here.dropbox, times=100)

    def ended() -> bool:
        return here.relay.metrics()['mailrelay_filing_arrivals_total{outcome="duplicate"}'] >= 99

    until(ended, "a hundred copies are filed", seconds=40, pause=0.2)
    (found,) = [one for one in here.relay.cli("message", "list")["items"] if one["subject"] == "copies"]
    assert len(found["records"]) == 1
    assert len(here.relay.cli("message", "list", "--address", stranger)["items"]) == 1


def test_who_writes_to_an_unknown_dropbox_reads_our_sentence_in_postfix_s_bounce(here: Way) -> None:
    here.send(mail("nobody"), CUSTOMER, "bcc-nobody@inbound.test")
    notice = here.bounce("nobody@laptop.test")
    assert "550 5.1.1" in " ".join(notice.split())
    assert "dropbox" in notice


def test_a_mail_beyond_the_size_announced_is_bounced_by_postfix_before_it_is_sent(here: Way) -> None:
    here.send(mail("large", "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * (LARGEST // 72)))
    notice = here.bounce("large@laptop.test")
    assert str(LARGEST) in notice


def test_a_postfix_that_reads_no_size_is_told_our_limit(tmp_path: Path) -> None:
    with way(tmp_path, smtp_discard_ehlo_keywords="size, chunking") as here:
        here.send(mail("larger", ("y" * 70 + "\r\n") * (LARGEST // 72 + 1)))
        notice = " ".join(here.bounce("larger@laptop.test").split())
        assert "552 5.3.4" in notice
