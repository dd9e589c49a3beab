"""Which addresses are the world's, and which are somebody's own network (N06, W02)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_ALLOTTED = ipaddress.IPv6Network("2000::/3")
"""All that is handed out to the world; the rest is local, or not yet anybody's."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_THE_WORLD_S = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # answers the machines of one cloud with their metadata, though it looks like the world's
        "192.0.0.0/24",  # of protocols, and of one cloud's metadata
        "192.88.99.0/24",  # relays of 6to4: whoever is nearest
        "3fff::/20",  # for examples
    )
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_public(ip: str) -> bool:
    """Whether `ip` is an address of the world: not private, loopback, link-local, multicast or reserved; False for no address.

    An IPv6 address that carries an IPv4 address (mapped, 6to4, Teredo, NAT64, ISATAP) is judged by that one too.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return _is_world_s(address)
    if address.scope_id is not None:
        return False
    carried = list(_carried(address))
    if address.ipv4_mapped is not None or address in _NAT64:
        return all(map(_is_world_s, carried))
    # Of Teredo and 6to4 Python says that they are not the world's; whom they lead to decides.
    passed_on = address.sixtofour is not None or address.teredo is not None
    return address in _ALLOTTED and (passed_on or _is_world_s(address)) and all(map(_is_world_s, carried))


def _is_world_s(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in each for each in _NOT_THE_WORLD_S)


def _carried(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets for it may come out at."""
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        yield low
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield low
