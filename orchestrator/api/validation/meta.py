"""Metadata: the same rules for every kind, but for what its name may look like."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, required, too_long
from orchestrator.api.names import NameRule
from orchestrator.api.selectors import Operator, check_requirement
from orchestrator.api.v1 import LabelSelector, ObjectMeta, OwnerReference
from orchestrator.api.validation.rules import (
    IMMUTABLE,
    Faults,
    child,
    labels,
    moment_text,
    name_required,
    named,
    not_negative,
    shown,
)

ANNOTATIONS_LIMIT = 256 * 1024
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN, FOREGROUND})
_SELECTOR_OPERATORS = (Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST)


def metadata(meta: ObjectMeta, *, namespaced: bool, name_rule: NameRule) -> Faults:
    path = "metadata"
    if meta.generate_name:
        yield from named(names.generate_name(name_rule), f"{path}.generateName", meta.generate_name)
    if meta.name:
        yield from named(name_rule, f"{path}.name", meta.name)
    else:
        yield required(f"{path}.name", "name or generateName is required")
    if namespaced:
        yield from name_required(names.label, f"{path}.namespace", meta.namespace)
    elif meta.namespace:
        yield forbidden(f"{path}.namespace", "not allowed on this type")
    yield from not_negative(f"{path}.generation", meta.generation)
    yield from described(meta, path)
    yield from _owners(meta, f"{path}.ownerReferences")
    yield from _finalizers(meta, f"{path}.finalizers")


def described(meta: ObjectMeta, path: str) -> Faults:
    """Labels and annotations: what a template's metadata has too."""
    yield from labels(f"{path}.labels", meta.labels)
    yield from _annotations(meta, f"{path}.annotations")


def metadata_update(new: ObjectMeta, old: ObjectMeta) -> Faults:
    """What an update may not touch. Identity left empty by the client is not a change: the server fills it in."""
    for name, given, kept in (
        ("name", new.name, old.name),
        ("namespace", new.namespace, old.namespace),
        ("uid", new.uid, old.uid),
    ):
        if given and given != kept:
            yield invalid(f"metadata.{name}", given, IMMUTABLE)
    for name, present, moment, kept_moment in (
        (
            "creationTimestamp",
            new.HasField("creation_timestamp"),
            new.creation_timestamp,
            old.creation_timestamp,
        ),
        (
            "deletionTimestamp",
            new.HasField("deletion_timestamp"),
            new.deletion_timestamp,
            old.deletion_timestamp,
        ),
    ):
        if present and moment != kept_moment:
            yield invalid(f"metadata.{name}", moment_text(moment), IMMUTABLE)
    if new.generation and new.generation < old.generation:
        yield invalid("metadata.generation", new.generation, "must not be decremented")
    if old.HasField("deletion_timestamp"):
        added = sorted(set(new.finalizers) - set(old.finalizers))
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            why = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            yield forbidden("metadata.finalizers", why)


def finalizer_name(path: str, name: str) -> Faults:
    """Either one of the standard names or one with a domain: it says whose task it is."""
    problems = list(named(names.qualified_name, path, name))
    yield from problems
    if not problems and "/" not in name and name not in STANDARD_FINALIZERS:
        yield invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def label_selector(selector: LabelSelector, path: str) -> Faults:
    yield from labels(f"{path}.matchLabels", selector.match_labels)
    for index, expression in enumerate(selector.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        yield from check_requirement(here, expression.key, expression.operator, expression.values, _SELECTOR_OPERATORS)
        for position, value in enumerate(expression.values):
            yield from named(names.label_value, f"{here}.values[{position}]", value)


def _annotations(meta: ObjectMeta, path: str) -> Faults:
    size = 0
    for key in sorted(meta.annotations):
        # Annotations may have upper case in the domain, which labels may not.
        yield from (invalid(path, key, problem) for problem in names.qualified_name(key.lower()))
        size += len(key.encode()) + len(meta.annotations[key].encode())
    if size > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)


def _owners(meta: ObjectMeta, path: str) -> Faults:
    for index, owner in enumerate(meta.owner_references):
        yield from _owner(owner, f"{path}[{index}]")
    controllers = [owner for owner in meta.owner_references if owner.controller]
    if len(controllers) > 1:
        first, second = controllers[:2]
        why = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {first.name} and {second.name}'
        )
        yield invalid(path, [shown(first), shown(second)], why)


def _owner(owner: OwnerReference, path: str) -> Faults:
    if not owner.api_version.rpartition("/")[2]:
        yield invalid(child(path, "apiVersion"), owner.api_version, "version must not be empty")
    for name, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
        if not value:
            yield invalid(child(path, name), value, "must not be empty")
    if owner.kind == "Event" and owner.api_version == "v1":
        yield invalid(path, shown(owner), "v1, Kind=Event is disallowed from being an owner")


def _finalizers(meta: ObjectMeta, path: str) -> Faults:
    for name in meta.finalizers:
        yield from finalizer_name(path, name)
    if ORPHAN in meta.finalizers and FOREGROUND in meta.finalizers:
        yield invalid(path, list(meta.finalizers), f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set")
