"""Deliveries that somebody wants stopped while their attempt is under way: their final dot is not sent any more (Q06)."""

from __future__ import annotations

from collections.abc import Iterable

from mailrelay.errors import Unavailable
from mailrelay.ids import DeliveryId


class Withdrawn(Unavailable):
    """It was held, cancelled or returned while it was being sent; raised before the final dot, so that it is put off instead."""


class Stops:
    """What this process knows of them; `operate.Operator` keeps it up to date, within a second of the request."""

    def __init__(self) -> None:
        self._asked: frozenset[DeliveryId] = frozenset()

    def replace(self, asked: Iterable[DeliveryId]) -> None:
        """These, and no others."""
        self._asked = frozenset(asked)

    def check(self, ids: Iterable[DeliveryId]) -> None:
        """Raises Withdrawn when one of these is to be stopped; the others that share its transaction are put off with it."""
        if not self._asked.isdisjoint(ids):
            raise Withdrawn("somebody stopped it while it was being sent")
