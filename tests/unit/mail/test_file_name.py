"""P04: whatever a stranger calls a file, what is offered for saving is a plain name, and the header is one line."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailrelay.mail import file_name

_HEADER = re.compile(r"attachment; filename=\"[ !#-\[\]-~]+\"(; filename\*=UTF-8''[A-Za-z0-9_.~%-]+)?")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("offer.pdf", "offer.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\offer.pdf", "offer.pdf"),
        ("a\u202efdp.exe", "afdp.exe"),
        ("a\0b\r\nc.txt", "abc.txt"),
        ("CON", "_CON"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("con .txt", "_con.txt"),
        ("console.txt", "console.txt"),
        (".bashrc", "bashrc"),
        ("...", "attachment.pdf"),
        ("", "attachment.pdf"),
        ("/", "attachment.pdf"),
        ("x" * 65_536 + ".pdf", "x" * 175 + ".pdf"),
        ("\u00fc" * 200 + ".pdf", "\u00fc" * 87 + ".pdf"),
        ('a"b;c=d%2f.pdf', "a_b_c=d_2f.pdf"),
        ("report.", "report"),
        ("  two   words .txt ", "two words.txt"),
    ],
)
def test_fault_p04_names(name: str, known: str) -> None:
    assert file_name.safe(name, "application/pdf") == known


def test_a_name_beyond_ascii_is_said_in_both_forms() -> None:
    assert (
        file_name.disposition("Angebot für Zoë.pdf")
        == "attachment; filename=\"Angebot f_r Zo_.pdf\"; filename*=UTF-8''Angebot%20f%C3%BCr%20Zo%C3%AB.pdf"
    )


@given(st.text(max_size=300), st.text(max_size=40))
@example("lpt\u00b9.x", "")
@example("\ud800", "text/html")
def test_fault_p04_any_name_is_safe(name: str, kind: str) -> None:
    known = file_name.safe(name, kind)
    assert known
    assert len(known.encode()) <= file_name.MAX_BYTES
    assert not set(known) & set('/\\:*?"<>|;%\0')
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in known)
    assert not known.startswith(".")
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", known)
    said = file_name.disposition(name, kind)
    assert _HEADER.fullmatch(said), said
    if "filename*" in said:
        assert unquote(said.partition("UTF-8''")[2]) == known
    assert re.fullmatch(r"[a-z0-9][^\s;,]*/[^\s;,]+", file_name.media_type(kind))
