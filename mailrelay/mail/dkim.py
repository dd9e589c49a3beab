"""DKIM signatures: made with RSA and Ed25519 (O8), checked for I2; RFC 6376, RFC 8301, RFC 8463.

The rules are dkimpy's, which no other file imports. Its slow parts are replaced: RSA is OpenSSL's with the key kept, and
canonicalisation takes time that grows with the length of its input whatever that holds (P14).
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import dkim
import dkim.canonicalization
import dkim.crypto
import dkim.util
import idna
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailrelay.mail import canonical
from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, Question, RecordType
from mailrelay.model.message import DkimResult, Verdict

MAX_VERIFIED = 5
"""Signatures of one message that are looked at, from the top; a list of hundreds is an attack on our DNS."""

_MIN_RSA_BITS, _MAX_RSA_BITS, _MAX_EXPONENT = 1024, 4096, 2**32
_MAX_FIELDS = 1000
_MAX_SIGNED_NAMES = 300
_MAX_SIGNATURE_FIELD = 8192
_LONG_BLANK = re.compile(rb"\s{256}")  # dkimpy's expressions are quadratic in the length of a blank run

_OVERSIGNED = (
    b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"message-id", b"mime-version", b"content-type",
    b"content-transfer-encoding", b"list-unsubscribe", b"list-unsubscribe-post",
)  # fmt: skip
_SIGNED_WHEN_PRESENT = (
    b"sender", b"in-reply-to", b"references", b"list-id", b"list-help", b"list-subscribe", b"list-post", b"list-owner",
    b"list-archive", b"auto-submitted",
)  # fmt: skip

_SILENT = logging.getLogger("dkimpy")
_SILENT.setLevel(logging.CRITICAL + 1)  # what it would log is in our results


class KeyAlgorithm(StrEnum):
    """What a key signs with, as in the a= tag."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and where its public half is published: `selector._domainkey.domain`, both in A-labels."""

    domain: str
    selector: str
    algorithm: KeyAlgorithm
    private_pem: bytes = field(repr=False)


class CannotSign(ValueError):
    """A message whose header is not one, or a key that is not of its algorithm: nothing was signed."""


def sign(raw: bytes, keys: Sequence[SigningKey], *, now: datetime) -> bytes:
    """`raw` (CRLF line ends) with one DKIM-Signature field on top for every key, in the order of `keys` (O8).

    relaxed/relaxed, t= of `now`, no l=; the fields that matter are signed once more than they are there, so that none can be
    added (RFC 6376 §5.4). Raises CannotSign for a header without From or with a line that is no field, and for a wrong key.
    """
    fields, body = _split(raw)
    if fields is None:
        raise CannotSign("the header has a line that is no field")
    names = _names_to_sign(fields)
    if names.count(b"from") < 2:
        raise CannotSign("a message without From cannot be signed (RFC 6376 §5.4)")
    # Canonical form is stable, so the second signature finds nothing left to do.
    body = dkim.canonicalization.Relaxed.canonicalize_body(body)
    signatures = []
    with _time_is(now):
        for key in keys:
            signer = dkim.DKIM(logger=_SILENT)
            signer.headers, signer.body = fields, body
            signatures.append(
                signer.sign(
                    key.selector.encode("ascii"),
                    key.domain.encode("ascii"),
                    _private_key(key.private_pem, key.algorithm),
                    signature_algorithm=key.algorithm.value.encode("ascii"),
                    canonicalize=(b"relaxed", b"relaxed"),
                    include_headers=names,
                )
            )
    return b"".join(signatures) + raw


def verify(raw: bytes, *, now: datetime) -> Dialogue[tuple[DkimResult, ...]]:
    """The verdict on each DKIM-Signature, from the top, at most `MAX_VERIFIED`; empty when there is none. Never raises.

    Stricter than the RFC where that protects: `policy` for an l= that leaves some of the body unsigned and for RSA over
    4,096 bits, `fail` for SHA-1 and for RSA under 1,024 bits (RFC 8301).
    """
    fields, body = _split(raw)
    if fields is None:
        if not _ANY_SIGNATURE.search(raw):
            return ()
        return (_result(Verdict.PERMERROR, b"", b"", "the header has a line that is no field"),)
    signer = dkim.DKIM(logger=_SILENT, minkey=_MIN_RSA_BITS)
    signer.headers, signer.body = fields, body
    results = []
    for index, value in enumerate(
        [value for name, value in fields if name.lower() == b"dkim-signature"][:MAX_VERIFIED]
    ):
        examined = _guarded(_examine, signer, index, value, now)
        if isinstance(examined, DkimResult):
            results.append(examined)
            continue
        answer = yield Question(RecordType.TXT, examined.key_name)
        results.append(_guarded(_check, signer, index, examined, answer, now))
    return tuple(results)


