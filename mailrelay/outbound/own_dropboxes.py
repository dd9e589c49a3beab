"""Dropboxes among the recipients of what a user sends: the mail is filed there at once, and is sent to none of them (I1, O1).

The sender's own needs nothing more: the mail is filed as theirs in any case. A colleague's gets an arrival, like one from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from mailrelay.errors import NoSuchDropbox
from mailrelay.ids import DropboxId, OrgId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.envelope import Arrival, ArrivalState, ArrivalTarget, Channel, Envelope, EnvelopeRecipient
from mailrelay.model.message import BlobRef
from mailrelay.model.organisation import dropbox_token
from mailrelay.outbound.submission import Submission
from mailrelay.smtp import codes
from mailrelay.store.dropboxes import Opened


def tokens(recipients: Collection[EnvelopeRecipient], domains: Collection[str]) -> dict[Address, str]:
    """The tokens of all recipients in the domains of dropboxes but postmaster, who is nobody's dropbox (RFC 5321 §4.5.1)."""
    return {
        one.address: dropbox_token(one.address.local)
        for one in recipients
        if one.address.domain in domains and one.address.local.lower() != "postmaster"
    }


def of_the_house(
    named: Mapping[Address, str], found: Mapping[str, Opened | None], *, org: OrgId
) -> dict[Address, Opened]:
    """Those of the recipients that are dropboxes of the organisation; another one's is sent to like any address.

    `named` are their tokens, `found` is what the tokens open. Raises NoSuchDropbox, alike for unknown and revoked (S21).
    """
    opened: dict[Address, Opened] = {}
    for address, token in named.items():
        box = found[token]
        if box is None:
            raise NoSuchDropbox(codes.NO_SUCH_DROPBOX.lines[0])
        if box.org == org:
            opened[address] = box
    return opened


def arrivals(
    submission: Submission,
    raw: BlobRef,
    opened: Mapping[Address, Opened],
    *,
    now: datetime,
    new_id: Callable[[], QueueId],
) -> tuple[Arrival, ...]:
    """The mail as it came to each dropbox that is not the sender's, once, however often it was named."""
    found: dict[DropboxId, Arrival] = {}
    for recipient in submission.recipients:
        box = opened.get(recipient.address)
        if box is None or box.user == submission.user or box.dropbox in found:
            continue
        found[box.dropbox] = Arrival(
            id=new_id(),
            org=box.org,
            channel=Channel.DROPBOX,
            state=ArrivalState.ACCEPTED,
            envelope=Envelope(mail_from=submission.mail_from, rcpt_to=(recipient,), params=submission.params),
            target=ArrivalTarget(address=recipient.address, dropbox=box.dropbox, user=box.user),
            peer=None,
            raw=raw,
            received_at=now,
            attempts=0,
            lease=None,
            message=None,
        )
    return tuple(found.values())
