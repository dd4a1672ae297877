"""Makes the emulator's certificates: one authority for each start, a good leaf, and bad ones on order.

Keys never leave the process except through a file that only its owner can read, for the moment in which OpenSSL loads
it. Validity is measured by the machine's clock, since that is what clients verify by.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.emulator.faults import Action

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_DAY = timedelta(days=1)


class Authority:
    """A certificate authority and the TLS contexts made from it; ``now`` is the machine's time."""

    def __init__(self, now: datetime, names: Iterable[str] = LOOPBACK_NAMES) -> None:
        self._now = now
        self._names = tuple(dict.fromkeys(names))
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Postroom emulator authority")
        self._certificate = self._authority(self._name, self._key)
        self._contexts: dict[Action | None, ssl.SSLContext] = {}

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for the client's trust."""
        return self._certificate.public_bytes(Encoding.PEM)

    def context(self, flaw: Action | None = None) -> ssl.SSLContext:
        """Return a server context with a good leaf, or with ``flaw``; TLS 1.2 or newer but for ``old-tls``."""
        if flaw not in self._contexts:
            key, certificate = self._leaf(flaw)
            self._contexts[flaw] = _server_context(key, certificate, is_old=flaw is Action.OLD_TLS)
        return self._contexts[flaw]

    def _leaf(self, flaw: Action | None) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        names = ("wrong-name.emulator.postroom",) if flaw is Action.WRONG_NAME else self._names
        begin, end = self._now - _DAY, self._now + 365 * _DAY
        if flaw is Action.EXPIRED:
            begin, end = self._now - 30 * _DAY, self._now - _DAY
        elif flaw is Action.NOT_YET_VALID:
            begin = self._now + _DAY
        subject = _name(names[0])
        issuer, issuer_key = self._name, self._key
        if flaw is Action.SELF_SIGNED:
            issuer, issuer_key = subject, key
        elif flaw is Action.UNKNOWN_CA:
            issuer, issuer_key = _name("Somebody else's authority"), ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, issuer, key, begin, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority_key, critical=False)
        return key, builder.sign(issuer_key, hashes.SHA256())

    def _authority(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        builder = _builder(name, name, key, self._now - _DAY, self._now + 3650 * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return builder.sign(key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=end,
    )


def _server_context(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, *, is_old: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if is_old:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 refuses the signatures of TLS 1.1 above it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the point here
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        # Exchange answers older versions with 421 4.7.66; here they fail in the handshake.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads keys from files only; the file's mode is 0600 and it is gone at once.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.write(certificate.public_bytes(Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)
    return context
