"""What a user does about a mail, from a notice or from the mail itself (I19)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailrelay.ids import MessageId, NoteId, OrgId, TaskId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What somebody wrote down about a mail. `by` is a user's id, a token's, or the operator."""

    id: NoteId
    org: OrgId
    message: MessageId
    by: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A follow-up that somebody asks the CRM for; the CRM makes the task of it."""

    id: TaskId
    org: OrgId
    message: MessageId
    by: str
    text: str
    due_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderWish:
    """Where a user wants a mail in their own mailbox; the newest holds."""

    org: OrgId
    message: MessageId
    user: UserId
    folder: str
    by: str
    at: datetime
