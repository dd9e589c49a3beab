"""O11: what the process knows of each way: its limits by site, its share of what is granted, and no more ways than it can hold."""

from __future__ import annotations

from datetime import timedelta

import structlog

from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Stage
from mailrelay.model.reply import reply
from mailrelay.model.way import Way
from mailrelay.outbound import shaper as module
from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.shaper import Go, Shaper, Wait
from tests.support.clock import FakeClock

TAKEN = Accepted(reply=reply(250, "2.0.0", "taken"))
NOBODY = Interrupted(stage=Stage.CONNECT, detail="refused")
B = Way("b.test")


def made(clock: FakeClock | None = None, **settings: object) -> Shaper:
    return Shaper(DeliverySettings(**settings), clock or FakeClock())


def test_the_limits_of_a_site_are_its_own_then_its_providers_then_those_of_all():
    sites = [{"site": "google.com", "connections": 40}, {"site": "b.test", "rate": 6, "messages_per_connection": 3}]
    shaper = made(connections_per_destination=4, messages_per_connection=50, shaping={"rate": 60, "sites": sites})
    found = {
        site: (one.connections, one.messages, one.rate)
        for site in ("google.com", "yahoodns.net", "b.test", "c.test")
        for one in (shaper.of(Way(site)),)
    }
    assert found == {
        "google.com": (40, 50, 60),
        "yahoodns.net": (10, 20, 60),
        "b.test": (4, 3, 6),
        "c.test": (4, 50, 60),
    }
    assert made(shaping={"providers": False}).of(Way("google.com")).connections == 5
    assert shaper.state() == []  # asking leaves no trace


def test_each_source_is_known_by_itself():
    with structlog.testing.capture_logs():
        shaper = made()
        for source in ("one", "two"):
            shaper.ask(Way("b.test", source))
        shaper.ended(Way("b.test", "one"), [NOBODY])
        assert [(str(one.way), one.condition) for one in shaper.state()] == [
            ("b.test from one", Condition.DEAD),
            ("b.test from two", Condition.FLOWS),
        ]
        assert isinstance(shaper.ask(Way("b.test", "one")), Wait)
        assert isinstance(shaper.ask(Way("b.test", "two")), Go)


def test_connections_grow_with_success_and_none_is_forgotten():
    shaper = made(connections_per_destination=3)
    assert [isinstance(shaper.ask(B), Go) for _ in range(3)] == [True, True, False]
    shaper.ended(B, [TAKEN])
    assert [isinstance(shaper.ask(B), Go) for _ in range(3)] == [True, True, False]
    for _ in range(3):
        shaper.ended(B, [])
    assert shaper.of(B).used == 0


def test_what_a_chunk_did_not_send_of_its_rate_may_be_sent_by_another():
    clock = FakeClock()
    shaper = made(clock, shaping={"rate": 120, "start": 5})
    assert shaper.ask(B) == Go(20)
    assert isinstance(shaper.ask(B), Wait)
    shaper.ended(B, [TAKEN] * 5)
    assert shaper.ask(B) == Go(15)
    clock.advance(timedelta(seconds=5))
    assert shaper.ask(B) == Go(10)
    shaper.ended(B, [TAKEN] * 15)
    shaper.ended(B, [TAKEN] * 10)
    assert isinstance(shaper.ask(B), Wait)


def test_the_quota_of_a_relay_shuts_it_and_a_recipients_host_that_says_the_same_is_only_slowed():
    spent = Deferred(reply=reply(450, "4.7.0", "daily sending quota exceeded"), stage=Stage.MAIL)
    with structlog.testing.capture_logs() as logged:
        shaper = made()
        for way in (B, Way("relay.test", relay=True)):
            shaper.ask(way)
            shaper.ended(way, [spent])
        assert [one.condition for one in shaper.state()] == [Condition.SLOWED, Condition.SHUT]
    assert [(line["event"], line["log_level"]) for line in logged] == [
        ("way.slowed", "warning"),
        ("way.paused", "error"),
    ]


def test_it_says_once_that_a_way_fell_however_many_were_under_way():
    with structlog.testing.capture_logs() as logged:
        shaper = made(shaping={"start": 5})
        for _ in range(5):
            shaper.ask(B)
        for _ in range(5):
            shaper.ended(B, [NOBODY])
    assert [line["event"] for line in logged] == ["way.paused"]


def test_a_hundred_thousand_ways_are_not_kept_and_none_that_is_in_use_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "_MOST_WAYS", 50)
    shaper = made()
    shaper.ask(B)
    for number in range(500):
        way = Way(f"d{number}.test")
        shaper.ask(way)
        shaper.ended(way, [TAKEN])
    assert len(shaper.state()) == 50
    assert shaper.of(B).used == 1
    shaper.ended(B, [TAKEN])
    assert shaper.of(B).allowed == 3
