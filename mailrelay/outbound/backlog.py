"""What was claimed and waits for a connection on its way, and what was left in the queue because that was enough (O11, N14)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailrelay.model.delivery import Delivery
from mailrelay.model.way import Way

ROOM = 50
"""Deliveries that may wait here for one way; more would keep others from being claimed."""
_MOST_NAMES = 1_000
_SHORTEST_ASIDE = 2.0
_LONGEST_ASIDE = 30.0
_LOOKED_AT = 100.0  # deliveries a second


@dataclass
class _Line:
    waiting: deque[Delivery] = field(default_factory=deque)
    outside: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """Destinations that have more in the queue, and how much at least; those that wait longest first."""
    not_before: float = 0.0


class Backlog:
    """The lines before the ways. Each is short, so that memory is bounded and no way takes all that may be claimed."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Way, _Line] = OrderedDict()
        self._aside: OrderedDict[Way, tuple[float, int]] = OrderedDict()
        """Since when, and how many, were left in the queue lately."""

    def __contains__(self, way: object) -> bool:
        """Whether something waits for the way."""
        line = self._lines.get(way) if isinstance(way, Way) else None
        return line is not None and bool(line.waiting)

    def put(self, way: Way, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """Have these wait for the way; returns those for which there is no room."""
        line = self._lines.setdefault(way, _Line())
        room = max(0, ROOM - len(line.waiting))
        line.waiting.extend(claimed[:room])
        return claimed[room:]

    def note(self, way: Way, names: Mapping[str, int]) -> bool:
        """These destinations have so much more for the way; False when too many are noted already: those must be looked for."""
        line = self._lines.setdefault(way, _Line())
        for name, number in names.items():
            if name not in line.outside and len(line.outside) >= _MOST_NAMES:
                return False
            line.outside[name] = max(number, line.outside.get(name, 0))
        return True

    def ready(self, now: float) -> Sequence[Way]:
        """The ways that something waits for and that are not paused, each time in another order."""
        found = [way for way, line in self._lines.items() if line.waiting and line.not_before <= now]
        if found:
            self._lines.move_to_end(found[0])
        return found

    def take(self, way: Way, most: int) -> list[Delivery]:
        """The next chunk for a way: for one destination, but for a relay, which takes mail for all; of one mail beside each other."""
        line = self._lines[way]
        name = line.waiting[0].address.domain
        chunk: list[Delivery] = []
        left: deque[Delivery] = deque()
        for one in line.waiting:
            fits = len(chunk) < most and (way.relay or one.address.domain == name)
            (chunk if fits else left).append(one)
        line.waiting = left
        self._drop_if_empty(way)
        groups: OrderedDict[str, list[Delivery]] = OrderedDict()
        for one in chunk:
            groups.setdefault(one.queue_id, []).append(one)
        return [one for group in groups.values() for one in group]

    def empty(self, way: Way, *, outside: bool = False) -> list[Delivery]:
        """Take all that waits for a way; with `outside`, who has more for it is forgotten too, and waits in the queue."""
        line = self._lines.get(way)
        if line is None:
            return []
        taken, line.waiting = list(line.waiting), deque()
        if outside:
            line.outside.clear()
        self._drop_if_empty(way)
        return taken

    def pause(self, way: Way, until: float) -> None:
        """Let nothing go on a way before that monotonic time."""
        if way in self._lines:
            self._lines[way].not_before = until

    def hungry(self, most: int) -> Sequence[str]:
        """Destinations that have more for ways whose lines have become short, for about `most` deliveries; they are forgotten here."""
        names: list[str] = []
        for way in list(self._lines):
            line = self._lines[way]
            if len(line.waiting) > ROOM // 2 or most <= 0:
                continue
            # Enough at once that the line is full again, and not so much that it overflows.
            want = min(most, ROOM - len(line.waiting))
            while line.outside and want > 0:
                name, number = line.outside.popitem(last=False)
                names.append(name)
                want -= number
                most -= number
            self._drop_if_empty(way)
        return names

    def aside(self, way: Way, number: int, now: float) -> float:
        """Seconds for which so many deliveries stay in the queue for which the way has no room: longer, the more there are of them.

        So nobody takes and gives back the same ones all the time, and a way that is fast again has not long to wait for them.
        """
        began, before = self._aside.pop(way, (now, 0))
        if now - began >= _LONGEST_ASIDE:
            began, before = now, 0
        self._aside[way] = (began, before + number)
        if len(self._aside) > _MOST_NAMES:
            self._aside.popitem(last=False)
        return min(_LONGEST_ASIDE, max(_SHORTEST_ASIDE, (before + number) / _LOOKED_AT))

    def next_start(self, now: float) -> float | None:
        """The monotonic time, after `now`, at which the first of the paused ways may go on; None when none is paused."""
        return min(
            (line.not_before for line in self._lines.values() if line.waiting and line.not_before > now), default=None
        )

    def clear(self) -> list[Delivery]:
        """Take all."""
        taken = [one for line in self._lines.values() for one in line.waiting]
        self._lines.clear()
        return taken

    def _drop_if_empty(self, way: Way) -> None:
        line = self._lines[way]
        if not line.waiting and not line.outside:
            del self._lines[way]
