"""Kubeconfig files: where the cluster is and how to prove who one is.

`kubectl` and `navctl` read the same file. The gRPC address, which Kubernetes has no field for, is an extension of the
cluster entry named `navarch`: `grpc: HOST:7443`, or for several API servers of one cluster their IP addresses,
separated by commas; a client uses those that answer. Keys and certificates are taken from files (a relative path starts
at the kubeconfig's own directory) or from base64 `*-data` fields; data wins, as in Kubernetes.

Files are written as JSON, which is YAML too: every tool reads it, and a command line reads it without loading a YAML
parser, which would take longer than the rest of what it reads.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.paths import Paths

EXTENSION = "navarch"
CLUSTER = "navarch"
REST_PORT = 6443
ROLES = ("admin", "scheduler", "controllers", "node", "proxy", "network")


class KubeconfigError(Exception):
    """A kubeconfig that can't be used; the message names the file, the place in it and what would be right."""


@dataclass(frozen=True, slots=True)
class Connection:
    """All a client needs: the gRPC address, the authority it trusts, its own certificate, and the default namespace."""

    address: str
    """HOST:PORT, or IP:PORT of each of several servers, separated by commas."""
    ca: bytes
    certificate: bytes
    key: bytes
    namespace: str


def write(
    path: Path,
    *,
    cluster: str,
    server_url: str,
    grpc_address: str,
    ca_file: Path,
    cert_file: Path,
    key_file: Path,
) -> None:
    """Write a kubeconfig with one cluster, one user (named after its certificate's file) and one context.

    A file that says just that already is left alone.
    """
    user = cert_file.stem
    context = f"{user}@{cluster}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": server_url,
                    "certificate-authority": str(ca_file),
                    "extensions": [{"name": EXTENSION, "extension": {"grpc": grpc_address}}],
                },
            }
        ],
        "users": [{"name": user, "user": {"client-certificate": str(cert_file), "client-key": str(key_file)}}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
    }
    # Only who writes needs it, and it costs every command line a few milliseconds.
    from orchestrator.atomic_file import write_atomically

    text = (json.dumps(content, indent=2) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text, mode=0o600)


def write_all(paths: Paths, grpc_address: str, *, rest_port: int = REST_PORT) -> None:
    """Write the kubeconfig of every role, for the server that this machine's daemons reach at `grpc_address`, or for
    several, this machine's own first."""
    host = grpc_address.partition(",")[0].rpartition(":")[0]
    for name in ROLES:
        write(
            paths.kubeconfig(name),
            cluster=CLUSTER,
            server_url=f"https://{host}:{rest_port}",
            grpc_address=grpc_address,
            ca_file=paths.pki / "ca.crt",
            cert_file=paths.pki / f"{name}.crt",
            key_file=paths.pki / f"{name}.key",
        )


def with_known_servers(paths: Paths, own: str) -> str:
    """The address of this machine's own server, and after it those of the others that its kubeconfigs name already."""
    try:
        known = load(paths.kubeconfig(ROLES[0])).address.split(",")[1:]
    except KubeconfigError:
        known = []
    return ",".join([own, *(each for each in known if each != own)])


def server_addresses(text: str) -> tuple[str, ...]:
    """The addresses of `text`, each once. Raises ValueError for several that are not all IPv4 or all IPv6."""
    found = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    if len(found) < 2:
        return found or (text,)
    # Only who has several servers needs it.
    import ipaddress

    versions = set()
    for each in found:
        host, _, port = each.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            address = None
        if address is None or not port.isdigit() or host.startswith("[") != (address.version == 6):
            raise ValueError(f'"{each}" is not IP:PORT: of several servers the IP addresses are needed, not names')
        versions.add(address.version)
    if len(versions) > 1:
        raise ValueError(f"{text}: the addresses of several servers must be all IPv4 or all IPv6")
    return found


