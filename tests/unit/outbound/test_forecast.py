"""`outbound/policy/forecast.py`: what would happen to a mail, in one sentence; the first thing that decides is the one told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailrelay.ids import MessageId, OrgId
from mailrelay.model.absence import Absence
from mailrelay.model.address import Address
from mailrelay.model.delivery import Deferred, Refused, Stage
from mailrelay.model.quota import Quota, QuotaKind
from mailrelay.model.reply import reply
from mailrelay.model.sending import Scope, Sending, Suspension
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.model.tls_report import ResultType
from mailrelay.outbound.policy.forecast import Facts, HopFacts, Outcome, Pace, forecast
from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.policy.tls import NO_DEMAND, Barred, Demand, DemandMode, Tlsa

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
BOB = Address("bob", "b.test")
ORG = OrgId("O")


def last(level: TlsLevel, reason: str = "") -> HostTls:
    return HostTls(
        host="mx1.b.test",
        ip="192.0.2.1",
        port=25,
        level=level,
        protocol="",
        reason=reason,
        since=NOW,
        seen_at=NOW,
        look_at=None,
    )


def hop(name: str = "mx1.b.test", **more: Any) -> HopFacts:
    return HopFacts(
        **{"host": name, "ip": "192.0.2.1", "tls": "opportunistic", "demand": NO_DEMAND, "last": None, **more}
    )


PACE = Pace(site="b.test", condition=Condition.FLOWS, used=0, allowed=5, paused_until=None, because="")
QUOTA = Quota(
    kind=QuotaKind.SINGLE,
    day=date(2026, 11, 22),
    limit=300,
    used=300,
    resets_at=datetime(2026, 11, 23, tzinfo=ZoneInfo("Europe/Berlin")),
)
SUPPRESSION = Suppression(
    org=ORG,
    key="bob@b.test",
    reason=SuppressionReason.HARD_BOUNCE,
    since=NOW,
    evidence="",
    by="",
    lifted_at=None,
)
SUSPENSION = Suspension(
    org=ORG,
    sending=Sending(Scope.DOMAIN, "acme.test"),
    since=NOW,
    reason="too many bounces",
    evidence="",
    by="",
    resumed_at=None,
    resumed_by="",
    before=None,
)
REFUSED = Refused(reply=reply(550, "5.1.2", "The domain b.test does not exist"), stage=Stage.RESOLVE, by_us=True)
DEFERRED = Deferred(reply=reply(451, "4.4.3", "DNS gave no answer"), stage=Stage.RESOLVE)
BARRED = Demand(
    mode=DemandMode.STS, barred=Barred(result=ResultType.VALIDATION_FAILURE, because="mx1 is not in the policy")
)


def facts(**more: Any) -> Facts:
    plain: dict[str, Any] = {
        "address": BOB,
        "dropbox": False,
        "no_dropbox": "",
        "suppression": None,
        "absence": None,
        "quota": replace(QUOTA, used=10),
        "suspension": None,
        "no_route": None,
        "smart_host": "",
        "smart_host_trouble": "",
        "hops": [hop()],
        "pace": PACE,
        "parked_until": None,
        "parked_because": "",
        "now": NOW,
    }
    return Facts(**{**plain, **more})


@pytest.mark.parametrize(
    ("more", "outcome", "words"),
    [
        ({}, Outcome.GOES, "would go to mx1.b.test now over TLS if it can"),
        ({"dropbox": True}, Outcome.FILED, "is a dropbox"),
        ({"no_dropbox": "there is no such dropbox"}, Outcome.REFUSED, "no such dropbox"),
        ({"suppression": SUPPRESSION}, Outcome.REFUSED, "bob@b.test is suppressed since 2026-11-22 (hard bounce)"),
        (
            {"quota": QUOTA},
            Outcome.REFUSED,
            "300 recipients of single mail a day is used up until 2026-11-23 00:00 CET",
        ),
        ({"suspension": SUSPENSION}, Outcome.HELD, "until somebody resumes the domain acme.test"),
        (
            {"no_route": REFUSED, "hops": []},
            Outcome.REFUSED,
            "would come back at once: The domain b.test does not exist",
        ),
        ({"no_route": DEFERRED, "hops": []}, Outcome.WAITS, "be tried again: DNS gave no answer"),
        ({"hops": []}, Outcome.KEPT, "catch-all"),
        ({"hops": [hop(demand=BARRED)]}, Outcome.WAITS, "mx1 is not in the policy"),
        ({"hops": [hop(demand=BARRED), hop("mx2.b.test")]}, Outcome.GOES, "would go to mx2.b.test now"),
        ({"hops": [hop(demand=replace(BARRED, enforced=False))]}, Outcome.GOES, "would go to mx1.b.test now"),
        (
            {"pace": replace(PACE, condition=Condition.SLOWED, paused_until=LATER, because="421 slow down")},
            Outcome.WAITS,
            "would wait until 2026-11-22 09:35 UTC, for b.test is paused: 421 slow down",
        ),
        ({"pace": replace(PACE, paused_until=NOW)}, Outcome.GOES, "would go"),
        ({"pace": replace(PACE, used=5)}, Outcome.WAITS, "5 of 5 are in use"),
        ({"parked_until": LATER, "parked_because": "all connections are in use"}, Outcome.WAITS, "09:35 UTC: all"),
        ({"parked_until": NOW, "parked_because": "was"}, Outcome.GOES, "would go"),
        ({"smart_host": "relay.test"}, Outcome.GOES, "would go to the smart host mx1.b.test"),
        (
            {"smart_host": "relay.test", "smart_host_trouble": "535 no"},
            Outcome.GOES,
            "refused us the last time: 535 no",
        ),
    ],
)
def test_the_first_thing_that_decides_is_told(more: dict[str, Any], outcome: Outcome, words: str) -> None:
    told = forecast(facts(**more))
    assert told.outcome is outcome
    assert words in told.sentence


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (hop(tls="never"), "in clear, as the settings have it"),
        (hop(tls="required"), "over verified TLS, or not at all"),
        (hop(demand=Demand(mode=DemandMode.STS)), "over verified TLS, or not at all (MTA-STS)"),
        (
            hop(demand=Demand(mode=DemandMode.DANE, tlsa=(Tlsa(3, 1, 1, b"x"),))),
            "over TLS proved by DANE, or not at all",
        ),
        (
            hop(demand=Demand(mode=DemandMode.DANE)),
            "encrypted, or not at all (DANE, though none of its TLSA records can be used)",
        ),
        (hop(last=last(TlsLevel.VERIFIED)), "over verified TLS"),
        (hop(last=last(TlsLevel.UNVERIFIED, "it has expired")), "over unverified TLS (it has expired)"),
        (hop(last=last(TlsLevel.CLEAR, "no STARTTLS")), "in clear (no STARTTLS)"),
    ],
)
def test_what_the_connection_would_be_like(one: HopFacts, words: str) -> None:
    assert forecast(facts(hops=[one])).sentence == f"would go to mx1.b.test now {words}"


def test_who_is_away_is_said_of_mail_that_goes() -> None:
    away = Absence(
        org=ORG,
        key="bob@b.test",
        until=datetime(2026, 12, 1, tzinfo=UTC),
        since=None,
        gone=False,
        noted_at=NOW,
        message=MessageId("M"),
        instead=(),
    )
    assert forecast(facts(absence=away)).sentence.endswith("; its owner is away until 2026-12-01 00:00 UTC")
    gone = forecast(facts(absence=replace(away, until=None, gone=True))).sentence
    assert gone.endswith("gone for good, says an automatic reply")
