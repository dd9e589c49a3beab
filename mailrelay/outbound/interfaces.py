"""The addresses of this machine, so that mail for ourselves is not sent round in circles (RFC 5321 §5.1, N06)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from mailrelay.config.schema import Delivery, Listener, ListenerKind

_IPV6 = Path("/proc/net/if_inet6")
_IPV4 = Path("/proc/net/fib_trie")
_LOCAL = re.compile(r"\|-- (\d{1,3}(?:\.\d{1,3}){3})\s+/32 host LOCAL")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


def addresses() -> frozenset[str]:
    """The addresses of all interfaces, loopback too; none where the system does not tell (it is not Linux)."""
    found = {"127.0.0.1", "::1"}
    try:
        found.update(_LOCAL.findall(_IPV4.read_text()))
        for line in _IPV6.read_text().splitlines():
            found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    except (OSError, ValueError, IndexError):
        pass  # no IPv6, or no /proc: what the configuration says is all that we know
    return frozenset(found)


def ours(settings: Delivery, listeners: Sequence[Listener], here: frozenset[str]) -> frozenset[str]:
    """The addresses at which the world, sending by MX, would reach this daemon.

    Those of the configuration, and `here`, those of the machine. Loopback is ours only where we listen on it at the port that mail
    goes to: else somebody else's server may be there, as in tests.
    """
    edges = [one for one in listeners if one.kind is ListenerKind.EDGE and one.port == settings.port]
    bound = {one.host for one in edges}
    at_all = {address for address in here if ("0.0.0.0" if ":" not in address else "::") in bound or "::" in bound}  # noqa: S104
    elsewhere = {address for address in here if address not in _LOOPBACK and not address.startswith("127.")}
    return frozenset({*settings.own_addresses, *bound, *at_all, *elsewhere} - {"0.0.0.0", "::"})  # noqa: S104
