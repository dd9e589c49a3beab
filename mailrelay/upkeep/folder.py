"""The data folder: one daemon at a time (D12), readable by nobody else, with the secret it made for itself."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from mailrelay.blob import durable
from mailrelay.errors import Fatal


class DataFolder:
    """Everything that a daemon keeps, and the lock that makes it the only one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @property
    def database(self) -> Path:
        """The embedded store's file."""
        return self.path / "mailrelay.db"

    @property
    def blobs(self) -> Path:
        """Folder of large bodies."""
        return self.path / "blobs"

    @property
    def attachments(self) -> Path:
        """Folder of the contents of records' attachments (I17)."""
        return self.path / "attachments"

    @property
    def sent(self) -> Path:
        """Folder of the catch-all."""
        return self.path / "sent"

    @property
    def hits(self) -> Path:
        """Folder of hits that the store could not take yet (O9)."""
        return self.path / "hits"

    @property
    def socket(self) -> Path:
        """Unix socket of the command line."""
        return self.path / "mailrelay.sock"

    def take(self) -> None:
        """Make the folder and lock it. Raises Fatal when another daemon has it, or when it can't be written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise Fatal(f"The data folder {self.path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise Fatal(
                f"Another mailrelay (process {owner}) runs on the data folder {self.path}; stop it first"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Let another daemon have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def check_log(self) -> None:
        """Before the embedded store is opened: refuse when what it wrote last is gone (D09). Raises Fatal.

        SQLite takes a database without its write-ahead log for one without unfinished work, and would say nothing of the mail that
        was acknowledged since the log was last folded in. A process that ends in order leaves no log and no mark.
        """
        if not self._open_mark.exists():
            return
        log = self.database.with_name(f"{self.database.name}-wal")
        for file in (self.database, log):
            if not file.exists() or not file.stat().st_size:
                raise Fatal(
                    f"{file} is missing, and mailrelay did not end in order: mail that was acknowledged may be lost. Put the file "
                    f"back, or restore a backup. If another program has opened the database since, or you accept the loss, remove "
                    f"{self._open_mark} and start again"
                )

    def opened(self) -> None:
        """The embedded store's log is there from now on, durably, until `closing`."""
        durable.write(self._open_mark, b"")

    def closing(self) -> None:
        """The embedded store is about to be closed in order, and its log to go."""
        durable.remove(self._open_mark)

    @property
    def backed_up(self) -> str:
        """When the backup was made that this folder is, until somebody has started on it; else ""."""
        if not self._backup_mark.exists():
            return ""
        return self._backup_mark.read_text(encoding="utf-8").strip() or "at a time that it does not say"

    def mark_backup(self, made: str) -> None:
        """This folder is a backup, as things were at the moment `made`."""
        durable.write(self._backup_mark, f"{made}\n".encode())

    def forget_backup(self) -> None:
        """Somebody has started on the backup."""
        durable.remove(self._backup_mark)

    @property
    def _backup_mark(self) -> Path:
        return self.path / "backup"

    @property
    def _open_mark(self) -> Path:
        return self.path / "open"

    def secret(self) -> bytes:
        """The key of signed return paths: made at the first start, the same ever after."""
        return self._kept("secret", secrets.token_hex(32)).encode()

    def node(self) -> str:
        """This folder's own name in leases: as only one process can have the folder, what bears the name is of it or of a dead one."""
        return self._kept("node", secrets.token_hex(8))

    def _kept(self, name: str, new: str) -> str:
        """The content of a small file; `new`, durably, when it is not there yet."""
        path = self.path / name
        if not path.exists():
            # D01: a power cut must not take back a key that mail was signed with.
            durable.write(path, new.encode())
        return path.read_text(encoding="ascii").strip()
