from __future__ import annotations

import base64
import importlib.util
import random
import re
import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType

import dkim as dkimpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import dkim
from mailrelay.mail.dkim import MAX_VERIFIED, CannotSign, KeyAlgorithm, SigningKey
from mailrelay.model.lookup import Answer, LookupStatus
from mailrelay.model.message import DkimResult, Verdict
from mailrelay.outbound.keys import KeyPair, generate
from tests.support.answers import FAILED, Zone, ask_sync
from tests.support.clock import START

MAIL = (
    b"From: Alice <alice@example.org>\r\n"
    b"To: bob@example.net\r\n"
    b"Subject: a  subject\r\n folded\r\n"
    b"Date: Mon, 2 Nov 2026 09:30:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"\r\n"
    b"Hello \t world \r\n"
    b"\r\n"
    b"\r\n"
)


@cache
def pair(algorithm: KeyAlgorithm) -> KeyPair:
    return generate("example.org", "s-" + algorithm.name.lower(), algorithm)


def key(algorithm: KeyAlgorithm) -> SigningKey:
    made = pair(algorithm)
    return SigningKey(made.domain, made.selector, algorithm, made.private_pem)


RSA, ED25519 = KeyAlgorithm.RSA, KeyAlgorithm.ED25519


def zone(**texts: str | Answer) -> Zone:
    records: dict[tuple[str, str], str | bytes | list[str] | Answer] = {}
    for algorithm in KeyAlgorithm:
        made = pair(algorithm)
        records["TXT", made.dns_name] = texts.get(algorithm.name.lower(), made.dns_text)
    return Zone(records)


@cache
def signed(*algorithms: KeyAlgorithm) -> bytes:
    return dkim.sign(MAIL, [key(algorithm) for algorithm in algorithms or KeyAlgorithm], now=START)


def verify(raw: bytes, answers: Zone | None = None, after: timedelta = timedelta()) -> tuple[DkimResult, ...]:
    return ask_sync(dkim.verify(raw, now=START + after), answers or zone())


def verdicts(raw: bytes, answers: Zone | None = None) -> list[Verdict]:
    return [result.verdict for result in verify(raw, answers)]


def resigned(changes: bytes, **options: object) -> bytes:
    """MAIL signed by dkimpy itself, with what we never do."""
    material = pair(RSA).private_pem
    with dkim._time_is(START):
        field: bytes = dkimpy.sign(MAIL, b"s-rsa", b"example.org", material, **options)
    return bytes(field) + MAIL + changes


def test_o8_both_signatures_pass() -> None:
    assert verify(signed()) == (
        DkimResult(Verdict.PASS, "example.org", "s-rsa"),
        DkimResult(Verdict.PASS, "example.org", "s-ed25519"),
    )


def test_o8_the_message_under_the_signatures_is_untouched() -> None:
    assert signed().endswith(MAIL)
    assert signed()[: -len(MAIL)].count(b"DKIM-Signature: ") == 2
    assert all(len(line) <= 78 for line in signed()[: -len(MAIL)].split(b"\r\n"))


def test_o8_the_tags_are_those_we_promise() -> None:
    for field in re.split(rb"(?=DKIM-Signature:)", signed()[: -len(MAIL)])[1:]:
        tags = dkimpy.util.parse_tag_value(field.partition(b":")[2])
        assert tags[b"c"] == b"relaxed/relaxed"
        assert tags[b"t"] == str(int(START.timestamp())).encode()
        assert b"l" not in tags
        names = [name.strip() for name in tags[b"h"].split(b":")]
        for name in (b"from", b"to", b"subject", b"date", b"message-id"):
            assert names.count(name) == 2
        for name in (b"cc", b"reply-to", b"mime-version", b"content-type", b"content-transfer-encoding",
                     b"list-unsubscribe", b"list-unsubscribe-post"):  # fmt: skip
            assert names.count(name) == 1


@pytest.mark.parametrize("name", ["From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "MIME-Version",
    "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"])  # fmt: skip
@pytest.mark.parametrize("where", ["above", "below"])
def test_o8_no_field_that_matters_can_be_added(name: str, where: str) -> None:
    added = f"{name}: x@evil.test\r\n".encode()
    raw = added + signed() if where == "above" else signed().replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)
    assert verdicts(raw) == [Verdict.FAIL, Verdict.FAIL]


def test_other_fields_and_blanks_may_change_on_the_way() -> None:
    raw = b"Received: from a\r\n" + signed().replace(b"subject\r\n folded", b"subject  folded") + b"\r\n"
    raw = raw.replace(b"Hello \t world \r\n", b"Hello world\r\n")
    assert verdicts(raw) == [Verdict.PASS, Verdict.PASS]
    assert verdicts(raw.replace(b"\r\n", b"\n")) == [Verdict.PASS, Verdict.PASS]


