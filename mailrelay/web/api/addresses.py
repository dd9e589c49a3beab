"""Everything known of an address on one page: why does Bob get no mail? (O10, I10, I11); and erasing its person (T13)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from mailrelay.errors import Unavailable
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState, DeliveryStatus
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import Kind
from mailrelay.model.record import AddressKind
from mailrelay.outbound.erase import Erased, erase
from mailrelay.store import absences, deliveries, erasures, feedback, matches, suppressions, visibility
from mailrelay.store.base import Tx
from mailrelay.store.erasures import Begun, Staying
from mailrelay.store.matches import Match
from mailrelay.web.api.absences import ShownAbsence
from mailrelay.web.api.suppressions import ShownSuppression, given_address
from mailrelay.web.application import App
from mailrelay.web.etag import IfMatch
from mailrelay.web.identity import Administrator, Caller, Reader
from mailrelay.web.shape import MailAddress, Ref, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["addresses"])
_RECORDS = 100
_SHOWN = 20


class AddressRecord(Shown):
    """A record that has the address, and in which field."""

    record: Ref
    name: str
    field: str
    kind: AddressKind

    @classmethod
    def of(cls, one: Match) -> AddressRecord:
        """The match as it is answered."""
        return cls(record=one.ref, name=one.name, field=one.field, kind=one.kind)


class AddressDelivery(Shown):
    """A mail to the address. `category`, `hard` and `fault` say what its last bad answer means."""

    id: str
    message: str
    queue_id: str
    job: str
    state: DeliveryState
    status: DeliveryStatus
    created_at: datetime
    due_at: datetime
    attempts: int
    last_reply: str
    category: Category | None
    hard: bool
    fault: Fault | None
    held_by: str
    replied_at: datetime | None
    complained_at: datetime | None

    @classmethod
    def of(cls, one: Delivery, silent_since: datetime) -> AddressDelivery:
        """The delivery as it is answered; what was sent by `silent_since` and did not bounce counts as delivered (K1)."""
        return cls.model_validate(one).model_copy(update={"status": one.status_when(silent_since)})


class AddressFeedback(Shown):
    """What a mail that came back says of the address; `believed` when it was acted on."""

    at: datetime
    message: str
    delivery: str | None
    kind: Kind
    action: Action
    category: Category
    hard: bool
    fault: Fault
    status: str
    code: int | None
    diagnostic: str
    believed: bool


class ShownAddressPage(Shown):
    """An address: whether it is sent to, everything that ever stood against it, its last mails, and what came back.

    `key` is the address as it is compared, `absence` what an automatic reply says while it holds. `may_be_sent_to` is false while
    one of the suppressions holds.
    """

    address: MailAddress
    key: str
    may_be_sent_to: bool
    suppressions: tuple[ShownSuppression, ...]
    absence: ShownAbsence | None
    records: tuple[AddressRecord, ...]
    deliveries: tuple[AddressDelivery, ...]
    feedback: tuple[AddressFeedback, ...]


class ShownStaying(Shown):
    """What an erasure leaves, since it belongs to the mail itself or to the CRM: how many deliveries to the address, messages that name
    it, and records that have it.
    """

    deliveries: int
    messages: int
    records: int
    because: str


class ShownErasure(Shown):
    """What went: hits, consents, and details of events in the journal, whose numbers and types stay.

    `key` is the hash that stands for the address from now on, `suppressions` how many rows were put under it by this request.
    """

    key: str
    at: datetime
    hits: int
    consents: int
    events: int
    suppressions: int
    stays: ShownStaying

    @classmethod
    def of(cls, one: Erased) -> ShownErasure:
        """The erasure as it is answered."""
        return cls(
            key=one.begun.key,
            at=one.at,
            hits=one.hits,
            consents=one.begun.consents,
            events=one.events,
            suppressions=one.begun.suppressions,
            stays=ShownStaying(
                deliveries=one.stays.deliveries,
                messages=one.stays.messages,
                records=one.stays.records,
                because=_because(one.stays),
            ),
        )


def _because(stays: Staying) -> str:
    if not (stays.deliveries or stays.messages or stays.records):
        return "Nothing else is known of the address."
    return (
        "Mail to and from the address is kept, with its deliveries, what servers answered to them, and their events: it is the "
        "correspondence of your users. Records that have the address are the CRM's to change."
    )


@router.get("/addresses/{address}")
async def show(
    app: App,
    caller: Reader,
    address: str,
    limit: Annotated[int, Query(ge=1, le=100, description="Deliveries and returned mails, the newest.")] = _SHOWN,
) -> ShownAddressPage:
    """Everything known of an address: what stands against it, its records, its last mails, what came back."""
    return await app.store.read(_known, caller, given_address(address), limit, now=app.clock.now())


@router.post("/addresses/{address}/erase", response_model=ShownErasure)
async def erase_person(app: App, caller: Administrator, address: str, seen: IfMatch) -> ShownErasure:
    """Erase the person of an address: their opens and clicks, consents, absences, and what the journal tells of these.

    What stood against the address stays so, under a hash that is made with the installation's secret. It is done in pieces: after an
    error, ask again, and what is left is done. The same again changes nothing more. What stays is in the answer.
    """
    key, now = given_address(address).key, app.clock.now()

    def begin(tx: Tx) -> Begun:
        seen.check(tx, lambda: _known(tx, caller, given_address(address), _SHOWN, now=now))
        return erasures.begin(tx, caller.org, key, at=now, by=caller.by)

    begun = await app.store.write(begin)
    try:
        done = await erase(app.store, app.clock, app.hits, caller.org, key, begun=begun, by=caller.by)
    except OSError as error:
        raise Unavailable(f"What waits on the disk could not all be erased ({error.strerror}); ask again") from error
    return ShownErasure.of(done)


def _known(tx: Tx, caller: Caller, address: Address, limit: int, *, now: datetime) -> ShownAddressPage:
    org, key = caller.org, address.key
    away = next(iter(absences.of(tx, org, [key], now)), None)
    if away is not None and not visibility.of_these(tx, caller.viewer, [away.message]):
        away = None
    stood = suppressions.history(tx, org, key)
    sent: tuple[Delivery, ...] = deliveries.to_address(tx, org, key, limit=limit, viewer=caller.viewer)
    came = feedback.of_address(tx, org, key, limit=limit, viewer=caller.viewer)
    return ShownAddressPage(
        address=address,
        key=key,
        may_be_sent_to=all(one.lifted_at is not None or one.list for one in stood),
        suppressions=tuple(ShownSuppression.model_validate(one) for one in stood),
        absence=None if away is None else ShownAbsence.model_validate(away),
        records=tuple(AddressRecord.of(one) for one in matches.by_addresses(tx, org, [key], limit=_RECORDS)),
        deliveries=tuple(AddressDelivery.of(one, deliveries.silent_since(tx, org, now=now)) for one in sent),
        feedback=tuple(AddressFeedback.model_validate(one) for one in came),
    )
