"""I17, P04, P11: what is in a mail is had part by part, shown without risk, and only by who may see it."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path

from tests.flow.test_i17_attachments import PDF, V1, Place, mixed, part, place
from tests.support.cli import Cli
from tests.support.filing import attach, mail

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 50
HTML = (
    b"Content-Type: text/html; charset=utf-8\r\n\r\n"
    b'<p onclick="x()">Hello <img src="cid:logo@x"><img src="https://t.example/open.gif"><script>alert(1)</script></p>\r\n'
)


async def a_mail(p: Place) -> str:
    raw = mixed(
        part(PNG, "logo.png", "image/png", "Content-ID: <logo@x>"),
        part(PDF, "../../off\u202eer.pdf"),
        text=HTML,
        subject="<b>Offer</b>",
    )
    posted = await p.desk.post(raw)
    assert posted.message
    return f"{V1}/messages/{posted.message}"


async def test_a_mails_body_is_text_and_harmless_html(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        path = await a_mail(p)
        body = (await p.client.get(f"{path}/body")).json
        assert body["text"].strip() == "Hello"
        assert body["remote"] == ["https://t.example/open.gif"]
        assert f'<img src="{path}/parts/2">' in body["html"]
        for word in ("onclick", "script", "alert", "t.example"):
            assert word not in body["html"]
        picture = await p.client.get(f"{path}/parts/2")
        assert (picture.status, picture.body, picture.headers["Content-Type"]) == (200, PNG, "image/png")


async def test_fault_p11_the_page_of_a_mail_loads_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        path = await a_mail(p)
        page = await p.client.get(f"{path}/body.html")
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert policy.endswith("; sandbox")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}".encode() in page.body
        assert b"<title>&lt;b&gt;Offer&lt;/b&gt;</title>" in page.body
        for word in (b"t.example", b"<script", b"onclick", b"/parts/"):
            assert word not in page.body
        plain = await p.desk.post(mail(body="1 < 2 <script>x</script>\r\n"))
        shown = await p.client.get(f"{V1}/messages/{plain.message}/body.html")
        assert b"1 &lt; 2 &lt;script&gt;x&lt;/script&gt;" in shown.body


async def test_the_parts_of_a_mail_are_listed_and_had(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        path = await a_mail(p)
        parts = {one["part"]: one for one in (await p.client.get(f"{path}/parts")).json["parts"]}
        assert parts["0"]["parts"] == ["1", "2", "3"]
        assert (parts["3"]["type"], parts["3"]["encoding"]) == ("application/pdf", "base64")
        assert parts["2"]["content_id"] == "logo@x"
        had = await p.client.get(f"{path}/parts/3")
        assert had.body == PDF
        assert had.headers["Content-Disposition"] == 'attachment; filename="offer.pdf"'
        assert had.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        head = await p.client.ask("HEAD", f"{path}/parts/3")
        assert (head.status, head.body, head.headers["ETag"]) == (200, b"", had.headers["ETag"])
        for wrong in ("4", "3.1"):
            assert (await p.client.get(f"{path}/parts/{wrong}")).status == 404
        assert (await p.client.get(f"{path}/parts/..%2f..")).status in (404, 422)
        assert (await p.client.get(f"{V1}/messages/M{'0' * 20}/parts")).status == 404


async def test_the_attachments_of_a_mail_are_had_by_number_or_digest(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        path = await a_mail(p)
        listed = (await p.client.get(f"{path}/attachments")).json["attachments"]
        assert [(one["number"], one["part"], one["file"]) for one in listed] == [(1, "2", False), (2, "3", True)]
        for name in ("2", hashlib.sha256(PDF).hexdigest()):
            assert (await p.client.get(f"{path}/attachments/{name}")).body == PDF
        for name in ("3", "0" * 64):
            assert (await p.client.get(f"{path}/attachments/{name}")).status == 404


async def test_mails_inside_a_mail_are_parts_with_parts(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        inner = mixed(part(PDF), to="bob@customer.test")
        posted = await p.desk.post(attach(inner, to="bob@customer.test"))
        path = f"{V1}/messages/{posted.message}"
        listed = (await p.client.get(f"{path}/parts")).json["parts"]
        pdf = next(one for one in listed if one["type"] == "application/pdf")
        assert (await p.client.get(f"{path}/parts/{pdf['part']}")).body == PDF
        whole = next(one for one in listed if one["type"] == "message/rfc822")
        assert (await p.client.get(f"{path}/parts/{whole['part']}")).body.strip() == inner.strip()


async def test_fault_p03_what_is_packed_stays_packed(tmp_path: Path) -> None:
    bomb = zlib.compress(b"\0" * 20_000_000, 9)
    async with place(tmp_path) as p:
        posted = await p.desk.post(mixed(part(bomb, "bomb.zip", "application/zip")))
        await p.filer.look()
        (one,) = await p.listed()
        assert one["size"] == len(bomb) < 100_000
        had = await p.client.get(f"{V1}/messages/{posted.message}/attachments/1")
        assert had.body == bomb
        assert "Content-Encoding" not in had.headers


async def test_the_command_line_lists_saves_adds_and_removes(tmp_path: Path) -> None:
    async with place(tmp_path) as p:
        cli = Cli(p.api.server.unix_socket)
        posted = await p.desk.post(mixed(part(PDF)))
        await p.filer.look()
        assert "offer.pdf" in (await cli("attachment", "list", "contact/1")).out
        assert "offer.pdf" in (await cli("attachment", "list", str(posted.message))).out
        one = (await p.listed())[0]["attachment"]
        for where, name in (("contact/1", one), (str(posted.message), "1")):
            to = tmp_path / f"{name}.saved"
            assert (await cli("attachment", "save", where, name, "--to", str(to))).status == 0
            assert to.read_bytes() == PDF
            again = await cli("attachment", "save", where, name, "--to", str(to))
            assert again.status != 0
            assert "cannot be written" in again.error
        (tmp_path / "terms.txt").write_bytes(b"terms")
        added = await cli("attachment", "add", "contact/1", str(tmp_path / "terms.txt"))
        assert "is on contact/1" in added.out
        used = (await cli("attachment", "usage")).out
        assert "2 different files" in used
        assert "Limit" in used
        assert (await cli("attachment", "remove", "contact/1", one)).status == 0
        assert [each["name"] for each in await p.listed()] == ["terms.txt"]
        assert "module/id" in (await cli("attachment", "remove", "contact", one)).error
