"""Certificates are made once, kept while good, and made anew exactly when something about them is no longer right."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator.paths import Paths
from orchestrator.pki import CERTIFICATE_LIFE, STORE_PREFIX, Identity, PkiError, ensure_pki, identity_of

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
ROLES = ("server", "store", "admin", "scheduler", "controllers", "node", "proxy", "network")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("root"))
    ensure_pki(paths, node_name="n1", addresses=["192.0.2.7"], now=NOW)
    return paths


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix in {".crt", ".key"}}


@pytest.mark.parametrize(
    ("role", "identity"),
    [
        ("server", Identity("kube-apiserver", ("system:masters",))),
        ("store", Identity("system:store:n1", ())),
        ("admin", Identity("kubernetes-admin", ("system:masters",))),
        ("scheduler", Identity("system:kube-scheduler", ())),
        ("controllers", Identity("system:kube-controller-manager", ())),
        ("node", Identity("system:node:n1", ("system:nodes",))),
        ("proxy", Identity("system:kube-proxy", ())),
        ("network", Identity("system:navarch-network", ())),
    ],
)
def test_each_role_has_its_identity(made: Paths, role: str, identity: Identity) -> None:
    assert identity_of((made.pki / f"{role}.crt").read_bytes()) == identity


def test_all_are_signed_by_the_authority(made: Paths) -> None:
    authority = x509.load_pem_x509_certificate((made.pki / "ca.crt").read_bytes())
    for role in ROLES:
        certificate = x509.load_pem_x509_certificate((made.pki / f"{role}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)


def test_keys_are_private(made: Paths) -> None:
    for key in made.pki.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("role", ["server", "node"])
def test_serving_certificates_name_their_addresses(made: Paths, role: str) -> None:
    certificate = x509.load_pem_x509_certificate((made.pki / f"{role}.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "n1"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "192.0.2.7"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


def test_a_member_of_the_store_calls_and_is_called_under_a_name_of_its_own(made: Paths) -> None:
    certificate = x509.load_pem_x509_certificate((made.pki / "store.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1.store.navarch.internal"]
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1", "192.0.2.7"}
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "store"])
def test_nobody_else_can_pass_for_a_member(made: Paths, role: str) -> None:
    certificate = (made.pki / f"{role}.crt").read_bytes()
    assert not identity_of(certificate).name.startswith(STORE_PREFIX)
    encoded = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    assert b"store.navarch.internal" not in encoded


def test_a_second_start_changes_nothing(made: Paths) -> None:
    before = contents(made.pki)
    ensure_pki(made, node_name="n1", addresses=["192.0.2.7"], now=NOW + timedelta(days=30))
    assert contents(made.pki) == before


def lose_certificate(pki: Path) -> None:
    (pki / "server.crt").unlink()


def truncate_certificate(pki: Path) -> None:
    (pki / "server.crt").write_bytes((pki / "server.crt").read_bytes()[:100])


def truncate_key(pki: Path) -> None:
    (pki / "server.key").write_bytes(b"")


def swap_key(pki: Path) -> None:
    (pki / "server.key").write_bytes((pki / "admin.key").read_bytes())


@pytest.mark.parametrize("damage", [lose_certificate, truncate_certificate, truncate_key, swap_key])
def test_a_damaged_pair_alone_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    before = contents(paths.pki)
    damage(paths.pki)
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    after = contents(paths.pki)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"server.crt", "server.key"}


@pytest.mark.parametrize(
    ("node_name", "addresses", "later", "renewed"),
    [
        ("n1", ["192.0.2.8"], timedelta(), {"server", "store", "node"}),
        ("n2", ["192.0.2.7"], timedelta(), {"server", "store", "node"}),
        ("n1", ["192.0.2.7"], CERTIFICATE_LIFE * 2 / 3 + timedelta(hours=1), set(ROLES)),
    ],
    ids=["other address", "other node name", "two thirds of the life are over"],
)
def test_renewal(tmp_path: Path, node_name: str, addresses: list[str], later: timedelta, renewed: set[str]) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=["192.0.2.7"], now=NOW)
    before = contents(paths.pki)
    ensure_pki(paths, node_name=node_name, addresses=addresses, now=NOW + later)
    after = contents(paths.pki)
    assert {
        name.removesuffix(".crt") for name in after if name.endswith(".crt") and after[name] != before[name]
    } == renewed


def test_a_lost_authority_certificate_comes_back_with_its_key(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    before = contents(paths.pki)
    (paths.pki / "ca.crt").unlink()
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    after = contents(paths.pki)
    assert {name for name in after if after[name] != before[name]} == {"ca.crt"}


def test_a_foreign_authority_key_is_refused(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    (paths.pki / "ca.key").write_bytes((paths.pki / "admin.key").read_bytes())
    with pytest.raises(PkiError, match=r"ca\.key does not belong to"):
        ensure_pki(paths, node_name="n1", addresses=[], now=NOW)


def test_without_the_authority_key_nothing_new_is_signed(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    (paths.pki / "ca.key").unlink()
    ensure_pki(paths, node_name="n1", addresses=[], now=NOW)
    (paths.pki / "proxy.crt").unlink()
    with pytest.raises(PkiError, match=r"proxy\.crt must be made anew"):
        ensure_pki(paths, node_name="n1", addresses=[], now=NOW)


def test_no_temporary_file_is_left(made: Paths) -> None:
    assert not list(made.pki.glob(".*.tmp"))


def test_not_a_certificate() -> None:
    with pytest.raises(ValueError, match="PEM"):
        identity_of(b"nonsense")
