"""Guessing at tokens: who sends many that are none is told to wait, and takes no more of the log (W10, W15).

A token that holds is always let in: one client's mistake must not lock out another behind the same address.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

from mailrelay.errors import TooManyTries

_TRIES = 20
_WINDOW = 60.0
_MOST = 10_000


class Flood:
    """Counts wrong tokens by where they come from, for a minute; so many places at most, the longest known forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wrong(self, ip: str, now: float) -> int:
        """Note a wrong token; how many of the minute it is. Raises TooManyTries above twenty."""
        place = _place(ip)
        began, count = self._known.get(place, (now, 0))
        if now - began >= _WINDOW:
            began, count = now, 0
            self._known.pop(place, None)
        self._known[place] = (began, count + 1)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        if count >= _TRIES:
            wait = max(1, math.ceil(began + _WINDOW - now))
            raise TooManyTries(f"Too many requests with tokens that are none; wait {wait} seconds", retry_after=wait)
        return count + 1


def _place(ip: str) -> str:
    """An address; of IPv6 its /64, as one machine has as many as it likes."""
    try:
        parsed = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if parsed.version == 4:
        return ip
    return str(ipaddress.ip_network((int(parsed), 64), strict=False).network_address)
