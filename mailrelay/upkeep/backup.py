"""A backup of the data folder while a daemon runs on it, as a data folder that another daemon can start on (R5, D14).

First the database, by SQLite's own online copy, which is of one instant; then every body that it names. Bodies never change under
their name and are durable before a row names them, so that all of them are there.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from mailrelay.blob import durable
from mailrelay.blob.base import ObjectsAway
from mailrelay.blob.folder import BlobDamaged, FolderBlobs
from mailrelay.blob.object_folder import FolderObjects
from mailrelay.clock import Clock
from mailrelay.errors import MailrelayError
from mailrelay.ids import Digest
from mailrelay.store.sqlite import blobs_of, contents_of, copy_online
from mailrelay.upkeep.folder import DataFolder

_SMALL = ("secret", "self-signed.key", "self-signed.pem")
"""Beside the database: what mail already sent was signed with. `node` stays behind, since the copy is another node."""


class BackupFailed(MailrelayError):
    """The backup is not whole, and nothing was kept of it."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was kept."""

    folder: Path
    bodies: int
    size: int


def make(data: Path, to: Path) -> Backup:
    """Copy the data folder `data` to the new folder `to`. Blocks; takes as long as it takes to read everything.

    Raises BackupFailed when `to` is there already, or something in `data` is missing or damaged.
    """
    source, beside = DataFolder(data), to.with_name(f"{to.name}.new")
    if to.exists():
        raise BackupFailed(f"{to} is there already; name a new folder")
    if not source.database.exists():
        raise BackupFailed(
            f"There is no database in {data}; a store on PostgreSQL is backed up by pg_dump, the folder after it"
        )
    shutil.rmtree(beside, ignore_errors=True)
    made = Clock().now()
    try:
        beside.mkdir(mode=0o700, parents=True)
        copy = DataFolder(beside)
        copy.mark_backup(made.isoformat(timespec="seconds"))
        copy_online(source.database, copy.database)
        digests = blobs_of(copy.database)
        bodies = _copy_bodies(FolderBlobs(source.blobs, clean=False), FolderBlobs(copy.blobs), digests)
        attachments = asyncio.run(_copy_attachments(source, copy))
        for name in _SMALL:
            if (data / name).exists():
                durable.write(beside / name, (data / name).read_bytes())
        beside.rename(to)
        durable.sync_folder(to.parent)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise BackupFailed(f"{error.filename or to}: {error.strerror}") from error
    except MailrelayError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Backup(to, len(digests), to.joinpath("mailrelay.db").stat().st_size + bodies + attachments)


async def _copy_attachments(source: DataFolder, copy: DataFolder) -> int:
    """Copy the contents of attachments that are in the data folder; what is in the outside store is not ours to copy.

    One that somebody removed since the database was copied is in its mail, or nowhere: it is left out, and nobody waits for it.
    """
    here, there = FolderObjects(source.attachments), FolderObjects(copy.attachments)
    size = 0
    for digest, name in contents_of(copy.database):
        try:
            data = await here.get(name)
        except ObjectsAway as away:
            raise BackupFailed(str(away)) from away
        if data is None:
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            raise BackupFailed(f"The content of an attachment is damaged: {name}")
        await there.put(name, data)
        size += len(data)
    return size


def _copy_bodies(source: FolderBlobs, copy: FolderBlobs, digests: list[Digest]) -> int:
    size = 0
    for digest in digests:
        try:
            body = source.get(digest)
        except BlobDamaged as damaged:
            raise BackupFailed(f"{damaged}; mailrelay audit names the mail") from damaged
        if body is None:
            raise BackupFailed(f"The body {digest} is missing; mailrelay audit names the mail")
        copy.put(body)
        size += len(body)
    return size
