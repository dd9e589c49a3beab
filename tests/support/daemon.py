"""The installed program as a process: started on free loopback ports, asked over its Unix socket, stopped or killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.support.postfix import free_port

T = TypeVar("T")
PROGRAM = Path(sys.executable).with_name("mailrelay")


@dataclass(slots=True)
class Daemon:
    """A mailrelay with a data folder of its own. `process` is None while it does not run."""

    folder: Path
    edge: int = field(default_factory=free_port)
    submission: int = field(default_factory=free_port)
    submissions: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    ops: int = field(default_factory=free_port)
    public: int = field(default_factory=free_port)
    settings: Mapping[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "mailrelay.yaml"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What it logged, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self, *arguments: str, sample: bool = True, wrapper: tuple[str, ...] = ()) -> None:
        """Start it and wait until it is ready. `wrapper` is put in front of the command (strace, …)."""
        config: dict[str, Any] = {
            "hostname": "mailrelay.test",
            "listeners": [
                {"kind": "edge", "port": self.edge},
                {"kind": "submission", "port": self.submission},
                {"kind": "submissions", "port": self.submissions},
            ],
            "http": {"port": self.api, "ops_port": self.ops},
            "public": {"port": self.public, "url": f"http://localhost:{self.public}"},
            "inbound": {
                "domains": ["inbound.test"],
                "bounce_domain": "bounce.test",
                "trusted_networks": ["127.0.0.0/8"],
            },
        }
        for section, values in self.settings.items():
            config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
        self.config.write_text(yaml.safe_dump(config))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, PROGRAM, "run", "--config", self.config, *(["--sample"] if sample else []), *arguments],
                stdout=log,
                stderr=log,
            )
        self.wait_ready()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait for /readyz."""

        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"mailrelay ended with {self.process.returncode}:\n{self.log[-3000:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/readyz", timeout=10) as answer:
                    return bool(answer.status == 200)
            except (OSError, http.client.HTTPException):
                return False

        until(ready, "the daemon is ready", seconds=seconds)

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL, and wait."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def cli(self, *arguments: str) -> Any:
        """Run `mailrelay … --json` against it; the JSON it prints. Raises RuntimeError with its error line."""
        done = subprocess.run(
            [PROGRAM, *arguments, "--json"],
            env={"MAILRELAY_SOCKET": str(self.data / "mailrelay.sock"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mailrelay {' '.join(arguments)}: {done.returncode}\n{done.stderr.decode()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels as printed."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@contextlib.contextmanager
def daemon(folder: Path, settings: Mapping[str, Any] | None = None, *, start: bool = True) -> Iterator[Daemon]:
    """A daemon, running with the sample organisation unless `start` is False; ended whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Daemon(folder, settings=settings or {})
    try:
        if start:
            one.start()
        yield one
    finally:
        if one.process is not None:
            one.process.terminate()
            try:
                one.process.wait(30)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait(30)


def until(check: Callable[[], T], what: str, *, seconds: float = 60, pause: float = 0.05) -> T:
    """Wait until `check` gives something true, and return it. Raises AssertionError naming `what` it waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(pause)
