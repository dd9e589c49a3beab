"""Who a mail names: From, Sender, Reply-To, To, Cc and Bcc (I4). Display names are never addresses (P08)."""

from __future__ import annotations

from mailrelay.mail.message import ParsedMessage
from mailrelay.model.address import Address
from mailrelay.model.message import Participant, ParticipantRole

_FIELDS = (
    ("From", ParticipantRole.FROM),
    ("Sender", ParticipantRole.SENDER),
    ("Reply-To", ParticipantRole.REPLY_TO),
    ("To", ParticipantRole.TO),
    ("Cc", ParticipantRole.CC),
    ("Bcc", ParticipantRole.BCC),
)


def participants(parsed: ParsedMessage) -> tuple[Participant, ...]:
    """All with a certain address, in the order of the roles above, once per role and address key."""
    found: dict[tuple[ParticipantRole, str], Participant] = {}
    for name, role in _FIELDS:
        for entry in parsed.addresses(name).mailboxes:
            if entry.address is not None:
                found.setdefault((role, entry.address.key), Participant(role, entry.address, entry.name))
    return tuple(found.values())


def header_sender(parsed: ParsedMessage) -> Address | None:
    """The From address when the mail names exactly one, else None: what I2 and DMARC judge (RFC 7489 §6.6.1)."""
    addresses = {address.key: address for address in reversed(parsed.addresses("From").addresses)}
    certain = len(parsed.addresses("From").mailboxes) == len(parsed.addresses("From").addresses)
    return next(iter(addresses.values())) if len(addresses) == 1 and certain else None
