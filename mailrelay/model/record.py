"""Records of the CRM and the modules they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import OrgId, UserId
from mailrelay.model.address import Address


class AddressKind(StrEnum):
    """Which address of a record one is; the match rules look in this order (I4)."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressField:
    """A field of a module that holds an address; `matched` is the preference of custom fields (I4)."""

    name: str
    kind: AddressKind
    matched: bool


class FieldType(StrEnum):
    """What the text of a field means, so that it can be compared (K2)."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a module that records are found by (K2); `aliases` are other words for it in a query."""

    name: str
    type: FieldType
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A kind of record: lead, contact, account, deal, vendor, …, or a custom one.

    `fields` are those that records are found by; a record may have any others as well.
    """

    org: OrgId
    name: str
    label: str
    custom: bool
    address_fields: tuple[AddressField, ...]
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class RecordRef:
    """A record by module name and its id in the CRM; printed and parsed as `contact/17`."""

    module: str
    id: str

    def __str__(self) -> str:
        """`contact/17`."""
        return f"{self.module}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAddress:
    """One address of a record, and the module field it stands in."""

    address: Address
    kind: AddressKind
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLink:
    """A record's link to another: contact → account, deal → contact; `role` is the CRM's word for it."""

    role: str
    to: RecordRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something in the CRM that mail is about. `fields` are the CRM's own values, kept as text by field name."""

    org: OrgId
    ref: RecordRef
    name: str
    owner: UserId | None
    addresses: tuple[RecordAddress, ...]
    links: tuple[RecordLink, ...]
    fields: tuple[tuple[str, str], ...]
    source: str
    """"api", "bulk", or the channel whose mail made mailrelay create it (I6)."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FilingAddress:
    """A record address: a signed address for one record, where what comes to it is filed (I21).

    `until` is the end that is signed into it, None without one; `valid_until` is set once it was regenerated or revoked.
    """

    org: OrgId
    number: int
    record: RecordRef
    until: datetime | None
    created_at: datetime
    created_by: str
    valid_until: datetime | None = None
    ended_by: str = ""

    def holds(self, at: datetime) -> bool:
        """Whether mail that comes to it at this moment is filed on the record."""
        return all(end is None or at < end for end in (self.until, self.valid_until))


STANDARD_MODULES: tuple[tuple[str, str], ...] = (
    ("lead", "Leads"),
    ("contact", "Contacts"),
    ("account", "Accounts"),
    ("deal", "Deals"),
    ("vendor", "Vendors"),
    ("quote", "Quotes"),
    ("invoice", "Invoices"),
    ("sales_order", "Sales orders"),
    ("purchase_order", "Purchase orders"),
)
"""Name and label of the modules that every organisation has from the start."""
