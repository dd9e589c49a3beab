"""The certificate that listeners show: loaded, made when there is none, renewed without an outage (A10, RFC 8314, RFC 9325)."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailrelay import log
from mailrelay.blob import durable
from mailrelay.clock import Clock
from mailrelay.config.schema import Tls
from mailrelay.errors import ConfigError

_LIFETIME = timedelta(days=3650)

logger = log.get()


class Certificate:
    """What the next TLS handshake uses."""

    def __init__(self, settings: Tls, *, data: Path, hostname: str, clock: Clock) -> None:
        """Load the certificate of the settings, or one of our own in the folder `data`. Raises ConfigError."""
        self._clock = clock
        if settings.certificate is not None and settings.key is not None:
            self._certificate, self._key = settings.certificate, settings.key
        else:
            self._certificate, self._key = data / "self-signed.pem", data / "self-signed.key"
            if not (self._certificate.exists() and self._key.exists()):
                _make(self._certificate, self._key, hostname=hostname, now=clock.now())
        try:
            self._context = self._load()  # an expired one is better than no TLS; only `reload` has the choice
        except (OSError, ValueError) as error:
            raise ConfigError((f"tls.certificate: {self._certificate} cannot be used: {_reason(error)}",)) from error

    @property
    def context(self) -> ssl.SSLContext:
        """For one handshake; the next may need another."""
        return self._context

    def reload(self) -> bool:
        """Read the files again; when they cannot be used, the old certificate stays (A10). Whether they could."""
        try:
            leaf = x509.load_pem_x509_certificates(self._certificate.read_bytes())[0]
            if leaf.not_valid_after_utc < self._clock.now():
                raise ValueError(f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
            self._context = self._load()
        except (OSError, ValueError) as error:
            logger.error("certificate.refused", file=str(self._certificate), reason=_reason(error))
            return False
        return True

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # RFC 8996: TLS 1.0 and 1.1 are not used any more; RFC 9325 §4.2: nor are ciphers without forward secrecy.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.load_cert_chain(self._certificate, self._key)
        return context


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)


def _make(certificate: Path, key: Path, *, hostname: str, now: datetime) -> None:
    """A self-signed certificate: enough for opportunistic STARTTLS, which proves nothing anyway."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # D02: after a power cut there are both, whole, or not the certificate, and then both are made anew.
    durable.remove(certificate)
    durable.write(key, pem)
    durable.write(certificate, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
