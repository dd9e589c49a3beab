"""What is remembered of a host's TLS (O11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TlsLevel(StrEnum):
    """How well a connection was protected."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"  # encrypted, with we do not know whom
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTls:
    """What a host had the last time, and why it was no better."""

    host: str
    ip: str
    port: int
    level: TlsLevel
    protocol: str
    """As `TLSv1.3`; "" in clear."""
    reason: str
    """Why it was not verified, in words; "" when it was."""
    since: datetime
    """Since when it has been so."""
    seen_at: datetime
    """When it was last written down: at a change, and once a day."""
    look_at: datetime | None
    """Until then nothing better is tried; None: each connection tries the best."""
