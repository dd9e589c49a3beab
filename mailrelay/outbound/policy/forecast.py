"""What would happen to a mail now, in one sentence: from what was found out about its recipient, pure (issue of `mailrelay route`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.model.absence import Absence
from mailrelay.model.address import Address
from mailrelay.model.delivery import Deferred, Refused
from mailrelay.model.quota import Quota
from mailrelay.model.sending import Suspension
from mailrelay.model.suppression import Suppression
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.outbound.policy.shaping import Condition
from mailrelay.outbound.policy.tls import Demand, DemandMode
from mailrelay.smtp.address import format_address


class Outcome(StrEnum):
    """What would become of it."""

    GOES = "goes"
    WAITS = "waits"  # it would be taken, and goes later by itself
    HELD = "held"  # it would be taken, and goes once somebody acts
    REFUSED = "refused"  # by us, or it would come back at once
    FILED = "filed"  # a dropbox: nothing leaves
    KEPT = "kept"  # by the catch-all: nothing leaves this machine


@dataclass(frozen=True, slots=True)
class Forecast:
    """The verdict."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HopFacts:
    """An address that would be tried. `tls` is what our settings ask of it, `last` what it had the last time."""

    host: str
    ip: str
    tls: str
    demand: Demand
    last: HostTls | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the way stands that it would take."""

    site: str
    condition: Condition
    used: int
    allowed: int
    paused_until: datetime | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was found out. `no_route` is why there are no hops; no hops and no reason: nothing leaves this machine."""

    address: Address
    dropbox: bool
    """Whether it is one of the organisation's."""
    no_dropbox: str
    """Why it is refused, where its domain is that of dropboxes and it is none."""
    suppression: Suppression | None
    absence: Absence | None
    quota: Quota | None
    suspension: Suspension | None
    no_route: Deferred | Refused | None
    smart_host: str
    """The host that all of it goes to; "" when it goes straight to the recipient's."""
    smart_host_trouble: str
    hops: Sequence[HopFacts]
    pace: Pace | None
    parked_until: datetime | None
    parked_because: str
    now: datetime


def forecast(facts: Facts) -> Forecast:
    """The first thing that decides, in the order in which a mail meets them."""
    return _at_our_door(facts) or _held(facts) or _on_its_way(facts)


def _at_our_door(facts: Facts) -> Forecast | None:
    if facts.dropbox:
        return Forecast(Outcome.FILED, f"would be filed and not sent: {format_address(facts.address)} is a dropbox")
    if facts.no_dropbox:
        return Forecast(Outcome.REFUSED, f"would be refused: {facts.no_dropbox}")
    if facts.suppression is not None:
        address = format_address(facts.address)
        why = facts.suppression.reason.replace("_", " ")
        since = f"{facts.suppression.since:%Y-%m-%d}"
        return Forecast(Outcome.REFUSED, f"would be refused: {address} is suppressed since {since} ({why})")
    if facts.quota is not None and not facts.quota.left:
        quota = facts.quota
        return Forecast(
            Outcome.REFUSED,
            f"would be refused: the quota of {quota.limit} recipients of {quota.kind} mail a day is used up until "
            f"{_time(quota.resets_at)}",
        )
    return None


def _held(facts: Facts) -> Forecast | None:
    one = facts.suspension
    if one is None:
        return None
    return Forecast(
        Outcome.HELD,
        f"would be held until somebody resumes the {one.sending.scope} {one.sending.name}, which is suspended since "
        f"{_time(one.since)}: {one.reason}",
    )


def _on_its_way(facts: Facts) -> Forecast:
    if isinstance(facts.no_route, Refused):
        return Forecast(Outcome.REFUSED, f"would come back at once: {facts.no_route.reply.text}")
    if facts.no_route is not None:
        return Forecast(Outcome.WAITS, f"would wait and be tried again: {facts.no_route.reply.text}")
    if not facts.hops:
        return Forecast(Outcome.KEPT, "would be kept on this machine by the catch-all: nothing leaves by this route")
    usable = [hop for hop in facts.hops if not _is_barred(hop.demand)]
    if not usable:
        barred = facts.hops[0].demand.barred
        because = barred.because if barred is not None else facts.hops[0].demand.reason
        return Forecast(Outcome.WAITS, f"would wait, since nothing may be sent to any of its hosts: {because}")
    if (wait := _pace(facts)) is not None:
        return wait
    first = usable[0]
    whose = "the smart host " if facts.smart_host else ""
    sentence = f"would go to {whose}{first.host} now {_over(first)}"
    if facts.smart_host_trouble:
        sentence += f"; it refused us the last time: {facts.smart_host_trouble}"
    return Forecast(Outcome.GOES, sentence + _away(facts))


def _pace(facts: Facts) -> Forecast | None:
    """The limits of its way, where they stand in its way now."""
    pace, now = facts.pace, facts.now
    if pace is not None and pace.paused_until is not None and pace.paused_until > now:
        return Forecast(
            Outcome.WAITS, f"would wait until {_time(pace.paused_until)}, for {pace.site} is paused: {pace.because}"
        )
    if pace is not None and pace.used >= pace.allowed:
        because = f", since it asked for less: {pace.because}" if pace.because else ""
        return Forecast(
            Outcome.WAITS,
            f"would wait for a free connection to {pace.site}: {pace.used} of {pace.allowed} are in use{because}",
        )
    if facts.parked_until is not None and facts.parked_until > now:
        return Forecast(Outcome.WAITS, f"would wait until {_time(facts.parked_until)}: {facts.parked_because}")
    return None


def _is_barred(demand: Demand) -> bool:
    return demand.barred is not None and demand.enforced


def _over(hop: HopFacts) -> str:
    """What the connection would be like; the words are those of the demand, else of the memory."""
    demand = hop.demand
    if hop.tls == "never":
        return "in clear, as the settings have it"
    if hop.tls in ("required", "implicit"):
        return "over verified TLS, or not at all"
    if demand.binding:
        if demand.mode is DemandMode.STS:
            return "over verified TLS, or not at all (MTA-STS)"
        if demand.tlsa:
            return "over TLS proved by DANE, or not at all"
        return "encrypted, or not at all (DANE, though none of its TLSA records can be used)"
    if hop.last is None:
        return "over TLS if it can"
    if hop.last.level is TlsLevel.VERIFIED:
        return "over verified TLS"
    if hop.last.level is TlsLevel.UNVERIFIED:
        return f"over unverified TLS ({hop.last.reason})" if hop.last.reason else "over unverified TLS"
    return f"in clear ({hop.last.reason})" if hop.last.reason else "in clear"


def _away(facts: Facts) -> str:
    one = facts.absence
    if one is None:
        return ""
    if one.gone:
        return "; its owner is gone for good, says an automatic reply"
    return "" if one.until is None else f"; its owner is away until {_time(one.until)}"


def _time(at: datetime) -> str:
    zone = f" {at:%Z}" if at.tzinfo is not None else ""
    return f"{at:%Y-%m-%d %H:%M}{zone}"
