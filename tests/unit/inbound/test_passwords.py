"""Submission passwords: only the right one is right, and nobody's costs the same."""

from __future__ import annotations

import time

import pytest

from mailrelay.inbound.passwords import hash_password, verify_password

ROUNDS = 4  # cheap: what is tested does not depend on the cost


@pytest.mark.parametrize("password", ["correct horse", "", "pässwörd 密码", "x" * 10_000])
def test_the_right_password_is_right_and_no_other(password: str) -> None:
    stored = hash_password(password, rounds=ROUNDS)
    assert verify_password(password, stored, rounds=ROUNDS)
    assert not verify_password(password + " ", stored, rounds=ROUNDS)
    assert not password or password not in stored


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password("same", rounds=ROUNDS) != hash_password("same", rounds=ROUNDS)


def test_a_password_is_the_same_however_its_letters_are_composed() -> None:
    assert verify_password("u\u0308ber", hash_password("\u00fcber", rounds=ROUNDS), rounds=ROUNDS)


def test_a_hash_of_another_cost_is_still_checked() -> None:
    assert verify_password("old", hash_password("old", rounds=3), rounds=ROUNDS)


def test_nobody_has_any_password() -> None:
    assert not verify_password("", None, rounds=ROUNDS)


def test_nobody_costs_what_somebody_costs() -> None:
    stored = hash_password("x", rounds=13)

    def fastest(kept: str | None) -> float:
        times = []
        for _ in range(5):
            began = time.process_time()
            verify_password("y", kept, rounds=13)
            times.append(time.process_time() - began)
        return min(times)

    assert 0.5 < fastest(None) / fastest(stored) < 2


@pytest.mark.parametrize("stored", ["", "plain", "scrypt$4$x$y$z", "md5$4$AAAA$AAAA", "scrypt$4$A$A"])
def test_what_is_not_a_stored_password_is_told(stored: str) -> None:
    with pytest.raises(ValueError, match="not one of ours"):
        verify_password("x", stored, rounds=ROUNDS)
