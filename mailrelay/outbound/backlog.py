"""What was claimed and waits for a connection on its way, and what was left in the queue because that was enough (O11, N14)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailrelay.model.delivery import Delivery
from mailrelay.model.way import Way

ROOM = 50
"""Deliveries that may wait here for one way; more would keep others from being claimed."""
_MOST_NAMES = 1_000


@dataclass
class _Line:
    waiting: deque[Delivery] = field(default_factory=deque)
    outside: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Destinations that have more in the queue, those that wait longest first."""
    not_before: float = 0.0


class Backlog:
    """The lines before the ways. Each is short, so that memory is bounded and no way takes all that may be claimed."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Way, _Line] = OrderedDict()

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

    def note(self, way: Way, names: Iterable[str]) -> bool:
        """These destinations have more for the way; False when too many are noted already, so that they must be looked for."""
        line = self._lines.setdefault(way, _Line())
        for name in names:
            if name not in line.outside and len(line.outside) >= _MOST_NAMES:
                return False
            line.outside[name] = None
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

    def empty(self, way: Way) -> list[Delivery]:
        """Take all that waits for a way."""
        line = self._lines.get(way)
        if line is None:
            return []
        taken, line.waiting = list(line.waiting), deque()
        self._drop_if_empty(way)
        return taken

    def pause(self, way: Way, until: float) -> None:
        """Let nothing go on a way before that monotonic time."""
        if way in self._lines:
            self._lines[way].not_before = until

    def hungry(self, most: int) -> Sequence[str]:
        """Destinations that have more for ways whose lines have become short; they are forgotten here."""
        names: list[str] = []
        for way in list(self._lines):
            line = self._lines[way]
            # Enough at once that the line is full again, and not so much that it overflows.
            want = min(most - len(names), (ROOM // 2 - len(line.waiting)) // 5)
            while line.outside and want > 0:
                names.append(line.outside.popitem(last=False)[0])
                want -= 1
            self._drop_if_empty(way)
        return names

    def next_start(self) -> float | None:
        """The monotonic time at which the first of the paused ways may go on; None when none is paused."""
        return min((line.not_before for line in self._lines.values() if line.waiting and line.not_before), default=None)

    def clear(self) -> list[Delivery]:
        """Take all."""
        taken = [one for line in self._lines.values() for one in line.waiting]
        self._lines.clear()
        return taken

    def _drop_if_empty(self, way: Way) -> None:
        line = self._lines[way]
        if not line.waiting and not line.outside:
            del self._lines[way]
