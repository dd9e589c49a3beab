"""Other people's credentials, sealed: whoever has the database alone can read none of them (W10).

AES-256-GCM under a key derived from the secret of the installation; bound to the row, so that none can be put in another's place.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailrelay.model.smart_host import Secrets
from mailrelay.store import rows

_FORM = "1:"
_NONCE = 12
_INFO = b"mailrelay credentials of smart hosts"
T = TypeVar("T")


class Unreadable(Exception):
    """It was sealed under another secret, for something else, or is damaged."""


class Vault:
    """Seals and opens."""

    def __init__(self, secret: bytes, former: Sequence[bytes] = ()) -> None:
        """`secret` is the installation's, `former` those that it had before; what was sealed under another stays shut."""
        self._key, self._former = _key(secret), [_key(one) for one in former]

    def seal(self, secrets: object, of: str) -> str:
        """What may be stored of secrets, a dataclass; `of` names whose they are."""
        nonce = os.urandom(_NONCE)
        sealed = self._key.encrypt(nonce, msgspec.json.encode(secrets), of.encode())
        return _FORM + base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, of: str) -> Secrets:
        """The secrets of a smart host that were sealed for `of`. Raises Unreadable."""
        return self.open_as(Secrets, sealed, of)

    def open_as(self, kind: type[T], sealed: str, of: str) -> T:
        """Secrets of any kind. Raises Unreadable."""
        try:
            raw = base64.b64decode(sealed.removeprefix(_FORM), validate=True)
            return msgspec.json.decode(self._decrypt(raw[:_NONCE], raw[_NONCE:], of.encode()), type=rows.learnt(kind))
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise Unreadable("they were sealed under another secret of the installation, or are damaged") from error

    def _decrypt(self, nonce: bytes, sealed: bytes, of: bytes) -> bytes:
        for key in self._former:
            with suppress(InvalidTag):
                return key.decrypt(nonce, sealed, of)
        return self._key.decrypt(nonce, sealed, of)


def _key(secret: bytes) -> AESGCM:
    # RFC 5869: one key for one purpose, whatever else the secret is used for.
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret))
