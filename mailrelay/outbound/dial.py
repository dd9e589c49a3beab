"""Opening a connection with as much encryption as the hop can do, and no less than is demanded (O11, N10, A04).

Opportunistic TLS goes down a ladder, and where a host stood is remembered for an hour: with a certificate that proves its name,
with any certificate, in clear. A hop that must prove something has one rung: what it does not prove is not sent to.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import IntEnum
from functools import partial
from math import inf
from pathlib import Path

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery
from mailrelay.model.delivery import Deferred, Interrupted, Stage
from mailrelay.model.reply import reply
from mailrelay.model.tls import TlsLevel
from mailrelay.model.tls_report import ResultType, TlsResult, TlsWitness, Unseen
from mailrelay.outbound import dane
from mailrelay.outbound.connection import Connection, Failed, Guard, Hop, Tap, TlsMode
from mailrelay.outbound.policy.tls import Demand, DemandMode, Tlsa
from mailrelay.outbound.tls_memory import REMEMBERED, TlsMemory
from mailrelay.outbound.transaction import Patience
from mailrelay.outbound.trust import taking_any, trusting
from mailrelay.smtp.escape import escape

_MAX_ANCHORS = 1_000
_MAX_DETAIL = 200
_MET = (ResultType.SUCCESS, ResultType.TLSA_INVALID)  # of unusable TLSA records, encryption is all that is demanded
_logger = log.get()


class _Rung(IntEnum):
    VERIFIED = 0
    UNVERIFIED = 1
    CLEAR = 2


_RUNG = {TlsLevel.VERIFIED: _Rung.VERIFIED, TlsLevel.UNVERIFIED: _Rung.UNVERIFIED, TlsLevel.CLEAR: _Rung.CLEAR}


class Dialler:
    """Opens connections; one for the life of the process."""

    def __init__(
        self,
        settings: Delivery,
        *,
        helo: str,
        clock: Clock,
        ca_file: Path | None = None,
        memory: TlsMemory | None = None,
        witness: TlsWitness | None = None,
    ) -> None:
        """`ca_file` names authorities to trust beside those of the system; `witness` is told how each session's TLS fared."""
        self._settings = settings
        self._helo = helo
        self._clock = clock
        self._memory = memory or TlsMemory(clock)
        self._witness = witness or Unseen()
        self._verifying = trusting(ca_file)
        self._strict = trusting(ca_file, strict=True)
        self._any = taking_any()
        self._anchors: OrderedDict[tuple[Tlsa, ...], dane.Anchor] = OrderedDict()

    async def dial(self, hop: Hop, *, last: bool, within: float = inf, tap: Tap | None = None) -> Connection:
        """An open connection. `last`: no other host is left to try, so it is given more time. Raises Failed.

        `within` seconds it must be connected, where that is less than our settings give; `tap` hears the dialogue.
        """
        patience = Patience(
            connect=min(self._settings.connect_timeout, within),
            banner=self._settings.command_timeout if last else self._settings.connect_timeout,
            command=self._settings.command_timeout,
            data=self._settings.data_timeout,
            whole=self._settings.transaction_timeout,
            rate=self._settings.min_rate,
        )
        attempt = _Attempt(hop, partial(Connection.open, helo=self._helo, patience=patience, tap=tap), tap)
        try:
            connection = await self._open(attempt)
        except Failed as failed:
            metrics.connections.labels("failed").inc()
            if failed.result is not None:
                self._tell(hop, failed.result, failed.reason)
                if _count(hop, met=False):
                    _logger.warning("tls.failed", host=str(hop), reason=failed.reason, demand=hop.demand.reason)
            raise
        proof = connection.proof
        kind = "clear" if not proof.protocol else "verified" if proof.verified else "unverified"
        metrics.connections.labels(kind).inc()
        result, detail = _result(hop, connection, attempt.fell_short)
        _count(hop, met=result in _MET)
        self._tell(hop, result, detail, source=connection.local_address)
        return connection

    async def _open(self, attempt: _Attempt) -> Connection:
        hop = attempt.hop
        demand = hop.demand
        if hop.tls is TlsMode.NEVER:
            return await attempt.open(Guard(context=None))
        if hop.tls is not TlsMode.OPPORTUNISTIC:
            return await self._noted(attempt, self._verified(self._verifying, "our settings demand it"))
        if demand.barred is not None and demand.enforced:
            raise Failed(
                Deferred(reply=reply(451, "4.7.5", escape(demand.barred.because)), stage=Stage.TLS),
                result=demand.barred.result,
            )
        if demand.mode is DemandMode.DANE:
            return await self._by_dane(attempt)
        if demand.binding:
            return await self._noted(attempt, self._verified(self._strict, demand.reason))
        return await self._down_the_ladder(attempt)

    async def _by_dane(self, attempt: _Attempt) -> Connection:
        """A connection that proves itself by TLSA records, or is encrypted where none of them can be used."""
        demand = attempt.hop.demand
        if not demand.tlsa:
            return await self._noted(
                attempt, self._dane(demand, self._any, detail="none of its TLSA records can be used")
            )
        anchor = self._anchors.get(demand.tlsa)
        if anchor is None:
            look = dane.Look(demand.tlsa)
            try:
                return await self._noted(attempt, self._dane(demand, self._any, prove=look))
            except Failed:
                if look.anchor is None:
                    raise
                anchor = look.anchor
        # What the anchor issued can only be told by a handshake that trusts nothing else.
        prove = partial(dane.verified, anchor, demand.names)
        try:
            connection = await self._noted(attempt, self._dane(demand, dane.trusting(anchor), prove=prove))
        except Failed as failed:
            if self._anchors.pop(demand.tlsa, None) is not None and failed.certificate:
                return await self._by_dane(attempt)  # the host shows another chain by now
            raise
        self._anchors[demand.tlsa] = anchor
        self._anchors.move_to_end(demand.tlsa)
        if len(self._anchors) > _MAX_ANCHORS:
            self._anchors.popitem(last=False)
        return connection

    def _dane(
        self,
        demand: Demand,
        context: ssl.SSLContext,
        *,
        prove: Callable[[ssl.SSLObject], str] | None = None,
        detail: str = "",
    ) -> Guard:
        return Guard(
            context=context,
            required=True,
            sni=demand.sni,
            timeout=self._settings.tls_timeout,
            because=demand.reason,
            detail=detail,
            prove=prove,
        )

    async def _down_the_ladder(self, attempt: _Attempt) -> Connection:
        hop = attempt.hop
        rung, why = await self._rung(hop)
        fell = False
        while True:
            try:
                return await self._noted(attempt, self._at(rung, why), fell=fell)
            except Failed as failed:
                if not failed.tls or rung is _Rung.CLEAR:
                    raise
                attempt.fall(failed)
                rung = _Rung.UNVERIFIED if failed.certificate and rung is _Rung.VERIFIED else _Rung.CLEAR
                why, fell = _why(failed), True

    async def _noted(self, attempt: _Attempt, guard: Guard, *, fell: bool = False) -> Connection:
        """An open connection, once it is remembered what it has. Raises Failed."""
        connection = await attempt.open(guard)
        hop, proof = attempt.hop, connection.proof
        level = TlsLevel.CLEAR if not proof.protocol else TlsLevel.UNVERIFIED
        if proof.verified:
            level = TlsLevel.VERIFIED
        try:
            before = await self._memory.recall(_place(hop))
            reason = "" if proof.verified else proof.detail
            await self._memory.note(_place(hop), level, protocol=proof.protocol, reason=reason, fell=fell)
        except BaseException:
            connection.abort()
            raise
        if level is not TlsLevel.VERIFIED and (before is None or before.reason != reason):
            _logger.info("tls.fell", host=str(hop), level=level.value, reason=reason)
        return connection

    async def _rung(self, hop: Hop) -> tuple[_Rung, str]:
        """Where to begin. What its owner tests is looked at each time, since each session is told of."""
        stood = await self._memory.recall(_place(hop))
        if stood is None or stood.look_at is None or hop.demand.mode is not DemandMode.NONE:
            return _Rung.VERIFIED, ""
        # A clock that was ahead for a while must not keep a host in clear until it is there again.
        if not timedelta(0) < stood.look_at - self._clock.now() <= REMEMBERED:
            return _Rung.VERIFIED, ""
        return _RUNG[stood.level], stood.reason

    def _at(self, rung: _Rung, why: str) -> Guard:
        match rung:
            case _Rung.VERIFIED:
                return Guard(context=self._verifying, verifying=True, timeout=self._settings.tls_timeout)
            case _Rung.UNVERIFIED:
                return Guard(context=self._any, timeout=self._settings.tls_timeout, detail=why)
            case _Rung.CLEAR:
                return Guard(context=None, detail=why)

    def _verified(self, context: ssl.SSLContext, because: str) -> Guard:
        return Guard(
            context=context,
            verifying=True,
            required=True,
            timeout=self._settings.tls_timeout,
            because=because,
        )

    def _tell(self, hop: Hop, result: ResultType, detail: str = "", source: str = "") -> None:
        if not hop.demand.destination:
            return
        self._witness.saw(
            TlsResult(
                destination=hop.demand.destination,
                policy=hop.demand.policy,
                result=result,
                mx_host=hop.host,
                ip=hop.ip,
                source_ip=source,
                detail=detail[:_MAX_DETAIL],
            )
        )


