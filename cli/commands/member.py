"""`navctl member`: which API servers' stores belong to the cluster, and how they come and go while it works."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.durations import DURATION
from cli.flags import Group
from cli.members import check_address, check_name
from cli.output import align, read_format, show_document
from cli.progress import Progress
from cli.store_session import run, words
from cli.target import Target, target_options
from orchestrator.store import MemberList, MemberNotReady, MemberStatus, StoreUnavailable
from orchestrator.store.store_client import StoreClient

if TYPE_CHECKING:
    from cli.jsonpath import Json

LOOK_AGAIN_SECONDS = 0.5


@click.group(cls=Group)
def member() -> None:
    """The members of the store: one in each API server."""


@member.command("list")
@target_options
@click.option("-o", "--output", help="wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=SPEC.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
def list_(target: Target, output: str | None, no_headers: bool) -> None:
    """Show the members, who leads, and who is in reach of the leader."""
    shape = read_format(output)
    known = run(target, _members)
    if shape.name == "name":
        sys.stdout.write("".join(f"member/{each.name}\n" for each in known.members))
    elif shape.is_table:
        sys.stdout.write(align(rows(known, wide=shape.name == "wide")[1 if no_headers else 0 :]))
    else:
        sys.stdout.write(show_document(document(known), shape, headers=not no_headers))


@member.command()
@target_options
@click.argument("name")
@click.argument("address")
def add(target: Target, name: str, address: str) -> None:
    """Take a member in: NAME, and the HOST:7444 by which the others reach it. It begins without a vote."""
    check_name(name)
    check_address(address)
    known = run(target, lambda client: client.add_member(name, address))
    print(f"member/{name} added: it gets the log, and has no vote yet\n")
    print(next_steps(name, address, voters=sum(not each.learner for each in known.members)))


@member.command()
@target_options
@click.argument("name")
@click.option("--timeout", type=DURATION, default=30.0, help="How long to wait until it has caught up (0: not at all).")
def promote(target: Target, name: str, timeout: float) -> None:
    """Give a member that has caught up its vote."""

    async def work(client: StoreClient) -> MemberList:
        give_up = time.monotonic() + timeout
        while True:
            try:
                return await client.promote_member(name)
            except MemberNotReady:
                if time.monotonic() >= give_up:
                    raise
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    with Progress().step(f"{name} catches up") if sys.stderr.isatty() else contextlib.nullcontext():
        known = run(target, work)
    print(f"member/{name} promoted: {voting(known)}")


@member.command()
@target_options
@click.argument("name")
def remove(target: Target, name: str) -> None:
    """Take a member out for good, as one whose machine is dead."""
    known = run(target, lambda client: client.remove_member(name))
    print(f"member/{name} removed: {voting(known)}")
    print("If its server still runs, it stops serving; end it, and remove its /var/lib/navarch/store to use it again.")


@member.command()
@target_options
@click.argument("name")
@click.argument("address")
def move(target: Target, name: str, address: str) -> None:
    """Tell the others that a member is reached at another HOST:7444 from now on."""
    check_address(address)
    run(target, lambda client: client.move_member(name, address))
    print(f"member/{name} moved to {address}")


@member.command()
@target_options
@click.argument("name", default="")
def transfer(target: Target, name: str) -> None:
    """Have another member lead: NAME, or the one that has most."""
    known = run(target, lambda client: client.transfer_leadership(name))
    leader = next((each.name for each in known.members if each.leader), "nobody yet")
    print(f"leadership transferred: {leader} leads")


async def _members(client: StoreClient) -> MemberList:
    """As the leader sees them; without one, as somebody remembers them."""
    try:
        return await client.members()
    except StoreUnavailable as error:
        try:
            known = await client.members(serializable=True)
        except StoreUnavailable:
            raise error from None
        click.echo(f"Warning: {words(error)}. This is what one member remembers:", err=True)
        return known


def rows(known: MemberList, *, wide: bool) -> Sequence[Sequence[str]]:
    """The table, header first."""
    header = ["NAME", "ADDRESS", "ROLE", "STATUS", *(["MATCHED"] if wide else [])]
    led = any(each.leader for each in known.members)
    listed = []
    for each in sorted(known.members, key=lambda one: one.name):
        status = ("Reachable" if each.reachable else "Unreachable") if led else "Unknown"
        listed.append([each.name, each.address or "<none>", _role(each), status])
        if wide:
            listed[-1].append(str(each.match_index))
    return [header, *listed]


def document(known: MemberList) -> Json:
    return {
        "cluster": known.cluster,
        "items": [
            {
                "name": each.name,
                "address": each.address,
                "role": _role(each),
                "reachable": each.reachable,
                "matchIndex": each.match_index,
            }
            for each in sorted(known.members, key=lambda one: one.name)
        ],
    }


def voting(known: MemberList) -> str:
    """How many there are now, and how many of them may be lost."""
    voters = sum(not each.learner for each in known.members)
    spare = (voters - 1) // 2
    return f"{voters} with a vote, of which {spare or 'none'} may fail"


def next_steps(name: str, address: str, *, voters: int) -> str:
    """What to do on the new machine, as commands."""
    host, _, port = address.rpartition(":")
    copy_to = shlex.quote(host)  # scp wants the brackets of an IPv6 address, ssh and the flags do not
    host = host.strip("[]")
    where = shlex.quote(host)
    listen = "" if port == "7444" else f" --store-listen 0.0.0.0:{port}"
    return f"""On the new machine, on which Navarch is installed and no server has run before:
  1. bring the cluster's authority there (from a machine of the cluster):
       ssh {where} mkdir -p /etc/navarch/pki
       scp /etc/navarch/pki/ca.crt /etc/navarch/pki/ca.key {copy_to}:/etc/navarch/pki/
  2. start it:
       navctl up --node-name {name} --node-address {host} --store-address {address}{listen} --store-join
Then, from anywhere:
  3. give it its vote, once it has caught up ({voters} of {voters + 1} members have one now):
       navctl member promote {name}"""


def _role(each: MemberStatus) -> str:
    return "leader" if each.leader else "learner" if each.learner else "voter"
