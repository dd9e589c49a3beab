"""Who is taken for dead: one who gives no sign for so long by the watcher's own clock (Q05)."""

from __future__ import annotations

from mailrelay.ids import NodeId
from mailrelay.outbound.leases import Silence

A, B = NodeId("a"), NodeId("b")


def test_silence_is_measured_from_when_it_was_first_seen():
    silence = Silence(15.0)
    assert silence.dead({A: 7, B: -1}, now=1000.0) == []
    assert silence.dead({A: 8, B: -1}, now=1010.0) == []
    assert silence.dead({A: 8, B: -1}, now=1015.1) == [B]
    assert silence.dead({A: 8}, now=1025.1) == [A]


def test_one_that_comes_back_is_alive_again():
    silence = Silence(15.0)
    silence.dead({A: 1}, now=0.0)
    assert silence.dead({A: 1}, now=20.0) == [A]
    assert silence.dead({A: 2}, now=21.0) == []
    assert silence.dead({A: 2}, now=30.0) == []


def test_one_that_left_is_forgotten():
    silence = Silence(15.0)
    silence.dead({A: 1}, now=0.0)
    assert silence.dead({}, now=10.0) == []
    assert silence.dead({A: 1}, now=20.0) == []
