"""Files the files of mail to the records that the mail is on: it follows the journal, and keeps each content once (I17).

Noticing is cheap and only writes rows; filing is one file at a time, tried again until it works. So an outside store that is away
for hours, or a storage that is full, loses nothing and holds up nobody else; the mail has its files in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta

from mailrelay import log, metrics
from mailrelay.blob.base import ObjectsAway
from mailrelay.clock import Clock
from mailrelay.errors import Fatal, Unavailable
from mailrelay.filing.bodies import Bodies, BodyMissing
from mailrelay.filing.contents import ContentMissing, Contents
from mailrelay.ids import AttachmentId, Digest, MessageId, OrgId
from mailrelay.mail import attached
from mailrelay.mail.message import parse
from mailrelay.memory import Memory
from mailrelay.model.attachment import Attachments, AttachmentState, Place, RecordAttachment
from mailrelay.model.decision import BY_RULE
from mailrelay.model.message import Message
from mailrelay.model.record import RecordRef
from mailrelay.service import Stopping
from mailrelay.store import attachments, contents, followers, messages
from mailrelay.store.attachments import Job, Unread
from mailrelay.store.base import Bell, Store, Tx

_LEASE = timedelta(minutes=5)
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 3600.0
_AT_ONCE = 4
_BATCH = 50
_MOST_ORGANISATIONS = 200
_LARGE = 100_000
_COPIES = 4
_MAX_NAME = 1_000
_logger = log.get(service="attachments")


class AttachmentFiler:
    """The service "attachments"."""

    name = "attachments"

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        kept: Contents,
        clock: Clock,
        *,
        new_id: Callable[[], AttachmentId],
        stopping: Stopping,
        memory: Memory | None = None,
        poll: float = 2.0,
    ) -> None:
        """`poll` seconds between looks where no bell rings."""
        self._store = store
        self._bodies = bodies
        self._kept = kept
        self._clock = clock
        self._new_id = new_id
        self._stopping = stopping
        self._memory = memory or Memory()
        self._poll = poll
        self._away: dict[Place, str] = {}  # what could not be reached in this round: nobody waits for it again

    async def run(self) -> None:
        """Work until stopping is set. Raises Fatal."""
        with self._store.bells.listening(Bell.EVENTS) as bell:
            while not self._stopping.is_set():
                try:
                    await self.look()
                except Unavailable as error:
                    _logger.warning("attachments.delayed", reason=str(error))
                await self._stopping.wait(0.2)
                if not self._stopping.is_set():
                    await bell.heard(timeout=self._poll)

    async def look(self) -> None:
        """Notice, file and remove all that is due, unless a stop is asked for. Raises Unavailable, Fatal."""
        for org in await self._store.read(followers.behind, attachments.FOLLOWER, limit=_MOST_ORGANISATIONS):
            while not self._stopping.is_set() and (new := await self._store.read(attachments.unread, org)) is not None:
                await self._notice(org, new)
        for org in await self._store.read(contents.full):
            await self._store.write(attachments.go_on, org, now=self._clock.now())
        while not self._stopping.is_set() and await self._file():
            pass
        while not self._stopping.is_set() and await self._remove():
            pass
        number, oldest = await self._store.read(attachments.waiting)
        metrics.attachments_waiting.set(number)
        age = 0.0 if oldest is None else (self._clock.now() - oldest).total_seconds()
        metrics.attachments_age.set(max(0.0, age))
        metrics.storage_full.set(len(await self._store.read(contents.full)))

    async def _notice(self, org: OrgId, read: Unread) -> None:
        found: list[RecordAttachment] = []
        for message in dict.fromkeys(message for message, _ in read.linked):
            records = [record for one, record in read.linked if one == message]
            found += await self._files(org, message, records, read)
        await self._store.write(attachments.notice, org, read, found)

    async def _files(
        self, org: OrgId, name: MessageId, records: list[RecordRef], read: Unread
    ) -> list[RecordAttachment]:
        """The files of a mail, for each of these records."""
        message = await self._store.read(_message, org, name)
        if message is None or not message.attachments:
            return []
        try:
            async with self._parts(message) as parts:
                found = [
                    (part, called, kind, len(data), Digest(hashlib.sha256(data).hexdigest()))
                    for part, called, kind, data in parts
                ]
        except Exception as error:
            if isinstance(error, Fatal | Unavailable):
                raise
            metrics.attachments.labels("failed").inc()
            _logger.exception("attachment.failed", message=name, org=org)
            return []
        smallest = max(1, read.settings.attachments_from)
        outside = read.settings.attachments is Attachments.STORE
        now = self._clock.now()
        # Sorted, so that their order by id is that of the parts.
        ids = iter(sorted(self._new_id() for _ in range(len(records) * len(found))))
        return [
            RecordAttachment(
                id=next(ids),
                org=org,
                record=record,
                message=name,
                part=part,
                name=called[:_MAX_NAME],
                type=kind[:_MAX_NAME],
                size=size,
                sha256=sha256,
                at=now,
                by=BY_RULE,
                place=Place.STORE if outside else Place.FOLDER,
                state=AttachmentState.WAITING,
            )
            for record in records
            for part, called, kind, size, sha256 in found
            if size >= smallest
        ]

    @asynccontextmanager
    async def _parts(self, message: Message) -> AsyncIterator[list[tuple[str, str, str, bytes]]]:
        """The files of a mail as (part, name, type, bytes), with room for them as long as the block runs. Raises BodyMissing."""

        def read(raw: bytes) -> list[tuple[str, str, str, bytes]]:
            return [(one.path or "0", one.filename, one.type, one.decoded()) for one in attached.files(parse(raw))]

        large = message.raw.size >= _LARGE
        async with self._memory.room(message.raw.size * _COPIES) if large else nullcontext():
            raw = await self._bodies.read(message.raw)
            yield await asyncio.to_thread(read, raw) if large else read(raw)

    async def _file(self) -> bool:
        """File what is due; whether there may be more."""
        now = self._clock.now()
        self._away.clear()
        claimed = await self._store.write(attachments.claim, now=now, lease=_LEASE, limit=_BATCH)
        metrics.attachments.labels("full").inc(claimed.left_out)
        for org in claimed.full:
            _logger.warning("storage.full", org=org)
        by_message: dict[tuple[str, str], list[Job]] = {}
        for job in claimed.jobs:
            by_message.setdefault((job.attachment.org, job.attachment.message), []).append(job)
        few = asyncio.Semaphore(_AT_ONCE)

        async def one(jobs: list[Job]) -> None:
            async with few:
                await self._of_message(jobs)

        ended = await asyncio.gather(*(one(jobs) for jobs in by_message.values()), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error
        return len(claimed.jobs) + claimed.left_out == _BATCH

    async def _of_message(self, jobs: list[Job]) -> None:
        """File the files of one mail. Raises Fatal."""
        try:
            if all(job.content.kept for job in jobs):
                await self._each(jobs, {})
                return
            first = jobs[0].attachment
            message = await self._store.read(messages.get, first.org, MessageId(first.message))
            async with self._parts(message) as parts:
                await self._each(jobs, {part: data for part, _, _, data in parts})
        except Exception as error:  # noqa: BLE001 (each of them is tried again)
            for job in jobs:
                await self._later(job, error)

    async def _each(self, jobs: list[Job], data: Mapping[str, bytes]) -> None:
        for job in jobs:
            try:
                await self._one(job, data.get(job.attachment.part))
            except Exception as error:  # noqa: BLE001 (it is tried again; the others go on)
                await self._later(job, error)

    async def _one(self, job: Job, data: bytes | None) -> None:
        one, to = job.attachment, job.content
        if not to.kept:
            if data is None or hashlib.sha256(data).hexdigest() != one.sha256:
                raise ContentMissing(f"part {one.part} of {one.message} is not what it was")
            if to.place in self._away:
                raise ObjectsAway(self._away[to.place])
            try:
                await self._kept.put(to.place, to.name, data)
            except ObjectsAway as error:
                self._away[to.place] = str(error)
                raise
        if await self._store.write(attachments.filed, job, at=self._clock.now()):
            metrics.attachments.labels("filed").inc()
            _logger.info(
                "attachment.filed", org=one.org, message=one.message, attachment=one.id, record=str(one.record)
            )

    async def _later(self, job: Job, error: Exception) -> None:
        if isinstance(error, Fatal):
            raise error
        known = isinstance(error, Unavailable | BodyMissing | ContentMissing)
        reason = str(error) if known else f"our own code failed: {type(error).__name__}"
        pause = min(_FIRST_PAUSE * 2 ** min(job.attempts - 1, 12), _LONGEST_PAUSE)
        to = self._clock.now() + timedelta(seconds=pause)
        metrics.attachments.labels("failed").inc()
        _logger.warning(
            "attachment.delayed",
            org=job.attachment.org,
            message=job.attachment.message,
            attachment=job.attachment.id,
            reason=reason,
            exc_info=None if known else error,
        )
        await self._store.write(attachments.put_off, job, to=to, reason=reason)

    async def _remove(self) -> bool:
        """Take away contents that nobody holds; whether there may be more."""
        now = self._clock.now()
        found = await self._store.write(contents.claim_leaving, now=now, lease=_LEASE, limit=_BATCH)
        gone = []
        for place, name, attempts in found:
            try:
                await self._kept.remove(place, name)
                gone.append((place, name))
            except Unavailable as error:
                _logger.warning("attachment.delayed", content=name, reason=str(error))
                await self._store.write(contents.put_off, place, name, to=_after(now, attempts))
        await self._store.write(contents.left, gone)
        return len(found) == _BATCH


def _after(now: datetime, attempts: int) -> datetime:
    return now + timedelta(seconds=min(_FIRST_PAUSE * 2 ** min(attempts, 12), _LONGEST_PAUSE))


def _message(tx: Tx, org: OrgId, name: MessageId) -> Message | None:
    return next(iter(messages.get_many(tx, org, [name])), None)
