"""Certificates and the TLSA records that name them (RFC 6698 §2.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.outbound.connection import Unproved
from mailrelay.outbound.dane import Anchor, judge, public_key_info
from mailrelay.outbound.policy.tls import read_tlsa
from tests.support.tls_peers import shown

KEYS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def certificate(kind: str, name: str = "mx.b.test") -> x509.Certificate:
    key = KEYS[kind]
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(named).issuer_name(named).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    algorithm = None if kind == "Ed25519" else hashes.SHA256()
    return builder.not_valid_after(now + timedelta(days=1)).sign(key, algorithm)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("name", ["x", "a" * 60])
def test_the_key_is_found_in_a_certificate(kind: str, name: str):
    made = certificate(kind, name)
    wanted = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key_info(made.public_bytes(Encoding.DER)) == wanted


@given(st.binary(max_size=80), st.integers(0, 200))
def test_what_is_no_certificate_has_no_key_and_no_end_is_waited_for(data: bytes, cut: int):
    whole = certificate("P-256").public_bytes(Encoding.DER)
    public_key_info(data)
    public_key_info(whole[:cut])
    public_key_info(whole[:cut] + data + whole[cut:])
    assert public_key_info(b"") == b""


def test_dane_ee_names_the_host_s_own_certificate_only():
    chain = shown("mx.b.test", depth=1)
    ders = [x509.load_pem_x509_certificate(one).public_bytes(Encoding.DER) for one in chain.chain]
    own, authority = read_tlsa([chain.tlsa(3, 1, 1)]), read_tlsa([chain.tlsa(3, 1, 1, at=1)])
    assert judge(own, ders) == own[0]
    with pytest.raises(Unproved):
        judge(authority, ders)
    with pytest.raises(Unproved):
        judge(own, ders[1:])
    with pytest.raises(Unproved, match="showed no certificate"):
        judge(own, [])


def test_a_host_s_own_certificate_counts_before_its_authority():
    chain = shown("mx.b.test", depth=1)
    ders = [x509.load_pem_x509_certificate(one).public_bytes(Encoding.DER) for one in chain.chain]
    records = read_tlsa([chain.tlsa(2, 0, 1, at=1), chain.tlsa(3, 1, 1)])
    assert judge(records, ders) == records[1]
    assert judge(records[:1], ders) == Anchor(ders[1], records[0])
