"""Who may send as whom (O2, A09): a user as themselves and as the shared addresses that they may use (I13).

An administrator also as what belongs to nobody in the organisation's domains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mailrelay.errors import NotPermitted
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.organisation import OrganisationAddress, Role, User

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderFacts:
    """What the decision stands on."""

    user: User
    domains: Collection[str]
    """The organisation's own mail domains, A-labels."""
    others: Collection[str]
    """Keys, out of `lookup_keys` of the addresses in question, that are an address of another user."""
    shared: Collection[OrganisationAddress] = ()
    """The shared addresses of the organisation among those in question."""


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


def sent_as(facts: SenderFacts, header: Iterable[Address]) -> OrganisationAddress | None:
    """The shared address that stands in From, once `check` has let it pass; None when a mail is its author's own."""
    return next((found for address in header if (found := _shared(facts, address)) is not None), None)


def _shared(facts: SenderFacts, address: Address) -> OrganisationAddress | None:
    keys = _keys(address)
    return next((one for one in facts.shared if one.address.key in keys), None)


def _check(facts: SenderFacts, address: Address, where: str) -> None:
    keys = _keys(address)
    if address.key not in facts.others and any(own.key in keys for own in facts.user.addresses):
        return
    shared = _shared(facts, address)
    if shared is not None:
        if shared.may_send(facts.user):
            return
        raise NotPermitted(
            f"{shared.address} in {where} is a shared address that you may not send as; ask your administrator, or use "
            f"{_allowed(facts)}"
        )
    # `info@` or `ceo@`, which no user has, carries the organisation's name: that is not any user's to lend.
    administers = facts.user.role is Role.ADMINISTRATOR and address.domain in facts.domains
    owned = any(key in facts.others for key in keys)
    if administers and not owned:
        return
    if owned:
        raise NotPermitted(f"{address} in {where} belongs to another user; you may use {_allowed(facts)}")
    raise NotPermitted(
        f"{address} in {where} is none of your addresses; you may use {_allowed(facts)}, "
        "or have it added to your alternates by an administrator"
    )


def _allowed(facts: SenderFacts) -> str:
    """The addresses that this user may send as, for a sentence."""
    shown = [str(address) for address in facts.user.addresses[:_SHOWN]]
    if (more := len(facts.user.addresses) - _SHOWN) > 0:
        shown.append(f"{more} more of your own")
    if facts.user.role is Role.ADMINISTRATOR and facts.domains:
        shown.append("what no user has of " + ", ".join(sorted(facts.domains)))
    return ", ".join(shown)


def _keys(address: Address) -> tuple[str, ...]:
    base, plus, _ = address.local.partition("+")
    return (address.key, Address(base, address.domain).key) if plus and base else (address.key,)
