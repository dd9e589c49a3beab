"""What pure code asks of DNS: it yields a Question and is sent an Answer (`dns.resolver.ask` does the asking)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar


class RecordType(StrEnum):
    """The DNS record types that mailrelay asks for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    PTR = "PTR"
    TLSA = "TLSA"
    TXT = "TXT"


class LookupStatus(StrEnum):
    """How a question ended; `TEMPORARY` is SERVFAIL, a time-out, a lame or bogus answer: ask again later (N07)."""

    FOUND = "found"
    EMPTY = "empty"  # the name exists, without records of this type
    NO_NAME = "no_name"  # NXDOMAIN
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class Question:
    """One DNS question; `name` is in A-labels, without a trailing dot."""

    type: RecordType
    name: str


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One MX record: `host` lower-case without a trailing dot, empty for the null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    `texts` holds A and AAAA addresses, CNAME and PTR names; `strings` holds TXT records, their character-strings joined;
    `mx` holds MX records in the order received. `secure` is the AD bit of a resolver that is trusted to validate.
    """

    status: LookupStatus
    texts: tuple[str, ...] = ()
    strings: tuple[bytes, ...] = ()
    mx: tuple[MxRecord, ...] = ()
    canonical: str = ""  # the name after CNAMEs
    secure: bool = False
    detail: str = ""  # why, when TEMPORARY


T = TypeVar("T")
Dialogue = Generator[Question, Answer, T]
"""Pure code that needs DNS: a generator that yields questions and returns its result."""
