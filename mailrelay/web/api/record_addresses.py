"""Signed addresses of records: what is sent to one is filed on its record, whoever writes (I21)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from mailrelay import log
from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.mail import record_address
from mailrelay.mail.record_address import RecordAddressToken
from mailrelay.model.record import FilingAddress
from mailrelay.store import filing_addresses, uses
from mailrelay.store.base import Tx
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Caller, Reader, Sender
from mailrelay.web.once import Once, making
from mailrelay.web.shape import (
    After,
    Given,
    Limit,
    MailAddress,
    Page,
    Paged,
    QueryRef,
    Ref,
    Shown,
    Span,
    in_field,
    paged,
)
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["record addresses"])
_logger = log.get()
_UNTIL = "The last day on which it is valid, in UTC; null: without an end."
Number = Annotated[int, Path(ge=1, le=record_address.MOST)]


class GivenRecordAddress(Given):
    """A new address of a record."""

    record: Ref
    until: date | None = Field(None, description=_UNTIL)


class NewRecordAddress(Given):
    """What the new address is like that takes the place of an old one."""

    until: date | None = Field(None, description=_UNTIL)


class ShownRecordAddress(Shown):
    """An address of a record; `valid_until` is null unless it was regenerated or revoked, `valid` is as of now."""

    number: int
    address: MailAddress
    record: Ref
    until: date | None
    valid: bool
    created_at: datetime
    created_by: str
    valid_until: datetime | None
    ended_by: str


class ShownUse(Shown):
    """Somebody who writes to a secret address: the author of the mails, as they say themselves."""

    address: MailAddress
    count: int
    first_at: datetime
    last_at: datetime


OnceAnAddress = Annotated[Once, making("/record-addresses/{number}")]


@router.get("/record-addresses", response_model=Page[ShownRecordAddress])
async def list_all(
    app: App,
    caller: Reader,
    record: Annotated[QueryRef | None, Query(description="Only those of this record.")] = None,
    after: After = "",
    limit: Limit = 100,
) -> Paged[ShownRecordAddress]:
    """Every address that records ever had, or one record's, in the order in which they were made."""
    start = _number(after)
    found = await app.store.read(filing_addresses.list_addresses, caller.org, record=record, after=start, limit=limit)
    return paged([_shown(app, one) for one in found], limit=limit, cursor=lambda one: str(one.number))


@router.post("/record-addresses", status_code=201)
async def make(app: App, caller: Sender, given: GivenRecordAddress, once: OnceAnAddress) -> ShownRecordAddress:
    """Give a record its address. Whoever has it can put mail on the record; the sender is not asked for anything else."""
    made = await once.write(app.store, _make, app, caller, given)
    _logger.info("record-address.made", org=caller.org, record=str(made.record), number=made.number, by=caller.by)
    return made


@router.get("/record-addresses/{number}")
async def show(app: App, caller: Reader, number: Number) -> ShownRecordAddress:
    """One address of a record."""
    return await app.store.read(_show, app, caller.org, number)


@router.post("/record-addresses/{number}/regenerate", status_code=201)
async def regenerate(
    app: App,
    caller: Sender,
    number: Number,
    given: NewRecordAddress,
    once: Annotated[Once, making("/record-addresses/{number}")],
    seen: IfMatch,
    overlap: Annotated[
        Span,
        Query(
            description="How long the old address stays valid, such as 7d; by default it stops at once.",
            default_factory=timedelta,  # a default that is described would be described as PT0S
        ),
    ],
) -> ShownRecordAddress:
    """Give the record another address; the old one stops at once, or after `overlap`."""
    made = await once.write(app.store, _regenerate, app, caller, number, given, seen, overlap)
    _logger.info("record-address.ended", org=caller.org, record=str(made.record), number=number, by=caller.by)
    return made


@router.delete("/record-addresses/{number}", status_code=204)
async def revoke(app: App, caller: Sender, number: Number, seen: IfMatch) -> None:
    """End an address at once: mail to it is refused."""
    await app.store.write(_revoke, app, caller, number, seen)
    _logger.info("record-address.ended", org=caller.org, number=number, by=caller.by)


@router.get("/record-addresses/{number}/uses", response_model=Page[ShownUse])
async def list_uses(app: App, caller: Reader, number: Number, after: After = "", limit: Limit = 100) -> Paged[uses.Use]:
    """Who writes to the address: how often, and when first and last. The first 500 are counted."""
    found = await app.store.read(_uses, caller.org, number, after, limit)
    return paged(found, limit=limit, cursor=lambda one: one.address.key)


def _number(after: str) -> int:
    if after and not (after.isascii() and after.isdigit() and int(after) <= record_address.MOST):
        raise Invalid("after", "is not the `next` of a page")
    return int(after or "0")


def _show(tx: Tx, app: Application, org: OrgId, number: int) -> ShownRecordAddress:
    return _shown(app, filing_addresses.get(tx, org, number))


def _make(tx: Tx, app: Application, caller: Caller, given: GivenRecordAddress) -> ShownRecordAddress:
    new = FilingAddress(
        org=caller.org,
        number=0,
        record=given.record,
        until=_end(app, given.until),
        created_at=app.clock.now(),
        created_by=caller.by,
    )
    with in_field("record"):
        return _shown(app, filing_addresses.make(tx, new))


def _regenerate(
    tx: Tx, app: Application, caller: Caller, number: int, given: NewRecordAddress, seen: Seen, overlap: timedelta
) -> ShownRecordAddress:
    seen.check(tx, lambda: _show(tx, app, caller.org, number))
    now = app.clock.now()
    old = filing_addresses.get(tx, caller.org, number)
    new = FilingAddress(
        org=caller.org,
        number=0,
        record=old.record,
        until=_end(app, given.until),
        created_at=now,
        created_by=caller.by,
    )
    return _shown(app, filing_addresses.regenerate(tx, old, new, old_until=now + overlap))


def _revoke(tx: Tx, app: Application, caller: Caller, number: int, seen: Seen) -> None:
    seen.check(tx, lambda: _show(tx, app, caller.org, number))
    now = app.clock.now()
    filing_addresses.end(tx, filing_addresses.get(tx, caller.org, number), until=now, by=caller.by, at=now)


def _uses(tx: Tx, org: OrgId, number: int, after: str, limit: int) -> tuple[uses.Use, ...]:
    filing_addresses.get(tx, org, number)
    return uses.list_uses(tx, org, uses.of_record_address(number), after=after, limit=limit)


def _end(app: Application, last_day: date | None) -> datetime | None:
    """The moment from which an address is over that is valid on this day. Raises Invalid."""
    if last_day is None:
        return None
    if record_address.end_of(last_day) <= app.clock.now():
        raise Invalid("until", "is in the past")
    if last_day > record_address.latest_day():
        raise Invalid("until", f"can be {record_address.latest_day()} at the latest; leave it out for no end")
    return record_address.end_of(last_day)


def _shown(app: Application, one: FilingAddress) -> ShownRecordAddress:
    last_day = None if one.until is None else one.until.date() - timedelta(days=1)
    token = RecordAddressToken(one.org, one.number, last_day)
    return ShownRecordAddress(
        number=one.number,
        address=record_address.make(token, app.secret, app.config.inbound.domains[0]),
        record=one.record,
        until=last_day,
        valid=one.holds(app.clock.now()),
        created_at=one.created_at,
        created_by=one.created_by,
        valid_until=one.valid_until,
        ended_by=one.ended_by,
    )
