"""Settings of an organisation and of a user: kept in the store, changed by API; every default is product.md's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailrelay.model.attachment import Attachments
from mailrelay.model.notice import NoticeKind
from mailrelay.model.tracking import Mode


class SenderCheck(StrEnum):
    """How strictly a dropbox asks who writes (I2)."""

    TOKEN = "token"  # noqa: S105 (the token alone is enough; not a secret)
    ADDRESS = "address"  # the header sender is an address of the user
    AUTHENTICATED = "authenticated"  # … and SPF or DKIM passes in alignment with it


class Unpermitted(StrEnum):
    """What happens to a dropbox mail whose sender is not permitted (I2, I24)."""

    HOLD = "hold"
    REFUSE = "refuse"


class Unknown(StrEnum):
    """What an unknown correspondent becomes (I3)."""

    LEAD = "lead"
    CONTACT = "contact"
    NOTHING = "nothing"


class Plan(StrEnum):
    """The organisation's plan, which sets the built-in limits (O4, O6)."""

    PAID = "paid"
    FREE = "free"


class Sharing(StrEnum):
    """Who of the organisation sees a user's mail (I16)."""

    PRIVATE = "private"  # the user
    PUBLIC = "public"  # everybody
    CUSTOM = "custom"  # everybody what stands on the records that were chosen, the user all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationSettings:
    """What an administrator sets for the whole organisation."""

    plan: Plan = Plan.PAID
    sender_check: SenderCheck = SenderCheck.ADDRESS
    unpermitted: Unpermitted = Unpermitted.HOLD
    file_internal: bool = False
    """I5: file mail among colleagues, to the records that it names."""
    match_account_by_domain: bool = True
    """I4: an account without the address may match by its domain; never by a public mail domain."""
    soft_bounces: int = 5
    """I11: so many soft bounces in a row suppress an address; 0: they never do."""
    soft_bounce_days: int = 30
    """I11: within so many days."""
    notify_authors: bool = True
    """O11: authors get a DSN when their mail fails or is late; off where the CRM tells them itself."""
    answer_days: int = 7
    """RFC 3834 §2: an address gets at most one automatic answer of the same user within so many days."""
    answers_per_hour: int = 100
    """RFC 3834 §2: automatic answers of the whole organisation; 0: none."""
    mass_quota: int = 250
    """O7: recipients of mass mail a day by plan: 250, 500 or 1000."""
    mass_add_on: int = 0
    """O7: what an add-on adds to them, up to 2250 in all."""
    alternates_limit: int = 5
    """I2: how many alternate addresses a user may have."""
    organisation_addresses: int = 10
    """I13: how many shared addresses there may be."""
    tracking: Mode = Mode.OFF
    """O9: the most that is recorded of opens and clicks; a message may ask for less."""
    tracking_host: str = ""
    """O9: the organisation's own name for pixels and links, which leads to our public endpoints by https; "": the installation's."""
    honour_dnt: bool = True
    """O9: a reader's `DNT: 1` or `Sec-GPC: 1` is a refusal, and nothing is recorded."""
    raw_hit_days: int = 90
    """O9: a hit keeps the address, the program and the header fields that it came with for so many days; what it was stays."""
    untracked_links: tuple[str, ...] = ()
    """O9: links that stay as they are, besides those that always do: `https://host/path` and what begins so, or a host."""
    unsubscribe_text: str = ""
    """O15: what the link to unsubscribe shows, in the organisation's language; "": our own words in English."""
    unsubscribe_url: str = ""
    """O15: the organisation's own form, to which the unsubscribe page leads; `{list}` and `{delivery}` in it are filled in."""
    sharing: Sharing = Sharing.PUBLIC
    """I16: of users for whom nothing else is set."""
    sharing_by_users: bool = False
    """I16: users may set their own sharing; else administrators do."""
    delivered_after_days: int = 3
    """K1: mail that was sent counts as delivered when no bounce came back within so many days."""
    keep_former_mail: bool = True
    """I16: mail of an address that a record has no longer stays on the record."""
    attachments: Attachments = Attachments.OFF
    """I17: what becomes of the files of a mail that is put on a record."""
    attachments_from: int = 1
    """I17: bytes; smaller files stay in their mail."""
    storage_limit: int = 0
    """I17: bytes that the attachments of records may take, each content counted once; 0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """What is set for one user (I3)."""

    modules: tuple[str, ...] = ("contact", "lead", "account", "vendor")
    """Modules that are searched, in this order; the first with a hit wins for each address."""
    unknown: Unknown = Unknown.LEAD
    time_zone: str = ""
    """O5: IANA name of where the user is, for times without a zone; "": where the organisation is."""
    notices: tuple[NoticeKind, ...] = tuple(NoticeKind)
    """I19: what the user hears of at once."""
