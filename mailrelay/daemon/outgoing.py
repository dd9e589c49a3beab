"""What goes out: mail by the couriers, notices of what failed, reports on TLS, and events to webhooks."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from mailrelay import __version__
from mailrelay.daemon.parts import Parts
from mailrelay.dns.outgoing import Outgoing
from mailrelay.model.network import is_public
from mailrelay.model.reach import Reach
from mailrelay.model.tls_report import Unseen
from mailrelay.outbound import courier, interfaces
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.dispatcher import Dispatcher
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.next_hops import NextHops
from mailrelay.outbound.notify import Notifier
from mailrelay.outbound.policy.tls import NoDemands
from mailrelay.outbound.suspended_sources import SuspendedSources
from mailrelay.outbound.tls_report import TlsReporter
from mailrelay.outbound.tracked import Door
from mailrelay.outbound.trust import trusting
from mailrelay.webhook.deliver import Deliverer
from mailrelay.webhook.request import Poster


def router_of(parts: Parts) -> Router:
    """What finds the way of each mail."""
    kit = kit_of(parts)
    return Router(courier.load(kit), kit, parts.store, parts.vault)


def kit_of(parts: Parts) -> Kit:
    """What couriers have in common."""
    config = parts.config
    return Kit(
        settings=config.delivery,
        hostname=config.hostname,
        own_names=frozenset({config.hostname, *config.inbound.domains, config.inbound.bounce_domain}),
        own_addresses=interfaces.ours(config.delivery, config.listeners, interfaces.addresses()),
        sent=parts.folder.sent,
        resolver=parts.resolver,
        clock=parts.clock,
        demands=parts.demands,
        witness=parts.witness,
        tls_memory=parts.tls_memory,
        suspended_sources=SuspendedSources(parts.store, parts.clock).of,
        shut_out=NextHops(parts.store, parts.clock).shut_out,
    )


def tls_reporter(parts: Parts) -> TlsReporter:
    """What reports on TLS to other domains, by couriers of its own."""
    config = parts.config
    settings = config.delivery
    # RFC 8460 §3: what tells of TLS that fails is held to no policy, and not counted itself.
    kit = replace(kit_of(parts), demands=NoDemands(), witness=Unseen())
    return TlsReporter(
        parts.store,
        parts.witness,
        courier.load(kit),
        parts.resolver,
        parts.clock,
        parts.ids,
        config.tls_reports,
        hostname=config.hostname,
        domain=parts.signing_domain,
        allows=lambda ip: settings.allow_private or is_public(ip),
        context=trusting(settings.ca_file),
        stopping=parts.stopping,
    )


def dispatcher_of(parts: Parts, router: Router) -> Dispatcher:
    """What claims deliveries and has them attempted."""
    config = parts.config
    letters = LetterMaker(
        parts.store,
        parts.bodies,
        parts.clock,
        hostname=config.hostname,
        domain=parts.signing_domain,
        bounce_domain=config.inbound.bounce_domain,
        secret=parts.secrets[0],
        door=Door(config.public.url, parts.keys),
        memory=parts.memory,
    )
    return Dispatcher(
        parts.store,
        router,
        letters,
        parts.clock,
        config.delivery,
        node=parts.node,
        stopping=parts.stopping,
        brakes=config.brakes,
        shaper=parts.shaper,
        stops=parts.stops,
    )


def notifier_of(parts: Parts) -> Notifier:
    """What tells authors of mail that failed or is late."""
    config = parts.config
    return Notifier(
        parts.store,
        parts.bodies,
        parts.ids,
        parts.clock,
        config.delivery,
        hostname=config.hostname,
        domain=parts.signing_domain,
        own_domains={*config.inbound.domains, config.inbound.bounce_domain},
        stopping=parts.stopping,
    )


def poster_of(parts: Parts, stack: AsyncExitStack) -> Poster:
    """What asks webhooks; closed with the stack."""
    config = parts.config
    outgoing = Outgoing(
        parts.resolver,
        Reach.of(config.webhooks.allow_private, http=config.webhooks.allow_http),
        trusting(config.delivery.ca_file),
        agent=f"mailrelay/{__version__} ({config.hostname})",
    )
    stack.push_async_callback(outgoing.close)
    return Poster(outgoing, parts.vault, parts.clock, timeout=config.webhooks.timeout)


def deliverer_of(parts: Parts, poster: Poster) -> Deliverer:
    """What claims events for webhooks and has them sent."""
    settings = parts.config.webhooks
    return Deliverer(
        parts.store,
        poster,
        parts.clock,
        node=parts.node,
        stopping=parts.stopping,
        timeout=settings.timeout,
        disable_after=settings.disable_after,
    )
