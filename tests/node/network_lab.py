"""A machine with pods, made of network namespaces: real routing, nftables and sockets, and no container runtime.

The "node" namespace routes between "pods" the way the `ptp` CNI plugin wires them (a veth pair and a host route each)
and has an "outside" neighbour. Every namespace carries the lab's random name and goes with it.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

GATEWAY = "10.244.0.1"
NODE_ADDRESS = "192.0.2.1"
OUTSIDE_ADDRESS = "192.0.2.2"

_SERVER = """
import socket, sys, threading
name, protocol, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if protocol == "tcp":
    listener = socket.create_server(("0.0.0.0", port))
    print("ready", flush=True)
    while True:
        connection, (peer, _) = listener.accept()
        connection.sendall(f"{name} {peer}".encode())
        connection.close()
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("0.0.0.0", port))
print("ready", flush=True)
while True:
    _, peer = listener.recvfrom(2048)
    listener.sendto(f"{name} {peer[0]}".encode(), peer)
"""

_CLIENT = """
import socket, sys
protocol, address, port, count, source = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
for _ in range(count):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(2)
        if source:
            connection.bind(("0.0.0.0", source))
        try:
            connection.connect((address, port))
            if protocol == "udp":
                connection.send(b"?")
            print(connection.recv(2048).decode())
        except OSError as error:
            print(type(error).__name__)
"""


@dataclass
class Lab:
    """Namespaces by short name ("node", "outside", pods) and what runs in them."""

    prefix: str = field(default_factory=lambda: f"nv{secrets.token_hex(3)}")
    _namespaces: list[str] = field(default_factory=list)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, namespace: str, *arguments: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.prefix}-{namespace}", *arguments]

    def run(self, namespace: str, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            self.command(namespace, *arguments), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def add(self, namespace: str) -> None:
        subprocess.run(["ip", "netns", "add", f"{self.prefix}-{namespace}"], check=True)
        self._namespaces.append(namespace)
        self.run(namespace, "ip", "link", "set", "lo", "up")

    def connect(self, namespace: str, address: str, host_address: str, gateway: str) -> None:
        """Wires a namespace to the node by a veth pair with /32 routes."""
        link = f"{self.prefix}{namespace}"[:15]
        full = f"{self.prefix}-{namespace}"
        self.run("node", "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", full)
        self.run("node", "ip", "address", "add", f"{host_address}/32", "dev", link)
        self.run("node", "ip", "link", "set", link, "up")
        self.run("node", "ip", "route", "add", address, "dev", link)
        self.run(namespace, "ip", "address", "add", f"{address}/32", "dev", "eth0")
        self.run(namespace, "ip", "link", "set", "eth0", "up")
        self.run(namespace, "ip", "route", "add", gateway, "dev", "eth0", "scope", "link")
        self.run(namespace, "ip", "route", "add", "default", "via", gateway)

    def serve(self, namespace: str, protocol: str, port: int) -> None:
        """Starts a server that answers with its name and its client's address; returns when it listens."""
        command = self.command(namespace, sys.executable, "-c", _SERVER, namespace, protocol, str(port))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def ask(
        self, namespace: str, protocol: str, address: str, port: int, *, count: int = 1, source_port: int = 0
    ) -> list[str]:
        """What `count` connections answer: "<server> <client address>", or the name of the error."""
        arguments = (protocol, address, str(port), str(count), str(source_port))
        return self.run(namespace, sys.executable, "-c", _CLIENT, *arguments).splitlines()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        for namespace in reversed(self._namespaces):
            subprocess.run(["ip", "netns", "delete", f"{self.prefix}-{namespace}"], check=False)


@contextlib.contextmanager
def network_lab(pods: int) -> Iterator[Lab]:
    """A node with an outside neighbour and pods "a", "b", ... at 10.244.0.2, .3, ..."""
    lab = Lab()
    try:
        lab.add("node")
        lab.run("node", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1")
        lab.add("outside")
        lab.connect("outside", OUTSIDE_ADDRESS, NODE_ADDRESS, NODE_ADDRESS)
        lab.run("node", "ip", "route", "add", "default", "via", OUTSIDE_ADDRESS)
        for index in range(pods):
            name = chr(ord("a") + index)
            lab.add(name)
            lab.connect(name, f"10.244.0.{index + 2}", GATEWAY, GATEWAY)
        yield lab
    finally:
        lab.close()
