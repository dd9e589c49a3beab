"""I11: soft bounces in a row within a window; O17: nothing that is the sender's fault counts against a recipient."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.feedback import Category, Fault
from mailrelay.model.settings import OrganisationSettings
from mailrelay.outbound.policy import standing
from mailrelay.outbound.policy.standing import End

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATES = {"b": DeliveryState.BOUNCED, "e": DeliveryState.EXPIRED, "S": DeliveryState.SENT, "D": DeliveryState.DELIVERED}
STATES |= {"f": DeliveryState.FAILED, "s": DeliveryState.SUPPRESSED, "q": DeliveryState.QUEUED}


def history(text: str, *, every: timedelta = timedelta(days=2)) -> list[End]:
    """Ends, newest first, a letter each: as above, `B` a hard bounce, `!` one for the sender's fault, `c` one for the mail's content."""
    found = []
    for number, letter in enumerate(text):
        state = DeliveryState.BOUNCED if letter in "B!c" else STATES[letter]
        fault = Fault.SENDER if letter == "!" else Fault.NEITHER
        at = NOW - every * number
        category = Category.CONTENT if letter == "c" else Category.MAILBOX_FULL
        found.append(End(state=state, hard=letter == "B", fault=fault, category=category, at=at, said=f"said {number}"))
    return found


@pytest.mark.parametrize(
    ("ends", "count"),
    [
        ("", 0),
        ("b", 1),
        ("beb", 3),
        ("bbSbb", 2),  # one arrived in between
        ("bbDbb", 2),
        ("bqbfsb", 3),  # what is in flight, failed by us or was suppressed says nothing
        ("b!b", 2),  # nor what is the sender's fault
        ("!!!", 0),
        ("bccb", 2),  # nor what was refused for the mail itself
        ("Sbbbb", 4),  # sent just now: it may come back
        ("Dbbbb", 0),
        ("bBb", 2),
    ],
)
def test_the_streak_is_what_came_back_in_a_row(ends: str, count: int) -> None:
    assert len(standing.streak(history(ends), now=NOW, since=NOW - timedelta(days=300))) == count


def test_a_mail_sent_a_day_ago_has_arrived() -> None:
    arrived = [
        End(state=DeliveryState.SENT, hard=False, fault=None, category=None, at=NOW - timedelta(days=1), said="")
    ]
    assert standing.streak([*arrived, *history("bbb")], now=NOW, since=NOW - timedelta(days=300)) == ()


def test_so_many_in_a_row_within_the_window_are_too_many() -> None:
    settings = OrganisationSettings(soft_bounces=3, soft_bounce_days=5)
    said = standing.too_many(history("bbb"), settings, now=NOW, lifted_at=None)
    assert said == (
        "3 soft bounces in a row from 2026-11-16 to 2026-11-20, nothing arrived in between; the last said: said 0"
    )
    assert standing.too_many(history("bb"), settings, now=NOW, lifted_at=None) is None
    assert standing.too_many(history("bbb", every=timedelta(days=3)), settings, now=NOW, lifted_at=None) is None


def test_a_lifted_address_starts_clean() -> None:
    settings = OrganisationSettings(soft_bounces=3)
    lifted = NOW - timedelta(days=3)
    assert standing.too_many(history("bbbbb"), settings, now=NOW, lifted_at=lifted) is None
    assert standing.too_many(history("bbbbb"), settings, now=NOW, lifted_at=NOW - timedelta(days=4)) is not None


def test_nought_means_never() -> None:
    assert standing.too_many(history("b" * 50), OrganisationSettings(soft_bounces=0), now=NOW, lifted_at=None) is None


@given(st.text(alphabet="beSDqfsB!", max_size=40), st.integers(0, 40))
def test_a_streak_never_counts_a_fault_of_the_sender(ends: str, at: int) -> None:
    def count(text: str) -> int:
        return len(standing.streak(history(text, every=timedelta()), now=NOW, since=NOW - timedelta(days=1)))

    assert count(ends[:at] + "!" + ends[at:]) == count(ends)
    assert count(ends) <= ends.count("b") + ends.count("e")
