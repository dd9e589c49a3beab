"""S18: how many connections a client and all clients together may have; what is kept of strangers is bounded."""

from __future__ import annotations

from mailrelay.inbound.limits import Connections

_MANY = 20_001


def test_fault_s18_a_client_refused_at_its_limit_does_not_close_the_door_for_all_others() -> None:
    limits = Connections(total=100_000, per_ip=1, per_minute=10, trusted=())
    assert limits.admit("192.0.2.1", now=0.0) is None
    # A minute later its first connection is still open and counted by nothing but that.
    assert limits.admit("192.0.2.1", now=100.0) is not None
    for number in range(_MANY):
        ip = f"2001:db8:{number:x}::1"
        assert limits.admit(ip, now=200.0) is None
        limits.release(ip)
    assert limits.admit("192.0.2.2", now=300.0) is None


def test_nothing_is_kept_of_clients_that_were_refused_or_are_gone() -> None:
    limits = Connections(total=100_000, per_ip=1, per_minute=1, trusted=())
    for number in range(_MANY):
        ip = f"2001:db8:{number:x}::1"
        assert limits.admit(ip, now=0.0) is None
        limits.release(ip)
        assert limits.admit(ip, now=1.0) is not None
    assert limits.admit("192.0.2.1", now=100.0) is None
    assert limits.admit("192.0.2.1", now=200.0) is not None
    limits.release("192.0.2.1")
    assert limits.kept <= 1  # the last one, for its minute
