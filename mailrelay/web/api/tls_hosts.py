"""What the TLS of other mail servers was like the last time, and why it was no better; for the operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from mailrelay.errors import Invalid, Unknown
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.store import tls_memory
from mailrelay.web.application import App
from mailrelay.web.identity import the_operator
from mailrelay.web.shape import After, Limit, Page, Paged, Shown, page_of, paged
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tls"], dependencies=[Depends(the_operator)])


class ShownHostTls(Shown):
    """What a host had the last time; `reason` says why it was not verified."""

    host: str
    ip: str
    port: int
    level: TlsLevel
    protocol: str
    reason: str
    since: Annotated[datetime, Field(description="Since when it has been so.")]
    look_at: Annotated[
        datetime | None, Field(description="Until then nothing better is tried; null: each connection tries the best.")
    ]


class ShownForgotten(Shown):
    """How many addresses of a host were forgotten."""

    host: str
    forgotten: int


@router.get("/tls/hosts", response_model=Page[ShownHostTls])
async def list_all(app: App, level: TlsLevel | None = None, after: After = "", limit: Limit = 100) -> Paged[HostTls]:
    """The hosts that mail went to, by name; of one level or all."""
    found = await app.store.read(tls_memory.list_all, after=_place(after), limit=limit, level=level)
    return paged(found, limit=limit, cursor=lambda one: f"{one.host} {one.ip} {one.port}")


@router.get("/tls/hosts/{host}", response_model=Page[ShownHostTls])
async def show(app: App, host: str, after: After = "", limit: Limit = 100) -> Paged[HostTls]:
    """What is remembered of one host, address by address."""
    found = await app.store.read(tls_memory.of_hosts, [host.lower()])
    if not found:
        raise Unknown(f"Nothing is remembered of the TLS of {host}; no mail went there yet")
    return page_of(found, after=after, limit=limit, cursor=lambda one: f"{one.host} {one.ip} {one.port}")


@router.post("/tls/hosts/{host}/forget")
async def forget(app: App, host: str) -> ShownForgotten:
    """Forget a host, so that the next connection tries the best again: such as after its owner mended it."""
    return ShownForgotten(host=host.lower(), forgotten=await app.tls_memory.forget(host.lower()))


def _place(after: str) -> tuple[str, str, int] | None:
    if not after:
        return None
    host, _, rest = after.partition(" ")
    ip, _, port = rest.partition(" ")
    if not (host and ip and port.isascii() and port.isdigit()):
        raise Invalid("after", "is not the `next` of a page")
    return host, ip, int(port)
