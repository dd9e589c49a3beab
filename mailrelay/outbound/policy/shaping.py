"""How much a way takes at once: what is known of it, and what the outcomes of a chunk change (O11, N11, N12, N14).

A way that nothing is known of starts with few connections and gets one more for each chunk that is taken, up to its ceiling. Asked
to slow down, it falls to half, in connections and in rate (asked for fewer connections, in connections alone, as long as it has
several), and pauses; after that it recovers by a fixed step each half minute.
A way at whose end nobody is is paused for longer and longer, and tried by one connection. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from mailrelay.model.delivery import Deferred, Interrupted, Outcome, Stage
from mailrelay.outbound.policy.signals import Reading, Signal

STEP = 30.0
"""Seconds in which a way that was slowed down recovers by one connection and a tenth of its rate."""
_SLOW_PAUSES = (5.0, 300.0)
_DEAD_PAUSES = (30.0, 900.0)
_SHUT_PAUSES = (300.0, 3600.0)
_LEAST_RATE = 6.0  # messages a minute
_WINDOW = 10.0  # seconds over which the rate is measured
_LEAST_SPAN = 1.0  # a complaint that comes early must not make a quick way seem a slow one
_BURST = 10.0  # seconds of its rate that a way may send at once
_ROOM = 1.0
_FRESH = 60.0  # N14: who took mail so lately is not dead because one connection fails
_MISSES = 3
_FAR = 40


class Condition(StrEnum):
    """How a way stands."""

    FLOWS = "flows"
    SLOWED = "slowed"  # below its limits since it asked for it; recovers by itself
    DEAD = "dead"  # nobody answers; tried by one connection now and then
    SHUT = "shut"  # it lets us in no more, or its quota for us is spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is never exceeded on a way."""

    connections: int
    messages: int
    """For each connection."""
    rate: float = 0.0
    """Messages a minute; 0: no limit."""
    start: int = 1
    """Connections before anything is known of it."""


@dataclass(frozen=True, slots=True)
class Go:
    """One connection may be used on the way, for so many messages (a transaction each) before it asks again."""

    messages: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: ask again in so many seconds, or, when `room` is the reason, once a connection of the way ends.

    `outcome` is what an attempt would meet with now, of a way that is dead or shut: it was tried by one connection for all. It is
    never one that ends a delivery, or leaves open whether it was taken.
    """

    seconds: float
    because: str
    room: bool = False
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of a way."""

    allowed: int
    """Connections."""
    condition: Condition = Condition.FLOWS
    because: str = ""
    paused_until: float = -math.inf
    falls: int = 0
    """Pauses one after the other for the same reason; each is twice as long."""
    outcome: Outcome | None = None
    """Of a dead or shut way: what whoever tried it got."""
    misses: int = 0
    """Chunks in a row that came to nothing."""
    taken_at: float = -math.inf
    """When mail was taken last."""
    rate: float = 0.0
    """Of a slowed way: messages a minute, beside its limit; 0: none."""
    usual_rate: float = 0.0
    usual_connections: int = 0
    """What a slowed way did before, and is to come back to."""
    stepped_at: float = -math.inf
    tokens: float = 0.0
    """Messages that may go at once, of a way with a rate."""
    refilled_at: float = -math.inf
    counted_since: float = -math.inf
    counted: int = 0

    @property
    def probing(self) -> bool:
        """Whether one connection at a time shall find out how it stands."""
        return self.condition in (Condition.DEAD, Condition.SHUT)


def fresh(limits: Limits) -> State:
    """A way that nothing is known of."""
    return State(allowed=max(1, min(limits.start, limits.connections)))


def ask(state: State, limits: Limits, *, used: int, now: float) -> tuple[State, Go | Wait]:
    """Whether another connection may start, beside the `used` ones."""
    state = recovered(state, limits, now=now)
    if now < state.paused_until:
        return state, Wait(state.paused_until - now, state.because, outcome=state.outcome)
    allowed = 1 if state.probing else min(state.allowed, limits.connections)
    if used >= allowed:
        return state, Wait(_ROOM, f"all connections are in use: {used} of {allowed}", room=True)
    rate = rate_of(state, limits)
    if not rate:
        return state, Go(limits.messages)
    tokens = _tokens(state, rate, now)
    if tokens < 1:
        seconds = max(_ROOM, (1 - tokens) * 60 / rate)
        return state, Wait(seconds, f"its rate is used up: {rate:g} messages a minute")
    messages = min(limits.messages, int(tokens))
    return replace(state, tokens=tokens - messages, refilled_at=now), Go(messages)


def after(state: State, limits: Limits, reading: Reading, *, unused: int, now: float) -> State:
    """What a chunk that has ended makes of a way; `unused` messages that it was let go with and did not send."""
    state = _counted(recovered(state, limits, now=now), reading.accepted, now)
    if unused and rate_of(state, limits):
        state = replace(state, tokens=state.tokens + unused)
    match reading.signal:
        case Signal.NOTHING:
            return state
        case Signal.FLOWS | Signal.ALIVE:
            return _answered(state, limits, took=reading.signal is Signal.FLOWS, now=now)
        case Signal.SLOW:
            return _slowed(_answered(state, limits, took=False, now=now), limits, reading, now)
        case Signal.SHUT:
            return _paused(state, Condition.SHUT, reading, _SHUT_PAUSES, now)
        case Signal.DEAD | Signal.BROKEN:
            state = replace(state, misses=state.misses + 1)
            sure = state.misses >= _MISSES or state.condition is Condition.DEAD
            if sure or (reading.signal is Signal.DEAD and now - state.taken_at > _FRESH):
                return _paused(state, Condition.DEAD, reading, _DEAD_PAUSES, now)
            return state


