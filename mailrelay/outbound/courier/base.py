"""What a courier is: it takes a batch for one destination and reports what became of each delivery, as it comes to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery as DeliverySettings
from mailrelay.dns.resolver import Resolver
from mailrelay.ids import DeliveryId, OrgId
from mailrelay.model.address import ReversePath
from mailrelay.model.delivery import Deferred, Delivery, Outcome, Refused, Stage, TlsProof
from mailrelay.model.reply import reply
from mailrelay.model.tls_report import TlsWitness, Unseen
from mailrelay.model.way import Way
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.policy.route import NoRoute
from mailrelay.outbound.policy.tls import NoDemands, TlsDemands
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.outbound.transaction import Letter, Offers

OUR_FAULT = Deferred(
    reply=reply(451, "4.3.0", "an error on our side; it is logged, and the delivery will be tried again"),
    stage=Stage.RESOLVE,
)
"""The outcome when our own code raised: never the recipient's fault, never its text."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery and the MAIL FROM that the wire shows for it."""

    delivery: Delivery
    mail_from: ReversePath


class Letters(Protocol):
    """Makes what a next hop gets: prepared and signed once for all recipients of a message that get the same bytes."""

    async def letter(self, parcels: tuple[Parcel, ...], offers: Offers) -> Letter | Refused | Deferred:
        """The letter for parcels of one message and one MAIL FROM, fit for what the hop offers; or why there is none.

        A fault of ours in one letter is its own deferral, so that its neighbours go.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one delivery, at which host, over what."""

    delivery: DeliveryId
    outcome: Outcome
    host: str
    tls: TlsProof | None
    relayed: bool = False
    """It was given, or owed, by a relay that takes mail on for us: what befalls the way to it is nobody's fault but ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryBatch:
    """Deliveries that take one way, those of one message together; of one destination unless the way leads to a relay.

    `report` is called once for each delivery, as soon as its outcome is known, so that it can be written down at once.
    """

    destination: str
    parcels: tuple[Parcel, ...]
    letters: Letters
    report: Callable[[Report], None]
    way: Way
    connections: int
    """How many connections may be open on the way now, idle ones too; this batch uses one."""
    before_dot: Callable[[Sequence[DeliveryId]], Awaitable[None]]
    """Called for the deliveries of each transaction right before its final dot is sent, the rest of the content being out. It writes
    down that they may have been taken, for mass mail (D11); what it raises keeps the dot from being sent.
    """


class Courier(Protocol):
    """A way to deliver."""

    async def way(self, delivery: Delivery) -> Way:
        """The way that it takes now. May ask DNS, and takes as long as that; where DNS gives no answer, the site is the destination."""
        ...

    async def deliver(self, batch: DeliveryBatch) -> None:
        """Deliver. What the world does is reported; what is raised is a fault of ours, and what was not reported is tried again."""
        ...

    async def hops(self, delivery: Delivery, way: Way) -> Sequence[Hop] | NoRoute:
        """Where `deliver` would offer it now, in this order, or why it would not; empty where nothing leaves this machine.

        Hosts that failed lately are tried behind the others all the same.
        """
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


def report_all(batch: DeliveryBatch, outcome: Outcome, *, host: str, relayed: bool = False) -> None:
    """Report the same for all."""
    for parcel in batch.parcels:
        batch.report(Report(delivery=parcel.delivery.id, outcome=outcome, host=host, tls=None, relayed=relayed))


async def nothing_suspended(_: OrgId) -> Collection[str]:
    """No source is."""
    return ()


async def nobody_told(orgs: Collection[OrgId], host: str, because: str) -> None:
    """Nobody follows what becomes of smart hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a courier is made of."""

    settings: DeliverySettings
    hostname: str
    """Our name, in EHLO unless `settings.helo` says another."""
    own_names: frozenset[str]
    own_addresses: frozenset[str]
    sent: Path
    """Folder of the catch-all unless the settings name another."""
    resolver: Resolver
    clock: Clock
    demands: TlsDemands = field(default_factory=NoDemands)
    """What destinations demand of TLS."""
    tls_memory: TlsMemory | None = None
    """What hosts had the last time; None remembers for as long as a courier lives."""
    witness: TlsWitness = field(default_factory=Unseen)
    """Told how each session's TLS fared, for TLS-RPT."""
    suspended_sources: Callable[[OrgId], Awaitable[Collection[str]]] = nothing_suspended
    """The egress sources that an organisation's mail does not leave by now."""
    shut_out: Callable[[Collection[OrgId], str, str], Awaitable[None]] = nobody_told
    """Told whose mail waits for which smart host of the installation, and why: it refuses us (N11); "" when it takes mail again."""

    @property
    def helo(self) -> str:
        """The name said in EHLO."""
        return self.settings.helo or self.hostname
