"""What a destination demands of the TLS towards it: DANE, MTA-STS, or nothing (RFC 7672, RFC 8461, RFC 8689 §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from mailrelay.model.tls_report import PolicyType, ResultType, TlsPolicy
from mailrelay.outbound.policy.route import Target


class DemandMode(StrEnum):
    """Who demands it."""

    NONE = "none"  # nobody: as much as the host can do
    STS = "sts"
    DANE = "dane"
    OWN = "own"  # our own settings, of a smart host


@dataclass(frozen=True, slots=True, order=True)
class Tlsa:
    """One usable TLSA record (RFC 6698 §2.1): `usage` 2 (DANE-TA) or 3 (DANE-EE)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        """`3 1 1 0a1b…`, as zone files have it."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """Why a host may not be connected to at all."""

    result: ResultType
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a connection to one host must prove, before mail for one destination goes over it.

    Two demands are equal when they ask the same proof, whoever asks it: connections are shared by that.
    """

    mode: DemandMode = DemandMode.NONE
    enforced: bool = True
    """False for an MTA-STS policy that is being tested: what fails is counted, and stops nothing (RFC 8461 §5.1)."""
    tlsa: tuple[Tlsa, ...] = ()
    """Of DANE: one of them must match. Empty: none is usable, so that encryption must be but proves nobody (RFC 7672 §2.2)."""
    names: tuple[str, ...] = ()
    """Of DANE-TA: the certificate must bear one of them. DANE-EE asks for no name."""
    sni: str = ""
    """The name to ask the host for; "" for the host's own."""
    barred: Barred | None = None
    """Nothing goes to this host: it is not in the policy, or the DNS that would tell is broken."""
    reason: str = field(default="no policy asks for TLS", compare=False)
    """For people: what is demanded and by whom."""
    destination: str = field(default="", compare=False)
    policy: TlsPolicy = field(default=TlsPolicy(type=PolicyType.NONE, domain=""), compare=False)
    """For reports."""

    @property
    def binding(self) -> bool:
        """Whether mail waits rather than go without what is demanded."""
        return self.mode is not DemandMode.NONE and self.enforced


NO_DEMAND = Demand()


def relaxed(demand: Demand) -> Demand:
    """The demand for a message whose author put delivery above encryption: `TLS-Required: No` (RFC 8689 §5)."""
    if not demand.binding:
        return demand
    reason = f"the message says TLS-Required: No, so this does not bind it: {demand.reason}"
    return replace(demand, mode=DemandMode.NONE, tlsa=(), names=(), sni="", barred=None, reason=reason)


class TlsDemands(Protocol):
    """Finds out what destinations demand."""

    async def for_destination(self, domain: str, targets: Sequence[Target]) -> tuple[Demand, ...]:
        """A demand for each target of `domain`, in their order. Asks DNS and policy hosts, from a cache where it can.

        Raises nothing for what the world does: a target that must not be used is `barred`.
        """
        ...


class NoDemands:
    """Demands nothing of anybody."""

    async def for_destination(self, domain: str, targets: Sequence[Target]) -> tuple[Demand, ...]:
        """See `TlsDemands.for_destination`."""
        policy = TlsPolicy(type=PolicyType.NONE, domain=domain)
        return (Demand(destination=domain, policy=policy),) * len(targets)
