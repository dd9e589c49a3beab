"""Today's rules over stored mail: the difference they would make, and the same for real (I9, R8).

Messages are taken oldest first, as threads grew. A dry run remembers what it would have linked, so that it says of a reply what
applying would do. What a person linked, unlinked, filed or dismissed is never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailrelay import log, rules
from mailrelay.clock import Clock
from mailrelay.errors import Conflict, Fatal, Stale, Unavailable
from mailrelay.filing import apply, correct, gather, reading
from mailrelay.filing.apply import Judged
from mailrelay.filing.bodies import Bodies, BodyMissing
from mailrelay.filing.reading import Case
from mailrelay.ids import IdFactory, MessageId, OrgId, QueueId, UnresolvedId
from mailrelay.model.decision import BY_RULE, Creation, Disposition, HoldReason
from mailrelay.model.envelope import OUTGOING_CHANNELS, Arrival, ArrivalState
from mailrelay.model.event import EventType
from mailrelay.model.message import Message, ParticipantRole
from mailrelay.model.record import RecordRef
from mailrelay.store import arrivals, events, filings, links, messages, unresolved
from mailrelay.store.base import Store, Tx
from mailrelay.store.messages import Place
from mailrelay.store.unresolved import Resolution, Unresolved

_log = log.get()

_PAGE = 100
_TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What today's rules would do otherwise with one message, or with an arrival that could not be read (`message` None)."""

    message: MessageId | None
    arrival: QueueId
    subject: str
    added: tuple[RecordRef, ...]
    """Records it would be linked to; created ones are not among them."""
    removed: tuple[RecordRef, ...]
    """Records that rules put it on, and would not today."""
    created: tuple[Creation, ...]
    was: Disposition
    now: Disposition
    because: str
    """Why it would be held or dropped, why it is tried again, or what failed."""
    failed: bool = False
    """Our own code failed on it; it is left as it was."""


@dataclass(slots=True)
class _State:
    """What the run has decided so far and, when it is dry, not written."""

    would_be: dict[MessageId, Mapping[RecordRef, bool]] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One message under today's rules."""

    judged: tuple[tuple[Arrival, Judged], ...]
    difference: Difference
    links: Mapping[RecordRef, bool]
    """Where it would be, and whether that is a guess."""
    whole: frozenset[QueueId]
    """Held forwards with mails attached: the workers file them anew, with what they carry."""


