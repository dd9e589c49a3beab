"""On whose behalf a mail is sent, or a scheduled one changed (O2)."""

from __future__ import annotations

from mailrelay.errors import Invalid, NotPermitted
from mailrelay.ids import OrgId
from mailrelay.model.address import Address
from mailrelay.model.organisation import User
from mailrelay.store import people
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.identity import Caller
from mailrelay.web.shape import in_field


def author_of(tx: Tx, caller: Caller, wanted: str, sender: Address | None) -> User:
    """On whose behalf: the token's user, else who is named, else the owner of the sender address."""
    with in_field("user"):
        named = find(tx, caller.org, wanted) if wanted else None
    if caller.user is not None:
        own = people.get(tx, caller.org, caller.user)
        if named is not None and named.id != own.id:
            raise NotPermitted(f"This token acts on behalf of {own.name} only")
        return own
    if named is not None:
        return named
    if sender is None:
        whose = "this asks for nobody in particular" if caller.installation else "the token acts on behalf of no user"
        raise Invalid("from", f"is required, because {whose}; or say on whose behalf with ?user=")
    return _owner(tx, caller.org, sender)


def _owner(tx: Tx, org: OrgId, sender: Address) -> User:
    found = people.by_addresses(tx, org, [sender.key])
    if not found:
        raise NotPermitted(f"{sender} is not an address of a user; say on whose behalf with ?user=")
    return found[0]
