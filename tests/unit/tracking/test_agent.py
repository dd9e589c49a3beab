"""Person, machine or unknown, and why (K1, T04, T05)."""

from __future__ import annotations

import ipaddress
import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import DeliveryId, HitId
from mailrelay.model.hit import By, HitKind, RawHit
from mailrelay.tracking import agent
from mailrelay.tracking.agent import judge, version
from tests.support.cost import cpu

SENT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LATER = SENT + timedelta(minutes=20)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
THUNDERBIRD = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"
OUTLOOK = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Trident/7.0; Microsoft Outlook 16.0.17928; ms-office)"
GOOGLE = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
HOME = "198.51.100.7"
_ids = itertools.count()


def hit(
    agent: str = CHROME,
    *,
    kind: HitKind = HitKind.CLICK,
    at: datetime = LATER,
    ip: str = HOME,
    method: str = "GET",
    link: int = 1,
    headers: tuple[tuple[str, str], ...] = (),
) -> RawHit:
    return RawHit(
        id=HitId(f"H{next(_ids):020}"),
        kind=kind,
        delivery=DeliveryId("D01JB2C3D4E5F6G7H8J9K"),
        link=0 if kind is HitKind.OPEN else link,
        url="" if kind is HitKind.OPEN else "https://a.example/",
        at=at,
        ip=ip,
        agent=agent,
        method=method,
        headers=headers,
    )


def alone(one: RawHit) -> tuple[By, tuple[str, ...]]:
    judged = judge([one], SENT)[0]
    return judged.by, judged.reasons


OPEN = {"kind": HitKind.OPEN}
MACHINE, PERSON, UNKNOWN = By.MACHINE, By.PERSON, By.UNKNOWN


