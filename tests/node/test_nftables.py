"""libnftables in this process: a transaction is whole or not at all, and a refusal says where."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.node.network_lab import Lab
from tests.requires import require_program, require_root

_SCRIPT = """
import asyncio
from agents.nftables import Nftables, NftablesError, remove_table
nft = Nftables()
asyncio.run(nft.apply("add table ip a; add chain ip a one"))
try:
    asyncio.run(nft.apply("add chain ip a two\\nadd rule ip a missing drop\\n"))
except NftablesError as error:
    print("refused:", str(error).splitlines()[0])
print(sorted(line.split()[1] for line in nft.run("list table ip a").splitlines() if "chain" in line))
nft.run(remove_table("a"))
nft.run(remove_table("a"))
print(repr(nft.run("list tables")))
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    require_root()
    require_program("ip", "nsenter", "nft")
    lab = Lab()
    try:
        lab.add("node")
        yield lab
    finally:
        lab.close()


def test_transactions(lab: Lab) -> None:
    done = subprocess.run(
        lab.command("node", sys.executable, "-c", _SCRIPT), capture_output=True, text=True, check=True
    )
    refused, chains, tables = done.stdout.splitlines()
    assert refused.startswith("refused: ")
    assert chains == "['one']", "nothing of a refused transaction stays"
    assert tables == "''"
