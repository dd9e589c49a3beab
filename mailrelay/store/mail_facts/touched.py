"""What events change: the mail whose facts are to be made anew."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailrelay.clock import to_micros
from mailrelay.model.event import Event, EventType

_OF_MESSAGES = frozenset({EventType.MESSAGE_FILED, EventType.MESSAGE_LINKED, EventType.MESSAGE_UNLINKED})
_OF_ARRIVALS = frozenset({EventType.ARRIVAL_ENDED, EventType.MESSAGE_HELD})
_OF_RECORDS = frozenset({EventType.RECORD_CREATED, EventType.RECORD_CHANGED, EventType.RECORD_REMOVED})


@dataclass(slots=True)
class Touched:
    """What is to be made anew."""

    messages: set[str] = field(default_factory=set)
    deliveries: dict[str, str] = field(default_factory=dict)
    """Message by delivery."""
    records: set[tuple[str, str, str]] = field(default_factory=set)
    """Message, module, record."""
    unsubscribed: dict[str, int] = field(default_factory=dict)
    readdressed: dict[tuple[str, str], int] = field(default_factory=dict)
    """When records got other addresses, by module and id."""
    arrivals: set[str] = field(default_factory=set)
    """By which mail came, perhaps such as is known and came to somebody else now."""

    def note(self, one: Event) -> None:
        """Take note of what an event changes."""
        if one.type is EventType.ADDRESS_UNSUBSCRIBED and one.delivery:
            self.unsubscribed[one.delivery] = to_micros(one.at)
        if one.type in _OF_ARRIVALS:
            self.arrivals.add(one.queue_id)
        elif one.type in _OF_RECORDS and _other_addresses(one):
            module, _, record = one.record.partition("/")
            self.readdressed[module, record] = to_micros(one.at)
        elif one.delivery and one.message:
            self.deliveries[one.delivery] = one.message
        elif one.message and one.type in _OF_MESSAGES:
            module, slash, record = one.record.partition("/")
            if one.type is not EventType.MESSAGE_FILED and slash:
                self.records.add((one.message, module, record))
            else:
                self.messages.add(one.message)


def _other_addresses(one: Event) -> bool:
    return one.type is not EventType.RECORD_CHANGED or "addresses" in dict(one.data).get("changed", "").split()
