"""`navctl store`: what is really stored, for people who debug; and how each member of the store does.

Reading only: what is written goes through the API, which keeps the rules.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import click

from cli.failure import Failure
from cli.flags import Command, Group
from cli.output import Format, align, read_format, show_document
from cli.store_session import addresses, run, store_client, words
from cli.store_values import described, hex_dump, readable
from cli.target import Target, target_options
from orchestrator.kubeconfig import Connection
from orchestrator.store import KeyValue, StoreError, StoreUnavailable
from orchestrator.store.room import alarm_words
from orchestrator.store.store_client import StoreClient

if TYPE_CHECKING:
    from cli.jsonpath import Json
    from orchestrator.store.v1 import store_pb2 as pb

PAGE = 500
STATUS_SECONDS = 3.0


@click.group(cls=Group)
def store() -> None:
    """What is stored, and how the store does."""


@store.command(cls=Command)
@target_options
@click.argument("key")
@click.option("--revision", type=click.IntRange(min=0), default=0, help="As of this revision (default: now).")
@click.option("-o", "--output", help="yaml (default), json, raw, hex, or jsonpath=TEMPLATE.")
def get(target: Target, key: str, revision: int, output: str | None) -> None:
    """Show what is under a key: navctl store get /pods/default/web, navctl store get /nodes//n1 (no namespace)."""
    shape = _value_format(output or "yaml")
    found = run(target, lambda client: client.get(key, revision=revision))
    if found is None:
        raise Failure(f'there is no key "{key}": `navctl store range PREFIX` lists keys')
    if shape.name == "raw":
        sys.stdout.buffer.write(found.value)
    elif shape.name == "hex":
        sys.stdout.write(hex_dump(found.value))
    else:
        sys.stdout.write(show_document(described(found, readable(found)), shape))