@pytest.mark.parametrize(
    ("one", "by", "reasons"),
    [
        (hit(CHROME), PERSON, ("browser",)),
        (hit(CHROME, **OPEN), PERSON, ("browser",)),
        (hit(FIREFOX), PERSON, ("browser",)),
        (hit(IPHONE), PERSON, ("browser",)),
        (hit(THUNDERBIRD, **OPEN), PERSON, ("browser",)),
        (hit(OUTLOOK, **OPEN), PERSON, ("browser",)),
        (hit("Mozilla/5.0", **OPEN), MACHINE, ("agent:apple_mail_privacy",)),
        (hit("Mozilla/5.0 ", ip="104.28.1.1", **OPEN), MACHINE, ("agent:apple_mail_privacy",)),
        (hit("Mozilla/5.0"), MACHINE, ("agent:apple_mail_privacy",)),
        (hit(GOOGLE, ip="66.249.84.1", **OPEN), PERSON, ("image_proxy:google_image_proxy",)),
        (hit(GOOGLE, **OPEN, at=SENT + timedelta(seconds=1)), MACHINE, ("too_soon",)),
        (hit(GOOGLE), MACHINE, ("agent:google_image_proxy",)),
        (hit(YAHOO, **OPEN), PERSON, ("image_proxy:yahoo_mail_proxy",)),
        (hit("BarracudaCentral Link Scanner"), MACHINE, ("agent:barracuda",)),
        (hit(CHROME, ip="64.235.150.3"), MACHINE, ("network:barracuda",)),
        (hit(CHROME, ip="::ffff:64.235.150.3", **OPEN), MACHINE, ("network:barracuda",)),
        (hit(CHROME, ip="40.107.1.1"), MACHINE, ("network:microsoft_exchange_online",)),
        (hit(CHROME, ip="2a01:111:f403:8::1"), MACHINE, ("network:microsoft_exchange_online",)),
        (hit(CHROME, ip="67.231.152.9"), MACHINE, ("network:proofpoint",)),
        (hit(CHROME, ip="205.139.110.61"), MACHINE, ("network:mimecast",)),
        (hit(CHROME, ip="68.232.142.20"), MACHINE, ("network:cisco",)),
        (hit(CHROME, ip="104.28.40.1"), PERSON, ("browser", "network:apple_private_relay")),
        (hit(IPHONE, ip="104.28.40.1", **OPEN), UNKNOWN, ("network:apple_private_relay",)),
        (hit(CHROME + " HeadlessChrome/131"), MACHINE, ("agent:headless_browser",)),
        (hit("Microsoft Office Existence Discovery"), MACHINE, ("agent:microsoft_office",)),
        (hit("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), MACHINE, ("agent:link_preview",)),
        (hit("python-requests/2.32"), MACHINE, ("agent:program",)),
        (hit("curl/8.9"), MACHINE, ("agent:program",)),
        (hit(""), MACHINE, ("no_agent",)),
        (hit(" ", **OPEN), UNKNOWN, ("no_agent",)),
        (hit("SomethingNew/1.0"), UNKNOWN, ("unknown_agent",)),
        (hit("Dalvik/2.1.0 (Linux; U; Android 14)", **OPEN), UNKNOWN, ("unknown_agent",)),
        (hit(CHROME, at=SENT + timedelta(seconds=1.9)), MACHINE, ("too_soon",)),
        (hit(CHROME, at=SENT + timedelta(seconds=2)), PERSON, ("browser",)),
        (hit(CHROME, at=SENT - timedelta(seconds=3)), MACHINE, ("too_soon",)),
        (hit(CHROME, kind=HitKind.DECOY), MACHINE, ("decoy",)),
        (hit(CHROME, ip="no address"), PERSON, ("browser",)),
        (hit(CHROME, ip=""), PERSON, ("browser",)),
    ],
)
def test_fault_t05_class_and_reason(one: RawHit, by: By, reasons: tuple[str, ...]):
    assert alone(one) == (by, reasons)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PROPFIND"])
def test_fault_t04_who_does_not_get_is_a_machine(method: str):
    assert alone(hit(CHROME, method=method)) == (MACHINE, (f"method:{method}",))


@pytest.mark.parametrize(
    "header",
    [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("purpose", "Preview"),
        ("x-purpose", "preview"),
        ("x-moz", "prefetch"),
    ],
)
def test_fault_t04_a_prefetch_is_no_person(header: tuple[str, str]):
    assert alone(hit(CHROME, headers=(header,))) == (MACHINE, ("prefetch",))


def test_without_a_time_of_sending_nothing_is_too_soon():
    assert judge([hit(CHROME, at=SENT - timedelta(days=1))], None)[0].by is PERSON


def after(seconds: float) -> datetime:
    return LATER + timedelta(seconds=seconds)


def test_fault_t05_all_links_in_two_seconds_are_a_machine_s():
    scan = [hit(FIREFOX, at=after(n * 0.7), link=n + 1, ip="203.0.113.9") for n in range(3)]
    person = hit(CHROME, at=after(4_000), link=2)
    judged = judge([*scan, person], SENT)
    assert [one.by for one in judged] == [MACHINE, MACHINE, MACHINE, PERSON]
    assert {one.reasons for one in judged[:3]} == {("many_links_at_once",)}


def test_two_links_at_the_same_moment_are_a_machine_s_and_two_a_second_apart_a_person_s():
    assert [one.by for one in judge([hit(link=1), hit(link=2, at=after(0.3))], SENT)] == [MACHINE, MACHINE]
    assert [one.by for one in judge([hit(link=1), hit(link=2, at=after(1.2))], SENT)] == [PERSON, PERSON]


def test_the_same_link_twice_is_a_double_click():
    assert [one.by for one in judge([hit(), hit(at=after(0.2)), hit(at=after(0.4))], SENT)] == [PERSON] * 3


def test_from_different_addresses_at_once_it_is_one_scanner_all_the_same():
    scan = [hit(CHROME, at=after(n * 0.3), link=n + 1, ip=f"203.0.113.{n}") for n in range(5)]
    assert {one.by for one in judge(scan, SENT)} == {MACHINE}


def test_fault_t05_who_reads_while_another_s_scanner_looks_is_a_person():
    scanner = "203.0.113.9"
    judged = judge([hit(IPHONE), hit(CHROME, at=after(0.3), link=2, ip=scanner)], SENT)
    assert [one.by for one in judged] == [PERSON, PERSON]
    scan = [hit(CHROME, at=after(n * 0.3), link=n + 2, ip=scanner) for n in range(3)]
    assert [one.by for one in judge([hit(IPHONE), *scan], SENT)] == [PERSON, MACHINE, MACHINE, MACHINE]
    decoy = hit(CHROME, kind=HitKind.DECOY, ip=scanner)
    opened = hit(IPHONE, kind=HitKind.OPEN, at=after(1))
    assert [one.by for one in judge([decoy, opened], SENT)] == [MACHINE, PERSON]
    third = hit(FIREFOX, at=after(1.5), ip="203.0.113.77")
    assert {one.by for one in judge([decoy, opened, third], SENT)} == {MACHINE}


def test_fault_t05_whoever_follows_the_hidden_link_is_a_machine_with_all_that_it_does():
    decoy = hit(FIREFOX, kind=HitKind.DECOY, ip="203.0.113.9")
    beside = hit(FIREFOX, at=after(1), link=4, ip="203.0.113.9")
    later = hit(FIREFOX, at=after(300), ip="203.0.113.9")
    opened = hit(FIREFOX, at=after(30), ip="203.0.113.9", kind=HitKind.OPEN)
    much_later = hit(FIREFOX, at=after(7_200), ip="203.0.113.9")
    person = hit(CHROME, at=after(300))
    judged = judge([decoy, beside, opened, later, person, much_later], SENT)
    assert [one.by for one in judged] == [MACHINE, MACHINE, MACHINE, MACHINE, PERSON, PERSON]
    assert judged[1].reasons == ("beside_decoy",)
    assert judged[2].reasons == judged[3].reasons == ("same_client:decoy",)


def test_who_looks_before_it_gets_is_a_machine():
    judged = judge([hit(CHROME, method="HEAD"), hit(CHROME, at=after(1)), hit(FIREFOX, at=after(1))], SENT)
    assert [one.by for one in judged] == [MACHINE, MACHINE, PERSON]
    assert judged[1].reasons == ("same_client:head",)


def test_a_click_with_a_real_browser_later_is_a_person_s_whatever_scanned_before():
    scan = [hit(CHROME, at=SENT + timedelta(seconds=1), link=n, ip="40.107.3.3") for n in range(1, 6)]
    person = hit(IPHONE, at=after(0), link=2)
    assert judge([*scan, person], SENT)[-1].by is PERSON


hits = st.lists(
    st.builds(
        lambda agent, kind, seconds, ip, method, link, headers: hit(
            agent, kind=kind, at=after(seconds), ip=ip, method=method, link=link, headers=headers
        ),
        st.one_of(st.text(max_size=40), st.sampled_from((CHROME, "Mozilla/5.0", GOOGLE, "", "Barracuda"))),
        st.sampled_from(HitKind),
        st.floats(-2_000, 2_000),
        st.one_of(st.text(max_size=20), st.ip_addresses().map(str)),
        st.sampled_from(("GET", "HEAD", "X" * 200)),
        st.integers(0, 5),
        st.lists(st.tuples(st.sampled_from(("purpose", "x-moz", "dnt")), st.text(max_size=20))).map(tuple),
    ),
    max_size=12,
)


@given(hits)
def test_every_hit_has_a_class_a_reason_and_a_version_whatever_it_holds(some: list[RawHit]):
    judged = judge(some, SENT)
    assert len(judged) == len(some)
    assert all(one.reasons and one.rules == version() for one in judged)
    assert judge(some, SENT) == judged


@pytest.mark.parametrize("kind", [HitKind.DECOY, HitKind.CLICK])
def test_a_delivery_with_as_many_hits_as_are_kept_is_judged_in_linear_time(kind: HitKind) -> None:
    """Who has one link may follow it a hundred times in a quarter of an hour, for days."""

    def many(number: int) -> list[RawHit]:
        quarters = [(timedelta(minutes=15 * (at // 100)), timedelta(milliseconds=at % 100)) for at in range(number)]
        return [hit(kind=kind, at=SENT + quarter + rest, method="HEAD") for quarter, rest in quarters]

    few, all_ = many(300), many(3_000)
    assert cpu(lambda: judge(all_, SENT))[1] < 25 * cpu(lambda: judge(few, SENT))[1]


@given(hits, st.randoms())
def test_the_order_in_which_hits_are_given_changes_nothing(some: list[RawHit], random):
    judged = {one.id: what for one, what in zip(some, judge(some, SENT), strict=True)}
    mixed = list(some)
    random.shuffle(mixed)
    assert {one.id: what for one, what in zip(mixed, judge(mixed, SENT), strict=True)} == judged


@given(hits, hits)
def test_a_machine_stays_one_whatever_comes_later(some: list[RawHit], more: list[RawHit]):
    before, after_ = judge(some, SENT), judge([*some, *more], SENT)
    assert all(now.by is MACHINE for was, now in zip(before, after_, strict=False) if was.by is MACHINE)


def test_the_data_are_whole_and_say_where_they_are_from():
    for entry in agent._data("networks")["network"]:
        assert entry["is"] in {"scanner", "relay", "proxy"}
        assert isinstance(entry["date"], date)
        for text in entry["ranges"]:
            network = ipaddress.ip_network(text)  # raises for host bits
            assert network.is_global, text
            assert network.prefixlen >= (8 if network.version == 4 else 29), text
    kinds = {entry["is"] for entry in agent._data("agents")["agent"]}
    assert kinds <= {"scanner", "library", "headless", "proxy", "probe"}


def test_no_browser_or_mail_program_is_named_by_the_data():
    for text in (CHROME, FIREFOX, IPHONE, THUNDERBIRD, OUTLOOK, CHROME + " Edg/131.0.0.0", CHROME + " OPR/115.0.0.0"):
        assert agent._agent(text) is None
