"""Identifiers: one NewType per thing, and the factory that makes them in time order.

An id is a letter for its kind and 20 characters of Crockford's base 32: ten for the milliseconds since 1970, ten random.
Ids made later sort later, to the millisecond; 50 random bits keep two made in the same millisecond apart.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import NewType

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
DropboxId = NewType("DropboxId", str)
OrganisationAddressId = NewType("OrganisationAddressId", str)
QueueId = NewType("QueueId", str)
"""What our 250 says and every log line carries; an arrival's own id."""
MessageId = NewType("MessageId", str)
"""Our id of a stored message; the header field is always written Message-ID."""
DeliveryId = NewType("DeliveryId", str)
UnresolvedId = NewType("UnresolvedId", str)
TokenId = NewType("TokenId", str)
NodeId = NewType("NodeId", str)
SmartHostId = NewType("SmartHostId", str)
WebhookId = NewType("WebhookId", str)
OperationId = NewType("OperationId", str)
"""Somebody's control action on many deliveries (R3)."""
HitId = NewType("HitId", str)
"""A load of a pixel or a followed link, made when it came (O9)."""
NoteId = NewType("NoteId", str)
TaskId = NewType("TaskId", str)
AttachmentId = NewType("AttachmentId", str)
"""A file of a record (I17)."""
EventSeq = NewType("EventSeq", int)
Digest = NewType("Digest", str)
"""SHA-256 of bytes, 64 lower-case hexadecimal digits."""

_RFC4648_LOWER = "abcdefghijklmnopqrstuvwxyz234567"
_DROPBOX_CHARS = 26

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARS = 10
_RANDOM_CHARS = 10


def _base32(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))


class IdFactory:
    """Makes ids; `now` and `random_bits` are given so that tests can repeat themselves."""

    def __init__(self, now: Callable[[], datetime], random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._now = now
        self._random_bits = random_bits

    def _new(self, kind: str) -> str:
        millis = int(self._now().timestamp() * 1000)
        return kind + _base32(millis, _TIME_CHARS) + _base32(self._random_bits(5 * _RANDOM_CHARS), _RANDOM_CHARS)

    def org(self) -> OrgId:
        """A new organisation's id."""
        return OrgId(self._new("O"))

    def user(self) -> UserId:
        """A new user's id."""
        return UserId(self._new("U"))

    def dropbox(self) -> DropboxId:
        """A new dropbox's id; its secret token is another thing."""
        return DropboxId(self._new("B"))

    def organisation_address(self) -> OrganisationAddressId:
        """A new shared address's id (I13)."""
        return OrganisationAddressId(self._new("A"))

    def queue(self) -> QueueId:
        """A new queue id."""
        return QueueId(self._new("Q"))

    def message(self) -> MessageId:
        """A new message's id."""
        return MessageId(self._new("M"))

    def delivery(self) -> DeliveryId:
        """A new delivery's id."""
        return DeliveryId(self._new("D"))

    def unresolved(self) -> UnresolvedId:
        """A new entry of the unresolved list."""
        return UnresolvedId(self._new("X"))

    def token(self) -> TokenId:
        """A new API token's id, which is not its secret."""
        return TokenId(self._new("T"))

    def operation(self) -> OperationId:
        """A new operation's id."""
        return OperationId(self._new("P"))

    def hit(self) -> HitId:
        """The id of a load of a pixel or of a followed link."""
        return HitId(self._new("K"))

    def note(self) -> NoteId:
        """The id of a note on a mail."""
        return NoteId(self._new("N"))

    def task(self) -> TaskId:
        """The id of a follow-up."""
        return TaskId(self._new("F"))

    def attachment(self) -> AttachmentId:
        """The id of a file of a record."""
        return AttachmentId(self._new("E"))

    def smart_host(self) -> SmartHostId:
        """The id of an organisation's own smart host."""
        return SmartHostId(self._new("H"))

    def webhook(self) -> WebhookId:
        """A new webhook's id."""
        return WebhookId(self._new("W"))

    def record(self) -> str:
        """The id of a record that mailrelay itself creates (I6)."""
        return self._new("R")


def first_delivery(at: datetime) -> DeliveryId:
    """What is before every delivery's id that is made at this moment or later, and after those made before."""
    return DeliveryId("D" + _base32(max(0, int(at.timestamp() * 1000)), _TIME_CHARS))


def new_dropbox_token() -> str:
    """A dropbox's secret: 130 random bits as 26 lower-case letters and digits of RFC 4648 base 32 (I1)."""
    return "".join(secrets.choice(_RFC4648_LOWER) for _ in range(_DROPBOX_CHARS))


def new_api_secret() -> str:
    """An API token's secret: `mr_` and 43 URL-safe characters, 256 random bits. It is shown once and not kept."""
    return f"mr_{secrets.token_urlsafe(32)}"


def hash_secret(secret: str) -> str:
    """What is kept of a random secret: SHA-256, 64 lower-case hexadecimal digits. Too weak for what people make up."""
    return hashlib.sha256(secret.encode()).hexdigest()
