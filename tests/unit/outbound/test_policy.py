"""Who may send, how much, by which route, and when again: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.errors import NotPermitted, TooLarge, TooMany
from mailrelay.ids import OrgId, UserId
from mailrelay.model.delivery import Accepted, Deferred, DeliveryState, Interrupted, Refused, Stage
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord
from mailrelay.model.organisation import Role, User
from mailrelay.model.reply import reply
from mailrelay.model.settings import Plan, UserSettings
from mailrelay.outbound.policy import limits, retry, route, sender
from mailrelay.smtp.address import parse_address
from tests.support.answers import FAILED, Zone, ask_sync

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SCHEDULE = retry.Schedule(first=timedelta(minutes=5), longest=timedelta(hours=4))
LATER = Deferred(reply=reply(450, "4.2.0", "later"), stage=Stage.RCPT)


# --- sender


def facts(*, others: tuple[str, ...] = (), active: bool = True, role: Role = Role.USER) -> sender.SenderFacts:
    user = User(
        id=UserId("U1"),
        org=OrgId("O1"),
        name="Anna",
        role=role,
        active=active,
        primary=parse_address("anna@acme.test"),
        alternates=(parse_address("anna.b@gmail.test"),),
        settings=UserSettings(),
    )
    return sender.SenderFacts(user=user, domains=("acme.test",), others=frozenset(others))


def check(found: sender.SenderFacts, header: str, mail_from: str | None) -> None:
    sender.check(
        found, header=[parse_address(header)], mail_from=None if mail_from is None else parse_address(mail_from)
    )


@pytest.mark.parametrize("own", ["anna@acme.test", "ANNA@ACME.TEST", "anna.b@gmail.test", "anna+news@acme.test"])
def test_one_may_send_as_oneself(own: str):
    check(facts(), own, own)
    check(facts(), own, None)


def test_only_an_administrator_may_send_as_what_belongs_to_nobody():
    check(facts(role=Role.ADMINISTRATOR), "info@acme.test", "ceo+news@acme.test")
    for role in (Role.USER, Role.GUEST):
        for header, mail_from in (("ceo@acme.test", "anna@acme.test"), ("anna@acme.test", "ceo@acme.test")):
            with pytest.raises(NotPermitted):
                check(facts(role=role), header, mail_from)


def test_the_refusal_says_what_may_be_used():
    with pytest.raises(NotPermitted) as refused:
        check(facts(), "ceo@acme.test", None)
    assert str(refused.value) == (
        "ceo@acme.test in the From or Sender field is none of your addresses; "
        "you may use anna@acme.test, anna.b@gmail.test, or have it added to your alternates by an administrator"
    )
    with pytest.raises(NotPermitted) as refused:
        check(facts(others=("bob@acme.test",), role=Role.ADMINISTRATOR), "anna@acme.test", "bob@acme.test")
    assert str(refused.value) == (
        "bob@acme.test in the envelope sender (MAIL FROM) belongs to another user; "
        "you may use anna@acme.test, anna.b@gmail.test, what no user has of acme.test"
    )


@pytest.mark.parametrize("role", [Role.USER, Role.ADMINISTRATOR])
@pytest.mark.parametrize(
    ("header", "mail_from"),
    [
        ("bob@acme.test", "anna@acme.test"),
        ("anna@acme.test", "bob@acme.test"),
        ("bob+sales@acme.test", "anna@acme.test"),
        ("anna@acme.test", "BOB@acme.test"),
        ("someone@gmail.test", "anna@acme.test"),
        ("anna@acme.test", "anna@elsewhere.test"),
        ("anna@sub.acme.test", "anna@acme.test"),
    ],
)
def test_nobody_can_send_as_another(header: str, mail_from: str, role: Role):
    with pytest.raises(NotPermitted) as refused:
        check(facts(others=("bob@acme.test",), role=role), header, mail_from)
    assert str(refused.value.reply).startswith("553 5.7.1 ")
    assert refused.value.status == 403


def test_an_inactive_user_sends_nothing():
    with pytest.raises(NotPermitted):
        check(facts(active=False), "anna@acme.test", "anna@acme.test")


def test_the_keys_to_look_up_name_the_owner_of_a_sub_address():
    assert sender.lookup_keys([parse_address("Bob+x@acme.test"), parse_address("+@acme.test")]) == {
        "bob+x@acme.test",
        "bob@acme.test",
        "+@acme.test",
    }


# --- limits


@pytest.mark.parametrize(
    ("plan", "relayed", "limit"),
    [(Plan.PAID, False, 10), (Plan.FREE, False, 3), (Plan.PAID, True, 30), (Plan.FREE, True, 30)],
)
def test_attachments_have_a_limit_by_plan_and_route(plan: Plan, relayed: bool, limit: int):
    found = limits.limits(plan, relayed=relayed)
    limits.check(found, attachments=limit * 1_000_000, total=0, documents=5)
    with pytest.raises(TooLarge) as refused:
        limits.check(found, attachments=limit * 1_000_000 + 1, total=0, documents=0)
    assert (refused.value.limit, refused.value.size) == (limit * 1_000_000, limit * 1_000_000 + 1)
    assert f"{limit}.000001 MB" in str(refused.value)
    assert f"the {limit} MB" in str(refused.value)


def test_the_whole_mail_has_a_limit_that_encoded_attachments_keep_to():
    found = limits.limits(Plan.PAID, relayed=True)
    limits.check(found, attachments=0, total=30_000_000 * 78 // 57, documents=0)
    with pytest.raises(TooLarge):
        limits.check(found, attachments=0, total=found.total + 1, documents=0)


def test_six_documents_are_too_many():
    with pytest.raises(TooMany):
        limits.check(limits.limits(Plan.PAID, relayed=False), attachments=0, total=0, documents=6)


# --- retry


def after(outcome, *, attempts=1, now=NOW, expires=NOW + timedelta(days=5), jitter=0.0):
    return retry.after(outcome, attempts=attempts, expires_at=expires, now=now, schedule=SCHEDULE, jitter=jitter)


def test_what_is_final_ends():
    never = reply(550, "5.1.1", "no")
    assert after(Accepted(reply=reply(250, "2.0.0", "ok"))) == retry.Ended(DeliveryState.SENT)
    assert after(Refused(reply=never, stage=Stage.RCPT)) == retry.Ended(DeliveryState.BOUNCED)
    assert after(Refused(reply=never, stage=Stage.RESOLVE, by_us=True)) == retry.Ended(DeliveryState.FAILED)
    assert after(LATER, now=NOW + timedelta(days=5)) == retry.Ended(DeliveryState.EXPIRED)


def test_pauses_double_from_five_minutes_to_four_hours():
    pauses = [retry.pause(attempts, SCHEDULE, 0).total_seconds() for attempts in range(1, 9)]
    assert pauses == [300, 600, 1200, 2400, 4800, 9600, 14400, 14400]


@given(st.integers(1, 10**6), st.floats(-1, 1))
def test_a_pause_is_within_ten_percent_and_its_bounds(attempts: int, jitter: float):
    seconds = retry.pause(attempts, SCHEDULE, jitter).total_seconds()
    assert 270 <= seconds <= 14400 * 1.1


@given(st.floats(-1, 1), st.integers(0, 5 * 86400 - 1))
def test_the_last_try_is_at_the_end_and_never_behind_it(jitter: float, age: int):
    expires = NOW + timedelta(days=5)
    found = after(Interrupted(stage=Stage.DOT, detail=""), attempts=30, now=NOW + timedelta(seconds=age), jitter=jitter)
    assert isinstance(found, retry.Again)
    assert NOW + timedelta(seconds=age) < found.due_at <= expires


# --- route

OWN = route.OwnHost(names={"us.test"}, addresses={"192.0.2.99"})


def go(domain: str, records, *, private: bool = True):
    zone = records if isinstance(records, Zone) else Zone(records)
    return ask_sync(route.to_domain(domain, own=OWN, allow_private=private, shuffle=lambda records: None), zone)


def mx(*pairs: tuple[int, str]) -> Answer:
    return Answer(LookupStatus.FOUND, mx=tuple(MxRecord(*pair) for pair in pairs))


def ips(found) -> list[str]:
    return [target.ip for target in found]


def test_hosts_come_by_preference_and_ipv6_first():
    found = go(
        "b.test",
        {
            ("MX", "b.test"): mx((20, "two.test"), (10, "one.test")),
            ("A", "one.test"): "192.0.2.1",
            ("AAAA", "one.test"): "2001:db8::1",
            ("A", "two.test"): ["192.0.2.2", "192.0.2.3"],
        },
    )
    assert ips(found) == ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert found[0].host == "one.test"


def test_equal_preferences_are_shuffled():
    zone = Zone(
        {
            ("MX", "b.test"): mx((10, "one.test"), (10, "two.test"), (5, "zero.test")),
            ("A", "zero.test"): "192.0.2.0",
            ("A", "one.test"): "192.0.2.1",
            ("A", "two.test"): "192.0.2.2",
        }
    )
    found = ask_sync(
        route.to_domain("b.test", own=OWN, allow_private=True, shuffle=lambda records: records.reverse()), zone
    )
    assert ips(found) == ["192.0.2.0", "192.0.2.2", "192.0.2.1"]


def test_without_mx_the_domain_itself_is_asked():
    assert ips(go("b.test", {("A", "b.test"): "192.0.2.1"})) == ["192.0.2.1"]


@pytest.mark.parametrize("literal", ["[192.0.2.7]", "[IPv6:2001:db8::7]"])
def test_an_address_literal_is_where_it_says(literal: str):
    zone = Zone({})
    assert ips(go(literal, zone)) == [literal.strip("[]").removeprefix("IPv6:")]
    assert not zone.asked


@pytest.mark.parametrize(
    ("records", "code", "status"),
    [
        ({}, 550, "5.1.2"),
        ({("MX", "b.test"): mx((0, ""))}, 556, "5.1.10"),
        ({("TXT", "b.test"): "x"}, 550, "5.4.4"),
        ({("MX", "b.test"): mx((10, "gone.test"))}, 550, "5.4.4"),
        ({("MX", "b.test"): mx((10, "us.test"), (20, "b2.test")), ("A", "b2.test"): "192.0.2.2"}, 554, "5.4.6"),
        ({("MX", "b.test"): mx((10, "b1.test")), ("A", "b1.test"): "192.0.2.99"}, 554, "5.4.6"),
    ],
    ids=["no domain", "null mx", "no address", "mx without address", "we are the best", "our address"],
)
def test_fault_n06_what_cannot_be_reached_is_refused_by_us(records, code: int, status: str):
    found = go("b.test", records)
    assert isinstance(found, Refused)
    assert found.by_us
    assert (found.reply.code, str(found.reply.status)) == (code, status)


@pytest.mark.parametrize(
    "records",
    [
        {("MX", "b.test"): FAILED},
        {("MX", "b.test"): mx((10, "one.test")), ("A", "one.test"): FAILED},
        {("A", "b.test"): FAILED, ("AAAA", "b.test"): FAILED},
    ],
)
def test_fault_n07_dns_that_fails_puts_off(records):
    found = go("b.test", records)
    assert isinstance(found, Deferred)
    assert str(found.reply.status) == "4.4.3"


def test_one_host_that_dns_fails_for_does_not_stop_the_others():
    found = go(
        "b.test",
        {
            ("MX", "b.test"): mx((10, "one.test"), (20, "two.test")),
            ("A", "one.test"): FAILED,
            ("A", "two.test"): "192.0.2.2",
        },
    )
    assert ips(found) == ["192.0.2.2"]


def test_mx_hosts_behind_ourselves_are_left_out():
    found = go(
        "b.test",
        {
            ("MX", "b.test"): mx((5, "b0.test"), (10, "us.test"), (20, "b2.test")),
            ("A", "b0.test"): "192.0.2.1",
            ("A", "b2.test"): "192.0.2.2",
        },
    )
    assert ips(found) == ["192.0.2.1"]


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "224.0.0.1",
    ],
)
def test_fault_n06_private_addresses_are_refused_unless_allowed(ip: str):
    kind = "AAAA" if ":" in ip else "A"
    records = {("MX", "b.test"): mx((10, "one.test")), (kind, "one.test"): ip}
    found = go("b.test", records, private=False)
    assert isinstance(found, Refused)
    assert ips(go("b.test", records, private=True)) == [ip]


def test_fault_n06_two_hundred_mx_hosts_are_not_all_looked_up():
    zone = Zone(
        {("MX", "b.test"): mx(*((n, f"h{n}.test") for n in range(200)))}
        | {("A", f"h{n}.test"): [f"192.0.2.{n}", f"198.51.100.{n}"] for n in range(200)}
    )
    found = go("b.test", zone)
    assert len(found) <= route.MAX_ADDRESSES
    assert len(zone.asked) <= 1 + 2 * route.MAX_HOSTS


@pytest.mark.parametrize("ip", ["192.0.2.99", "::ffff:192.0.2.99"])
def test_fault_n06_by_whatever_name_our_own_address_is_us(ip: str):
    kind = "AAAA" if ":" in ip else "A"
    found = go(
        "b.test",
        {
            ("MX", "b.test"): mx((5, "b0.test"), (10, "alias.test"), (10, "equal.test"), (20, "b2.test")),
            ("A", "b0.test"): "192.0.2.1",
            (kind, "alias.test"): ip,
            ("A", "equal.test"): "192.0.2.3",
            ("A", "b2.test"): "192.0.2.2",
        },
    )
    assert ips(found) == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("domain", "records", "site"),
    [
        ("b.test", {("MX", "b.test"): mx((20, "x.other.test"), (10, "mx1.mail.provider.co.uk"))}, "provider.co.uk"),
        ("b.test", {("MX", "b.test"): mx((10, "b.two.test"), (10, "a.one.test"))}, "one.test"),
        ("mail.b.test", {("A", "mail.b.test"): "192.0.2.1"}, "b.test"),
        ("gone.b.test", {}, "b.test"),
        ("null.test", {("MX", "null.test"): mx((0, ""))}, "null.test"),
        ("mail.b.test", {("MX", "mail.b.test"): FAILED}, "mail.b.test"),
        ("[192.0.2.7]", {}, "192.0.2.7"),
        ("[IPv6:2001:db8::7]", {}, "2001:db8::7"),
    ],
)
def test_the_site_is_the_provider_that_takes_the_mail(domain: str, records, site: str):
    assert ask_sync(route.site_of(domain), Zone(records)) == site


def test_a_smart_host_without_an_address_puts_off_and_refuses_nobody():
    for zone in (Zone({}), Zone({("A", "smart.test"): FAILED})):
        assert isinstance(ask_sync(route.to_host("smart.test"), zone), Deferred)
    assert ips(ask_sync(route.to_host("192.0.2.5"), Zone({}))) == ["192.0.2.5"]
    assert ips(ask_sync(route.to_host("s.test"), Zone({("A", "s.test"): "192.0.2.6"}))) == ["192.0.2.6"]
