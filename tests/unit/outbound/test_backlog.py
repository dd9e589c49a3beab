"""Short lines before ways: bounded, in turn, and what was left outside is asked for when there is room."""

from __future__ import annotations

from dataclasses import replace

from mailrelay.ids import DeliveryId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.envelope import EnvelopeRecipient
from mailrelay.model.way import Way
from mailrelay.outbound.backlog import ROOM, Backlog
from tests.store.test_queue import make
from tests.support.clock import FakeClock

B, RELAY = Way("b.test"), Way("relay.test", relay=True)


def some(number: int, domain: str = "b.test", queue_id: str = "Q1"):
    (one,) = make(FakeClock(), 1, domain)
    return [
        replace(
            one,
            id=DeliveryId(f"{domain}{queue_id}{n}"),
            queue_id=QueueId(queue_id),
            recipient=EnvelopeRecipient(address=Address(f"r{n}", domain)),
        )
        for n in range(number)
    ]


def test_a_line_is_short_and_what_has_no_room_comes_back():
    backlog = Backlog()
    assert backlog.put(B, some(ROOM - 1)) == []
    assert len(backlog.put(B, some(4))) == 3


def test_a_chunk_is_for_one_destination_but_for_a_relay_and_mails_stay_together():
    backlog = Backlog()
    mixed = [*some(1, "b.test", "Q1"), *some(1, "c.test", "Q2"), *some(1, "b.test", "Q2"), *some(1, "b.test", "Q1")]
    backlog.put(B, mixed)
    assert [(one.address.domain, one.queue_id) for one in backlog.take(B, 10)] == [
        ("b.test", "Q1"),
        ("b.test", "Q1"),
        ("b.test", "Q2"),
    ]
    assert [one.address.domain for one in backlog.take(B, 10)] == ["c.test"]
    assert B not in backlog
    backlog.put(RELAY, mixed)
    assert [one.queue_id for one in backlog.take(RELAY, 3)] == ["Q1", "Q2", "Q2"]
    assert len(backlog.take(RELAY, 3)) == 1


def test_ways_come_first_in_turn_and_not_while_paused():
    backlog = Backlog()
    for way in (B, RELAY):
        backlog.put(way, some(3))
    assert {backlog.ready(0.0)[0], backlog.ready(0.0)[0]} == {B, RELAY}
    backlog.pause(B, 10.0)
    assert backlog.ready(9.0) == [RELAY]
    assert backlog.next_start(9.0) == 10.0
    assert backlog.next_start(10.0) is None  # it is ready, whatever it waits for then
    assert set(backlog.ready(10.0)) == {B, RELAY}


def test_destinations_left_outside_are_asked_for_when_the_line_is_short_those_that_wait_longest_first():
    backlog = Backlog()
    backlog.put(B, some(ROOM))
    assert backlog.note(B, {"x.test": 10, "y.test": 40})
    assert backlog.hungry(50) == []
    backlog.take(B, ROOM - 5)
    assert backlog.hungry(10) == ["x.test"]
    assert backlog.hungry(50) == ["y.test"]
    assert backlog.hungry(50) == []
    assert len(backlog.clear()) == 5


def test_of_a_way_that_is_parked_nothing_is_asked_for_any_more():
    backlog = Backlog()
    backlog.put(B, some(3))
    backlog.note(B, {"x.test": 10})
    assert len(backlog.empty(B)) == 3
    assert backlog.hungry(50) == ["x.test"]
    backlog.note(B, {"x.test": 10})
    assert backlog.empty(B, outside=True) == []
    assert backlog.hungry(50) == []


def test_the_more_is_put_aside_the_longer_and_after_a_while_the_count_begins_anew():
    backlog = Backlog()
    assert backlog.aside(B, 10, 0.0) == 2
    assert backlog.aside(B, 990, 1.0) == 10
    assert backlog.aside(RELAY, 10, 1.0) == 2
    assert backlog.aside(B, 100_000, 2.0) == 30
    assert backlog.aside(B, 10, 30.0) == 2


def test_what_is_left_outside_is_bounded():
    backlog = Backlog()
    assert backlog.note(B, {f"d{n}.test": 1 for n in range(1_000)})
    assert not backlog.note(B, {"one-more.test": 1})
