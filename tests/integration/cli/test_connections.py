"""Who cannot get to a server hears at once why, and what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestrator import kubeconfig
from orchestrator.client import Client
from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from tests.integration.cli.commands import Navctl, line_of
from tests.integration.running import RunningServer
from tests.integration.server.objects import pod

pytestmark = pytest.mark.timeout(20)


def kubeconfig_for(address: str, path: Path, *, ca: Path, pki: Path, user: str = "admin") -> str:
    kubeconfig.write(
        path,
        cluster="navarch",
        server_url="https://127.0.0.1:6443",
        grpc_address=address,
        ca_file=ca,
        cert_file=pki / f"{user}.crt",
        key_file=pki / f"{user}.key",
    )
    return str(path)


@pytest.mark.parametrize(
    "words", [("get", "pods"), ("apply", "-f", "-"), ("delete", "pod", "x"), ("logs", "x"), ("get", "pods", "-w"),
              ("scale", "deploy/x", "--replicas=1"), ("exec", "x", "--", "sh"), ("rollout", "status", "deploy/x")],
)  # fmt: skip
async def test_no_server(navctl: Navctl, api: RunningServer, words: tuple[str, ...]) -> None:
    await api.stop()
    error = await navctl.fails(*words, stdin="{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}")
    assert error.startswith(f"error: the API server at {api.address} can't be reached (")
    assert error.endswith('start the cluster with "navctl up", or check the address in your kubeconfig')
    assert "\n" not in error


async def test_a_server_that_goes_away_while_it_is_watched(navctl: Navctl, api: RunningServer, client: Client) -> None:
    await client.create(pod("web"))
    async with navctl.process("get", "pods", "-w", "-o", "name") as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"pod/web\n"
        await api.stop()
        out, err = await process.communicate()
        assert (process.returncode, out) == (1, b"")
        assert err.startswith(f"error: the API server at {api.address} can't be reached".encode())
        assert err.count(b"\n") == 1


async def test_a_server_that_is_restarted_while_it_is_watched(
    navctl: Navctl, api: RunningServer, client: Client
) -> None:
    await client.create(pod("web"))
    async with navctl.process("get", "pods", "-w", "-o", "name") as process:
        assert await line_of(process.stdout) == "pod/web"
        await api.restart()
        async with api.connect() as again:
            await again.create(pod("new"))
        assert await line_of(process.stdout) == "pod/new"


async def test_no_such_name(navctl: Navctl, api: RunningServer, tmp_path: Path) -> None:
    pki = api.paths.pki
    path = kubeconfig_for("no.such.host.invalid:7443", tmp_path / "k", ca=pki / "ca.crt", pki=pki)
    error = await navctl.fails("get", "pods", "--kubeconfig", path)
    assert error.startswith("error: the API server at no.such.host.invalid:7443 can't be reached")
    assert error.endswith("the name is not known: check the address in your kubeconfig")


async def test_something_else_listens_there(navctl: Navctl, api: RunningServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        import threading

        def hang_up() -> None:
            with_connection, _ = other.accept()
            with_connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with_connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        pki = api.paths.pki
        address = f"127.0.0.1:{other.getsockname()[1]}"
        path = kubeconfig_for(address, tmp_path / "k", ca=pki / "ca.crt", pki=pki)
        error = await navctl.fails("get", "pods", "--kubeconfig", path)
    assert error.startswith(f"error: the API server at {address} can't be reached")
    assert "\n" not in error


async def test_a_certificate_of_another_cluster(navctl: Navctl, api: RunningServer, tmp_path: Path) -> None:
    foreign = Paths(tmp_path / "foreign")
    ensure_pki(foreign, node_name="n1", addresses=[])
    path = kubeconfig_for(api.address, tmp_path / "client", ca=api.paths.pki / "ca.crt", pki=foreign.pki)
    error = await navctl.fails("get", "pods", "--kubeconfig", path)
    assert error.startswith(f"error: the API server at {api.address} can't be reached")
    assert "certificate" in error
    assert "\n" not in error
    path = kubeconfig_for(api.address, tmp_path / "authority", ca=foreign.pki / "ca.crt", pki=api.paths.pki)
    error = await navctl.fails("get", "pods", "--kubeconfig", path)
    assert error.endswith("check that the certificates in your kubeconfig belong to this cluster")
    assert await navctl.ok("get", "ns", "default", "-o", "name") == "namespace/default\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file must be a mapping"),
        ("{", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("apiVersion: v1\nkind: Config\n", "current-context is not set"),
        ("current-context: a\ncontexts: []\n", 'no context named "a" (there are: none)'),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n", "clusters must be a list"),
    ],
)
async def test_broken_kubeconfigs(navctl: Navctl, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "broken.conf"
    path.write_text(content)
    error = await navctl.fails("get", "pods", "--kubeconfig", str(path))
    assert error.startswith(f"error: {path}: {said}")


async def test_kubeconfigs_without_what_is_needed(navctl: Navctl, api: RunningServer, tmp_path: Path) -> None:
    complete = api.paths.kubeconfig("admin").read_text()
    for before, said in (
        ('"client-certificate":', "needs client-certificate or client-certificate-data"),
        ('"client-key":', "needs client-key or client-key-data"),
        ('"certificate-authority":', "needs certificate-authority or certificate-authority-data"),
        ('"grpc":', ".extensions[navarch].extension.grpc is required"),
    ):
        path = tmp_path / "part.conf"
        path.write_text(complete.replace(before, '"other":'))
        error = await navctl.fails("get", "pods", "--kubeconfig", str(path))
        assert error.startswith(f"error: {path}: ")
        assert error.endswith(said)


async def test_which_kubeconfig_is_taken(
    navctl: Navctl, api: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = api.paths.kubeconfig("admin")
    missing = str(tmp_path / "missing")
    assert await navctl.fails("get", "ns", "--kubeconfig", missing) == (f"error: {missing}: No such file or directory")
    monkeypatch.setenv("KUBECONFIG", f"{missing}:{mine}")
    assert "default" in await navctl.ok("get", "ns")
    monkeypatch.setenv("KUBECONFIG", missing)
    assert await navctl.fails("get", "ns") == f"error: $KUBECONFIG names {missing}, and there is no such file"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_bytes(mine.read_bytes())
    assert "default" in await navctl.ok("get", "ns")
    error = await navctl.fails("get", "ns", "--context", "nope")
    assert 'no context named "nope"' in error


async def test_the_namespace_of_the_context(navctl: Navctl, api: RunningServer, client: Client, tmp_path: Path) -> None:
    await client.create(pod("coredns", namespace="kube-system"))
    path = tmp_path / "k"
    path.write_text(
        api.paths.kubeconfig("admin")
        .read_text()
        .replace('"user": "admin"', '"namespace": "kube-system", "user": "admin"')
    )
    assert await navctl.ok("get", "pods", "-o", "name", "--kubeconfig", str(path)) == "pod/coredns\n"
    assert (await navctl("get", "pods", "-n", "default", "--kubeconfig", str(path))).out == ""
