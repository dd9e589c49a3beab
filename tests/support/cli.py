"""Commands as a person types them, against a daemon or an API that really listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml
from click.testing import CliRunner

from mailrelay import daemon
from mailrelay.cli import cli
from mailrelay.config.load import loads
from mailrelay.config.schema import ListenerKind
from mailrelay.daemon import Running
from mailrelay.service import Stopping
from tests.support.zone import DnsServer, dns_server


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    out: str
    error: str
    status: int


@dataclass(frozen=True)
class Cli:
    """Runs commands that talk to `socket`."""

    socket: Path

    async def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Said:
        """Run `mailrelay …`."""
        environment = {"MAILRELAY_SOCKET": str(self.socket)}
        done = await asyncio.to_thread(
            CliRunner().invoke,
            cli,
            list(arguments),
            input=stdin,
            env=environment,
            catch_exceptions=False,
            prog_name="mailrelay",
        )
        return Said(done.stdout, done.stderr, done.exit_code)

    async def json(self, *arguments: str, stdin: str | bytes | None = None) -> Any:
        """What `mailrelay … --json` prints; it must succeed."""
        said = await self(*arguments, "--json", stdin=stdin)
        assert said.status == 0, said
        return json.loads(said.out)


@dataclass(frozen=True)
class Relay:
    """A whole daemon in this process."""

    running: Running
    cli: Cli
    dns: DnsServer
    log: Sequence[Mapping[str, Any]]
    """What it has logged until now."""

    @property
    def port(self) -> str:
        """Where it takes mail."""
        return next(str(one.port) for one in self.running.bound if one.kind is ListenerKind.EDGE)


@asynccontextmanager
async def relay(
    folder: Path, *, zone: str = "", trust_ad: bool = False, delivery: Mapping[str, Any] | None = None
) -> AsyncIterator[Relay]:
    """A daemon on free ports whose data are in `folder`, with an empty store; it asks a DNS server of its own.

    `delivery` are settings of that section.
    """
    # Commands run in this process and own its standard output while they do, so the daemon's log stays out of it.
    with structlog.testing.capture_logs() as log:
        async with _relay(folder, zone, trust_ad, delivery or {}, log) as running:
            yield running


@asynccontextmanager
async def _relay(
    folder: Path, zone: str, trust_ad: bool, delivery: Mapping[str, Any], log: Sequence[Mapping[str, Any]]
) -> AsyncIterator[Relay]:
    async with dns_server(zone) as dns:
        settings = {
            "data": "data",
            "hostname": "relay.test",
            "http": {"port": 0, "ops_port": 0},
            "public": {"port": 0},
            "dns": {"nameservers": [dns.address], "trust_ad": trust_ad},
            "listeners": [{"kind": "edge", "port": 0}],
            "submission": {"password_rounds": 4},
            "delivery": dict(delivery),
        }
        config = loads(yaml.safe_dump(settings), "test", folder=folder, environ={})
        started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

        async def ready(running: Running) -> None:
            started.set_result(running)

        stopping = Stopping()
        task = asyncio.create_task(daemon.run(config, ready=ready, stopping=stopping))
        try:
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            running = started.result()
            yield Relay(running, Cli(running.unix_socket), dns, log)
        finally:
            stopping.set()
            await task
