"""What a webhook is sent: small, and always the same for the same event."""

from __future__ import annotations

import json
from datetime import datetime

from mailrelay.model.event import Event

TEST = "webhook.test"
"""Type of what is sent to try a webhook out; there is no such event."""


def of_event(event: Event) -> bytes:
    """The event as `GET /api/v1/events` shows it, under `data`."""
    shown = {
        "seq": event.seq,
        "at": _time(event.at),
        "type": str(event.type),
        "queue_id": event.queue_id,
        "message": event.message,
        "delivery": event.delivery,
        "user": event.user,
        "record": event.record,
        "data": dict(event.data),
    }
    return _body(str(event.type), event.at, shown)


def of_test(webhook: str, at: datetime) -> bytes:
    """A request of no consequence."""
    return _body(TEST, at, {"webhook": webhook, "message": "This is a test; nothing happened."})


def _body(type_: str, at: datetime, data: dict[str, object]) -> bytes:
    whole = {"type": type_, "timestamp": _time(at), "data": data}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _time(at: datetime) -> str:
    # As the API writes times: a Z for UTC.
    return at.isoformat().replace("+00:00", "Z")
