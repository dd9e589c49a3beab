"""R1: `secret` can be changed: what was made under a former one holds as long as that is named in `former_secrets`, and no longer."""

from __future__ import annotations

import smtplib
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailrelay.ids import DeliveryId, OrgId
from mailrelay.mail import record_address, return_path, unsubscribe_address
from mailrelay.mail.record_address import RecordAddressToken
from mailrelay.tracking.token import Keys, Kind, Token, make
from tests.support.daemon import Daemon, daemon

OLD, NEW = b"a secret of more than thirty-two letters", b"the secret that took its place, as long as that"
DELIVERY = DeliveryId("D01KF3ZB8Q0S7M2X4V9RT")
TARGET = "https://example.org/offer"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def leads(ours: Daemon, secret: bytes) -> tuple[int, str]:
    """What a tracked link answers that was made under a secret."""
    token = make(Token(Kind.CLICK, DELIVERY, 1, TARGET), Keys.derive(secret), "localhost")
    try:
        answer = urllib.request.build_opener(_NoRedirect()).open(
            f"http://localhost:{ours.public}/c/{token}", timeout=10
        )
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Location", "")
    return answer.status, ""


def taken(ours: Daemon, secret: bytes, org: OrgId, sent: DeliveryId) -> list[bool]:
    """Whether the edge takes mail to each kind of address that was made under a secret."""
    now = datetime.now(UTC)
    addresses = [
        return_path.make(sent, secret, "bounce.test", now=now),
        unsubscribe_address.make(sent, secret, "bounce.test"),
        record_address.make(RecordAddressToken(org, 1, None), secret, "inbound.test"),
    ]
    with smtplib.SMTP("127.0.0.1", ours.edge, timeout=10) as client:
        client.ehlo("mail.test")
        answers = []
        for one in addresses:
            client.mail("")
            answers.append(client.rcpt(str(one))[0])
            client.rset()
    return [code == 250 for code in answers]


def test_what_was_made_under_a_former_secret_holds_until_that_is_taken_off(tmp_path: Path) -> None:
    for name, secret in (("old", OLD), ("new", NEW)):
        (tmp_path / name).write_bytes(secret)
        (tmp_path / name).chmod(0o600)
    settings: dict[str, Any] = {"secret": {"file": "old"}}
    with daemon(tmp_path, settings) as ours:
        org = OrgId(ours.cli("organisation", "show")["id"])
        us = ours.cli("user", "list")["items"][0]["primary"]
        mail = ("--from", us, "--to", "bob@customer.example", "--subject", "x", "--text", "y")
        sent = DeliveryId(ours.cli("message", "send", *mail)["deliveries"][0]["id"])
        assert leads(ours, OLD) == (302, TARGET)
        assert taken(ours, OLD, org, sent) == [True] * 3
        ours.stop()
        ours.settings = {"secret": {"file": "new"}, "former_secrets": [{"file": "old"}]}
        ours.start()
        for secret in (OLD, NEW):
            assert leads(ours, secret) == (302, TARGET)
            assert taken(ours, secret, org, sent) == [True] * 3
        ours.stop()
        ours.settings = {"secret": {"file": "new"}}
        ours.start()
        assert leads(ours, OLD)[0] == 404
        assert taken(ours, OLD, org, sent) == [False] * 3
        assert leads(ours, NEW) == (302, TARGET)
