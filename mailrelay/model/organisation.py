"""The organisation, its people, and the addresses that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import DropboxId, OrganisationAddressId, OrgId, TokenId, UserId
from mailrelay.model.address import Address
from mailrelay.model.settings import OrganisationSettings, Unknown, UserSettings


class Role(StrEnum):
    """What a user may do: an administrator changes everything, a user their own, a guest has no dropbox."""

    ADMINISTRATOR = "administrator"
    USER = "user"
    GUEST = "guest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """Whose data it is."""

    id: OrgId
    name: str
    time_zone: str
    """IANA name, such as `Europe/Berlin`."""
    domains: tuple[str, ...]
    """The organisation's own mail domains, A-labels: internal in matching (I5) and allowed in From (O2)."""
    settings: OrganisationSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person of the organisation."""

    id: UserId
    org: OrgId
    name: str
    role: Role
    active: bool
    primary: Address
    alternates: tuple[Address, ...]
    settings: UserSettings
    confirmed: bool = True
    """O6: only active, confirmed users count for the quota of single mail."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Primary first, then the alternates."""
        return (self.primary, *self.alternates)

    @property
    def may_use_dropbox(self) -> bool:
        """I1: a dropbox is disabled by role and with its user."""
        return self.active and self.role is not Role.GUEST


DROPBOX_PREFIX = "bcc-"
_LONGEST_TOKEN = 64


def dropbox_token(local: str) -> str:
    """The token in the local part of a dropbox's address; "", which nobody has, when it is none."""
    lower = local.lower()
    return lower.removeprefix(DROPBOX_PREFIX)[:_LONGEST_TOKEN] if lower.startswith(DROPBOX_PREFIX) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropbox:
    """A user's secret address (I1). `token` is lower-case; `valid_until` is set when it was regenerated or disabled."""

    id: DropboxId
    org: OrgId
    user: UserId
    token: str
    created_at: datetime
    valid_until: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSettings:
    """What is set for a shared address."""

    modules: tuple[str, ...] = UserSettings().modules
    """Modules that are searched for those who write to it, in this order."""
    unknown: Unknown = Unknown.LEAD
    """What an unknown correspondent becomes."""
    owner: UserId | None = None
    """Who owns what is made of them; None: nobody."""
    senders: tuple[UserId, ...] | None = None
    """Who may send as it; None: every active user but guests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationAddress:
    """A shared address, such as support@, that receives and sends; what arrives belongs to no single user (I13)."""

    id: OrganisationAddressId
    org: OrgId
    address: Address
    name: str
    """What stands beside it in From, or ""."""
    settings: SharedSettings
    created_at: datetime
    created_by: str
    removed_at: datetime | None = None

    def may_send(self, user: User) -> bool:
        """Whether a user may send as it (O2)."""
        if self.removed_at is not None or not user.active:
            return False
        if self.settings.senders is None:
            return user.role is not Role.GUEST
        return user.id in self.settings.senders


class ExclusionKind(StrEnum):
    """What an entry of the exclude list names (I5)."""

    ADDRESS = "address"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """An address (by key) or domain that is never matched nor created (I5)."""

    kind: ExclusionKind
    value: str


class Right(StrEnum):
    """What an API token may do."""

    ADMIN = "admin"
    SEND = "send"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A bearer token; only its SHA-256 is stored. `user` is on whose behalf it acts, or None for the whole organisation."""

    id: TokenId
    org: OrgId
    name: str
    rights: frozenset[Right]
    user: UserId | None
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None = None
    used_at: datetime | None = None
    """When it was used last, within the hour."""
