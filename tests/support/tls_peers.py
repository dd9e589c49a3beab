"""Servers' certificates of every kind, good and bad, and what TLSA records say of them."""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@dataclass(frozen=True)
class Shown:
    """What a server shows: the leaf, then whatever it adds. `authority` is the PEM of the root, which clients may trust."""

    pem: bytes
    chain: tuple[bytes, ...]
    authority: bytes

    def context(self) -> ssl.SSLContext:
        """For the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def trust(self, folder: Path) -> Path:
        """The root as a file for `ca_file`."""
        path = folder / "authority.pem"
        path.write_bytes(self.authority)
        return path

    def tlsa(self, usage: int, selector: int, matching: int, *, at: int = 0) -> str:
        """The record that names the certificate of the chain at `at`."""
        certificate = load_pem_x509_certificate(self.chain[at])
        data = certificate.public_bytes(Encoding.DER)
        if selector:
            data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if matching:
            data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
        return f"{usage} {selector} {matching} {data.hex()}"


def shown(
    *names: str, expired: bool = False, depth: int = 0, root: bool = False, authority: trustme.CA | None = None
) -> Shown:
    """A leaf for `names` below `depth` authorities between it and the root; the root is shown too when `root` says so."""
    issuer = top = authority or trustme.CA()
    between: list[bytes] = []
    for _ in range(depth):
        issuer = issuer.create_child_ca()
        between.insert(0, issuer.cert_pem.bytes())
    span = (
        {"not_before": LONG_AGO, "not_after": LONG_AGO + timedelta(days=30)}
        if expired
        else {"not_after": datetime.now(UTC) + timedelta(days=30)}
    )
    leaf = issuer.issue_cert(*names, **span)
    chain = (leaf.cert_chain_pems[0].bytes(), *between, *((top.cert_pem.bytes(),) if root else ()))
    return Shown(leaf.private_key_pem.bytes() + b"".join(chain), chain, top.cert_pem.bytes())
