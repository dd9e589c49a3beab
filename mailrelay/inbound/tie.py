"""Which delivery a mail that came back is about, and whether that is to be believed (I10, B01, B08).

Our signed return path says it surest; then the same signature inside the mail; then a provider whose complaints are trusted, naming
our Message-ID and the recipient. A Message-ID alone is known to every recipient: it ties for display, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from mailrelay import log
from mailrelay.config.schema import BrakeLevels
from mailrelay.filing import thread
from mailrelay.filing.came_back import CameBack
from mailrelay.filing.reading import Case
from mailrelay.ids import DeliveryId, MessageId, OrgId
from mailrelay.mail import return_path
from mailrelay.mail.addresses import parse as parse_address
from mailrelay.mail.return_path import NoReturnPath, ReturnPathToken
from mailrelay.model.address import Address
from mailrelay.model.decision import HoldReason
from mailrelay.model.delivery import Delivery
from mailrelay.model.envelope import Arrival, Channel
from mailrelay.model.feedback import REPORTS, Tie
from mailrelay.model.message import AuthVerdicts, Kind, Verdict
from mailrelay.store import deliveries, messages, organisations
from mailrelay.store.base import Tx

_log = log.get(stage="filing")
_MOST_TOKENS = 5
_LONGEST_NAME = 500
NOT_VOUCHED_FOR = frozenset((HoldReason.UNPERMITTED_SENDER, HoldReason.UNAUTHENTICATED, HoldReason.POSTMASTER))
"""Why a mail is held whose author may be anybody: what he says changes nothing until a person lets it pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What is needed to judge what comes back."""

    secrets: Sequence[bytes] = ()
    """The keys of signed return paths, the current one first."""
    complaint_sources: frozenset[str] = frozenset()
    """Signing domains whose complaints are believed without our token."""
    feedback_address: str = "feedback"
    brakes: BrakeLevels = field(default_factory=BrakeLevels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What of a mail ties it to a delivery, as far as its bytes prove it."""

    return_path: DeliveryId | None
    """The return path that it was sent to."""
    tokens: tuple[DeliveryId, ...]
    """Deliveries that our signature in the mail names."""
    trusted: bool
    """A complaint signed by a provider whose word counts."""


NO_SIGNS = Signs(return_path=None, tokens=(), trusted=False)


def signs(case: Case, returns: Returns, *, now: datetime) -> Signs:
    """What the bytes of a mail prove; what is forged in them, or too old, is logged and left out (B01)."""
    arrival, back = case.arrival, case.came_back
    if back is None:
        return NO_SIGNS
    own = _return_path(arrival, returns) if case.message.part == 0 else None
    tokens, ignored = _tokens(back, returns, now)
    if ignored and own is None and not tokens:
        _log.warning("feedback.ignored", reasons=sorted(ignored), kind=str(back.kind))
    return Signs(
        return_path=own,
        tokens=tokens,
        trusted=back.kind is Kind.FEEDBACK and _is_trusted(case.message.auth, case.sender, returns.complaint_sources),
    )


def _tokens(back: CameBack, returns: Returns, now: datetime) -> tuple[tuple[DeliveryId, ...], frozenset[NoReturnPath]]:
    """The deliveries that our signature in a mail names, and why other tokens in it are not counted."""
    texts = (*back.traces.delivery_ids, *back.traces.return_paths, *back.traces.envelope_ids)
    found = [return_path.find(text, returns.secrets, now=now) for text in texts]
    tokens = dict.fromkeys(one.delivery for one in found if isinstance(one, ReturnPathToken))
    ignored = {one for one in found if isinstance(one, NoReturnPath)} - {NoReturnPath.UNSIGNED}
    return tuple(tokens)[:_MOST_TOKENS], frozenset(ignored)


def _return_path(arrival: Arrival, returns: Returns) -> DeliveryId | None:
    target = arrival.target
    if arrival.channel is not Channel.BOUNCE or target is None or target.delivery is None:
        return None
    # What came to the address for complaints has its delivery from a token inside.
    return None if target.address.local.lower() == returns.feedback_address else DeliveryId(target.delivery)


