"""RCPT TO: whose a recipient address is, or why it is refused, within the dialogue (I1, I24, S21, S22)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mailrelay.clock import Clock
from mailrelay.ids import OrgId
from mailrelay.mail import return_path
from mailrelay.mail.return_path import NoReturnPath
from mailrelay.model.address import Address
from mailrelay.model.envelope import ArrivalTarget, Channel
from mailrelay.model.organisation import dropbox_token
from mailrelay.model.reply import Reply
from mailrelay.model.settings import OrganisationSettings
from mailrelay.smtp import codes
from mailrelay.smtp.address import relay_disguise
from mailrelay.store import deliveries, dropboxes, organisations
from mailrelay.store.base import Store, Tx
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
    ) -> None:
        """`domains` are those of the dropboxes; `secrets` are the keys of signed return paths, the current one first.

        `feedback_address`: local part at the bounce domain that takes the complaints of feedback loops.
        """
        self._store = store
        self._clock = clock
        self._domains = frozenset(domains)
        self._bounce_domain = bounce_domain
        self._secrets = tuple(secrets)
        self._feedback_address = feedback_address.lower()
        self._postmaster_domains = self._domains | {bounce_domain, hostname}
        self._opened = Together(store, self._open)

    async def resolve(self, address: Address) -> Target | Reply:
        """The target of an address of ours, else the refusal.

        An unknown, revoked, disabled and malformed dropbox are refused alike, after the same question to the store: nobody
        learns by asking which addresses exist (S21). Raises StoreBusy.
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
            return await self._dropbox(address)
        if domain == self._bounce_domain:
            return await self._return_path(address)
        return codes.RELAY_DENIED

    async def _dropbox(self, address: Address) -> Target | Reply:
        # What is no dropbox address at all asks the same question, with a token that nobody has.
        found = await self._opened.ask(dropbox_token(address.local))
        if found is None:
            return codes.NO_SUCH_DROPBOX
        return Target(
            org=found.org,
            channel=Channel.DROPBOX,
            place=ArrivalTarget(address=address, dropbox=found.dropbox, user=found.user),
            settings=found.settings,
        )

    def _open(self, tx: Tx, tokens: Sequence[str]) -> list[dropboxes.Opened | None]:
        return dropboxes.opened_by(tx, tokens, now=self._clock.now())

    async def _return_path(self, address: Address) -> Target | Reply:
        token = return_path.read(address.local, self._secrets, now=self._clock.now())
        # B03, I10: what is not signed by us, or too late, is backscatter.
        if isinstance(token, NoReturnPath):
            return codes.NO_SUCH_RETURN_PATH
        delivery = await self._store.read(deliveries.by_id, token.delivery)
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
