"""Two network namespaces joined by a wire that loses packets when told to. The machine's own network is not touched.

with network() as net:
    net.far.listen(25)                      a socket there, for a server of the test's own process
    net.near.wrapper                        what to put before a command that is to run there
    net.near.call(asyncio.run, client())    a function in a thread of its own that lives there
    net.lose(30)                            30 % of all packets, both ways; black_hole(): all of them; heal()

The namespaces have no names: they live as long as somebody holds them, so that nothing is left even after a kill -9.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.support.peers import lacking, need

R = TypeVar("R")
_NEW_NET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)

_LOSS = """
table inet faults {{
  chain input {{ type filter hook input priority 0; iifname "wire" {which} drop
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One end of the wire."""

    address: str
    address6: str
    _fd: int

    @property
    def path(self) -> str:
        """Where other programs find it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @property
    def wrapper(self) -> tuple[str, ...]:
        """To be put before a command."""
        return (str(need("nsenter")), f"--net={self.path}")

    def run(self, *command: str, said: str = "") -> str:
        """Run a command there; what it prints. Raises RuntimeError when it fails."""
        done = subprocess.run([*self.wrapper, *command], input=said, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def call(self, fn: Callable[..., R], *arguments: Any) -> R:
        """Call `fn` in a thread that lives there, as do all threads and sockets it makes."""
        result: list[R] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                if _LIBC.setns(self._fd, _NEW_NET):
                    raise OSError(ctypes.get_errno(), "setns")
                result.append(fn(*arguments))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, name="in a namespace")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return result[0]

    def listen(self, port: int = 0, *, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        """A listening socket there on every address, for `asyncio.start_server(sock=…)`; the caller closes it."""

        def made() -> socket.socket:
            one = socket.socket(family, socket.SOCK_STREAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            one.listen(128)
            one.setblocking(False)
            return one

        return self.call(made)


@dataclass(frozen=True, slots=True)
class Network:
    """Two ends."""

    near: Namespace
    far: Namespace

    def lose(self, percent: int) -> None:
        """Drop so many packets of a hundred on their way in, at both ends."""
        self.heal()
        which = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        for end in (self.near, self.far):
            end.run(str(need("nft")), "-f", "-", said=_LOSS.format(which=which))

    def black_hole(self) -> None:
        """Drop everything, in open connections too; nobody is told."""
        self.lose(100)

    def heal(self) -> None:
        """Lose nothing any more."""
        for end in (self.near, self.far):
            end.run(str(need("nft")), "flush", "ruleset")


def _made() -> int:
    """A new namespace's descriptor, or -1 where that is not allowed."""
    found: list[int] = []

    def work() -> None:
        if _LIBC.unshare(_NEW_NET) == 0:
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0] if found else -1


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A wire of its own; skips the test, named and counted, where namespaces may not be made."""
    ip, _ = str(need("ip")), need("nft")
    with contextlib.ExitStack() as stack:
        ends = []
        for number in (1, 2):
            descriptor = _made()
            if descriptor < 0:
                lacking("network-namespaces", "unshare(CLONE_NEWNET) is not allowed here")
            stack.callback(os.close, descriptor)
            ends.append(Namespace(f"10.203.0.{number}", f"fd00:203::{number}", descriptor))
        near, far = ends
        try:
            near.run(ip, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far.path)
            for end in ends:
                end.run(ip, "address", "add", f"{end.address}/24", "dev", "wire")
                end.run(ip, "link", "set", "lo", "up")
                end.run(ip, "link", "set", "wire", "up")
                with contextlib.suppress(RuntimeError):  # a kernel without IPv6
                    end.run(ip, "address", "add", f"{end.address6}/64", "dev", "wire", "nodad")
            net = Network(near, far)
            net.lose(0)
        except RuntimeError as error:
            lacking("network-namespaces", str(error))
        yield net
