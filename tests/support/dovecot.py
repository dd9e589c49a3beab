"""A Dovecot that takes mail by LMTP into mailboxes with a quota, on a loopback port, gone when the test is."""

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

_CONFIG = """\
protocols = lmtp
base_dir = {folder}/run
log_path = {folder}/log
default_internal_user = dovecot
default_login_user = dovenull
ssl = no
mail_location = maildir:{folder}/mail/%n
mail_uid = dovecot
mail_gid = dovecot
first_valid_uid = 1
first_valid_gid = 1
mail_plugins = quota
passdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=2K
  quota_grace = 0
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running Dovecot; its mailboxes hold 2 KiB."""

    port: int
    folder: Path

    @property
    def log(self) -> str:
        """Everything that it logged so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def dovecot(*users: str) -> Iterator[Dovecot]:
    """Run a Dovecot with the mailboxes of `users` (local parts); it may be used once this yields."""
    program = need("dovecot")
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-dovecot-", dir="/tmp"))  # its own user must reach it
    folder.chmod(0o755)
    port = free_port()
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "dovecot", "dovecot")
    (folder / "users").write_text("".join(f"{user}:{{PLAIN}}x::::::\n" for user in users))
    (folder / "conf").write_text(_CONFIG.format(folder=folder, port=port))
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen([program, "-F", "-c", folder / "conf"], stdout=stderr, stderr=stderr)
    try:
        _wait_for(port, process, folder)
        yield Dovecot(port, folder)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"dovecot ended at once: {(folder / 'stderr').read_text(errors='replace')}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            if probe.recv(4).startswith(b"220"):
                return
        time.sleep(0.05)
    raise RuntimeError("dovecot does not listen")
