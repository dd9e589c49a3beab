"""`mailrelay practice webhook`: what is signed by its secret is taken and printed, and nothing else is (R6)."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks

from mailrelay.webhook import sign
from tests.support.daemon import PROGRAM, until
from tests.support.postfix import free_port

SECRET = sign.new_secret()
EVENT = json.dumps({
    "type": "message.filed",
    "data": {"seq": 9, "at": "now", "type": "message.filed", "message": "M1", "user": "", "data": {"by": "\x1b[31mus"}},
}).encode()  # fmt: skip


@contextmanager
def receiving(folder: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """A receiver as a process: its URL, and the file that it prints to."""
    port, out = free_port(), folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [PROGRAM, "practice", "webhook", "--port", str(port), *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={"MAILRELAY_WEBHOOK_SECRET": SECRET},
        )
    try:
        until(lambda: "Taking webhooks" in out.read_text(), "it listens", seconds=60)
        yield f"http://127.0.0.1:{port}/", out
    finally:
        process.terminate()
        process.wait(20)


def post(url: str, headers: Mapping[str, str], body: bytes = EVENT) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers)), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def test_what_is_signed_is_printed_on_one_line_and_what_is_not_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with receiving(tmp_path) as (url, out):
        assert post(url, sign.headers([sign.new_secret(), SECRET], "e1", now, EVENT)) == 204
        assert post(url, sign.headers([sign.new_secret()], "e2", now, EVENT)) == 401
        assert post(url, sign.headers([SECRET], "e3", now - timedelta(minutes=6), EVENT)) == 401
        assert post(url, sign.headers([SECRET], "e4", now, b"other")) == 401
        assert post(url, {}) == 401
        until(lambda: out.read_text().count("refused") == 4, "all is printed")
        lines = out.read_text().splitlines()
    assert lines[1] == "message.filed  seq=9 message=M1 by=\ufffd[31mus"
    assert len(lines) == 6


def test_as_json_the_bodies_alone_are_printed(tmp_path: Path) -> None:
    with receiving(tmp_path, "--json") as (url, out):
        assert post(url, sign.headers([SECRET], "e1", datetime.now(UTC), EVENT)) == 204
        until(lambda: EVENT.decode() in out.read_text().splitlines(), "it is printed")


@pytest.mark.parametrize("given", ["whsec_!", "nothing at all"])
def test_what_is_no_secret_is_said(given: str) -> None:
    done = subprocess.run(
        [PROGRAM, "practice", "webhook", "--secret", given], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "whsec_ and base64" in done.stderr


def test_it_agrees_with_the_library_of_standard_webhooks() -> None:
    now = datetime.now(UTC)
    theirs = {
        "webhook-id": "e1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(SECRET).sign("e1", now, EVENT.decode()),
    }
    assert sign.verified(SECRET, theirs, EVENT, now)
    for name, value in (("webhook-id", "e2"), ("webhook-timestamp", "1e9"), ("webhook-timestamp", "9" * 30)):
        assert not sign.verified(SECRET, theirs | {name: value}, EVENT, now)
    assert not sign.verified(SECRET, theirs, EVENT, now - timedelta(minutes=5, seconds=1))
    assert not sign.verified(SECRET, theirs, EVENT, now + timedelta(minutes=5, seconds=2))
