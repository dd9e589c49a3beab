"""Whose certificates we believe as a client: the system's authorities, and those of the configuration."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=16)
def trusting(ca_file: Path | None = None, *, strict: bool = False) -> ssl.SSLContext:
    """A context that trusts the system's authorities, and those in `ca_file` beside them.

    It is the same for all who ask, since reading the authorities takes a while: it is not to be changed. With `strict` a name must
    stand among the subject's alternative names, or it is not proved (RFC 8461 §4.2).
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if strict:
        context.hostname_checks_common_name = False
    return context


@lru_cache(maxsize=1)
def taking_any() -> ssl.SSLContext:
    """A context that takes any certificate: opportunistically, any encryption is better than none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
