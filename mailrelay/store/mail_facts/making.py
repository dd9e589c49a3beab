"""Making facts: what links, deliveries, attempts and hits come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, delete, or_, select

from mailrelay.ids import OrgId
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.record import RecordRef
from mailrelay.store import modules
from mailrelay.store.base import Tx
from mailrelay.store.mail_facts.flags import TIMES, Flag
from mailrelay.store.mail_facts.reading import (
    FROM,
    PAIRS,
    PIECE,
    Mail,
    at_place,
    deliveries_where,
    is_of_people,
    links_of_deliveries,
    links_of_messages,
    links_of_records,
    mails_of,
    of_pair,
    pieces,
    ref_of,
    unsubscribed_by,
)
from mailrelay.store.mail_facts.touched import Touched
from mailrelay.store.tables import (
    attempt,
    delivery,
    engagement,
    former_address,
    mail_fact,
    message_source,
    record_address,
)

_NOTHING: Mapping[str, Any] = dict.fromkeys((*TIMES, "first_opened_at", "first_clicked_at")) | {
    "opens": 0,
    "clicks": 0,
    "author": "",
}
_FAILED = frozenset({DeliveryState.FAILED, DeliveryState.EXPIRED, DeliveryState.SUPPRESSED})
NOBODY: Final = "-"
"""The author of what is to be seen by those only who see everything."""
_ENGAGED = ("opens", "first_opened_at", "last_opened_at", "clicks", "first_clicked_at", "last_clicked_at")
_Place = tuple[str, str, str, str, str]
"""Module, record, message, delivery and author."""


def make(tx: Tx, org: OrgId, touched: Touched) -> None:
    """Write the facts of what was touched in place of those that are there."""
    people = frozenset(one.name for one in modules.list_modules(tx, org) if is_of_people(one))
    whole = touched.messages
    singly = {id_: mail for id_, mail in touched.deliveries.items() if mail not in whole}
    by_record = {one for one in touched.records if one[0] not in whole}
    mails = mails_of(tx, org, whole | set(singly.values()) | {one[0] for one in by_record})
    made: dict[_Place, dict[str, Any]] = {}
    superseded: set[tuple[str, str, str]] = set()
    maker = _Maker(tx, org, people, mails, touched.unsubscribed)
    for part in pieces(whole):
        deliveries = deliveries_where(tx, org, delivery.c.message.in_(part))
        made |= maker.facts(links_of_messages(tx, org, part), deliveries, whole=True)
    for part in pieces(singly):
        deliveries = deliveries_where(tx, org, delivery.c.id.in_(part))
        of_these = maker.facts(links_of_deliveries(tx, org, deliveries, people), deliveries, only_deliveries=True)
        made |= of_these
        superseded |= {(mail, module, record) for module, record, mail, _, _ in of_these}
    for places in pieces(by_record, PAIRS):
        links = links_of_records(tx, org, places)
        made |= maker.facts(links, maker.deliveries_for(links))
    _forget(tx, org, whole, singly, by_record)
    for places in pieces(superseded, PAIRS):
        without = and_(mail_fact.c.org == org, mail_fact.c.delivery == "")
        tx.execute(delete(mail_fact).where(without, or_(*(at_place(mail_fact, place) for place in places))))
    rows = list(made.values())
    for first in range(0, len(rows), PIECE):
        tx.execute(mail_fact.insert(), rows[first : first + PIECE])


class _Maker:
    def __init__(
        self, tx: Tx, org: OrgId, people: frozenset[str], mails: Mapping[str, Mail], unsubscribed: dict[str, int]
    ) -> None:
        self._tx = tx
        self._org = org
        self._people = people
        self._mails = mails
        self._unsubscribed = unsubscribed
        self._addresses: dict[RecordRef, frozenset[str]] = {}
        self._whose_secret: dict[str, frozenset[str]] = {}

    def deliveries_for(self, links: Sequence[Row[Any]]) -> list[Row[Any]]:
        """The deliveries that these links may tell of: of a mass mail on a person not those to all the others."""
        self._know_addresses(links)
        whole = {one.message for one in links if one.module not in self._people}
        keys = {key for one in links if one.module in self._people for key in self._addresses[ref_of(one)]}
        found = [
            row for part in pieces(whole) for row in deliveries_where(self._tx, self._org, delivery.c.message.in_(part))
        ]
        mails = sorted({one.message for one in links} - whole)
        for part in pieces(keys):
            mine = and_(delivery.c.recipient_key.in_(part), delivery.c.message.in_(mails))
            found += deliveries_where(self._tx, self._org, mine)
        return found

    def facts(
        self,
        links: Sequence[Row[Any]],
        deliveries: Sequence[Row[Any]],
        *,
        only_deliveries: bool = False,
        whole: bool = False,
    ) -> dict[_Place, dict[str, Any]]:
        """Rows by their places."""
        self._know_addresses(links)
        accepted, tried = self._attempts(deliveries)
        engaged = self._engaged([one.id for one in deliveries])
        unsubscribed = unsubscribed_by(self._tx, deliveries, whole=whole) | self._unsubscribed
        of_message: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for one in deliveries:
            of_message[one.message].append(one)
        found = {}
        for to in links:
            mail = self._mails.get(to.message)
            if mail is None:
                continue
            mine = [one for one in of_message[mail.id] if self._is_of(to, one)]
            for one in mine:
                told = _of_delivery(one, accepted.get(one.id), tried.get(one.id))
                told |= engaged.get(one.id, {}) | {"unsubscribed_at": unsubscribed.get(one.id)}
                (author,) = self._of_those_who_know(to, ("" if mail.shared else one.author,))
                place = (to.module, to.record, mail.id, one.id, author)
                found[place] = self._row(to, mail, one.id, told | {"author": author}, hard=one.hard)
            if not mine and not only_deliveries:
                row = self._row(to, mail, "", self._of_mail(to, mail))
                whose = self._of_those_who_know(to, mail.whose)
                found |= {(to.module, to.record, mail.id, "", who): row | {"author": who} for who in whose}
        return found

    def _of_those_who_know(self, to: Row[Any], whose: Collection[str]) -> list[str]:
        """Of those whose mail it is the ones who know of a link; nobody where none does, so that who sees everything sees it."""
        if not to.secret:
            return sorted(whose)
        if to.secret not in self._whose_secret:
            mine = (message_source.c.arrival == to.secret, message_source.c.org == self._org)
            users = self._tx.execute(select(message_source.c.user).where(*mine)).scalars()
            self._whose_secret[to.secret] = frozenset(one or "" for one in users)
        known = self._whose_secret[to.secret]
        if "" in known:  # by mail of the organisation's own, which is everybody's
            return sorted(whose)
        return sorted(known if "" in whose else known & set(whose)) or [NOBODY]

    def _is_of(self, to: Row[Any], one: Row[Any]) -> bool:
        return to.module not in self._people or one.recipient_key in self._addresses[ref_of(to)]

    def _of_mail(self, to: Row[Any], mail: Mail) -> dict[str, Any]:
        """What is known of a mail without a delivery of ours to the record: that it came from it, or went to it."""
        mine = self._addresses.get(ref_of(to), frozenset()) & mail.keys.keys()
        wrote = any(mail.keys[key] & FROM for key in mine)
        # A record that stands in the mail elsewhere neither wrote it nor got it; one that a person put it on has it so.
        if mail.incoming:
            return {"received_at": mail.at if mail.people and (wrote or not mine) else None}
        got = any(mail.keys[key] - FROM for key in mine)
        return {"sent_at": mail.at if got or not mine else None}

    def _row(self, to: Row[Any], mail: Mail, of: str, told: Mapping[str, Any], *, hard: bool = False) -> dict[str, Any]:
        row = {**_NOTHING, **told}
        flags = Flag.OURS if of else Flag(0)
        for name, flag in TIMES.items():
            if row[name] is not None:
                flags |= flag
        if hard and row["bounced_at"] is not None:
            flags |= Flag.HARD
        place = {"org": self._org, "module": to.module, "record": to.record, "message": mail.id, "delivery": of}
        return row | place | {"at": mail.at, "key": to.key, "flags": int(flags)}

    def _know_addresses(self, links: Iterable[Row[Any]]) -> None:
        """The addresses, present and former, of the people among the linked records."""
        unknown = {ref_of(one) for one in links if one.module in self._people} - self._addresses.keys()
        keys: defaultdict[RecordRef, set[str]] = defaultdict(set)
        by_module: defaultdict[str, list[str]] = defaultdict(list)
        for ref in sorted(unknown):
            by_module[ref.module].append(ref.id)
        for module, ids in by_module.items():
            for part in pieces(ids):
                for table in (record_address, former_address):
                    mine = (table.c.org == self._org) & (table.c.module == module) & table.c.record.in_(part)
                    for row in self._tx.execute(select(table.c.record, table.c.key).where(mine)):
                        keys[RecordRef(module, row.record)].add(row.key)
        self._addresses |= {ref: frozenset(keys[ref]) for ref in unknown}

    def _attempts(self, deliveries: Sequence[Row[Any]]) -> tuple[dict[str, int], dict[str, int]]:
        """When a next hop took each delivery, and when each was tried last."""
        accepted: dict[str, int] = {}
        tried: dict[str, int] = {}
        columns = (attempt.c.delivery, attempt.c.number, attempt.c.ended_at, attempt.c.outcome)
        for part in pieces(one.id for one in deliveries if one.attempts):
            wanted = select(*columns).where(attempt.c.delivery.in_(part), attempt.c.ended_at.is_not(None))
            for row in self._tx.execute(wanted.order_by(attempt.c.delivery, attempt.c.number)):
                tried[row.delivery] = row.ended_at
                if row.outcome is not None and row.outcome["kind"] == "accepted":
                    accepted[row.delivery] = row.ended_at
        return accepted, tried

    def _engaged(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = {}
        for part in pieces(ids):
            for row in self._tx.execute(select(engagement).where(engagement.c.delivery.in_(part))):
                found[row.delivery] = {name: row._mapping[name] for name in _ENGAGED}
        return found


def _of_delivery(one: Row[Any], accepted: int | None, tried: int | None) -> dict[str, Any]:
    state = DeliveryState(one.state)
    sent = accepted
    if sent is None and state in (DeliveryState.SENT, DeliveryState.DELIVERED):
        sent = one.ended_at
    return {
        "sent_at": sent,
        "delivered_at": one.delivered_at if state is DeliveryState.DELIVERED else None,
        "bounced_at": one.ended_at if state is DeliveryState.BOUNCED else None,
        "failed_at": one.ended_at if state in _FAILED else None,
        "deferred_at": (tried or one.created_at) if state is DeliveryState.QUEUED and one.attempts else None,
        "scheduled_at": (one.scheduled_for or one.due_at) if state is DeliveryState.SCHEDULED else None,
        "replied_at": one.replied_at,
        "complained_at": one.complained_at,
    }


def _forget(
    tx: Tx,
    org: OrgId,
    whole: Collection[str],
    singly: Mapping[str, str],
    by_record: Collection[tuple[str, str, str]],
) -> None:
    for part in pieces(whole):
        tx.execute(delete(mail_fact).where(mail_fact.c.message.in_(part)))
    for pairs in pieces(((mail, id_) for id_, mail in singly.items()), PAIRS):
        tx.execute(delete(mail_fact).where(or_(*(of_pair(pair) for pair in pairs))))
    for places in pieces(by_record, PAIRS):
        tx.execute(
            delete(mail_fact).where(mail_fact.c.org == org, or_(*(at_place(mail_fact, place) for place in places)))
        )
