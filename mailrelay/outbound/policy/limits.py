"""Sizes and counts that a submission must keep to (O4), checked before anything is queued."""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.errors import TooLarge, TooMany
from mailrelay.model.settings import Plan

MEGABYTE = 1_000_000
MAX_DOCUMENTS = 5
_TEXT = 1_900_000
"""What text, header and structure may take beside the attachments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one submission may carry, in bytes; `because` is where the limit comes from, for the sentence."""

    attachments: int
    because: str

    @property
    def total(self) -> int:
        """The whole mail: base 64 makes attachments 1.37 times as long (standards §4)."""
        return self.attachments * 137 // 100 + _TEXT


def limits(plan: Plan, *, relayed: bool) -> Limits:
    """O4: 30 MB when another server carries the mail (`relayed`), whatever the plan; else 10 MB, and 3 MB on the free plan."""
    if relayed:
        return Limits(attachments=30 * MEGABYTE, because="through this mail server")
    if plan is Plan.FREE:
        return Limits(attachments=3 * MEGABYTE, because="on the free plan")
    return Limits(attachments=10 * MEGABYTE, because="by direct delivery")


def check(found: Limits, *, attachments: int, total: int, documents: int) -> None:
    """Raises TooLarge or TooMany, with the limit and the figure in the sentence. Sizes in bytes, attachments decoded."""
    if attachments > found.attachments:
        raise TooLarge(
            f"The attachments have {_megabytes(attachments)}, more than the {_megabytes(found.attachments)} possible "
            f"{found.because}; send fewer or smaller ones, or a link",
            limit=found.attachments,
            size=attachments,
        )
    if total > found.total:
        raise TooLarge(
            f"The mail has {_megabytes(total)}, more than the {_megabytes(found.total)} possible {found.because}; "
            "shorten it or send a link",
            limit=found.total,
            size=total,
        )
    if documents > MAX_DOCUMENTS:
        raise TooMany(
            f"{documents} documents are linked, more than the {MAX_DOCUMENTS} possible in one mail",
            limit=MAX_DOCUMENTS,
            count=documents,
        )


def _megabytes(size: int) -> str:
    """`10 MB`, or with so many decimals that a size just over a limit never reads like the limit."""
    whole, rest = divmod(size, MEGABYTE)
    return f"{whole}{f'.{rest:06d}'.rstrip('0') if rest else ''} MB"
