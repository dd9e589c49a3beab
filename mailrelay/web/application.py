"""What the HTTP faces may use; `daemon` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from mailrelay.clock import Clock
from mailrelay.config.schema import Config
from mailrelay.dns.resolver import Resolver
from mailrelay.filing.bodies import Bodies
from mailrelay.filing.contents import Contents
from mailrelay.ids import IdFactory
from mailrelay.memory import Memory
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.explain import Explainer
from mailrelay.outbound.hits import Hits
from mailrelay.outbound.policy.tls import TlsDemands
from mailrelay.outbound.shaper import Shaper
from mailrelay.outbound.submit import Submitter
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.outbound.trace import Tracer
from mailrelay.outbound.vault import Vault
from mailrelay.service import Stopping
from mailrelay.store.base import Store
from mailrelay.web.flood import Flood
from mailrelay.web.stream import Waits
from mailrelay.webhook.request import Poster

APPLICATION = "mailrelay.application"
"""Where a request's scope has it: the routes are made once, and serve every daemon in a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The parts of the daemon that a request may reach."""

    config: Config
    store: Store
    bodies: Bodies
    contents: Contents
    clock: Clock
    ids: IdFactory
    submitter: Submitter
    resolver: Resolver
    demands: TlsDemands
    tls_memory: TlsMemory
    shaper: Shaper
    explainer: Explainer
    tracer: Tracer
    router: Router
    hits: Hits
    vault: Vault
    secret: bytes = field(repr=False)
    """The key of signed addresses."""
    webhooks: Poster
    stopping: Stopping
    memory: Memory = field(default_factory=Memory)
    flood: Flood = field(default_factory=Flood)
    waits: Waits = field(default_factory=Waits)


def application(request: Request) -> Application:
    """The application that serves this request."""
    return cast("Application", request.scope[APPLICATION])


App = Annotated[Application, Depends(application)]
