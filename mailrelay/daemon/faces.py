"""The HTTP faces: what requests may reach, what opens and clicks go to, and what readiness asks."""

from __future__ import annotations

from collections.abc import Sequence

from mailrelay.blob.space import space_of
from mailrelay.daemon.outgoing import kit_of
from mailrelay.daemon.parts import Parts
from mailrelay.inbound.listener import Listeners
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.dispatcher import Dispatcher
from mailrelay.outbound.explain import Explainer
from mailrelay.outbound.hit_spool import Spool
from mailrelay.outbound.hits import Hits
from mailrelay.outbound.submit import Submitter
from mailrelay.outbound.trace import Tracer
from mailrelay.service import Stopping, Watched
from mailrelay.tracking import agent
from mailrelay.web import ops
from mailrelay.web.application import Application
from mailrelay.web.public import app as public
from mailrelay.web.server import HttpServer
from mailrelay.webhook.request import Poster


def hits_of(parts: Parts) -> Hits:
    """What takes opens and clicks, and keeps them while the store is slow or away (O9)."""
    largest = parts.config.inbound.max_size
    spool = Spool(
        parts.folder.hits,
        new_id=parts.ids.hit,
        has_room=lambda size: space_of(parts.folder.path).takes(size, largest=largest),
    )
    return Hits(
        parts.store,
        spool,
        parts.clock,
        judge=agent.judge,
        new_id=parts.ids.hit,
        stopping=parts.stopping,
    )


def application_of(parts: Parts, submitter: Submitter, router: Router, poster: Poster, hits: Hits) -> Application:
    """The parts of the daemon that a request may reach."""
    kit = kit_of(parts)
    explainer = Explainer(
        parts.store,
        router,
        parts.shaper,
        parts.tls_memory,
        kit,
        dropbox_domains=parts.config.inbound.domains,
        secrets=parts.secrets,
        quotas=parts.config.submission.quotas,
    )
    return Application(
        config=parts.config,
        store=parts.store,
        bodies=parts.bodies,
        contents=parts.contents,
        clock=parts.clock,
        ids=parts.ids,
        submitter=submitter,
        resolver=parts.resolver,
        demands=parts.demands,
        tls_memory=parts.tls_memory,
        shaper=parts.shaper,
        explainer=explainer,
        tracer=Tracer(router, explainer, kit),
        router=router,
        hits=hits,
        vault=parts.vault,
        secret=parts.secrets[0],
        webhooks=poster,
        stopping=parts.stopping,
        memory=parts.memory,
    )


def http_of(
    parts: Parts,
    application: Application,
    listeners: Listeners,
    workers: Sequence[Watched],
    dispatcher: Dispatcher,
    hits: Hits,
    ended: Stopping,
) -> HttpServer:
    """The HTTP server, with what readiness asks."""
    return HttpServer(
        parts.config.http,
        application,
        public=parts.config.public,
        public_door=public.build(application, keys=parts.keys, hits=hits),
        probes={
            "store": ops.store_writes(parts.store),
            "disk": ops.has_space(parts.folder.path),
            "listeners": ops.holds(listeners.ready.is_set, "the listeners are not open"),
            **{one.name: ops.holds(one.works, f"{one.name} does not run; the log says why") for one in workers},
            "queue": ops.holds(dispatcher.claims, "nothing can be claimed from it; the log says why"),
            "started": ops.holds(parts.started.is_set, "the start is not yet complete"),
            "running": ops.not_stopping(parts.stopping),
        },
        stopping=parts.stopping,
        ended=ended,
        unix_socket=parts.config.http.socket or parts.folder.socket,
        grace=parts.config.grace,
    )
