"""Who may see which mail (I16): the condition that every read uses. What a viewer may not see is not there: 404, never 403.

A mail is seen by whoever it came to or sent it, and by the others as far as those share it. What is the organisation's own, such as
mail to an organisation address, is everybody's; what came back and belongs to nobody is for administrators' machines alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from mailrelay.errors import Unknown
from mailrelay.ids import MessageId, OrgId, UserId
from mailrelay.model.decision import Disposition
from mailrelay.model.envelope import OUTGOING_CHANNELS, ArrivalState, Channel
from mailrelay.model.organisation import Role
from mailrelay.model.settings import OrganisationSettings, Sharing
from mailrelay.store.base import Tx
from mailrelay.store.tables import (
    arrival,
    delivery,
    filing,
    link,
    message,
    message_source,
    organisation,
    participant,
    record_address,
    shared_record,
    unresolved,
    unshared_domain,
    user,
)

_MOST_SHARERS = 200
NOBODYS = (Channel.BOUNCE, Channel.NOTICE)
"""Channels whose mail belongs to nobody where it is no user's: it quotes somebody's mail, and nobody can say whose."""
_DEFAULT = OrganisationSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """On whose behalf is read. Without `user`: what everybody of the organisation may see; with `all`: everything."""

    org: OrgId
    user: UserId | None = None
    all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharers:
    """Whose mail a viewer may see, looked up beforehand: what is asked of each mail is less then, and the same."""

    me: str
    """"" nobody, as where the viewer is deactivated."""
    public: tuple[str, ...]
    custom: tuple[str, ...]
    """… that of the records that these chose."""
    keeps_back: bool
    """There are domains whose mail is not shared."""

    @property
    def authors(self) -> tuple[str, ...]:
        """Of no others' mail anything is to be seen; "" is the organisation's."""
        return tuple(dict.fromkeys(("", self.me, *self.public, *self.custom)))


def sharers_for(tx: Tx, viewer: Viewer) -> Sharers | None:
    """Whose mail the viewer may see. None where that is everybody's, or that of too many to list."""
    if viewer.all:
        return None
    mine = "" if viewer.user is None else tx.execute(select(_if_active(viewer.org, viewer.user))).scalar()
    listed = select(unshared_domain.c.domain).where(unshared_domain.c.org == viewer.org).limit(1)
    effective = _effective(viewer.org, user.c.sharing)
    shares = (user.c.org == viewer.org, user.c.active, effective.in_([Sharing.PUBLIC, Sharing.CUSTOM]))
    found = tx.execute(select(user.c.id, effective.label("how")).where(*shares).limit(_MOST_SHARERS + 1)).all()
    if len(found) > _MOST_SHARERS:
        return None
    return Sharers(
        me=mine or "",
        public=tuple(row.id for row in found if row.how == Sharing.PUBLIC),
        custom=tuple(row.id for row in found if row.how == Sharing.CUSTOM),
        keeps_back=tx.execute(listed).first() is not None,
    )


def readable(
    viewer: Viewer,
    of: ColumnElement[Any] = message.c.id,
    *,
    whose: ColumnElement[Any] | None = None,
    sharers: Sharers | None = None,
) -> ColumnElement[bool]:
    """That the viewer may see a message, by a column that holds its id. Says nothing of whose organisation's it is.

    With `whose`, that they may see it as that user's, or as what was sent for the organisation, and not only since it came to
    themselves too; "" is any user's.
    With `sharers`, those of the viewer, the same is said in fewer words.
    """
    if viewer.all:
        return true()
    source = message_source.alias()
    seen = readable_source(viewer, source, sharers=sharers)
    if whose is not None:
        organisations = and_(source.c.user.is_(None), source.c.channel.in_(OUTGOING_CHANNELS))
        seen = and_(or_(whose == "", source.c.user == whose, organisations), seen)
    found = select(literal(1)).where(source.c.message == of, source.c.org == viewer.org, seen)
    # SQLite counts nothing beforehand, and would as soon look through all that the organisation has.
    return exists(found.with_hint(source, "INDEXED BY sqlite_autoindex_message_source_1", "sqlite"))


