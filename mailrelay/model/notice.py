"""Notices to a user: what happened to their mail that they want to hear of at once (I19). Each is an event that names the user."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from mailrelay.ids import EventSeq, MessageId, UserId
from mailrelay.model.address import Address
from mailrelay.model.event import EventType
from mailrelay.model.message import Message
from mailrelay.model.record import RecordRef


class NoticeKind(StrEnum):
    """What a user may hear of."""

    WROTE = "wrote"  # somebody outside wrote to the user, to a record of theirs or to their dropbox
    REPLIED = "replied"  # a person answered the user's mail
    OPENED = "opened"  # a person opened it, for the first time
    CLICKED = "clicked"  # a person followed a link in it, for the first time
    BOUNCED = "bounced"  # it came back, or could not be sent


TYPES: Mapping[NoticeKind, frozenset[EventType]] = MappingProxyType(
    {
        NoticeKind.WROTE: frozenset({EventType.MESSAGE_RECEIVED}),
        NoticeKind.REPLIED: frozenset({EventType.MESSAGE_REPLIED}),
        NoticeKind.OPENED: frozenset({EventType.DELIVERY_OPENED}),
        NoticeKind.CLICKED: frozenset({EventType.DELIVERY_CLICKED}),
        NoticeKind.BOUNCED: frozenset(
            {EventType.DELIVERY_BOUNCED, EventType.DELIVERY_EXPIRED, EventType.DELIVERY_FAILED}
        ),
    }
)
"""The events that are notices, where they name a user."""

_KINDS = {type_: kind for kind, types in TYPES.items() for type_ in types}


def kind_of(type_: EventType) -> NoticeKind:
    """The kind of notice that an event is. Raises KeyError for one that is none."""
    return _KINDS[type_]


def types_of(kinds: Collection[NoticeKind]) -> frozenset[EventType]:
    """The events that a user who wants these kinds hears of."""
    return frozenset(type_ for kind in kinds for type_ in TYPES[kind])


class Why(StrEnum):
    """Why a mail from outside is a user's to hear of; the first that holds."""

    DROPBOX = "dropbox"  # it came to their dropbox
    RECIPIENT = "recipient"  # it names them
    RECORD = "record"  # it was filed to a record that they own


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNotice:
    """One notice, with what its reader needs to act on it."""

    seq: EventSeq
    at: datetime
    kind: NoticeKind
    user: UserId
    message: MessageId
    """The mail to act on: what came, else what was sent."""
    delivery: str
    who: Address | None
    """Who wrote, opened, clicked; or who was not reached."""
    name: str
    subject: str
    sentence: str
    records: tuple[RecordRef, ...]
    read: bool
    mail: Message
    data: tuple[tuple[str, str], ...]


def sentence(kind: NoticeKind, *, who: str, subject: str, data: Mapping[str, str]) -> str:
    """What happened, in one sentence on one line."""
    mail = f"“{subject}”" if subject else "a mail without a subject"
    match kind:
        case NoticeKind.WROTE:
            said = f"{who} wrote to you: {mail}"
            if data.get("why") == Why.RECORD:
                said = f"{who} wrote: {mail}, which stands on a record of yours"
        case NoticeKind.REPLIED:
            said = f"{who} replied: {mail}"
        case NoticeKind.OPENED:
            said = f"{who} opened {mail}"
        case NoticeKind.CLICKED:
            said = f"{who} followed a link in {mail}"
            if data.get("url"):
                said += f": {data['url']}"
        case NoticeKind.BOUNCED:
            said = f"{mail} did not reach {who}"
            if because := data.get("said") or data.get("reply"):
                said += f": {because}"
    return one_line(said)


def one_line(text: str) -> str:
    """Text of strangers on one line, without control and direction characters."""
    return "".join(char if char.isprintable() else " " for char in text)
