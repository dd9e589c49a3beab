"""What would happen to a mail to an address now, and why: gathered from those who would decide it, the courier among them.

Nothing here decides by itself where mail goes: the way and the hops are those that `Courier.way` and `Courier.hops` give, suspensions
are found by `brake`, limits are the shaper's. What is shown beside them (hosts that are passed over, what waits) is for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailrelay.clock import Clock
from mailrelay.dns.resolver import Resolver, ask
from mailrelay.errors import Unknown
from mailrelay.ids import DeliveryId, Digest, MessageId, OrgId, QueueId, UserId
from mailrelay.model.absence import Absence
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams
from mailrelay.model.lookup import LookupStatus, Question, RecordType
from mailrelay.model.message import BlobRef
from mailrelay.model.network import is_public
from mailrelay.model.quota import Quota
from mailrelay.model.sending import Suspension
from mailrelay.model.smart_host import SmartHost
from mailrelay.model.sts import KeptPolicy
from mailrelay.model.suppression import Suppression
from mailrelay.model.way import Way
from mailrelay.outbound import allowance, brake, own_places
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.policy import quota as quota_policy
from mailrelay.outbound.policy import route
from mailrelay.outbound.policy.forecast import Facts, Forecast, HopFacts, Pace, forecast
from mailrelay.outbound.shaper import Shaper, WayState
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.store import (
    absences,
    destinations,
    organisation_addresses,
    organisations,
    people,
    sts_policies,
    suppressions,
    suspensions,
    waiting,
)
from mailrelay.store.base import Store, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A mail that might be sent. `sender` None: nothing is said of domains and smart hosts that depend on whose it is."""

    org: OrgId
    address: Address
    sender: Address | None = None
    author: UserId | None = None
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSeen:
    """One address of a host; `why` it is not used, "" when it is."""

    ip: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """One MX host; `preference` None where the domain has no MX records and stands for itself. `why` it is passed over, or ""."""

    preference: int | None
    host: str
    addresses: tuple[AddressSeen, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """All that was found out, and the verdict."""

    asked: Asked
    forecast: Forecast
    now: datetime
    facts: Facts
    way: Way
    hosts: tuple[HostSeen, ...]
    """Of the recipient's domain, best first; empty where all goes to a smart host."""
    pace: WayState
    sts: KeptPolicy | None
    queue: waiting.Waiting
    own_host: SmartHost | None


class Explainer:
    """Answers; it changes nothing."""

    def __init__(
        self,
        store: Store,
        router: Router,
        shaper: Shaper,
        memory: TlsMemory,
        kit: Kit,
        *,
        dropbox_domains: Sequence[str] = (),
        secrets: Sequence[bytes] = (),
        quotas: bool = True,
    ) -> None:
        """`kit` is what the couriers are made of; `secrets` sign the addresses of records; `quotas`: whether mail is counted."""
        self._store = store
        self._router = router
        self._shaper = shaper
        self._memory = memory
        self._kit = kit
        self._clock: Clock = kit.clock
        self._resolver: Resolver = kit.resolver
        self._dropbox_domains = frozenset(dropbox_domains)
        self._secrets = tuple(secrets)
        self._quotas = quotas

    async def explain(self, asked: Asked) -> Explained:
        """What would happen to the mail now. Asks DNS and policy hosts, as long as they take. Raises StoreBusy."""
        now = self._clock.now()
        probe = probe_of(asked, now)
        whose = (asked.org, asked.author, probe.sender_domain)
        way, own = await asyncio.gather(self._router.way(probe), self._router.smart_host(whose))
        hops = await self._router.hops(probe, way)
        no_route = hops if isinstance(hops, route.NoRoute) else None
        found = () if isinstance(hops, route.NoRoute) else tuple(hops)
        relay = way.site if way.relay else ""
        hosts = () if relay or not (found or no_route) else await self.hosts(asked.address.domain, found)
        pace = self._shaper.of(way)
        # Not a read: it locks the suspensions that it reads.
        known = await self._store.write(
            _known, asked, probe, way, dropbox_domains=self._dropbox_domains, secrets=self._secrets, now=now
        )
        facts = Facts(
            address=asked.address,
            dropbox=known.dropbox,
            no_dropbox=known.no_dropbox,
            suppression=known.suppression,
            absence=known.absence,
            quota=known.quota if self._quotas else None,
            suspension=known.suspension,
            no_route=no_route,
            smart_host=relay,
            smart_host_trouble="" if own is None else own.trouble,
            hops=[await self._hop(hop) for hop in found],
            pace=Pace(
                site=str(way),
                condition=pace.condition,
                used=pace.used,
                allowed=pace.allowed,
                paused_until=pace.paused_until,
                because=pace.because,
            ),
            parked_until=None if known.destination is None else known.destination.parked_until,
            parked_because="" if known.destination is None else known.destination.because,
            now=now,
        )
        return Explained(
            asked=asked,
            forecast=forecast(facts),
            now=now,
            facts=facts,
            way=way,
            hosts=hosts,
            pace=pace,
            sts=known.sts if not relay and found else None,
            queue=known.queue,
            own_host=own,
        )

    async def _hop(self, hop: Hop) -> HopFacts:
        return HopFacts(
            host=hop.host,
            ip=hop.ip,
            tls=hop.tls,
            demand=hop.demand,
            last=await self._memory.recall((hop.host, hop.ip, hop.port)),
        )

    # --- what the destination's DNS says, host by host ---

    async def hosts(self, domain: str, hops: Sequence[Hop]) -> tuple[HostSeen, ...]:
        """The hosts of a domain, with what is made of each; what would be used is told by `hops`, in the order of the attempts."""
        if domain.startswith("["):
            return ()
        answer = await self._resolver.resolve(Question(RecordType.MX, domain))
        if answer.status is LookupStatus.TEMPORARY:
            return ()
        records: list[tuple[int | None, str]] = [(one.preference, one.host) for one in answer.mx] or [(None, domain)]
        records.sort(key=lambda one: (one[0] or 0, one[1]))
        mine = [preference or 0 for preference, host in records if host in self._kit.own_names]
        seen: list[HostSeen] = []
        for preference, host in records[: route.MAX_HOSTS]:
            why = ""
            if not host:
                why = "the null MX: the domain takes no mail"
            elif host in self._kit.own_names:
                why = "it is this server"
            elif mine and (preference or 0) >= min(mine):
                why = "it is no better than this server, which is among the hosts"
            found, failure = ((), "") if why else await ask(route.addresses(host), self._resolver)
            if not why and not found:
                why = f"DNS gave no answer: {failure}" if failure else "it has no address"
            seen.append(
                HostSeen(
                    preference=preference,
                    host=host or ".",
                    addresses=tuple(AddressSeen(ip=one.ip, why=self._why_not(one.ip, host, hops)) for one in found),
                    why=why,
                )
            )
        return tuple(seen)

    def _why_not(self, ip: str, host: str, hops: Sequence[Hop]) -> str:
        if any(hop.ip == ip and hop.host == host for hop in hops):
            return ""
        if ip in self._kit.own_addresses:
            return "it is this server"
        if not self._kit.settings.allow_private and not is_public(ip):
            return "it is a private address, which is not allowed here"
        return "enough others come before it, or the egress source has no address of its kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    dropbox: bool
    no_dropbox: str
    suppression: Suppression | None
    absence: Absence | None
    quota: Quota | None
    suspension: Suspension | None
    destination: destinations.Destination | None
    queue: waiting.Waiting
    sts: KeptPolicy | None


def _known(
    tx: Tx,
    asked: Asked,
    probe: Delivery,
    way: Way,
    *,
    dropbox_domains: Collection[str],
    secrets: Sequence[bytes],
    now: datetime,
) -> _Known:
    house = own_places.look(
        tx,
        [probe.address],
        org=asked.org,
        shared=organisation_addresses.find(tx, organisation_addresses.keys_of(probe.address)),
        domains=dropbox_domains,
        secrets=secrets,
        now=now,
    )
    organisation = organisations.get(tx, asked.org)
    kind = quota_policy.kind(Channel.API, job=asked.job, scheduled=False)
    sending = brake.suspended_by(tx, [probe], way=way).get(probe.id)
    suspension = None if sending is None else suspensions.covering(tx, asked.org, [sending])[sending]
    domain = asked.address.domain
    return _Known(
        dropbox=bool(house.places),
        no_dropbox=house.refusal,
        suppression=next(iter(suppressions.holding(tx, asked.org, [asked.address.key])), None),
        absence=next(iter(absences.of(tx, asked.org, [asked.address.key], now)), None),
        quota=allowance.quota(tx, organisation, kind, at=now),
        suspension=suspension,
        destination=destinations.get(tx, domain),
        queue=waiting.of(tx, domain),
        sts=sts_policies.get(tx, domain),
    )


def sender_of(tx: Tx, org: OrgId, given: Address) -> tuple[Address, UserId | None]:
    """Whose mail it would be: an address of a user, or of nobody known."""
    found = people.by_addresses(tx, org, [given.key])
    return given, found[0].id if found else None


def sender_of_user(tx: Tx, org: OrgId, id_: UserId) -> tuple[Address, UserId | None]:
    """A user's own address. Raises Unknown."""
    user = people.get(tx, org, id_)
    if not user.active:
        raise Unknown(f"The user {id_} is not active any more")
    return user.primary, user.id


def probe_of(asked: Asked, now: datetime) -> Delivery:
    """A delivery as it would be made, for those who judge deliveries. It is nowhere but here."""
    return Delivery(
        id=DeliveryId("D"),
        org=asked.org,
        message=MessageId("M"),
        queue_id=QueueId(f"Q{asked.address.key}"),
        channel=Channel.API,
        mail_from=asked.sender,
        params=MailParams(),
        recipient=EnvelopeRecipient(address=asked.address),
        state=DeliveryState.QUEUED,
        raw=BlobRef(digest=Digest(""), size=0),
        created_at=now,
        due_at=now,
        expires_at=now,
        attempts=0,
        last_reply="",
        lease=None,
        job=asked.job,
        author=asked.author,
    )
