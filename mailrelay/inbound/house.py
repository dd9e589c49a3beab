"""What the sessions of all listeners share: name, limits, certificate, and whether a stop was asked for."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from mailrelay.config.schema import Inbound
from mailrelay.errors import Fatal
from mailrelay.inbound.limits import Connections
from mailrelay.memory import Memory


@dataclass(slots=True, kw_only=True)
class House:
    """One for a process."""

    hostname: str
    local_domain: str
    """Where the bare `<postmaster>` is (RFC 5321 §4.5.1)."""
    settings: Inbound
    connections: Connections
    tls: Callable[[], ssl.SSLContext]
    """The context for the next handshake, so that a renewed certificate is used from then on."""
    fail: Callable[[Fatal], None]
    """Told when the process must not go on."""
    memory: Memory = field(default_factory=Memory)
    descriptors: int = 1 << 30
    """From a descriptor of this number on, load is shed: the rest is for the store, the queue and the operator (D06)."""
    stopping: bool = False
    rate_grace: float = 60.0
    """Seconds of DATA before `min_rate` counts."""
