"""Each mail system's own words for a bounce are read (I10): mails in tests/data/bounce, each beside what it says."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail.bounce import dialect, lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import parse

DATA = Path(__file__).parents[2] / "data" / "bounce"
MAILS = sorted(DATA.glob("*/*.eml"))
DIALECTS = {
    found.name: importlib.import_module(f"{dialect.__name__}.{found.name}")
    for found in pkgutil.iter_modules(dialect.__path__)
}


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def recognise(raw: bytes) -> dict[str, tuple[Trouble, ...]]:
    parsed = parse(raw)
    return {name: found for name, one in DIALECTS.items() if (found := one.recognise(parsed))}


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("path", MAILS, ids=name_of)
def test_a_mail_system_is_understood_by_its_own_dialect_only(path, newline):
    found = recognise(path.read_bytes().replace(b"\n", newline))
    assert list(found) == [path.parent.name]
    expected = json.loads(path.with_suffix(".json").read_text())
    said = [
        {"recipient": one.recipient, "status": one.status and str(one.status), "code": one.code, "action": one.action}
        for one in found[path.parent.name]
    ]
    assert said == [{key: value for key, value in one.items() if key != "says"} for one in expected]
    for one, wanted in zip(found[path.parent.name], expected, strict=True):
        assert wanted["says"] in one.diagnostic


def test_every_dialect_has_a_mail():
    assert {path.parent.name for path in MAILS} == set(DIALECTS)


@pytest.mark.parametrize("path", MAILS, ids=name_of)
def test_a_person_who_quotes_or_forwards_a_bounce_is_no_bounce(path):
    _, _, body = path.read_bytes().partition(b"\n\n")
    head = (
        b"From: Ann <ann@customer.example>\nSubject: %s\nContent-Type: text/plain; charset=utf-8\n\nWhat is this?\n\n"
    )
    assert recognise(head % b"Fwd: Mail delivery failed" + body) == {}
    assert recognise(head % b"a question" + b"\n".join(b"> " + line for line in body.split(b"\n"))) == {}


def test_an_address_is_no_reason():
    raw = b"From: MAILER-DAEMON@x.example\n\nI'm sorry to have to inform you that\n\n<mailbox-full@y.example>: 550 nobody\n"
    (one,) = recognise(raw)["postfix"]
    assert one.diagnostic == "550 nobody"


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ("550 5.1.1 x", "5.1.1", 550),
        ("550-5.7.26 x", "5.7.26", 550),
        ("x (#5.1.2)", "5.1.2", None),
        ("[10.5.2.1] said: 452 later", None, 452),
        ("192.5.1.1: 421-later", None, 421),
        ("x 4.2.2.", "4.2.2", None),
        ("SIZE=5500: 250 ok", None, None),
        ("5502 x 1550 5.1", None, None),
    ],
)
def test_status_and_code_are_no_parts_of_other_numbers(words, status, code):
    one = lines.trouble("a@b.example", words, lines.Action.FAILED)
    assert (one.status and str(one.status), one.code) == (status, code)


WORDS = sorted(
    {word for path in MAILS for word in re.split(rb"(?<=[\n>:-])", path.read_bytes()) if word}
    | {b" " * 500, b"-" * 500, b"\n" * 500, b"<", b"a@b.example", b"\xff", b"{" * 3000, b'"notificationType"'}
)


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=40).map(b"".join))
def test_fault_p14_any_bytes_are_read(body):
    for found in recognise(b"From: MAILER-DAEMON@x.example\n\n" + body).values():
        for one in found:
            assert len(one.diagnostic) <= lines.MAX_DIAGNOSTIC
            one.recipient.encode("utf-8")


@pytest.mark.parametrize(
    "filler",
    [
        b"-",
        b" ",
        b"\n",
        b" \n",
        b"<",
        b"a",
        b"a@",
        b"a@b.example ",
        b"<a@b.example>:\n",
        b"a@b.example\n",
        b"{",
        b"550 ",
        b"5.",
        b"<<< 550 x\n",
    ],
)
def test_fault_p14_no_report_takes_long_however_it_goes_on(filler):
    longest = 0.0
    for path in sorted(DATA.glob("*/01.eml")):
        report = lines.before_returned(path.read_text()).encode()
        parsed = parse(report + b"\n" + filler * (lines.MAX_CHARS // len(filler)))
        _ = parsed.text
        started = time.thread_time()
        for one in DIALECTS.values():
            one.recognise(parsed)
        longest = max(longest, time.thread_time() - started)
    assert longest < 0.1
