"""What the author of a mail is owed to hear of one of its deliveries (O11, RFC 3461 §4.1, RFC 5321 §6.1)."""

from __future__ import annotations

from datetime import datetime, timedelta

from mailrelay.model.delivery import Delivery, DeliveryState, Notice
from mailrelay.model.envelope import Channel, Notify

_FAILED = frozenset(
    {DeliveryState.BOUNCED, DeliveryState.EXPIRED, DeliveryState.FAILED, DeliveryState.SUPPRESSED}
)  # not CANCELLED: whoever did that knows
_ARRIVED = frozenset({DeliveryState.SENT, DeliveryState.DELIVERED})
_SUCCESS = frozenset({Notice.RELAYED, Notice.DELIVERED})
_LEFT_TO_WAIT = frozenset({DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.HELD})
_SAYS_ENOUGH = frozenset({Channel.NOTICE, Channel.MASS, Channel.AUTORESPONDER})


def owed(
    delivery: Delivery, state: DeliveryState, *, now: datetime, delay_after: timedelta, untold: bool = False
) -> Notice:
    """What `delivery.notice` is to be now that the delivery comes to `state`.

    FAILED once, when it ended without arriving; DELAYED once, when it was tried, or is held by a suspension, and waits longer than
    `delay_after` (nought: never). To an author who asked for successes one of: DELIVERED, once that is known, and RELAYED, where the
    next hop will not say what becomes of it (`untold`; RFC 3461 §5.2.2). What an earlier state left owed and is not true any more is
    taken back: NONE.

    Nothing ever for the null reverse-path (RFC 5321 §6.1: no loop of notices), for notices themselves, and for what is part of
    a job: its events and rates say it, and ten thousand mails to its author would not (O18).
    """
    if delivery.mail_from is None or delivery.channel in _SAYS_ENOUGH or delivery.job:
        return Notice.NONE
    if delivery.noticed is Notice.FAILED:
        return Notice.NONE
    # RFC 3461 §4.1: what was asked for and no more; nothing said asks for failures, and leaves delays to us.
    asked = delivery.recipient.notify or {Notify.FAILURE, Notify.DELAY}
    if state in _FAILED:
        return Notice.FAILED if Notify.FAILURE in asked else Notice.NONE
    if state in _ARRIVED:
        if Notify.SUCCESS not in asked or delivery.noticed in _SUCCESS:
            return Notice.NONE
        if state is DeliveryState.DELIVERED:
            return Notice.DELIVERED
        return Notice.RELAYED if untold else Notice.NONE
    waits = delivery.held_by != "" if state is DeliveryState.HELD else delivery.attempts > 0
    waits = waits and state in _LEFT_TO_WAIT
    if not waits or Notify.DELAY not in asked or delivery.noticed is Notice.DELAYED or not delay_after:
        return Notice.NONE
    return Notice.DELAYED if now - delivery.waits_since >= delay_after else Notice.NONE


def still_true(delivery: Delivery) -> bool:
    """Whether what a delivery owes (`delivery.notice`) is still to be told: it was not told before, and its state is still so."""
    if delivery.notice is Notice.FAILED:
        return delivery.state in _FAILED and delivery.noticed is not Notice.FAILED
    if delivery.notice in _SUCCESS:
        return delivery.state in _ARRIVED and delivery.noticed in (Notice.NONE, Notice.DELAYED)
    return delivery.state in _LEFT_TO_WAIT and delivery.noticed is Notice.NONE
