"""The daemon, put together: configuration → folder → store → doors, workers, couriers, faces → one supervised run.

This package is the only one that wires, and this file reads from top to bottom as what happens at start; everything that is made gets its own
section of the configuration and nothing global. `parts` is what nearly everything is made of; `incoming`, `outgoing` and `faces` make the rest;
`stages` is how a run begins and ends.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from mailrelay import __version__, log, metrics
from mailrelay.config.schema import Config
from mailrelay.daemon.faces import application_of, hits_of, http_of
from mailrelay.daemon.incoming import attachment_filer, filing_worker, listeners_of, submitter_of
from mailrelay.daemon.outgoing import deliverer_of, dispatcher_of, notifier_of, poster_of, router_of, tls_reporter
from mailrelay.daemon.parts import open_parts, sign_as_installation
from mailrelay.daemon.stages import Announcement, Ready, Running, Work, loop_factory, report, signals
from mailrelay.errors import Fatal
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.outbound.operate import Operator
from mailrelay.outbound.release import Releaser
from mailrelay.report.facts import FactKeeper
from mailrelay.service import Service, Stopping, Watched, supervise
from mailrelay.upkeep import restored
from mailrelay.upkeep.allocator import give_back_what_is_freed
from mailrelay.upkeep.hits import HitKeeper
from mailrelay.upkeep.ledger import LedgerKeeper
from mailrelay.webhook.expand import Expander

__all__ = ["Ready", "Running", "main", "run"]
EX_FAILED = 1


def main(config: Config, *, ready: Ready | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status: 0, or 1 when it had to stop.

    Raises ConfigError when only the start shows that the configuration can't be used (a certificate that is none).
    """
    log.configure(level=config.log.level, json=config.log.json_lines)
    logger = log.get()
    logger.info("daemon.started", version=__version__, pid=os.getpid())
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run(config, ready=ready))
    except Fatal as error:
        logger.error("daemon.stopped", because=str(error))
        return EX_FAILED
    logger.info("daemon.stopped")
    return 0


async def run(config: Config, *, ready: Ready | None = None, stopping: Stopping | None = None) -> None:
    """Start everything, run until `stopping` is set (a signal sets it), and stop in order. Raises Fatal."""
    metrics.build_info.labels(__version__).set(1)
    give_back_what_is_freed()
    async with AsyncExitStack() as stack:
        parts = await open_parts(config, stopping or Stopping(), stack)
        await restored.begin(parts.store, parts.folder, parts.clock)
        await sign_as_installation(parts)
        certificate = Certificate(config.tls, data=parts.folder.path, hostname=config.hostname, clock=parts.clock)
        submitter = submitter_of(parts)
        ended_addresses = EndedAddresses(parts.store, parts.clock, stopping=parts.stopping)
        listeners = listeners_of(parts, submitter, certificate, ended_addresses)
        router = router_of(parts)
        poster = poster_of(parts, stack)
        hits = hits_of(parts)
        stack.callback(hits.close)  # also of requests that ended during the stop
        application = application_of(parts, submitter, router, poster, hits)
        dispatcher = dispatcher_of(parts, router)
        workers = (
            Watched(filing_worker(parts)),
            Watched(dispatcher),
            Watched(hits),
            Watched(deliverer_of(parts, poster)),
            Watched(attachment_filer(parts)),
        )
        ended = Stopping()
        http = http_of(parts, application, listeners, workers, dispatcher, hits, ended)
        services: list[Service] = [
            listeners,
            *workers,
            notifier_of(parts),
            tls_reporter(parts),
            Releaser(parts.store, parts.clock, stopping=parts.stopping),
            Operator(parts.store, parts.clock, parts.stops, brakes=config.brakes, stopping=parts.stopping),
            ended_addresses,
            Expander(parts.store, parts.clock, lifetime=config.webhooks.lifetime, stopping=parts.stopping),
            LedgerKeeper(parts.store, parts.clock, parts.stopping),
            HitKeeper(parts.store, parts.clock, stopping=parts.stopping),
            FactKeeper(parts.store, parts.clock, parts.stopping),
            Announcement(parts, application, listeners, http, ready),
        ]
        stack.enter_context(signals(parts.stopping, certificate))
        work = Work(services, parts.stopping, ended, grace=config.grace)
        await supervise([http, work], ended, grace=config.grace, report=report)
