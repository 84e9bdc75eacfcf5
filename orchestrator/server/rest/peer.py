"""Who is at the other end of an HTTPS connection."""

from __future__ import annotations

from functools import lru_cache

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.api import errors
from orchestrator.pki import Identity
from orchestrator.server.caller import authenticate


def identity_of_connection(request: web.BaseRequest) -> Identity:
    """Who is at the other end, by the certificate that the handshake has verified. Raises Unauthorized."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if not certificate:
        raise errors.Unauthorized("Unauthorized: the connection shows no client certificate")
    return _identity(certificate)


@lru_cache(maxsize=1024)
def _identity(der: bytes) -> Identity:
    return authenticate(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
