"""The fields that keep an answer in its thread: RFC 5322 §3.6.4."""

from __future__ import annotations

from mailrelay.model.message import Message

_MOST = 50


def references(answered: Message) -> tuple[str, ...]:
    """The References of an answer, oldest first, without brackets: what the mail itself refers to, and the mail.

    A thread that is very long keeps its newest.
    """
    before = [name for name in reversed(answered.parents) if name != answered.message_id]
    return (*before[-_MOST:], *([answered.message_id] if answered.message_id else []))
