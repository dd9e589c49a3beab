"""A policy server for Postfix (`check_policy_service`): a test decides what becomes of each recipient or message, and when."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

Decide = Callable[[Mapping[str, str]], str]
"""From the attributes of a request to an action of access(5): DUNNO, or what is to be said. Called in several threads."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    decide: Decide


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        decide = cast("_Server", self.server).decide
        attributes: dict[str, str] = {}
        for line in self.rfile:
            name, equals, value = line.decode().rstrip("\n").partition("=")
            if equals:
                attributes[name] = value
            elif attributes:
                self.wfile.write(f"action={decide(attributes)}\n\n".encode())
                attributes = {}


@contextmanager
def policy_server(decide: Decide) -> Iterator[str]:
    """Run one; where it is, as `check_policy_service` takes it."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.decide = decide
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="policy")
        thread.start()
        try:
            yield f"inet:127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
