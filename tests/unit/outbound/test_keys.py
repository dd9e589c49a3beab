from __future__ import annotations

import base64
from datetime import date

import pytest

from mailrelay.mail.dkim import KeyAlgorithm
from mailrelay.outbound.keys import generate, public_half, selector_name
from tests.support.zone import DnsServer


@pytest.mark.parametrize(("algorithm", "octets"), [(KeyAlgorithm.RSA, 294), (KeyAlgorithm.ED25519, 32)])
def test_o8_the_line_to_publish_reads_back_as_the_key(algorithm: KeyAlgorithm, octets: int) -> None:
    made = generate("example.org", "mr202611r", algorithm)
    assert len(base64.b64decode(made.public)) == octets
    rrsets = DnsServer(made.dns_line)._rrsets  # read as any name server would read it
    ((name, types),) = rrsets.items()
    (record,) = next(iter(types.values()))
    assert name.to_text() == "mr202611r._domainkey.example.org."
    assert all(len(string) <= 255 for string in record.strings)
    assert b"".join(record.strings).decode() == made.dns_text
    assert public_half(made.private_pem) == made.public


def test_the_private_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(generate("example.org", "s", KeyAlgorithm.ED25519))


def test_selectors_say_their_month_and_algorithm() -> None:
    assert selector_name(KeyAlgorithm.RSA, date(2026, 11, 2)) == "mr202611r"
    assert selector_name(KeyAlgorithm.ED25519, date(2027, 1, 31), prefix="k") == "k202701e"


def test_what_is_no_private_key_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        public_half(b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
