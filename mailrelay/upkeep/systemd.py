"""What we tell a service manager: ready, stopping, still alive (`sd_notify(3)`); nothing where there is none."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from mailrelay.service import Stopping


class ServiceManager:
    """The socket in `NOTIFY_SOCKET`, when the process was given one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        self._watchdog = int(microseconds) / 1_000_000 if microseconds.isdigit() else 0.0

    def tell(self, state: str) -> None:
        """Send one state, such as `READY=1`. A manager that does not listen is no reason to stop."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                channel.sendto(state.encode(), self._address)
            except OSError:
                return

    async def watch(self, stopping: Stopping) -> None:
        """Say that the event loop is alive, twice in each watchdog period, until a stop."""
        while self._watchdog and not await stopping.wait(self._watchdog / 2):
            self.tell("WATCHDOG=1")
