"""A Postfix of our own: its own folders, loopback ports, in the foreground, gone when the test is."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

from tests.support.peers import need

_NOT_EPHEMERAL = (12_000, 32_000)
_MASTER = """\
{address}:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

_MAIN: Mapping[str, str] = {
    "compatibility_level": "3.6",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mydestination": "",
    "myhostname": "postfix.test",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtputf8_enable": "yes",
    "maximal_backoff_time": "2s",
    "minimal_backoff_time": "1s",
    "queue_run_delay": "1s",
    "smtp_address_preference": "ipv4",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "maillog_file_prefixes": "/tmp",
    "biff": "no",
}


def free_port() -> int:
    """A loopback port that nobody listens on just now, and that the system gives to no connection meanwhile."""
    while True:
        port = random.randrange(*_NOT_EPHEMERAL)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix."""

    port: int
    folder: Path
    address: str = "127.0.0.1"
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Its master, unless it was killed."""

    def start(self) -> None:
        """Run it, and wait until it takes mail."""
        program = need("postfix")
        process = subprocess.Popen(
            [program, "-c", self.folder / "conf", "start-fg"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.running.append(process)
        try:
            _wait_for(self.address, self.port, process)
        except RuntimeError as error:
            error.add_note(self.log[-500:])
            raise

    def kill(self) -> None:
        """SIGKILL to all of it, in the middle of whatever it does; what it has in its queue stays there."""
        process = self.running.pop()
        # The master, a child of ours, leads a session of its own.
        os.killpg(int((self.folder / "queue" / "pid" / "master.pid").read_text()), signal.SIGKILL)
        process.wait(10)
        if process.stderr:
            process.stderr.close()

    @property
    def log(self) -> str:
        """Everything that it logged so far."""
        path = self.folder / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def received(self, user: str) -> list[EmailMessage]:
        """What arrived in a local user's mailbox, oldest first."""
        return [
            cast("EmailMessage", message_from_bytes(raw, policy=policy.default)) for raw in self.received_bytes(user)
        ]

    def received_bytes(self, user: str) -> list[bytes]:
        """The same as bytes, lines ended by LF as Postfix stores them."""
        folder = self.folder / "mail" / user / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []


@contextlib.contextmanager
def postfix(settings: Mapping[str, str], *, address: str = "127.0.0.1", port: int = 0) -> Iterator[Postfix]:
    """Run a Postfix with `settings` (of main.cf) above the quiet defaults; it may be used once this yields.

    With `virtual_mailbox_domains`, mail for `USER@domain` lands in `received(USER)`; users are those of `users`
    (a comma-separated setting of ours), at the first domain or at the one that they name; anybody else is refused with 550 5.1.1.
    A user `@domain` is everybody there, and the mailbox is called as the domain. Port 0 takes a free one.
    """
    program = need("postfix")
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-postfix-", dir="/tmp"))  # its own user must reach it
    folder.chmod(0o755)
    port = port or free_port()
    for name in ("conf", "queue", "data", "mail"):
        (folder / name).mkdir(mode=0o755)
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", "postfix")
    (folder / "conf" / "master.cf").write_text(_MASTER.format(address=address, port=port))
    main = {
        **_MAIN,
        "queue_directory": str(folder / "queue"),
        "data_directory": str(folder / "data"),
        "maillog_file": str(folder / "mail.log"),
        **{name: value for name, value in settings.items() if name != "users"},
    }
    if "users" in settings:
        domain = settings["virtual_mailbox_domains"].partition(",")[0]
        users = [user.strip() for user in settings["users"].split(",")]
        addresses = [user if "@" in user else f"{user}@{domain}" for user in users]
        boxes = "".join(f"{user} {user.partition('@')[0] or user[1:]}/\n" for user in addresses)
        (folder / "conf" / "users").write_text(boxes)
        ids = _ids()
        main |= {
            "virtual_mailbox_maps": f"texthash:{folder}/conf/users",
            "virtual_mailbox_base": str(folder / "mail"),
            "virtual_uid_maps": f"static:{ids[0]}",
            "virtual_gid_maps": f"static:{ids[1]}",
        }
    (folder / "conf" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
    server = Postfix(port, folder, address)
    try:
        server.start()
        yield server
    finally:
        # The master is its own session; it knows how to end all that it started.
        subprocess.run([program, "-c", folder / "conf", "stop"], check=False, capture_output=True)
        for process in server.running:
            process.wait(20)
            if process.stderr:
                process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _ids() -> tuple[int, int]:
    entry = pwd.getpwnam("postfix")
    return entry.pw_uid, entry.pw_gid


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            raise RuntimeError(f"postfix ended at once: {said}")
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1) as probe:
            if probe.recv(4).startswith(b"220"):
                return
        time.sleep(0.05)
    raise RuntimeError("postfix does not listen")
