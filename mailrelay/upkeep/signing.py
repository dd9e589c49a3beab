"""DKIM keys of a domain: this month's pair is made and kept, old ones overlap with new ones (O8)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime

from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.outbound import keys
from mailrelay.store import dkim_keys
from mailrelay.store.base import Store, Tx
from mailrelay.store.dkim_keys import DkimKey


async def generate(domain: str, *, day: date, now: datetime, active_from: datetime, prefix: str) -> tuple[DkimKey, ...]:
    """A key of each algorithm that is not kept yet, with the selectors of `day`'s month."""
    made = []
    for algorithm in KeyAlgorithm:
        selector = keys.selector_name(algorithm, day, prefix=prefix)
        pair = await asyncio.to_thread(keys.generate, domain, selector, algorithm)
        made.append(
            DkimKey(
                key=SigningKey(domain, selector, algorithm, pair.private_pem),
                public_b64=pair.public,
                created_at=now,
                active_from=active_from,
                retired_at=None,
            )
        )
    return tuple(made)


async def make_keys(
    store: Store, domain: str, *, now: datetime, active_from: datetime, prefix: str
) -> tuple[DkimKey, ...]:
    """Make this month's keys of a domain and keep them. Raises Conflict when they are there already."""
    made = await generate(domain, day=now.date(), now=now, active_from=active_from, prefix=prefix)
    await store.write(keep, made)
    return made


def keep(tx: Tx, made: Sequence[DkimKey]) -> None:
    """Keep keys. Raises Conflict for a selector that the domain has already."""
    for key in made:
        dkim_keys.add(tx, key)


def pair(kept: DkimKey) -> keys.KeyPair:
    """The key with the lines that its domain's zone must hold."""
    key = kept.key
    return keys.KeyPair(key.domain, key.selector, key.algorithm, key.private_pem, kept.public_b64)
