"""How much may go each way at once: connections, messages, rate; falls when asked to slow down, and recovers (O11, N12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.model.delivery import Outcome
from mailrelay.model.way import Way


@dataclass(frozen=True, slots=True)
class Go:
    """One connection may be used on the way, for so many messages (a transaction each) before it asks again."""

    messages: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: ask again in so many seconds, or, when `room` is the reason, once a connection of the way ends."""

    seconds: float
    because: str
    room: bool = False


class Shaper:
    """What is known of each way; in memory, for the life of the process. Its times are monotonic."""

    def __init__(self, settings: DeliverySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._open: defaultdict[Way, int] = defaultdict(int)

    def ask(self, way: Way) -> Go | Wait:
        """Whether a chunk of deliveries may start on the way now. After Go, `ended` must be called once."""
        if self._open[way] >= self._settings.connections_per_destination:
            return Wait(1.0, f"all connections to {way} are in use", room=True)
        self._open[way] += 1
        return Go(self._settings.messages_per_connection)

    def ended(self, way: Way, outcomes: Sequence[Outcome]) -> None:
        """A chunk that was let go has ended so; with no outcomes when nobody was asked."""
        self._open[way] -= 1
        if not self._open[way]:
            del self._open[way]