def readable_source(
    viewer: Viewer, source: FromClause = message_source, *, sharers: Sharers | None = None
) -> ColumnElement[bool]:
    """That the viewer may see a message by this way, a row of `message_source`: as this user's, or as the organisation's."""
    if viewer.all:
        return true()
    ways: list[ColumnElement[bool]] = [and_(source.c.user.is_(None), source.c.channel.not_in(NOBODYS))]
    shared: list[ColumnElement[bool]] = []
    if sharers is None:
        public: Any = _sharing(viewer.org, Sharing.PUBLIC)
        custom: Any = _sharing(viewer.org, Sharing.CUSTOM)
    elif viewer.user is not None and not sharers.me:
        return false()
    else:
        public, custom = sharers.public, sharers.custom
    if viewer.user is not None:
        ways.append(source.c.user == viewer.user)
    if sharers is None or sharers.public:
        shared.append(source.c.user.in_(public))
    if sharers is None or sharers.custom:
        shared.append(and_(source.c.user.in_(custom), _chosen(viewer.org, source)))
    if shared:
        kept_back = sharers is None or sharers.keeps_back
        kept = (_not_kept_back(viewer.org, source),) if kept_back else ()
        ways.append(and_(or_(*shared), *kept, ~_held(source)))
    return or_(*ways) if sharers is not None else and_(active(viewer), or_(*ways))


def active(viewer: Viewer) -> ColumnElement[bool]:
    """That anything is to be seen at all: nothing is on behalf of who is deactivated."""
    return true() if viewer.all or viewer.user is None else _if_active(viewer.org, viewer.user).is_not(None)


def administers(viewer: Viewer) -> ColumnElement[bool]:
    """That the viewer is an administrator, and sees what is done for other users; their mail that gives nobody."""
    if viewer.all or viewer.user is None:
        return true() if viewer.all else false()
    own = user.alias()
    mine = (own.c.id == viewer.user, own.c.org == viewer.org, own.c.active, own.c.role == Role.ADMINISTRATOR)
    return exists().where(*mine)


def knows(viewer: Viewer, secret: ColumnElement[str]) -> ColumnElement[bool]:
    """That the viewer may know the Bcc of an arrival, by a column that holds its id: they see the mail as it came by that."""
    if viewer.all:
        return true()
    source = message_source.alias()
    mine = (source.c.arrival == secret, source.c.org == viewer.org, readable_source(viewer, source))
    found = select(literal(1)).where(*mine)
    return exists(found.with_hint(source, "INDEXED BY ix_message_source_arrival", "sqlite"))


def known(tx: Tx, viewer: Viewer, secrets: Collection[str]) -> frozenset[str]:
    """Those of these arrivals whose Bcc the viewer may know."""
    if viewer.all or not secrets:
        return frozenset(secrets)
    source = message_source.alias()
    found = select(source.c.arrival).where(source.c.arrival.in_(sorted(secrets)), source.c.org == viewer.org)
    return frozenset(tx.execute(found.where(readable_source(viewer, source))).scalars())


def told(viewer: Viewer, of: FromClause = link) -> ColumnElement[bool]:
    """That the viewer may know of a link, a row of `link`, of a mail that they may see: it is no secret, or one of theirs."""
    return true() if viewer.all else or_(of.c.secret == "", knows(viewer, of.c.secret))


def of_first_copies(tx: Tx, viewer: Viewer, ids: Collection[MessageId]) -> frozenset[MessageId]:
    """Those of these messages that are kept as they came to the viewer, or to who shares them: with their own Bcc."""
    if not ids:
        return frozenset()
    source = message_source.alias()
    same = and_(source.c.message == message.c.id, source.c.arrival == message.c.queue_id)
    found = select(message.c.id).join(source, same)
    found = found.where(message.c.org == viewer.org, message.c.id.in_(sorted(ids)), readable_source(viewer, source))
    return frozenset(MessageId(one) for one in tx.execute(found).scalars())


