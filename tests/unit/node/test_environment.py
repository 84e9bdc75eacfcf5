"""Environment variables: sources, order, expansion, and what is said when a reference leads nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.downward import Facts
from agents.node.environment import (
    References,
    environment,
    expand,
    is_variable_name,
    resolve_environment,
    service_variables,
)
from agents.node.errors import ConfigError
from orchestrator.api.v1 import ConfigMap, Container, Pod, Secret, Service

FACTS = Facts(["10.244.0.7", "fd00::7"], ["192.0.2.1"], {"cpu": "3500m", "memory": "2Gi"})
REFERENCES = References(
    config_maps={"cm": ConfigMap(data={"a": "1", "b": "2", "not=valid": "x"}), "gone": None},
    secrets={"s": Secret(data={"a": b"secret", "binary": b"\xff"}), "gone": None},
)


def pod() -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = "web", "shop", "u-1"
    made.metadata.labels["app"] = "web"
    made.metadata.annotations["example.org/note"] = 'two\n"lines"'
    made.spec.node_name, made.spec.service_account_name = "n1", "default"
    other = made.spec.containers.add(name="other")
    other.resources.limits["memory"] = "1000"
    return made


def container(fill: Callable[[Container], object]) -> Container:
    made = Container(name="main")
    made.resources.limits.update({"cpu": "1500m", "memory": "64Mi"})
    made.resources.requests["cpu"] = "250m"
    fill(made)
    return made


def field(path: str) -> Callable[[Container], object]:
    def fill(made: Container) -> None:
        made.env.add(name="X").value_from.field_ref.field_path = path

    return fill


def resource(name: str, divisor: str = "", of: str = "") -> Callable[[Container], object]:
    def fill(made: Container) -> None:
        chosen = made.env.add(name="X").value_from.resource_field_ref
        chosen.resource, chosen.divisor, chosen.container_name = name, divisor, of

    return fill


@pytest.mark.parametrize(
    ("fill", "value"),
    [
        (field("metadata.name"), "web"),
        (field("metadata.namespace"), "shop"),
        (field("metadata.uid"), "u-1"),
        (field("metadata.labels['app']"), "web"),
        (field("metadata.labels['absent']"), ""),
        (field("metadata.annotations['example.org/note']"), 'two\n"lines"'),
        (field("metadata.annotations"), 'example.org/note="two\\n\\"lines\\""'),
        (field("spec.nodeName"), "n1"),
        (field("spec.serviceAccountName"), "default"),
        (field("status.hostIP"), "192.0.2.1"),
        (field("status.podIP"), "10.244.0.7"),
        (field("status.podIPs"), "10.244.0.7,fd00::7"),
        (resource("limits.cpu"), "2"),
        (resource("limits.cpu", "1m"), "1500"),
        (resource("requests.cpu", "1m"), "250"),
        (resource("requests.memory"), "0"),
        (resource("limits.memory"), str(64 << 20)),
        (resource("limits.memory", "1Mi"), "64"),
        (resource("limits.memory", "1G"), "1"),
        (resource("limits.memory", of="other"), "1000"),
        # Without a limit, the node is the limit.
        (resource("limits.cpu", "1m", of="other"), "3500"),
    ],
)
def test_the_pod_about_itself(fill: Callable[[Container], object], value: str) -> None:
    assert environment(pod(), container(fill), REFERENCES, FACTS)["X"] == value


def from_config_map(name: str, key: str, optional: bool = False) -> Callable[[Container], object]:
    def fill(made: Container) -> None:
        chosen = made.env.add(name="X").value_from.config_map_key_ref
        chosen.name, chosen.key = name, key
        if optional:
            chosen.optional = True

    return fill


def from_secret(name: str, key: str, optional: bool = False) -> Callable[[Container], object]:
    def fill(made: Container) -> None:
        chosen = made.env.add(name="X").value_from.secret_key_ref
        chosen.name, chosen.key = name, key
        if optional:
            chosen.optional = True

    return fill


def all_from(kind: str, name: str, optional: bool = False) -> Callable[[Container], object]:
    def fill(made: Container) -> None:
        source = made.env_from.add()
        chosen = source.config_map_ref if kind == "config_map" else source.secret_ref
        chosen.name = name
        if optional:
            chosen.optional = True

    return fill


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (from_config_map("gone", "a"), 'configmap "gone" not found'),
        (from_config_map("cm", "z"), "couldn't find key z in ConfigMap shop/cm"),
        (from_secret("gone", "a"), 'secret "gone" not found'),
        (from_secret("s", "z"), "couldn't find key z in Secret shop/s"),
        (all_from("config_map", "gone"), 'configmap "gone" not found'),
        (all_from("secret", "gone"), 'secret "gone" not found'),
        (field("spec.containers"), "unsupported fieldPath: spec.containers"),
        (resource("limits.cpu", of="absent"), "container absent not found"),
        (resource("weight"), "unsupported container resource: weight"),
    ],
)
def test_references_that_lead_nowhere(fill: Callable[[Container], object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        environment(pod(), container(fill), REFERENCES, FACTS)
    assert (error.value.reason, error.value.message) == ("CreateContainerConfigError", message)


@pytest.mark.parametrize(
    "fill",
    [
        from_config_map("gone", "a", optional=True),
        from_config_map("cm", "z", optional=True),
        from_secret("gone", "a", optional=True),
        from_secret("s", "z", optional=True),
        all_from("config_map", "gone", optional=True),
        all_from("secret", "gone", optional=True),
    ],
)
def test_optional_references_may_lead_nowhere(fill: Callable[[Container], object]) -> None:
    assert environment(pod(), container(fill), REFERENCES, FACTS) == {}


def test_later_sources_win_and_later_variables_see_earlier_ones() -> None:
    made = Container(name="main")
    made.env_from.add().config_map_ref.name = "cm"
    made.env_from.add(prefix="S_").secret_ref.name = "s"
    made.env_from.add().secret_ref.name = "s"
    made.env.add(name="b", value="own $(a) $(S_a) $(c) $$(a)")
    made.env.add(name="c", value="$(b)!")
    found = environment(pod(), made, REFERENCES, FACTS)
    assert found["a"] == "secret"
    assert found["b"] == "own secret secret $(c) $(a)"
    assert found["c"] == found["b"] + "!"
    assert "not=valid" not in found
    assert found["binary"] == "\N{REPLACEMENT CHARACTER}"


def service(name: str, address: str, *ports: tuple[str, int, str]) -> Service:
    made = Service()
    made.metadata.name, made.spec.cluster_ip = name, address
    for port_name, port, protocol in ports:
        made.spec.ports.add(name=port_name, port=port, protocol=protocol)
    return made


def test_services_are_announced() -> None:
    found = service_variables([service("my-db", "10.96.0.9", ("sql", 5432, ""), ("admin-ui", 80, "UDP"))])
    assert found == {
        "MY_DB_SERVICE_HOST": "10.96.0.9",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_SERVICE_PORT_ADMIN_UI": "80",
        "MY_DB_PORT": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.0.9",
        "MY_DB_PORT_80_UDP": "udp://10.96.0.9:80",
        "MY_DB_PORT_80_UDP_PROTO": "udp",
        "MY_DB_PORT_80_UDP_PORT": "80",
        "MY_DB_PORT_80_UDP_ADDR": "10.96.0.9",
    }


@pytest.mark.parametrize(
    "made", [service("a", "None", ("", 80, "")), service("a", "", ("", 80, "")), service("a", "1.2.3.4")]
)
def test_services_without_address_or_port_are_not_announced(made: Service) -> None:
    assert service_variables([made]) == {}


class Objects:
    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return REFERENCES.config_maps[name]

    async def secret(self, namespace: str, name: str) -> Secret | None:
        return REFERENCES.secrets[name]

    async def services(self, namespace: str) -> Sequence[Service]:
        everywhere = {
            "default": [
                service("kubernetes", "10.96.0.1", ("https", 443, "TCP")),
                service("other", "1.1.1.1", ("", 1, "")),
            ],
            "shop": [service("db", "10.96.0.9", ("", 5432, "TCP"))],
        }
        return everywhere[namespace]


@pytest.mark.parametrize(("links", "seen"), [(None, True), (True, True), (False, False)])
async def test_service_links_can_be_turned_off_but_for_the_api(links: bool | None, seen: bool) -> None:
    made = pod()
    if links is not None:
        made.spec.enable_service_links = links
    found = await resolve_environment(made, Container(name="main"), Objects(), pod_ips=[], host_ips=[], allocatable={})
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert ("DB_SERVICE_HOST" in found) is seen
    assert "OTHER_SERVICE_HOST" not in found


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$$", "$"),
        ("", ""),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_dollars_is_never_changed(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


@pytest.mark.parametrize(
    ("name", "valid"),
    [("A", True), ("a.b-c", True), ("1", True), ("", False), ("a=b", False), ("ä", False), ("a\n", False)],
)
def test_variable_names(name: str, valid: bool) -> None:
    assert is_variable_name(name) is valid
