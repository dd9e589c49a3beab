"""The queue against a real Postfix and a real Exim: throttled, greylisted, stopped by hand, and every mail arrives once."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.daemon import Daemon, daemon, until
from tests.support.exim import Exim, exim
from tests.support.policy_server import policy_server
from tests.support.postfix import Postfix, free_port, postfix
from tests.support.zone import dns_thread

pytestmark = pytest.mark.e2e

AUTHOR = "ben@example.org"
ZONE = "".join(
    f"{domain}. IN MX 10 mx.{domain}.\nmx.{domain}. IN A {address}\n"
    for domain, address in {
        "busy.test": "127.0.0.11",
        "grey.test": "127.0.0.12",
        "held.test": "127.0.0.12",
        "example.org": "127.0.0.12",
        "open.test": "127.0.0.13",
        "narrow.test": "127.0.0.14",
    }.items()
)
BURST = 200
AT_ONCE = 160
"""Messages that the busy one takes in five seconds."""

_BOX = """
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
  directory = {folder}/mail/new
  maildir_format = false
  create_directory
  directory_file = $tod_epoch-$pid-$message_exim_id
  envelope_to_add
  user = Debian-exim

begin retry
* * F,7s,1s
"""
_OPEN = "acl_smtp_rcpt = accept_all"
_NARROW = f"""{_OPEN}
smtp_accept_max_per_connection = 5
smtp_accept_max_per_host = 4
recipients_max = 4
recipients_max_reject = false
"""


@dataclass(slots=True)
class Policy:
    """What the Postfix of most domains thinks of mail."""

    seen: dict[str, float] = field(default_factory=dict)
    stays: bool = False
    """Whether whoever comes again is asked to come once more."""

    def __call__(self, request: Mapping[str, str]) -> str:
        """Whoever writes to grey.test is asked to come again, once."""
        recipient = request["recipient"]
        if recipient.endswith("@grey.test") and (self.stays or recipient not in self.seen):
            self.seen[recipient] = time.monotonic()
            return "450 4.2.0 Greylisted, come again"
        return "DUNNO"


@dataclass(frozen=True)
class Here:
    """Our daemon, and those who take its mail."""

    relay: Daemon
    busy: Postfix
    plain: Postfix
    open: Exim
    narrow: Exim
    policy: Policy

    def send(self, to: Sequence[str], subject: str, job: str = "") -> list[str]:
        """A mail to each by the API, from one request; the ids of its deliveries."""
        house = json.loads((self.relay.data / "sample.json").read_text())
        fields = {"from": AUTHOR, "bcc": to, "subject": subject, "text": "Hello"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.relay.api}/api/v1/messages",
            json.dumps(fields | ({"job": job} if job else {})).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {house['token']}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return [one["id"] for one in json.load(answer)["deliveries"]]

    def queue(self, domain: str, *more: str) -> list[dict[str, Any]]:
        """All deliveries to a domain, ended ones too."""
        found: dict[str, Any] = self.relay.cli(
            "queue", "list", "--all", "--destination", domain, "--limit", "1000", *more
        )
        return list(found["items"])

    def states(self, domain: str) -> Counter[str]:
        """How many deliveries to a domain are in which state."""
        return Counter(one["state"] for one in self.queue(domain))

    def all_sent(self, domain: str, number: int, *, seconds: float = 60) -> None:
        """Wait until so many deliveries to a domain were sent."""
        until(lambda: self.states(domain) == {"sent": number}, f"all is sent to {domain}", seconds=seconds, pause=0.2)

    def site(self, site: str) -> dict[str, Any]:
        """How `mailrelay shaping list` shows a site."""
        found = [one for one in self.relay.cli("shaping", "list") if one["site"] == site]
        return found[0] if found else {}

    def history(self, delivery: str) -> list[dict[str, Any]]:
        """The attempts of a delivery."""
        shown: dict[str, Any] = self.relay.cli("queue", "show", delivery)
        return list(shown["history"])


def boxes(server: Postfix, user: str) -> Counter[str]:
    """How often each recipient's mail came in; what Postfix itself stored twice, being killed, is counted once."""
    arrived = set()
    for raw in server.received_bytes(user):
        head = raw.partition(b"\n\n")[0].decode()
        to, by = re.search(r"^Delivered-To: (\S+)", head, re.MULTILINE), re.search(r"with E?SMTPS?A? id (\S+)", head)
        assert to is not None
        assert by is not None
        arrived.add((to[1], by[1]))
    return Counter(to for to, _ in arrived)


def came(server: Exim) -> Counter[str]:
    """How often each recipient's mail came to an Exim."""
    folder = server.folder / "mail" / "new"
    # It writes each to a temporary name first.
    heads = [path.read_text().partition("\n\n")[0] for path in folder.glob("[0-9]*")]
    return Counter(one for head in heads for one in re.findall(r"^Envelope-to: (\S+)", head, re.MULTILINE))


