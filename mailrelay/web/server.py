"""The service "http": the API on TCP and on a Unix socket, the public and the operator's endpoints, by uvicorn in our own loop.

Whoever can open the Unix socket is the local operator: its file can be opened by the daemon's own user only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from mailrelay import log
from mailrelay.config.schema import Http, Public
from mailrelay.errors import Fatal
from mailrelay.service import Stopping
from mailrelay.web import app, ops
from mailrelay.web.application import Application
from mailrelay.web.at_once import AtOnceProtocol, Outgoing
from mailrelay.web.face import Face
from mailrelay.web.protocol import Protocol
from mailrelay.web.public.app import PublicDoor

_BACKLOG = 512
_KEEP_ALIVE = 30
_KEEP_ALIVE_PUBLIC = 5
_SMALL_BODY = 65_536


@dataclass(frozen=True, slots=True)
class _Door:
    name: str
    socket: socket.socket
    face: ASGIApp
    protocol: Callable[..., asyncio.Protocol] = Protocol
    keep_alive: int = _KEEP_ALIVE


class _Operator:
    """Both faces on one door, for the command line: it needs to know one socket only."""

    def __init__(self, api: ASGIApp, ops_face: ASGIApp) -> None:
        self._api = api
        self._ops = ops_face

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        face = self._ops if scope["path"] in ops.PATHS else self._api
        await face(scope, receive, send)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon owns signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Opens its sockets when made, so that their ports are known, and answers on them while it runs.

    The operator's door stays open until all else has ended, so that /readyz can say that the daemon is stopping (R2).
    """

    name = "http"

    def __init__(
        self,
        settings: Http,
        application: Application,
        *,
        public: Public,
        public_door: PublicDoor,
        probes: Mapping[str, ops.Probe],
        stopping: Stopping,
        ended: Stopping,
        unix_socket: Path,
        grace: float,
    ) -> None:
        """`ended` is set, after `stopping`, once the rest of the daemon has ended."""
        self._stopping = stopping
        self._ended = ended
        self._grace = grace
        self._settings = settings
        self._public_settings = public
        self._public = public_door
        self._unix = unix_socket
        self._memory = application.memory
        self._api = app.build(application)
        self._ops = ops.build(probes)
        self._sockets: dict[str, socket.socket] = {}
        self._log = log.get(service=self.name)
        self.open()

    @property
    def address(self) -> tuple[str, int]:
        """Where the API listens."""
        return _bound(self._sockets["api"])

    @property
    def ops_address(self) -> tuple[str, int]:
        """Where /metrics, /healthz and /readyz are."""
        return _bound(self._sockets["ops"])

    @property
    def public_address(self) -> tuple[str, int]:
        """Where everybody may come: pixels, links, unsubscribe pages."""
        return _bound(self._sockets["public"])

    @property
    def unix_socket(self) -> Path:
        """The command line's socket."""
        return self._unix

    def open(self) -> None:
        """Open what is not open. Raises Fatal when an address is taken."""
        settings = self._settings
        if self._sockets:
            return
        try:
            self._sockets["api"] = _tcp(settings.host, settings.port)
            self._sockets["ops"] = _tcp(settings.ops_host, settings.ops_port)
            self._sockets["public"] = _tcp(self._public_settings.host, self._public_settings.port)
            self._sockets["unix"] = _unix(self._unix)
        except Fatal:
            self.close()
            raise

    def close(self) -> None:
        """Close what is open; what is under way is `run`'s."""
        for sock in self._sockets.values():
            sock.close()
        if "unix" in self._sockets:
            self._unix.unlink(missing_ok=True)
        self._sockets.clear()

    async def run(self) -> None:
        """Answer until a stop is asked for, then finish what is under way within the grace; the operator until the end."""
        self.open()
        face = partial(Face, memory=self._memory)
        limit, files = self._settings.max_body, self._settings.max_file
        doors = (
            _Door("api", self._sockets["api"], face(self._api, max_body=limit, max_file=files)),
            _Door(
                "unix",
                self._sockets["unix"],
                face(_Operator(self._api, self._ops), max_body=limit, max_file=files, local=True),
            ),
            _Door("ops", self._sockets["ops"], face(self._ops, max_body=_SMALL_BODY)),
            _Door(
                "public",
                self._sockets["public"],
                self._public,
                protocol=partial(AtOnceProtocol, at_once=self._public.at_once, outgoing=Outgoing()),
                keep_alive=_KEEP_ALIVE_PUBLIC,
            ),
        )
        servers = [(door, _Server(self._config(door))) for door in doors]
        for door in doors:
            self._log.info("listener.opened", listener=door.name, address=_shown(door.socket))
        try:
            async with asyncio.TaskGroup() as group:
                for door, server in servers:
                    group.create_task(server.serve(sockets=[door.socket]))
                await self._stopping.wait()
                for door, server in servers:
                    server.should_exit = door.name != "ops"
                await self._ended.wait()
                for _, server in servers:
                    server.should_exit = True
        finally:
            for _, server in servers:
                for listening in getattr(server, "servers", ()):
                    listening.close()
            self.close()

    def _config(self, door: _Door) -> uvicorn.Config:
        return uvicorn.Config(
            door.face,
            lifespan="off",
            http=door.protocol,  # type: ignore[arg-type]  # it is only called
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # W13: nobody in front of us is trusted to say who asks
            backlog=_BACKLOG,
            timeout_keep_alive=door.keep_alive,
            timeout_graceful_shutdown=max(1, int(self._grace)),
        )


def _tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, so that asyncio knows TCP and sets TCP_NODELAY.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Fatal(f"Cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _unix(path: Path) -> socket.socket:
    """A listening socket that only our own user can open. One that a dead daemon left is replaced: we hold the folder's lock."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        sock.bind(str(path))
        path.chmod(0o600)  # before listen: nobody can have connected yet
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Fatal(f"Cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _bound(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"
