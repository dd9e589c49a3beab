"""What the operator's tools ask: metrics, whether the process lives, and whether it can do its work, with the reasons (R2)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import mailrelay
from mailrelay import metrics
from mailrelay.errors import MailrelayError
from mailrelay.model.envelope import Channel
from mailrelay.service import Stopping
from mailrelay.store import ledger
from mailrelay.store.base import Store, Tx

Probe = Callable[[], Awaitable[str]]
"""Answers "" when its part can work, else a sentence that says why not."""
METRICS, ALIVE, READY = PATHS = ("/metrics", "/healthz", "/readyz")
_PATIENCE = 5.0
_FLOOR_BYTES = 100_000_000
_FLOOR_SHARE = 0.05


def store_writes(store: Store) -> Probe:
    """Whether a transaction becomes durable: one that adds nought to the books."""

    async def probe() -> str:
        await store.write(_write_nothing)
        return ""

    return probe


def _write_nothing(tx: Tx) -> None:
    ledger.count_accepted(tx, Channel.API, ledger.Thing.ARRIVAL, 0)


def has_space(folder: Path) -> Probe:
    """Whether the data folder has room: 5 % of its file system, or 100 MB where that is less (D05)."""

    async def probe() -> str:
        usage = await asyncio.to_thread(shutil.disk_usage, folder)
        floor = min(_FLOOR_BYTES, int(usage.total * _FLOOR_SHARE))
        if usage.free < floor:
            return f"{usage.free:,} bytes are free in {folder}; mail is taken again from {floor:,}"
        return ""

    return probe


def not_stopping(stopping: Stopping) -> Probe:
    """Whether new work is taken."""

    async def probe() -> str:
        return "the daemon is stopping" if stopping.is_set() else ""

    return probe


def holds(condition: Callable[[], bool], because: str) -> Probe:
    """A probe of what is known at once: that listeners are open, that a service runs."""

    async def probe() -> str:
        return "" if condition() else because

    return probe


async def _ask(probe: Probe) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await probe()
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} s"
    except MailrelayError as error:
        return str(error)
    except OSError as error:
        return error.strerror or type(error).__name__
    except Exception as error:  # noqa: BLE001 (whatever it is, this part can't do its work: the answer is "not ready", not 500)
        return f"it failed: {type(error).__name__}"


def build(probes: Mapping[str, Probe]) -> Starlette:
    """The operator's endpoints as an ASGI application; readiness is what all `probes` say."""

    async def ready(request: Request) -> Response:
        names = list(probes)
        reasons = await asyncio.gather(*(_ask(probes[name]) for name in names))
        parts = {name: {"ready": not reason, "reason": reason} for name, reason in zip(names, reasons, strict=True)}
        fine = not any(reasons)
        return JSONResponse({"ready": fine, "parts": parts}, status_code=200 if fine else 503)

    return Starlette(
        routes=[
            Route(METRICS, _metrics),
            Route(ALIVE, _alive),
            Route(READY, ready),
        ]
    )


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(metrics.SHOWN), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _alive(request: Request) -> Response:
    # Whoever gets this answer knows what it asks: the event loop turns.
    return JSONResponse({"alive": True, "version": mailrelay.__version__})