def recovered(state: State, limits: Limits, *, now: float) -> State:
    """A slowed way with what it has got back by now."""
    if state.condition is not Condition.SLOWED or now - state.stepped_at < STEP:
        return state
    steps = int((now - state.stepped_at) // STEP)
    allowed = min(limits.connections, state.usual_connections, state.allowed + steps)
    rate = state.rate and state.rate + steps * state.usual_rate / 10
    if rate >= 2 * state.usual_rate:
        rate = 0.0
    if not rate and allowed >= min(state.usual_connections, limits.connections):
        return _free(state, allowed)
    return replace(state, allowed=allowed, rate=rate, stepped_at=state.stepped_at + steps * STEP)


def rate_of(state: State, limits: Limits) -> float:
    """Messages a minute that the way may take now; 0: as many as come."""
    return min(state.rate, limits.rate) if state.rate and limits.rate else state.rate or limits.rate


def _answered(state: State, limits: Limits, *, took: bool, now: float) -> State:
    """Somebody is there; and one more connection when mail was taken."""
    if state.condition is Condition.DEAD:
        state = replace(_free(state, fresh(limits).allowed), paused_until=now)
    elif state.condition is Condition.SHUT and now >= state.paused_until:
        state = _free(state, fresh(limits).allowed)
    allowed = state.allowed
    if took and state.condition is Condition.FLOWS:
        allowed = min(limits.connections, allowed + 1)
    return replace(state, misses=0, allowed=allowed)


def _slowed(state: State, limits: Limits, reading: Reading, now: float) -> State:
    if now < state.paused_until:
        return state  # what had begun before the last fall says nothing new
    again = state.condition is Condition.SLOWED
    usual = state.usual_rate if again else max(_measured(state, now), _LEAST_RATE)
    falls = state.falls + 1 if again else 1
    until = now + _pause(_SLOW_PAUSES, falls)
    rate = max(_LEAST_RATE, (rate_of(state, limits) or usual) / 2)
    if reading.of_connections and state.allowed > 1:
        rate = state.rate
    return replace(
        state,
        condition=Condition.SLOWED,
        because=reading.because,
        paused_until=until,
        falls=falls,
        allowed=max(1, state.allowed // 2),
        rate=rate,
        usual_rate=usual,
        usual_connections=max(state.allowed, state.usual_connections if again else 0),
        stepped_at=until,
        tokens=min(state.tokens, _capacity(rate)) if again else _capacity(rate),
        refilled_at=until,
    )


def _paused(state: State, condition: Condition, reading: Reading, pauses: tuple[float, float], now: float) -> State:
    if now < state.paused_until and state.condition in (condition, Condition.SHUT):
        return state  # of what had begun before
    falls = state.falls + 1 if state.condition is condition else 1
    return replace(
        state,
        condition=condition,
        because=reading.because,
        paused_until=max(state.paused_until, now + _pause(pauses, falls)),
        falls=falls,
        outcome=_for_all(reading.outcome),
        misses=0,
        rate=0.0,
    )


def _for_all(outcome: Outcome | None) -> Outcome | None:
    """The outcome, if others may be given it unasked: none that ends a delivery, or leaves open whether it was taken."""
    before = isinstance(outcome, Interrupted) and outcome.stage in (Stage.RESOLVE, Stage.CONNECT)
    return outcome if before or isinstance(outcome, Deferred) else None


def _free(state: State, allowed: int) -> State:
    return replace(
        state,
        allowed=allowed,
        condition=Condition.FLOWS,
        because="",
        falls=0,
        outcome=None,
        rate=0.0,
        usual_rate=0.0,
        usual_connections=0,
    )


def _pause(pauses: tuple[float, float], falls: int) -> float:
    first, longest = pauses
    return min(longest, first * math.ldexp(1.0, min(falls - 1, _FAR)))


def _capacity(rate: float) -> float:
    return max(1.0, rate * _BURST / 60)


def _tokens(state: State, rate: float, now: float) -> float:
    return min(_capacity(rate), state.tokens + max(0.0, now - state.refilled_at) * rate / 60)


def _counted(state: State, accepted: int, now: float) -> State:
    if not accepted:
        return state
    if now - state.counted_since > _WINDOW:
        return replace(state, taken_at=now, counted_since=now, counted=accepted)
    return replace(state, taken_at=now, counted=state.counted + accepted)


def _measured(state: State, now: float) -> float:
    """Messages a minute, over the last seconds."""
    since = now - state.counted_since
    return state.counted * 60 / max(_LEAST_SPAN, since) if since <= 2 * _WINDOW else 0.0
