"""Objects in a folder: whole or not there, under our own names alone (I17, P04)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mailrelay.blob.base import ObjectsAway
from mailrelay.blob.object_folder import FolderObjects

DATA = b"an offer"
DIGEST = hashlib.sha256(DATA).hexdigest()
NAME = f"O01ABC/{DIGEST[:2]}/{DIGEST}.0"


async def test_what_is_put_is_had_and_removed(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "a" / "b")
    with pytest.raises(ObjectsAway):
        await objects.get(NAME)  # a share that is not mounted is no store without this object
    await objects.put(NAME, DATA)
    await objects.put(NAME, DATA)
    assert await objects.get(NAME) == DATA
    assert [one.name for one in (tmp_path / "a" / "b").rglob("*") if one.is_file()] == [f"{DIGEST}.0"]
    assert (tmp_path / "a" / "b" / NAME).stat().st_mode & 0o077 == 0
    await objects.remove(NAME)
    await objects.remove(NAME)
    assert await objects.get(NAME) is None
    await objects.close()


async def test_a_share_that_is_not_mounted_is_away_and_nothing_is_written_beneath_its_mount_point(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "mnt" / "share"
    objects = FolderObjects(folder, ours=False)
    for work in (objects.put(NAME, DATA), objects.get(NAME), objects.remove(NAME)):
        with pytest.raises(ObjectsAway, match="is not there"):
            await work
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240
    folder.mkdir(parents=True)
    await objects.put(NAME, DATA)
    assert await objects.get(NAME) == DATA


async def test_a_folder_that_cannot_be_written_is_away_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "O01ABC").write_bytes(b"in the way")
    objects = FolderObjects(tmp_path / "store")
    with pytest.raises(ObjectsAway):
        await objects.put(NAME, DATA)
    assert [one.name for one in (tmp_path / "store").iterdir()] == ["O01ABC"]


@pytest.mark.parametrize(
    "name", ["../x", "O1/ab/offer.pdf", f"O1/ab/{'a' * 64}.0/../../x", "", "/etc/passwd", NAME + "\n"]
)
async def test_fault_p04_only_names_of_ours_are_objects(tmp_path: Path, name: str) -> None:
    objects = FolderObjects(tmp_path)
    for work in (objects.put(name, DATA), objects.get(name), objects.remove(name)):
        with pytest.raises(ValueError, match="a name that we do not make"):
            await work
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240
