"""Several addresses of our own, and a user's own smart host, as a real Exim sees them."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.certs import certificate
from tests.support.daemon import Daemon, daemon, until
from tests.support.exim import Exim, exim
from tests.support.postfix import free_port
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

AUTHOR = "ben@example.org"
ZONE = """
customer.test. IN MX 10 mx.customer.test.
mx.customer.test. IN A 127.0.0.13
example.org. IN MX 10 mx.customer.test.
smtp.house.test. IN A 127.0.0.14
"""
SOURCES = {"127.0.0.2": "one.mailrelay.test", "127.0.0.3": "two.mailrelay.test"}

_MAIN = "acl_smtp_rcpt = accept_all"
_REST = """
begin acl
accept_all:
  accept

begin routers
box:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  file = {folder}/mail/box
  user = Debian-exim
"""
_ONLY_WITH_A_PASSWORD = """
acl_smtp_rcpt = accept_known
tls_advertise_hosts = *
tls_certificate = {folder}/tls.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
"""
_AUTHENTICATED = (
    _REST.replace("accept_all:\n  accept", "accept_known:\n  accept authenticated = *\n  deny message = Log in first")
    + """
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{ben}}{eq{$auth3}{right}}}}
  server_set_id = $auth2
"""
)


@dataclass(frozen=True)
class Here:
    """Our daemon, an Exim that takes mail for `customer.test`, and one that is a user's own smart host."""

    relay: Daemon
    customer: Exim
    house: Exim

    def call(self, path: str, body: object = None) -> Any:
        """GET or POST of the API."""
        sample = json.loads((self.relay.data / "sample.json").read_text())
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.api}/api/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {sample['token']}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def send(self, to: str) -> str:
        """A mail by the API; its delivery."""
        sent = self.call("messages", {"from": AUTHOR, "to": [to], "subject": "hello", "text": "Hello"})
        return str(sent["deliveries"][0]["id"])

    def own_host(self, password: str) -> dict[str, Any]:
        """The author's smart host, with this password."""
        given = {"host": "smtp.house.test", "port": self.house.port, "username": "ben", "password": password}
        made: dict[str, Any] = self.call("smart-hosts", {"scope": "user", "name": AUTHOR, **given})
        return made

    def all_came(self, number: int) -> None:
        """Wait until so many mails have come to `customer.test`."""
        try:
            until(lambda: len(self.came_from()) >= number, "all came")
        except AssertionError:
            waits = self.relay.cli("queue", "list")["items"]
            said = [(one["status"], one["held_by"], one["due_at"], one["last_reply"]) for one in waits]
            pytest.fail(f"{len(self.came_from())} came; {said}; {self.customer.log[-500:]}")
        assert len(self.came_from()) == number

    def came_from(self) -> list[tuple[str, str]]:
        """Of each mail at `customer.test`, the name in EHLO and the address that it came from."""
        return re.findall(r" <= .* H=\(?([a-z.]+)\)? \[([0-9.]+)\]", self.customer.log)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    port, shown = free_port(), certificate("smtp.house.test")
    with (
        dns_thread(ZONE) as dns,
        exim(_MAIN, _REST, address="127.0.0.13", port=port) as customer,
        exim(_ONLY_WITH_A_PASSWORD, _AUTHENTICATED, address="127.0.0.14", port=port) as house,
    ):
        # It reads this at each connection, as its own user.
        (house.folder / "tls.pem").write_bytes(shown.pem.read_bytes())
        delivery = {
            "route": "mx",
            "port": port,
            "allow_private": True,
            "mta_sts": False,
            "ca_file": str(shown.authority),
            "first_retry": 1.0,
            "longest_retry": 2.0,
            "sources": [
                {"name": helo.partition(".")[0], "address": address, "helo": helo} for address, helo in SOURCES.items()
            ],
        }
        with daemon(
            tmp_path_factory.mktemp("relay"), {"dns": {"nameservers": [dns.address]}, "delivery": delivery}
        ) as relay:
            yield Here(relay, customer, house)


def test_mail_leaves_by_each_source_and_by_the_other_while_one_is_suspended(here: Here) -> None:
    for number in range(16):
        here.send(f"u{number}@customer.test")
    here.all_came(16)
    assert {address: helo for helo, address in here.came_from()} == SOURCES
    assert {(address, helo) for helo, address in here.came_from()} == set(SOURCES.items())
    here.relay.cli("suspension", "add", "source", "one", "--reason", "it is listed")
    for number in range(8):
        here.send(f"v{number}@customer.test")
    here.all_came(24)
    assert {address for _, address in here.came_from()[16:]} == {"127.0.0.3"}
    here.relay.cli("suspension", "resume", "source", "one")
    time.sleep(1.1)  # what is suspended is remembered for a second
    for number in range(16):
        here.send(f"w{number}@customer.test")
    here.all_came(40)
    assert {address for _, address in here.came_from()[24:]} == set(SOURCES)


def test_a_smart_host_that_knows_us_not_pauses_and_the_right_password_lets_all_go(here: Here) -> None:
    before = len(here.came_from())
    wrong = here.own_host("wrong")
    time.sleep(1.1)  # where mail goes is remembered for a second
    waiting = [here.send(f"x{number}@customer.test") for number in range(5)]

    def paused() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = here.relay.cli("event", "list", "--last", "100")["items"]
        return [one for one in found if one["type"] == "next_hop.paused"]

    (event,) = until(paused, "the journal says that it is paused")
    assert "535" in json.dumps(event)
    shown = [here.relay.cli("queue", "show", one) for one in waiting]
    assert {one["state"] for one in shown} <= {"queued", "sending"}
    assert here.relay.cli("shaping", "list", "--troubled")[0]["condition"] == "shut"
    assert here.relay.cli("suppression", "list")["items"] == []
    # Or what is due while there is neither goes without one, as it should.
    assert here.relay.cli("queue", "hold", "--destination", "customer.test")["changed"] == 5
    here.relay.cli("smart-host", "remove", wrong["id"])
    right = here.own_host("right")
    assert here.relay.cli("smart-host", "test", right["id"])["works"] is True
    here.relay.cli("queue", "release", "--held-by", "hand")
    until(lambda: here.house.log.count(" <= ") == 5, "all went by it")
    assert re.findall(r" <= .*? X=TLS1\.3\S* .*? A=plain:(\w+)", here.house.log) == ["ben"] * 5
    until(lambda: {here.relay.cli("queue", "show", one)["state"] for one in waiting} == {"sent"}, "they are sent")
    assert len(here.came_from()) == before
    assert len(paused()) == 1
