"""What follows 354: read in bulk to its end, in flat memory, and no slower than is allowed (RFC 5321 §4.1.1.4, S01, S03)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mailrelay.inbound.door import Reception
from mailrelay.inbound.wire import CHUNK, Over, Wire
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.smtp.data import DataReader

_IN_LOOP = 65_536  # content up to here is taken in the event loop; more of it may go to a disk that hangs (D10)
_HARD_SIZE = 1.1  # S03: times the limit, a client that goes on sending is cut off


@dataclass(frozen=True, slots=True)
class Content:
    """How the content came through, once it has ended: `refusal` is the client's fault, `failure` what `write` raised."""

    refusal: Reply | None
    failure: Exception | None


async def read_content(
    wire: Wire,
    reception: Reception,
    *,
    max_size: int,
    min_rate: int,
    grace: float,
    deadline: Callable[[], float],
) -> Content:
    """Hand the content to `reception`, which is discarded at the first fault; what comes behind the end stays on the wire.

    After `grace` seconds it must have come at `min_rate` bytes a second. Raises Over for a client that is slower, that goes away,
    or that sends far more than `max_size`.
    """
    failures: list[Exception] = []

    def keep(piece: bytes) -> None:
        if not failures:
            try:
                reception.write(piece)
            except Exception as error:  # noqa: BLE001 (raised again once the content was read to its end)
                failures.append(error)

    reader = DataReader(keep, max_size=max_size)
    began = asyncio.get_running_loop().time()
    rest = None
    while rest is None:
        if not (chunk := wire.take()):
            slowest = began + grace + reader.received / min_rate if min_rate else float("inf")
            await wire.fill(min(deadline(), slowest), codes.TOO_SLOW)
            chunk = wire.take()
        if reader.size > _IN_LOOP and not reader.faults and not failures:
            rest = await asyncio.to_thread(reader.feed, chunk)
        else:
            rest = reader.feed(chunk)
        if reader.faults or failures:
            reception.discard()
        if rest is None and reader.received > max_size * _HARD_SIZE + CHUNK:
            raise Over("content far over the limit", codes.too_large(limit=max_size))
    wire.put_back(rest)
    refusal = codes.too_large(limit=max_size) if reader.refusal is codes.TOO_LARGE else reader.refusal
    return Content(refusal, failures[0] if failures else None)