def there_is(found: Select[Any]) -> ColumnElement[bool]:
    """That there is a row. Where PostgreSQL could make a list of all rows of an EXISTS, this is asked of one row after the other."""
    return found.limit(1).scalar_subquery().is_not(None)


def check(tx: Tx, viewer: Viewer, id: MessageId) -> None:  # noqa: A002
    """Raises Unknown for a message that the viewer may not see, or that is not there."""
    if not of_these(tx, viewer, [id]):
        raise Unknown(f"There is no message {id}")


def of_these(tx: Tx, viewer: Viewer, ids: Collection[MessageId]) -> frozenset[MessageId]:
    """Those of these messages that are there and that the viewer may see."""
    if not ids:
        return frozenset()
    found = select(message.c.id).where(message.c.org == viewer.org, message.c.id.in_(sorted(ids)), readable(viewer))
    return frozenset(MessageId(one) for one in tx.execute(found).scalars())


def readable_delivery(
    viewer: Viewer, of: FromClause = delivery, *, sharers: Sharers | None = None
) -> ColumnElement[bool]:
    """That the viewer may see a delivery, a row of `delivery`: its author, or with whom the author shares the mail.

    Whom else a mail went to (Bcc) is not for those to see who only received it. What was sent for the organisation is everybody's.
    """
    if viewer.all:
        return true()
    shared = readable(viewer, of.c.message, whose=of.c.author, sharers=sharers)
    if sharers is not None:
        return or_(of.c.author == sharers.me, shared) if sharers.me else shared
    return shared if viewer.user is None else or_(of.c.author == _if_active(viewer.org, viewer.user), shared)


def readable_entry(viewer: Viewer) -> ColumnElement[bool]:
    """That the viewer may see an entry of the unresolved list, a row of `unresolved`: whose mail waits, or who may see it as it came.

    What it says may be of a Bcc, which those do not know who have the mail by another way.
    """
    if viewer.all:
        return true()
    mail = and_(unresolved.c.message.is_not(None), knows(viewer, unresolved.c.arrival))
    return mail if viewer.user is None else or_(unresolved.c.user == _if_active(viewer.org, viewer.user), mail)


def sharers(tx: Tx, viewer: Viewer) -> tuple[UserId, ...]:
    """The users whose mail the viewer may see without looking at each: the viewer, and those who share with everybody."""
    mine = () if viewer.user is None else tx.execute(select(_if_active(viewer.org, viewer.user))).scalars()
    shared = tx.execute(_sharing(viewer.org, Sharing.PUBLIC)).scalars()
    return tuple(dict.fromkeys(UserId(one) for one in (*mine, *shared) if one is not None))


def on_chosen_records(viewer: Viewer) -> Select[tuple[str]]:
    """The messages on records that anybody chose to share; whether they may be seen `readable` says."""
    chosen = shared_record.alias()
    same = and_(link.c.org == chosen.c.org, link.c.module == chosen.c.module, link.c.record == chosen.c.record)
    found = select(link.c.message).select_from(chosen).join(link, same)
    sharing = chosen.c.user.in_(_sharing(viewer.org, Sharing.CUSTOM))
    return found.where(chosen.c.org == viewer.org, sharing, standing())


def standing(of: FromClause = link) -> ColumnElement[bool]:
    """That a link, a row of `link`, shows: nobody removed it, and its record has the address yet, or need not have it any more."""
    has = record_address.alias()
    same = and_(has.c.org == of.c.org, has.c.key == of.c.key, has.c.module == of.c.module, has.c.record == of.c.record)
    has_it = select(literal(1)).where(same)
    own = organisation.alias()
    keeps = func.coalesce(own.c.settings["keep_former_mail"].as_boolean(), _DEFAULT.keep_former_mail)
    need_not = select(keeps).where(own.c.id == of.c.org).scalar_subquery()
    return and_(of.c.removed_at.is_(None), or_(of.c.key == "", exists(has_it), need_not))


