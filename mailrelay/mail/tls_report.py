"""TLS reports, written: who wants one, the JSON of a day, and the mail that carries it (RFC 8460)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from mailrelay.mail import dates
from mailrelay.mail.addresses import format_mailbox
from mailrelay.mail.compose import Person, base64_lines
from mailrelay.mail.headers import encode_field
from mailrelay.model.address import Address
from mailrelay.model.tls_report import ResultType, TlsCount, TlsPolicy
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.smtp.escape import escape

MEDIA_TYPE = "application/tlsrpt+gzip"
_VERSION = b"v=TLSRPTv1"
_MAX_RECORD = 4_096
_MAX_URIS = 4
_MAX_URI = 1_000
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{1,62}", re.ASCII)
"""A name, not an address: whose certificate could be checked, and whose address is judged."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOf:
    """What a report says of itself. `start` is the beginning of its day in UTC."""

    destination: str
    start: datetime
    organisation: str
    contact: str
    """A mail address at which somebody answers questions."""
    submitter: str
    """The domain that signs it."""

    @property
    def id(self) -> str:
        """The same for the same day, destination and submitter."""
        about = f"{self.submitter} {self.destination} {self.start.isoformat()}"
        return f"{self.start:%Y-%m-%d}.{hashlib.sha256(about.encode()).hexdigest()[:16]}@{self.submitter}"

    @property
    def end(self) -> datetime:
        """The last second of its day."""
        return self.start + _DAY - timedelta(seconds=1)

    @property
    def filename(self) -> str:
        """As RFC 8460 §5.1 spells it."""
        start, end = int(self.start.timestamp()), int(self.end.timestamp())
        return f"{self.submitter}!{self.destination}!{start}!{end}!001.json.gz"


def wanted(records: Sequence[bytes]) -> tuple[str | Address, ...]:
    """Who wants reports, by the TXT records at `_smtp._tls.DOMAIN`: addresses, and https URLs; empty when nobody does.

    What is no such record, and URIs of other kinds, are passed over. RFC 8460 §3: two records are as good as none.
    """
    # RFC 8460 §3: others that happen to be at this name are discarded.
    ours = [one for one in records if one.partition(b";")[0].rstrip() == _VERSION]
    if len(ours) != 1 or len(ours[0]) > _MAX_RECORD or not ours[0].isascii():
        return ()
    for field in ours[0].decode("ascii").split(";")[1:]:
        name, _, value = field.partition("=")
        if name.strip().lower() == "rua":
            found = [_endpoint(uri.strip()) for uri in value.split(",")[:_MAX_URIS]]
            return tuple(dict.fromkeys(one for one in found if one is not None))
    return ()


def document(about: ReportOf, counts: Sequence[TlsCount]) -> bytes:
    """The report as JSON, RFC 8460 §4.4."""
    policies: dict[TlsPolicy, list[TlsCount]] = {}
    for one in counts:
        policies.setdefault(one.result.policy, []).append(one)
    value = {
        "organization-name": about.organisation,
        "date-range": {"start-datetime": _time(about.start), "end-datetime": _time(about.end)},
        "contact-info": about.contact,
        "report-id": about.id,
        "policies": [_policy(policy, some) for policy, some in policies.items()],
    }
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def packed(report: bytes) -> bytes:
    """The JSON as it is sent (RFC 8460 §5.2); the same bytes for the same report."""
    return gzip.compress(report, mtime=0)


def write(about: ReportOf, report: bytes, *, to: Address, from_: Person, at: datetime) -> bytes:
    """The mail that carries a packed report (RFC 8460 §5.3), every line ended by CRLF; not yet signed."""
    start = f"{about.start:%Y-%m-%d}"
    text = (
        f"This is the report of {escape(about.organisation)} on TLS with {about.destination} on {start} (UTC), "
        "for\r\nprograms to read, by RFC 8460. You get it because the record at\r\n"
        f"_smtp._tls.{about.destination} asks for it.\r\n"
    )
    text_part = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    disposition = encode_field("Content-Disposition", f'attachment; filename="{about.filename}"')
    parts = (
        text_part + base64_lines(text.encode()),
        f"Content-Type: {MEDIA_TYPE}\r\nContent-Transfer-Encoding: base64\r\n".encode()
        + disposition
        + b"\r\n"
        + base64_lines(report),
    )
    boundary = f"=_{hashlib.sha256(report).hexdigest()[:40]}"  # `=_` stands in no base64
    kind = f'multipart/report; report-type="tlsrpt"; boundary="{boundary}"'
    subject = f"Report Domain: {about.destination} Submitter: {about.submitter} Report-ID: <{about.id}>"
    fields = (
        encode_field("From", format_mailbox(from_.name, from_.address), structured=True),
        encode_field("To", format_mailbox("", to), structured=True),
        encode_field("Subject", subject),
        encode_field("Date", dates.write(at)),
        encode_field("Message-ID", f"<{about.id}>"),
        encode_field("TLS-Report-Domain", about.destination),
        encode_field("TLS-Report-Submitter", about.submitter),
        b"TLS-Required: No\r\n",  # RFC 8689 §5: it tells of TLS that fails, so it must arrive without
        b"Auto-Submitted: auto-generated\r\n",
        b"MIME-Version: 1.0\r\n",
        encode_field("Content-Type", kind),
    )
    marked = b"".join(b"\r\n--%s\r\n%s" % (boundary.encode(), part) for part in parts)
    return b"".join(fields) + marked + f"\r\n--{boundary}--\r\n".encode()


def _endpoint(uri: str) -> str | Address | None:
    if len(uri) > _MAX_URI:
        return None
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "mailto":
        try:
            return parse_address(unquote(rest.partition("?")[0], errors="strict"))
        except (BadAddress, UnicodeDecodeError):
            return None
    if scheme.lower() == "https" and uri.isascii() and uri.isprintable():
        try:
            parts = urlsplit(uri)
            named = _HOST.fullmatch(parts.hostname or "") is not None
            return uri if named and parts.username is None and parts.port in (None, 443) else None
        except ValueError:
            return None
    return None


def _policy(policy: TlsPolicy, counts: Sequence[TlsCount]) -> dict[str, Any]:
    failed = [one for one in counts if one.result.result is not ResultType.SUCCESS]
    failures = sum(one.sessions for one in failed)
    return {
        "policy": {
            "policy-type": policy.type,
            **({"policy-string": list(policy.strings)} if policy.strings else {}),
            "policy-domain": policy.domain,
            **({"mx-host": list(policy.mx_patterns)} if policy.mx_patterns else {}),
        },
        "summary": {
            "total-successful-session-count": sum(one.sessions for one in counts) - failures,
            "total-failure-session-count": failures,
        },
        **({"failure-details": [_failure(one) for one in failed]} if failed else {}),
    }


def _failure(one: TlsCount) -> dict[str, Any]:
    result = one.result
    said = {
        "sending-mta-ip": result.source_ip,
        "receiving-mx-hostname": result.mx_host,
        "receiving-mx-helo": result.helo,
        "receiving-ip": result.ip,
        "failure-reason-code": result.detail,
    }
    known = {name: value for name, value in said.items() if value}
    return {"result-type": result.result, **known, "failed-session-count": one.sessions}


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"