def load(path: Path, context: str | None = None) -> Connection:
    """The connection of a context (the current one when not given). Raises KubeconfigError."""
    file = _File(path)
    chosen = context or file.text(file.root, "current-context", "")
    if not chosen:
        raise KubeconfigError(f"{path}: current-context is not set: set it, or name a context")
    entry = file.named("contexts", "context", chosen)
    where = f"contexts[{chosen}].context"
    cluster_name = file.required(entry, "cluster", where)
    cluster = file.named("clusters", "cluster", cluster_name)
    user_name = file.required(entry, "user", where)
    user = file.named("users", "user", user_name)
    return Connection(
        address=file.grpc_address(cluster, cluster_name),
        ca=file.material(cluster, "certificate-authority", f"clusters[{cluster_name}].cluster"),
        certificate=file.material(user, "client-certificate", f"users[{user_name}].user"),
        key=file.material(user, "client-key", f"users[{user_name}].user"),
        namespace=file.text(entry, "namespace", where) or "default",
    )


class _File:
    """A parsed kubeconfig and the checked ways to take things out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise KubeconfigError(f"{path}: {error.strerror or error}") from error
        self.root = self._mapping(_parse(path, content), "the file")

    def _mapping(self, value: object, where: str) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            raise KubeconfigError(f"{self.path}: {where} must be a mapping")
        return value

    def named(self, section: str, inner: str, name: str) -> Mapping[str, object]:
        """The entry called `name` of one of the three lists."""
        entries = self.root.get(section)
        if not isinstance(entries, list):
            raise KubeconfigError(f"{self.path}: {section} must be a list")
        for entry in entries:
            if isinstance(entry, Mapping) and entry.get("name") == name:
                return self._mapping(entry.get(inner), f"{section}[{name}].{inner}")
        known = ", ".join(str(entry.get("name")) for entry in entries if isinstance(entry, Mapping))
        raise KubeconfigError(f'{self.path}: no {inner} named "{name}" (there are: {known or "none"})')

    def text(self, mapping: Mapping[str, object], field: str, where: str) -> str:
        value = mapping.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise KubeconfigError(f"{self.path}: {where}{'.' if where else ''}{field} must be a string")
        return value

    def required(self, mapping: Mapping[str, object], field: str, where: str) -> str:
        value = self.text(mapping, field, where)
        if not value:
            raise KubeconfigError(f"{self.path}: {where}.{field} is required")
        return value

    def grpc_address(self, cluster: Mapping[str, object], name: str) -> str:
        extensions = cluster.get("extensions")
        for item in extensions if isinstance(extensions, list) else ():
            if isinstance(item, Mapping) and item.get("name") == EXTENSION:
                where = f"clusters[{name}].cluster.extensions[{EXTENSION}].extension"
                address = self.required(self._mapping(item.get("extension"), where), "grpc", where)
                try:
                    return ",".join(server_addresses(address))
                except ValueError as error:
                    raise KubeconfigError(f"{self.path}: {where}.grpc: {error}") from error
        raise KubeconfigError(
            f'{self.path}: cluster "{name}" has no gRPC address: add to it '
            f"extensions: [{{name: {EXTENSION}, extension: {{grpc: HOST:7443}}}}]"
        )

    def material(self, mapping: Mapping[str, object], field: str, where: str) -> bytes:
        """The bytes of a certificate or key, from `<field>-data` or the file `<field>` names."""
        data = self.text(mapping, f"{field}-data", where)
        if data:
            try:
                return base64.b64decode(data, validate=True)
            except binascii.Error as error:
                raise KubeconfigError(f"{self.path}: {where}.{field}-data is not base64: {error}") from error
        name = self.text(mapping, field, where)
        if not name:
            raise KubeconfigError(f"{self.path}: {where} needs {field} or {field}-data")
        file = self.path.parent / name
        try:
            return file.read_bytes()
        except OSError as error:
            raise KubeconfigError(f"{self.path}: {where}.{field}: {file}: {error.strerror or error}") from error


def _parse(path: Path, content: bytes) -> object:
    """What the file says: JSON by its fast parser, anything else, including JSON with a fault, as YAML."""
    if content.lstrip().startswith(b"{"):
        with contextlib.suppress(ValueError):
            parsed: object = json.loads(content)
            return parsed
    import yaml

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path}: not valid YAML: {error}") from error
