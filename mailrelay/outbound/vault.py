"""Other people's credentials, sealed: whoever has the database alone can read none of them (W10).

AES-256-GCM under a key derived from the secret of the installation; bound to the row, so that none can be put in another's place.
"""

from __future__ import annotations

import base64
import os
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mailrelay.model.smart_host import Secrets

_FORM = "1:"
_NONCE = 12
_INFO = b"mailrelay credentials of smart hosts"
T = TypeVar("T")


class Unreadable(Exception):
    """It was sealed under another secret, for something else, or is damaged."""


class Vault:
    """Seals and opens."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is the installation's; what was sealed under another stays shut."""
        # RFC 5869: one key for one purpose, whatever else the secret is used for.
        self._key = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret))

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
            plain = self._key.decrypt(raw[:_NONCE], raw[_NONCE:], of.encode())
            return msgspec.json.decode(plain, type=kind)
        except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
            raise Unreadable("they were sealed under another secret of the installation, or are damaged") from error
