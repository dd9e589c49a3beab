"""O8: what we sign verifies at every independent verifier: dkimpy by itself, and OpenDKIM."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from mailrelay.mail import dkim
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.outbound.keys import KeyPair, generate
from tests.support.clock import START
from tests.support.peers import need

BODY = (
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
    b"List-Unsubscribe: <https://mr.example.org/u/abc>,\r\n\t<mailto:u+abc@example.org>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"\r\n"
    b"Dear Bob,  \r\n"
    b"=C3=A9t=C3=A9 \t .\r\n"
    b"..two dots\r\n"
    b"\r\n"
    b"\r\n"
)
MAIL = (
    b"From: =?utf-8?q?Alice_M=C3=BCller?= <alice@example.org>\r\n"
    b"To: bob@example.net,\r\n  carol@example.net\r\n"
    b"Subject:  two  blanks\r\n\tand a fold\r\n"
    b"Date: Mon, 2 Nov 2026 09:30:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n" + BODY
)


@cache
def keys() -> tuple[KeyPair, ...]:
    return tuple(generate("example.org", f"mr202611{one.name[0].lower()}", one) for one in KeyAlgorithm)


def signed(*pairs: KeyPair) -> bytes:
    return dkim.sign(
        MAIL, [SigningKey(one.domain, one.selector, one.algorithm, one.private_pem) for one in pairs], now=START
    )


# A process of its own, so that none of our replacements is in it.
_DKIMPY = """
import json, sys, dkim
keys = json.loads(sys.argv[1])
message = dkim.DKIM(sys.stdin.buffer.read())
lookup = lambda name, timeout=5: keys[name.decode().rstrip(".")].encode()
print(*[message.verify(index, dnsfunc=lookup) for index in range(int(sys.argv[2]))])
"""


def _dkimpy(raw: bytes) -> list[str]:
    texts = json.dumps({one.dns_name: one.dns_text for one in keys()})
    done = subprocess.run(
        [sys.executable, "-c", _DKIMPY, texts, str(raw.count(b"DKIM-Signature:"))],
        input=raw,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split()


@dataclass(frozen=True)
class OpenDkim:
    """OpenDKIM's filter in its test mode: the same verifier as behind a milter, its keys from a file in place of DNS."""

    folder: Path

    def verify(self, raw: bytes) -> list[str]:
        """Its verdicts, from its own Authentication-Results: `pass rsa-sha256`."""
        message, conf = self.folder / "message.eml", self.folder / "opendkim.conf"
        message.write_bytes(raw)
        (self.folder / "keys").write_text("".join(f"{one.dns_name} {one.dns_text}\n" for one in keys()))
        conf.write_text(f"Mode v\nSyslog no\nTestDNSData file:{self.folder}/keys\n")
        done = subprocess.run(
            [need("opendkim"), "-x", conf, "-t", message, "-vv"], capture_output=True, text=True, timeout=30, check=True
        )
        results = [part.split() for part in done.stdout.split(";") if part.strip().startswith("dkim=")]
        return [f"{words[0][5:]} {_word(words, 'header.a=')}" for words in results]


def _word(words: list[str], start: str) -> str:
    return next(word.removeprefix(start) for word in words if word.startswith(start))


@pytest.fixture
def opendkim(tmp_path: Path) -> OpenDkim:
    need("opendkim")
    return OpenDkim(tmp_path)


def test_dkimpy_alone_verifies_both_signatures() -> None:
    assert _dkimpy(signed(*keys())) == ["True", "True"]


def test_dkimpy_alone_sees_a_change() -> None:
    assert _dkimpy(signed(*keys()).replace(b"two  blanks", b"three blanks")) == ["False", "False"]


def test_opendkim_verifies_both_signatures(opendkim: OpenDkim) -> None:
    assert opendkim.verify(signed(*keys())) == ["pass rsa-sha256", "pass ed25519-sha256"]


@pytest.mark.parametrize("number", [0, 1])
def test_opendkim_verifies_each_signature_alone(opendkim: OpenDkim, number: int) -> None:
    assert opendkim.verify(signed(keys()[number])) == [f"pass {keys()[number].algorithm}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Dear Bob", b"Dear Eve"),
        (b"From: ", b"From: eve@evil.test\r\nFrom: "),
        (b"List-Unsubscribe-Post: ", b"List-Unsubscribe: <https://evil.test>\r\nList-Unsubscribe-Post: "),
        (b"MIME-Version", b"Reply-To: eve@evil.test\r\nMIME-Version"),
    ],
)
def test_opendkim_sees_a_change(opendkim: OpenDkim, old: bytes, new: bytes) -> None:
    raw = signed(*keys())
    assert opendkim.verify(raw.replace(old, new, 1)) == ["fail rsa-sha256", "fail ed25519-sha256"]


def test_opendkim_verifies_a_large_message(opendkim: OpenDkim) -> None:
    large = MAIL + b"A line of a large message,  with blanks \r\n" * 50_000
    one, two = keys()
    raw = dkim.sign(
        large,
        [SigningKey(pair.domain, pair.selector, pair.algorithm, pair.private_pem) for pair in (one, two)],
        now=START,
    )
    assert opendkim.verify(raw) == ["pass rsa-sha256", "pass ed25519-sha256"]
