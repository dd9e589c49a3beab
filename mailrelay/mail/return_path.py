"""Our signed return path: one MAIL FROM for each delivery, so that what comes back says which (I10).

`b+OPAQUE.HMAC@domain`: OPAQUE is the delivery id without its letter and the day of issue, HMAC the first 80 bits of a
SHA-256 HMAC over it. All of it is Crockford's base 32, which survives a change of case; 42 octets, of 64 (RFC 5321
§4.5.3.1.1).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice

from mailrelay.ids import DeliveryId
from mailrelay.model.address import Address

LIFETIME = timedelta(days=60)
"""How long after its issue a return path is still counted: five days of ours, and the weeks that some queues take."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_CHARS, _DAY_CHARS, _HMAC_CHARS = 20, 3, 16
_FIRST_DAY = date(2025, 1, 1).toordinal()
_READ = str.maketrans("ilo", "110")  # Crockford: what people read for 1 and 0
_PURPOSE = b"mailrelay return path 1\0"
_TOKEN = rf"([0-9a-z]{{{_ID_CHARS + _DAY_CHARS}}})\.([0-9a-z]{{{_HMAC_CHARS}}})"
_SHAPE = re.compile(rf"(?:b?[+=_-]|b)?{_TOKEN}")
_ANYWHERE = re.compile(rf"(?<![0-9a-z])b?{_TOKEN}(?![0-9a-z])", re.ASCII)
_MOST = 5


@dataclass(frozen=True, slots=True)
class ReturnPathToken:
    """What a return path of ours says."""

    delivery: DeliveryId
    issued: date


class NoReturnPath(StrEnum):
    """Why an address is not counted as one of our return paths."""

    UNSIGNED = "unsigned"  # not of our form: backscatter, or a person's mail
    FORGED = "forged"
    EXPIRED = "expired"


def make(delivery: DeliveryId, secret: bytes, domain: str, *, now: datetime) -> Address:
    """The return path of `delivery`, issued on the UTC day of `now`; `domain` in A-labels. The same for the same day."""
    return Address(f"b+{token(delivery, secret, now=now)}", domain)


def token(delivery: DeliveryId, secret: bytes, *, now: datetime) -> str:
    """What names `delivery` in its return path, its ENVID (RFC 3461 §4.4) and its own header field: `OPAQUE.HMAC`."""
    day = now.astimezone(UTC).date().toordinal() - _FIRST_DAY
    opaque = delivery[1:].lower() + _base32(day, _DAY_CHARS)
    return f"{opaque}.{_mac(opaque, secret)}"


def read(local: str, secrets: Sequence[bytes], *, now: datetime) -> ReturnPathToken | NoReturnPath:
    """What a local part says when one of `secrets` signed it, newest first or not; else why not. Never raises (B01).

    Either case is read, and `b+` may be missing or written otherwise: some remotes rewrite the address.
    """
    match = _SHAPE.fullmatch(local.lower()) if local.isascii() else None
    return NoReturnPath.UNSIGNED if match is None else _judged(match, secrets, now)


def find(text: str, secrets: Sequence[bytes], *, now: datetime) -> ReturnPathToken | NoReturnPath:
    """As `read`, of a token that stands anywhere in `text`: forwarders wrap a return path in their own (SRS, BATV)."""
    found: ReturnPathToken | NoReturnPath = NoReturnPath.UNSIGNED
    for match in islice(_ANYWHERE.finditer(text.lower()), _MOST):
        found = _judged(match, secrets, now)
        if isinstance(found, ReturnPathToken):
            break
    return found


def _judged(match: re.Match[str], secrets: Sequence[bytes], now: datetime) -> ReturnPathToken | NoReturnPath:
    opaque, mac = (part.translate(_READ) for part in match.groups())
    fits = [hmac.compare_digest(mac, _mac(opaque, secret)) for secret in secrets]  # all, so that time tells nothing
    if not any(fits):
        return NoReturnPath.FORGED
    issued = date.fromordinal(_FIRST_DAY + _number(opaque[_ID_CHARS:]))
    age = now.astimezone(UTC).date() - issued
    # A day ahead is another node's clock; more is a clock that was wrong.
    if not timedelta(days=-1) <= age <= LIFETIME:
        return NoReturnPath.EXPIRED
    return ReturnPathToken(DeliveryId("D" + opaque[:_ID_CHARS].upper()), issued)


def _mac(opaque: str, secret: bytes) -> str:
    digest = hmac.digest(secret, _PURPOSE + opaque.encode("ascii"), hashlib.sha256)
    return _base32(int.from_bytes(digest[: _HMAC_CHARS * 5 // 8]), _HMAC_CHARS)


def _base32(number: int, chars: int) -> str:
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(chars)))


def _number(text: str) -> int:
    number = 0
    for char in text:
        number = number * 32 + _ALPHABET.index(char)
    return number
