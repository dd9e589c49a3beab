"""How far hosts that users name may be: smart hosts and their token endpoints, and later mailboxes (W03)."""

from __future__ import annotations

from mailrelay.config.schema import Delivery
from mailrelay.model.reach import Reach


def of_users_hosts(settings: Delivery) -> Reach:
    """The world, and what the operator's settings allow beside it."""
    return Reach.of(settings.smart_host_networks, http=settings.allow_private, everywhere=settings.allow_private)
