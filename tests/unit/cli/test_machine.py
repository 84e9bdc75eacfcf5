"""A machine that can't run a node says so in one sentence, with what to do about it."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from pathlib import Path

import pytest

from cli import machine
from demo.__main__ import main as demo


def test_without_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any("needs root" in found for found in machine.obstacles())
    assert demo() == 1
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("demo: can't run here: a node needs root")


def test_missing_programs_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("nft", "runc") else f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "CNI_DIRECTORIES", (Path("/nowhere"),))
    [sentence] = [found for found in machine.obstacles() if "apt-get" in found]
    assert sentence.endswith("apt-get install containernetworking-plugins nftables runc")


def test_the_machine_has_a_name_and_an_address() -> None:
    assert machine.node_name() == machine.node_name().lower()
    assert ipaddress.ip_address(machine.node_address())


def test_a_port_that_something_listens_on_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert machine.taken_ports([port]) == [port]
    assert machine.taken_ports([port]) == []
