"""Submission passwords: scrypt (RFC 7914), salted; checking takes as long for a user who does not exist.

Both functions take tens of milliseconds of a core by design: call them in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from base64 import b64decode, b64encode

_BLOCK, _PARALLEL, _LENGTH, _SALT = 8, 1, 32, 16


def hash_password(password: str, *, rounds: int) -> str:
    """What to keep of a password: `scrypt$rounds$salt$hash`. The cost is N = 2 to the power of `rounds`."""
    salt = secrets.token_bytes(_SALT)
    derived = _derive(password, salt, rounds=rounds)
    return f"scrypt${rounds}${b64encode(salt).decode()}${b64encode(derived).decode()}"


def verify_password(password: str, stored: str | None, *, rounds: int) -> bool:
    """Whether `stored` was made of this password. None, for nobody or no password, is False after the work of `rounds`.

    Raises ValueError when `stored` is not of `hash_password`.
    """
    if stored is None:
        _derive(password, bytes(_SALT), rounds=rounds)
        return False
    try:
        kind, its_rounds, salt, expected = stored.split("$")
        if kind != "scrypt":
            raise ValueError
        derived = _derive(password, b64decode(salt, validate=True), rounds=int(its_rounds))
        return hmac.compare_digest(derived, b64decode(expected, validate=True))
    except ValueError as error:
        raise ValueError("the stored password is not one of ours") from error


def _derive(password: str, salt: bytes, *, rounds: int) -> bytes:
    # RFC 8265 §4.2.2: a password is compared in NFC, for keyboards spell the same letters differently.
    prepared = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    cost = 2**rounds
    memory = 128 * _BLOCK * (cost + _PARALLEL + 2)
    return hashlib.scrypt(prepared, salt=salt, n=cost, r=_BLOCK, p=_PARALLEL, maxmem=memory, dklen=_LENGTH)