def wants_trust(case: Case, returns: Returns, *, now: datetime) -> bool:
    """Whether it matters who signed a mail: a complaint that our own signature does not tie to a delivery."""
    back = case.came_back
    if back is None or back.kind is not Kind.FEEDBACK or not returns.complaint_sources:
        return False
    return _return_path(case.arrival, returns) is None and not _tokens(back, returns, now)[0]


def _is_trusted(auth: AuthVerdicts | None, sender: Address | None, sources: frozenset[str]) -> bool:
    """Whether a signature of one of `sources` passed that is aligned with the author's domain (relaxed)."""
    if auth is None or sender is None:
        return False
    passed = {found.domain.lower() for found in auth.dkim if found.verdict is Verdict.PASS}
    return any(_is_under(sender.domain, domain) or _is_under(domain, sender.domain) for domain in passed & sources)


def _is_under(domain: str, parent: str) -> bool:
    return f".{domain}".endswith(f".{parent}")


def home(tx: Tx, case: Case, found: Signs) -> Delivery | None:
    """Whose delivery a complaint is about that came to the address for all of them."""
    for token in found.tokens:
        delivery = deliveries.by_id(tx, token)
        if delivery is not None:
            return delivery
    if not found.trusted or case.came_back is None:
        return None
    # No index leads from a Message-ID alone to its mail, but few complaints come without our token, and these are asked at once.
    every = (named_in(tx, one.id, case.came_back) for one in organisations.list_organisations(tx))
    fitting = [next(iter(named.values())) for named in every if named]
    # What fits several tenants is none's: one of them would read what the other was told.
    return fitting[0] if len(fitting) == 1 else None


def proved(tx: Tx, org: OrgId, found: Signs) -> tuple[Delivery, Tie] | None:
    """The delivery that a mail is about beyond doubt. One of another organisation is none of this mail's (B01)."""
    candidates = [(found.return_path, Tie.RETURN_PATH)] if found.return_path else []
    candidates += [(token, Tie.TOKEN) for token in found.tokens]
    for id_, tie in candidates:
        delivery = deliveries.by_id(tx, id_)
        if delivery is None:
            continue
        if delivery.org == org:
            return delivery, tie
        tx.afterwards(partial(_log.warning, "feedback.ignored", reasons=["other organisation"], delivery=delivery.id))
    return None


def named_in(tx: Tx, org: OrgId, back: CameBack) -> dict[str, Delivery]:
    """By address key: the deliveries to those whom a report names, of the messages whose Message-ID it names.

    Where it names nobody, the only delivery of the only message, under "".
    """
    if back.report is None:
        return {}
    keys = {key for one in back.report.recipients if (key := key_of(one.recipient))}
    sent = _sent(tx, org, back, keys)
    if keys:
        return {one.address.key: one for one in deliveries.to_keys(tx, org, sent, keys)}
    only = deliveries.first_two(tx, org, sent[0]) if len(sent) == 1 else ()
    return {"": only[0]} if len(only) == 1 else {}


def _sent(tx: Tx, org: OrgId, back: CameBack, keys: Collection[str]) -> list[MessageId]:
    names = _printable(back.traces.message_ids)
    stored = thread.answered(tx, org, names, by=keys)
    return list(dict.fromkeys(id_ for name in names for id_ in stored.get(name, ())))


def _printable(message_ids: Sequence[str]) -> tuple[str, ...]:
    """Those that can be asked for: a database takes neither NUL nor half of a surrogate pair."""
    return tuple(name for name in message_ids if name.isprintable() and len(name) <= _LONGEST_NAME)


def key_of(recipient: str) -> str:
    """The key of an address that a report names, or "" when it is none."""
    address = parse_address(recipient.strip().strip("<>"))
    return "" if address is None else address.key


def unknown_names(tx: Tx, delivery: Delivery, back: CameBack) -> tuple[str, ...]:
    """What the mail that a report returns is called, where no mail that we have is called so: by a relay then (I12).

    Not what somebody's own mail refers to: he may know it from a thread of other people's.
    """
    if back.kind not in REPORTS | {Kind.FEEDBACK}:
        return ()
    names = _printable(back.traces.returned_ids)
    stored = messages.by_message_ids(tx, delivery.org, names)
    return tuple(name for name in names if name not in stored)
