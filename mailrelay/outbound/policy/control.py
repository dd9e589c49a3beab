"""What may be done to a delivery as it stands (R3)."""

from __future__ import annotations

from mailrelay.model.delivery import HELD_BY_HAND, POISON, UNCONFIRMED, DeliveryState
from mailrelay.model.operation import Control

UNDER_WAY = str(DeliveryState.SENDING)
"""How a delivery is counted that is left because it is being attempted."""
_WAITING = frozenset({DeliveryState.QUEUED, DeliveryState.SCHEDULED})


def left_as(control: Control, state: DeliveryState, held_by: str, *, again: bool) -> str:
    """How a delivery is counted that this control leaves alone: its state, or what holds it; "" for one that it changes.

    `again`: what may have arrived may be released, and sent once more.
    """
    return "" if _applies(control, state, held_by, again=again) else _name(state, held_by)


def _applies(control: Control, state: DeliveryState, held_by: str, *, again: bool) -> bool:
    held = state is DeliveryState.HELD
    match control:
        case Control.HOLD:
            return state in _WAITING
        case Control.RETRY:
            return state is DeliveryState.QUEUED
        case Control.CANCEL | Control.BOUNCE:
            return state in _WAITING or held
        case Control.CONFIRM:
            return held and held_by == UNCONFIRMED
        case Control.RELEASE:
            # What a suspension holds goes with its resumption, and would only be held again.
            return held and (held_by in (HELD_BY_HAND, POISON) or (held_by == UNCONFIRMED and again))


def _name(state: DeliveryState, held_by: str) -> str:
    return f"held by {held_by}" if state is DeliveryState.HELD and held_by else str(state)