class _Attempt:
    """One hop, as often as it takes to open a connection to it, and how TLS fell short on the way."""

    def __init__(self, hop: Hop, opener: Callable[..., Awaitable[Connection]], tap: Tap | None) -> None:
        self.hop = hop
        self.fell_short: Failed | None = None
        self._opener = opener
        self._tap = tap
        self._failed: Failed | None = None

    async def open(self, guard: Guard) -> Connection:
        """Raises Failed."""
        if self._failed is not None and self._tap is not None:
            self._tap.again(_why(self._failed))
        try:
            return await self._opener(self.hop, guard=guard)
        except Failed as failed:
            self._failed = failed
            raise

    def fall(self, failed: Failed) -> None:
        """Note the first failure: it is the one to be mended."""
        self.fell_short = self.fell_short or failed


def _why(failed: Failed) -> str:
    """Why better TLS was not to be had, in words that are kept."""
    if isinstance(failed.outcome, Interrupted):
        return failed.reason
    if failed.result is ResultType.STARTTLS_NOT_SUPPORTED:
        return f"it offers STARTTLS and answers {failed.outcome.reply}"
    return failed.outcome.reply.text


def _place(hop: Hop) -> tuple[str, str, int]:
    return hop.host, hop.ip, hop.port


def _kind(hop: Hop) -> str:
    """Who demands, for the metric; "" when nobody does."""
    if hop.tls in (TlsMode.REQUIRED, TlsMode.IMPLICIT):
        return "own"
    match hop.demand.mode:
        case DemandMode.STS:
            return "sts" if hop.demand.enforced else "sts_testing"
        case DemandMode.DANE:
            return "dane"
        case _:
            return ""


def _count(hop: Hop, *, met: bool) -> bool:
    """Count what was demanded; whether anything was."""
    kind = _kind(hop)
    if kind:
        metrics.tls_demands.labels(kind, "met" if met else "failed").inc()
    return bool(kind)


def _result(hop: Hop, connection: Connection, fell_short: Failed | None) -> tuple[ResultType, str]:
    """How a session that goes on fared, measured by its destination's policy (RFC 8460 §4.3)."""
    proof, demand = connection.proof, hop.demand
    if demand.mode is DemandMode.DANE:
        if demand.tlsa:
            return ResultType.SUCCESS, ""
        return ResultType.TLSA_INVALID, "no-usable-tlsa"
    if not demand.enforced and demand.barred is not None:
        return demand.barred.result, demand.barred.because
    if proof.verified or (proof.protocol and demand.mode is DemandMode.NONE):
        return ResultType.SUCCESS, ""
    if fell_short is not None and fell_short.result is not None:
        return fell_short.result, fell_short.reason
    if proof.protocol:
        return ResultType.VALIDATION_FAILURE, proof.detail
    return ResultType.STARTTLS_NOT_SUPPORTED, proof.detail
