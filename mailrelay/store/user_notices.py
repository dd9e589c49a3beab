"""A user's notices (I19): events that name them, read out of the journal, with the mail and the records that they are about.

Nothing is written for a notice but its event, and for what was read. Which kinds a user gets is asked when they are read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, exists, select

from mailrelay.errors import Unknown
from mailrelay.ids import EventSeq, MessageId, OrgId, UserId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery
from mailrelay.model.event import Event, EventType
from mailrelay.model.message import Message, ParticipantRole
from mailrelay.model.notice import NoticeKind, UserNotice, kind_of, sentence, types_of
from mailrelay.model.record import RecordRef
from mailrelay.store import deliveries, events, followers, links, messages
from mailrelay.store.base import Tx, for_both
from mailrelay.store.tables import EVENTS_OF_USERS, delivery, event, notice_read
from mailrelay.store.visibility import Viewer

_READ = for_both(lambda insert: insert(notice_read).on_conflict_do_nothing(index_elements=["org", "user", "seq"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Notices behind a cursor, and how far the journal was looked through."""

    notices: tuple[UserNotice, ...]
    upto: int


def page(
    tx: Tx,
    viewer: Viewer,
    user: UserId,
    *,
    kinds: Collection[NoticeKind],
    before: int | None = None,
    unread: bool = False,
    limit: int,
) -> tuple[UserNotice, ...]:
    """A page of a user's notices of these kinds, newest first; `before` is the last of the page before."""
    found = _wanted(viewer, user, kinds)
    if before is not None:
        found = found.where(event.c.seq < before)
    if unread:
        found = found.where(_unread(viewer.org, user), event.c.seq > followers.position(tx, _reader(user), viewer.org))
    rows = tx.execute(found.order_by(event.c.seq.desc()).limit(limit)).all()
    return _told(tx, viewer, user, events.shown(tx, viewer, rows))


def behind(tx: Tx, viewer: Viewer, user: UserId, seq: int, *, kinds: Collection[NoticeKind], limit: int) -> Heard:
    """A user's notices of these kinds behind an event, oldest first."""
    newest = events.newest(tx, viewer.org)
    found = _wanted(viewer, user, kinds).where(event.c.seq > seq, event.c.seq <= newest)
    happened = events.shown(tx, viewer, tx.execute(found.order_by(event.c.seq).limit(limit)).all())
    return Heard(
        notices=_told(tx, viewer, user, happened),
        upto=happened[-1].seq if len(happened) == limit else max(seq, newest),
    )


def one(tx: Tx, viewer: Viewer, user: UserId, seq: int) -> UserNotice:
    """A notice of a user. Raises Unknown."""
    rows = tx.execute(_wanted(viewer, user, tuple(NoticeKind)).where(event.c.seq == seq)).all()
    told = _told(tx, viewer, user, events.shown(tx, viewer, rows))
    if not told:
        raise Unknown(f"There is no notice {seq} of this user")
    return told[0]


def mark_read(tx: Tx, viewer: Viewer, user: UserId, seq: int) -> None:
    """The user has read a notice; once more is well. Raises Unknown."""
    one(tx, viewer, user, seq)
    tx.execute(_READ[tx.dialect], {"org": viewer.org, "user": user, "seq": seq})


def mark_all_read(tx: Tx, viewer: Viewer, user: UserId, upto: int) -> None:
    """The user has read all notices up to one."""
    upto = min(upto, events.newest(tx, viewer.org))
    followers.advance(tx, _reader(user), viewer.org, upto)
    tx.execute(
        notice_read.delete().where(
            notice_read.c.org == viewer.org, notice_read.c.user == user, notice_read.c.seq <= upto
        )
    )


def _reader(user: UserId) -> str:
    return f"notices:{user}"


def _wanted(viewer: Viewer, user: UserId, kinds: Collection[NoticeKind]) -> Select[tuple[object, ...]]:
    """Of mail that they may not see a user hears nothing, though it be on a record of theirs (I16)."""
    return select(event).where(
        event.c.org == viewer.org,
        event.c.user == user,
        EVENTS_OF_USERS,
        event.c.type.in_(sorted(types_of(kinds))),
        event.c.message != "",
        events.visible(viewer),
    )


def _unread(org: OrgId, user: UserId) -> ColumnElement[bool]:
    return ~exists().where(and_(notice_read.c.org == org, notice_read.c.user == user, notice_read.c.seq == event.c.seq))


def _told(tx: Tx, viewer: Viewer, user: UserId, found: Sequence[Event]) -> tuple[UserNotice, ...]:
    """The notices that these events are, with what they are about read for all of them at once."""
    if not found:
        return ()
    org = viewer.org
    about = {each.seq: MessageId(_answer(each) or each.message) for each in found}
    read_mails = messages.get_many(tx, org, set(about.values()))
    mails = {mail.id: mail for mail in messages.as_seen(tx, viewer, read_mails)}
    of = sorted({each.delivery for each in found if each.delivery})
    sent = {
        row.id: deliveries.from_row(row._mapping) for row in tx.execute(select(delivery).where(delivery.c.id.in_(of)))
    }
    standing: dict[MessageId, list[RecordRef]] = {}
    for link in links.shown(tx, viewer, sorted(mails)):
        standing.setdefault(link.message, []).append(link.record)
    upto = followers.position(tx, _reader(user), org)
    read = set(
        tx.execute(
            select(notice_read.c.seq).where(
                notice_read.c.org == org,
                notice_read.c.user == user,
                notice_read.c.seq.in_([each.seq for each in found]),
            )
        ).scalars()
    )
    return tuple(
        _notice(
            each,
            mails[about[each.seq]],
            sent.get(each.delivery),
            tuple(standing.get(about[each.seq], ())),
            read=each.seq <= upto or each.seq in read,
        )
        for each in found
        if about[each.seq] in mails
    )


def _answer(happened: Event) -> str:
    """The answer that an event tells of, which is what its reader acts on; "" for none, or for one that they may not see."""
    return dict(happened.data).get("reply", "") if happened.type is EventType.MESSAGE_REPLIED else ""


def _notice(
    happened: Event, mail: Message, sent: Delivery | None, records: tuple[RecordRef, ...], *, read: bool
) -> UserNotice:
    kind = kind_of(happened.type)
    who, name = _who(happened, kind, mail, sent)
    said = f"{name} <{who}>" if name and who else str(who or "Somebody")
    return UserNotice(
        seq=EventSeq(happened.seq),
        at=happened.at,
        kind=kind,
        user=UserId(happened.user),
        message=mail.id,
        delivery=happened.delivery,
        who=who,
        name=name,
        subject=mail.subject,
        sentence=sentence(kind, who=said, subject=mail.subject, data=dict(happened.data)),
        records=records,
        read=read,
        mail=mail,
        data=happened.data,
    )


def _who(happened: Event, kind: NoticeKind, mail: Message, sent: Delivery | None) -> tuple[Address | None, str]:
    if kind is NoticeKind.WROTE or _answer(happened):
        authors = [person for person in mail.participants if person.role is ParticipantRole.FROM]
        return (authors[0].address, authors[0].name) if authors else (None, "")
    if sent is None:
        return None, ""
    named = [person.name for person in mail.participants if person.address.key == sent.address.key and person.name]
    return sent.address, named[0] if named else ""
