"""The newest mail that somebody may see, however little of all mail that is (I16).

Two ways lead there. Where most mail may be seen, the newest of all is looked through. Where few of those may be, each user whose mail
may be seen is asked for their newest, and these are put in one order: the cost grows with the number of users who share, not with
the mail that is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select, tuple_, union_all

from mailrelay.clock import from_micros, to_micros
from mailrelay.ids import MessageId, UserId
from mailrelay.model.message import Message
from mailrelay.store import messages, visibility
from mailrelay.store.base import Tx
from mailrelay.store.messages import Place
from mailrelay.store.tables import message, message_source
from mailrelay.store.visibility import Viewer

LOOKED_AT = 1000
"""So many of the newest are looked through first."""
_TOGETHER = 50
"""Users asked in one statement."""
_MOST = 4000
"""Messages of one user that are asked for at once, where many are not seen although the user shares."""
_ON_RECORDS = "on records"


def seen_by(tx: Tx, viewer: Viewer, *, before: Place | None = None, limit: int = 100) -> tuple[Message, ...]:
    """A page of the messages that the viewer may see, newest first; `before` is where the page before ended."""
    if viewer.all:
        return messages.list_messages(tx, viewer.org, before=before, limit=limit)
    found, end = _among_all(tx, viewer, before, limit)
    if len(found) < limit and end is not None:
        found += _by_user(tx, viewer, end, limit - len(found))
    return messages.as_seen(tx, viewer, messages.get_many(tx, viewer.org, found))


def _among_all(tx: Tx, viewer: Viewer, before: Place | None, limit: int) -> tuple[list[MessageId], Place | None]:
    """What may be seen of the newest, and where those end; None where there is nothing behind them."""
    window = select(message.c.id, message.c.received_at).where(message.c.org == viewer.org)
    if before is not None:
        window = window.where(_behind(message.c.received_at, message.c.id, before))
    window = window.order_by(message.c.received_at.desc(), message.c.id.desc())
    one = window.limit(LOOKED_AT).subquery()
    seen = select(one.c.id).where(visibility.readable(viewer, one.c.id))
    seen = seen.order_by(one.c.received_at.desc(), one.c.id.desc()).limit(limit)
    found = [MessageId(row) for row in tx.execute(seen).scalars()]
    if len(found) == limit:
        return found, None  # the page is full, and nobody asks
    last = tx.execute(window.offset(LOOKED_AT - 1).limit(1)).first()
    return found, None if last is None else Place(from_micros(last.received_at), MessageId(last.id))


def _by_user(tx: Tx, viewer: Viewer, before: Place, limit: int) -> list[MessageId]:
    """What may be seen behind a place, of everybody who shares anything."""
    whose: list[UserId | str | None] = [None, *visibility.sharers(tx, viewer), _ON_RECORDS]
    found: list[MessageId] = []
    number = limit
    while whose and len(found) < limit:
        newest = _newest_of(tx, viewer, whose, before, number)
        # Behind the end of a full list there may be more of that user, newer than the others' next.
        full = [each[-1] for each in newest.values() if len(each) == number]
        horizon = max(full, default=None)
        rows = sorted({one for each in newest.values() for one in each}, reverse=True)
        near = [one for one in rows if horizon is None or one >= horizon]
        seen = visibility.of_these(tx, viewer, [one[1] for one in near])
        found += [one[1] for one in near if one[1] in seen]
        if horizon is None:
            break
        whose = [one for one, each in newest.items() if len(each) == number or each[-1] < horizon]
        before = Place(from_micros(horizon[0]), horizon[1])
        number = min(number * 2, _MOST)
    return found[:limit]


def _newest_of(
    tx: Tx, viewer: Viewer, whose: Sequence[UserId | str | None], before: Place, number: int
) -> dict[UserId | str | None, list[tuple[int, MessageId]]]:
    """The newest of each of these behind a place, newest first; of those who have any."""
    found: dict[UserId | str | None, list[tuple[int, MessageId]]] = {}
    for start in range(0, len(whose), _TOGETHER):
        some = whose[start : start + _TOGETHER]
        parts = (_newest(viewer, one, before, number) for one in some)
        rows = union_all(*_numbered(parts)).subquery()
        order = (rows.c.received_at.desc(), rows.c.message.desc())
        for row in tx.execute(select(rows).order_by(rows.c.number, *order)):
            found.setdefault(some[row.number], []).append((row.received_at, MessageId(row.message)))
    return found


def _numbered(parts: Iterable[Select[Any]]) -> Iterator[Select[Any]]:
    for number, part in enumerate(parts):
        rows = part.subquery()
        yield select(literal_column(str(number)).label("number"), rows.c.message, rows.c.received_at)


def _newest(viewer: Viewer, whose: UserId | str | None, before: Place, number: int) -> Select[Any]:
    if whose == _ON_RECORDS:
        shared = visibility.on_chosen_records(viewer).subquery()
        place = (message.c.received_at, message.c.id)
        found = select(message.c.id.label("message"), message.c.received_at).where(
            message.c.id.in_(select(shared.c.message)), message.c.org == viewer.org
        )
    else:
        source = message_source.c
        place = (source.received_at, source.message)
        found = select(source.message, source.received_at).where(source.org == viewer.org, source.user == whose)
        if whose is None:
            found = found.where(source.channel.not_in(visibility.NOBODYS))
    found = found.where(_behind(*place, before))
    return found.order_by(place[0].desc(), place[1].desc()).limit(number)


def _behind(received_at: ColumnElement[int], id: ColumnElement[str], before: Place) -> ColumnElement[bool]:  # noqa: A002
    return tuple_(received_at, id) < tuple_(to_micros(before.received_at), before.id)
