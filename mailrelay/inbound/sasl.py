"""AUTH PLAIN and LOGIN as dialogues: they yield challenges and return what the client said, no socket (RFC 4616, RFC 4954)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from dataclasses import dataclass, field

from mailrelay.model.reply import Reply
from mailrelay.smtp import codes

MECHANISMS = ("PLAIN", "LOGIN")

Exchange = Generator[bytes, bytes, "Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims; `identity` is on whose behalf it would act (RFC 4616 §2), "" for itself."""

    user: str
    password: str = field(repr=False)
    identity: str = ""


class BadExchange(ValueError):
    """The client's side of an exchange is malformed; `reply` is the answer."""

    def __init__(self, refusal: Reply) -> None:
        super().__init__(refusal.text)
        self.reply = refusal


def begin(argument: bytes) -> Exchange:
    """The exchange that `AUTH argument` begins. Raises BadExchange, here and while it runs.

    It yields challenges, is sent the client's decoded responses (`decode`) and returns Credentials.
    """
    words = argument.split()
    if not words or len(words) > 2:
        raise BadExchange(codes.SYNTAX)
    mechanism = words[0].upper()
    initial = None
    if len(words) > 1:
        # RFC 4954 §4: "=" is an initial response of no bytes.
        initial = b"" if words[1] == b"=" else decode(words[1])
    if mechanism == b"PLAIN":
        return _plain(initial)
    if mechanism == b"LOGIN":
        return _login(initial)
    raise BadExchange(codes.AUTH_MECHANISM)


def decode(line: bytes) -> bytes:
    """A response as bytes. Raises BadExchange: cancelled by `*`, or not base64 (A07)."""
    if line == b"*":
        raise BadExchange(codes.AUTH_CANCELLED)
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise BadExchange(codes.AUTH_MALFORMED) from None


def _plain(initial: bytes | None) -> Exchange:
    message = initial if initial is not None else (yield b"")
    # RFC 4616 §2: [authzid] NUL authcid NUL passwd, and no other NUL.
    identity, *rest = message.split(b"\0")
    if len(rest) != 2 or not all(rest):
        raise BadExchange(codes.AUTH_MALFORMED)
    return Credentials(_text(rest[0]), _text(rest[1]), _text(identity))


def _login(initial: bytes | None) -> Exchange:
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    if not user or not password or b"\0" in user + password:
        raise BadExchange(codes.AUTH_MALFORMED)
    return Credentials(_text(user), _text(password))


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise BadExchange(codes.AUTH_MALFORMED) from None
