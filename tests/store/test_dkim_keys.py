"""DKIM keys: which sign when, through a rotation with overlap (O8)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mailrelay.errors import Conflict, Unknown
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.store import dkim_keys
from mailrelay.store.base import Store
from mailrelay.store.dkim_keys import DkimKey
from tests.support.clock import START

RSA, ED25519 = KeyAlgorithm.RSA, KeyAlgorithm.ED25519


def a_key(
    selector: str, algorithm: KeyAlgorithm = RSA, *, domain: str = "a.example", since: datetime = START
) -> DkimKey:
    return DkimKey(
        key=SigningKey(domain, selector, algorithm, b"-----BEGIN PRIVATE KEY-----\n"),
        public_b64="MIIB",
        created_at=START,
        active_from=since,
        retired_at=None,
    )


async def test_o08_both_algorithms_sign_rsa_first(store: Store) -> None:
    keys = [a_key("e1", ED25519), a_key("r1"), a_key("r1", domain="b.example")]
    for key in keys:
        await store.write(dkim_keys.add, key)
    assert await store.read(dkim_keys.active, "a.example", now=START) == (keys[1].key, keys[0].key)
    assert await store.read(dkim_keys.active, "c.example", now=START) == ()
    assert await store.read(dkim_keys.list_keys) == tuple(keys)
    assert await store.read(dkim_keys.list_keys, "b.example") == (keys[2],)


async def test_o08_a_new_key_takes_over_when_its_time_has_come(store: Store) -> None:
    later = START + timedelta(days=2)
    old, new = a_key("r1"), a_key("r2", since=later)
    for key in (old, new):
        await store.write(dkim_keys.add, key)
    assert await store.read(dkim_keys.active, "a.example", now=later - timedelta(seconds=1)) == (old.key,)
    assert await store.read(dkim_keys.active, "a.example", now=later) == (new.key,)


async def test_o08_a_retired_key_signs_no_more_and_stays_listed(store: Store) -> None:
    await store.write(dkim_keys.add, a_key("r1"))
    later = START + timedelta(days=2)
    await store.write(dkim_keys.retire, "a.example", "r1", at=later)
    assert len(await store.read(dkim_keys.active, "a.example", now=START)) == 1
    assert await store.read(dkim_keys.active, "a.example", now=later) == ()
    assert [key.retired_at for key in await store.read(dkim_keys.list_keys)] == [later]
    with pytest.raises(Unknown):
        await store.write(dkim_keys.retire, "a.example", "r9", at=later)


async def test_o08_a_selector_is_never_used_twice(store: Store) -> None:
    await store.write(dkim_keys.add, a_key("r1"))
    await store.write(dkim_keys.retire, "a.example", "r1", at=START)
    with pytest.raises(Conflict, match="selector r1 already"):
        await store.write(dkim_keys.add, a_key("r1", ED25519))


async def test_a_private_key_is_not_shown(store: Store) -> None:
    await store.write(dkim_keys.add, a_key("r1"))
    assert "PRIVATE" not in repr(await store.read(dkim_keys.list_keys))
