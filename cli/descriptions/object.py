"""Any object in words: its metadata, what its kind has to say, and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cli.descriptions.node import describe_node
from cli.descriptions.page import Page
from cli.descriptions.pod import describe_pod
from cli.descriptions.workload import describe_deployment, describe_replica_set, describe_service
from orchestrator.api.ages import age
from orchestrator.api.codec import to_json
from orchestrator.api.conventions import LAST_APPLIED
from orchestrator.api.kinds import KubeObject
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import ConfigMap, Deployment, EndpointSlice, Event, Node, Pod, ReplicaSet, Secret, Service


def describe_object(
    obj: KubeObject, events: Sequence[Event] | None, now: datetime, *, related: Sequence[KubeObject] = ()
) -> str:
    """The description; `events` None leaves that section out. `related` are what belongs to the object: a node's pods,
    a Deployment's ReplicaSets, a Service's slices."""
    page = Page()
    metadata = obj.metadata
    page.value("Name", metadata.name)
    page.optional("Namespace", metadata.namespace)
    page.pairs("Labels", metadata.labels)
    page.pairs(
        "Annotations",
        {key: value for key, value in metadata.annotations.items() if key != LAST_APPLIED},
        ": ",
    )
    page.value("CreationTimestamp", to_datetime(metadata.creation_timestamp).strftime("%a, %d %b %Y %H:%M:%S +0000"))
    if metadata.HasField("deletion_timestamp"):
        over = to_datetime(metadata.deletion_timestamp) <= now  # the grace period, that is
        lasts = f" (lasts {age(now, metadata.deletion_timestamp)})" if over else ""
        page.value("Status", f"Terminating{lasts}")
    for owner in metadata.owner_references:
        if owner.controller:
            page.value("Controlled By", f"{owner.kind}/{owner.name}")
    match obj:
        case Pod():
            describe_pod(page, obj)
        case Node():
            describe_node(page, obj, [each for each in related if isinstance(each, Pod)])
        case Deployment():
            describe_deployment(page, obj, [each for each in related if isinstance(each, ReplicaSet)])
        case ReplicaSet():
            describe_replica_set(page, obj)
        case Service():
            describe_service(page, obj, [each for each in related if isinstance(each, EndpointSlice)])
        case ConfigMap():
            _describe_config_map(page, obj)
        case Secret():
            _describe_secret(page, obj)
        case _:
            rest = {key: value for key, value in to_json(obj).items() if key not in ("metadata", "apiVersion", "kind")}
            _add_values(page, rest)
    if events is not None:
        _add_events(page, events, now)
    return page.text()


def _describe_config_map(page: Page, config: ConfigMap) -> None:
    data = page.section("Data")
    for key in sorted(config.data):
        data.value(key, *config.data[key].splitlines())
    binary = page.section("BinaryData")
    for key in sorted(config.binary_data):
        binary.value(key, f"{len(config.binary_data[key])} bytes")


def _describe_secret(page: Page, secret: Secret) -> None:
    page.value("Type", secret.type)
    data = page.section("Data")
    for key in sorted(secret.data):
        data.value(key, f"{len(secret.data[key])} bytes")


def _add_values(page: Page, values: Mapping[str, Any]) -> None:
    """A document's fields as they are, for kinds without a form of their own."""
    for key, value in values.items():
        name = key[:1].upper() + key[1:]
        match value:
            case dict() if value:
                _add_values(page.section(name), value)
            case list() if value and isinstance(value[0], dict):
                section = page.section(name)
                for item in value:
                    _add_values(section, item)
            case list():
                page.value(name, *value)
            case _:
                page.value(name, value)


def _add_events(page: Page, events: Sequence[Event], now: datetime) -> None:
    def moment(event: Event) -> tuple[int, int]:
        last = event.last_timestamp if event.HasField("last_timestamp") else event.event_time
        return (last.seconds, last.nanos)

    def when(event: Event) -> str:
        if not event.HasField("last_timestamp"):
            return age(now, event.event_time)
        last = age(now, event.last_timestamp)
        return f"{last} (x{event.count} over {age(now, event.first_timestamp)})" if event.count > 1 else last

    page.table(
        "Events",
        ("Type", "Reason", "Age", "From", "Message"),
        (
            (
                event.type,
                event.reason,
                when(event),
                event.source.component or event.reporting_component,
                event.message.strip().replace("\n", " "),
            )
            for event in sorted(events, key=moment)
        ),
    )