@dataclass(frozen=True, slots=True)
class _Signature:
    """A DKIM-Signature that is well-formed, before its key is known."""

    domain: bytes
    selector: bytes
    key_name: str
    tags: dict[bytes, bytes]

    def ended(self, verdict: Verdict, reason: str = "") -> DkimResult:
        return _result(verdict, self.domain, self.selector, reason)


def _examine(signer: Any, index: int, value: bytes, now: datetime) -> _Signature | DkimResult:
    if len(value) > _MAX_SIGNATURE_FIELD or _LONG_BLANK.search(value) or len(signer.headers) > _MAX_FIELDS:
        return _result(Verdict.POLICY, b"", b"", "the signature or the header is longer than we look at")
    tags = dkim.util.parse_tag_value(value)
    domain, selector = tags.get(b"d", b""), tags.get(b"s", b"")
    if tags.get(b"a") == b"rsa-sha1":
        return _result(Verdict.FAIL, domain, selector, "SHA-1 is no longer a signature (RFC 8301)")
    if tags.get(b"h", b"").count(b":") > _MAX_SIGNED_NAMES:
        return _result(Verdict.POLICY, domain, selector, "too many names in h=")
    try:
        with _time_is(now):
            signer.verify_headerprep(index)
    except dkim.ValidationError as error:
        verdict = Verdict.FAIL if "x= value is past" in str(error) else Verdict.PERMERROR
        return _result(verdict, domain, selector, str(error))
    if b"from" not in [name.strip().lower() for name in tags[b"h"].split(b":")]:
        return _result(Verdict.PERMERROR, domain, selector, "From is not signed")  # RFC 6376 §6.1.1
    if b"l" in tags:
        policy = dkim.canonicalization.CanonicalizationPolicy.from_c_value(tags.get(b"c"))
        if int(tags[b"l"] or b"0") < len(policy.canonicalize_body(signer.body)):
            return _result(Verdict.POLICY, domain, selector, "l= leaves a part of the body unsigned")
    name = _key_name(selector, domain)
    if name is None:
        return _result(Verdict.PERMERROR, domain, selector, "d= or s= is not a domain name")
    return _Signature(domain, selector, name, tags)


def _check(signer: Any, index: int, signature: _Signature, answer: Answer, now: datetime) -> DkimResult:
    if answer.status is LookupStatus.TEMPORARY:
        return signature.ended(Verdict.TEMPERROR, f"the key could not be looked up: {answer.detail}")
    record = next((text for text in answer.strings if b"p=" in text), None)
    if record is None:
        return signature.ended(Verdict.PERMERROR, "there is no key at " + signature.key_name)
    refusal = _unfit(dkim.util.parse_tag_value(record), signature)
    if refusal is not None:
        return refusal
    try:
        with _time_is(now):
            passed = signer.verify(index, dnsfunc=lambda name, timeout=0: record)
    except dkim.ValidationError as error:
        changed = "body hash mismatch" in str(error)
        return signature.ended(Verdict.FAIL, "the body was changed after signing" if changed else str(error))
    if not passed:
        return signature.ended(Verdict.FAIL, "the signature does not match the header")
    return signature.ended(Verdict.PASS)


def _unfit(key: dict[bytes, bytes], signature: _Signature) -> DkimResult | None:
    """Why this key cannot serve this signature (RFC 6376 §3.6.1, §6.1.2), or None."""
    kind = key.get(b"k", b"rsa")
    wanted = signature.tags[b"a"].split(b"-")[0]
    material = base64.b64decode(re.sub(rb"\s", b"", key.get(b"p", b"")))
    identity = signature.tags.get(b"i", b"@" + signature.domain).rpartition(b"@")[2]
    flags = key.get(b"t", b"").split(b":")
    if not material:
        return signature.ended(Verdict.PERMERROR, "the key was revoked")
    if kind != wanted:
        return signature.ended(Verdict.PERMERROR, "the key is of another algorithm")
    if b"h" in key and b"sha256" not in [name.strip() for name in key[b"h"].split(b":")]:
        return signature.ended(Verdict.PERMERROR, "the key does not allow SHA-256")
    if b"s" in key and not {b"*", b"email"} & {name.strip() for name in key[b"s"].split(b":")}:
        return signature.ended(Verdict.PERMERROR, "the key is not for mail")
    if b"s" in [flag.strip() for flag in flags] and identity.lower() != signature.domain.lower():
        return signature.ended(Verdict.PERMERROR, "the key does not allow i= of a subdomain")
    if kind == b"rsa":
        public = dkim.crypto.parse_public_key(material)
        if public["modulus"].bit_length() < _MIN_RSA_BITS:
            return signature.ended(Verdict.FAIL, "the RSA key is under 1024 bits (RFC 8301)")
        if public["modulus"].bit_length() > _MAX_RSA_BITS or public["publicExponent"] > _MAX_EXPONENT:
            return signature.ended(Verdict.POLICY, "the RSA key is larger than we compute with")
    return None


