"""Bytes → what there is to file: the mail itself, and the mails attached to a forward (I8, I22)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from mailrelay.filing import came_back
from mailrelay.filing.came_back import CameBack
from mailrelay.ids import DeliveryId, MessageId
from mailrelay.mail import automatic, forwarded, identity
from mailrelay.mail.addresses import Mailbox
from mailrelay.mail.message import ParsedMessage, parse
from mailrelay.mail.participants import header_sender, participants
from mailrelay.model.address import Address
from mailrelay.model.envelope import Arrival, Channel
from mailrelay.model.message import AuthVerdicts, BlobRef, Direction, Message, Participant, ParticipantRole
from mailrelay.rules import domains
from mailrelay.rules.facts import Original

MAX_PARTICIPANTS = 1_000
"""Of one message; a mail to more people is kept whole, and the rest of them is not looked up (P01)."""

_FORWARDS = frozenset((Channel.DROPBOX, Channel.MAILBOX, Channel.ORGANISATION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One message on its way to the rules, as far as its bytes and its arrival tell."""

    arrival: Arrival
    message: Message
    """Under an id of its own; `gather` puts the id of the stored message there when the mail is known already."""
    sender: Address | None
    """The header sender of the mail that arrived."""
    defects: tuple[str, ...]
    originals: tuple[Original, ...]
    attached: int = 0
    """How many mails it carries that become messages of their own."""
    came_back: CameBack | None = None
    """What in it may be about something we sent."""
    tied: tuple[DeliveryId, ...] = ()
    """Deliveries that it, or a mail attached to it, is about beyond doubt, as far as its bytes prove it."""

    def verified(self, auth: AuthVerdicts | None) -> Case:
        """The same with what SPF, DKIM and DMARC said."""
        return replace(self, message=replace(self.message, auth=auth))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A mail attached to a forward, with its bytes; `case.message.raw` is set once they are kept."""

    case: Case
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an arrival's bytes say."""

    case: Case
    attached: tuple[Attached, ...]


def read(raw: bytes, arrival: Arrival, *, new_id: Callable[[], MessageId]) -> Reading:
    """Take a mail apart for filing. Never raises; what was odd is in `Case.defects`.

    An inline forward is one message whose originals are in the block. Mails attached to a forward become messages of their own,
    and the forward that carried them has their people as its originals too, so that it shows at the same records. A mail that is
    merely sent to somebody with another attached to it is no forward: its subject would say so, or it would be for the dropbox
    alone.
    """
    parsed = parse(raw)
    inline: tuple[Original, ...] = ()
    inner: tuple[bytes, ...] = ()
    if arrival.channel in _FORWARDS:
        inline = tuple(_inline(found) for found in forwarded.forwarded(parsed))
        if inline or _is_forward(parsed, arrival):
            inner = forwarded.attached(parsed)
    mails = _different(parse(one) for one in inner)
    originals = (*inline, *(_original(number, mail) for number, mail in enumerate(mails, start=1)))
    sender = header_sender(parsed)
    null = arrival.envelope is not None and arrival.envelope.mail_from is None
    message, back = _message(parsed, arrival, new_id(), arrival.raw, envelope_from_null=null)
    people = (*message.participants, *(person for original in originals for person in original.people))
    case = Case(
        arrival=arrival,
        message=replace(message, participants=_unique(people)),
        sender=sender,
        defects=parsed.defects,
        originals=originals,
        attached=len(mails),
        came_back=back,
    )
    attached = tuple(
        Attached(case=_attached_case(mail, case, new_id(), part), raw=mail.raw)
        for part, mail in enumerate(mails, start=1)
    )
    return Reading(case=case, attached=attached)


def stored(message: Message, arrival: Arrival) -> Case:
    """The case of a message of ours that its submission has stored already; who is in the envelope only counts as Bcc."""
    authors = {person.address.key: person.address for person in message.participants if _is_author(person)}
    named = {person.address.key for person in message.participants}
    recipients = () if arrival.envelope is None else arrival.envelope.rcpt_to
    hidden = tuple(
        Participant(ParticipantRole.BCC, one.address, "") for one in recipients if one.address.key not in named
    )
    return Case(
        arrival=arrival,
        message=replace(message, participants=_unique((*message.participants, *hidden))),
        sender=next(iter(authors.values())) if len(authors) == 1 else None,
        defects=(),
        originals=(),
    )


