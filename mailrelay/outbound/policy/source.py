"""Which of our addresses a message leaves by: always the same one for a message, as long as it may be used (O11)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mailrelay.model.way import EgressSource

_FRACTION = 2.0**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A source that there is: `domains` whose mail it serves, all when empty, and its share by `weight`."""

    source: EgressSource
    domains: frozenset[str]
    weight: int


def choose(offers: Sequence[Offer], *, sender_domain: str, key: str, suspended: Collection[str]) -> EgressSource | None:
    """The source for the message called `key` of a sender at `sender_domain`; None: the system's own address.

    One that names the domain goes before those for all. While a source is suspended its messages go by others, and only its own
    move; when all that serve the sender are suspended, it is one of them still, and the mail waits for it.
    """
    serving = [one for one in offers if sender_domain in one.domains] or [one for one in offers if not one.domains]
    usable = [one for one in serving if one.source.name not in suspended] or serving
    return max(usable, key=lambda one: (_score(one, key), one.source.name)).source if usable else None


def reaches(source: EgressSource | None, ip: str) -> bool:
    """Whether the source has an address of the same kind as `ip`."""
    return source is None or bool(source.address_for(ip))


def _score(offer: Offer, key: str) -> float:
    """Weighted rendezvous hashing: each source draws a lot for the message, and the highest wins."""
    digest = hashlib.sha256(f"{offer.source.name}\0{key}".encode()).digest()
    lot = (int.from_bytes(digest[:8], "big") + 0.5) / _FRACTION
    return -offer.weight / math.log(min(lot, 1 - 1e-16))
