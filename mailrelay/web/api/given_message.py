"""A mail as it is given to be sent: JSON fields, or a whole message with words of the query beside it (O1, O3, O4)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from pydantic import ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema, model_validator

from mailrelay.mail import addresses
from mailrelay.mail.compose import Person
from mailrelay.model.mailing_list import LONGEST_NAME
from mailrelay.model.schedule import Preset, Wish
from mailrelay.model.tracking import Mode
from mailrelay.outbound.addressing import ToRecord
from mailrelay.outbound.job import LONGEST_JOB
from mailrelay.smtp.address import parse_address
from mailrelay.web.api.scheduling import GivenSchedule
from mailrelay.web.shape import Given, QueryRef, Ref, described, ref
from mailrelay.web.strict import validated

WHOLE = "message/rfc822"
"""The media type of a whole message."""


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
LIST = "The mailing list that a mass of mail is sent to (O15): who left it gets none of it. Without one it is all mail that they leave."
JOB = "What you call the mass of mail that this is part of: its rates are watched, and it can be stopped, by itself."


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
    job: Job = Field("", description=JOB)
    list: ListName = Field("", description=LIST)
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
            WHOLE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The body of whatever takes a mail."""


def asked_for(at: str, zone: str, preset: Preset | None) -> Wish | None:
    """The schedule of the query, None without one. Raises RequestValidationError, Invalid."""
    if not (at or zone or preset):
        return None
    given = {"at": at or None, "zone": zone or None, "preset": preset}
    return validated(GivenSchedule, given).wish()
