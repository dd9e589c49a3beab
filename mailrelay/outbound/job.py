"""What the author of a mass of mail calls it, so that its rates are watched, and it is stopped, by itself (O17, O18)."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.outbound.own_field import take_field

JOB_FIELD = "X-Mailrelay-Job"
LONGEST_JOB = 64


def take_job(raw: bytes) -> tuple[bytes, str]:
    """The mail without its job field, and the job; "" without one. Raises Invalid for one that is no name, or stands twice."""
    left, said = take_field(raw, JOB_FIELD)
    return left, "" if said is None else checked_job(said, JOB_FIELD)


def checked_job(name: str, path: str) -> str:
    """The name, or Invalid at `path`."""
    if not 1 <= len(name) <= LONGEST_JOB or not name.isprintable() or name != name.strip():
        raise Invalid(path, f"must be 1 to {LONGEST_JOB} printable characters, without a space at either end")
    return name
