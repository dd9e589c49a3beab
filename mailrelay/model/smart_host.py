"""A server of an organisation's own that takes a user's or a domain's mail from us and sends it on (O11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import OrgId, SmartHostId


class HostScope(StrEnum):
    """Whose mail goes to it."""

    USER = "user"  # all that a user submits
    DOMAIN = "domain"  # all that is sent for a domain, by its envelope sender


class HostTls(StrEnum):
    """How the connection is encrypted; the first two are verified, and the only ones that credentials go over."""

    REQUIRED = "required"
    IMPLICIT = "implicit"
    OPPORTUNISTIC = "opportunistic"
    NEVER = "never"


class HostAuth(StrEnum):
    """How we show who we are."""

    NONE = "none"
    PASSWORD = "password"  # noqa: S105 (the word, no password)
    OAUTH2 = "oauth2"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartHost:
    """A smart host of an organisation. A user's goes before a domain's, and that before the route of the installation."""

    id: SmartHostId
    org: OrgId
    scope: HostScope
    name: str
    """The user's id, or the sender domain."""
    host: str
    port: int
    tls: HostTls
    auth: HostAuth
    username: str
    token_url: str
    """Of OAuth 2: where a refresh token is changed into an access token; "" else."""
    client_id: str
    token_scope: str
    secret: str = field(repr=False)
    """Sealed (`outbound.vault`): a `Secrets`."""
    created_at: datetime
    created_by: str
    trouble: str = ""
    """What it said when it refused us; "" while it takes mail (N11)."""
    trouble_since: datetime | None = None

    @property
    def whose(self) -> str:
        """`domain acme.example`, for sentences."""
        return f"{self.scope} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What only the smart host, or whoever gives out its tokens, may see."""

    password: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
