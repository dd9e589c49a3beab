"""What a notice says of a delivery: from what is known of it to a sentence, the words that were said, and what the author can do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailrelay.mail.bounce.category import of_outcome
from mailrelay.mail.dsn_write import Told
from mailrelay.model import delivery as model
from mailrelay.model.delivery import (
    Accepted,
    Attempt,
    Deferred,
    Delivery,
    DeliveryState,
    Interrupted,
    Notice,
    Refused,
    Stage,
)
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.reply import EnhancedStatus, Reply

_OURS = frozenset({Stage.RESOLVE, Stage.TLS, Stage.AUTH})
"""Stages at which the words of a deferral are our own."""
_EXPIRED = EnhancedStatus(4, 4, 7)  # RFC 3463 §3.5
_INTERRUPTED = EnhancedStatus(4, 4, 2)
_NOT_TRIED = EnhancedStatus(4, 4, 1)
_HELD = EnhancedStatus(4, 3, 2)  # RFC 3463 §3.4: not accepting, as its administrator has it
_SUPPRESSED = EnhancedStatus(5, 7, 1)
_BY_HAND = EnhancedStatus(5, 0, 0)
_WENT_WELL = EnhancedStatus(2, 0, 0)
_BLAMED = "The address is not the reason: what sends for you is not trusted there. Show this notice to those who run your mail."
_OUR_TROUBLE = (
    "The address is not the reason: what sends your mail has trouble of its own, and could not pass it on. Show this notice to"
    " those who run your mail, and send it again when they say that it works."
)
_STOPPED = "You need not send it again. Those who run your mail can say why it is stopped."
_ADVICE = {
    Category.USER_UNKNOWN: "Check the address for mistakes, or ask the person for the one they use now.",
    Category.HOST_UNKNOWN: "Check what stands behind the @ for mistakes.",
    Category.NO_MAIL_HOST: "Nobody at this domain can be written to by e-mail; use another way.",
    Category.INACTIVE: "Ask the person for the address that they use now.",
    Category.MAILBOX_FULL: "Tell the person in another way that their mailbox has no room, and send it again then.",
    Category.TOO_LARGE: "Send it again with smaller attachments, or with a link to them.",
    Category.FILTERED: "Ask the person to let mail from your address through.",
    Category.POLICY: "Show this notice to those who run your mail: the other side has a rule against it.",
    Category.CONTENT: "Send it again without what may not be wanted there: try without links and attachments first.",
    Category.RATE_LIMITED: "Send it again tomorrow.",
    Category.TIMEOUT: "Check what stands behind the @ for mistakes; if there are none, send it again tomorrow.",
    Category.SYSTEM: "The trouble is on the other side; send it again tomorrow.",
}
_ASK = "If these words do not say enough, show this notice to those who run your mail."
_ASK_THEM = "The address is not the reason. Those who run your mail can say more, and whether to send it again."
_LIFT = "If mail to this address is wanted, ask those who run your mail to lift the suppression."


@dataclass(frozen=True, slots=True, kw_only=True)
class CameBack:
    """What a believed report said of a delivery that the next hop had taken."""

    status: EnhancedStatus | None
    diagnostic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a delivery that its author is owed a notice of."""

    delivery: Delivery
    attempt: Attempt | None
    """The last one; None when nobody was asked."""
    came_back: CameBack | None


def told(facts: Facts) -> Told:
    """What the notice says of this recipient: what `delivery.notice` has it say, and that it failed otherwise."""
    match facts.delivery.notice:
        case Notice.DELAYED:
            return _delayed(facts)
        case Notice.RELAYED:
            return _relayed(facts)
        case Notice.DELIVERED:
            return _delivered(facts)
    match facts.delivery.state:
        case DeliveryState.SUPPRESSED:
            return _suppressed(facts)
        case DeliveryState.BOUNCED if facts.delivery.category is Category.BY_HAND:
            return _by_hand(facts)
        case DeliveryState.BOUNCED if facts.attempt is not None and isinstance(facts.attempt.outcome, Accepted):
            return _returned(facts, facts.came_back or CameBack(status=None, diagnostic=facts.delivery.last_reply))
        case DeliveryState.EXPIRED:
            return _expired(facts)
        case _:
            return _refused(facts)


