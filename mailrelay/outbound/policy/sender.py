"""Who may send as whom (O2, A09): as themselves and as what belongs to nobody in the organisation's own domains; never as another."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mailrelay.errors import NotPermitted
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.organisation import User


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderFacts:
    """What the decision stands on."""

    user: User
    domains: Collection[str]
    """The organisation's own mail domains, A-labels."""
    others: Collection[str]
    """Keys, out of `lookup_keys` of the addresses in question, that are an address of another user."""


def lookup_keys(addresses: Iterable[Address]) -> frozenset[str]:
    """The keys to look up before `check`: each address, and the one that it is a sub-address of (`anna+news@`)."""
    return frozenset(key for address in addresses for key in _keys(address))


def check(facts: SenderFacts, *, header: Iterable[Address], mail_from: ReversePath) -> None:
    """Raises NotPermitted unless the user may send with these addresses in From and Sender, and this MAIL FROM.

    The null reverse-path is anybody's: a receipt (RFC 8098 §2.1) has no other.
    """
    if not facts.user.active:
        raise NotPermitted("This user is not active and may not send; ask your administrator")
    for address in header:
        _check(facts, address, "the From or Sender field")
    if mail_from is not None:
        _check(facts, mail_from, "the envelope sender (MAIL FROM)")


def _check(facts: SenderFacts, address: Address, where: str) -> None:
    keys = _keys(address)
    if address.key not in facts.others and any(own.key in keys for own in facts.user.addresses):
        return
    if any(key in facts.others for key in keys):
        raise NotPermitted(
            f"{address} in {where} belongs to another user; send as yourself, or ask your administrator for an address"
        )
    if address.domain not in facts.domains:
        raise NotPermitted(
            f"{address} in {where} is none of your addresses and not in a domain of your organisation; "
            f"use {facts.user.primary} or have the address added to your alternates"
        )


def _keys(address: Address) -> tuple[str, ...]:
    base, plus, _ = address.local.partition("+")
    return (address.key, Address(base, address.domain).key) if plus and base else (address.key,)
