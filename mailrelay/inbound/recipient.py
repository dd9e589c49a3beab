"""RCPT TO: whose a recipient address is, or why it is refused, within the dialogue (I1, I13, I21, I24, S21, S22)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mailrelay.clock import Clock
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.mail import record_address, return_path, unsubscribe_address
from mailrelay.mail.record_address import RecordAddressToken
from mailrelay.mail.return_path import NoReturnPath
from mailrelay.model.address import Address
from mailrelay.model.envelope import ArrivalTarget, Channel
from mailrelay.model.organisation import dropbox_token
from mailrelay.model.reply import Reply
from mailrelay.model.settings import OrganisationSettings
from mailrelay.smtp import codes
from mailrelay.smtp.address import relay_disguise
from mailrelay.store import deliveries, dropboxes, organisation_addresses, organisations
from mailrelay.store.base import Store, Tx
from mailrelay.store.organisation_addresses import Closed, Opened
from mailrelay.store.together import Together

_POSTMASTER = "postmaster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an accepted recipient's mail goes; `settings` are those of a dropbox's organisation, else None."""

    org: OrgId
    channel: Channel
    place: ArrivalTarget
    settings: OrganisationSettings | None = None


class Recipients:
    """Resolves recipient addresses."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        hostname: str,
        domains: Collection[str],
        bounce_domain: str,
        secrets: Sequence[bytes],
        feedback_address: str = "feedback",
        ended: EndedAddresses | None = None,
    ) -> None:
        """`domains` are those of the dropboxes; `secrets` are the keys of signed addresses, the current one first.

        `ended` are the addresses of records that are over before their time.
        `feedback_address`: local part at the bounce domain that takes the complaints of feedback loops.
        """
        self._store = store
        self._clock = clock
        self._domains = frozenset(domains)
        self._bounce_domain = bounce_domain
        self._secrets = tuple(secrets)
        self._feedback_address = feedback_address.lower()
        self._postmaster_domains = self._domains | {bounce_domain, hostname}
        self._ended = ended or EndedAddresses(store, clock)
        self._opened = Together(store, self._open)
        self._shared = Together(store, self._open_shared)

    async def resolve(self, address: Address) -> Target | Reply:
        """The target of an address of ours, else the refusal.

        Dropboxes and addresses of records that are unknown, revoked, disabled, malformed or forged are refused alike, after the
        same question to the store: nobody learns by asking which addresses exist (S21). Raises StoreBusy.
        """
        domain, local = address.domain, address.local
        if local.lower() == _POSTMASTER and domain in self._postmaster_domains:
            return await self._of_the_house(address, Channel.ORGANISATION)
        if local.lower() == self._feedback_address and domain == self._bounce_domain:
            # RFC 5965: a provider sends complaints to an address that was registered once for all mail. Whose they are is seen in
            # them (`inbound.tie`); what says nothing waits for a person, as mail to postmaster does.
            return await self._of_the_house(address, Channel.BOUNCE)
        if relay_disguise(local):
            return codes.RELAY_DENIED
        if domain in self._domains:
            return await self._of_the_service(address)
        if domain == self._bounce_domain:
            return await self._return_path(address)
        return await self._elsewhere(address)

    async def _of_the_service(self, address: Address) -> Target | Reply:
        token = record_address.read(address.local, self._secrets)
        if token is not None and not self._ended.is_over(token.org, token.number):
            return self._of_record(address, token)
        found = await self._opened.ask(address)
        if isinstance(found, Closed):
            return codes.NO_SUCH_DROPBOX
        if isinstance(found, Opened):
            return _of_organisation(address, found)
        return Target(
            org=found.org,
            channel=Channel.DROPBOX,
            place=ArrivalTarget(address=address, dropbox=found.dropbox, user=found.user),
            settings=found.settings,
        )

    def _open(self, tx: Tx, addresses: Sequence[Address]) -> list[dropboxes.Opened | Opened | Closed]:
        """What is no dropbox address at all asks the same questions, with a token that nobody has."""
        tokens = [dropbox_token(one.local) for one in addresses]
        boxes = dropboxes.opened_by(tx, tokens, now=self._clock.now())
        others = iter(self._open_shared(tx, [one for one, box in zip(addresses, boxes, strict=True) if box is None]))
        return [next(others) if box is None else box for box in boxes]

    def _of_record(self, address: Address, token: RecordAddressToken) -> Target | Reply:
        """Whoever made the signature said what it is for, and until when; filing sees whether the record is there."""
        if token.last_day is not None and token.until is not None and self._clock.now() >= token.until:
            return codes.address_over(token.last_day)
        place = ArrivalTarget(address=address, filing=token.number)
        return Target(org=token.org, channel=Channel.RECORD, place=place)

    async def _elsewhere(self, address: Address) -> Target | Reply:
        """At a domain of an organisation, or at any other."""
        found = await self._shared.ask(address)
        if isinstance(found, Closed):
            return codes.NO_SUCH_ADDRESS if found is Closed.NOBODY else codes.RELAY_DENIED
        return _of_organisation(address, found)

    def _open_shared(self, tx: Tx, addresses: Sequence[Address]) -> list[Opened | Closed]:
        if not addresses:
            return []
        return organisation_addresses.opened_by(tx, addresses, domains=self._domains)

    async def _return_path(self, address: Address) -> Target | Reply:
        leaver = unsubscribe_address.read(address.local, self._secrets)
        if leaver is not None:  # T09: the signature says who leaves what, and nothing else in the mail does
            return await self._about(address, leaver)
        token = return_path.read(address.local, self._secrets, now=self._clock.now())
        # B03, I10: what is not signed by us, or too late, is backscatter.
        if isinstance(token, NoReturnPath):
            return codes.NO_SUCH_RETURN_PATH
        return await self._about(address, token.delivery)

    async def _about(self, address: Address, named: DeliveryId) -> Target | Reply:
        """What came about a delivery of ours."""
        delivery = await self._store.read(deliveries.by_id, named)
        if delivery is None:
            return codes.NO_SUCH_RETURN_PATH
        return Target(
            org=delivery.org, channel=Channel.BOUNCE, place=ArrivalTarget(address=address, delivery=delivery.id)
        )

    async def _of_the_house(self, address: Address, channel: Channel) -> Target | Reply:
        # RFC 5321 §4.5.1: mail to postmaster is accepted. It is nobody's dropbox, so that a rule (hold.postmaster) leaves it to a
        # person of the first organisation, in the unresolved list.
        everyone = await self._store.read(organisations.list_organisations)
        if not everyone:
            return codes.LOCAL_ERROR
        return Target(org=everyone[0].id, channel=channel, place=ArrivalTarget(address=address))


def _of_organisation(address: Address, found: Opened) -> Target:
    place = ArrivalTarget(address=address, shared=found.shared)
    return Target(org=found.org, channel=Channel.ORGANISATION, place=place)