def _sharing(org: OrgId, how: Sharing) -> Select[tuple[str]]:
    """The active users whose mail is shared so. One list for the statement, whatever the number of messages."""
    own = user.alias()
    return select(own.c.id).where(own.c.org == org, own.c.active, _effective(org, own.c.sharing) == how)


def _effective(org: OrgId, sharing: ColumnElement[str]) -> ColumnElement[str]:
    default = (
        select(func.coalesce(organisation.c.settings["sharing"].as_string(), str(_DEFAULT.sharing)))
        .where(organisation.c.id == org)
        .scalar_subquery()
    )
    return case((sharing == "", default), else_=sharing)


def _if_active(org: OrgId, who: UserId) -> ScalarSelect[str]:
    """The user's id; nothing of a user who is deactivated, for whom nothing is to be seen."""
    own = user.alias()
    return select(own.c.id).where(own.c.id == who, own.c.org == org, own.c.active).scalar_subquery()


def _held(source: FromClause) -> ColumnElement[bool]:
    """That rules held the mail as it came, and nobody has filed it: anybody may write to a dropbox, and it may not be the user's.

    Also a further copy of what is held, which waits for nobody itself. What we send is never held.
    """
    came, said = arrival.alias(), filing.alias()
    this = and_(said.c.message == source.c.message, said.c.arrival == source.c.arrival)
    filed = select(literal(1)).where(came.c.id == source.c.arrival, came.c.state == ArrivalState.FILED)
    hold = select(literal(1)).where(this, said.c.disposition == Disposition.HOLD)
    return and_(source.c.channel.not_in(OUTGOING_CHANNELS), there_is(hold), ~there_is(filed))


def _chosen(org: OrgId, source: FromClause) -> ColumnElement[bool]:
    """That the mail stands on a record that the user chose; not by another's Bcc alone, of which they know nothing."""
    on, chosen, own = link.alias(), shared_record.alias(), message_source.alias()
    theirs = select(literal(1)).where(own.c.arrival == on.c.secret, own.c.user == source.c.user).correlate(on, source)
    theirs = theirs.with_hint(own, "INDEXED BY ix_message_source_arrival", "sqlite")
    same = and_(chosen.c.org == on.c.org, chosen.c.module == on.c.module, chosen.c.record == on.c.record)
    found = select(literal(1)).select_from(on).join(chosen, same)
    found = found.with_hint(on, "INDEXED BY sqlite_autoindex_link_1", "sqlite")
    return exists(
        found.where(
            on.c.message == source.c.message, on.c.org == org, standing(on), chosen.c.user == source.c.user
        ).where(or_(on.c.secret == "", exists(theirs)))
    )


def _not_kept_back(org: OrgId, source: FromClause) -> ColumnElement[bool]:
    """That nobody in the mail is of a domain that is not shared, by the organisation or by whose mail it is.

    Bcc recipients stand in no header: they are known by the mail's deliveries.
    """
    unshared = unshared_domain.alias()

    def names(people: FromClause, domain: ColumnElement[str]) -> ColumnElement[bool]:
        kept = or_(domain == unshared.c.domain, domain.like("%." + unshared.c.domain))
        theirs = and_(unshared.c.org == org, or_(unshared.c.user == "", unshared.c.user == source.c.user), kept)
        return exists(
            select(literal(1)).select_from(people).join(unshared, theirs).where(people.c.message == source.c.message)
        )

    said, sent_to, listed = participant.alias(), delivery.alias(), unshared_domain.alias()
    none_listed = ~exists(select(literal(1)).where(listed.c.org == org))  # asked once, so that most pay nothing
    return or_(none_listed, and_(~names(said, said.c.domain), ~names(sent_to, sent_to.c.destination)))
