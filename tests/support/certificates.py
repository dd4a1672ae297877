"""Certificates made in memory for tests: a key, what belongs to it, and the files people keep them in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

NOT_AFTER = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A key with its certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def key_pem(self, password: bytes | None = None) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _protection(password))

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def pfx(self, password: bytes | None = None) -> bytes:
        return pkcs12.serialize_key_and_certificates(b"app", self.key, self.certificate, None, _protection(password))

    def write_pem(self, path: Path) -> Path:
        path.write_bytes(self.certificate_pem() + self.key_pem())
        return path


def _protection(password: bytes | None) -> KeySerializationEncryption:
    return BestAvailableEncryption(password) if password else NoEncryption()


def make_pair(bits: int = 2048) -> Pair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postroom test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(NOT_AFTER)
        .sign(key, hashes.SHA256())
    )
    return Pair(key, certificate)
