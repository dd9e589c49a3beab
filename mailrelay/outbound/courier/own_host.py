"""To the smart host of a user or a domain, with their own credentials (O11). No route of the configuration: `router` sends mail here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mailrelay import __version__, log, metrics
from mailrelay.dns.resolver import ask
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Stage
from mailrelay.model.reply import reply
from mailrelay.model.smart_host import HostAuth, Secrets, SmartHost
from mailrelay.model.way import Way
from mailrelay.outbound.authenticate import Credentials
from mailrelay.outbound.connection import Failed, Hop, TlsMode
from mailrelay.outbound.courier.base import DeliveryBatch, Kit, Report, report_all
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.exchange import Exchange, Renew, wants_other_credentials
from mailrelay.outbound.oauth import NoToken, Tokens
from mailrelay.outbound.policy import relay, route
from mailrelay.outbound.pool import Pool
from mailrelay.outbound.reach import of_users_hosts
from mailrelay.outbound.vault import Unreadable, Vault
from mailrelay.smtp.escape import escape
from mailrelay.store import smart_hosts
from mailrelay.store.base import Store

_TEST_TIMEOUT = 10.0
_logger = log.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a smart host made of us when nothing was sent; `because` is why it will not do, "" when it will."""

    host: str
    tls: str
    because: str


