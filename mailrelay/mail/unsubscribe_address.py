"""The address that a mail to unsubscribes from: one for each delivery, signed by us, so that whoever sends it says nothing else (O15, T09).

`u-OPAQUE.HMAC@domain`: OPAQUE is the delivery id without its letter, HMAC the first 130 bits of a SHA-256 HMAC over it. All of it is
Crockford's base 32, which survives a change of case; 49 octets, of 64 (RFC 5321 §4.5.3.1.1). It does not end: what somebody kept for
years still holds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from mailrelay.ids import DeliveryId
from mailrelay.model.address import Address

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_CHARS, _HMAC_CHARS = 20, 26
_HMAC_BYTES = 17
_SPARE_BITS = 8 * _HMAC_BYTES - 5 * _HMAC_CHARS
_READ = str.maketrans("ilo", "110")  # Crockford: what people read for 1 and 0
_PURPOSE = b"mailrelay unsubscribe 1\0"
_SHAPE = re.compile(rf"u[-+=_]([0-9a-z]{{{_ID_CHARS}}})\.([0-9a-z]{{{_HMAC_CHARS}}})", re.ASCII)


def make(delivery: DeliveryId, secret: bytes, domain: str) -> Address:
    """The address of `delivery`; `domain` in A-labels. Always the same."""
    opaque = delivery[1:].lower()
    return Address(f"u-{opaque}.{_mac(opaque, secret)}", domain)


def read(local: str, secrets: Sequence[bytes]) -> DeliveryId | None:
    """The delivery that a local part names, when one of `secrets` signed it; None for anything else. Never raises.

    Either case is read, and the `-` may be written otherwise: some remotes rewrite addresses.
    """
    match = _SHAPE.fullmatch(local.lower()) if local.isascii() else None
    if match is None:
        return None
    opaque, mac = (part.translate(_READ) for part in match.groups())
    fits = [hmac.compare_digest(mac, _mac(opaque, secret)) for secret in secrets]  # all, so that time tells nothing
    return DeliveryId("D" + opaque.upper()) if any(fits) else None


def _mac(opaque: str, secret: bytes) -> str:
    digest = hmac.digest(secret, _PURPOSE + opaque.encode("ascii"), hashlib.sha256)
    number = int.from_bytes(digest[:_HMAC_BYTES]) >> _SPARE_BITS
    return "".join(_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_HMAC_CHARS)))
