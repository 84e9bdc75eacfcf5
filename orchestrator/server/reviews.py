"""Questions that are asked by creating an object, and answered in its status: who am I, may I, whose token is this.

They are answered from the same place that authorizes requests, so an answer is what a request would meet.
"""

from __future__ import annotations

from orchestrator.api import errors
from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.api.v1 import (
    LocalSubjectAccessReview,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    TokenReview,
    UserInfo,
)
from orchestrator.pki import Identity
from orchestrator.server.caller import Caller, authorize

AUTHENTICATED = "system:authenticated"


def answer(kind: Kind, caller: Caller, question: KubeObject) -> None:
    """Put the answer into the question's status. Raises BadRequest for what is no question."""
    match question:
        case SelfSubjectReview():
            question.status.user_info.CopyFrom(user_info(caller.identity))
        case SelfSubjectAccessReview():
            allowed, why = _may(caller, question.spec.resource_attributes)
            question.status.allowed, question.status.reason = allowed, why
        case SubjectAccessReview() | LocalSubjectAccessReview():
            allowed, why = _may(_subject(question.spec), question.spec.resource_attributes)
            question.status.allowed, question.status.reason = allowed, why
        case SelfSubjectRulesReview():
            every = question.status.resource_rules.add()
            every.verbs.append("*")
            every.api_groups.append("*")
            every.resources.append("*")
        case TokenReview():
            question.status.authenticated = False
            question.status.error = "bearer tokens are not known to this server: callers show a certificate"
        case _:
            raise errors.BadRequest(f"a {kind.kind} is no question of its own: it is the body of a subresource")


def user_info(identity: Identity) -> UserInfo:
    return UserInfo(username=identity.name, groups=(*identity.groups, AUTHENTICATED))


def _subject(spec: SubjectAccessReviewSpec) -> Caller:
    return Caller(Identity(spec.user, tuple(spec.groups)), "")


def _may(caller: Caller, attributes: ResourceAttributes) -> tuple[bool, str]:
    verb = f"{attributes.verb}/{attributes.subresource}" if attributes.subresource else attributes.verb
    resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    try:
        authorize(caller, verb, resource, attributes.namespace, attributes.name)
    except errors.Forbidden as error:
        return False, error.message
    return True, ""
