"""Who asks, and whether they may.

Every request carries a `Caller` from the door to the verbs. `authorize` is the one place where a request can be refused
for who its caller is; so far it lets every authenticated caller do everything, and refuses whoever shows no identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from orchestrator.api import errors
from orchestrator.pki import Identity, identity_of


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity from the client's certificate and the address it comes from."""

    identity: Identity
    peer: str


@lru_cache(maxsize=1024)
def authenticate(certificate: bytes) -> Identity:
    """The identity in a PEM certificate that the TLS handshake has already verified. Raises Unauthorized."""
    try:
        return identity_of(certificate)
    except ValueError as error:
        raise errors.Unauthorized(f"Unauthorized: {error}") from error


def authorize(caller: Caller, verb: str, resource: str, namespace: str, name: str) -> None:
    """Raise Forbidden unless `caller` may do `verb` ("get", "update/status") to the object or collection."""
    if not caller.identity.name:
        raise errors.Forbidden.of(resource, name, f'an anonymous caller cannot {verb} in the namespace "{namespace}"')
