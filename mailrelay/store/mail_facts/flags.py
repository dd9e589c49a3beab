"""What a fact says at all, whenever it came to be: one number, which stands in the indexes of mail."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """What is true of a mail at all, whenever it came to be."""

    SENT = 1
    RECEIVED = 2
    DELIVERED = 4  # a success notice said so
    OPENED = 8
    CLICKED = 16
    REPLIED = 32
    BOUNCED = 64
    HARD = 128  # … for good
    COMPLAINED = 256
    UNSUBSCRIBED = 512
    DEFERRED = 1024
    FAILED = 2048
    SCHEDULED = 4096
    OURS = 8192  # it went through us, so that we would know if it had bounced


TIMES = {
    "sent_at": Flag.SENT,
    "received_at": Flag.RECEIVED,
    "delivered_at": Flag.DELIVERED,
    "last_opened_at": Flag.OPENED,
    "last_clicked_at": Flag.CLICKED,
    "replied_at": Flag.REPLIED,
    "bounced_at": Flag.BOUNCED,
    "complained_at": Flag.COMPLAINED,
    "unsubscribed_at": Flag.UNSUBSCRIBED,
    "deferred_at": Flag.DEFERRED,
    "failed_at": Flag.FAILED,
    "scheduled_at": Flag.SCHEDULED,
}
