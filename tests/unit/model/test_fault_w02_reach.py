"""No URL of a user leads inside, however it is written (W02)."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.network import is_public
from mailrelay.model.reach import BadUrl, Reach

WORLD = Reach()
CLEAR = Reach(http=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0X7F.0.0.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://1.0x/",
        "https://127.0.0.1./",
        "https://127.0.0.1:443/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[2001:0:7f00:1::1]/",
        "https://[2001:0:808:808:0:0:80ff:fffe]/",
        "https://[2606:2800:220:1:0:5efe:127.0.0.1]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fec0::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
        "https://[5f00::1]/",
        "https://[3fff::1]/",
        "https://0.0.0.0/",
        "https://0.1.2.3/",
        "https://10.1.2.3/",
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://169.254.169.254/latest/meta-data/",
        "https://172.16.0.1/",
        "https://192.0.0.192/",
        "https://192.168.1.1/",
        "https://198.18.0.1/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://crm.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://intranet/",
        "https://crm.example./",
        "https://user@crm.example/",
        "https://user:pw@crm.example/",
        "https://crm.example@127.0.0.1/",
        "https://crm.example%40127.0.0.1/",
        "https://crm.example\\@127.0.0.1/",
        "https://crm.example#@127.0.0.1/",
        "https://crm.example/#x",
        "https:///127.0.0.1/",
        "https:127.0.0.1",
        "//127.0.0.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://ⓛocalhost/",
        "https://bücher.example/",
        "https://crm.exam\nple/",
        " https://crm.example/",
        "https://crm.example/\r\nX-Evil: 1",
        "https://crm.example/a b",
        "https://crm..example/",
        "https://-crm.example/",
        "https://%31%32%37.0.0.1/",
        "https://[::1/",
        "https://[1.2.3.4]/",
        "https://crm.example:25/",
        "https://crm.example:80/",
        "https://crm.example:22/",
        "https://crm.example:0/",
        "https://crm.example:65536/",
        "https://crm.example:2525/",
        "https://crm.example:6379/",
        "http://crm.example/",
        "file:///etc/passwd",
        "gopher://crm.example/",
        "javascript:alert(1)",
        "https://" + "a" * 64 + ".example/",
        "https://crm.example/" + "a" * 2000,
        "",
    ],
)
def test_fault_w02_a_url_that_leads_inside_or_is_written_to_deceive_is_refused(url: str):
    with pytest.raises(BadUrl):
        WORLD.url(url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://crm.example/hooks", "crm.example", 443),
        ("https://CRM.Example", "crm.example", 443),
        ("https://crm.example:8443/hooks?key=%2F1&b=@", "crm.example", 8443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://my_hooks.example/", "my_hooks.example", 443),
        ("https://192.0.43.7/", "192.0.43.7", 443),
        ("https://[2606:2800:220:1::1]:8443/a", "2606:2800:220:1::1", 8443),
        ("https://[64:ff9b::808:808]/", "64:ff9b::808:808", 443),
        ("https://[2002:808:808::1]/", "2002:808:808::1", 443),
    ],
)
def test_a_url_of_the_world_is_taken_apart(url: str, host: str, port: int):
    found = WORLD.url(url)
    assert (found.host, found.port, str(found)) == (host, port, url)


def test_http_is_only_for_installations_that_allow_it():
    assert CLEAR.url("http://crm.example/").port == 80
    with pytest.raises(BadUrl, match="port 25"):
        CLEAR.url("http://crm.example:25/")


def test_the_operators_own_networks_may_be_reached_and_no_others():
    reach = Reach.of(["10.1.0.0/16", "fd00:1::/32"])
    assert reach.url("https://10.1.2.3/").is_address
    assert reach.allows("fd00:1::7")
    assert reach.allows("::ffff:10.1.2.3")
    for other in ("https://10.2.0.1/", "https://127.0.0.1/", "https://[fd00:2::1]/"):
        with pytest.raises(BadUrl, match="private"):
            reach.url(other)
    assert not reach.allows("crm.example")


@given(st.integers(0, 2**128 - 1))
def test_fault_w02_no_ipv6_address_is_public_that_is_not_the_worlds(number: int):
    address = ipaddress.IPv6Address(number)
    if is_public(str(address)):
        assert address.is_global or address.sixtofour or address.teredo or address.ipv4_mapped
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_fault_w02_an_ipv4_address_is_no_more_public_inside_an_ipv6_one(address: ipaddress.IPv4Address):
    number = int(address)
    carrying = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x0064_FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address((0x2001_0000_0808_0808 << 64) | (number ^ 0xFFFF_FFFF)),
        ipaddress.IPv6Address((0x2606_2800_0220_0001_0000_5EFE << 32) | number),
    ]
    for one in carrying:
        assert is_public(str(one)) == is_public(str(address)), one


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_a_sentence(text: str):
    for candidate in (text, f"https://{text}"):
        with suppress(BadUrl):
            assert WORLD.url(candidate).host.isascii()
