"""`mailrelay message inspect`: one line of JSON a mail, whatever the mail."""

from __future__ import annotations

import json

from click.testing import CliRunner

from mailrelay.cli.message_inspect import inspect

MAIL = (
    b"From: Ann <ann@x.example>\r\nTo: root, bob@x.example\r\nCc: <carol>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nFine.\r\n\r\n> old\r\n"
    b"--b\r\nContent-Type: image/png; name=x.png\r\n\r\npng\r\n--b--\r\n"
)


def test_a_mail_is_one_line_of_json(tmp_path):
    (tmp_path / "a.eml").write_bytes(MAIL)
    result = CliRunner().invoke(inspect, ["--json", str(tmp_path / "a.eml")])
    (line,) = result.output.splitlines()
    row = json.loads(line)
    assert result.exit_code == 0
    assert 0 < row.pop("ms") < 1_000
    assert row == {
        "file": str(tmp_path / "a.eml"),
        "error": None,
        "kind": "normal",
        "may_reply": True,
        "results": [],
        "subject": "Grüße",
        "from": [{"name": "Ann", "address": "ann@x.example"}],
        "to": [{"name": "root", "address": ""}, {"name": "", "address": "bob@x.example"}],
        "cc": [{"name": "", "address": "carol"}],
        "message_id": "1@x",
        "text": "Fine.\n\n> old",
        "html": "",
        "attachments": [
            {
                "name": "x.png",
                "type": "image/png",
                "size": 3,
                "sha256": "8f8cbb7dcf46e0bc7d53265749a6c17d116093a6ba95e442764060c76fd4a86c",
            }
        ],
        "reply": "Fine.",
        "defects": ["To: no address", "Cc: no address"],
    }


def test_names_on_standard_input_and_a_missing_file_is_an_error_at_the_end(tmp_path):
    (tmp_path / "a.eml").write_bytes(MAIL)
    result = CliRunner().invoke(inspect, ["--json"], input=f"{tmp_path}/none\n\n{tmp_path}/a.eml\n{tmp_path}\n")
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert [row["error"] for row in rows] == ["No such file or directory", None, "Is a directory"]
    assert result.exit_code == 1


def test_bytes_that_are_no_mail_are_answered(tmp_path):
    for number, raw in enumerate((b"", b"\0" * 1000, b"\xff\xfe", b"\r\r\r", b":\n:", bytes(range(256)) * 20)):
        path = tmp_path / str(number)
        path.write_bytes(raw)
        result = CliRunner().invoke(inspect, ["--json", str(path)])
        assert result.exit_code == 0
        assert json.loads(result.output)["error"] is None


def test_without_json_people_can_read_it_and_it_does_not_act_on_the_terminal(tmp_path):
    (tmp_path / "a.eml").write_bytes(MAIL.replace(b"Fine.", b"Fine\x1b[31m."))
    result = CliRunner().invoke(inspect, [str(tmp_path / "a.eml")])
    assert "Subject:    Grüße" in result.output
    assert "x.png, image/png, 3 bytes" in result.output
    assert "\x1b" not in result.output