def test_a_changed_body_or_subject_fails() -> None:
    assert "body was changed" in verify(signed() + b"x\r\n")[0].reason
    assert verdicts(signed() + b"x\r\n") == [Verdict.FAIL, Verdict.FAIL]
    assert verdicts(signed().replace(b"folded", b"other")) == [Verdict.FAIL, Verdict.FAIL]


def test_signing_without_from_or_header_or_key_is_refused() -> None:
    with pytest.raises(CannotSign, match="From"):
        dkim.sign(b"To: a@b.test\r\n\r\nx", [key(RSA)], now=START)
    with pytest.raises(CannotSign, match="no field"):
        dkim.sign(b"From: a@b.test\r\nnot a field\r\n\r\nx", [key(RSA)], now=START)
    for algorithm, material in ((RSA, pair(ED25519).private_pem), (ED25519, pair(RSA).private_pem), (RSA, b"junk")):
        with pytest.raises(CannotSign, match="private key"):
            dkim.sign(MAIL, [SigningKey("a.test", "s", algorithm, material)], now=START)


@pytest.mark.parametrize(
    "body", [b"", b"\r\n", b"\r\n\r\n", b" \r\n", b"no end", b"\x00\xff\r\n", b"a\rb\r\n", b". \r\n"]
)
def test_odd_bodies_are_signed_so_that_dkimpy_agrees(body: bytes) -> None:
    raw = dkim.sign(b"From: a@example.org\r\n\r\n" + body, [key(RSA)], now=START)
    assert verdicts(raw) == [Verdict.PASS]


def test_a_dns_failure_is_temperror_and_no_key_is_permerror() -> None:
    answers = zone(rsa=FAILED, ed25519=Answer(LookupStatus.NO_NAME))
    assert verdicts(signed(), answers) == [Verdict.TEMPERROR, Verdict.PERMERROR]


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        ("v=DKIM1; p=", Verdict.PERMERROR, "revoked"),
        ("v=DKIM1; k=ed25519; p={p}", Verdict.PERMERROR, "another algorithm"),
        ("v=DKIM1; h=sha1; p={p}", Verdict.PERMERROR, "SHA-256"),
        ("v=DKIM1; s=tlsrpt; p={p}", Verdict.PERMERROR, "not for mail"),
        ("v=DKIM1; h=sha1:sha256; s=email; t=y:s; p={p}", Verdict.PASS, ""),
        ("p={p}", Verdict.PASS, ""),
        ("v=DKIM2; p={p}", Verdict.FAIL, ""),
        ("v=DKIM1; p=!!!", Verdict.PERMERROR, ""),
        ("some other text", Verdict.PERMERROR, "no key"),
    ],
)
def test_the_key_record_decides(record: str, verdict: Verdict, reason: str) -> None:
    answers = zone(rsa=record.replace("{p}", pair(RSA).public))
    (result,) = verify(signed(RSA), answers)
    assert result.verdict is verdict
    assert reason in result.reason


def _der(modulus: int, exponent: int = 65537) -> str:
    def tlv(tag: int, body: bytes) -> bytes:
        size = len(body)
        length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
        return bytes([tag]) + length + body

    def integer(number: int) -> bytes:
        return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))

    return base64.b64encode(tlv(0x30, integer(modulus) + integer(exponent))).decode()


@pytest.mark.parametrize(
    ("public", "verdict"),
    [
        (_der(2**767 + 1), Verdict.FAIL),
        (_der(2**8191 + 1), Verdict.POLICY),
        (_der(2**2047 + 1, 2**2000 + 1), Verdict.POLICY),
        (_der(2**2047 + 1), Verdict.FAIL),
    ],
)
def test_rsa_keys_out_of_bounds_are_not_used(public: str, verdict: Verdict) -> None:
    assert verdicts(signed(RSA), zone(rsa=f"v=DKIM1; p={public}")) == [verdict]


def test_sha1_fails() -> None:
    assert verdicts(resigned(b"", signature_algorithm=b"rsa-sha1")) == [Verdict.FAIL]


def test_an_l_that_leaves_body_unsigned_is_refused() -> None:
    assert verdicts(resigned(b"", length=True)) == [Verdict.PASS]
    assert verdicts(resigned(b"and more\r\n", length=True)) == [Verdict.POLICY]


