"""Opening a connection with as much encryption as the hop can do, and no less than it must (O11, N10).

Opportunistic TLS goes down a ladder, and remembers for an hour where a host stood: with a certificate that proves its name,
with any certificate, in clear. A hop that must be verified has one rung.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from enum import IntEnum
from math import inf
from pathlib import Path

from mailrelay import metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Delivery
from mailrelay.outbound.connection import Connection, Failed, Hop, TlsMode
from mailrelay.outbound.transaction import Patience

_REMEMBERED = 3600.0
_MAX_REMEMBERED = 10_000


class _Rung(IntEnum):
    VERIFIED = 0
    UNVERIFIED = 1
    CLEAR = 2


class Dialler:
    """Opens connections; one for the life of the process."""

    def __init__(self, settings: Delivery, *, helo: str, clock: Clock, ca_file: Path | None = None) -> None:
        """`ca_file` names authorities to trust beside those of the system."""
        self._settings = settings
        self._helo = helo
        self._clock = clock
        self._verifying = ssl.create_default_context()
        if ca_file is not None:
            self._verifying.load_verify_locations(ca_file)
        self._any = ssl.create_default_context()
        self._any.check_hostname = False
        self._any.verify_mode = ssl.CERT_NONE  # opportunistic: any encryption is better than none
        self._stood: OrderedDict[tuple[str, str, int], tuple[float, _Rung, str]] = OrderedDict()

    async def dial(self, hop: Hop, *, last: bool, within: float = inf) -> Connection:
        """An open connection. `last`: no other host is left to try, so it is given more time. Raises Failed.

        `within` seconds it must be connected, where that is less than our settings give.
        """
        patience = Patience(
            connect=min(self._settings.connect_timeout, within),
            banner=self._settings.command_timeout if last else self._settings.connect_timeout,
            command=self._settings.command_timeout,
            data=self._settings.data_timeout,
        )
        try:
            connection = await self._down_the_ladder(hop, patience)
        except Failed:
            metrics.connections.labels("failed").inc()
            raise
        proof = connection.proof
        kind = "clear" if not proof.protocol else "verified" if proof.verified else "unverified"
        metrics.connections.labels(kind).inc()
        return connection

    async def _down_the_ladder(self, hop: Hop, patience: Patience) -> Connection:
        rung, why = self._rung(hop)
        while True:
            try:
                return await self._open(hop, patience, rung, why)
            except Failed as failed:
                if hop.tls is not TlsMode.OPPORTUNISTIC or not failed.tls or rung is _Rung.CLEAR:
                    raise
                rung = _Rung.UNVERIFIED if failed.certificate and rung is _Rung.VERIFIED else _Rung.CLEAR
                why = str(failed.reason)
                self._remember(hop, rung, why)

    async def _open(self, hop: Hop, patience: Patience, rung: _Rung, why: str) -> Connection:
        context = {_Rung.VERIFIED: self._verifying, _Rung.UNVERIFIED: self._any, _Rung.CLEAR: None}[rung]
        return await Connection.open(
            hop,
            helo=self._helo,
            patience=patience,
            context=context,
            verifying=rung is _Rung.VERIFIED,
            detail=why,
        )

    def _rung(self, hop: Hop) -> tuple[_Rung, str]:
        if hop.tls is TlsMode.NEVER:
            return _Rung.CLEAR, ""
        stood = self._stood.get((hop.host, hop.ip, hop.port))
        if hop.tls is TlsMode.OPPORTUNISTIC and stood is not None and self._clock.monotonic() < stood[0]:
            return stood[1], stood[2]
        return _Rung.VERIFIED, ""

    def _remember(self, hop: Hop, rung: _Rung, why: str) -> None:
        key = (hop.host, hop.ip, hop.port)
        self._stood[key] = (self._clock.monotonic() + _REMEMBERED, rung, why)
        self._stood.move_to_end(key)
        if len(self._stood) > _MAX_REMEMBERED:
            self._stood.popitem(last=False)
