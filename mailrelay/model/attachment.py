"""Files of records: those of the mail on a record, and those that were put there; where their bytes are, and what they take (I17)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailrelay.ids import AttachmentId, Digest, OrgId
from mailrelay.model.record import RecordRef


class Attachments(StrEnum):
    """What becomes of the files of a mail that is put on a record (I17)."""

    OFF = "off"  # they stay in the mail
    RECORD = "record"  # filed to the record's attachments, kept in the data folder
    STORE = "store"  # filed to the record's attachments, kept in the outside store


class Place(StrEnum):
    """Where the bytes of attachments are."""

    FOLDER = "folder"  # the data folder
    STORE = "store"  # the outside store: a folder, or S3


class AttachmentState(StrEnum):
    """How far a file is on its way to its record."""

    WAITING = "waiting"  # to be filed; `reason` says why it is not yet
    FILED = "filed"
    FULL = "full"  # not filed: the organisation's storage is full; it is in the mail


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAttachment:
    """A file of a record. `name` and `type` are data from a stranger: nothing is ever called by them (P04)."""

    id: AttachmentId
    org: OrgId
    record: RecordRef
    message: str
    """The mail that it is from, "" for one that was put there."""
    part: str
    """Its part of the mail: `2`, `2.1`."""
    name: str
    type: str
    size: int
    sha256: Digest
    at: datetime
    by: str
    """Who put it there: a user's id, a token's, or "rule"."""
    place: Place
    state: AttachmentState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What an organisation's attachments take: each content once, in bytes. `limit` 0: none."""

    used: int
    limit: int
    contents: int
    waiting: int
    full: int
    """Files that are not filed because there is no room."""
    full_since: datetime | None
