"""O8: what we sign verifies at every independent verifier: dkimpy by itself, and OpenDKIM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from mailrelay.mail import dkim
from mailrelay.mail.dkim import KeyAlgorithm, SigningKey
from mailrelay.outbound.keys import KeyPair, generate
from tests.support import verifiers
from tests.support.clock import START

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


def _published() -> dict[str, str]:
    return {one.dns_name: one.dns_text for one in keys()}


def _dkimpy(raw: bytes) -> list[bool]:
    return verifiers.dkimpy(raw, _published())


@dataclass(frozen=True)
class OpenDkim:
    """The same verifier as behind a milter; `folder` holds its files."""

    folder: Path

    def verify(self, raw: bytes) -> list[str]:
        """Its verdicts: `pass rsa-sha256`."""
        return [found.removesuffix(" example.org") for found in verifiers.opendkim(raw, _published(), self.folder)]


@pytest.fixture
def opendkim(tmp_path: Path) -> OpenDkim:
    return OpenDkim(tmp_path)


def test_dkimpy_alone_verifies_both_signatures() -> None:
    assert _dkimpy(signed(*keys())) == [True, True]


def test_dkimpy_alone_sees_a_change() -> None:
    assert _dkimpy(signed(*keys()).replace(b"two  blanks", b"three blanks")) == [False, False]


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
