"""All hits of a delivery, judged by the rules of `tracking.agent` (K1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mailrelay.model.hit import By, HitKind, Judged, RawHit

_MACHINES = ("HEAD",)


def judge_all(hits: Sequence[RawHit], sent_at: datetime | None) -> Sequence[Judged]:
    """A verdict for each hit of one delivery, which came oldest first; see `model.hit.JudgeAll`."""
    return [
        Judged(by=By.MACHINE, reasons=("method",), rules=0)
        if hit.method in _MACHINES or hit.kind is HitKind.DECOY
        else Judged(by=By.PERSON, reasons=(), rules=0)
        for hit in hits
    ]
