"""O11: what a way takes at once falls when it asks for it and recovers; whoever is dead or shut is left alone for a while."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Refused, Stage
from mailrelay.model.reply import EnhancedStatus, Reply, reply
from mailrelay.outbound.courier.base import OUR_FAULT
from mailrelay.outbound.policy import shaping, signals
from mailrelay.outbound.policy.shaping import Condition, Go, Limits, State, Wait
from mailrelay.outbound.policy.signals import Reading, Signal

LIMITS = Limits(connections=8, messages=20, start=2)
TAKEN = Accepted(reply=reply(250, "2.0.0", "taken"))
NOBODY = Interrupted(stage=Stage.CONNECT, detail="no connection: refused")
FLOWS, SLOW, DEAD, SHUT = (
    Reading(Signal.FLOWS, 10, TAKEN),
    Reading(Signal.SLOW, 0, Deferred(reply=reply(421, "4.7.28", "too much"), stage=Stage.MAIL)),
    Reading(Signal.DEAD, 0, NOBODY),
    Reading(Signal.SHUT, 0, Deferred(reply=reply(454, "4.7.0", "no"), stage=Stage.AUTH)),
)
READINGS = {one.signal: one for one in (FLOWS, SLOW, DEAD, SHUT)} | {
    Signal.NOTHING: Reading(Signal.NOTHING, 0),
    Signal.BROKEN: Reading(Signal.BROKEN, 0, Interrupted(stage=Stage.DATA, detail="lost")),
    Signal.ALIVE: Reading(Signal.ALIVE, 0, Refused(reply=reply(550, "5.1.1", "who?"), stage=Stage.RCPT)),
}


def answer(code: int, status: str, text: str, stage: Stage) -> Outcome:
    parts = EnhancedStatus(*map(int, status.split("."))) if status else None
    made = Reply(code, parts, (text,))
    return (
        Refused(reply=made, stage=stage)
        if code >= 500 and stage is not Stage.AUTH
        else Deferred(reply=made, stage=stage)
    )


def after(state: State, reading: Reading, *, now: float, limits: Limits = LIMITS) -> State:
    return shaping.after(state, limits, reading, unused=0, now=now)


def asked(state: State, *, now: float, used: int = 0, limits: Limits = LIMITS) -> Go | Wait:
    return shaping.ask(state, limits, used=used, now=now)[1]


# --- what the answers say ---


@pytest.mark.parametrize(
    ("code", "status", "text", "stage", "signal"),
    [
        (421, "4.7.28", "Our system has detected an unusual rate of mail", Stage.MAIL, Signal.SLOW),
        (421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred", Stage.MAIL, Signal.SLOW),
        (421, "4.7.0", "Too many connections from your IP", Stage.CONNECT, Signal.SLOW),
        (421, "", "try later", Stage.RCPT, Signal.SLOW),
        (450, "4.3.2", "Service currently unavailable", Stage.RCPT, Signal.SLOW),
        (451, "4.7.500", "Server busy. Please try again later from [192.0.2.1]", Stage.MAIL, Signal.SLOW),
        (451, "4.7.651", "The mail server has been temporarily rate limited", Stage.DOT, Signal.SLOW),
        (450, "4.7.1", "Client host rejected: too many connections", Stage.RCPT, Signal.SLOW),
        # Greylisting, whatever it calls itself, is about one recipient and one sender.
        (450, "4.7.1", "Recipient address rejected: Greylisted, see the page", Stage.RCPT, Signal.ALIVE),
        (451, "4.7.1", "Greylisting in action, please come back later", Stage.DOT, Signal.ALIVE),
        (450, "4.7.1", "try again later", Stage.RCPT, Signal.ALIVE),
        (451, "", "Temporary failure, please try again later", Stage.RCPT, Signal.ALIVE),
        # A recipient who gets too much, a full mailbox, too many in one transaction.
        (450, "4.2.1", "The user you are trying to contact is receiving mail too quickly", Stage.RCPT, Signal.ALIVE),
        (452, "4.2.2", "over quota", Stage.RCPT, Signal.ALIVE),
        (452, "4.5.3", "Too many recipients", Stage.RCPT, Signal.ALIVE),
        (452, "4.3.1", "Insufficient system storage", Stage.MAIL, Signal.ALIVE),
        (550, "5.1.1", "no such user", Stage.RCPT, Signal.ALIVE),
        (554, "", "no mail here", Stage.CONNECT, Signal.DEAD),
        (454, "4.7.0", "TLS not available", Stage.TLS, Signal.NOTHING),
        (535, "5.7.8", "Username and Password not accepted", Stage.AUTH, Signal.SHUT),
        (454, "4.7.0", "Temporary authentication failure", Stage.AUTH, Signal.SHUT),
        (421, "4.7.0", "try again", Stage.AUTH, Signal.SLOW),
    ],
)
def test_what_an_answer_says_of_the_way(code: int, status: str, text: str, stage: Stage, signal: Signal):
    assert signals.read([answer(code, status, text, stage)], relayed=False).signal is signal


@pytest.mark.parametrize(
    ("code", "status", "text", "stage"),
    [
        (452, "", "quota exceeded for today", Stage.MAIL),
        (450, "4.7.0", "Daily sending quota exceeded", Stage.DOT),
        (550, "5.4.5", "Daily user sending limit exceeded", Stage.DOT),
        (421, "4.7.0", "hourly sending limit reached", Stage.MAIL),
    ],
)
def test_fault_n11_the_quota_of_a_smart_host_shuts_us_out(code: int, status: str, text: str, stage: Stage):
    outcome = answer(code, status, text, stage)
    assert signals.read([outcome], relayed=True).signal is Signal.SHUT
    assert signals.read([outcome], relayed=False).signal is not Signal.SHUT


def test_a_full_mailbox_behind_a_smart_host_is_not_its_quota():
    full = answer(452, "4.2.2", "quota exceeded", Stage.DOT)
    assert signals.read([full], relayed=True).signal is Signal.ALIVE


def test_what_is_ours_says_nothing_of_the_way():
    by_us = Refused(reply=reply(550, "5.1.2", "no such domain"), stage=Stage.RESOLVE, by_us=True)
    assert signals.read([OUR_FAULT, by_us], relayed=False).signal is Signal.NOTHING
    dns = Deferred(reply=reply(451, "4.4.3", "DNS gave no answer"), stage=Stage.RESOLVE)
    assert signals.read([dns] * 10, relayed=False).signal is Signal.DEAD


def test_who_takes_one_mail_of_a_chunk_is_not_dead():
    reading = signals.read([TAKEN, NOBODY], relayed=False)
    assert (reading.signal, reading.accepted) == (Signal.FLOWS, 1)


def test_the_reason_is_what_the_other_side_said():
    assert signals.read([TAKEN, SLOW.outcome or TAKEN], relayed=False).because == "421 4.7.28 too much"
    long = Interrupted(stage=Stage.CONNECT, detail="x\n" * 500)
    assert len(signals.read([long], relayed=False).because) == 300


# --- what becomes of the way ---


def test_an_unknown_way_starts_small_and_grows_with_success_to_its_ceiling():
    state = shaping.fresh(LIMITS)
    allowed = [state.allowed]
    for _ in range(10):
        state = after(state, FLOWS, now=1.0)
        allowed.append(state.allowed)
    assert allowed == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8]
    assert isinstance(asked(state, used=8, now=1.0), Wait)
    assert asked(state, used=7, now=1.0) == Go(20)


def test_fault_n12_a_throttle_halves_connections_and_rate_and_both_come_back_by_themselves():
    state = replace(shaping.fresh(LIMITS), allowed=8)
    for second in range(10):
        state = after(state, FLOWS, now=float(second))  # 100 messages in ten seconds: 600 a minute
    state = after(state, SLOW, now=10.0)
    assert (state.condition, state.allowed, state.rate) == (Condition.SLOWED, 4, 300.0)
    waits = asked(state, now=10.0)
    assert isinstance(waits, Wait)
    assert (waits.seconds, waits.because) == (5.0, "421 4.7.28 too much")
    again = after(state, SLOW, now=12.0)
    assert again == state  # of those that had begun before
    further = after(state, SLOW, now=16.0)
    assert (further.allowed, further.rate, further.paused_until) == (2, 150.0, 26.0)
    now, allowed = 26.0, []
    while further.condition is Condition.SLOWED:
        now += 30
        further = shaping.recovered(further, LIMITS, now=now)
        allowed.append(further.allowed)
    assert allowed[:7] == [3, 4, 5, 6, 7, 8, 8]
    assert further.rate == 0
    assert 300 < now < 900
    assert asked(further, used=7, now=now) == Go(20)


@pytest.mark.parametrize(
    "text",
    ["Too many concurrent SMTP connections", "too many connections from your IP", "maximum number of sessions reached"],
)
def test_who_wants_fewer_connections_gets_fewer_and_no_fewer_mails(text: str):
    state = after(replace(shaping.fresh(LIMITS), allowed=8), FLOWS, now=0.0)
    fewer = signals.read([answer(421, "4.7.0", text, Stage.CONNECT)], relayed=False)
    state = after(state, fewer, now=1.0)
    assert (state.condition, state.allowed, shaping.rate_of(state, LIMITS)) == (Condition.SLOWED, 4, 0)
    while state.allowed > 1:
        state = after(state, fewer, now=state.paused_until)
    assert not shaping.rate_of(state, LIMITS)
    assert shaping.rate_of(after(state, fewer, now=state.paused_until), LIMITS)  # there is nothing else left to give


def test_a_complaint_in_the_first_second_does_not_make_a_quick_way_a_slow_one():
    state = after(shaping.fresh(LIMITS), FLOWS, now=0.0)
    state = after(state, FLOWS, now=0.8)  # twenty mails in a second
    assert after(state, SLOW, now=1.0).rate >= 300


def test_a_slowed_way_sends_no_more_than_its_rate():
    limits = replace(LIMITS, rate=60.0)
    state, sent, now = shaping.fresh(limits), 0, 0.0
    while now < 300:
        state, said = shaping.ask(state, limits, used=0, now=now)
        if isinstance(said, Go):
            sent += said.messages
            state = shaping.after(state, limits, Reading(Signal.FLOWS, said.messages, TAKEN), unused=0, now=now)
        else:
            assert said.seconds >= 1
            now += said.seconds
    assert 290 <= sent <= 300 + 10 + 1


def test_what_was_let_go_and_not_sent_may_be_sent_later():
    limits = replace(LIMITS, rate=60.0)
    state, said = shaping.ask(shaping.fresh(limits), limits, used=0, now=0.0)
    assert said == Go(10)
    assert isinstance(asked(state, limits=limits, now=0.0), Wait)
    state = shaping.after(state, limits, Reading(Signal.NOTHING, 0), unused=7, now=0.0)
    assert asked(state, limits=limits, now=0.0) == Go(7)


def test_fault_n14_a_dead_site_is_paused_longer_and_longer_and_tried_by_one_connection():
    state = shaping.fresh(LIMITS)
    now, pauses = 0.0, []
    for _ in range(8):
        assert isinstance(asked(state, now=now), Go)
        state = after(state, DEAD, now=now)
        assert state.condition is Condition.DEAD
        waits = asked(state, now=now)
        assert isinstance(waits, Wait)
        assert waits.outcome is NOBODY
        pauses.append(waits.seconds)
        now += waits.seconds
        room = asked(state, now=now, used=1)
        assert isinstance(room, Wait)
        assert room.room
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
    state = after(state, FLOWS, now=now)
    assert (state.condition, state.allowed, state.outcome) == (Condition.FLOWS, 3, None)
    assert after(state, DEAD, now=now + 100).paused_until == now + 130


def test_who_took_mail_lately_is_not_dead_because_one_connection_fails():
    state = after(shaping.fresh(LIMITS), FLOWS, now=0.0)
    for _ in range(2):
        state = after(state, DEAD, now=5.0)
        assert state.condition is Condition.FLOWS
    assert after(state, DEAD, now=5.0).condition is Condition.DEAD
    assert after(after(state, FLOWS, now=6.0), DEAD, now=7.0).condition is Condition.FLOWS


def test_dialogues_that_only_break_off_mean_dead_in_the_end():
    state = shaping.fresh(LIMITS)
    conditions = []
    for _ in range(3):
        state = after(state, READINGS[Signal.BROKEN], now=0.0)
        conditions.append(state.condition)
    assert conditions == [Condition.FLOWS, Condition.FLOWS, Condition.DEAD]


def test_fault_n11_who_shuts_us_out_is_left_alone_for_minutes_whatever_still_comes():
    state = after(shaping.fresh(LIMITS), SHUT, now=0.0)
    assert (state.condition, state.paused_until) == (Condition.SHUT, 300.0)
    state = after(state, FLOWS, now=1.0)  # of a connection that was open before
    assert (state.condition, state.paused_until) == (Condition.SHUT, 300.0)
    state = after(state, SHUT, now=301.0)
    assert state.paused_until == 301.0 + 600
    assert after(state, FLOWS, now=1000.0).condition is Condition.FLOWS


def test_a_pause_is_never_made_shorter_by_what_had_begun_before_it():
    shut = after(shaping.fresh(LIMITS), SHUT, now=0.0)
    assert after(shut, DEAD, now=1.0) == replace(shut, misses=1)
    slowed = shaping.fresh(LIMITS)
    for now in (0.0, 10.0, 40.0, 90.0, 150.0):
        slowed = after(slowed, SLOW, now=now)
    assert slowed.paused_until == 150.0 + 80
    assert after(slowed, DEAD, now=151.0).paused_until == 150.0 + 80


def test_fault_n11_no_other_mail_is_given_an_answer_that_ends_it_or_leaves_it_open():
    spent = answer(550, "5.4.5", "Daily user sending limit exceeded", Stage.DOT)
    state = after(shaping.fresh(LIMITS), signals.read([spent], relayed=True), now=0.0)
    assert (state.condition, state.outcome) == (Condition.SHUT, None)
    state = shaping.fresh(LIMITS)
    for _ in range(3):
        state = after(state, Reading(Signal.BROKEN, 0, Interrupted(stage=Stage.DOT, detail="lost")), now=0.0)
    assert (state.condition, state.outcome) == (Condition.DEAD, None)
    assert after(shaping.fresh(LIMITS), SHUT, now=0.0).outcome is SHUT.outcome


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(Signal)), st.floats(0, 2000), st.integers(0, 20), st.integers(0, 8)), max_size=60
    ),
    connections=st.integers(1, 50),
    rate=st.sampled_from([0.0, 1.0, 60.0, 6000.0]),
    start=st.integers(1, 60),
)
def test_whatever_happens_limits_hold_and_a_way_comes_back(
    steps: list[tuple[Signal, float, int, int]], connections: int, rate: float, start: int
):
    limits = Limits(connections=connections, messages=20, rate=rate, start=start)
    state, now = shaping.fresh(limits), 100.0
    for signal, seconds, unused, used in steps:
        now += seconds
        state, said = shaping.ask(state, limits, used=used, now=now)
        if isinstance(said, Go):
            assert 1 <= said.messages <= 20
            assert used < connections
        else:
            assert 0 < said.seconds <= 3600
            assert said.because
        state = shaping.after(state, limits, READINGS[signal], unused=unused, now=now)
        assert 1 <= state.allowed <= connections
        assert state.rate >= 0
        assert state.paused_until <= now + 3600
    for _ in range(200):  # nothing more goes wrong
        now += 3600
        state, said = shaping.ask(state, limits, used=0, now=now)
        assert isinstance(said, Go)
        state = shaping.after(state, limits, FLOWS, unused=said.messages, now=now)
    assert (state.condition, state.rate, state.allowed) == (Condition.FLOWS, 0.0, connections)
