"""A pod in words."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from cli.descriptions.page import Page, int_or_string
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import (
    Container,
    ContainerState,
    ContainerStatus,
    EnvFromSource,
    EnvVar,
    Pod,
    PodTemplateSpec,
    Probe,
    Toleration,
    Volume,
    VolumeMount,
)


def describe_pod(page: Page, pod: Pod) -> None:
    spec, status = pod.spec, pod.status
    page.optional("Priority Class Name", spec.priority_class_name)
    page.value("Service Account", spec.service_account_name)
    page.value("Node", f"{spec.node_name}/{status.host_ip}" if spec.node_name else "")
    page.value("Start Time", _time(status.start_time) if status.HasField("start_time") else "")
    if pod.metadata.HasField("deletion_timestamp"):
        page.value("Termination Grace Period", f"{pod.metadata.deletion_grace_period_seconds}s")
    else:
        page.value("Status", status.phase)
    page.optional("Reason", status.reason)
    page.optional("Message", status.message)
    page.value("IP", status.pod_ip)
    _containers(page, "Init Containers", spec.init_containers, status.init_container_statuses)
    _containers(page, "Containers", spec.containers, status.container_statuses)
    page.table("Conditions", ("Type", "Status"), ((each.type, each.status) for each in status.conditions))
    _volumes(page, spec.volumes)
    page.value("QoS Class", status.qos_class)
    page.pairs("Node-Selectors", spec.node_selector)
    page.value("Tolerations", *(toleration_text(each) for each in spec.tolerations))


def describe_template(page: Page, template: PodTemplateSpec) -> None:
    section = page.section("Pod Template")
    section.pairs("Labels", template.metadata.labels)
    if template.metadata.annotations:
        section.pairs("Annotations", template.metadata.annotations, ": ")
    _containers(section, "Init Containers", template.spec.init_containers, ())
    _containers(section, "Containers", template.spec.containers, ())
    _volumes(section, template.spec.volumes)
    section.pairs("Node-Selectors", template.spec.node_selector)


def _containers(page: Page, title: str, containers: Sequence[Container], statuses: Sequence[ContainerStatus]) -> None:
    if not containers:
        return
    known = {status.name: status for status in statuses}
    section = page.section(title)
    for container in containers:
        part = section.section(container.name)
        status = known.get(container.name)
        if status is not None:
            part.value("Container ID", status.container_id)
        part.value("Image", container.image)
        if status is not None:
            part.value("Image ID", status.image_id)
        part.value("Ports", *(f"{port.container_port}/{port.protocol or 'TCP'}" for port in container.ports))
        host_ports = [f"{port.host_port}/{port.protocol or 'TCP'}" for port in container.ports if port.host_port]
        if host_ports:
            part.value("Host Ports", *host_ports)
        if container.command:
            part.value("Command", *container.command)
        if container.args:
            part.value("Args", *container.args)
        if status is not None:
            _state(part, "State", status.state)
            if status.last_state.ByteSize():
                _state(part, "Last State", status.last_state)
            part.value("Ready", str(status.ready))
            part.value("Restart Count", str(status.restart_count))
        if container.resources.limits:
            part.pairs("Limits", container.resources.limits, ": ")
        if container.resources.requests:
            part.pairs("Requests", container.resources.requests, ": ")
        if container.HasField("liveness_probe"):
            part.value("Liveness", probe_text(container.liveness_probe))
        if container.HasField("readiness_probe"):
            part.value("Readiness", probe_text(container.readiness_probe))
        if container.HasField("startup_probe"):
            part.value("Startup", probe_text(container.startup_probe))
        if container.env_from:
            part.value("Environment Variables from", *(_environment_source(each) for each in container.env_from))
        part.value("Environment", *(_environment(each) for each in container.env))
        part.value(
            "Mounts",
            *(f"{mount.mount_path} from {mount.name} ({_how_mounted(mount)})" for mount in container.volume_mounts),
        )


def _state(page: Page, title: str, state: ContainerState) -> None:
    if state.HasField("running"):
        page.value(title, "Running")
        page.value("  Started", _time(state.running.started_at))
    elif state.HasField("terminated"):
        ended = state.terminated
        page.value(title, "Terminated")
        page.value("  Reason", ended.reason)
        page.optional("  Message", ended.message)
        page.value("  Exit Code", str(ended.exit_code))
        page.optional("  Signal", ended.signal)
        page.value("  Started", _time(ended.started_at))
        page.value("  Finished", _time(ended.finished_at))
    else:
        page.value(title, "Waiting")
        page.optional("  Reason", state.waiting.reason)
        page.optional("  Message", state.waiting.message)


def probe_text(probe: Probe) -> str:
    """A probe in one line: what it does, and its numbers."""
    if probe.HasField("exec"):
        what = f"exec [{' '.join(probe.exec.command)}]"
    elif probe.HasField("http_get"):
        get = probe.http_get
        what = f"http-get {(get.scheme or 'HTTP').lower()}://{get.host}:{int_or_string(get.port)}{get.path}"
    elif probe.HasField("tcp_socket"):
        what = f"tcp-socket {probe.tcp_socket.host}:{int_or_string(probe.tcp_socket.port)}"
    else:
        what = f"grpc <pod>:{probe.grpc.port} {probe.grpc.service}".rstrip()
    return (
        f"{what} delay={probe.initial_delay_seconds}s timeout={probe.timeout_seconds}s period={probe.period_seconds}s "
        f"#success={probe.success_threshold} #failure={probe.failure_threshold}"
    )


def _environment(variable: EnvVar) -> str:
    if not variable.HasField("value_from"):
        return f"{variable.name}: {variable.value}"
    source = variable.value_from
    if source.HasField("field_ref"):
        origin = f"({source.field_ref.api_version or 'v1'}:{source.field_ref.field_path})"
    elif source.HasField("resource_field_ref"):
        origin = f"({source.resource_field_ref.resource})"
    elif source.HasField("config_map_key_ref"):
        origin = f"<set to the key '{source.config_map_key_ref.key}' of config map '{source.config_map_key_ref.name}'>"
    else:
        origin = f"<set to the key '{source.secret_key_ref.key}' in secret '{source.secret_key_ref.name}'>"
    return f"{variable.name}: {origin}"


def _environment_source(source: EnvFromSource) -> str:
    """All keys of a ConfigMap or Secret as variables."""
    kind = "ConfigMap" if source.HasField("config_map_ref") else "Secret"
    reference = source.config_map_ref if source.HasField("config_map_ref") else source.secret_ref
    prefix = f" with prefix '{source.prefix}'" if source.prefix else ""
    return f"{reference.name}  {kind}{prefix}  Optional: {str(reference.optional).lower()}"


def _how_mounted(mount: VolumeMount) -> str:
    path = mount.sub_path or mount.sub_path_expr
    return ",".join(filter(None, ("ro" if mount.read_only else "rw", f'path="{path}"' if path else "")))


def _volumes(page: Page, volumes: Sequence[Volume]) -> None:
    if not volumes:
        page.value("Volumes")
        return
    section = page.section("Volumes")
    for volume in volumes:
        source = next((field for field, _ in volume.ListFields() if field.name != "name"), None)
        part = section.section(volume.name)
        part.value("Type", source.json_name[:1].upper() + source.json_name[1:] if source else "EmptyDir")
        if source is None:
            continue
        value = getattr(volume, source.name)
        for name in ("name", "secret_name", "path", "type", "medium", "size_limit", "claim_name", "server"):
            if name in value.DESCRIPTOR.fields_by_name and getattr(value, name):
                part.value(name.replace("_", " ").title().replace(" ", ""), getattr(value, name))


def toleration_text(toleration: Toleration) -> str:
    """A toleration as kubectl writes it: key=value:Effect op=Exists for 300s."""
    text = toleration.key
    if toleration.value:
        text += f"={toleration.value}"
    if toleration.effect:
        text += f":{toleration.effect}"
    if toleration.operator == "Exists":
        text += " op=Exists" if text else "op=Exists"
    if toleration.HasField("toleration_seconds"):
        text += f" for {toleration.toleration_seconds}s"
    return text


def _time(moment: Timestamp) -> str:
    return to_datetime(moment).strftime("%a, %d %b %Y %H:%M:%S +0000")