class Rerun:
    """Runs the rules again."""

    def __init__(
        self, store: Store, bodies: Bodies, clock: Clock, ids: IdFactory, *, service_domains: frozenset[str]
    ) -> None:
        """`service_domains` as for `inbound.pipeline.Pipeline`."""
        self._store = store
        self._bodies = bodies
        self._clock = clock
        self._ids = ids
        self._service_domains = service_domains

    async def run(self, org: OrgId, *, since: datetime, apply: bool) -> AsyncIterator[Difference]:
        """Each message received at or after `since` that would be filed otherwise, oldest first; with `apply` it then is.

        Applied twice in a row, the second run has nothing to say but of mail that our own code fails on, which stops no other.
        Raises Unavailable, with what was done so far done.
        """
        state = _State()
        place: Place | None = None
        while page := await self._store.read(messages.oldest_first, org, since=since, after=place, limit=_PAGE):
            for message in page:
                try:
                    difference = await self._one(message, state, apply=apply)
                except (Fatal, Unavailable):
                    raise
                except Exception as error:  # noqa: BLE001 (one mail stops no other; reported and logged)
                    _log.exception("rerun.failed", message=message.id)
                    difference = _failure(message, error)
                if difference is not None:
                    yield difference
            place = Place(page[-1].received_at, page[-1].id)
        async for difference in self._unread(org, since=since, apply=apply):
            yield difference

    async def _one(self, message: Message, state: _State, *, apply: bool) -> Difference | None:
        cases = await self._cases(message)
        if not cases:
            return None
        for attempt in range(1, _TRIES + 1):
            plan = await self._store.read(self._plan, message, cases, state)
            if not apply:
                state.would_be[message.id] = plan.links
                state.created.update(creation.address.key for creation in plan.difference.created)
            if not _differs(plan.difference):
                return None
            if not apply:
                return plan.difference
            try:
                await self._store.write(_write, plan, ids=self._ids, at=self._clock.now())
            except Stale:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(0.01 * attempt)
                continue
            return plan.difference
        raise AssertionError("unreachable: the last try returns or raises")

    async def _cases(self, message: Message) -> tuple[Case, ...]:
        """The message as each of its arrivals brought it; () when its bytes are gone."""
        came = await self._store.read(_came, message)
        try:
            return tuple([await self._case(message, arrival, carrier) for arrival, carrier in came])
        except BodyMissing:
            return ()

    async def _case(self, message: Message, arrival: Arrival, carrier: Message | None) -> Case:
        if arrival.channel in OUTGOING_CHANNELS:
            return reading.stored(message, arrival)
        if carrier is not None:
            authors = [one.address for one in carrier.participants if one.role is ParticipantRole.FROM]
            raw = await self._bodies.read(message.raw)
            sender = authors[0] if len(authors) == 1 else None
            return reading.read_attached(raw, message, arrival, sender=sender)
        raw = await self._bodies.read(arrival.raw)
        read = await asyncio.to_thread(reading.read, raw, arrival, new_id=lambda: message.id)
        # The digest may have been made by an older version; this is the stored message all the same.
        same = replace(read.case.message, id=message.id, message_id=message.message_id, digest=message.digest)
        return replace(read.case, message=replace(same, raw=message.raw, auth=message.auth))

    def _plan(self, tx: Tx, message: Message, cases: Sequence[Case], state: _State) -> _Plan:
        org = message.org
        judged = []
        for case in cases:
            facts = gather.facts(tx, case, service_domains=self._service_domains, would_be=state.would_be)
            judged.append((case.arrival, Judged(facts=facts, decision=rules.decide(facts))))
        settled = _settled(unresolved.of_message(tx, org, message.id))
        kept = {filing.arrival: filing for filing in filings.of_message(tx, org, message.id)}
        standing = [link for link in links.of_message(tx, org, message.id) if link.removed_at is None]
        if any(link.by != BY_RULE for link in standing):
            filed = {arrival for arrival, filing in kept.items() if filing.disposition is Disposition.FILE}
            judged = [(arrival, _as_left(one) if arrival.id in filed else one) for arrival, one in judged]
        judged = [(arrival, one) for arrival, one in judged if (gather.user_of(arrival) or "") not in settled]
        proposed = {link.record for _, one in judged for link in one.decision.links}
        by_rule = {link.record for link in standing if link.by == BY_RULE}
        creations = {
            creation.creation.address.key: creation.creation
            for _, one in judged
            for creation in one.decision.creations
            if creation.creation.address.key not in state.created
        }
        now = _together([one.decision.disposition for _, one in judged])
        was = _together([kept[arrival.id].disposition for arrival, _ in judged if arrival.id in kept])
        removed = by_rule - proposed if judged and not settled else set()
        difference = Difference(
            message=message.id,
            arrival=cases[0].arrival.id,
            subject=message.subject,
            added=tuple(sorted(proposed - {link.record for link in standing})),
            removed=tuple(sorted(removed)),
            created=tuple(creations[key] for key in sorted(creations)),
            was=was,
            now=now,
            because=next((one.decision.explanation for _, one in judged if one.decision.disposition is now), ""),
        )
        guessed = {link.record: link.guess for _, one in judged for link in one.decision.links}
        after = {**guessed, **{link.record: link.guess for link in standing if link.record not in removed}}
        whole = {case.arrival.id for case in cases if case.attached and case.arrival.state is ArrivalState.UNRESOLVED}
        return _Plan(tuple(judged), difference, after, frozenset(whole))

    async def _unread(self, org: OrgId, *, since: datetime, apply: bool) -> AsyncIterator[Difference]:
        """What our code failed on, or could not read, is given to the workers again (R8)."""
        after: UnresolvedId | None = None
        while page := await self._store.read(unresolved.list_open, org, after=after, limit=_PAGE):
            for entry in page:
                if entry.reason != HoldReason.FAILED or entry.since < since:
                    continue
                if apply:
                    try:
                        await self._store.write(
                            correct.again,
                            org,
                            entry.id,
                            by=BY_RULE,
                            resolution=Resolution.RETRIED,
                            at=self._clock.now(),
                        )
                    except (Conflict, Stale):
                        continue  # a person was first
                yield Difference(
                    message=entry.message,
                    arrival=entry.arrival,
                    subject=correct.UNREADABLE,
                    added=(),
                    removed=(),
                    created=(),
                    was=Disposition.HOLD,
                    now=Disposition.HOLD,
                    because="it is read again, since our own code had failed on it",
                )
            after = page[-1].id


