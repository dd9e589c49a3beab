"""Which source a message leaves by: stable, by weight, and never a suspended one while another serves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.way import EgressSource
from mailrelay.outbound.policy.source import Offer, choose, reaches


def offer(name: str, *domains: str, weight: int = 1, address: str = "192.0.2.1", address6: str = "") -> Offer:
    return Offer(
        source=EgressSource(name=name, address=address, address6=address6, helo=f"{name}.test"),
        domains=frozenset(domains),
        weight=weight,
    )


OFFERS = [offer("one"), offer("two", weight=3), offer("acme", "acme.test")]


def name_of(key: str, domain: str = "b.test", suspended: tuple[str, ...] = ()) -> str:
    found = choose(OFFERS, sender_domain=domain, key=key, suspended=suspended)
    assert found is not None
    return found.name


@given(st.text())
def test_a_message_always_leaves_by_the_same_source(key: str):
    assert name_of(key) == name_of(key)


def test_the_share_follows_the_weight():
    counted = Counter(name_of(f"Q{n}") for n in range(4000))
    assert set(counted) == {"one", "two"}
    assert 0.7 < counted["two"] / 4000 < 0.8


def test_only_the_messages_of_a_suspended_source_move():
    for n in range(500):
        before = name_of(f"Q{n}")
        after = name_of(f"Q{n}", suspended=("two",))
        assert after == "one"
        if before == "one":
            assert after == before


def test_a_source_that_names_the_domain_goes_before_those_for_all():
    assert {name_of(f"Q{n}", "acme.test") for n in range(50)} == {"acme"}
    # It alone serves the domain, so that its mail waits for it, rather than leave by what it does not want.
    assert {name_of(f"Q{n}", "acme.test", ("acme",)) for n in range(50)} == {"acme"}


def test_where_no_source_serves_the_system_chooses():
    assert choose([offer("acme", "acme.test")], sender_domain="b.test", key="Q1", suspended=()) is None
    assert choose([], sender_domain="b.test", key="Q1", suspended=()) is None


def test_a_source_reaches_what_it_has_an_address_for():
    only4, only6 = offer("x").source, offer("y", address="", address6="2001:db8::1").source
    assert reaches(only4, "192.0.2.9")
    assert not reaches(only4, "2001:db8::9")
    assert reaches(only6, "2001:db8::9")
    assert not reaches(only6, "192.0.2.9")
    assert reaches(None, "2001:db8::9")
