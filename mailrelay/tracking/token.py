"""Signed tokens in pixel, link and unsubscribe URLs: what they say needs no database, and nobody else can make one (O9, T01, T03).

base64url of: key id (2 octets), kind and flags (1), the delivery's id (13), link number (2), length and text of the list, the target
(deflated where that is shorter), then 128 bits of HMAC-SHA256 over all of it and the host that it is for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailrelay.errors import Invalid
from mailrelay.ids import DeliveryId
from mailrelay.tracking.target import MAX_TARGET, target_host

MAX_LINK = 65_535
MAX_LIST = 255
"""Bytes of UTF-8."""
LONGEST = 4_096
"""Characters that a token may have at most; what is longer is none."""

_INFO = b"mailrelay tracking tokens 1"
_PURPOSE = b"mailrelay tracking 1\0"
_KEY_BYTES, _ID_BYTES = 32, 2
_MAC_BYTES = 16
_BLOCK = 64
"""Octets of a block of SHA-256, which keys are shorter than."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGIT = {char: value for value, char in enumerate(_ALPHABET)}
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(90, -1, -10)
"""Two of the 20 digits of an id at a time: it is read at every hit."""
_DELIVERY_CHARS, _DELIVERY_BYTES = 20, 13
_HEAD = _ID_BYTES + 1 + _DELIVERY_BYTES + 2 + 1
_DEFLATED = 0x80
_WORTH_DEFLATING = 120
"""Bytes of a target from which on deflate, which costs more than the signature, mostly makes it shorter."""
_URL_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# RFC 4648 §5; what is not of that alphabet becomes what is of none.
_STANDARD = bytes(octet if octet in _URL_SAFE else 0 for octet in range(256)).translate(bytes.maketrans(b"-_", b"+/"))
_PADDING = (b"", b"", b"==", b"=")
_LAST = (b"", b"", _URL_SAFE[::16], _URL_SAFE[::4])
"""RFC 4648 §3.5: the bits of the last character that stand for nothing are nought, so that a token is written in one way only."""
_USUAL_HOST = 100
"""Characters up to which a host is remembered: most hits are of a few."""


class Kind(IntEnum):
    """What a URL is for."""

    OPEN = 1  # the pixel
    CLICK = 2
    UNSUBSCRIBE = 3
    DECOY = 4  # a hidden link, which people do not see: who follows it is a machine


_KINDS = {int(kind): kind for kind in Kind}


