"""Domains that cover others, and public mail domains."""

from __future__ import annotations

import re

import pytest

from mailrelay.rules.domains import PUBLIC_MAIL_DOMAINS, covering, is_public


@pytest.mark.parametrize(
    ("domain", "listed", "entry"),
    [
        ("a.test", ["a.test"], "a.test"),
        ("x.y.a.test", ["a.test"], "a.test"),
        ("ba.test", ["a.test"], ""),
        ("test", ["a.test"], ""),
        ("[192.0.2.1]", ["a.test"], ""),
    ],
)
def test_a_domain_covers_what_is_below_it(domain: str, listed: list[str], entry: str) -> None:
    assert covering(domain, listed) == entry


def test_public_domains_are_what_addresses_hold() -> None:
    assert len(PUBLIC_MAIL_DOMAINS) > 400
    for domain in PUBLIC_MAIL_DOMAINS:
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", domain), domain
    assert is_public("gmail.com")
    assert not is_public("example.com")
