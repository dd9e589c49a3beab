"""What a destination demands of the TLS towards it: DANE, MTA-STS, or nothing (RFC 7672, RFC 8461, RFC 8689 §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from mailrelay.model.sts import Mode, Policy
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


_DIGESTS = {1: 32, 2: 64}  # RFC 6698 §2.1.3: SHA-256 and SHA-512
_MAX_RECORDS = 50


def read_tlsa(texts: Sequence[str]) -> tuple[Tlsa, ...]:
    """The usable records among TLSA records as text (`3 1 1 0a1b…`), sorted.

    PKIX usages are not, for SMTP has no common list of authorities (RFC 7672 §3.1.3), nor is what we cannot check.
    """
    usable = sorted({one for text in texts[:_MAX_RECORDS] if (one := _read_tlsa(text)) is not None})
    # RFC 7671 §9: of several digests of the same kind only the strongest counts.
    strong = {(one.usage, one.selector) for one in usable if one.matching == 2}
    return tuple(one for one in usable if one.matching != 1 or (one.usage, one.selector) not in strong)


def _read_tlsa(text: str) -> Tlsa | None:
    parts = text.split()
    try:
        usage, selector, matching = (int(part) for part in parts[:3])
        data = bytes.fromhex("".join(parts[3:]))
    except ValueError:
        return None
    if usage not in (2, 3) or selector not in (0, 1) or matching not in (0, 1, 2) or not data:
        return None
    if matching and len(data) != _DIGESTS[matching]:
        return None
    return Tlsa(usage, selector, matching, data)


def bears(presented: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a certificate for the names `presented` proves one of `wanted`; `*` stands for one whole label on the left."""
    names = {name.rstrip(".").lower() for name in presented}
    for one in wanted:
        name = one.rstrip(".").lower()
        _, dot, parent = name.partition(".")
        if name in names or (dot and "." in parent and f"*.{parent}" in names):
            return True
    return False


def by_dane(domain: str, *, base: str, records: Sequence[str], names: Sequence[str]) -> Demand:
    """The demand of the TLSA records (as text) of a host, found at `base`. `names` are what its certificate may be for."""
    usable = read_tlsa(records)
    owner = f"the TLSA records of {base}"
    reason = f"DANE: {owner} say which certificate it must show"
    if not usable:
        reason = f"DANE: none of {owner} can be used, so encryption must be, but proves nobody"
    anchored = any(one.usage == 2 for one in usable)
    return Demand(
        mode=DemandMode.DANE,
        tlsa=usable,
        names=tuple(dict.fromkeys(names)) if anchored else (),
        sni=base,
        reason=reason,
        destination=domain,
        policy=TlsPolicy(type=PolicyType.TLSA, domain=base, strings=tuple(records[:_MAX_RECORDS])),
    )


def dane_unknown(domain: str, *, base: str, because: str) -> Demand:
    """The demand of a host whose DNS is signed and does not say whether it has TLSA records (RFC 7672 §2.1.2)."""
    return Demand(
        mode=DemandMode.DANE,
        barred=Barred(
            result=ResultType.DNSSEC_INVALID,
            because=f"DNSSEC gave no valid answer on the TLSA records of {base}: {because}",
        ),
        reason=f"DANE: DNS does not say whether {base} has TLSA records, so nothing is sent to it",
        destination=domain,
        policy=TlsPolicy(type=PolicyType.TLSA, domain=base),
    )


def by_sts(domain: str, policy: Policy, host: str) -> Demand:
    """The demand of the MTA-STS policy of `domain` on one of its MX hosts."""
    told = TlsPolicy(type=PolicyType.STS, domain=domain, strings=policy.lines, mx_patterns=policy.mx)
    if policy.mode is Mode.NONE:
        reason = f"the MTA-STS policy of {domain} asks for nothing"
        return Demand(reason=reason, destination=domain, policy=told)
    barred = None
    if not policy.covers(host):
        because = f"{host} is not among the MX hosts of the MTA-STS policy of {domain}"
        barred = Barred(result=ResultType.VALIDATION_FAILURE, because=because)
    enforced = policy.mode is Mode.ENFORCE
    reason = f"MTA-STS: the policy of {domain} demands a certificate that proves the name of its MX host"
    if not enforced:
        reason = f"MTA-STS: the policy of {domain} is being tested: what falls short is reported, and stops nothing"
    return Demand(mode=DemandMode.STS, enforced=enforced, barred=barred, reason=reason, destination=domain, policy=told)


def by_nobody(domain: str) -> Demand:
    """The demand where a destination has no policy."""
    return Demand(
        reason=f"{domain} has no policy on TLS, so as much is used as the host can do",
        destination=domain,
        policy=TlsPolicy(type=PolicyType.NONE, domain=domain),
    )


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
        return (by_nobody(domain),) * len(targets)