class OwnHosts:
    """Delivers to organisations' own smart hosts. One for the life of the process."""

    def __init__(self, kit: Kit, store: Store, vault: Vault) -> None:
        settings = kit.settings
        self._kit = kit
        self._reach = of_users_hosts(settings)
        self._store = store
        self._vault = vault
        self._dialler = Dialler(
            settings, helo=kit.helo, clock=kit.clock, ca_file=settings.ca_file, memory=kit.tls_memory
        )
        self._pool = Pool(self._dialler, idle=settings.idle, messages=settings.messages_per_connection)
        self._exchange = Exchange(self._pool, kit.clock, relayed=True)
        self._tokens = Tokens(
            kit.resolver,
            kit.clock,
            reach=self._reach,
            agent=f"mailrelay/{__version__}",
            keep=self._keep,
            ca_file=settings.ca_file,
        )

    @staticmethod
    def way(host: SmartHost) -> Way:
        """The way to it, which it shares with nobody."""
        return Way(host.host, smart_host=host.id, relay=True)

    async def deliver(self, batch: DeliveryBatch, host: SmartHost) -> None:
        """As `Courier.deliver`. While it refuses us, its organisation knows why."""
        said: list[Outcome] = []

        def report(one: Report) -> None:
            said.append(one.outcome)
            batch.report(one)

        heard = replace(batch, report=report)
        hops = await self._hops(host)
        if isinstance(hops, Deferred):
            report_all(heard, hops, host=host.host, relayed=True)
        else:
            await self._exchange.deliver(heard, hops, renew=self._renewing(host), meaning=relay.meaning)
        await self._note(host, said)

    async def test(self, host: SmartHost) -> Tried:
        """Connect, log in and leave, as a delivery would; nothing is sent."""
        hops = await self._hops(host)
        if isinstance(hops, Deferred):
            return Tried(host=host.host, tls="", because=hops.reply.text)
        renew = self._renewing(host)
        failure = Tried(host=host.host, tls="", because="it has no address")
        for index, hop in enumerate(hops):
            last = index == len(hops) - 1
            try:
                connection = await self._dialler.dial(hop, last=last, within=_TEST_TIMEOUT)
            except Failed as failed:
                again = await renew(hop) if wants_other_credentials(failed) else None
                if again is None:
                    failure = Tried(host=str(hop), tls="", because=_why(failed))
                    continue
                try:
                    connection = await self._dialler.dial(again, last=last, within=_TEST_TIMEOUT)
                except Failed as failed_again:
                    failure = Tried(host=str(hop), tls="", because=_why(failed_again))
                    continue
            proof = connection.proof
            await connection.quit()
            if host.trouble:
                await self._store.write(smart_hosts.works, host.id)
            return Tried(host=str(hop), tls=f"{proof.protocol} {proof.cipher}".strip(), because="")
        return failure

    async def close(self) -> None:
        """Close what is open."""
        await self._tokens.close()
        await self._pool.close()

    async def _hops(self, host: SmartHost) -> Sequence[Hop] | Deferred:
        """Where it is, with what it lets us in by; why it can't be used now."""
        hops = await self.hops(host)
        if isinstance(hops, Deferred):
            return hops
        credentials = await self._credentials(host)
        if isinstance(credentials, Deferred):
            return credentials
        return [replace(hop, credentials=credentials) for hop in hops]

    async def hops(self, host: SmartHost) -> Sequence[Hop] | Deferred:
        """Where it is, without credentials; why it can't be used now. Ours to mend, so that nothing is refused for it."""
        found = await ask(route.to_host(host.host), self._kit.resolver)
        if isinstance(found, route.NoRoute):
            return found if isinstance(found, Deferred) else Deferred(reply=found.reply, stage=Stage.RESOLVE)
        # RFC 5321 §6.3: what we hand to ourselves comes back to be handed on, again and again.
        own = route.OwnHost(names=self._kit.own_names, addresses=self._kit.own_addresses)
        elsewhere = [one for one in found if host.host not in own.names and not route.is_ours(one, own)]
        if not elsewhere:
            return _unusable(f"The smart host {host.host} is this server itself; set one that passes mail on")
        # W03: judged at each connection too, since what a name stands for changes.
        fit = [target for target in elsewhere if self._reach.allows(target.ip)]
        if not fit:
            return _unusable(f"The smart host {host.host} is at a private address, which is not allowed here")
        return [Hop(host=target.host, ip=target.ip, port=host.port, tls=TlsMode(host.tls)) for target in fit]

    async def _credentials(self, host: SmartHost, *, refused: str = "") -> Credentials | Deferred | None:
        """What it lets us in by; None when it asks for nothing. `refused` is a token that it does not take any more."""
        if host.auth is HostAuth.NONE:
            return None
        try:
            secrets = self._vault.open(host.secret, host.id)
            if host.auth is HostAuth.PASSWORD:
                return Credentials(host.username, password=secrets.password)
            return Credentials(host.username, token=await self._tokens.token(host, secrets, not_this=refused))
        except Unreadable as error:
            return _unusable(f"The credentials for the smart host {host.host} can't be read: {error}; set them again")
        except NoToken as error:
            return _unusable(f"There is no access token for the smart host {host.host}: {error}")

    def _renewing(self, host: SmartHost) -> Renew:
        async def renew(hop: Hop) -> Hop | None:
            if hop.credentials is None or not hop.credentials.token:
                return None
            fresh = await self._credentials(host, refused=hop.credentials.token)
            return replace(hop, credentials=fresh) if isinstance(fresh, Credentials) else None

        return renew

    async def _note(self, host: SmartHost, said: Sequence[Outcome]) -> None:
        because = relay.shuts_out(said)
        if because:
            if await self._store.write(smart_hosts.refuses, host, because, at=self._kit.clock.now()):
                metrics.next_hops_paused.inc()
                _logger.warning("smart-host.shut", org=host.org, smart_host=host.id, host=host.host, reason=because)
        elif host.trouble and any(isinstance(one, Accepted) for one in said):
            await self._store.write(smart_hosts.works, host.id)

    async def _keep(self, host: SmartHost, secrets: Secrets) -> None:
        await self._store.write(smart_hosts.reseal, host.id, old=host.secret, new=self._vault.seal(secrets, host.id))


def _unusable(text: str) -> Deferred:
    return Deferred(reply=reply(451, "4.7.0", escape(text)), stage=Stage.AUTH)


def _why(failed: Failed) -> str:
    stage = failed.outcome.stage
    return f"at {stage}: {failed.reason}" if isinstance(failed.outcome, Interrupted) else failed.reason
