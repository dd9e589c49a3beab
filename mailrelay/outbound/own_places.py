"""Dropboxes, shared addresses and addresses of records among the recipients of what a user sends (I1, I13, I21, O1).

The mail is filed there at once, and is sent to none of them. The sender's own dropbox, and the shared address that it is sent as,
need nothing more: the mail is filed in any case. Every other gets an arrival, like one from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailrelay.ids import OrganisationAddressId, OrgId, QueueId
from mailrelay.mail import record_address
from mailrelay.mail.record_address import RecordAddressToken
from mailrelay.model.address import Address
from mailrelay.model.envelope import Arrival, ArrivalState, ArrivalTarget, Channel, Envelope
from mailrelay.model.message import BlobRef
from mailrelay.model.organisation import OrganisationAddress, dropbox_token
from mailrelay.outbound.submission import Submission
from mailrelay.smtp import codes
from mailrelay.store import dropboxes, filing_addresses, organisation_addresses
from mailrelay.store.base import Tx

_POSTMASTER = "postmaster"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the mail to one recipient is filed."""

    channel: Channel
    target: ArrivalTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What is of this installation among the recipients of a mail."""

    places: Mapping[Address, Place]
    """By recipient, where that is a place of the organisation; another one's is sent to like any address."""
    refusal: str = ""
    """Why it cannot be sent: a recipient that is no place here, or none any more. Alike for unknown and revoked (S21)."""


def look(
    tx: Tx,
    recipients: Sequence[Address],
    *,
    org: OrgId,
    shared: Collection[OrganisationAddress],
    domains: Collection[str],
    secrets: Sequence[bytes],
    now: datetime,
) -> House:
    """The places among the recipients; `shared` are the shared addresses among them, of whichever organisation.

    `domains` are those of dropboxes, `secrets` sign the addresses of records. Postmaster is nobody's (RFC 5321 §4.5.1).
    """
    of_shared = {one.address.key: one for one in shared}
    places: dict[Address, Place] = {}
    secret: list[Address] = []
    for address in recipients:
        found = next((of_shared[key] for key in organisation_addresses.keys_of(address) if key in of_shared), None)
        if found is not None and found.org == org:
            places[address] = Place(Channel.ORGANISATION, ArrivalTarget(address=address, shared=found.id))
        elif found is None and address.domain in domains and address.local.lower() != _POSTMASTER:
            secret.append(address)
    signed = {address: token for address in secret if (token := record_address.read(address.local, secrets))}
    tokens = {address: dropbox_token(address.local) for address in secret if address not in signed}
    refusal = ""
    if signed:
        refusal = _records(tx, signed, places, org=org, now=now)
    if tokens:
        refusal = _dropboxes(tx, tokens, places, org=org, now=now) or refusal
    return House(places=places, refusal=refusal)


def arrivals(
    submission: Submission,
    raw: BlobRef,
    places: Mapping[Address, Place],
    *,
    sent_as: OrganisationAddressId | None,
    now: datetime,
    new_id: Callable[[], QueueId],
) -> tuple[Arrival, ...]:
    """The mail as it came to each place that is not the sender's own, once, however often it was named."""
    found: dict[str, Arrival] = {}
    for recipient in submission.recipients:
        place = places.get(recipient.address)
        if place is None:
            continue
        target = place.target
        name = target.dropbox or target.shared or f"record address {target.filing}"
        own = target.user == submission.user or (target.shared is not None and target.shared == sent_as)
        if own or name in found:
            continue
        found[name] = Arrival(
            id=new_id(),
            org=submission.org,
            channel=place.channel,
            state=ArrivalState.ACCEPTED,
            envelope=Envelope(mail_from=submission.mail_from, rcpt_to=(recipient,), params=submission.params),
            target=target,
            peer=None,
            raw=raw,
            received_at=now,
            attempts=0,
            lease=None,
            message=None,
        )
    return tuple(found.values())


def _dropboxes(
    tx: Tx, tokens: Mapping[Address, str], places: dict[Address, Place], *, org: OrgId, now: datetime
) -> str:
    refusal = ""
    for address, box in zip(tokens, dropboxes.opened_by(tx, tuple(tokens.values()), now=now), strict=True):
        if box is None:
            refusal = codes.NO_SUCH_DROPBOX.lines[0]
        elif box.org == org:
            target = ArrivalTarget(address=address, dropbox=box.dropbox, user=box.user)
            places[address] = Place(Channel.DROPBOX, target)
    return refusal


def _records(
    tx: Tx, signed: Mapping[Address, RecordAddressToken], places: dict[Address, Place], *, org: OrgId, now: datetime
) -> str:
    ours = {address: token for address, token in signed.items() if token.org == org}
    numbers = {token.number for token in ours.values()}
    known = {one.number: one for one in filing_addresses.get_many(tx, org, numbers)}
    refusal = ""
    for address, token in ours.items():
        if token.last_day is not None and token.until is not None and now >= token.until:
            refusal = codes.address_over(token.last_day).lines[0]
        elif token.number not in known or not known[token.number].holds(now):
            refusal = codes.NO_SUCH_DROPBOX.lines[0]
        else:
            places[address] = Place(Channel.RECORD, ArrivalTarget(address=address, filing=token.number))
    return refusal
