"""MTA-STS: the policy of a recipient domain, as its text says it (RFC 8461)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_VERSION = "STSv1"
_MAX_MAX_AGE = 31_557_600  # RFC 8461 §3.2: about a year
_MAX_PATTERNS = 200
_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class BadPolicy(ValueError):
    """The text is no MTA-STS policy."""


class Mode(StrEnum):
    """What is asked of senders."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy; `mx` are lower-case host names, or `*.` and a domain."""

    mode: Mode
    max_age: timedelta
    mx: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """It as text, for reports (RFC 8460 §4.2)."""
        patterns = (f"mx: {pattern}" for pattern in self.mx)
        return (
            f"version: {_VERSION}",
            f"mode: {self.mode}",
            *patterns,
            f"max_age: {int(self.max_age.total_seconds())}",
        )

    def covers(self, host: str) -> bool:
        """Whether an MX host may take mail under it (RFC 8461 §4.1)."""
        host = host.rstrip(".").lower()
        # `*` stands for one whole label on the left: `*.example.net` is neither example.net nor a.b.example.net.
        _, dot, parent = host.partition(".")
        return any(pattern in (host, f"*{dot}{parent}" if dot else host) for pattern in self.mx)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPolicy:
    """A policy that was fetched, and for how long it holds."""

    domain: str
    id: str
    """Of the TXT record that announced it."""
    policy: Policy
    fetched_at: datetime

    @property
    def expires_at(self) -> datetime:
        """From then on it is as if there were none."""
        return self.fetched_at + self.policy.max_age


def read_record(strings: Sequence[bytes]) -> str | None:
    """The id in the TXT records of `_mta-sts.DOMAIN`; None when they announce no policy (RFC 8461 §3.1)."""
    announced = [text for text in strings if text.partition(b";")[0].strip() == b"v=STSv1"]
    if len(announced) != 1:
        return None  # RFC 8461 §3.1: none or several are as good as no MTA-STS
    for part in announced[0].split(b";")[1:]:
        name, _, value = part.partition(b"=")
        if name.strip() == b"id":
            text = value.strip().decode("latin-1")
            return text if 1 <= len(text) <= 32 and set(text) <= _ID else None
    return None


def read_policy(data: bytes) -> Policy:
    """The policy in a policy file (RFC 8461 §3.2). Raises BadPolicy with what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPolicy("it is not UTF-8") from None
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if not colon:
            raise BadPolicy("a line has no colon")
        if name == "mx":
            patterns.append(_pattern(value))
        else:
            fields.setdefault(name, value)  # RFC 8461 §3.2: of what stands twice, the first counts
    if fields.get("version") != _VERSION:
        raise BadPolicy(f"its version is not {_VERSION}")
    if (mode := fields.get("mode")) not in tuple(Mode):
        raise BadPolicy("its mode is none of enforce, testing and none")
    age = fields.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise BadPolicy("its max_age is not a number of up to ten digits")
    if not patterns and mode != Mode.NONE:
        raise BadPolicy("it names no mx")
    if len(patterns) > _MAX_PATTERNS:
        raise BadPolicy(f"it names more than {_MAX_PATTERNS} mx")
    return Policy(mode=Mode(mode), max_age=timedelta(seconds=min(int(age), _MAX_MAX_AGE)), mx=tuple(patterns))


def _pattern(text: str) -> str:
    pattern = text.rstrip(".").lower()
    host = pattern.removeprefix("*.")
    if not host or len(host) > 253 or not set(host) <= _HOST or ".." in host or host.startswith("."):
        raise BadPolicy("an mx is neither a host name nor *. and a domain")
    return pattern
