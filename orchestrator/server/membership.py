"""This server's member of the store: who it is, where the others reach it, and with whom it begins.

Every API server has a member of the store in its process. What a member is told here counts when its directory is
empty; from then on the directory says who it is and who the others are. A lone member listens for others too, so that
it can be joined later without a new start.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.clock import Clock
from orchestrator.logs import fields
from orchestrator.paths import Paths
from orchestrator.store import Members, ReplicatedStore, StoreUnavailable, Timing
from orchestrator.store.grpc_wire import Credentials, GrpcWire
from orchestrator.store.lock import LOCK_NAME
from orchestrator.store.open import open_store

log = logging.getLogger("server")

STORE_PORT = 7444


@dataclass(frozen=True, slots=True)
class StoreMember:
    """What the store of one server is told."""

    name: str
    """Among the members; its certificate is for it, so it is the node's name."""
    listen: str = f"0.0.0.0:{STORE_PORT}"
    """Where the other members call."""
    address: str = ""
    """HOST:PORT by which the others reach it; empty: nobody is to join it before it has been moved to one."""
    initial: Mapping[str, str] = field(default_factory=dict)
    """The names and addresses of a new cluster's first members, this one among them."""
    join: bool = False
    """Wait to be added by the members of a cluster."""
    timing: Timing = field(default_factory=Timing)


async def open_member(paths: Paths, member: StoreMember, clock: Clock) -> ReplicatedStore:
    """Open the store in `paths.store` with its door to other members.

    Raises StoreError; OSError when the address to listen on can't be had.
    """
    begun = paths.store.exists() and any(
        each.name != LOCK_NAME and each.suffix != ".new" for each in paths.store.iterdir()
    )
    if begun and (member.initial or member.join):
        # As a service is started with the same command line every time.
        log.info("the members are as the store knows them: those on the command line were for the first start")
    authority = (paths.pki / "ca.crt").read_bytes()
    wire = GrpcWire(
        member.name,
        listen=member.listen,
        credentials=Credentials(
            authority, (paths.pki / "store.crt").read_bytes(), (paths.pki / "store.key").read_bytes()
        ),
        clock=clock,
    )
    try:
        await wire.open()
    except StoreUnavailable as error:
        raise OSError(f"{error}; end what listens there, or choose another place by --store-listen") from error
    if not begun and member.join:
        log.info(
            "waiting to be added to a cluster",
            extra=fields(command=f"navctl member add {member.name} {member.address or f'HOST:{wire.port}'}"),
        )
    members = Members(
        member.name,
        initial={} if begun else member.initial,
        address=member.address,
        join=member.join and not begun,
        cluster=cluster_of(authority, member.initial) if len(member.initial) > 1 and not begun else "",
        timing=member.timing,
    )
    try:
        return await open_store(paths.store, clock=clock, members=members, wire=wire)
    except BaseException:
        await wire.close()
        raise


def cluster_of(authority: bytes, initial: Mapping[str, str]) -> str:
    """The id of a cluster that several members begin together: the same for all who have this authority and are told
    of the same members. Who is told of others is of another cluster, and turned away instead of counting majorities
    of his own."""
    key = x509.load_pem_x509_certificate(authority).public_key()
    members = json.dumps(sorted(initial.items())).encode()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) + members).hexdigest()[:16]