def test_times_are_those_of_the_caller() -> None:
    raw = resigned(b"")
    field, rest = raw.split(b"From:", 1)
    expired = field.replace(b"h=from", b"x=1000; h=from")
    assert expired != field
    assert verdicts(expired + b"From:" + rest) == [Verdict.FAIL]
    assert verify(signed(RSA), after=timedelta(days=-2))[0].verdict is Verdict.PERMERROR  # t= is in the future


def test_only_the_first_signatures_are_looked_at() -> None:
    answers = zone()
    raw = b"".join(signed(RSA)[: -len(MAIL)] for _ in range(50)) + MAIL
    assert verdicts(raw, answers) == [Verdict.PASS] * MAX_VERIFIED
    assert len(answers.asked) == MAX_VERIFIED


@pytest.mark.parametrize(
    "name", [b"d=a b.test", b"d=localhost", b"d=" + b"a" * 300 + b".test", b"d=..", b"d=\xff.test"]
)
def test_a_domain_that_is_none_is_never_asked_for(name: bytes) -> None:
    answers = zone()
    field = b"DKIM-Signature: v=1; a=rsa-sha256; b=AAAA; bh=AAAA; h=from; s=s; " + name + b"\r\n"
    assert verdicts(field + MAIL, answers) == [Verdict.PERMERROR]
    assert answers.asked == []


def test_a_unicode_domain_is_asked_for_in_a_labels() -> None:
    answers = zone()
    verify(
        "DKIM-Signature: v=1; a=rsa-sha256; b=AAAA; bh=AAAA; h=from; s=s; d=bücher.test\r\n".encode() + MAIL, answers
    )
    assert [question.name for question in answers.asked] == ["s._domainkey.xn--bcher-kva.test"]


def test_a_message_without_signature_has_no_result() -> None:
    assert verify(MAIL) == ()
    assert verify(b"") == ()
    assert verify(b"not a field\r\n\r\n") == ()
    assert verdicts(b"not a field\r\nDKIM-Signature: v=1\r\n\r\n") == [Verdict.PERMERROR]


@pytest.mark.parametrize(
    "hostile",
    [
        b"Subject: x\r\n" + b" y\r\n" * 200_000,
        b"X-A: x\r\n" * 100_000,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AAAA; b=" + b" " * 500_000 + b"!\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; bh=AAAA; b=AAAA; h="
        + b":".join([b"a"] * 200_000)
        + b"\r\n",
    ],
)
def test_fault_p14_a_hostile_header_takes_no_time(hostile: bytes) -> None:
    raw = signed().replace(b"Message-ID", hostile + b"Message-ID")
    for text in (raw, hostile + raw):
        began = time.process_time()
        verify(text)
        assert time.process_time() - began < 3  # quadratic would be minutes


@pytest.mark.parametrize(
    "body", [b" " * 2_000_000 + b"x\r\n", b"\r\n" * 2_000_000, b"\t \r\n" * 1_000_000, b"\r\r\n" * 1_000_000]
)
def test_fault_p14_a_hostile_body_takes_no_time(body: bytes) -> None:
    raw = signed() + body
    began = time.process_time()
    verify(raw)
    assert time.process_time() - began < 3  # quadratic would be minutes


@cache
def _original() -> ModuleType:
    """dkimpy's canonicalisation as it was installed, before ours took its place."""
    spec = importlib.util.spec_from_file_location("original", Path(dkimpy.__file__).with_name("canonicalization.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(st.text(" \t\r\nab", max_size=40).map(lambda text: re.sub("\r?\n", "\r\n", text).encode()))
def test_our_canonical_form_is_dkimpy_s(body: bytes) -> None:
    for policy in ("Relaxed", "Simple"):
        ours, theirs = getattr(dkimpy.canonicalization, policy), getattr(_original(), policy)
        assert ours.canonicalize_body(body) == theirs.canonicalize_body(body)
        headers = [[b"A-b", body + b"\r\n"]]
        assert ours.canonicalize_headers(headers) == theirs.canonicalize_headers(headers)


@given(st.binary(max_size=300))
def test_fault_p14_any_bytes_give_results(raw: bytes) -> None:
    for text in (raw, b"DKIM-Signature: " + raw, b"DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; h=from; " + raw):
        assert all(result.verdict is not Verdict.PASS for result in verify(text))


@given(st.binary(max_size=100), st.integers(0))
def test_fault_p14_any_key_and_any_damage_give_results(record: bytes, seed: int) -> None:
    damaged = bytearray(signed(RSA))
    chance = random.Random(seed)
    for _ in range(3):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    verify(bytes(damaged), Zone({("TXT", pair(RSA).dns_name): b"p=" + record}))
    verify(bytes(damaged))
