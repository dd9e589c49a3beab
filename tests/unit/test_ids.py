"""Ids sort by time; secrets cannot be guessed and are kept as hashes only."""

from __future__ import annotations

import re
from datetime import timedelta

from mailrelay.ids import IdFactory, hash_secret, new_api_secret, new_dropbox_token
from tests.support.clock import FakeClock


def test_ids_made_later_sort_later() -> None:
    clock = FakeClock()
    ids = IdFactory(clock.now)
    made = []
    for _ in range(50):
        made.append(ids.queue())
        clock.advance(timedelta(milliseconds=1))
    assert made == sorted(made)
    assert all(re.fullmatch(r"Q[0-9A-HJKMNP-TV-Z]{20}", one) for one in made)


def test_ids_of_one_moment_differ() -> None:
    ids = IdFactory(FakeClock().now)
    assert len({ids.message() for _ in range(1000)}) == 1000


def test_dropbox_tokens_are_lower_case_and_differ() -> None:
    tokens = {new_dropbox_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[a-z2-7]{26}", token) for token in tokens)


def test_api_secrets_differ_and_are_kept_as_sha256() -> None:
    secret = new_api_secret()
    assert re.fullmatch(r"mr_[A-Za-z0-9_-]{43}", secret)
    assert secret != new_api_secret()
    assert re.fullmatch(r"[0-9a-f]{64}", hash_secret(secret))
    assert hash_secret("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