def many(number: int, domain: str) -> list[str]:
    return [f"u{one:03}@{domain}" for one in range(number)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    policy, port = Policy(), free_port()
    busy_settings = {
        "virtual_mailbox_domains": "busy.test",
        "users": "@busy.test",
        "smtpd_client_event_limit_exceptions": "",
        "smtpd_client_message_rate_limit": str(AT_ONCE),
        "anvil_rate_time_unit": "5s",
    }
    with dns_thread(ZONE) as dns, policy_server(policy) as where:
        plain_settings = {
            "virtual_mailbox_domains": "grey.test, held.test, example.org",
            "users": "@grey.test, @held.test, ben@example.org",
            # Who hears no very often is answered slowly, else.
            "smtpd_error_sleep_time": "0",
            "smtpd_recipient_restrictions": f"check_policy_service {where}",
        }
        with (
            postfix(busy_settings, address="127.0.0.11", port=port) as busy,
            postfix(plain_settings, address="127.0.0.12", port=port) as plain,
            exim(_OPEN, _BOX, address="127.0.0.13", port=port) as open_,
            exim(_NARROW, _BOX, address="127.0.0.14", port=port) as narrow,
        ):
            delivery = {
                "route": "mx",
                "port": port,
                "allow_private": True,
                "mta_sts": False,
                "first_retry": 1.0,
                "longest_retry": 2.0,
                "batch": 100,
                "shaping": {"sites": [{"site": "narrow.test", "connections": 2}]},
            }
            settings = {"dns": {"nameservers": [dns.address]}, "delivery": delivery}
            with daemon(tmp_path_factory.mktemp("relay"), settings) as relay:
                yield Here(relay, busy, plain, open_, narrow, policy)


def test_who_asks_for_less_gets_it_while_others_get_theirs(here: Here) -> None:
    here.send(many(BURST, "busy.test"), "burst")
    slowed = until(
        lambda: [one for one in here.relay.cli("shaping", "list", "--troubled") if one["site"] == "busy.test"],
        f"busy.test is slowed; its log ends {here.busy.log[-500:]}",
    )
    assert [(one["condition"], one["because"][:9]) for one in slowed] == [("slowed", "450 4.7.1")]
    began = time.monotonic()
    here.send(many(30, "open.test"), "beside")
    until(lambda: came(here.open) == Counter(many(30, "open.test")), "open.test got its mail")
    assert here.states("busy.test")["sent"] < BURST, f"{time.monotonic() - began:.1f} s later busy.test has all of it"
    assert here.site("open.test")["condition"] == "flows"


def test_a_narrow_exim_is_connected_to_anew_and_gets_each_mail_once(here: Here) -> None:
    here.send(many(30, "narrow.test"), "narrow")
    until(lambda: came(here.narrow) == Counter(many(30, "narrow.test")), "narrow.test got its mail")
    here.all_sent("narrow.test", 30)
    assert here.site("narrow.test")["condition"] == "flows", here.narrow.log[-2000:]


def test_a_greylisted_mail_comes_again_and_slows_nobody(here: Here) -> None:
    began = time.monotonic()
    here.send(many(8, "grey.test"), "grey")
    here.all_sent("grey.test", 8)
    assert time.monotonic() - began < 30
    assert boxes(here.plain, "grey.test") == Counter(many(8, "grey.test"))
    for one in here.queue("grey.test"):
        assert one["attempts"] == 2
    first, second = here.history(here.queue("grey.test")[0]["id"])
    assert (first["reply"]["code"], first["reply"]["status"], second["outcome"]) == (450, "4.2.0", "accepted")
    assert here.site("grey.test")["condition"] == "flows"


def test_a_destination_is_held_while_others_go(here: Here) -> None:
    here.relay.cli("suspension", "add", "destination", "held.test", "--reason", "they asked for it")
    here.send([*many(5, "held.test"), "later@open.test"], "held")
    until(lambda: came(here.open)["later@open.test"] == 1, "the other one goes")
    until(lambda: here.states("held.test") == {"held": 5}, "the mail is held")
    assert {one["held_by"] for one in here.queue("held.test")} == {"destination:held.test"}
    assert boxes(here.plain, "held.test") == {}
    here.relay.cli("suspension", "resume", "destination", "held.test")
    here.all_sent("held.test", 5)
    assert boxes(here.plain, "held.test") == Counter(many(5, "held.test"))


def test_by_hand_mail_to_a_destination_waits_goes_ends_or_comes_back(here: Here) -> None:
    to = ("--destination", "grey.test")
    here.policy.seen.clear()
    here.policy.stays = True  # until a person has done with them what they do
    first = here.send(["waits@grey.test", "ends@grey.test", "back@grey.test"], "by hand")
    fresh = {"waits@grey.test", "ends@grey.test", "back@grey.test"}
    # Greylisted, all three wait for their next attempt.
    until(lambda: fresh <= set(here.policy.seen), "each was put off")
    until(lambda: here.relay.cli("queue", "hold", *to, "--dry-run")["changes"] == 3, "all three wait", pause=0.01)
    assert here.relay.cli("queue", "hold", *to)["changed"] == 3
    assert here.relay.cli("queue", "release", *to, "--dry-run")["changes"] == 3
    waits, ends, back = first
    assert here.relay.cli("queue", "cancel", "--recipient", "ends@grey.test", "--dry-run")["changes"] == 1
    assert here.relay.cli("queue", "cancel", "--recipient", "ends@grey.test")["changed"] == 1
    assert here.relay.cli("queue", "bounce", back, "--reason", "They have moved away")["changed"] == 1
    here.policy.stays = False
    assert here.relay.cli("queue", "release", *to)["changed"] == 1
    until(lambda: here.relay.cli("queue", "show", waits)["state"] == "sent", "what was released goes")
    assert here.relay.cli("queue", "show", ends)["state"] == "cancelled"
    assert here.relay.cli("queue", "show", back)["state"] == "bounced"
    (notice,) = until(lambda: here.plain.received("ben"), "the author is told")
    report = notice.as_string()
    assert "They have moved away" in report
    assert "back@grey.test" in report
    assert "Action: failed" in report
    assert {to for to in boxes(here.plain, "grey.test") if to in fresh} == {"waits@grey.test"}


def test_in_the_end_the_busy_one_got_each_mail_once(here: Here) -> None:
    here.all_sent("busy.test", BURST)
    until(lambda: boxes(here.busy, "busy.test") == Counter(many(BURST, "busy.test")), "busy.test has them all")
    assert max(one["attempts"] for one in here.queue("busy.test")) <= 4
