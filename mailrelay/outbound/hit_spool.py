"""Hits that the store could not take yet, on disk: a file is a batch, so that a batch is counted once whatever dies when (T14).

A file that came to more than a batch in a flood is split before it is read: its parts count from when it is gone.
Nothing here is synced: what was written outlives the process, not a power cut. All of it blocks; `Hits` calls it in one thread.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mailrelay.ids import DeliveryId, HitId
from mailrelay.model.hit import RawHit

_SUFFIX = ".hits"
_NEW = ".new"
_PART = ".part"
_SET_ASIDE = "set-aside"
_DASH = "-"
"""Between a file's name and its part's number."""
_OF = re.compile(rb'"delivery":"([^"]*)"')
_FILE = 20
"""Batches in a file from which on the next one is begun: in a flood each file costs the public door more than all that is in it."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RawHit)


def line(hit: RawHit) -> bytes:
    """A hit as it waits, in memory and on the disk: bytes are nothing that the garbage collector has to look through."""
    return _encoder.encode(hit) + b"\n"


def delivery_of(written: bytes) -> DeliveryId | None:
    """Whose hit a line is, also one that was cut off behind that; None for a line that does not tell."""
    found = _OF.search(written)
    return None if found is None else DeliveryId(found[1].decode("ascii", "replace"))


def hit_of(written: bytes) -> RawHit:
    """The hit of a line. Raises ValueError for what is none."""
    return _decoder.decode(written)


