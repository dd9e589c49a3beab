"""Whether the certificates that a host shows are those its TLSA records name (RFC 6698 §2.1, RFC 7671, RFC 7672 §3)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailrelay.outbound.connection import Unproved
from mailrelay.outbound.policy.tls import Tlsa, bears

_MAX_CHAIN = 10
_ENCODING_DER = 2  # of OpenSSL's binding, which has no public name for it before Python 3.13


@dataclass(frozen=True, slots=True)
class Anchor:
    """A certificate of the chain that a DANE-TA record names: it must be shown to have issued the host's (RFC 7672 §3.1.1)."""

    der: bytes
    by: Tlsa


def sent_chain(session: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the other end sent, its own first, as DER; nothing has been checked of them."""
    sent: Sequence[Any] | None
    if hasattr(session, "get_unverified_chain"):  # public from Python 3.13 on
        sent = session.get_unverified_chain()
    else:
        # Before, the same method is there, one layer down. Where some other Python lacks it, the host's own certificate is left:
        # DANE-EE is judged as ever, DANE-TA does not match, and what does not match is not sent to.
        below: Any = getattr(session, "_sslobj", None)
        sent = below.get_unverified_chain() if hasattr(below, "get_unverified_chain") else None
    if sent is None:
        own = session.getpeercert(binary_form=True)
        return (own,) if own else ()
    return tuple(one if isinstance(one, bytes) else _der(one) for one in sent[:_MAX_CHAIN])


def judge(records: Sequence[Tlsa], chain: Sequence[bytes]) -> Tlsa | Anchor:
    """The DANE-EE record that names the host's own certificate, which proves it; or the anchor that is yet to be verified.

    DANE-EE looks neither at names nor at dates (RFC 7672 §3.1.1). Raises Unproved.
    """
    if not chain:
        raise Unproved("DANE: the server showed no certificate")
    for record in records:
        if record.usage == 3 and _matches(record, chain[0]):
            return record
    for record in records:
        if record.usage == 2:
            for der in chain:
                if _matches(record, der):
                    return Anchor(der, record)
    raise Unproved("DANE: no TLSA record matches the certificates that the server showed")


def trusting(anchor: Anchor) -> ssl.SSLContext:
    """A context that takes what the anchor issued, and nothing else. Names are left to `verified`."""
    context = ssl.create_default_context(cadata=anchor.der)
    context.check_hostname = False  # one name only could be told to it
    # The anchor may itself have been issued by somebody else, who need not be known.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def verified(anchor: Anchor, names: Sequence[str], session: ssl.SSLObject) -> str:
    """`Guard.prove` of a session whose handshake trusted the anchor only: the certificate must be for one of `names`, too.

    Raises Unproved (RFC 7672 §3.2.2).
    """
    shown: dict[str, Any] = session.getpeercert() or {}
    presented = [str(value) for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"]
    if not presented:
        presented = [str(value) for part in shown.get("subject", ()) for kind, value in part if kind == "commonName"][
            -1:
        ]  # RFC 6125 §6.4.4: only a certificate without such names is known by its common name
    if not bears(presented, names):
        raise Unproved(f"DANE: the certificate is not for {' or '.join(names)}")
    return proved_by(anchor.by)


class Look:
    """`Guard.prove` of a connection whose certificates are only looked at: what they are, TLSA records say."""

    def __init__(self, records: Sequence[Tlsa]) -> None:
        self.anchor: Anchor | None = None
        """Found, and yet to be verified by another handshake: this one is given up."""
        self._records = records

    def __call__(self, session: ssl.SSLObject) -> str:
        """What proves the host. Raises Unproved."""
        judged = judge(self._records, sent_chain(session))
        if isinstance(judged, Anchor):
            self.anchor = judged
            raise Unproved("DANE: the anchor is yet to be verified")
        return proved_by(judged)


def proved_by(record: Tlsa) -> str:
    """The proof in words."""
    return f"proved by DANE ({record.usage} {record.selector} {record.matching})"


def _matches(record: Tlsa, der: bytes) -> bool:
    selected = public_key_info(der) if record.selector == 1 else der
    match record.matching:
        case 0:
            return record.data == selected
        case 1:
            return record.data == hashlib.sha256(selected).digest()
        case _:
            return record.data == hashlib.sha512(selected).digest()


def public_key_info(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate (RFC 5280 §4.1), octet for octet: a library would write it anew.

    b"" where there is none to be found.
    """
    tag, at, _ = _element(der, 0)  # Certificate
    if tag == 0x30:
        tag, at, _ = _element(der, at)  # tbsCertificate
    skipped = 0
    while 0 <= at < len(der):
        tag, _, end = _element(der, at)
        if end <= at or end > len(der):
            return b""
        if tag != 0xA0:  # the version may be left out
            if skipped == 5:  # serialNumber, signature, issuer, validity, subject
                return der[at:end]
            skipped += 1
        at = end
    return b""


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin of the value and end of the DER element at `at`; an end of 0 when there is none."""
    head = der[at : at + 6]
    if len(head) < 2:
        return 0, len(der), 0
    size, length = 0, head[1]
    if length >= 0x80:
        size = length - 0x80
        length = int.from_bytes(head[2 : 2 + size])
        if not 1 <= size <= 4:
            return 0, len(der), 0
    return head[0], at + 2 + size, at + 2 + size + length


def _der(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(_ENCODING_DER))
