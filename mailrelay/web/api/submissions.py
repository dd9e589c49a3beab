"""Sending mail: from JSON fields, or a whole RFC 5322 message with its envelope in its header (O1, O2, O19)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema, model_validator

from mailrelay.errors import Conflict, Invalid, MemoryShort, NotPermitted, Unknown
from mailrelay.ids import AttachmentId, OrgId
from mailrelay.mail import addresses, file_name
from mailrelay.mail.compose import Attachment, Draft, Person, compose
from mailrelay.mail.message import parse
from mailrelay.mail.thread import references
from mailrelay.model.address import Address
from mailrelay.model.envelope import BodyType, Channel, EnvelopeRecipient, MailParams
from mailrelay.model.mailing_list import LONGEST_NAME
from mailrelay.model.organisation import User
from mailrelay.model.record import RecordRef
from mailrelay.model.schedule import Preset, Wish
from mailrelay.model.tracking import Mode
from mailrelay.outbound import addressing
from mailrelay.outbound.addressing import ToRecord
from mailrelay.outbound.job import JOB_FIELD, LONGEST_JOB, checked_job, take_job
from mailrelay.outbound.mailing_list import LIST_FIELD, checked_list, take_list
from mailrelay.outbound.submission import Addressed, Submission, Submitted
from mailrelay.outbound.tracked import take_tracking
from mailrelay.smtp.address import parse_address
from mailrelay.smtp.data import normalise_newlines
from mailrelay.store import messages, people, visibility
from mailrelay.store.base import Tx
from mailrelay.store.people import find
from mailrelay.web.api import attachments
from mailrelay.web.api.scheduling import GivenSchedule, ShownSchedule
from mailrelay.web.application import App
from mailrelay.web.identity import Caller, Sender
from mailrelay.web.once import PREFIX, REPLAYED, IdempotencyKey, check_key
from mailrelay.web.shape import Given, MailAddress, QueryRef, Ref, Shown, described, in_field, ref
from mailrelay.web.strict import StrictRoute, json_body, validated

router = APIRouter(route_class=StrictRoute, tags=["messages"])
_WHOLE = "message/rfc822"
_MANY_BYTES = 100_000
"""Above this a request is composed in a thread."""
_RECIPIENT_FIELDS = ("To", "Cc", "Bcc")


def _person(value: object) -> Person:
    """`anna@example.org`, `Anna <anna@example.org>`, or {"name": …, "address": …}."""
    match value:
        case str():
            found = addresses.read(value)
            if len(found.mailboxes) == 1 and (address := found.mailboxes[0].address) and not found.defects:
                return Person(found.mailboxes[0].name, address)
            raise ValueError("must be one address: anna@example.org or Anna <anna@example.org>")
        case {"address": str(text), "name": str(name), **rest} if not rest:
            return Person(name, parse_address(text))
        case {"address": str(text), **rest} if not rest:
            return Person("", parse_address(text))
        case _:
            raise ValueError('must be an address, or {"name": …, "address": …}')


_PERSON_SCHEMA: list[dict[str, Any]] = [
    {"type": "string", "examples": ["Anna Example <anna@example.org>"]},
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "address": {"type": "string"}},
        "required": ["address"],
        "additionalProperties": False,
    },
]
Who = Annotated[Person, PlainValidator(_person), WithJsonSchema({"anyOf": _PERSON_SCHEMA})]


def _recipient(value: object) -> Person | ToRecord:
    """A person as above; or a record: `contact/17`, or {"record": "contact/17", "field": "secondary"} (O3)."""
    match value:
        case {"record": str(text), **rest} if not rest:
            return ToRecord(ref(text))
        case {"record": str(text), "field": str(field), **rest} if not rest and 0 < len(field) <= _LONGEST_FIELD:
            return ToRecord(ref(text), field)
        case {"record": _}:
            raise ValueError('a record is {"record": "contact/17"}, and "field": primary, secondary or a field\'s name')
        case str() if "@" not in value and "/" in value:
            return ToRecord(ref(value))
        case _:
            return _person(value)


_LONGEST_FIELD = 100
Recipient = Annotated[
    Person | ToRecord,
    PlainValidator(_recipient),
    WithJsonSchema(
        {
            "anyOf": [
                *_PERSON_SCHEMA,
                {
                    "type": "object",
                    "description": "A record: at its primary or secondary address, or at that in a field. Its name alone "
                    "(contact/17) is its primary address.",
                    "properties": {
                        "record": {"type": "string", "examples": ["contact/17"]},
                        "field": {"type": "string", "minLength": 1, "maxLength": _LONGEST_FIELD, "default": "primary"},
                    },
                    "required": ["record"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


def _content(value: object) -> bytes:
    """Base64 as RFC 4648 §4 has it, line ends allowed; anything else in it is an error, not left out."""
    if not isinstance(value, str):
        raise ValueError("must be base64 in a string")
    try:
        return base64.b64decode(value.translate(_LINE_ENDS), validate=True)
    except ValueError:
        raise ValueError("is not base64") from None


_LINE_ENDS = {ord(char): None for char in "\r\n"}
Content = Annotated[bytes, PlainValidator(_content), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Line = Annotated[str, StringConstraints(max_length=900)]
Job = Annotated[str, StringConstraints(max_length=LONGEST_JOB)]
_AT = "When it is to go: 2026-12-01T08:00 where its author is, or in `zone`; with an offset that moment."
_MOST_RECORDS = 50
_RECORDS = "Records to file it on, besides those that the rules find: a deal, an invoice."
ListName = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
_LIST = "The mailing list that a mass of mail is sent to (O15): who left it gets none of it. Without one it is all mail that they leave."
_JOB = "What you call the mass of mail that this is part of: its rates are watched, and it can be stopped, by itself."


class GivenAttachment(Given):
    """A file: `name` and `content` in base64; or a file of a record: `record` and `attachment`, its id."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["name", "content"]}, {"required": ["record", "attachment"]}]}
    )

    name: Line = ""
    type: Line = "application/octet-stream"
    content: Content = Field(b"", repr=False)
    record: Annotated[Ref | None, Field(description="The record that has the file.")] = None
    attachment: Annotated[str, StringConstraints(max_length=50)] = Field(
        "", description="Which of the record's files: its id."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> GivenAttachment:
        said = self.model_fields_set
        if said & {"record", "attachment"}:
            if self.record is None or not self.attachment:
                raise ValueError("a file of a record needs record and attachment")
            if said & {"name", "type", "content"}:
                raise ValueError("is a file of a record or one with a name and content, not both")
        elif not {"name", "content"} <= said:
            raise ValueError("needs name and content, or record and attachment for a file of a record")
        return self


class GivenMessage(Given):
    """A mail to send; at least one recipient, and a text or an HTML body."""

    from_: Who | None = Field(None, alias="from", description="By default the user's primary address.")
    to: tuple[Recipient, ...] = Field((), max_length=1000)
    cc: tuple[Recipient, ...] = Field((), max_length=1000)
    bcc: tuple[Recipient, ...] = Field((), max_length=1000)
    reply_to: tuple[Who, ...] = Field((), max_length=20)
    subject: Annotated[str, StringConstraints(max_length=10_000)] = ""
    text: str | None = Field(None, repr=False)
    html: str | None = Field(None, repr=False)
    attachments: tuple[GivenAttachment, ...] = Field((), max_length=100)
    headers: Mapping[str, str] = Field(default_factory=dict, max_length=50, description="Further header fields.")
    in_reply_to: Line | None = Field(None, description="A Message-ID without angle brackets.")
    references: tuple[Line, ...] = Field((), max_length=100)
    job: Job = Field("", description=_JOB)
    list: ListName = Field("", description=_LIST)
    tracking: Mode | None = Field(
        None, description="What may be recorded of opens and clicks, at most (O9); null: as the organisation has it."
    )
    documents: int = Field(0, ge=0, description="How many links to documents of cloud stores are in it (O4).")
    schedule: GivenSchedule | None = Field(None, description="When it is to go (O5); without it at once.")
    records: tuple[Ref, ...] = Field((), max_length=_MOST_RECORDS, description=_RECORDS)


QueryAt = Annotated[str, Query(max_length=40, description=f"For a whole message. {_AT}")]
QueryZone = Annotated[str, Query(max_length=64, description="For a whole message: the time zone of `at` or `preset`.")]
QueryPreset = Annotated[Preset | None, Query(description="For a whole message: a time by name, in place of `at`.")]
QueryRecords = Annotated[
    tuple[QueryRef, ...], Query(max_length=_MOST_RECORDS, description=f"{_RECORDS} May be given several times.")
]
A_MESSAGE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": described(GivenMessage)},
            _WHOLE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The body of whatever takes a mail."""


class QueuedDelivery(Shown):
    """One recipient of a queued message."""

    id: str
    recipient: MailAddress


class Queued(Shown):
    """A queued message; `repeated` when this Idempotency-Key had queued it before.

    Dropboxes of the organisation are no deliveries: what is sent to them is filed at once.
    """

    id: str
    queue_id: str
    deliveries: tuple[QueuedDelivery, ...]
    repeated: bool
    schedule: ShownSchedule | None

    @classmethod
    def of(cls, one: Submitted) -> Queued:
        """What became of a submission, as it is answered."""
        return cls(
            id=one.message,
            queue_id=one.queue_id,
            deliveries=tuple(
                QueuedDelivery(id=delivery, recipient=address)
                for delivery, address in zip(one.deliveries, one.sent_to, strict=True)
            ),
            repeated=one.repeated,
            schedule=None if one.schedule is None else ShownSchedule.of(one.schedule),
        )


@router.post(
    "/messages",
    status_code=202,
    openapi_extra=A_MESSAGE,
    responses={
        202: {
            "headers": {
                "Location": {"description": "Where the mail is.", "schema": {"type": "string"}},
                REPLAYED: {"description": "`true` when this key had queued it before.", "schema": {"type": "string"}},
            }
        }
    },
)
async def send(
    app: App,
    caller: Sender,
    request: Request,
    response: Response,
    user: Annotated[
        str, Query(max_length=320, description="On whose behalf, by id or address; by default the owner of From.")
    ] = "",
    job: Annotated[
        str,
        Query(max_length=LONGEST_JOB, description=f"For a whole message, like its field {JOB_FIELD}. {_JOB}"),
    ] = "",
    list: Annotated[  # noqa: A002 (the parameter's name)
        str, Query(max_length=LONGEST_NAME, description=f"For a whole message, like its field {LIST_FIELD}. {_LIST}")
    ] = "",
    at: QueryAt = "",
    zone: QueryZone = "",
    preset: QueryPreset = None,
    record: QueryRecords = (),
    idempotency_key: IdempotencyKey = None,
) -> Queued:
    """Queue a mail for each of its recipients; 202 means that it is durable.

    A body of type message/rfc822 is sent as it is, to the addresses of its To, Cc and Bcc, without Bcc.
    """
    check_key(request, idempotency_key)
    if app.memory.short():
        raise MemoryShort("Memory is short; try again later")  # D07: as SMTP says 421
    asked = asked_for(at, zone, preset)
    taken = await read_submission(app, caller, request, user=user, job=job, list_=list, schedule=asked, records=record)
    submitted = await app.submitter.submit(replace(taken, idempotency_key=idempotency_key, by=caller.by))
    response.headers["Location"] = f"{PREFIX}/messages/{submitted.message}"
    if submitted.repeated:
        response.headers[REPLAYED] = "true"
    return Queued.of(submitted)


async def read_submission(
    app: App,
    caller: Caller,
    request: Request,
    *,
    user: str,
    job: str = "",
    list_: str = "",
    schedule: Wish | None = None,
    records: Sequence[RecordRef] = (),
) -> Submission:
    """The mail in a request's body, fields or a whole message, by who may send it. `records` are those that it is filed on.

    Raises Invalid, NotPermitted, HTTPException.
    """
    addressed: tuple[Addressed, ...] = ()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _WHOLE:
        raw = normalise_newlines(await request.body())
        sender, recipients = await _off_loop(len(raw), _envelope, raw)
        author = await app.store.read(author_of, caller, user, sender)
        documents, tracking = 0, None
    elif kind in ("application/json", ""):
        size = len(await request.body())
        given = await _off_loop(size, validated, GivenMessage, await json_body(request))
        author = await app.store.read(author_of, caller, user, given.from_.address if given.from_ else None)
        sender = given.from_.address if given.from_ else author.primary
        if given.in_reply_to and not given.references:
            thread = await app.store.read(_thread, caller, given.in_reply_to)
            given = given.model_copy(update={"references": thread})
        wanted = _to_records(given)
        people_of = await app.store.read(addressing.resolve, caller.org, wanted) if wanted else {}
        addressed = tuple(Addressed(one.record, people_of[path].address) for path, one in wanted.items())
        raw, recipients = await _off_loop(size, _composed, given, author, people_of, await _files(app, caller, given))
        records = (*records, *given.records)
        documents = given.documents
        tracking = given.tracking
        list_ = _one_list(list_, given.list)
        job = _one_job(job, given.job)
        if given.schedule is not None and schedule is not None:
            raise Invalid("schedule", "is in the body and in the query; say it once")
        schedule = schedule if given.schedule is None else given.schedule.wish()
    else:
        raise HTTPException(415, f"Send application/json or {_WHOLE}, not {kind}")
    raw, named = take_job(raw)
    raw, of_list = take_list(raw)
    raw, said = take_tracking(raw)
    if said is not None and tracking is not None and said is not tracking:
        raise Invalid("tracking", f"is {tracking} in one place and {said} in another")
    return Submission(
        org=caller.org,
        user=author.id,
        channel=Channel.API,
        mail_from=sender,
        recipients=tuple(EnvelopeRecipient(address=address) for address in recipients),
        raw=raw,
        params=MailParams(
            body=None if raw.isascii() else BodyType.EIGHT_BIT,
            smtputf8=not all(str(address).isascii() for address in recipients),
        ),
        documents=documents,
        job=_one_job(job, named),
        list=_one_list(list_, of_list),
        tracking=tracking or said,
        schedule=schedule,
        addressed=addressed,
        records=tuple(dict.fromkeys(records)),
    )


def _to_records(given: GivenMessage) -> dict[str, ToRecord]:
    """The recipients that are records, by where they stand."""
    return {
        f"{name}[{place}]": one
        for name, everyone in (("to", given.to), ("cc", given.cc), ("bcc", given.bcc))
        for place, one in enumerate(everyone)
        if isinstance(one, ToRecord)
    }


def asked_for(at: str, zone: str, preset: Preset | None) -> Wish | None:
    """The schedule of the query, None without one. Raises RequestValidationError, Invalid."""
    if not (at or zone or preset):
        return None
    given = {"at": at or None, "zone": zone or None, "preset": preset}
    return validated(GivenSchedule, given).wish()


def _one_job(asked: str, named: str) -> str:
    """The job of a mail, which may be said in more than one place. Raises Invalid."""
    if asked and named and asked != named:
        raise Invalid("job", f"is {asked!r} in one place and {named!r} in another")
    return checked_job(asked or named, "job") if asked or named else ""


def _one_list(asked: str, named: str) -> str:
    """The mailing list of a mail, which may be said in more than one place. Raises Invalid."""
    if asked and named and asked != named:
        raise Invalid("list", f"is {asked!r} in one place and {named!r} in another")
    return checked_list(asked or named, "list") if asked or named else ""


async def _off_loop(size: int, work: Any, /, *given: Any) -> Any:
    """What takes long for many bytes is done beside the event loop."""
    return await asyncio.to_thread(work, *given) if size > _MANY_BYTES else work(*given)


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


def _thread(tx: Tx, caller: Caller, answered: str) -> tuple[str, ...]:
    """The References of an answer (RFC 5322 §3.6.4); as far as what it answers is stored and the caller may see it."""
    name = answered.strip().removeprefix("<").removesuffix(">")
    named = messages.by_message_ids(tx, caller.org, [name]).get(name, ())
    seen = visibility.of_these(tx, caller.viewer, named)
    found = messages.get_many(tx, caller.org, [one for one in named if one in seen])
    return references(found[0]) if found else (name,)


async def _files(app: App, caller: Caller, given: GivenMessage) -> tuple[Attachment, ...]:
    """The files of a mail, those of records with their bytes (O4). Raises Invalid for one that the caller cannot have."""
    found = []
    for place, one in enumerate(given.attachments):
        if one.record is None:
            found.append(Attachment(one.name, one.type, one.content))
            continue
        try:
            file, data = await attachments.fetch(app, caller, one.record, AttachmentId(one.attachment))
        except (Unknown, Conflict) as error:
            raise Invalid(f"attachments[{place}]", str(error)) from None
        found.append(Attachment(file_name.safe(file.name, file.type), file_name.media_type(file.type), data))
    return tuple(found)


def _composed(
    given: GivenMessage, author: User, people_of: Mapping[str, Person], files: Sequence[Attachment]
) -> tuple[bytes, tuple[Address, ...]]:
    """`people_of` are the recipients that were named by a record, by where they stand."""

    def persons(name: str, everyone: Sequence[Person | ToRecord]) -> tuple[Person, ...]:
        return tuple(
            people_of[f"{name}[{place}]"] if isinstance(one, ToRecord) else one for place, one in enumerate(everyone)
        )

    to, cc, bcc = persons("to", given.to), persons("cc", given.cc), persons("bcc", given.bcc)
    recipients = _once(person.address for person in (*to, *cc, *bcc))
    if not recipients:
        raise Invalid("to", "a mail needs at least one recipient in to, cc or bcc")
    draft = Draft(
        from_=given.from_ or Person(author.name, author.primary),
        to=to,
        cc=cc,
        reply_to=given.reply_to,
        subject=given.subject,
        text=given.text,
        html=given.html,
        attachments=files,
        headers=tuple(given.headers.items()),
        in_reply_to=given.in_reply_to,
        references=given.references,
        date=None,
        message_id=None,
    )
    return compose(draft), recipients


def _envelope(raw: bytes) -> tuple[Address, tuple[Address, ...]]:
    """The header sender, and everyone in To, Cc and Bcc. Raises Invalid with the field that cannot be read."""
    parsed = parse(raw)
    found: list[Address] = []
    for name in ("From", *_RECIPIENT_FIELDS):
        for mailbox in parsed.addresses(name).mailboxes:
            if mailbox.address is None:
                raise Invalid(name, f"has something that is no address: {mailbox.source[:80]!r}")
            found.append(mailbox.address)
        if name == "From" and not found:
            raise Invalid("From", "is missing")
    authors = len(parsed.addresses("From").mailboxes)
    recipients = _once(found[authors:])
    if not recipients:
        raise Invalid("To", "a mail needs at least one recipient in To, Cc or Bcc")
    return found[0], recipients


def _once(people_in_it: Iterable[Address]) -> tuple[Address, ...]:
    return tuple({address.key: address for address in people_in_it}.values())