def _guarded(step: Any, signer: Any, index: int, *rest: Any) -> Any:
    """A step's result; permerror whatever dkimpy raises (IndexError and others for hostile bytes, P14)."""
    try:
        return step(signer, index, *rest)
    except Exception as error:  # noqa: BLE001 (its parsers raise whatever Python raises)
        found = next((part for part in rest if isinstance(part, _Signature)), None)
        reason = f"not a signature that can be read: {error}"
        return found.ended(Verdict.PERMERROR, reason) if found else _result(Verdict.PERMERROR, b"", b"", reason)


def _result(verdict: Verdict, domain: bytes, selector: bytes, reason: str) -> DkimResult:
    printable = "".join(char if " " <= char <= "~" else "?" for char in reason)[:200]
    return DkimResult(verdict, _name(domain) or "", _name(selector) or "", printable)


_LABELS = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


@lru_cache(maxsize=1024)
def _name(name: bytes) -> str | None:
    """Lower-case A-labels of a d= or s= value (RFC 8616 lets it be Unicode), or None."""
    try:
        text = name.decode()
        text = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except ValueError:
        return None
    return text if len(text) <= 253 and _LABELS.fullmatch(text) else None


def _key_name(selector: bytes, domain: bytes) -> str | None:
    names = _name(selector), _name(domain)
    return f"{names[0]}._domainkey.{names[1]}" if names[0] and names[1] and "." in names[1] else None


_END_OF_HEADER = re.compile(rb"(?:\A|\n)\r?\n")
_ANY_SIGNATURE = re.compile(rb"(?im)^dkim-signature:")
_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+):")


def _split(raw: bytes) -> tuple[list[list[bytes]] | None, bytes]:
    """Fields as [name, value with CRLF] and the body, as dkimpy has them; None for fields that are none.

    dkimpy's own splitting takes time quadratic in the length of a folded field.
    """
    end = _END_OF_HEADER.search(raw)
    head, body = (raw[: end.start()], raw[end.end() :]) if end else (raw, b"")
    if body.count(b"\n") != body.count(b"\r\n"):
        body = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    fields: list[tuple[bytes, list[bytes]]] = []
    for line in head.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n") if head else ():
        match = _FIELD.match(line)
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line)
        elif match:
            fields.append((match[1], [line[match.end() :]]))
        elif not line.startswith(b"From "):
            return None, body
    return [[name, b"\r\n".join([*lines, b""])] for name, lines in fields], body


def _names_to_sign(fields: list[list[bytes]]) -> list[bytes]:
    present = [name.lower() for name, _ in fields]
    names = [name for name in present if name in _OVERSIGNED or name in _SIGNED_WHEN_PRESENT]
    return [*names, *_OVERSIGNED]


# What is replaced in dkimpy, once, for the whole process.

_now: ContextVar[float | None] = ContextVar("dkim_now", default=None)


@contextmanager
def _time_is(now: datetime) -> Iterator[None]:
    token = _now.set(now.timestamp())
    try:
        yield
    finally:
        _now.reset(token)


class _Time:
    """Stands in for the module `time` inside dkimpy: the time is what our caller said."""

    @staticmethod
    def time() -> float:
        given = _now.get()
        return time.time() if given is None else given


@lru_cache(maxsize=256)
def _private_key(pem: bytes, algorithm: KeyAlgorithm) -> Any:
    """What dkimpy's `sign` takes for a key: OpenSSL's for RSA, the seed in base 64 for Ed25519. Raises CannotSign."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise CannotSign("the private key is not one in PEM") from error
    match algorithm, key:
        case KeyAlgorithm.RSA, RSAPrivateKey():
            return key
        case KeyAlgorithm.ED25519, Ed25519PrivateKey():
            return base64.b64encode(key.private_bytes_raw())
        case _:
            raise CannotSign(f"the private key is not for {algorithm}")


def _parse_private_key(data: Any) -> Any:
    if isinstance(data, RSAPrivateKey):
        return data
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise dkim.UnparsableKeyError(str(error)) from error


def _sign_digest(digest: Any, key: Any) -> bytes:
    signature: bytes = key.sign(digest.digest(), PKCS1v15(), Prehashed(SHA1() if digest.name == "sha1" else SHA256()))  # noqa: S303 (dkimpy can still be asked for it; we never do)
    return signature


dkim.time = _Time
dkim.parse_pem_private_key = _parse_private_key
dkim.RSASSA_PKCS1_v1_5_sign = _sign_digest
dkim.canonicalization.compress_whitespace = canonical.collapse_blanks
dkim.canonicalization.strip_trailing_whitespace = canonical.strip_line_ends
dkim.canonicalization.strip_trailing_lines = canonical.strip_empty_lines
