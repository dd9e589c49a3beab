"""The daemon, put together: configuration → folder → store → doors, workers, couriers, faces → one supervised run.

This is the only file that wires. It reads from top to bottom as what happens at start; everything it makes gets its own section
of the configuration and nothing global.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mailrelay import __version__, log, metrics
from mailrelay.blob.base import Objects
from mailrelay.blob.folder import FolderBlobs
from mailrelay.blob.object_folder import FolderObjects
from mailrelay.blob.s3 import S3Objects
from mailrelay.blob.space import space_of
from mailrelay.clock import Clock
from mailrelay.config import schema
from mailrelay.config.schema import Config, ListenerKind
from mailrelay.dns.caching import CachingResolver
from mailrelay.dns.mta_sts import PolicyFetcher
from mailrelay.dns.outgoing import Outgoing
from mailrelay.errors import Fatal
from mailrelay.filing.attach import AttachmentFiler
from mailrelay.filing.bodies import Bodies
from mailrelay.filing.contents import Contents
from mailrelay.ids import IdFactory, NodeId
from mailrelay.inbound.accept import Acceptor
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.inbound.listener import Bound, Listeners
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.recipient import Recipients
from mailrelay.inbound.submission import SubmissionDoor
from mailrelay.inbound.tie import Returns
from mailrelay.inbound.worker import FilingWorker
from mailrelay.memory import Memory
from mailrelay.model.network import is_public
from mailrelay.model.reach import Reach
from mailrelay.model.tls_report import Unseen
from mailrelay.outbound import courier, interfaces
from mailrelay.outbound.courier.base import Kit
from mailrelay.outbound.courier.router import Router
from mailrelay.outbound.demands import Demands
from mailrelay.outbound.dispatcher import Dispatcher
from mailrelay.outbound.explain import Explainer
from mailrelay.outbound.hit_spool import Spool
from mailrelay.outbound.hits import Hits
from mailrelay.outbound.letters import LetterMaker
from mailrelay.outbound.next_hops import NextHops
from mailrelay.outbound.notify import Notifier
from mailrelay.outbound.operate import Operator
from mailrelay.outbound.policy.tls import NoDemands
from mailrelay.outbound.release import Releaser
from mailrelay.outbound.shaper import Shaper
from mailrelay.outbound.stops import Stops
from mailrelay.outbound.sts import StsPolicies
from mailrelay.outbound.submit import Submitter
from mailrelay.outbound.suspended_sources import SuspendedSources
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.outbound.tls_report import TlsReporter
from mailrelay.outbound.tls_tally import TlsTally
from mailrelay.outbound.trace import Tracer
from mailrelay.outbound.tracked import Door
from mailrelay.outbound.trust import trusting
from mailrelay.outbound.vault import Vault
from mailrelay.report.facts import FactKeeper
from mailrelay.service import Service, Stopping, Watched, supervise
from mailrelay.store import dkim_keys
from mailrelay.store.base import Store
from mailrelay.store.schema import migrate
from mailrelay.store.sqlite import SqliteStore, translate
from mailrelay.tracking import agent
from mailrelay.tracking.token import Keys
from mailrelay.upkeep import restored, signing
from mailrelay.upkeep.allocator import give_back_what_is_freed
from mailrelay.upkeep.descriptors import descriptors
from mailrelay.upkeep.folder import DataFolder
from mailrelay.upkeep.ledger import LedgerKeeper
from mailrelay.upkeep.systemd import ServiceManager
from mailrelay.web import ops
from mailrelay.web.application import Application
from mailrelay.web.public import app as public
from mailrelay.web.server import HttpServer
from mailrelay.webhook.deliver import Deliverer
from mailrelay.webhook.expand import Expander
from mailrelay.webhook.request import Poster

if TYPE_CHECKING:
    from mailrelay.store.postgres import PostgresStore

EX_FAILED = 1

Ready = Callable[["Running"], Awaitable[None]]
"""Called once everything listens; `mailrelay run --sample` makes the sample organisation and prints what to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that has started, as who started it sees it."""

    application: Application
    bound: tuple[Bound, ...]
    api: tuple[str, int]
    ops: tuple[str, int]
    public: tuple[str, int]
    unix_socket: Path


def main(config: Config, *, ready: Ready | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status: 0, or 1 when it had to stop.

    Raises ConfigError when only the start shows that the configuration can't be used (a certificate that is none).
    """
    log.configure(level=config.log.level, json=config.log.json_lines)
    logger = log.get()
    logger.info("daemon.started", version=__version__, pid=os.getpid())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
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
        parts = await _parts(config, stopping or Stopping(), stack)
        await restored.begin(parts.store, parts.folder, parts.clock)
        await _sign_as_installation(parts)
        certificate = Certificate(config.tls, data=parts.folder.path, hostname=config.hostname, clock=parts.clock)
        submitter = _submitter(parts)
        ended_addresses = EndedAddresses(parts.store, parts.clock, stopping=parts.stopping)
        listeners = _listeners(parts, submitter, certificate, ended_addresses)
        router = _router(parts)
        poster = _poster(parts, stack)
        hits = _hits(parts)
        stack.callback(hits.close)  # also of requests that ended during the stop
        application = _application(parts, submitter, router, poster, hits)
        dispatcher = _dispatcher(parts, router)
        workers = (
            Watched(_filing(parts)),
            Watched(dispatcher),
            Watched(hits),
            Watched(_deliverer(parts, poster)),
            Watched(_attachments(parts)),
        )
        ended = Stopping()
        http = _http(parts, application, listeners, workers, dispatcher, hits, ended)
        services: list[Service] = [
            listeners,
            *workers,
            _notifier(parts),
            _tls_reporter(parts),
            Releaser(parts.store, parts.clock, stopping=parts.stopping),
            Operator(parts.store, parts.clock, parts.stops, brakes=config.brakes, stopping=parts.stopping),
            ended_addresses,
            Expander(parts.store, parts.clock, lifetime=config.webhooks.lifetime, stopping=parts.stopping),
            LedgerKeeper(parts.store, parts.clock, parts.stopping),
            FactKeeper(parts.store, parts.clock, parts.stopping),
            _Announcement(parts, application, listeners, http, ready),
        ]
        stack.enter_context(_signals(parts.stopping, certificate))
        work = _Work(services, parts.stopping, ended, grace=config.grace)
        await supervise([http, work], ended, grace=config.grace, report=_report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What nearly everything is made of."""

    config: Config
    stopping: Stopping
    started: asyncio.Event
    """Set once everything listens and whoever started us has done its part: only then are we ready."""
    folder: DataFolder
    store: Store
    bodies: Bodies
    contents: Contents
    clock: Clock
    ids: IdFactory
    node: NodeId
    resolver: CachingResolver
    secrets: tuple[bytes, ...]
    """The installation's, the one of today first."""
    """The key of signed return paths."""
    stops: Stops
    memory: Memory
    witness: TlsTally
    demands: Demands
    tls_memory: TlsMemory
    shaper: Shaper

    @property
    def vault(self) -> Vault:
        """What opens other people's credentials."""
        return Vault(self.secrets[0], self.secrets[1:])

    @property
    def keys(self) -> Keys:
        """What signs the links of mail (O9)."""
        return Keys.derive(self.secrets[0], self.secrets[1:])

    @property
    def signing_domain(self) -> str:
        """The installation's own domain, for mail of domains that have not proved themselves (O2)."""
        return self.config.dkim.domain or self.config.inbound.domains[0]


async def _parts(config: Config, stopping: Stopping, stack: AsyncExitStack) -> _Parts:
    clock = Clock()
    folder = DataFolder(config.data)
    folder.take()
    stack.callback(folder.release)
    secret = config.secret.reveal().encode() if config.secret is not None else folder.secret()
    secrets = (secret, *(one.reveal().encode() for one in config.former_secrets))
    store = await _open_store(config.store, folder, secrets)
    stack.push_async_callback(store.close)
    if isinstance(store, SqliteStore):
        await store.begin_log()
        folder.opened()
        stack.callback(folder.closing)
    resolver = CachingResolver(config.dns, clock)
    stack.push_async_callback(resolver.close)
    ids = IdFactory(clock.now)
    witness = TlsTally(store, clock)
    stack.push_async_callback(witness.flush)  # also of sessions that ended during the stop
    tls_memory = TlsMemory(clock, store)
    stack.push_async_callback(tls_memory.close)
    return _Parts(
        config=config,
        stopping=stopping,
        started=asyncio.Event(),
        folder=folder,
        store=store,
        bodies=Bodies(store, FolderBlobs(folder.blobs), small_body=config.store.small_body),
        contents=Contents(FolderObjects(folder.attachments), _outside(config.attachments)),
        clock=clock,
        ids=ids,
        node=NodeId(f"{config.hostname}/{folder.node()}"),
        resolver=resolver,
        secrets=secrets,
        stops=Stops(),
        memory=Memory(),
        witness=witness,
        demands=_demands(config, store, resolver, clock, witness, stack),
        tls_memory=tls_memory,
        shaper=Shaper(config.delivery, clock),
    )


def _demands(
    config: Config,
    store: Store,
    resolver: CachingResolver,
    clock: Clock,
    witness: TlsTally,
    stack: AsyncExitStack,
) -> Demands:
    """What destinations demand of TLS: by DANE where the resolver can be believed, by MTA-STS unless it is switched off."""
    settings = config.delivery
    policies = None
    if settings.mta_sts:
        fetcher = PolicyFetcher(
            resolver,
            trusting(settings.ca_file),
            allows=lambda ip: settings.allow_private or is_public(ip),
            agent=f"mailrelay/{__version__} ({config.hostname})",
        )
        policies = StsPolicies(store, fetcher, resolver, clock, witness)
        stack.push_async_callback(policies.close)
    trusted = config.dns.trust_ad
    return Demands(
        resolver,
        dane=trusted if settings.dane is None else settings.dane and trusted,
        policies=policies,
        port=settings.port,
    )


async def _open_store(settings: schema.Store, folder: DataFolder, secrets: Sequence[bytes]) -> Store:
    """The store, its schema brought up to date. Raises Fatal when it can't be used."""
    store: SqliteStore | PostgresStore
    if settings.url == "sqlite":
        folder.check_log()
        store = SqliteStore(folder.database, readers=settings.readers, secrets=secrets)
    else:
        from mailrelay.store.postgres import PostgresStore  # the driver is an extra

        password = settings.password.reveal() if settings.password is not None else None
        store = PostgresStore(
            settings.url, password=password, readers=settings.readers, writers=settings.writers, secrets=secrets
        )
    try:
        before, after = await asyncio.to_thread(migrate, store.engine)
    except BaseException as error:
        folder.closing()
        await store.close()
        # D09: one sentence for a database that is damaged, or is none.
        if isinstance(error, Exception) and (translated := translate(error)) is not error:
            raise translated from error
        raise
    if before != after:
        log.get().info("store.migrated", before=before or "empty", after=after)
    return store


async def _sign_as_installation(parts: _Parts) -> None:
    """Make the installation's own DKIM keys at the first start."""
    if not await parts.store.read(dkim_keys.list_keys, parts.signing_domain):
        now = parts.clock.now()
        await signing.make_keys(
            parts.store, parts.signing_domain, now=now, active_from=now, prefix=parts.config.dkim.selector_prefix
        )


def _submitter(parts: _Parts) -> Submitter:
    return Submitter(
        parts.store,
        parts.bodies,
        parts.ids,
        parts.clock,
        parts.config.delivery,
        hostname=parts.config.hostname,
        max_recipients=parts.config.submission.max_recipients,
        domains=parts.config.inbound.domains,
        secrets=parts.secrets,
        has_room=lambda size: space_of(parts.folder.path).takes(size, largest=parts.config.inbound.max_size),
        ahead=timedelta(days=parts.config.submission.schedule_days),
        quotas=parts.config.submission.quotas,
    )


def _listeners(parts: _Parts, submitter: Submitter, certificate: Certificate, ended: EndedAddresses) -> Listeners:
    config = parts.config
    edge = Acceptor(
        hostname=config.hostname,
        settings=config.inbound,
        store=parts.store,
        bodies=parts.bodies,
        ids=parts.ids,
        clock=parts.clock,
        recipients=Recipients(
            parts.store,
            parts.clock,
            hostname=config.hostname,
            domains=config.inbound.domains,
            bounce_domain=config.inbound.bounce_domain,
            secrets=parts.secrets,
            feedback_address=config.inbound.feedback_address,
            ended=ended,
        ),
        resolver=parts.resolver,
        space=lambda: space_of(parts.folder.path),
    )
    submission = SubmissionDoor(
        settings=config.submission,
        store=parts.store,
        clock=parts.clock,
        submitter=submitter,
        memory=parts.memory,
        spool=parts.folder.blobs / "incoming",
    )
    return Listeners(
        config.listeners,
        hostname=config.hostname,
        settings=config.inbound,
        certificate=certificate,
        doors={
            ListenerKind.EDGE: edge,
            ListenerKind.SUBMISSION: submission,
            ListenerKind.SUBMISSIONS: submission,
        },
        stopping=parts.stopping,
        memory=parts.memory,
        descriptors=descriptors() * 3 // 4,
    )


def _filing(parts: _Parts) -> FilingWorker:
    inbound = parts.config.inbound
    pipeline = Pipeline(
        parts.store,
        parts.bodies,
        parts.clock,
        parts.ids,
        resolver=parts.resolver,
        service_domains=frozenset({*inbound.domains, inbound.bounce_domain}),
        returns=Returns(
            secrets=parts.secrets,
            complaint_sources=frozenset(inbound.complaint_sources),
            feedback_address=inbound.feedback_address,
            brakes=parts.config.brakes,
        ),
        verify_timeout=inbound.verify_timeout,
        memory=parts.memory,
    )
    return FilingWorker(
        parts.store,
        pipeline,
        parts.config.filing,
        parts.clock,
        parts.ids,
        node=parts.node,
        stopping=parts.stopping,
    )


def _outside(settings: schema.Attachments) -> Objects | None:
    """The outside store of attachments, if there is one. Raises Fatal."""
    if settings.s3 is not None:
        return S3Objects(settings.s3)
    return None if settings.folder is None else FolderObjects(settings.folder)


def _attachments(parts: _Parts) -> AttachmentFiler:
    return AttachmentFiler(
        parts.store,
        parts.bodies,
        parts.contents,
        parts.clock,
        new_id=parts.ids.attachment,
        stopping=parts.stopping,
        memory=parts.memory,
    )


def _router(parts: _Parts) -> Router:
    kit = _kit(parts)
    return Router(courier.load(kit), kit, parts.store, parts.vault)


def _kit(parts: _Parts) -> Kit:
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


def _tls_reporter(parts: _Parts) -> TlsReporter:
    config = parts.config
    settings = config.delivery
    # RFC 8460 §3: what tells of TLS that fails is held to no policy, and not counted itself.
    kit = replace(_kit(parts), demands=NoDemands(), witness=Unseen())
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


def _dispatcher(parts: _Parts, router: Router) -> Dispatcher:
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


def _notifier(parts: _Parts) -> Notifier:
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


def _hits(parts: _Parts) -> Hits:
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


def _poster(parts: _Parts, stack: AsyncExitStack) -> Poster:
    config = parts.config
    outgoing = Outgoing(
        parts.resolver,
        Reach.of(config.webhooks.allow_private, http=config.webhooks.allow_http),
        trusting(config.delivery.ca_file),
        agent=f"mailrelay/{__version__} ({config.hostname})",
    )
    stack.push_async_callback(outgoing.close)
    return Poster(outgoing, parts.vault, parts.clock, timeout=config.webhooks.timeout)


def _deliverer(parts: _Parts, poster: Poster) -> Deliverer:
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


def _application(parts: _Parts, submitter: Submitter, router: Router, poster: Poster, hits: Hits) -> Application:
    kit = _kit(parts)
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


def _http(
    parts: _Parts,
    application: Application,
    listeners: Listeners,
    workers: Sequence[Watched],
    dispatcher: Dispatcher,
    hits: Hits,
    ended: Stopping,
) -> HttpServer:
    return HttpServer(
        parts.config.http,
        application,
        public=parts.config.public,
        public_face=public.build(application, keys=parts.keys, hits=hits),
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


class _Work:
    """All services but the HTTP server, which outlasts them and says meanwhile that the daemon is stopping (R2)."""

    name = "work"

    def __init__(self, services: Sequence[Service], stopping: Stopping, ended: Stopping, *, grace: float) -> None:
        self._services = services
        self._stopping = stopping
        self._ended = ended
        self._grace = grace

    async def run(self) -> None:
        try:
            await supervise(self._services, self._stopping, grace=self._grace, report=_report)
        finally:
            self._ended.set()


class _Announcement:
    """Says that everything runs, to who started it and to the service manager; a service, so that it ends with the rest."""

    name = "announcement"

    def __init__(
        self,
        parts: _Parts,
        application: Application,
        listeners: Listeners,
        http: HttpServer,
        ready: Ready | None,
    ) -> None:
        self._started = parts.started
        self._stopping = parts.stopping
        self._application = application
        self._listeners = listeners
        self._http = http
        self._ready = ready

    async def run(self) -> None:
        manager = ServiceManager(os.environ)
        await self._listeners.ready.wait()
        if self._ready is not None:
            await self._ready(
                Running(
                    application=self._application,
                    bound=self._listeners.bound,
                    api=self._http.address,
                    ops=self._http.ops_address,
                    public=self._http.public_address,
                    unix_socket=self._http.unix_socket,
                )
            )
        self._started.set()
        log.get().info("daemon.ready")
        manager.tell("READY=1")
        await manager.watch(self._stopping)
        await self._stopping.wait()
        log.get().info("daemon.stopping")
        manager.tell("STOPPING=1")


@contextmanager
def _signals(stopping: Stopping, certificate: Certificate) -> Iterator[None]:
    """SIGTERM and SIGINT stop; SIGHUP reads the certificate again. Outside the main thread (tests) there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    acts: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGTERM: stopping.set,
        signal.SIGINT: stopping.set,
        signal.SIGHUP: certificate.reload,
    }
    for number, act in acts.items():
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in acts:
            loop.remove_signal_handler(number)


def _report(name: str, error: Exception, pause: float) -> None:
    metrics.service_restarts.labels(name).inc()
    log.get(service=name).error("service.failed", pause=pause, exc_info=error)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform: asyncio's own loop does the same, slower
        return None
    return uvloop.new_event_loop
