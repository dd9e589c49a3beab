"""An Exim of our own: its configuration, spool and log in a folder, loopback ports, without privileges, gone when the test is."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import need
from tests.support.postfix import free_port

USER = "Debian-exim"
"""Who Debian's Exim is built to run as; it will not start where there is no such user."""

_MAIN = """\
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/pid
primary_hostname = exim.test
qualify_domain = exim.test
local_interfaces = {address}
daemon_smtp_ports = {port}
# Nobody's mailbox is anybody's here, so it needs no root.
deliver_drop_privilege = true
disable_ipv6 = true
keep_environment =
local_from_check = false
queue_run_max = 5
"""


@dataclass(frozen=True, slots=True)
class Exim:
    """A running Exim."""

    port: int
    folder: Path
    address: str = "127.0.0.1"

    @property
    def log(self) -> str:
        """Everything that it logged so far, its panics too."""
        return "".join(one.read_text(errors="replace") for one in sorted((self.folder / "log").glob("*log")))


@contextlib.contextmanager
def exim(main: str, rest: str, *, address: str = "127.0.0.1", port: int = 0) -> Iterator[Exim]:
    """Run an Exim; it may be used once this yields.

    `main` are options of the main section above the quiet ones, `rest` the sections from the first `begin` on. `{folder}` in both
    is its own folder, where `mail` is for mailboxes. Port 0 takes a free one. TLS is offered
    only where `main` says so.
    """
    program = need("exim4")
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-exim-", dir="/tmp"))  # its own user must reach it
    folder.chmod(0o755)
    port = port or free_port()
    for name in ("spool", "log", "mail"):
        (folder / name).mkdir(mode=0o755)
        shutil.chown(folder / name, USER)
    shutil.chown(folder, USER)
    tls = "" if "tls_advertise_hosts" in main else "tls_advertise_hosts =\n"
    ours = tls + _MAIN.format(program=program, folder=folder, address=address, port=port)
    (folder / "conf").write_text(ours + f"{main}\n{rest}\n".replace("{folder}", str(folder)))
    process = subprocess.Popen(
        [program, "-C", folder / "conf", "-bdf", "-q1s"],
        user=USER,
        group=USER,
        extra_groups=[],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _wait_for(address, port, process)
        yield Exim(port, folder, address)
    finally:
        process.terminate()
        process.wait(20)
        if process.stderr:
            process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            raise RuntimeError(f"exim ended at once: {said}")
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1) as probe:
            if probe.recv(4).startswith(b"220"):
                return
        time.sleep(0.05)
    raise RuntimeError("exim does not listen")
