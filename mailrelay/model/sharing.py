"""How a user's mail is shared with colleagues (I16)."""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.ids import UserId
from mailrelay.model.settings import Sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSharing:
    """What is set for a user. `sharing` is None where it is as the organisation has it; `effective` is what that comes to."""

    user: UserId
    sharing: Sharing | None
    effective: Sharing
    left_to_user: bool
    """Whether the user may change it; administrators always may."""
    unshared_domains: tuple[str, ...]
    """The user's own; those of the organisation hold as well."""
