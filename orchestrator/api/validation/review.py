"""Questions about identity and permission: about one thing, and about somebody."""

from __future__ import annotations

from orchestrator.api.errors import invalid, required
from orchestrator.api.v1 import (
    Eviction,
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    TokenRequest,
    TokenReview,
)
from orchestrator.api.validation.rules import Faults, not_negative
from orchestrator.api.validation.storage import token_life

_POLICIES = ("Background", "Foreground", "Orphan")


def token_review(obj: TokenReview) -> Faults:
    if not obj.spec.token:
        yield required("spec.token")


def token_request(obj: TokenRequest) -> Faults:
    if obj.spec.HasField("expiration_seconds"):
        yield from token_life("spec.expirationSeconds", obj.spec.expiration_seconds)


def subject_access_review(obj: SubjectAccessReview) -> Faults:
    yield from _about_one_thing(obj.spec)
    yield from _about_somebody(obj.spec)


def self_subject_access_review(obj: SelfSubjectAccessReview) -> Faults:
    yield from _about_one_thing(obj.spec)


def local_subject_access_review(obj: LocalSubjectAccessReview) -> Faults:
    yield from _about_one_thing(obj.spec)
    yield from _about_somebody(obj.spec)
    attributes = obj.spec.resource_attributes
    if obj.spec.HasField("resource_attributes") and attributes.namespace != obj.metadata.namespace:
        here = "spec.resourceAttributes.namespace"
        yield invalid(here, attributes.namespace, "must match metadata.namespace")
    if obj.spec.HasField("non_resource_attributes"):
        yield invalid("spec.nonResourceAttributes", "", "disallowed on this kind of request")


def eviction(obj: Eviction) -> Faults:
    options = obj.delete_options
    if options.HasField("grace_period_seconds"):
        yield from not_negative("deleteOptions.gracePeriodSeconds", options.grace_period_seconds)
    if options.HasField("propagation_policy") and options.propagation_policy not in _POLICIES:
        why = "must be Foreground, Background or Orphan"
        yield invalid("deleteOptions.propagationPolicy", options.propagation_policy, why)
    for value in options.dry_run:
        if value != "All":
            yield invalid("deleteOptions.dryRun", list(options.dry_run), 'supported values: "All"')


def _about_one_thing(spec: SubjectAccessReviewSpec | SelfSubjectAccessReviewSpec) -> Faults:
    resource, other = spec.HasField("resource_attributes"), spec.HasField("non_resource_attributes")
    if resource and other:
        why = "cannot be specified in combination with resourceAttributes"
        yield invalid("spec.nonResourceAttributes", "", why)
    elif not resource and not other:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield invalid("spec.resourceAttributes", None, why)


def _about_somebody(spec: SubjectAccessReviewSpec) -> Faults:
    if not spec.user and not spec.groups:
        yield invalid("spec.user", "", "at least one of user or group must be specified")