def _refused(facts: Facts) -> Told:
    reply, by_remote = _reply(facts)
    remote = _remote(facts, by_remote=by_remote)
    who = f"The mail server {remote}" if remote else "The mail server there"
    happened = f"{who} refused it, and said:" if by_remote else "It could not be sent, because:"
    return _told(facts, happened, reply, by_remote=by_remote, fallback=EnhancedStatus(5, 0, 0))


def _expired(facts: Facts) -> Told:
    delivery = facts.delivery
    reply, by_remote = _reply(facts)
    begun = f"It was tried from {_day(delivery.waits_since)} to {_day(delivery.expires_at)} without success. "
    return _told(facts, begun + _last_said(facts, by_remote=by_remote), reply, by_remote=by_remote, fallback=_EXPIRED)


def _delayed(facts: Facts) -> Told:
    if facts.delivery.state is DeliveryState.HELD:
        return _held(facts)
    reply, by_remote = _reply(facts)
    until = facts.delivery.expires_at
    happened = f"It has not arrived yet, and goes on being offered until {_day(until)}. "
    return _told(
        facts,
        happened + _last_said(facts, by_remote=by_remote),
        reply,
        by_remote=by_remote,
        fallback=_NOT_TRIED,
        retry_until=until,
    )


def _held(facts: Facts) -> Told:
    # No day until which it is tried: what is held gets that time back.
    match facts.delivery.held_by:
        case model.HELD_BY_HAND:
            why = "those who run your mail hold it, and decide whether it goes out"
        case model.POISON:
            why = "what sends your mail failed on it, and those who run it must look at it first"
        case _:
            domain = facts.delivery.sender_domain
            why = f"mail from {domain} is stopped for now, and goes out when those who run your mail resume it"
    return Told(
        recipient=facts.delivery.recipient,
        action=Action.DELAYED,
        status=_HELD,
        happened=f"It has not been sent yet: {why}.",
        advice=_STOPPED,
        last_attempt=None if facts.attempt is None else facts.attempt.began_at,
    )


def _by_hand(facts: Facts) -> Told:
    delivery = facts.delivery
    return Told(
        recipient=delivery.recipient,
        action=Action.FAILED,
        status=_BY_HAND,
        happened="It was not delivered: those who run your mail returned it, and say:",
        said=(delivery.last_reply,) if delivery.last_reply else (),
        advice=_ASK_THEM,
        last_attempt=None if facts.attempt is None else facts.attempt.began_at,
    )


def _suppressed(facts: Facts) -> Told:
    delivery = facts.delivery
    happened = "It was not sent, because:"
    return Told(
        recipient=delivery.recipient,
        action=Action.FAILED,
        status=_SUPPRESSED,
        happened=happened,
        said=(delivery.last_reply,) if delivery.last_reply else (),
        advice=_LIFT,
    )


def _returned(facts: Facts, came_back: CameBack) -> Told:
    remote = _remote(facts, by_remote=True)
    taker = f"The mail server {remote}" if remote else "The next mail server"
    return Told(
        recipient=facts.delivery.recipient,
        action=Action.FAILED,
        status=came_back.status or EnhancedStatus(5, 0, 0),
        happened=f"{taker} had taken it, and it came back with this report:",
        said=(came_back.diagnostic,) if came_back.diagnostic else (),
        by_remote=True,
        advice=_advice(facts),
        last_attempt=None if facts.attempt is None else facts.attempt.began_at,
    )


def _relayed(facts: Facts) -> Told:
    """RFC 3461 §6.1: nobody will say more of it."""
    remote = _remote(facts, by_remote=True)
    outcome = None if facts.attempt is None else facts.attempt.outcome
    reply = outcome.reply if isinstance(outcome, Accepted) else facts.delivery.last_reply
    status = reply.status if isinstance(reply, Reply) and reply.status and reply.status.klass == 2 else _WENT_WELL
    who = f"The mail server {remote}" if remote else "The next mail server"
    return Told(
        recipient=facts.delivery.recipient,
        action=Action.RELAYED,
        status=status,
        happened=f"{who} has taken it, and does not report whether it arrives. It said:",
        said=_lines(reply),
        by_remote=True,
        remote=remote,
        last_attempt=None if facts.attempt is None else facts.attempt.began_at,
    )


