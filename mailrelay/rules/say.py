"""Short ways to write a finding; the registry fills in the rule's name."""

from __future__ import annotations

from mailrelay.model.address import Address
from mailrelay.model.decision import Creation, DropReason, Evidence, Finding, FindingKind, HoldReason
from mailrelay.model.message import Participant, ParticipantRole
from mailrelay.model.record import RecordRef

_HEADERS = {
    ParticipantRole.FROM: "From",
    ParticipantRole.SENDER: "Sender",
    ParticipantRole.REPLY_TO: "Reply-To",
    ParticipantRole.TO: "To",
    ParticipantRole.CC: "Cc",
    ParticipantRole.BCC: "Bcc",
    ParticipantRole.FORWARDED_FROM: "From of the forwarded mail",
    ParticipantRole.FORWARDED_TO: "To of the forwarded mail",
}


BCC = _HEADERS[ParticipantRole.BCC]


def header(person: Participant) -> str:
    """The header a participant stands in, for people."""
    return _HEADERS[person.role]


def exclude(address: Address, because: str, *, header: str, reason: DropReason) -> Finding:
    """This address is never matched nor created."""
    evidence = Evidence(because=because, header=header, value=str(address))
    return Finding(rule="", kind=FindingKind.EXCLUDE, evidence=(evidence,), excluded=address, reason=reason)


def hold(reason: HoldReason, because: str, *, header: str = "", value: str = "") -> Finding:
    """A person must look."""
    evidence = Evidence(because=because, header=header, value=value)
    return Finding(rule="", kind=FindingKind.HOLD, evidence=(evidence,), reason=reason)


def drop(reason: DropReason, because: str) -> Finding:
    """Not to be filed."""
    return Finding(rule="", kind=FindingKind.DROP, evidence=(Evidence(because=because),), reason=reason)


def link(
    record: RecordRef, because: str, *, header: str = "", value: str = "", guess: bool = False, secret: str = ""
) -> Finding:
    """The message is about this record."""
    evidence = Evidence(because=because, header=header, value=value)
    return Finding(rule="", kind=FindingKind.LINK, evidence=(evidence,), record=record, guess=guess, secret=secret)


def create(creation: Creation, because: str, *, header: str) -> Finding:
    """Make a record of this correspondent."""
    evidence = Evidence(because=because, header=header, value=str(creation.address))
    return Finding(rule="", kind=FindingKind.CREATE, evidence=(evidence,), creation=creation)


def miss(because: str, *, header: str = "", value: str = "", secret: str = "") -> Finding:
    """Looked at, and nothing to say, for a reason of its own."""
    evidence = Evidence(because=because, header=header, value=value)
    return Finding(rule="", kind=FindingKind.MISS, evidence=(evidence,), secret=secret)
