"""How much may go each way at once: connections, messages, rate; falls when asked to slow down, and recovers (O11, N12).

What is known of a way is kept in memory, for the life of the process, of so many ways as anybody writes to; `policy.shaping` decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.model.delivery import Outcome
from mailrelay.model.way import Way
from mailrelay.outbound.policy import providers, shaping, signals
from mailrelay.outbound.policy.shaping import Condition, Go, Limits, State, Wait
from mailrelay.smtp.escape import escape

__all__ = ["Go", "Shaper", "Wait", "WayState"]

_MOST_WAYS = 10_000
_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class WayState:
    """A way as people see it."""

    way: Way
    condition: Condition
    used: int
    """Connections that are open now, or about to be."""
    allowed: int
    """Connections that may be; it changes with what the other side says, up to `connections`."""
    connections: int
    messages: int
    """For each connection."""
    rate: float
    """Messages a minute; 0: no limit."""
    paused_until: datetime | None
    because: str
    """The other side's words, or what went wrong; "" while mail flows."""


class _Known:
    """What is known of one way, how much of it is in use, and what those who use it were let go with."""

    __slots__ = ("granted", "limits", "relayed", "state", "used")

    def __init__(self, limits: Limits, *, relayed: bool) -> None:
        self.limits = limits
        self.relayed = relayed
        self.state = shaping.fresh(limits)
        self.used = 0
        self.granted = 0


class Shaper:
    """What is known of each way. One for the life of the process; not to be used by several threads."""

    def __init__(self, settings: DeliverySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[Way, _Known] = OrderedDict()
        self._given = {one.site: one for one in settings.shaping.sites}
        for condition in Condition:
            metrics.ways.labels(str(condition)).set_function(partial(self._count, condition))

    def ask(self, way: Way) -> Go | Wait:
        """Whether a chunk of deliveries may start on the way now. After Go, `ended` must be called once."""
        known = self._of(way)
        before = known.state
        known.state, answer = shaping.ask(before, known.limits, used=known.used, now=self._clock.monotonic())
        if known.state.condition is not before.condition:
            self._tell(way, known, before)
        if isinstance(answer, Go):
            known.used += 1
            known.granted += answer.messages
        return answer

    def ended(self, way: Way, outcomes: Sequence[Outcome]) -> None:
        """A chunk that was let go has ended so; with no outcomes when nobody was asked."""
        known = self._of(way)
        # Which of those under way has ended does not matter for what they have left together.
        granted = known.granted // known.used if known.used > 1 else known.granted
        known.used = max(0, known.used - 1)
        known.granted = max(0, known.granted - granted)
        before = known.state
        known.state = shaping.after(
            before,
            known.limits,
            signals.read(outcomes, relayed=known.relayed),
            unused=granted - len(outcomes),
            now=self._clock.monotonic(),
        )
        if known.state.condition is not before.condition or known.state.falls > before.falls:
            self._tell(way, known, before)

    def met(self, way: Way) -> Outcome | None:
        """What an attempt would meet with now, on a way that is dead or shut and paused; None when one may be made, or must."""
        known = self._known.get(way)
        if known is None or self._clock.monotonic() >= known.state.paused_until:
            return None
        return known.state.outcome

    def state(self) -> Sequence[WayState]:
        """All ways that anything is known of, by site."""
        return [self._shown(way, known) for way, known in sorted(self._known.items(), key=lambda item: item[0])]

    def of(self, way: Way) -> WayState:
        """One way, as it would be met now; also one that nothing is known of yet."""
        known = self._known.get(way)
        return self._shown(way, known if known is not None else self._new(way))

    def _of(self, way: Way) -> _Known:
        known = self._known.get(way)
        if known is None:
            known = self._known[way] = self._new(way)
            if len(self._known) > _MOST_WAYS:
                idle = next((one for one, each in self._known.items() if not each.used), None)
                if idle is not None:
                    del self._known[idle]
        else:
            self._known.move_to_end(way)
        return known

    def _new(self, way: Way) -> _Known:
        return _Known(self._limits(way.site), relayed=way.relay)

    def _limits(self, site: str) -> Limits:
        shaping_ = self._settings.shaping
        connections, messages = self._settings.connections_per_destination, self._settings.messages_per_connection
        if shaping_.providers and site in providers.CONNECTIONS:
            connections, most = providers.CONNECTIONS[site]
            messages = min(messages, most)
        given = self._given.get(site)
        rate = shaping_.rate
        if given is not None:
            connections = given.connections or connections
            messages = given.messages_per_connection or messages
            rate = given.rate if given.rate is not None else rate
        return Limits(connections=connections, messages=messages, rate=rate, start=shaping_.start)

    def _shown(self, way: Way, known: _Known) -> WayState:
        now = self._clock.monotonic()
        state = shaping.recovered(known.state, known.limits, now=now)
        pause = state.paused_until - now
        return WayState(
            way=way,
            condition=state.condition,
            used=known.used,
            allowed=1 if state.probing else min(state.allowed, known.limits.connections),
            connections=known.limits.connections,
            messages=known.limits.messages,
            rate=shaping.rate_of(state, known.limits),
            paused_until=self._clock.now() + timedelta(seconds=pause) if pause > 0 else None,
            because=escape(state.because),
        )

    def _count(self, condition: Condition) -> float:
        return sum(known.state.condition is condition for known in self._known.values())

    def _tell(self, way: Way, known: _Known, before: State) -> None:
        state = known.state
        context = {"site": way.site, "source": way.source, "smart_host": way.smart_host}
        if state.condition is Condition.FLOWS:
            _logger.info("way.recovered", **context, was=str(before.condition))
            return
        shown = self._shown(way, known)
        seconds = round(max(0.0, state.paused_until - self._clock.monotonic()))
        metrics.way_pauses.labels(str(state.condition)).inc()
        if state.condition is Condition.SLOWED:
            _logger.warning(
                "way.slowed",
                **context,
                because=shown.because,
                seconds=seconds,
                connections=shown.allowed,
                rate=round(shown.rate),
            )
            return
        say = _logger.error if state.condition is Condition.SHUT else _logger.info
        say("way.paused", **context, because=shown.because, seconds=seconds, condition=str(state.condition))
