"""Mail that Exim takes from us and returns, in all the usual ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.daemon import daemon
from tests.support.exim import exim
from tests.support.postfix import free_port, postfix
from tests.support.returned import Believed, Case, Sender, believed, listening

pytestmark = pytest.mark.e2e

_MAIN = """
message_size_limit = 50000
delay_warning = 1s:1h
bounce_return_size_limit = 20K
acl_smtp_rcpt = rcpt
acl_smtp_data = data
"""
_REST = """
begin acl
rcpt:
  deny
    recipients = stranger@customer.test
    !verify = recipient
  accept
data:
  deny
    condition = ${{if match{{$message_body}}{{xyzzy-unwanted}}}}
    message = This message looks like spam
  accept

begin routers
home:
  driver = manualroute
  domains = bounce.test
  route_list = bounce.test 127.0.0.1::{edge}
  self = send
  transport = smtp
failed:
  driver = redirect
  domains = customer.test
  local_parts = gone
  data = :fail: No such user here
  allow_fail
hole:
  driver = redirect
  domains = customer.test
  local_parts = hole
  data = :blackhole:
box:
  driver = accept
  domains = customer.test
  local_parts = full : bob
  transport = box
small:
  driver = manualroute
  domains = small.test
  route_list = small.test 127.0.0.1::{far}
  self = send
  transport = small
far:
  driver = manualroute
  domains = far.test
  route_list = far.test 127.0.0.1::{far}
  self = send
  transport = smtp
dead:
  driver = manualroute
  domains = dead.test
  route_list = dead.test 127.0.0.1::{dead}
  self = send
  transport = smtp
slow:
  driver = manualroute
  domains = slow.test
  route_list = slow.test 127.0.0.1::{slow}
  self = send
  transport = smtp
lookup:
  driver = manualroute
  domains = nowhere.test
  route_list = nowhere.test no-such-host.test byname
  host_find_failed = fail
  transport = smtp

begin transports
smtp:
  driver = smtp
  connection_max_messages = 1
small:
  driver = smtp
  message_size_limit = 10K
box:
  driver = appendfile
  file = {{folder}}/mail/box
  user = Debian-exim
  quota = 4K

begin retry
* quota
* * F,7s,1s
"""

# Exim names a status only where the next hop did, and gives no reason at all for much that it finds out by itself.
UNROUTEABLE = Believed("failed", "host_unknown", hard=True, fault="recipient", status="5.0.0")
UNSAID = Believed("failed", "unknown", status="5.0.0")
UNKNOWN = Believed("failed", "user_unknown", hard=True, fault="recipient", status="5.1.1")
POLICY = Believed("failed", "policy", status="5.7.1")

TAKEN_LATE = Case("delayed and then taken", "bob@slow.test", (Believed("delayed", "", status="4.0.0"),))

CASES = (
    Case("unrouteable after accept", "nobody@customer.test", (UNROUTEABLE,)),
    Case("failed by an alias", "gone@customer.test", (replace(UNKNOWN, status="5.0.0"),)),
    Case("dropped without a word", "hole@customer.test"),
    Case("unrouteable in dialogue", "stranger@customer.test", refused=replace(UNROUTEABLE, status="")),
    Case(
        "content in dialogue",
        "bob@customer.test",
        refused=Believed("failed", "content"),
        text="The word is xyzzy-unwanted",
    ),
    Case("unknown at the next hop", "nobody@far.test", (UNKNOWN,)),
    Case(
        "mailbox full",
        "full@customer.test",
        (Believed("failed", "mailbox_full", fault="recipient", status="5.0.0"),),
        kilobytes=8,
    ),
    Case(
        "too large in dialogue",
        "bob@customer.test",
        refused=Believed("failed", "too_large", status="5.3.4"),
        kilobytes=60,
    ),
    Case("too large for a transport", "bob@small.test", (UNSAID,), kilobytes=30),
    Case(
        "too large at the next hop",
        "bob@far.test",
        (Believed("failed", "too_large", status="5.3.4"),),
        kilobytes=30,
    ),
    Case("policy at the next hop", "guarded@far.test", (POLICY,)),
    Case("content at the next hop", "bob@far.test", (POLICY,), text="The word is xyzzy-refused"),
    Case("host unknown", "bob@nowhere.test", (UNSAID,), asks_dns=True),
    Case("no route", "bob@elsewhere.test", (UNROUTEABLE,)),
    Case(
        "greylisted until it expires",
        "later@far.test",
        (Believed("delayed", "rate_limited", status="4.2.0"), Believed("failed", "rate_limited", status="5.0.0")),
    ),
    Case(
        "nobody listens until it expires",
        "bob@dead.test",
        (Believed("delayed", "", status="4.0.0"), Believed("failed", "timeout", status="5.0.0")),
    ),
    TAKEN_LATE,
    Case("taken", "bob@customer.test"),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    slow, dead = free_port(), free_port()
    far_settings = {
        "virtual_mailbox_domains": "far.test",
        "users": "bob, later, guarded",
        "message_size_limit": "20000",
        "virtual_mailbox_limit": "20000",
        "smtpd_recipient_restrictions": "check_recipient_access inline:{ {later@far.test = 450 4.2.0 Greylisted, see you},"
        " {guarded@far.test = 550 5.7.1 Not from you} }",
        "body_checks": "regexp:{ {/xyzzy-refused/ REJECT 5.7.1 We do not want this} }",
    }
    edge = free_port()
    with (
        postfix(far_settings) as far,
        exim(_MAIN, _REST.format(edge=edge, far=far.port, dead=dead, slow=slow)) as near,
    ):
        settings = {
            "delivery": {
                "route": "smart_host",
                "smart_host": {"host": "127.0.0.1", "port": near.port, "tls": "never"},
                "allow_private": True,
            }
        }
        with daemon(tmp_path_factory.mktemp("relay"), settings, start=False) as relay:
            relay.edge = edge
            relay.start()
            sender = Sender(relay, lambda: near.log + far.log)
            for case in CASES:
                sender.send(case)
            sender.returned(TAKEN_LATE, 1)
            with listening(slow):
                yield sender


@pytest.mark.parametrize("case", [one for one in CASES if one.returned], ids=lambda one: one.name)
def test_what_comes_back_is_believed(here: Sender, case: Case) -> None:
    found = here.returned(case, len(case.returned))
    assert len(found) == len(case.returned)
    for raw, expected in zip(found, case.returned, strict=True):
        assert believed(raw, expected) == (case.to, expected)


@pytest.mark.parametrize("case", [one for one in CASES if one.refused], ids=lambda one: one.name)
def test_what_is_refused_in_the_dialogue_does_not_come_back(here: Sender, case: Case) -> None:
    assert case.refused is not None
    assert case.refused.status in here.dialogue(case)["last_reply"]
    assert case.subject not in here.back


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_what_follows_is_in_the_delivery_the_journal_and_the_suppression_list(here: Sender, case: Case) -> None:
    here.returned(case, len(case.returned))
    here.consequences(case)


def test_who_is_dead_is_not_written_to_again(here: Sender) -> None:
    dead = next(one for one in CASES if one.returned and one.returned[0].hard)
    here.consequences(dead)
    assert "hard_bounce" in here.refusal(Case("again", dead.to))


def test_nothing_comes_back_but_that(here: Sender) -> None:
    possible = [case for case in CASES if case.possible]
    for case in possible:
        here.returned(case, len(case.returned))
    assert {case.name: len(here.back.get(case.subject, [])) for case in possible} == {
        case.name: len(case.returned) for case in possible
    }
