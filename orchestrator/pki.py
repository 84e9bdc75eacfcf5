"""The cluster's own certificates: who may speak, and as whom.

The first start of the API server makes a certificate authority and one certificate for each role of the cluster; later
starts keep what is still good. A certificate is made anew when it is absent, unreadable, signed by another authority,
belongs to another key, carries another name or other addresses than wanted, or has used up two thirds of its life.
The authority itself is never replaced while it is valid: that would lock out everyone.

A caller's identity is in its certificate, as in Kubernetes: the common name is the user, the organizations are the
groups.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.atomic_file import write_atomically
from orchestrator.paths import Paths

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)  # machines whose clock is a little behind accept a fresh certificate
SERVICE_ADDRESS = "10.96.0.1"  # the API server's own Service
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
LOOPBACK = ("127.0.0.1", "::1")
MASTERS = "system:masters"
STORE_PREFIX = "system:store:"
"""The common name of the certificate of a member of the store is this and the member's name."""


class PkiError(Exception):
    """The certificates on disk can't be used, and making new ones would do harm; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is: a user name and the groups it belongs to."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """A certificate of the cluster: the file it is in, whom it names, and the addresses it serves (none: a client)."""

    file: str
    identity: Identity
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None  # absent on machines that only check certificates


def store_host(member: str) -> str:
    """The DNS name in the certificate of a member of the store, by which it is verified wherever it answers."""
    return f"{member}.store.navarch.internal"


def roles(node_name: str, addresses: Sequence[str]) -> tuple[Role, ...]:
    """Every certificate the first machine of a cluster has, with the names and addresses it answers to."""
    here = (node_name, *LOOPBACK, *addresses)
    return (
        Role("server", Identity("kube-apiserver", (MASTERS,)), (*SERVER_NAMES, SERVICE_ADDRESS, *here)),
        Role("store", Identity(STORE_PREFIX + node_name, ()), (store_host(node_name), *LOOPBACK, *addresses)),
        Role("admin", Identity("kubernetes-admin", (MASTERS,))),
        Role("scheduler", Identity("system:kube-scheduler", ())),
        Role("controllers", Identity("system:kube-controller-manager", ())),
        Role("node", Identity(f"system:node:{node_name}", ("system:nodes",)), ("localhost", *here)),
        Role("proxy", Identity("system:kube-proxy", ())),
        Role("network", Identity("system:navarch-network", ())),
    )


def ensure_pki(paths: Paths, *, node_name: str, addresses: Sequence[str], now: datetime | None = None) -> None:
    """Make what is missing or no longer good under `paths.pki`; safe to repeat, and to run in two processes at once."""
    moment = now or datetime.now(UTC)
    paths.pki.mkdir(parents=True, exist_ok=True)
    with _locked(paths.pki):
        authority = _ensure_authority(paths.pki, moment)
        for role in roles(node_name, addresses):
            if not _is_good(paths.pki, role, authority, moment):
                _issue(paths.pki, role, authority, moment)


def identity_of(cert_pem: bytes | str) -> Identity:
    """The user and groups a PEM certificate names. Raises ValueError for no certificate or no common name."""
    pem = cert_pem.encode() if isinstance(cert_pem, str) else cert_pem
    return _identity(x509.load_pem_x509_certificate(pem))


def _identity(certificate: x509.Certificate) -> Identity:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        raise ValueError("the certificate has no common name, so it names no user")
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return Identity(str(names[0].value), tuple(str(group.value) for group in groups))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure_authority(directory: Path, now: datetime) -> _Authority:
    certificate = _read_certificate(directory / "ca.crt")
    key = _read_key(directory / "ca.key")
    if certificate is not None and now < certificate.not_valid_after_utc:
        if key is None or key.public_key() == certificate.public_key():
            return _Authority(certificate, key)
        raise PkiError(
            f"{directory}/ca.key does not belong to {directory}/ca.crt: restore the pair from a backup, or remove both "
            "to start with a new authority (every certificate is then made anew)"
        )
    key = key or ec.generate_private_key(ec.SECP256R1())  # with the old key, what it signed stays good
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "navarch")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(directory, "ca", certificate, key)
    return _Authority(certificate, key)


def _is_good(directory: Path, role: Role, authority: _Authority, now: datetime) -> bool:
    certificate = _read_certificate(directory / f"{role.file}.crt")
    key = _read_key(directory / f"{role.file}.key")
    if certificate is None or key is None or key.public_key() != certificate.public_key():
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        named = _identity(certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    renewal = certificate.not_valid_after_utc - CERTIFICATE_LIFE / 3
    return named == role.identity and _hosts(certificate) == set(map(_general_name, role.hosts)) and now < renewal


def _issue(directory: Path, role: Role, authority: _Authority, now: datetime) -> None:
    if authority.key is None:
        raise PkiError(
            f"{directory}/{role.file}.crt must be made anew and {directory}/ca.key is not there to sign it: "
            "put the authority's key back"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in role.identity.groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, role.identity.name))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role.hosts:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + CERTIFICATE_LIFE, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if role.hosts:
        names = [_general_name(host) for host in dict.fromkeys(role.hosts)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write_pair(directory, role.file, builder.sign(authority.key, hashes.SHA256()), key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _read_certificate(path: Path) -> x509.Certificate | None:
    """The certificate, or None where there is no usable one: it will be made anew."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _write_pair(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """The key first: a stop in between leaves a pair that does not match, which the next start sees and replaces."""
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomically(directory / f"{name}.key", encoded, mode=0o600)
    write_atomically(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
