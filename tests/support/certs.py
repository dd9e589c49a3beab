"""A certificate authority for the test session, and what it signed: contexts, and PEM files for peers that are programs."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """One leaf certificate with its key in one PEM file, and the authority's certificate in another."""

    names: tuple[str, ...]
    pem: Path
    authority: Path

    def server_context(self) -> ssl.SSLContext:
        """A fresh context for a TLS server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A fresh context for a TLS client that trusts our authority only and checks the name."""
        return ssl.create_default_context(cafile=str(self.authority))


@cache
def _authority() -> tuple[trustme.CA, Path]:
    folder = tempfile.mkdtemp(prefix="mailrelay-certs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return trustme.CA(), Path(folder)


@cache
def certificate(*names: str) -> Certificate:
    """The session's certificate for `names` (host names or IP addresses; `localhost` and `127.0.0.1` when none is given)."""
    names = names or ("localhost", "127.0.0.1")
    authority, folder = _authority()
    authority_file = folder / "authority.pem"
    if not authority_file.exists():
        authority.cert_pem.write_to_path(str(authority_file))
    leaf = authority.issue_cert(*names)
    pem = folder / f"{len(list(folder.iterdir()))}.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(pem))
    pem.chmod(0o600)
    return Certificate(names, pem, authority_file)
