"""Which addresses are ours, so that mail does not go round in circles (N06)."""

from __future__ import annotations

import ipaddress

import pytest

from mailrelay.config.schema import Delivery, Listener, ListenerKind
from mailrelay.outbound.interfaces import addresses, ours

HERE = frozenset({"127.0.0.1", "::1", "192.0.2.5", "2001:db8::5"})
AT_HOME = {"192.0.2.5", "2001:db8::5"}


def edge(host: str, port: int = 25) -> Listener:
    return Listener(kind=ListenerKind.EDGE, host=host, port=port)


@pytest.mark.parametrize(
    ("listeners", "more"),
    [
        ([], set()),
        ([edge("127.0.0.1", 2525)], set()),
        ([edge("127.0.0.1")], {"127.0.0.1"}),
        ([edge("0.0.0.0")], {"127.0.0.1"}),
        ([edge("::")], {"127.0.0.1", "::1"}),
        ([Listener(kind=ListenerKind.SUBMISSION, host="127.0.0.1", port=25)], set()),
    ],
)
def test_loopback_is_ours_only_where_we_listen_on_the_port_that_mail_goes_to(listeners: list[Listener], more: set[str]):
    assert ours(Delivery(), listeners, HERE) == AT_HOME | more


def test_the_configuration_adds_what_the_machine_cannot_know():
    assert ours(Delivery(own_addresses=("198.51.100.7",)), [], frozenset()) == {"198.51.100.7"}


def test_this_machine_has_addresses():
    found = addresses()
    assert {"127.0.0.1", "::1"} <= found
    assert all(ipaddress.ip_address(one) for one in found)
