"""What became of each mail, by the records that it is on: made of links, deliveries, attempts and hits, and found by (K2).

A row stands for one delivery of a message on one record, or for the message itself where it has no delivery of ours. Whose deliveries
are a record's: those to its own addresses, present or former, where its module is of people (it has address fields that mail is
matched by, and is not the account); of any other record, a deal or an account, all deliveries of the mail that is on it.

Each row is somebody's to see, its `author`'s: a mail that came to several users has a row for each of them. So one person's mail is
found without looking at that of all others; whether it may be seen is asked of the mail all the same (I16).
"""

from __future__ import annotations

from mailrelay.store.mail_facts.flags import Flag
from mailrelay.store.mail_facts.following import (
    BATCH,
    FOLLOWER,
    Progress,
    as_of,
    behind_by,
    follow,
    make_again,
    make_of,
    unfinished,
)

__all__ = [
    "BATCH",
    "FOLLOWER",
    "Flag",
    "Progress",
    "as_of",
    "behind_by",
    "follow",
    "make_again",
    "make_of",
    "unfinished",
]