def read_attached(raw: bytes, message: Message, arrival: Arrival, *, sender: Address | None) -> Case:
    """The case of a stored message that had been attached to a forward, read again."""
    parsed = parse(raw)
    again, _ = _message(parsed, arrival, message.id, message.raw, part=message.part)
    return Case(
        arrival=arrival,
        message=replace(again, auth=message.auth),
        sender=sender,
        defects=parsed.defects,
        originals=(),
    )


def _attached_case(parsed: ParsedMessage, carrier: Case, id_: MessageId, part: int) -> Case:
    unknown = BlobRef(digest=carrier.message.raw.digest, size=0)  # replaced once its bytes are kept
    message, back = _message(parsed, carrier.arrival, id_, unknown, part=part)
    return Case(
        arrival=carrier.arrival,
        message=message,
        sender=carrier.sender,
        defects=parsed.defects,
        originals=(),
        came_back=back,
    )


def _message(
    parsed: ParsedMessage,
    arrival: Arrival,
    id_: MessageId,
    raw: BlobRef,
    *,
    envelope_from_null: bool = False,
    part: int = 0,
) -> tuple[Message, CameBack | None]:
    # What is attached to a mail that came to a return path did not come there itself.
    to_return_path = arrival.channel is Channel.BOUNCE and part == 0
    kind = automatic.kind(parsed)
    back = came_back.read(
        parsed,
        kind,
        received=arrival.received_at.date(),
        to_return_path=to_return_path,
        envelope_from_null=envelope_from_null,
    )
    kind = kind if back is None else back.kind
    message = Message(
        id=id_,
        org=arrival.org,
        direction=Direction.IN,
        queue_id=arrival.id,
        message_id=parsed.message_id,
        digest=identity.content_digest(parsed),
        raw=raw,
        subject=parsed.subject,
        sent_at=parsed.sent_at,
        received_at=arrival.received_at,
        participants=_unique(participants(parsed)),
        parents=parsed.parents,
        auth=None,
        part=part,
        automatic=automatic.reason(parsed, envelope_from_null=envelope_from_null),
        attachments=parsed.attachments,
        kind=kind,
        reply=came_back.reply(parsed, kind, to_return_path=to_return_path),
    )
    return message, back


def _different(mails: Iterable[ParsedMessage]) -> list[ParsedMessage]:
    """The same mail attached twice is one (I8)."""
    return list({(mail.message_id, identity.content_digest(mail)): mail for mail in mails}.values())


def _is_author(person: Participant) -> bool:
    return person.role is ParticipantRole.FROM


def _is_forward(parsed: ParsedMessage, arrival: Arrival) -> bool:
    """Whether the mails attached are what it is about."""
    if forwarded.subject_kind(parsed.subject) == "forward":
        return True
    if arrival.target is None:
        return False
    dropbox = arrival.target.address.key
    to = [address for name in ("To", "Cc") for address in parsed.addresses(name).addresses]
    if any(address.key == dropbox for address in to):
        return True
    return arrival.channel is Channel.DROPBOX and all(_of_the_house(parsed, address) for address in to)


def _of_the_house(parsed: ParsedMessage, address: Address) -> bool:
    """Whether an address is the author's own, or by its domain a colleague's."""
    authors = parsed.addresses("From").addresses
    return any(
        address.key == author.key or (address.domain == author.domain and not domains.is_public(author.domain))
        for author in authors
    )


def _inline(found: forwarded.Forwarded) -> Original:
    people = (
        *_people([found.from_], ParticipantRole.FORWARDED_FROM),
        *_people((*found.to, *found.cc), ParticipantRole.FORWARDED_TO),
    )
    return Original(chain=0, level=found.level, people=people)


def _original(chain: int, mail: ParsedMessage) -> Original:
    people = (
        *_people(mail.addresses("From").mailboxes, ParticipantRole.FORWARDED_FROM),
        *_people((*mail.addresses("To").mailboxes, *mail.addresses("Cc").mailboxes), ParticipantRole.FORWARDED_TO),
    )
    return Original(chain=chain, level=0, people=people)


def _people(mailboxes: Sequence[Mailbox], role: ParticipantRole) -> tuple[Participant, ...]:
    return tuple(Participant(role, one.address, one.name) for one in mailboxes if one.address is not None)


def _unique(people: Iterable[Participant]) -> tuple[Participant, ...]:
    found: dict[tuple[ParticipantRole, str], Participant] = {}
    for person in people:
        found.setdefault((person.role, person.address.key), person)
    return tuple(found.values())[:MAX_PARTICIPANTS]