def _came(tx: Tx, message: Message) -> tuple[tuple[Arrival, Message | None], ...]:
    """The arrivals of a message, each with the forward that carried it, if one did (I22)."""
    found = []
    for source in messages.sources(tx, message.org, message.id):
        arrival = arrivals.get(tx, source.arrival)
        if arrival is not None and not unresolved.is_nobodys(tx, arrival):
            itself = MessageId(arrival.message or message.id)
            carrier = None if itself == message.id else messages.get(tx, message.org, itself)
            found.append((arrival, carrier))
    return tuple(found)


def _settled(entries: Collection[Unresolved]) -> set[str]:
    """Users for whose copies a person has decided already."""
    by_hand = (Resolution.FILED, Resolution.DISMISSED)
    return {entry.user or "" for entry in entries if entry.resolution in by_hand and entry.resolved_by != BY_RULE}


def _as_left(one: Judged) -> Judged:
    """The same, filed where today's rules would hold or drop it: a person has put it on a record."""
    if one.decision.disposition is Disposition.FILE:
        return one
    return replace(one, decision=replace(one.decision, disposition=Disposition.FILE, reason="", explanation=""))


def _failure(message: Message, error: Exception) -> Difference:
    return Difference(
        message=message.id,
        arrival=message.queue_id,
        subject=message.subject,
        added=(),
        removed=(),
        created=(),
        was=Disposition.FILE,
        now=Disposition.FILE,
        because=f"our own code failed on it ({type(error).__name__}), and it is left as it was; the log says more",
        failed=True,
    )


def _together(dispositions: Sequence[Disposition]) -> Disposition:
    """What several arrivals make of a message together."""
    for one in (Disposition.FILE, Disposition.HOLD, Disposition.DROP):
        if one in dispositions:
            return one
    return Disposition.FILE


def _differs(one: Difference) -> bool:
    return bool(one.added or one.removed or one.created) or one.was is not one.now


def _file_whole(tx: Tx, org: OrgId, arrival: Arrival, *, at: datetime) -> None:
    for entry in unresolved.of_arrival(tx, org, arrival.id):
        if entry.resolved_at is None:
            correct.again(tx, org, entry.id, by=BY_RULE, resolution=Resolution.RETRIED, at=at)
            return


def _write(tx: Tx, plan: _Plan, *, ids: IdFactory, at: datetime) -> None:
    """File one message as the plan says. Raises Stale."""
    made: dict[str, RecordRef] = {}
    for arrival, one in plan.judged:
        message, org = one.facts.message, one.facts.message.org
        if one.decision.disposition is Disposition.FILE and arrival.id in plan.whole:
            _file_whole(tx, org, arrival, at=at)
            continue
        filings.put(tx, org, message.id, arrival.id, one.decision, at=at)
        if one.decision.disposition is Disposition.FILE:
            apply.links_and_records(tx, arrival, one, made, ids=ids, at=at)
        _list(tx, arrival, one, holds=plan.difference.now is Disposition.HOLD, ids=ids, at=at)
    if not plan.judged:
        return
    arrival, one = plan.judged[0]
    message, org = one.facts.message, one.facts.message.org
    for record in plan.difference.removed:
        if links.remove_by_rule(tx, org, message.id, record, at=at):
            events.append(
                tx,
                org=org,
                at=at,
                type=EventType.MESSAGE_UNLINKED,
                queue_id=arrival.id,
                message=message.id,
                record=str(record),
                data={"record": str(record), "by": BY_RULE},
            )


def _list(tx: Tx, arrival: Arrival, one: Judged, *, holds: bool, ids: IdFactory, at: datetime) -> None:
    """Put a user's copy of a message on the unresolved list, once, or take it off.

    It is not put there where another copy is filed (`holds` is False), nor when we sent it ourselves.
    """
    message, user, said = one.facts.message, gather.user_of(arrival), one.decision
    if said.disposition is not Disposition.HOLD:
        resolution = Resolution.FILED if said.disposition is Disposition.FILE else Resolution.DISMISSED
        apply.resolve_entries(tx, message.org, message.id, user=user, by=BY_RULE, resolution=resolution, at=at)
    elif holds and arrival.channel not in OUTGOING_CHANNELS:
        entries = unresolved.of_message(tx, message.org, message.id)
        if not any(entry.resolved_at is None and entry.user == user for entry in entries):
            apply.hold_again(tx, arrival, message.id, said, ids=ids, at=at)
