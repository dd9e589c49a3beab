"""What nearly everything in a daemon is made of: its folder, store, clock, names and secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailrelay import __version__, log
from mailrelay.blob.base import Objects
from mailrelay.blob.folder import FolderBlobs
from mailrelay.blob.object_folder import FolderObjects
from mailrelay.blob.s3 import S3Objects
from mailrelay.clock import Clock
from mailrelay.config import schema
from mailrelay.config.schema import Config
from mailrelay.dns.caching import CachingResolver
from mailrelay.dns.mta_sts import PolicyFetcher
from mailrelay.filing.bodies import Bodies
from mailrelay.filing.contents import Contents
from mailrelay.ids import IdFactory, NodeId
from mailrelay.memory import Memory
from mailrelay.model.network import is_public
from mailrelay.outbound.demands import Demands
from mailrelay.outbound.shaper import Shaper
from mailrelay.outbound.stops import Stops
from mailrelay.outbound.sts import StsPolicies
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.outbound.tls_tally import TlsTally
from mailrelay.outbound.trust import trusting
from mailrelay.outbound.vault import Vault
from mailrelay.service import Stopping
from mailrelay.store import dkim_keys
from mailrelay.store.base import Store
from mailrelay.store.schema import migrate
from mailrelay.store.sqlite import SqliteStore, translate
from mailrelay.tracking.token import Keys
from mailrelay.upkeep import signing
from mailrelay.upkeep.folder import DataFolder

if TYPE_CHECKING:
    from mailrelay.store.postgres import PostgresStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
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


async def open_parts(config: Config, stopping: Stopping, stack: AsyncExitStack) -> Parts:
    """Take the folder, open the store, and make the rest of them; closed with the stack. Raises Fatal."""
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
    return Parts(
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


async def sign_as_installation(parts: Parts) -> None:
    """Make the installation's own DKIM keys at the first start."""
    if not await parts.store.read(dkim_keys.list_keys, parts.signing_domain):
        now = parts.clock.now()
        await signing.make_keys(
            parts.store, parts.signing_domain, now=now, active_from=now, prefix=parts.config.dkim.selector_prefix
        )


def _outside(settings: schema.Attachments) -> Objects | None:
    """The outside store of attachments, if there is one. Raises Fatal."""
    if settings.s3 is not None:
        return S3Objects(settings.s3)
    return None if settings.folder is None else FolderObjects(settings.folder, ours=False)