def _delivered(facts: Facts) -> Told:
    remote = _remote(facts, by_remote=True)
    who = f"the mail server {remote}" if remote else "the mail server there"
    return Told(
        recipient=facts.delivery.recipient,
        action=Action.DELIVERED,
        status=_WENT_WELL,
        happened=f"It arrived, as {who} reports.",
        remote=remote,
        last_attempt=None if facts.attempt is None else facts.attempt.began_at,
    )


def _told(
    facts: Facts,
    happened: str,
    reply: Reply | str,
    *,
    by_remote: bool,
    fallback: EnhancedStatus,
    retry_until: datetime | None = None,
) -> Told:
    delivery, attempt = facts.delivery, facts.attempt
    status = fallback
    if isinstance(reply, Reply):
        # RFC 3464 §2.3.4 wants a status; where the remote gave none, its code says no more than the class.
        status = reply.status or (EnhancedStatus(reply.code // 100, 0, 0) if reply.code >= 400 else fallback)
    elif attempt is not None and isinstance(attempt.outcome, Interrupted):
        status = _INTERRUPTED
    failed = retry_until is None
    return Told(
        recipient=delivery.recipient,
        action=Action.FAILED if failed else Action.DELAYED,
        status=status,
        happened=happened,
        said=_lines(reply),
        by_remote=by_remote,
        remote=_remote(facts, by_remote=by_remote),
        advice=_advice(facts) if failed else "",
        last_attempt=None if attempt is None else attempt.began_at,
        retry_until=retry_until,
    )


def _reply(facts: Facts) -> tuple[Reply | str, bool]:
    """What was said last, and whether a mail server said it."""
    outcome = None if facts.attempt is None else facts.attempt.outcome
    match outcome:
        case Refused(reply=reply, by_us=by_us):
            return reply, not by_us
        case Deferred(reply=reply, stage=stage):
            return reply, stage not in _OURS
        case Interrupted(detail=detail):
            return detail, False
        case _:
            return facts.delivery.last_reply, False


def _lines(reply: Reply | str) -> tuple[str, ...]:
    if isinstance(reply, str):
        return (reply,) if reply else ()
    head = f"{reply.code} {reply.status}" if reply.status else str(reply.code)
    first, *more = reply.lines or ("",)
    return (f"{head} {first}".rstrip(), *more)


def _last_said(facts: Facts, *, by_remote: bool) -> str:
    remote = _remote(facts, by_remote=by_remote)
    if by_remote:
        return f"The mail server {remote or 'there'} said last:"
    return "What stood in the way last:"


def _remote(facts: Facts, *, by_remote: bool) -> str:
    """The host of the last attempt as a notice names it: `mx.b.test`, `[192.0.2.1]`; "" when nobody there said anything."""
    if not by_remote or facts.attempt is None:
        return ""
    name, bracket, rest = facts.attempt.host.partition("[")
    return name or (bracket + rest.partition("]")[0] + "]" if bracket else "")


def _advice(facts: Facts) -> str:
    delivery = facts.delivery
    if delivery.fault is Fault.SENDER:
        return _BLAMED if _is_blamed(facts.attempt) else _OUR_TROUBLE
    return _ADVICE.get(delivery.category or Category.UNKNOWN, _ASK)


def _is_blamed(attempt: Attempt | None) -> bool:
    """Whether it was the other side that found the sender at fault; else it is an outage or an error of ours."""
    match None if attempt is None else attempt.outcome:
        case Deferred(reply=reply, stage=stage):
            return stage not in _OURS and of_outcome(reply, stage=stage).fault is Fault.SENDER
        case Refused(by_us=by_us):
            return not by_us
        case Accepted():  # and a report came back
            return True
        case _:
            return False


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
