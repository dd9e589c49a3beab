"""A daemon that may be killed at any moment and started again on what it left, in a few hundred milliseconds.

A process forked from one that has imported everything is as killable as any other, and its start costs no second.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import yaml

from tests.crash import runner
from tests.support.daemon import until
from tests.support.sink import World

_FORKS = multiprocessing.get_context("forkserver")
_SET_PARENT_DEATH_SIGNAL = 1
_FORKS.set_forkserver_preload(["tests.crash.preload"])


def _child(config: Path) -> None:
    # It ends with the process that it was forked from, and that one with pytest, however pytest ends.
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    log = os.open(config.parent / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(runner.main(config))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("local", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(slots=True)
class Relay:
    """A mailrelay in a folder of its own, which delivers to the sink of its world."""

    folder: Path
    around: World
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    """Its data folder, by default beneath `folder`."""
    process: ForkServerProcess | subprocess.Popen[bytes] | None = None
    running: dict[str, Any] = field(default_factory=dict)

    @property
    def data_folder(self) -> Path:
        return self.data or self.folder / "data"

    @property
    def house(self) -> dict[str, str]:
        """The addresses and secrets of its organisation."""
        found: dict[str, str] = json.loads((self.folder / "house.json").read_text())
        return found

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        pid: int = self.running["pid"]
        return pid

    def port(self, name: str) -> int:
        """Of edge, submission, submissions, api, ops or public, at this start."""
        port: int = self.running["ports"][name]
        return port

    def start(self, wrapper: tuple[str, ...] = ()) -> None:
        """Start it and wait until it listens; behind a `wrapper` (eatmydata, …) it is a program of its own, which takes longer."""
        self.launch(wrapper)
        file = self.folder / "running.json"

        def listening() -> bool:
            if self.exit_status is not None:
                raise RuntimeError(f"mailrelay ended with {self.exit_status}:\n{self.log[-3000:]}")
            with contextlib.suppress(FileNotFoundError):
                self.running = json.loads(file.read_text())
            return bool(self.running)

        until(listening, "the daemon listens", seconds=60, pause=0.01)

    def launch(self, wrapper: tuple[str, ...] = ()) -> None:
        """Start it, without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "running.json").unlink(missing_ok=True)
        self.running = {}
        config = self.folder / "mailrelay.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        if wrapper:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*wrapper, sys.executable, "-m", "tests.crash.runner", config], stdout=log, stderr=log
                )
        else:
            self.process = _FORKS.Process(target=_child, args=(config,))
            self.process.start()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; −9 after a kill."""
        assert self.process is not None
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def wait(self, seconds: float = 60) -> int:
        """Wait until it has ended; its exit status."""
        assert self.process is not None
        if isinstance(self.process, subprocess.Popen):
            return self.process.wait(seconds)
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the daemon does not end"
        return self.process.exitcode

    def kill(self) -> None:
        """SIGKILL, and wait."""
        assert self.process is not None
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def freeze(self) -> None:
        """SIGSTOP: not one more instruction of it runs."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels as printed."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port('ops')}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def local(self, path: str) -> Any:
        """GET of the API over its Unix socket, where the operator is.

        Raises OSError from one that has ended, is just ending, or says itself that it can't answer now.
        """
        connection = _UnixConnection(self.folder / "s")
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 503:
                raise ConnectionError(body.decode())
            assert answer.status == 200, body
            return json.loads(body)
        except http.client.HTTPException as error:  # it ended within an answer
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def in_flight(self) -> int:
        """Arrivals and deliveries that have not ended, as the store has them now. Raises OSError, as `local` does."""
        return sum(one["in_flight"] for one in self.local("/api/v1/ledger"))

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "hostname": "mailrelay.test",
            "data": str(self.data_folder),
            "listeners": [{"kind": kind, "port": 0} for kind in ("edge", "submission", "submissions")],
            "http": {"port": 0, "ops_port": 0, "socket": str(self.folder / "s")},
            "public": {"port": 0},
            "inbound": {
                "domains": ["inbound.test"],
                "bounce_domain": "bounce.test",
                "trusted_networks": ["127.0.0.0/8"],
            },
            "delivery": {
                "route": "smart_host",
                "smart_host": {"host": "127.0.0.1", "port": self.around.sink.port, "tls": "never"},
                "first_retry": 0.3,
                "longest_retry": 1.0,
            },
            "dns": {"nameservers": [self.around.nameserver]},
            "submission": {"quotas": False},
        }
        for section, values in self.settings.items():
            config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
        return config


@contextlib.contextmanager
def relay(
    folder: Path, around: World, settings: Mapping[str, Any] | None = None, *, data: Path | None = None
) -> Iterator[Relay]:
    """A daemon that is not started yet; killed at the end if it still runs."""
    one = Relay(folder, around, settings or {}, data)
    try:
        yield one
    finally:
        if one.process is not None and one.exit_status is None:
            one.kill()


def import_everything() -> None:
    """Every module of mailrelay, so that a forked daemon imports nothing."""
    import mailrelay

    for found in pkgutil.walk_packages(mailrelay.__path__, "mailrelay."):
        if not found.name.startswith(("mailrelay.__main__", "mailrelay.cli", "mailrelay.store.migrations")):
            importlib.import_module(found.name)
