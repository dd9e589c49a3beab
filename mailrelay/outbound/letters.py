"""Stored mails made ready for next hops; what several recipients of a message get alike is prepared and signed once (O8)."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.errors import Fatal, Unavailable
from mailrelay.filing.bodies import Bodies
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.mail import return_path
from mailrelay.mail.bounce.returned import DELIVERY_FIELD
from mailrelay.memory import Memory
from mailrelay.model.delivery import Deferred, Delivery, Refused, Stage
from mailrelay.model.envelope import Channel
from mailrelay.model.reply import reply
from mailrelay.model.tracking import Tracked
from mailrelay.outbound import isolate, tracked, unsubscribing
from mailrelay.outbound.bounded import within
from mailrelay.outbound.courier.base import OUR_FAULT, Parcel
from mailrelay.outbound.prepare import Leave, Prepared, Trace, author_domain, prepare
from mailrelay.outbound.transaction import Letter, Offers
from mailrelay.outbound.unsubscribing import Way
from mailrelay.store import dkim_keys, domains
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together, one_by_one
from mailrelay.tracking.copies import Tracking
from mailrelay.tracking.unsubscribe import Unsubscribing

_logger = log.get()
_KEPT = 64
_LARGEST_KEPT = 1_000_000
_MOST_TRACES = 1_000
_MOST_NOTED = 10_000
_LARGE = 262_144
_COPIES = 4
"""Of a mail: as it was kept, as it is prepared, signed, and with what one delivery has of its own."""
_ROOM_SECONDS = 30.0
_LOOK_SECONDS = 0.1
NO_ROOM = Deferred(
    reply=reply(451, "4.3.1", "memory is short on our side; the delivery will be tried again"), stage=Stage.RESOLVE
)
"""The outcome of a large mail for which there was no room in time."""

_Variant = tuple[str, Leave, bool, bool]


@dataclass(frozen=True, slots=True)
class _Own:
    """What a copy has for its recipient alone, if anything."""

    tracking: Tracking | None = None
    unsubscribing: Unsubscribing | None = None


class LetterMaker:
    """Makes letters. One for the life of the process; it keeps the last few, for other recipients of the same message."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        clock: Clock,
        *,
        hostname: str,
        domain: str,
        bounce_domain: str,
        secret: bytes,
        door: tracked.Door | None = None,
        make: Callable[..., Prepared | Refused] = prepare,
        bounds: isolate.Bounds = isolate.BOUNDS,
        memory: Memory | None = None,
    ) -> None:
        """`domain` is the installation's own, which mail of unproved domains leaves as; `secret` signs addresses at `bounce_domain`.

        `door` is where pixels and links lead; None: nothing is tracked, and one unsubscribes by mail. `make` is a function
        of a module, which may be called in another process; `bounds` are what one call of it may take.
        """
        self._bodies = bodies
        self._clock = clock
        self._hostname = hostname
        self._domain = domain
        self._bounce_domain = bounce_domain
        self._secret = secret
        self._leaves = Together(store, one_by_one(self._leave))
        self._owns = Together(store, one_by_one(self._own))
        self._way = Way(bounce_domain, secret)
        self._door = door
        self._kept: OrderedDict[_Variant, Prepared | Refused] = OrderedDict()
        self._make = make
        self._bounds = bounds
        self._memory = memory or Memory()
        self._leaving = 0
        """Large letters that are made and not yet gone."""
        self._turn = asyncio.Lock()
        """… and who is the next to be made."""
        self._traces: OrderedDict[DeliveryId, str] = OrderedDict()
        self._tracked: OrderedDict[DeliveryId, Tracked] = OrderedDict()

    def parcel(self, delivery: Delivery) -> Parcel:
        """A delivery with its return path; the null reverse-path stays one, so that nothing is ever returned to a return (I10)."""
        if delivery.mail_from is None:
            return Parcel(delivery, None)
        now = self._clock.now()
        return Parcel(delivery, return_path.make(delivery.id, self._secret, self._bounce_domain, now=now))

    async def letter(self, parcels: tuple[Parcel, ...], offers: Offers) -> Letter | Refused | Deferred:
        """See `courier.base.Letters`. Raises Fatal only."""
        size = parcels[0].delivery.raw.size
        try:
            if size < _LARGE:
                return await self._letter(parcels, offers)
            return await self._large_letter(parcels, offers, size)
        except Fatal:
            raise
        except Exception as error:
            metrics.delivery_errors.inc()
            _logger.exception("attempt.failed", deliveries=[parcel.delivery.id for parcel in parcels])
            if not isinstance(error, Unavailable | OSError):  # the mail is to blame
                trace = error.trace if isinstance(error, isolate.Failed) else traceback.format_exc()
                self._remember(parcels, trace)
            return OUR_FAULT

    def trace_of(self, delivery: DeliveryId) -> str:
        """What our code said when it failed on this delivery, once; "" when it did not, or something else is to blame."""
        return self._traces.pop(delivery, "")

    def tracked_of(self, delivery: DeliveryId) -> Tracked:
        """What became of the tracking of the copy that was made last for this delivery, once; NOT_SENT when none was made."""
        return self._tracked.pop(delivery, Tracked.NOT_SENT)

    def _remember(self, parcels: tuple[Parcel, ...], trace: str) -> None:
        self._traces.update((parcel.delivery.id, trace) for parcel in parcels)
        while len(self._traces) > _MOST_TRACES:
            self._traces.popitem(last=False)

    async def _large_letter(
        self, parcels: tuple[Parcel, ...], offers: Offers, size: int
    ) -> Letter | Refused | Deferred:
        """A letter in its turn (D07): made when there is room for it, and counted until nobody has it any more."""
        async with self._room(size * _COPIES) as granted:
            if not granted:
                return NO_ROOM
            letter = await self._letter(parcels, offers)
        if isinstance(letter, Letter):
            self._leaving += 1
            weakref.finalize(letter, self._gone).atexit = False
        return letter

    def _gone(self) -> None:
        self._leaving -= 1

    @contextlib.asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[bool]:
        """Room as long as the block runs; False when there is none in time.

        Large letters that go out slowly hold memory that nobody can take back, so that one more is made only where it fits. When
        none is on its way the next goes, however large, and smaller ones do not get before it. Nobody waits long, since each has
        a connection meanwhile.
        """
        granted = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_SECONDS), self._turn:
                began = time.monotonic()
                while True:
                    granted = self._memory.take(size, waited=0.0 if self._leaving else time.monotonic() - began)
                    if granted:
                        break
                    await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield granted
        finally:
            self._memory.give_back(size if granted else 0)

    async def _letter(self, parcels: tuple[Parcel, ...], offers: Offers) -> Letter | Refused:
        first = parcels[0].delivery
        raw = await self._bodies.read(first.raw)
        leave = await self._leaves.ask((first.org, author_domain(raw), first.channel is Channel.NOTICE))
        # Several recipients share one letter only where nothing is to come back from any of them, and it is no mass mail.
        own = await self._owns.ask(first) if len(parcels) == 1 and self._has_own(first) else _Own()
        prepared = await self._prepared(first, raw, leave, offers, own)
        if isinstance(prepared, Refused):
            return prepared
        self._note(parcels, prepared.tracked)
        mail_from, params, content = parcels[0].mail_from, first.params, prepared.content
        if mail_from is not None:
            # What comes back often has lost the return path, and shows the mail's header or its ENVID (RFC 3464 §2.2.1) instead.
            token = mail_from.local.rpartition("+")[2]
            # Above the signatures, which are the same for all recipients.
            content = f"{DELIVERY_FIELD}: {token}\r\n".encode() + content
            params = replace(params, envid=params.envid or token)
        return Letter(
            mail_from=mail_from,
            recipients=tuple(parcel.delivery.recipient for parcel in parcels),
            params=params,
            content=content,
            utf8=prepared.utf8 or not all(parcel.delivery.address.local.isascii() for parcel in parcels),
        )

    def _note(self, parcels: tuple[Parcel, ...], said: Tracked) -> None:
        if said is Tracked.FAILED:
            _logger.error("tracking.failed", deliveries=[parcel.delivery.id for parcel in parcels])
        self._tracked.update((parcel.delivery.id, said) for parcel in parcels)
        while len(self._tracked) > _MOST_NOTED:
            self._tracked.popitem(last=False)

    def _has_own(self, one: Delivery) -> bool:
        tracks = self._door is not None and tracked.asked(one) is not None
        return tracks or unsubscribing.asked(one) is not None

    def _own(self, tx: Tx, one: Delivery) -> _Own:
        tracks, leaves = tracked.asked(one), unsubscribing.asked(one)
        return _Own(
            None if tracks is None or self._door is None else tracked.tracking_of(tx, self._door, tracks),
            None if leaves is None else unsubscribing.unsubscribing_of(tx, self._door, self._way, leaves),
        )

    def _leave(self, tx: Tx, sender: tuple[OrgId, str, bool]) -> Leave:
        """As whom a mail of an author at this domain leaves now (O2); the third says whether it is a notice of our own.

        A domain that is proved but has no key any more cannot sign, so mail leaves on its behalf until it has one.
        """
        org, author, notice = sender
        now = self._clock.now()
        if author == self._domain:
            # Only we, and an organisation that has this domain: any other would pass for those that it stands in for.
            owns = notice or any(one.domain == author for one in domains.list_domains(tx, org))
            return Leave(on_behalf_at="" if owns else author, keys=dkim_keys.active(tx, author, now=now))
        if domains.is_proved(tx, org, author):
            keys = dkim_keys.active(tx, author, now=now)
            if keys:
                return Leave(on_behalf_at="", keys=keys)
        return Leave(on_behalf_at=self._domain, keys=dkim_keys.active(tx, self._domain, now=now))

    async def _prepared(
        self, first: Delivery, raw: bytes, leave: Leave, offers: Offers, own: _Own
    ) -> Prepared | Refused:
        variant = (first.queue_id, leave, "8bitmime" in offers, "smtputf8" in offers)
        shared = own == _Own()
        known = self._kept.get(variant) if shared else None
        if known is not None:
            self._kept.move_to_end(variant)
            return known
        trace = Trace(hostname=self._hostname, queue_id=first.queue_id, channel=first.channel, at=first.created_at)
        make = partial(
            self._make,
            raw,
            leave=leave,
            trace=trace,
            eight_bit=variant[2],
            smtputf8=variant[3],
            now=self._clock.now(),
            # What somebody hastened goes before its time, and is not of the future.
            date=first.scheduled_for and min(first.scheduled_for, self._clock.now()),
            tracking=own.tracking,
            unsubscribing=own.unsubscribing,
        )
        # Q03: what failed once may be poison.
        if first.faults:
            prepared = await isolate.run(make, bounds=self._bounds)
        else:
            prepared = await within(self._bounds.seconds, make)
        if own.unsubscribing is not None and isinstance(prepared, Prepared):
            kind = "one_click" if own.unsubscribing.one_click else "mailto"
            metrics.unsubscribable.labels(kind, "link" if prepared.linked else "no_link").inc()
        # What is one recipient's own is of no use to another.
        if shared and (isinstance(prepared, Refused) or len(prepared.content) <= _LARGEST_KEPT):
            self._kept[variant] = prepared
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return prepared