@store.command("range", cls=Command)
@target_options
@click.argument("prefix", default="/")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many keys (default: all).")
@click.option("--revision", type=click.IntRange(min=0), default=0, help="As of this revision (default: now).")
@click.option("--count", is_flag=True, help="Only how many there are.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@click.option("-o", "--output", help="wide, name, yaml, json, or jsonpath=TEMPLATE.")
def range_(
    target: Target, prefix: str, limit: int, revision: int, count: bool, no_headers: bool, output: str | None
) -> None:
    """List the keys that begin with PREFIX: navctl store range /pods/."""
    shape = read_format(output)

    async def work(client: StoreClient) -> None:
        if count:
            print((await client.range(prefix, limit=1, revision=revision)).count)
            return
        found = [item async for item in _all(client, prefix, limit, revision)]
        if shape.name == "name":
            sys.stdout.write("".join(f"{item.key}\n" for item in found))
        elif shape.is_table:
            if found:
                sys.stdout.write(align(_rows(found, wide=shape.name == "wide")[1 if no_headers else 0 :]))
            else:
                click.echo(f'No keys found that begin with "{prefix}".', err=True)
        else:
            items: list[Json] = [described(item, readable(item)) for item in found]
            sys.stdout.write(show_document({"items": items}, shape, headers=not no_headers))

    run(target, work)


@store.command(cls=Command)
@target_options
@click.argument("prefix", default="/")
@click.option("--after", type=click.IntRange(min=0), help="Begin after this revision (default: now).")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Each change as a document.")
def watch(target: Target, prefix: str, after: int | None, output: str | None) -> None:
    """Show each change of the keys that begin with PREFIX, until interrupted."""
    shape = read_format(output)

    async def work(client: StoreClient) -> None:
        begin = after if after is not None else (await client.range(prefix, limit=1)).revision
        changes = client.watch(prefix, after=begin)
        try:
            async for batch in changes:
                for event in batch:
                    value = event.value
                    if shape.is_table:
                        size = f"{len(value)} bytes" if value is not None else ""
                        print(f"{event.revision:<10} {_change(value):<7} {event.key}  {size}".rstrip())
                    else:
                        document: dict[str, Json] = {
                            "change": _change(value),
                            "key": event.key,
                            "revision": event.revision,
                        }
                        if value is not None:
                            item = KeyValue(event.key, value, 0, event.revision)
                            document |= {"size": len(value), "value": readable(item)}
                        if shape.name == "json":
                            print(json.dumps(document, ensure_ascii=False))  # one a line, for programs
                        else:
                            sys.stdout.write(f"---\n{show_document(document, shape)}")
                sys.stdout.flush()
        finally:
            changes.close()

    run(target, work)


@store.command(cls=Command)
@target_options
@click.option("-o", "--output", help="wide, yaml, json, jsonpath=TEMPLATE or custom-columns=SPEC.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
def status(target: Target, output: str | None, no_headers: bool) -> int:
    """How the member of the store in each API server of the kubeconfig does."""
    shape = read_format(output)
    connection = target.connection()
    asked = addresses(connection)
    answers = asyncio.run(_statuses(connection, asked))
    told = [(address, each) for address, each in zip(asked, answers, strict=True) if not isinstance(each, StoreError)]
    if shape.is_table:
        if told:
            sys.stdout.write(align(_status_rows(told, wide=shape.name == "wide")[1 if no_headers else 0 :]))
    else:
        document: Json = {"items": [_status_document(address, each) for address, each in told]}
        sys.stdout.write(show_document(document, shape, headers=not no_headers))
    sys.stdout.flush()
    for _, each in told:
        for alarm in each.alarms:
            click.echo(f"Warning: {each.member}: {alarm_words(alarm)}", err=True)
        if not each.leader:
            click.echo(f"Warning: {each.member} knows of no leader: are most members there?", err=True)
    for answer in answers:
        if isinstance(answer, StoreError):
            # Itself the place that such errors point to.
            click.echo(f"error: {answer if isinstance(answer, StoreUnavailable) else words(answer)}", err=True)
    return 0 if len(told) == len(asked) else 1


async def _statuses(connection: Connection, asked: Sequence[str]) -> list[pb.StatusReply | StoreError]:
    async def one(address: str) -> pb.StatusReply | StoreError:
        async with store_client(connection, address) as client:
            try:
                async with asyncio.timeout(STATUS_SECONDS):
                    return await client.status()
            except StoreError as error:
                return error
            except TimeoutError:
                return StoreUnavailable(f"the member at {address} did not answer in {STATUS_SECONDS:g} s")

    return list(await asyncio.gather(*map(one, asked)))


async def _all(client: StoreClient, prefix: str, limit: int, revision: int) -> AsyncIterator[KeyValue]:
    """The keys in order, all of one revision, page by page."""
    after, left = "", limit
    while True:
        size = min(PAGE, left) if limit else PAGE
        page = await client.range(prefix, start_after=after, limit=size, revision=revision)
        for item in page.items:
            yield item
        left -= len(page.items)
        if not page.more or not page.items or (limit and left <= 0):
            return
        after, revision = page.items[-1].key, page.revision


def _rows(items: Sequence[KeyValue], *, wide: bool) -> Sequence[Sequence[str]]:
    header = ["KEY", "CREATED", "MODIFIED", "SIZE", *(["LEASE"] if wide else [])]
    rows = []
    for each in items:
        rows.append([each.key, str(each.create_revision), str(each.mod_revision), str(len(each.value))])
        if wide:
            rows[-1].append(str(each.lease) if each.lease else "<none>")
    return [header, *rows]


def _status_rows(told: Sequence[tuple[str, pb.StatusReply]], *, wide: bool) -> Sequence[Sequence[str]]:
    header = ["MEMBER", "SERVER", "ROLE", "TERM", "REVISION", "KEYS", "DB SIZE", "LOG SIZE", "SNAPSHOT", "ALARMS"]
    if wide:
        header += ["LEADER", "COMPACTED", "COMMIT", "APPLIED", "LAST", "HISTORY", "WATCHERS"]
    rows = []
    for address, each in told:
        row = [
            each.member,
            address,
            _role(each),
            str(each.term),
            str(each.revision),
            str(each.keys),
            size(each.db_size),
            size(each.log_size),
            f"{each.snapshot_age:.0f}s ago" if each.snapshot_age else "<none>",
            str(len(each.alarms) or "<none>"),
        ]
        if wide:
            row += [
                each.leader or "<none>",
                *(str(n) for n in (each.compacted_revision, each.commit_index, each.applied_index, each.last_index)),
                size(each.history_size),
                str(each.watchers),
            ]
        rows.append(row)
    return [header, *rows]


def _status_document(address: str, each: pb.StatusReply) -> Json:
    return {
        "member": each.member,
        "server": address,
        "cluster": each.cluster,
        "role": _role(each),
        "leader": each.leader,
        "term": each.term,
        "revision": each.revision,
        "compactedRevision": each.compacted_revision,
        "keys": each.keys,
        "dbSize": each.db_size,
        "historySize": each.history_size,
        "logSize": each.log_size,
        "commitIndex": each.commit_index,
        "appliedIndex": each.applied_index,
        "lastIndex": each.last_index,
        "snapshotIndex": each.snapshot_index,
        "snapshotAge": each.snapshot_age,
        "watchers": each.watchers,
        "alarms": list(each.alarms),
    }


def _role(each: pb.StatusReply) -> str:
    if each.leader and each.leader == each.member:
        return "leader"
    return "learner" if each.learner else "voter"


def size(count: int) -> str:
    """Bytes as people say them: 512 B, 1.5 KiB, 20 MiB."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def _change(value: bytes | None) -> str:
    return "DELETE" if value is None else "PUT"


def _value_format(output: str) -> Format:
    if output in {"raw", "hex"}:
        return Format(output)
    if output.partition("=")[0] not in {"yaml", "json", "jsonpath", "jsonpath-file"}:
        raise Failure(f'a value can\'t be shown as "{output}": allowed are yaml, json, raw, hex and jsonpath=TEMPLATE')
    return read_format(output)
