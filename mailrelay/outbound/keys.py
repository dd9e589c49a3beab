"""DKIM keys: made, named so that they can be rotated, and written as the line that their domain's owner publishes (O8)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import date

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailrelay.mail.dkim import KeyAlgorithm

_RSA_BITS = 2048
_STRING_OCTETS = 255  # RFC 1035 §3.3.14


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key. `public` is the p= value; `dns_line` what the zone of `domain` must hold before it signs."""

    domain: str
    selector: str
    algorithm: KeyAlgorithm
    private_pem: bytes = field(repr=False)
    public: str

    @property
    def dns_name(self) -> str:
        """Where the key is published, without a trailing dot."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def dns_text(self) -> str:
        """The TXT record's value as one string: what `dig` shows joined, and what a DNS check compares."""
        kind = "rsa" if self.algorithm is KeyAlgorithm.RSA else "ed25519"
        return f"v=DKIM1; k={kind}; p={self.public}"

    @property
    def dns_line(self) -> str:
        """A line for a zone file, split into strings of at most 255 octets."""
        text = self.dns_text
        strings = [text[start : start + _STRING_OCTETS] for start in range(0, len(text), _STRING_OCTETS)]
        return f"{self.dns_name}. IN TXT ( " + " ".join(f'"{string}"' for string in strings) + " )"


def selector_name(algorithm: KeyAlgorithm, day: date, *, prefix: str = "mr") -> str:
    """The selector of a key that is made in the month of `day`: `mr202611r` for RSA, `mr202611e` for Ed25519.

    Rotation makes the next month's beside it; both are published until the last mail that the old one signed has arrived.
    """
    return f"{prefix}{day:%Y%m}{'r' if algorithm is KeyAlgorithm.RSA else 'e'}"


def generate(domain: str, selector: str, algorithm: KeyAlgorithm) -> KeyPair:
    """A fresh key: RSA of 2,048 bits or Ed25519. RSA takes up to a second of CPU: call it off the loop."""
    key = generate_private_key(65537, _RSA_BITS) if algorithm is KeyAlgorithm.RSA else Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(domain, selector, algorithm, pem, public_half(pem))


def public_half(private_pem: bytes) -> str:
    """The p= value of a private key's public half, in base 64: of RSA its SubjectPublicKeyInfo, of Ed25519 the bare 32 octets.

    Raises ValueError for anything but an unencrypted key of these two kinds.
    """
    key = load_pem_private_key(private_pem, password=None)
    if isinstance(key, Ed25519PrivateKey):
        # RFC 8463 §4.2: the key itself, not in ASN.1.
        return base64.b64encode(key.public_key().public_bytes_raw()).decode("ascii")
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(
        "ascii"
    )
