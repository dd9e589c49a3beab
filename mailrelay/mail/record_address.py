"""The signed address of one record: what is sent to it is filed there, and RCPT needs no look-up to know it (I21, S21).

`r-OPAQUE.HMAC@domain`: OPAQUE is the organisation's id without its letter, the number of the address within the organisation and
the last day that it is valid on, HMAC the first 100 bits of a SHA-256 HMAC over it. All of it is Crockford's base 32, which survives
a change of case; 52 octets, of 64 (RFC 5321 §4.5.3.1.1).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from mailrelay.ids import OrgId
from mailrelay.model.address import Address

PREFIX = "r-"
MOST = 32**6 - 1
"""The highest number that an address can have."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ORG_CHARS, _NUMBER_CHARS, _DAY_CHARS, _HMAC_CHARS = 20, 6, 3, 20
_FIRST_DAY = date(2025, 1, 1).toordinal()
_LAST_DAY = 32**_DAY_CHARS - 1
_READ = str.maketrans("ilo", "110")  # Crockford: what people read for 1 and 0
_PURPOSE = b"mailrelay record address 1\0"
_OPAQUE_CHARS = _ORG_CHARS + _NUMBER_CHARS + _DAY_CHARS
_SHAPE = re.compile(rf"r-([0-9a-z]{{{_OPAQUE_CHARS}}})\.([0-9a-z]{{{_HMAC_CHARS}}})", re.ASCII)
_ORG = re.compile(rf"O[{_ALPHABET.upper()}]{{{_ORG_CHARS}}}")


@dataclass(frozen=True, slots=True)
class RecordAddressToken:
    """What a record address says. `last_day` is a day in UTC, None without an end."""

    org: OrgId
    number: int
    last_day: date | None

    @property
    def until(self) -> datetime | None:
        """The moment from which it is over: the end of its last day."""
        return None if self.last_day is None else end_of(self.last_day)


def end_of(last_day: date) -> datetime:
    """The moment from which an address is over that is valid on this day, in UTC, and not on the next."""
    return datetime.combine(last_day + timedelta(days=1), time(), UTC)


def latest_day() -> date:
    """The last day that can be said; it is some ninety years away."""
    return date.fromordinal(_FIRST_DAY + _LAST_DAY)


def make(token: RecordAddressToken, secret: bytes, domain: str) -> Address:
    """The address of a record; `domain` in A-labels.

    Raises ValueError for a number or a day that do not fit, and for an organisation's id that is not of our form.
    """
    if not _ORG.fullmatch(token.org) or not 0 <= token.number <= MOST:
        raise ValueError(f"no address can be made for {token.org}, {token.number}")
    # Nought is no end, so that a day counts from one.
    day = 0 if token.last_day is None else token.last_day.toordinal() - _FIRST_DAY
    if token.last_day is not None and not 1 <= day <= _LAST_DAY:
        raise ValueError(f"{token.last_day} is before {date.fromordinal(_FIRST_DAY + 1)} or after {latest_day()}")
    opaque = token.org[1:].lower() + _base32(token.number, _NUMBER_CHARS) + _base32(day, _DAY_CHARS)
    return Address(f"{PREFIX}{opaque}.{_mac(opaque, secret)}", domain)


def read(local: str, secrets: Sequence[bytes]) -> RecordAddressToken | None:
    """What a local part says when one of `secrets` signed it, in either case; None for anything else. Never raises."""
    match = _SHAPE.fullmatch(local.lower()) if local.isascii() else None
    if match is None:
        return None
    opaque, mac = (part.translate(_READ) for part in match.groups())
    fits = [hmac.compare_digest(mac, _mac(opaque, secret)) for secret in secrets]  # all, so that time tells nothing
    if not any(fits):
        return None
    org, number, day = opaque[:_ORG_CHARS], opaque[_ORG_CHARS:-_DAY_CHARS], _number(opaque[-_DAY_CHARS:])
    return RecordAddressToken(
        org=OrgId("O" + org.upper()),
        number=_number(number),
        last_day=date.fromordinal(_FIRST_DAY + day) if day else None,
    )


def _mac(opaque: str, secret: bytes) -> str:
    digest = hmac.digest(secret, _PURPOSE + opaque.encode("ascii"), hashlib.sha256)
    bits = _HMAC_CHARS * 5
    return _base32(int.from_bytes(digest) >> (len(digest) * 8 - bits), _HMAC_CHARS)


def _base32(number: int, chars: int) -> str:
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(chars)))


def _number(text: str) -> int:
    number = 0
    for char in text:
        number = number * 32 + _ALPHABET.index(char)
    return number