@dataclass(frozen=True, slots=True)
class Batch:
    """Hits that the store takes together, once: `id` is how it knows them again. `spooled`: they came from the disk."""

    id: HitId
    hits: tuple[RawHit, ...]
    spooled: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A batch from the disk, and how many of its lines could not be read: the process died while it wrote them."""

    batch: Batch
    damaged: int


class Spool:
    """A folder of batches, oldest first. Every method may raise OSError, as for a disk that is full."""

    def __init__(
        self, folder: Path, *, new_id: Callable[[], HitId], has_room: Callable[[int], bool], largest: int = 250
    ) -> None:
        """`has_room` says whether so many bytes may be written: mail needs the disk more. `largest` is a batch's, in hits."""
        self.folder = folder
        self._new_id = new_id
        self._has_room = has_room
        self._largest = largest
        self._batches: deque[HitId] = deque()
        self._numbers: Counter[HitId] = Counter()
        self.waiting = 0
        """How many hits are there to be read; `find` and `append` add to it, `done` takes away."""
        self._open: int | None = None
        """The newest batch's file, which is appended to. It is spoken to by system calls alone: each lets the public door go on, and
        has to wait for it then."""
        self._in_open = self._size = 0
        """What is in it, in hits and in bytes."""

    def find(self) -> int:
        """Look at what was left by whoever had the folder before: how many hits. To be called once, before all else."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.glob(f"*{_NEW}"):  # what `forget` had not yet put in its place: the old one still holds
            path.unlink()
        for path in sorted(self.folder.glob(f"*{_PART}")):
            self._part_of(HitId(path.stem.rpartition(_DASH)[0]), path)
        left = sorted(path for path in self.folder.iterdir() if path.suffix == _SUFFIX)
        for path in left:
            self._batches.append(HitId(path.stem))
            self._numbers[HitId(path.stem)] = path.read_bytes().count(b"\n")
        self.waiting = self._numbers.total()
        return self.waiting

    def keep(self, batch: Batch) -> None:
        """Write a batch that the store has been given, and may not take."""
        data = b"".join(map(line, batch.hits))
        self._check_room(data)
        path = self._path(batch.id)
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Write hits that nobody has been given yet, as lines; all of them, or none and OSError."""
        data = b"".join(lines)
        self._check_room(data)
        if self._open is None:
            new = self._new_id()
            self._open = os.open(self._path(new), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._in_open = self._size = 0
            self._batches.append(new)
        try:
            if os.write(self._open, data) != len(data):
                raise OSError(errno.ENOSPC, "The disk is full")
        except OSError:
            os.ftruncate(self._open, self._size)
            raise
        self._in_open += len(lines)
        self._size += len(data)
        self._numbers[self._batches[-1]] += len(lines)
        self.waiting += len(lines)
        if self._in_open >= _FILE * self._largest:
            self.close()

    def next(self) -> Read | None:
        """The oldest batch, None when there is none. It stays until it is `done`; one that was only kept is not among them."""
        if not self._batches:
            return None
        if len(self._batches) == 1:
            self.close()  # it may be the one that is appended to
        if self._numbers[self._batches[0]] > self._largest:
            self._split(self._batches[0])
        found: list[RawHit] = []
        damaged = 0
        path = self._path(self._batches[0])
        for written in path.read_bytes().splitlines() if path.exists() else ():
            try:
                found.append(hit_of(written))
            except ValueError:
                damaged += 1
        return Read(Batch(self._batches[0], tuple(found), spooled=True), damaged)

    def _split(self, batch: HitId) -> None:
        """Put the batches of the oldest file in its place. Broken off it is done again, at the next start too."""
        path = self._path(batch)
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            for number, start in enumerate(range(0, len(lines), self._largest)):
                part = self.folder / f"{batch}{_DASH}{number:03}{_PART}"
                part.write_bytes(b"".join(lines[start : start + self._largest]))
            path.unlink()
        for part in sorted(self.folder.glob(f"{batch}{_DASH}*{_PART}")):
            self._part_of(batch, part)
        parts = sorted(self.folder.glob(f"{batch}{_DASH}*{_SUFFIX}"))
        self._batches.popleft()
        self.waiting -= self._numbers.pop(batch)
        for part in reversed(parts):
            self._batches.appendleft(HitId(part.stem))
            self._numbers[HitId(part.stem)] = part.read_bytes().count(b"\n")
            self.waiting += self._numbers[HitId(part.stem)]

    def _part_of(self, batch: HitId, part: Path) -> None:
        """Have a part count; one of a file that is still there is nothing yet."""
        if self._path(batch).exists():
            part.unlink()
        else:
            part.replace(part.with_suffix(_SUFFIX))

    def done(self, batch: HitId) -> None:
        """The store has it; it is not read again before the next start, even where OSError says that it cannot be removed."""
        if self._batches and self._batches[0] == batch:
            self._batches.popleft()
            self.waiting -= self._numbers.pop(batch)
        self._path(batch).unlink(missing_ok=True)

    def set_aside(self, hit: RawHit) -> None:
        """Keep a hit that our own code fails on, for a person; it is not read again by itself."""
        with (self.folder / _SET_ASIDE).open("ab") as file:
            file.write(line(hit))

    def deliveries(self) -> frozenset[DeliveryId]:
        """Whose hits are here, those set aside too."""
        lines = (one for path in self._files() for one in path.read_bytes().splitlines())
        return frozenset(of for one in lines if (of := delivery_of(one)) is not None)

    def forget(self, some: Collection[DeliveryId]) -> int:
        """Remove what is here of these deliveries (T13); how many hits that were. Done again after a crash it removes the rest."""
        self.close()
        gone = 0
        for path in self._files():
            lines = path.read_bytes().splitlines(keepends=True)
            left = [one for one in lines if delivery_of(one) not in some]
            if len(left) == len(lines):
                continue
            new = path.with_suffix(_NEW)
            new.write_bytes(b"".join(left))
            new.replace(path)
            gone += len(lines) - len(left)
            if (batch := HitId(path.stem)) in self._numbers:
                self._numbers[batch] -= len(lines) - len(left)
                self.waiting -= len(lines) - len(left)
        return gone

    def _files(self) -> Iterator[Path]:
        if self.folder.exists():
            yield from sorted(
                one for one in self.folder.iterdir() if one.suffix in (_SUFFIX, _PART) or one.name == _SET_ASIDE
            )

    def close(self) -> None:
        """What comes next begins a new batch."""
        if self._open is not None:
            closed, self._open = self._open, None
            os.close(closed)

    def _check_room(self, data: bytes) -> None:
        if not self._has_room(len(data)):
            raise OSError(errno.ENOSPC, "What is left of the disk is for mail")

    def _path(self, batch: HitId) -> Path:
        return self.folder / f"{batch}{_SUFFIX}"