class Token(NamedTuple):
    """What a token says. `link` is the link's number in its mail from 1, 0 for none; `target` where a click leads; `list` a
    mailing list's name (O15); each "" where it does not apply.
    """

    kind: Kind
    delivery: DeliveryId
    link: int = 0
    target: str = ""
    list: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key and the id by which a token names it."""

    id: bytes
    secret: bytes = field(repr=False)


class _Mac:
    """HMAC-SHA256 under one key (RFC 2104 §4: the first block of either hash is done once).

    A third of the time of `hmac.digest`; and that lets other threads run meanwhile, for whom the endpoint would then wait.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = secret.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in block))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in block))

    def of(self, *parts: bytes) -> bytes:
        """The signature of the parts, one behind the other."""
        inner, outer = self._inner.copy(), self._outer.copy()
        for part in parts:
            inner.update(part)
        outer.update(inner.digest())
        return outer.digest()[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class Keys:
    """The key that signs, and others whose tokens are still good. A key that is left out is withdrawn: its tokens are nothing."""

    current: Key
    others: tuple[Key, ...] = ()
    macs: Mapping[bytes, _Mac] = field(init=False, repr=False, compare=False)
    """By the id that tokens name."""

    def __post_init__(self) -> None:
        by_id = {key.id: _Mac(key.secret) for key in (*reversed(self.others), self.current)}
        object.__setattr__(self, "macs", by_id)

    def __reduce__(self) -> tuple[type[Keys], tuple[Key, tuple[Key, ...]]]:
        """For a process of its own (Q03): what is made of the keys is made there anew, since a hash cannot go there."""
        return Keys, (self.current, self.others)

    @classmethod
    def derive(cls, secret: bytes, former: Sequence[bytes] = ()) -> Keys:
        """The keys of an installation with this secret, and of those that it had before."""
        return cls(_key(secret), tuple(_key(one) for one in former))


_NO_KEY = _Mac(bytes(_KEY_BYTES))


def _key(secret: bytes) -> Key:
    # RFC 5869: one key for one purpose, whatever else the secret is used for.
    both = HKDF(algorithm=SHA256(), length=_KEY_BYTES + _ID_BYTES, salt=None, info=_INFO).derive(secret)
    return Key(both[_KEY_BYTES:], both[:_KEY_BYTES])


def make(token: Token, keys: Keys, host: str) -> str:
    """The token as it stands in a URL of `host` (a name, any case; a port does not count).

    Raises Invalid for a click to a target that may not be redirected to (T02), a link number or list beyond its bounds, and a
    delivery's id that is none.
    """
    if token.kind is Kind.CLICK and target_host(token.target) is None:
        raise Invalid("target", "is not a link that may be redirected to")
    return Maker(keys, host, token.delivery).make(token.kind, link=token.link, target=token.target, list_=token.list)


class Maker:
    """Makes the tokens of one delivery: as `make`, for targets that were checked already."""

    __slots__ = ("_delivery", "_key", "_prefix")

    def __init__(self, keys: Keys, host: str, delivery: DeliveryId) -> None:
        """Raises Invalid for a delivery's id that is none."""
        self._key = keys.current
        self._prefix = _over(host)
        self._delivery = _packed(delivery)

    def make(self, kind: Kind, *, link: int = 0, target: str = "", list_: str = "") -> str:
        """The token. Raises Invalid as `make`, but for the target."""
        named, data, flags = list_.encode("utf-8"), target.encode("utf-8"), 0
        if not 0 <= link <= MAX_LINK or len(named) > MAX_LIST or len(data) > MAX_TARGET:
            raise Invalid("token", "a link number, list or target is beyond its bounds")
        if len(data) >= _WORTH_DEFLATING:
            deflater = zlib.compressobj(6, zlib.DEFLATED, -12, 5)
            short = deflater.compress(data) + deflater.flush()
            if len(short) < len(data):
                data, flags = short, _DEFLATED
        signed = b"".join(
            (self._key.id, bytes((kind | flags,)), self._delivery, link.to_bytes(2), bytes((len(named),)), named, data)
        )
        mac = hmac.digest(self._key.secret, self._prefix + signed, hashlib.sha256)[:_MAC_BYTES]
        return base64.urlsafe_b64encode(signed + mac).rstrip(b"=").decode("ascii")


def read(text: str, keys: Keys, host: str) -> Token | None:
    """What a token of `host` says; None when we did not make it for this host, with a key that still counts. Never raises.

    Whatever is wrong, one signature is made and compared in constant time (T03). The target of a click is checked again (T02).
    """
    raw = _decoded(text)
    mac_of = keys.macs.get(raw[:_ID_BYTES])
    signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    expected = (_NO_KEY if mac_of is None else mac_of).of(_over(host), signed)
    same = hmac.compare_digest(mac, expected)
    if mac_of is None or not same or len(signed) < _HEAD:
        return None
    return _said(signed)


def host_of(url: str) -> str:
    """The host of a base URL or of a Host field, as tokens are made for it: lower-case, without port and final dot."""
    host = url.rpartition("://")[2].partition("/")[0].lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and (not name.startswith("[") or name.endswith("]")):
        host = name
    return host.removesuffix(".")


def _over(host: str) -> bytes:
    return _known_over(host) if len(host) <= _USUAL_HOST else _any_over(host)


def _any_over(host: str) -> bytes:
    name = host_of(host).encode("utf-8", "replace")
    return _PURPOSE + len(name).to_bytes(4) + name


_known_over = lru_cache(maxsize=1024)(_any_over)


def _decoded(text: str) -> bytes:
    """The octets; b"" when it is not the one way in which we would write them."""
    if not 0 < len(text) <= LONGEST or not text.isascii():
        return b""
    octets, over = text.encode("ascii"), len(text) & 3
    if over and octets[-1] not in _LAST[over]:
        return b""
    try:
        return binascii.a2b_base64(octets.translate(_STANDARD) + _PADDING[over], strict_mode=True)
    except ValueError:
        return b""


def _said(signed: bytes) -> Token | None:
    """What is in octets that we signed; None for what this version does not know, or would not redirect to any more."""
    at = _ID_BYTES
    flags, at = signed[at], at + 1
    delivery, at = _unpacked(signed[at : at + _DELIVERY_BYTES]), at + _DELIVERY_BYTES
    link, at = int.from_bytes(signed[at : at + 2]), at + 2
    size, at = signed[at], at + 1
    named, data = signed[at : at + size], signed[at + size :]
    try:
        kind = _KINDS[flags & ~_DEFLATED]
        if flags & _DEFLATED:
            data = zlib.decompressobj(-15).decompress(data, MAX_TARGET + 1)
        token = Token(kind, delivery, link, data.decode("utf-8"), named.decode("utf-8"))
    except (KeyError, ValueError, zlib.error):
        return None
    return token if kind is not Kind.CLICK or _may_be_target(token.target) else None


@lru_cache(maxsize=1024)
def _may_be_target(target: str) -> bool:
    """Remembered, since one link stands in many mails; only what we signed comes here."""
    return target_host(target) is not None


def _packed(delivery: DeliveryId) -> bytes:
    try:
        number = 0
        for char in delivery[1:]:
            number = number << 5 | _DIGIT[char]
    except KeyError:
        number = -1
    if number < 0 or len(delivery) != 1 + _DELIVERY_CHARS or not delivery.startswith("D"):
        raise Invalid("delivery", "is not the id of a delivery")
    return number.to_bytes(_DELIVERY_BYTES)


def _unpacked(octets: bytes) -> DeliveryId:
    number = int.from_bytes(octets)
    return DeliveryId("D" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS]))
