"""To whom a directory belongs: which member of which cluster, in a small file of its own.

It is written when a member begins, and looked at before anything else of the directory is: a member that is started on
another's directory, or on another cluster's, says so and touches nothing. It also holds what a log cannot: with whom
the cluster began, and which log entry made this one a member, which tells it from an earlier one of its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from orchestrator.store.errors import StoreCorrupt, WrongIdentity
from orchestrator.store.files import Files
from orchestrator.store.membership import FIRST_INDEX, Configuration, MemberInfo, Members

FILE_NAME: Final = "identity"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Identity:
    cluster: str
    """Empty: it waits to be taken in, and does not know yet by whom."""
    member: str
    since: int = FIRST_INDEX
    """The log entry that made it a member; 0: it has not been told yet."""
    initial: Mapping[str, str] = field(default_factory=dict)
    """The names and addresses of the cluster's first members; empty for one that joined later."""
    fresh: bool = False
    """It is one of several first members and has taken part in nothing yet, or its directory was emptied since: which
    of the two, it cannot know (`Elections`)."""

    def first(self) -> Configuration:
        """The configuration before any that is in the log or in a snapshot."""
        members = tuple(MemberInfo(name, self.initial[name]) for name in sorted(self.initial))
        return Configuration(members, FIRST_INDEX if members else 0)


def begin_identity(members: Members, made_up: str) -> Identity:
    """Of a member with an empty directory; `made_up` is the cluster's id if nobody gave one."""
    if members.join:
        return Identity(members.cluster, members.name, since=0)
    return Identity(
        members.cluster or made_up,
        members.name,
        initial=members.initial or {members.name: members.address},
        fresh=len(members.initial) > 1,
    )


def load_identity(files: Files, directory: Path, members: Members) -> Identity | None:
    """What the directory says; None: it says nothing. Raises WrongIdentity when it is another's, StoreCorrupt."""
    path = directory / FILE_NAME
    if FILE_NAME not in files.names(directory):
        return None
    try:
        found = json.loads(files.read(path))
        version = found.pop("version")
        identity = Identity(**found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"{path} is damaged: {error}. Nothing was changed; restore it from a backup") from error
    if version != VERSION:
        raise StoreCorrupt(f"{path} has format {version}: this program reads format {VERSION}")
    if identity.member != members.name:
        raise WrongIdentity(f"{directory} belongs to the member {identity.member}, not to {members.name}")
    if members.cluster and identity.cluster and identity.cluster != members.cluster:
        raise WrongIdentity(f"{directory} belongs to the cluster {identity.cluster}, not to {members.cluster}")
    if members.cluster and not identity.cluster:
        return replace(identity, cluster=members.cluster)
    return identity


def save_identity(files: Files, directory: Path, identity: Identity) -> None:
    """Durable when it returns. Raises OSError."""
    path = directory / FILE_NAME
    fresh = path.with_suffix(".new")
    file = files.create(fresh)
    try:
        file.append(json.dumps({"version": VERSION, **asdict(identity)}, indent=1).encode())
        file.sync()
    finally:
        file.close()
    files.rename(fresh, path)
    files.sync_directory(directory)
