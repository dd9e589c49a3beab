"""How our values look in JSON: addresses and record references as text, durations as `7d`, pages with a cursor.

Models of what is sent in refuse unknown fields; models of what is answered read our frozen dataclasses by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)

from mailrelay.errors import Invalid, Unknown
from mailrelay.model.address import Address
from mailrelay.model.record import RecordRef
from mailrelay.smtp.address import parse_address, parse_domain

T = TypeVar("T")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_REF = re.compile(r"([a-z0-9_]{1,64})/([^\x00-\x1f\x7f]{1,200})")


class Given(BaseModel):
    """Something sent to us."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Shown(BaseModel):
    """Something answered."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an address, local@domain")
    return parse_address(value)


def ref(value: object) -> RecordRef:
    """`contact/17` as a RecordRef. Raises ValueError."""
    if isinstance(value, RecordRef):
        return value
    if isinstance(value, str) and (parts := _REF.fullmatch(value)):
        return RecordRef(parts[1], parts[2])
    raise ValueError("must be module/id, such as contact/17")


def span(value: object) -> timedelta:
    """`90s`, `30m`, `12h`, `7d`, `2w` as a duration. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if value in (0, "0"):
        return timedelta()
    if isinstance(value, str) and (parts := _SPAN.fullmatch(value)):
        return timedelta(seconds=int(parts[1]) * _UNITS[parts[2]])
    raise ValueError("must be a duration such as 90s, 30m, 12h, 7d or 2w")


@contextmanager
def in_field(name: str) -> Iterator[None]:
    """Look up what a field of the request names: where that is not there, Invalid says so of the field, in place of Unknown.

    404 is for what the path names.
    """
    try:
        yield
    except Unknown as error:
        because = str(error)
        raise Invalid(name, because[:1].lower() + because[1:]) from None


def moment(text: str) -> datetime:
    """The time in a cursor, as we write it there. Raises Invalid, naming `after`, for what we would not have written."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError(text)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("after", "is not the `next` of a page") from None


def _domain(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a domain name")
    return parse_domain(value)


def _zone(value: object) -> str:
    try:
        return ZoneInfo(value).key if isinstance(value, str) else _zone("")
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError("is not an IANA time zone such as Europe/Berlin") from None


_as_text = PlainSerializer(str, return_type=str)
MailAddress = Annotated[
    Address, PlainValidator(_address), _as_text, WithJsonSchema({"type": "string", "examples": ["anna@example.org"]})
]
Ref = Annotated[
    RecordRef, PlainValidator(ref), _as_text, WithJsonSchema({"type": "string", "examples": ["contact/17"]})
]
if TYPE_CHECKING:
    QueryRef = RecordRef
else:
    # FastAPI takes what it knows as one value from a query only, so it is text until it was looked at.
    QueryRef = Annotated[str, AfterValidator(ref), WithJsonSchema({"type": "string", "examples": ["contact/17"]})]
Span = Annotated[
    timedelta,
    PlainValidator(span),
    WithJsonSchema({"type": "string", "pattern": r"^(0|\d{1,6}[smhdw])$", "examples": ["7d"]}),
]
MailDomain = Annotated[str, PlainValidator(_domain), WithJsonSchema({"type": "string", "examples": ["example.org"]})]
TimeZone = Annotated[str, PlainValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""A name that people give: one line."""
Limit = Annotated[int, Query(ge=1, le=1000, description="Items of a page.")]
After = Annotated[str, Query(max_length=500, description="`next` of the page before.")]


class Page(Shown, Generic[T]):
    """One page; `next` is the `after` of the following one, null at the end."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """What handlers return for a `Page`."""

    items: Sequence[T]
    next: str | None


def paged(items: Sequence[T], *, limit: int, cursor: Callable[[T], str]) -> Paged[T]:
    """A page of at most `limit` items, with the cursor of its last one when there may be more."""
    return Paged(items, cursor(items[-1]) if len(items) >= limit else None)


def page_of(
    items: Iterable[T], *, after: str, limit: int, cursor: Callable[[T], str], newest_first: bool = False
) -> Paged[T]:
    """A page of what is few and in memory, in the order of its cursors."""
    ordered = sorted(items, key=cursor, reverse=newest_first)
    if after:
        ordered = [one for one in ordered if (cursor(one) < after if newest_first else cursor(one) > after)]
    return Paged(ordered[:limit], cursor(ordered[limit - 1]) if len(ordered) > limit else None)


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model in one piece, for a body that FastAPI does not describe by itself."""
    schema = model.model_json_schema(by_alias=True)
    parts = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            named = str(value.get("$ref", "")).rpartition("/")[2]
            return whole(parts[named]) if named else {name: whole(inner) for name, inner in value.items()}
        return [whole(inner) for inner in value] if isinstance(value, list) else value

    described_: dict[str, Any] = whole(schema)
    return described_


def lines_of(said: str, *models: type[BaseModel]) -> dict[str, Any]:
    """The description of an answer of JSON lines (NDJSON), each of which is one of these."""
    schema = {"description": "Each line is one of these.", "oneOf": [described(model) for model in models]}
    return {"description": said, "content": {"application/x-ndjson": {"schema": schema}}}
