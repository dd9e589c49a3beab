"""I17: the files of mail go to the records that it is on, each content once, within a limit; and are had by whoever may see the mail."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mailrelay.blob.base import ObjectsAway
from mailrelay.blob.object_folder import FolderObjects
from mailrelay.config.schema import Attachments as AttachmentSettings
from mailrelay.config.schema import Config
from mailrelay.filing import correct
from mailrelay.filing.attach import AttachmentFiler
from mailrelay.filing.contents import Contents
from mailrelay.ids import MessageId
from mailrelay.model.attachment import Attachments
from mailrelay.model.event import EventType
from mailrelay.model.organisation import Right
from mailrelay.model.settings import OrganisationSettings, Sharing
from mailrelay.store import contents, events, organisations
from tests.support import factory
from tests.support.filing import Desk, mail, office
from tests.support.http import Api, Client, serving

V1 = "/api/v1"
PDF = b"%PDF-1.7 an offer\n" * 10
RECORD = f"{V1}/records/contact/1/attachments"


def part(data: bytes, name: str = "offer.pdf", kind: str = "application/pdf", *more: str) -> bytes:
    head = [f"Content-Type: {kind}", f'Content-Disposition: attachment; filename="{name}"', *more]
    head.append("Content-Transfer-Encoding: base64")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + base64.encodebytes(data).replace(b"\n", b"\r\n")


def mixed(*parts: bytes, text: bytes = b"Content-Type: text/plain\r\n\r\nSee the file.\r\n", **fields: Any) -> bytes:
    head = mail(content_type='multipart/mixed; boundary="cut"', body="", **fields)
    return head + b"".join(b"--cut\r\n" + one + b"\r\n" for one in (text, *parts)) + b"--cut--\r\n"


@dataclass
class Place:
    api: Api
    desk: Desk
    client: Client
    filer: AttachmentFiler
    folder: Path

    async def listed(self, path: str = RECORD, client: Client | None = None) -> list[Any]:
        answer = await (client or self.client).get(path)
        assert answer.status == 200, answer.body
        return list(answer.json["items"])

    async def settings(self, **changes: Any) -> None:
        answer = await self.client.patch(f"{V1}/organisation", json={"settings": changes})
        assert answer.status == 200, answer.body

    async def storage(self) -> Any:
        return (await self.client.get(f"{V1}/organisation/storage")).json

    async def told(self, kind: EventType) -> list[dict[str, str]]:
        found = await self.api.store.read(events.after, self.desk.org.id, 0, limit=1000)
        return [dict(one.data) for one in found if one.type is kind]

    def files(self) -> list[Path]:
        return [one for one in self.folder.rglob("*") if one.is_file()]


@asynccontextmanager
async def place(tmp_path: Path, *, outside: bool = False, **settings: Any) -> AsyncIterator[Place]:
    wanted = OrganisationSettings(**{"attachments": Attachments.RECORD, **settings})
    if outside:
        (tmp_path / "outside").mkdir()
    config = Config(data=tmp_path, attachments=AttachmentSettings(folder=tmp_path / "outside" if outside else None))
    async with (
        serving(tmp_path, config=config) as api,
        office(tmp_path, store=api.store, settings=wanted) as desk,
    ):
        await desk.record("contact/1", "bob@customer.test")
        _, secret = await factory.api_token(api.store, api.clock, desk.org)
        filer = AttachmentFiler(
            api.store,
            desk.bodies,
            api.application.contents,
            api.clock,
            new_id=api.application.ids.attachment,
            stopping=api.stopping,
        )
        folder = tmp_path / ("outside" if outside else "attachments")
        yield Place(api, desk, api.web.bearing(secret), filer, folder)


async def test_the_files_of_a_mail_are_filed_to_its_record_and_can_be_had(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        posted = await p.desk.post(mixed(part(PDF), part(b"1,2\n", "figures.csv", "text/csv")))
        await p.filer.look()
        csv, pdf = await p.listed()
        assert (pdf["name"], pdf["type"], pdf["size"], pdf["state"]) == (
            "offer.pdf",
            "application/pdf",
            len(PDF),
            "filed",
        )
        assert (pdf["message"], pdf["part"], pdf["record"], csv["name"]) == (
            posted.message,
            "2",
            "contact/1",
            "figures.csv",
        )
        had = await p.client.get(f"{RECORD}/{pdf['attachment']}/content")
        assert had.status == 200
        assert had.body == PDF
        assert had.headers["Content-Disposition"] == 'attachment; filename="offer.pdf"'
        assert had.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in had.headers["Content-Security-Policy"]
        again = await p.client.get(
            f"{RECORD}/{pdf['attachment']}/content", headers={"If-None-Match": had.headers["ETag"]}
        )
        assert (again.status, again.body) == (304, b"")
        told = await p.told(EventType.ATTACHMENT_FILED)
        assert {one["name"] for one in told} == {"offer.pdf", "figures.csv"}
        await p.filer.look()
        assert len(await p.listed()) == 2
        assert len(p.files()) == 2


async def test_without_the_setting_files_stay_in_their_mail(tmp_path: Path) -> None:
    async with place(tmp_path, attachments=Attachments.OFF) as p:
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        assert await p.listed() == []
        await p.settings(attachments="record")
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        assert len(await p.listed()) == 1


async def test_identical_content_is_kept_once_and_counted_once(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.desk.record("contact/2", "eve@customer.test")
        for to in ("bob@customer.test", "eve@customer.test, bob@customer.test"):
            await p.desk.post(mixed(part(PDF), part(PDF, "copy.pdf"), to=to))
        await p.filer.look()
        assert len(await p.listed()) == 4
        assert len(await p.listed(f"{V1}/records/contact/2/attachments")) == 2
        assert len(p.files()) == 1
        assert p.files()[0].name == f"{hashlib.sha256(PDF).hexdigest()}.0"
        storage = await p.storage()
        assert (storage["used"], storage["contents"]) == (len(PDF), 1)


async def test_pictures_in_the_html_signatures_and_small_files_are_left_out(tmp_path: Path) -> None:
    html = b'Content-Type: text/html\r\n\r\n<p>Hi <img src="cid:logo%40x"></p>\r\n'
    async with place(tmp_path, attachments_from=100) as p:
        await p.desk.post(
            mixed(
                part(b"P" * 200, "logo.png", "image/png", "Content-ID: <logo@x>"),
                part(b"Q" * 200, "photo.png", "image/png", "Content-ID: <photo@x>"),
                part(b"S" * 300, "smime.p7s", "application/pkcs7-signature"),
                part(b"x" * 99, "small.txt", "text/plain"),
                text=html,
            )
        )
        await p.filer.look()
        assert [one["name"] for one in await p.listed()] == ["photo.png"]


async def test_over_the_limit_nothing_is_lost_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async with place(tmp_path, storage_limit=len(PDF) + 10) as p:
        first = await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        for number in range(3):
            p.api.clock.advance(timedelta(seconds=1))
            await p.desk.post(mixed(part(b"%d" % number * 50, f"{number}.bin")))
            await p.filer.look()
        await p.filer.look()
        listed = await p.listed()
        assert [(one["name"], one["state"]) for one in listed] == [
            ("2.bin", "full"),
            ("1.bin", "full"),
            ("0.bin", "full"),
            ("offer.pdf", "filed"),
        ]
        assert listed[0]["reason"] == "storage is full"
        content = await p.client.get(f"{RECORD}/{listed[0]['attachment']}/content")
        assert content.status == 409
        assert "storage is full" in content.json["detail"]
        assert len(await p.told(EventType.STORAGE_FULL)) == 1
        storage = await p.storage()
        assert (storage["full"], storage["used"], storage["full_since"] is None) == (3, len(PDF), False)
        # The same content is there already, and takes nothing.
        p.api.clock.advance(timedelta(seconds=1))
        await p.desk.post(mixed(part(PDF, "again.pdf")))
        await p.filer.look()
        assert (await p.listed())[0]["state"] == "filed"
        for one in await p.listed():
            if one["name"] == "offer.pdf":
                gone = await p.client.delete(f"{RECORD}/{one['attachment']}")
                assert gone.status == 204
        await p.filer.look()
        assert (await p.storage())["full"] == 3  # another file holds it yet
        again = next(one for one in await p.listed() if one["name"] == "again.pdf")
        assert (await p.client.delete(f"{RECORD}/{again['attachment']}")).status == 204
        await p.filer.look()
        assert [one["state"] for one in await p.listed()] == ["filed"] * 3
        storage = await p.storage()
        assert (storage["full"], storage["used"], storage["full_since"]) == (0, 150, None)
        assert len(p.files()) == 3
        assert first.message


async def test_what_was_removed_stays_gone_and_comes_back_under_another_name_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as p:
        posted = await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        one = (await p.listed())[0]
        shown = await p.client.get(f"{RECORD}/{one['attachment']}")
        assert shown.json == one
        stale = await p.client.delete(f"{RECORD}/{one['attachment']}", headers={"If-Match": '"other"'})
        assert stale.status == 412
        gone = await p.client.delete(f"{RECORD}/{one['attachment']}", headers={"If-Match": shown.headers["ETag"]})
        assert gone.status == 204
        assert (await p.client.delete(f"{RECORD}/{one['attachment']}")).status == 404
        assert len(await p.told(EventType.ATTACHMENT_REMOVED)) == 1
        await p.filer.look()
        assert p.files() == []
        message, at = MessageId(posted.message or ""), p.api.clock.now()
        ref = factory.ref("contact/1")
        await p.api.store.write(correct.unlink, p.desk.org.id, message, ref, by="U", at=at)
        await p.api.store.write(correct.link, p.desk.org.id, message, ref, by="U", at=at)
        await p.filer.look()
        assert await p.listed() == []
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        assert len(await p.listed()) == 1
        assert [one.suffix for one in p.files()] == [".1"]


async def test_a_link_that_is_removed_hides_the_files_and_shows_them_again(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        posted = await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        one = (await p.listed())[0]
        message, ref, at = MessageId(posted.message or ""), factory.ref("contact/1"), p.api.clock.now()
        await p.api.store.write(correct.unlink, p.desk.org.id, message, ref, by="U", at=at)
        assert await p.listed() == []
        for path in ("", "/content"):
            assert (await p.client.get(f"{RECORD}/{one['attachment']}{path}")).status == 404
        await p.api.store.write(correct.link, p.desk.org.id, message, ref, by="U", at=at)
        assert [each["attachment"] for each in await p.listed()] == [one["attachment"]]


async def test_files_of_mail_that_is_not_shared_are_not_there_for_others(tmp_path: Path) -> None:
    async with place(tmp_path, sharing=Sharing.PRIVATE) as p:
        berta = await p.desk.user("berta@example.com")
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        one = (await p.listed())[0]
        _, secret = await factory.api_token(
            p.api.store, p.api.clock, p.desk.org, Right.READ, Right.SEND, on_behalf_of=berta
        )
        hers = p.api.web.bearing(secret)
        assert await p.listed(client=hers) == []
        path = f"{RECORD}/{one['attachment']}"
        assert (await hers.get(path)).status == 404
        assert (await hers.get(f"{path}/content")).status == 404
        assert (await hers.delete(path)).status == 404
        other = await factory.org(p.api.store, p.api.clock)
        _, theirs = await factory.api_token(p.api.store, p.api.clock, other)
        assert (await p.api.web.bearing(theirs).get(path)).status == 404
        assert len(await p.listed()) == 1


async def test_a_file_is_put_to_a_record_once_and_sent_with_a_mail(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        key = {"Idempotency-Key": "k1", "Content-Type": "application/pdf"}
        made = await p.client.post(f"{RECORD}?name=terms.pdf", data=PDF, headers=key)
        assert made.status == 201, made.body
        one = made.json
        assert made.headers["Location"] == f"{RECORD}/{one['attachment']}"
        assert (await p.client.get(made.headers["Location"])).headers["ETag"] == made.headers["ETag"]
        again = await p.client.post(f"{RECORD}?name=terms.pdf", data=PDF, headers=key)
        assert (again.json, again.headers["Idempotency-Replayed"]) == (one, "true")
        other = await p.client.post(f"{RECORD}?name=terms.pdf", data=b"other", headers=key)
        assert other.status == 409
        assert len(await p.listed()) == 1
        await p.filer.look()
        assert len(p.files()) == 1  # nothing is left of what was not taken
        assert (await p.storage())["used"] == len(PDF)
        sent = await p.client.post(
            f"{V1}/messages?user=anna@example.com",
            json={
                "to": ["carl@elsewhere.test"],
                "text": "The terms",
                "attachments": [
                    {"record": "contact/1", "attachment": one["attachment"]},
                    {"name": "n.txt", "content": "aGVsbG8="},
                ],
            },
        )
        assert sent.status == 202, sent.body
        listed = (await p.client.get(f"{V1}/messages/{sent.json['id']}/attachments")).json["attachments"]
        assert [(each["name"], each["sha256"]) for each in listed] == [
            ("terms.pdf", hashlib.sha256(PDF).hexdigest()),
            ("n.txt", hashlib.sha256(b"hello").hexdigest()),
        ]


@pytest.mark.parametrize(
    ("given", "field", "detail"),
    [
        ({"record": "contact/1", "attachment": "E" + "0" * 20}, "attachments[0]", "has no attachment"),
        ({"record": "contact/1"}, "attachments[0]", "record and attachment"),
        ({"name": "x"}, "attachments[0]", "name and content"),
        ({"name": "x", "content": "eA==", "record": "contact/1", "attachment": "E1"}, "attachments[0]", "not both"),
        ({"name": "x", "content": "file:///etc/passwd"}, "attachments[0].content", "base64"),
    ],
)
async def test_an_attachment_that_cannot_be_sent_is_named(
    tmp_path: Path, given: dict[str, str], field: str, detail: str
) -> None:
    async with place(tmp_path) as p:
        answer = await p.client.post(
            f"{V1}/messages?user=anna@example.com", json={"to": ["c@d.test"], "text": "x", "attachments": [given]}
        )
        assert answer.status == 422
        (error,) = answer.json["errors"]
        assert error["field"] == field
        assert detail in error["detail"]


async def test_a_put_over_the_limit_is_refused_with_its_figures_and_leaves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, storage_limit=100) as p:
        answer = await p.client.post(f"{RECORD}?name=terms.pdf", data=PDF)
        assert answer.status == 413
        assert (answer.json["limit"], answer.json["size"]) == (100, len(PDF))
        await p.filer.look()
        assert p.files() == []
        assert (await p.storage())["used"] == 0
        assert (await p.client.post(f"{RECORD}?name=e", data=b"")).status == 422
        assert (await p.client.post(f"{V1}/records/contact/9/attachments?name=e", data=b"x")).status == 404


class Away:
    """An outside store that is not there, until it is."""

    def __init__(self, inner: FolderObjects) -> None:
        self.inner = inner
        self.away = True

    def _check(self) -> None:
        if self.away:
            raise ObjectsAway("The bucket of attachments cannot be used now")

    async def put(self, name: str, data: bytes) -> None:
        self._check()
        await self.inner.put(name, data)

    async def get(self, name: str) -> bytes | None:
        self._check()
        return await self.inner.get(name)

    async def remove(self, name: str) -> None:
        self._check()
        await self.inner.remove(name)

    async def close(self) -> None: ...


async def test_while_the_outside_store_is_away_nothing_is_lost_and_it_is_tried_again(tmp_path: Path) -> None:
    async with place(tmp_path, outside=True, attachments=Attachments.STORE) as p:
        away = Away(FolderObjects(p.folder))
        p.filer._kept = Contents(FolderObjects(tmp_path / "attachments"), away)
        await p.desk.post(mixed(part(PDF), part(b"other", "other.bin")))
        await p.filer.look()
        listed = await p.listed()
        assert [one["state"] for one in listed] == ["waiting", "waiting"]
        assert "cannot be used now" in listed[0]["reason"]
        content = await p.client.get(f"{RECORD}/{listed[0]['attachment']}/content")
        assert content.status == 409
        away.away = False
        await p.filer.look()
        assert [one["state"] for one in await p.listed()] == ["waiting", "waiting"]  # not due yet
        p.api.clock.advance(timedelta(seconds=30))
        await p.filer.look()
        assert [one["state"] for one in await p.listed()] == ["filed", "filed"]
        assert len(p.files()) == 2
        away.away = True
        one = (await p.listed())[0]
        assert (await p.client.delete(f"{RECORD}/{one['attachment']}")).status == 204
        await p.filer.look()
        assert len(p.files()) == 2
        away.away = False
        p.api.clock.advance(timedelta(seconds=30))
        await p.filer.look()
        assert len(p.files()) == 1


async def test_a_file_that_somebody_removes_while_it_waits_is_never_kept(tmp_path: Path) -> None:
    async with place(tmp_path, outside=True, attachments=Attachments.STORE) as p:
        away = Away(FolderObjects(p.folder))
        p.filer._kept = Contents(FolderObjects(tmp_path / "attachments"), away)
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        one = (await p.listed())[0]
        assert (await p.client.delete(f"{RECORD}/{one['attachment']}")).status == 204
        away.away = False
        p.api.clock.advance(timedelta(minutes=10))
        await p.filer.look()
        assert p.files() == []
        assert await p.storage() == {
            "used": 0,
            "limit": 0,
            "contents": 0,
            "waiting": 0,
            "full": 0,
            "full_since": None,
        }


async def test_the_outside_store_cannot_be_chosen_where_there_is_none(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        answer = await p.client.patch(f"{V1}/organisation", json={"settings": {"attachments": "store"}})
        assert answer.status == 422
        assert answer.json["errors"][0]["field"] == "settings.attachments"


async def test_a_content_that_is_damaged_is_never_handed_out(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        p.files()[0].write_bytes(b"something else")
        one = (await p.listed())[0]
        answer = await p.client.get(f"{RECORD}/{one['attachment']}/content")
        assert answer.status == 500
        assert b"something else" not in answer.body


NAMES = (
    "../../etc/passwd",
    "..\\..\\windows\\system32\\drivers\\etc\\hosts",
    "CON.txt",
    "nul",
    "a\u202efdp.exe",
    "x" * 65_536 + ".pdf",
    "/",
    "C:\\evil.pdf",
    "a;b=c.pdf",
)


@pytest.mark.parametrize("name", NAMES)
async def test_fault_p04_the_name_of_a_file_is_only_data(tmp_path: Path, name: str) -> None:
    escaped = name.replace("\\", "\\\\").encode("utf-8").decode("latin-1")
    disposition = f'Content-Disposition: attachment; filename="{escaped}"'.encode("latin-1")
    body = b"Content-Type: application/x\r\n" + disposition + b"\r\n\r\nhello"
    async with place(tmp_path) as p:
        await p.desk.post(mixed(body))
        await p.filer.look()
        (one,) = await p.listed()
        assert len(one["name"]) <= 1000
        (kept,) = p.files()
        assert kept.relative_to(p.folder).parts[0] == p.desk.org.id
        assert kept.name == f"{hashlib.sha256(b'hello').hexdigest()}.0"
        had = await p.client.get(f"{RECORD}/{one['attachment']}/content")
        said = had.headers["Content-Disposition"]
        assert len(said) < 1000
        assert said.startswith("attachment; ")
        offered = said.partition('filename="')[2].partition('"')[0]
        assert not set(offered) & set('/\\"\0\r\n;%')
        assert offered.partition(".")[0].lower() not in ("con", "nul", "")
        assert "%E2%80%AE" not in said


async def test_two_who_file_at_once_file_each_file_once(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        second = AttachmentFiler(
            p.api.store,
            p.desk.bodies,
            p.api.application.contents,
            p.api.clock,
            new_id=p.api.application.ids.attachment,
            stopping=p.api.stopping,
        )
        for number in range(5):
            await p.desk.post(mixed(part(b"%d" % number * 40, f"{number}.bin"), part(PDF)))
        await asyncio.gather(p.filer.look(), second.look(), p.filer.look(), second.look())
        await p.filer.look()
        assert [one["state"] for one in await p.listed()] == ["filed"] * 10
        assert len(await p.told(EventType.ATTACHMENT_FILED)) == 10
        assert len(p.files()) == 6


async def test_a_backup_knows_the_contents_of_the_data_folder(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        ((org, digest, name),) = await p.api.store.read(contents.in_folder)
        assert (org, digest) == (p.desk.org.id, hashlib.sha256(PDF).hexdigest())
        assert (p.folder / name).read_bytes() == PDF
        settings = await p.api.store.read(organisations.settings, p.desk.org.id)
        assert replace(settings, attachments=Attachments.OFF) != settings
