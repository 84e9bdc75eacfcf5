"""Certificates for members of a test's store, and for those who are none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.pki import STORE_PREFIX, store_host
from orchestrator.store.grpc_wire import Credentials


class Authority:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self._certificate = self._sign(self._name, self._key, None, timedelta(days=1))

    def member(
        self,
        name: str,
        *,
        common_name: str | None = None,
        life: timedelta = timedelta(days=1),
        addresses: Sequence[str] = (),
        usage: x509.ObjectIdentifier | None = None,
    ) -> Credentials:
        """A member's, valid for these IP addresses too, and for this usage only.

        With another `common_name`, one that serves under the member's name but is not its.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or STORE_PREFIX + name)])
        certificate = self._sign(subject, key, store_host(name), life, addresses=addresses, usage=usage)
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Credentials(_pem(self._certificate), _pem(certificate), encoded)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        host: str | None,
        life: timedelta,
        *,
        addresses: Sequence[str] = (),
        usage: x509.ObjectIdentifier | None = None,
    ) -> x509.Certificate:
        """Without a `host` the authority's own."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + life) - timedelta(hours=1))
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            names = [x509.DNSName(host), *(x509.IPAddress(ip_address(each)) for each in addresses)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
