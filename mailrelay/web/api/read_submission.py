"""A request to send as a `Submission`: who sends it, to whom, what it is, and what it says of itself in its header (O1, O2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Request

from mailrelay.errors import Conflict, Invalid, Unknown
from mailrelay.ids import AttachmentId
from mailrelay.mail import file_name
from mailrelay.mail.compose import Attachment, Draft, Person, compose
from mailrelay.mail.message import parse
from mailrelay.mail.thread import references
from mailrelay.model.address import Address
from mailrelay.model.envelope import BodyType, Channel, EnvelopeRecipient, MailParams
from mailrelay.model.organisation import User
from mailrelay.model.record import RecordRef
from mailrelay.model.schedule import Wish
from mailrelay.outbound import addressing
from mailrelay.outbound.addressing import ToRecord
from mailrelay.outbound.job import checked_job, take_job
from mailrelay.outbound.mailing_list import checked_list, take_list
from mailrelay.outbound.submission import Addressed, Submission
from mailrelay.outbound.tracked import take_tracking
from mailrelay.smtp.data import normalise_newlines
from mailrelay.store import messages, visibility
from mailrelay.store.base import Tx
from mailrelay.web.api import attachments
from mailrelay.web.api.author import author_of
from mailrelay.web.api.given_message import WHOLE, GivenMessage
from mailrelay.web.application import App
from mailrelay.web.identity import Caller
from mailrelay.web.strict import json_body, validated

_MANY_BYTES = 100_000
"""Above this a request is composed in a thread."""
_RECIPIENT_FIELDS = ("To", "Cc", "Bcc")


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
    if kind == WHOLE:
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
        raise HTTPException(415, f"Send application/json or {WHOLE}, not {kind}")
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
