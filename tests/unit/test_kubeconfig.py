"""Kubeconfig files round-trip, take data and file forms, and say exactly what is wrong with them."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from orchestrator import kubeconfig
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki

VALID = """
current-context: a
contexts: [{name: a, context: {cluster: c, user: u, namespace: team}}, {name: b, context: {cluster: c, user: u}}]
clusters:
- name: c
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority-data: Q0E=
    extensions: [{name: other, extension: 1}, {name: navarch, extension: {grpc: "127.0.0.1:7443"}}]
users: [{name: u, user: {client-certificate-data: Q1JU, client-key-data: S0VZ}}]
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (tmp_path / name).write_bytes(name.encode())
    path = tmp_path / "etc" / "admin.conf"
    kubeconfig.write(
        path,
        cluster="navarch",
        server_url="https://127.0.0.1:6443",
        grpc_address="127.0.0.1:7443",
        ca_file=tmp_path / "ca.crt",
        cert_file=tmp_path / "admin.crt",
        key_file=tmp_path / "admin.key",
    )
    assert kubeconfig.load(path) == kubeconfig.Connection(
        "127.0.0.1:7443", b"ca.crt", b"admin.crt", b"admin.key", "default"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_roles_get_theirs_and_an_unchanged_file_is_left_alone(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[])
    kubeconfig.write_all(paths, "127.0.0.1:7443")
    admin = paths.kubeconfig("admin")
    for role in kubeconfig.ROLES:
        connection = kubeconfig.load(paths.kubeconfig(role))
        assert connection.address == "127.0.0.1:7443"
        assert connection.certificate == (paths.pki / f"{role}.crt").read_bytes()
    before = admin.stat()
    kubeconfig.write_all(paths, "127.0.0.1:7443")
    assert admin.stat() == before
    kubeconfig.write_all(paths, "127.0.0.1:7444")
    assert kubeconfig.load(admin).address == "127.0.0.1:7444"


def test_several_servers_are_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for given, read in (
        ("10.0.0.1:7443,10.0.0.2:7443", "10.0.0.1:7443,10.0.0.2:7443"),
        (" 10.0.0.1:7443, 10.0.0.2:7443,,10.0.0.1:7443 ", "10.0.0.1:7443,10.0.0.2:7443"),
        ("[::1]:7443,[fd00::2]:7443", "[::1]:7443,[fd00::2]:7443"),
        ("api.example:7443,", "api.example:7443"),
    ):
        path.write_text(VALID.replace("127.0.0.1:7443", given))
        assert kubeconfig.load(path).address == read


def test_a_restart_keeps_the_servers_that_were_known(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    ensure_pki(paths, node_name="n1", addresses=[])
    assert kubeconfig.with_known_servers(paths, "127.0.0.1:7443") == "127.0.0.1:7443", "before there is any file"
    kubeconfig.write_all(paths, "127.0.0.1:7443,10.0.0.2:7443,10.0.0.3:7443")
    for own in ("127.0.0.1:7443", "127.0.0.1:8443"):
        assert kubeconfig.with_known_servers(paths, own) == f"{own},10.0.0.2:7443,10.0.0.3:7443"


def test_data_form_and_contexts(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(VALID)
    assert kubeconfig.load(path) == kubeconfig.Connection("127.0.0.1:7443", b"CA", b"CRT", b"KEY", "team")
    assert kubeconfig.load(path, "b").namespace == "default"


def test_a_relative_file_starts_at_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(b"relative")
    path = tmp_path / "config"
    path.write_text(VALID.replace("certificate-authority-data: Q0E=", "certificate-authority: pki/ca.crt"))
    assert kubeconfig.load(path).ca == b"relative"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("current-context: a", "", "current-context is not set"),
        ("current-context: a", "current-context: z", 'no context named "z" (there are: a, b)'),
        ("current-context: a", "current-context: [a]", "current-context must be a string"),
        ("cluster: c, user: u, namespace", "user: u, namespace", "contexts[a].context.cluster is required"),
        ("user: u, namespace", "user: x, namespace", 'no user named "x" (there are: u)'),
        ("name: navarch", "name: other", 'cluster "c" has no gRPC address'),
        ("127.0.0.1:7443", "10.0.0.1:7443,b:7443", '"b:7443" is not IP:PORT'),
        ("127.0.0.1:7443", "10.0.0.1:7443,10.0.0.2", '"10.0.0.2" is not IP:PORT'),
        ("127.0.0.1:7443", "10.0.0.1:7443,[10.0.0.2]:7443", '"[10.0.0.2]:7443" is not IP:PORT'),
        ("127.0.0.1:7443", "10.0.0.1:7443,fd00::2:7443", '"fd00::2:7443" is not IP:PORT'),
        ("127.0.0.1:7443", "10.0.0.1:7443,[fd00::2]:7443", "must be all IPv4 or all IPv6"),
        ("client-key-data: S0VZ", "client-key-data: '*'", "users[u].user.client-key-data is not base64"),
        (", client-key-data: S0VZ", "", "users[u].user needs client-key or client-key-data"),
        ("client-key-data: S0VZ", "client-key: none.key", "none.key: No such file or directory"),
        ("current-context: a", "{", "not valid YAML"),
        (VALID, "- 1", "the file must be a mapping"),
        ("users:", "people:", "users must be a list"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VALID
    path = tmp_path / "config"
    path.write_text(VALID.replace(old, new, 1))
    with pytest.raises(kubeconfig.KubeconfigError) as caught:
        kubeconfig.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(kubeconfig.KubeconfigError, match="No such file"):
        kubeconfig.load(tmp_path / "absent.conf")


def test_data_wins_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    data = base64.b64encode(b"data").decode()
    path.write_text(VALID.replace("client-key-data: S0VZ", f"client-key-data: {data}, client-key: none.key"))
    assert kubeconfig.load(path).key == b"data"
