"""What the author of a mass of mail calls it, so that its rates are watched, and it is stopped, by itself (O17, O18)."""

from __future__ import annotations

from mailrelay.errors import Invalid
from mailrelay.mail.headers import HeaderBlock

JOB_FIELD = "X-Mailrelay-Job"
LONGEST_JOB = 64


def take_job(raw: bytes) -> tuple[bytes, str]:
    """The mail without its job field, and the job; "" without one. Raises Invalid for one that is no name, or stands twice."""
    head_end = raw.find(b"\r\n\r\n")
    if JOB_FIELD.lower().encode() not in raw[: head_end if head_end >= 0 else len(raw)].lower():
        return raw, ""
    block = HeaderBlock.parse(raw)
    jobs = block.all(JOB_FIELD)
    if not jobs:
        return raw, ""
    if len(jobs) > 1:
        raise Invalid(JOB_FIELD, "stands more than once")
    return block.without((JOB_FIELD,)).join(raw), checked_job(jobs[0], JOB_FIELD)


def checked_job(name: str, path: str) -> str:
    """The name, or Invalid at `path`."""
    if not 1 <= len(name) <= LONGEST_JOB or not name.isprintable() or name != name.strip():
        raise Invalid(path, f"must be 1 to {LONGEST_JOB} printable characters, without a space at either end")
    return name
