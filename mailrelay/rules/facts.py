"""Everything that a rule may look at, read beforehand in one go by `filing.gather`: rules themselves read nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from mailrelay.ids import UserId
from mailrelay.model.address import Address
from mailrelay.model.envelope import Channel
from mailrelay.model.message import AuthVerdicts, Kind, Message, Participant
from mailrelay.model.organisation import Exclusion, Organisation, OrganisationAddress, User
from mailrelay.model.record import AddressKind, FilingAddress, RecordRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A mail inside a forward (I22): `people` are its FORWARDED_FROM, then its FORWARDED_TO participants.

    `chain` numbers the mails that were attached one beside the other, from 1, and is 0 for an inline block; `level` is 0 for the mail that was
    forwarded, 1 for what that one forwards or quotes itself.
    """

    chain: int
    level: int
    people: tuple[Participant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHit:
    """A record that has an address of a participant, or an account with one in a participant's domain.

    `key` is the address key, or the domain, that was looked up.
    """

    key: str
    record: RecordRef
    kind: AddressKind
    field: str
    matched: bool
    """The field's preference: without it the record is not matched by this address (I4)."""
    name: str
    owner: UserId | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierLink:
    """A link of an earlier message that this one follows. `via` is the Message-ID or the delivery that says so.

    `distance` is 0 for the nearest known parent.
    """

    record: RecordRef
    via: str
    distance: int
    guess: bool = False
    secret: str = ""
    """The link's: what follows from it is no less secret."""
    removed_by: str = ""
    """The person who took that message off the record; "" where it is on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLink:
    """A link that this message has already; `removed` when a person took it away."""

    record: RecordRef
    by: str
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedRecord:
    """A record that is tied to `of`: the account or a deal of a contact, the contact or the vendor of a document.

    `open` is False for a deal that is won, lost or closed.
    """

    of: RecordRef
    record: RecordRef
    role: str
    name: str
    open: bool
    number: str = ""
    """Of a deal, as the CRM counts them."""
    closes: date | None = None
    """Of a deal: when it is expected to be decided."""
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One message on its way to its records, and all that is known around it."""

    message: Message
    channel: Channel
    organisation: Organisation
    user: User | None
    """Whose dropbox it came to, or who sent it through us; None for mail of nobody in particular."""
    sender: Address | None
    """The header sender of the mail that arrived; for a mail attached to a forward that is the forwarder."""
    auth: AuthVerdicts | None
    released_by: str
    """Who let it pass although the sender was held: a user's id, or ""."""
    defects: tuple[str, ...]
    """What was odd in reading it (`mail.message`)."""
    originals: tuple[Original, ...]
    """The mails inside it when it is a forward, else ()."""
    service_domains: frozenset[str]
    """The installation's own domains: of dropboxes and of return paths."""
    user_keys: frozenset[str]
    """Address keys among the participants that are users'."""
    exclusions: tuple[Exclusion, ...]
    """Entries of the exclude list that may concern somebody in it."""
    hits: tuple[RecordHit, ...]
    domain_hits: tuple[RecordHit, ...]
    thread: tuple[EarlierLink, ...]
    thread_guesses: tuple[EarlierLink, ...]
    """What the thread is on by a guess: it is not followed, but no other is made."""
    returned: tuple[EarlierLink, ...]
    """Links of the message whose delivery came back (channel bounce)."""
    untied: bool
    """It came to the address for complaints, which anybody may write to, and says of no delivery of ours."""
    standing: tuple[StandingLink, ...]
    related: tuple[RelatedRecord, ...]
    shared: OrganisationAddress | None = None
    """The shared address that it came to (I13)."""
    filing: FilingAddress | None = None
    """The address of a record that it came to (I21)."""
    filing_record: RecordRef | None = None
    """… and its record, while that is there."""
    addressed: tuple[RecordRef, ...] = ()
    """The records that its author, one of us, sent it to (O3)."""
    thread_removed: tuple[EarlierLink, ...] = ()
    """What a person took a message of the thread off, where none nearer is on it: it is followed no more (I7)."""
    returned_removed: tuple[EarlierLink, ...] = ()
    """… and the message whose delivery came back."""
    arrival: str = ""
    """By which it came: whoever it is shown to as it came by that may know its Bcc (I16)."""
    hits_by_key: Mapping[str, tuple[RecordHit, ...]] = field(init=False, repr=False, compare=False)
    """The matched ones of `hits`, by the address key they were found with."""

    @property
    def came_back(self) -> bool:
        """It came to a return path, and no person wrote it; a person's mail there is filed as any other."""
        by_machine = self.message.kind is not Kind.NORMAL or bool(self.message.automatic)
        return self.channel is Channel.BOUNCE and by_machine

    def __post_init__(self) -> None:
        found: dict[str, tuple[RecordHit, ...]] = {}
        for hit in self.hits:
            if hit.matched:
                found[hit.key] = (*found.get(hit.key, ()), hit)
        object.__setattr__(self, "hits_by_key", found)
