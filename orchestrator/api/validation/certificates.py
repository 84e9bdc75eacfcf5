"""Requests for certificates: a readable request for a named signer, and decisions that are not taken back."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import duplicate, invalid, not_supported, required
from orchestrator.api.v1 import CertificateSigningRequest, CertificateSigningRequestStatus
from orchestrator.api.validation.rules import Faults, immutable, repeats

SHORTEST_LIFE = 600
_FINAL = ("Approved", "Denied", "Failed")
_USAGES = frozenset(
    {
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    }
)


def signing_request(obj: CertificateSigningRequest) -> Faults:
    spec = obj.spec
    yield from _request(spec.request)
    yield from _signer(spec.signer_name)
    if not spec.usages:
        yield required("spec.usages")
    for index, usage in enumerate(spec.usages):
        if usage not in _USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, _USAGES)
    for index in repeats(spec.usages):
        yield duplicate(f"spec.usages[{index}]", spec.usages[index])
    if spec.HasField("expiration_seconds") and spec.expiration_seconds < SHORTEST_LIFE:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", spec.expiration_seconds, why)
    yield from signing_status(obj.status)


def signing_request_update(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Faults:
    yield from immutable("spec", new.spec, old.spec)
    yield from signing_status_update(new.status, old.status)


def signing_status_update(new: CertificateSigningRequestStatus, old: CertificateSigningRequestStatus) -> Faults:
    """A decision stands, and so does the certificate that came of it."""
    kept = {condition.type for condition in new.conditions}
    for condition in old.conditions:
        if condition.type in _FINAL and condition.type not in kept:
            why = f"updates may not remove a condition of type {condition.type!r}".replace("'", '"')
            yield invalid("status.conditions", None, why)
    if old.certificate and new.certificate != old.certificate:
        yield invalid("status.certificate", "<certificate data>", "field is immutable")


def signing_status(status: CertificateSigningRequestStatus) -> Faults:
    conditions = status.conditions
    for index, condition in enumerate(conditions):
        here = f"status.conditions[{index}]"
        if not condition.type:
            yield required(f"{here}.type")
        if condition.type in _FINAL and condition.status != "True":
            yield not_supported(f"{here}.status", condition.status, ["True"])
        elif condition.status not in {"True", "False", "Unknown"}:
            yield not_supported(f"{here}.status", condition.status, ["True", "False", "Unknown"])
    for index in repeats(condition.type for condition in conditions):
        yield duplicate(f"status.conditions[{index}].type", conditions[index].type)
    types = {condition.type for condition in conditions}
    if {"Approved", "Denied"} <= types:
        index = max(place for place, each in enumerate(conditions) if each.type in {"Approved", "Denied"})
        why = "Approved and Denied conditions are mutually exclusive"
        yield invalid(f"status.conditions[{index}].type", conditions[index].type, why)


def _request(pem: bytes) -> Faults:
    # Only this rule needs a library that is large and slow to load.
    from cryptography import x509

    try:
        x509.load_pem_x509_csr(pem)
    except (ValueError, TypeError):
        yield invalid("spec.request", pem, "PEM block type must be CERTIFICATE REQUEST")


def _signer(name: str) -> Faults:
    path = "spec.signerName"
    if not name:
        yield required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or not rest or "." not in domain:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid(path, name, why)
        return
    problems = names.subdomain(domain) + [problem for part in rest.split("/") for problem in names.subdomain(part)]
    for problem in dict.fromkeys(problems):
        yield invalid(path, name, problem)
