"""Sealed credentials: only this installation, and only for whom they are."""

from __future__ import annotations

import pytest

from mailrelay.model.smart_host import Secrets
from mailrelay.outbound.vault import Unreadable, Vault

SECRETS = Secrets(password="pass word", refresh_token="grüße")
VAULT = Vault(b"a secret of at least thirty-two octets")


def test_what_is_sealed_opens_again_and_never_looks_the_same():
    one, two = VAULT.seal(SECRETS, "H1"), VAULT.seal(SECRETS, "H1")
    assert one != two
    assert "pass" not in one
    assert VAULT.open(one, "H1") == VAULT.open(two, "H1") == SECRETS
    assert "pass" not in repr(SECRETS)


def test_what_was_sealed_under_a_former_secret_opens_and_what_is_sealed_now_is_not_under_it():
    former = b"another secret of thirty-two octets"
    changed = Vault(b"the secret since then, of forty octets..", [b"one before, of more than forty octets....", former])
    assert changed.open(Vault(former).seal(SECRETS, "H1"), "H1") == SECRETS
    sealed = changed.seal(SECRETS, "H1")
    assert changed.open(sealed, "H1") == SECRETS
    with pytest.raises(Unreadable):
        Vault(former).open(sealed, "H1")


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda sealed: (sealed, "H2", VAULT),
        lambda sealed: (sealed, "H1", Vault(b"another secret of thirty-two octets")),
        lambda sealed: (sealed[:-4], "H1", VAULT),
        lambda sealed: ("", "H1", VAULT),
        lambda sealed: ("1:?", "H1", VAULT),
        lambda sealed: (sealed[:10] + ("A" if sealed[10] != "A" else "B") + sealed[11:], "H1", VAULT),
    ],
    ids=["of another", "another secret", "cut", "empty", "junk", "changed"],
)
def test_fault_w10_anything_else_stays_shut(spoilt):
    sealed, of, vault = spoilt(VAULT.seal(SECRETS, "H1"))
    with pytest.raises(Unreadable):
        vault.open(sealed, of)
