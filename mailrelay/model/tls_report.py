"""What each session with a destination says of its TLS, and the counts of a day that its owner may be told (O11, RFC 8460)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class PolicyType(StrEnum):
    """The kind of policy that a session was held to (RFC 8460 §4.2)."""

    STS = "sts"
    TLSA = "tlsa"
    NONE = "no-policy-found"


class ResultType(StrEnum):
    """How a session fared (RFC 8460 §4.3); SUCCESS is ours, the report only counts it."""

    SUCCESS = "success"
    # Negotiation
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    # DANE
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    # MTA-STS
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """The policy that applied to a destination when it was asked."""

    type: PolicyType
    domain: str
    """The recipient domain for MTA-STS and for none; for DANE the domain of the TLSA base (RFC 8460 §4.2)."""
    strings: tuple[str, ...] = ()
    """Its text: the lines of the MTA-STS policy, or the TLSA records; empty where there is none."""
    mx_patterns: tuple[str, ...] = ()
    """The `mx` patterns of an MTA-STS policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsResult:
    """One session's TLS, as far as it came. A policy that could not be had is a result without a host."""

    destination: str
    """The recipient domain (or smart host) in A-labels: whose owner is told, by the TLSRPT record of this name."""
    policy: TlsPolicy
    result: ResultType
    mx_host: str = ""
    ip: str = ""
    """Of the receiving host."""
    source_ip: str = ""
    """Our own address in that session."""
    helo: str = ""
    """What the receiving host called itself in its banner, where it is not `mx_host`."""
    detail: str = ""
    """The failure in a few words, for `failure-reason-code`."""


class TlsWitness(Protocol):
    """Whoever counts sessions."""

    def saw(self, result: TlsResult) -> None:
        """Note a session. Returns at once and raises nothing; it is kept within seconds (a crash may lose those)."""
        ...


class Unseen:
    """A witness that notes nothing: for the sessions that deliver the reports themselves (RFC 8460 §3)."""

    def saw(self, result: TlsResult) -> None:
        """See `TlsWitness.saw`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCount:
    """How many sessions of a day (days since 1970, UTC) ended alike."""

    day: int
    result: TlsResult
    sessions: int


class ReportState(StrEnum):
    """How far the report of a day to a destination came. There is one try: what is not SENT stays so."""

    BEGUN = "begun"  # being sent, or the process died in it
    SENT = "sent"
    UNWANTED = "unwanted"  # the destination publishes no address for reports
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReport:
    """The report of a day to a destination."""

    day: int
    destination: str
    state: ReportState
    begun_at: datetime
    sent_to: str = ""
    """The `rua` that took it."""
    detail: str = ""
    """Why it was not sent."""
