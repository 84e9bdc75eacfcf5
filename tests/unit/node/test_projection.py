"""Files of volumes that are made of API objects, and their switch to new ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.atomic_directory import write_directory
from agents.node.downward import Facts
from agents.node.errors import ConfigError
from agents.node.projection import ProjectedFile, References, is_projection, is_sensitive, references, volume_files
from orchestrator.api.v1 import ConfigMap, KeyToPath, Pod, Secret, Volume, VolumeProjection

FOUND = References(
    config_maps={"cm": ConfigMap(data={"a": "1", "b": "2"}, binary_data={"c": b"\x00"}), "gone": None},
    secrets={"s": Secret(data={"key": b"k"}), "gone": None},
)


def pod() -> Pod:
    made = Pod()
    made.metadata.name = "web"
    made.metadata.labels["app"] = "web"
    made.spec.containers.add(name="main").resources.limits["memory"] = "64Mi"
    return made


def config_map(name: str, *items: KeyToPath, optional: bool = False, mode: int | None = None) -> Volume:
    made = Volume(name="v")
    made.config_map.name = name
    made.config_map.items.extend(items)
    made.config_map.optional = optional
    if mode is not None:
        made.config_map.default_mode = mode
    return made


def secret(name: str, *items: KeyToPath, optional: bool = False) -> Volume:
    made = Volume(name="v")
    made.secret.secret_name = name
    made.secret.items.extend(items)
    made.secret.optional = optional
    return made


def files(volume: Volume) -> dict[str, ProjectedFile]:
    return volume_files(pod(), volume, FOUND, Facts(allocatable={}))


@pytest.mark.parametrize(
    ("volume", "content"),
    [
        (config_map("cm"), {"a": (b"1", 0o644), "b": (b"2", 0o644), "c": (b"\x00", 0o644)}),
        (config_map("cm", KeyToPath(key="a", path="x/y")), {"x/y": (b"1", 0o644)}),
        (config_map("cm", KeyToPath(key="a", path="x", mode=0o400), mode=0o600), {"x": (b"1", 0o400)}),
        (config_map("cm", KeyToPath(key="a", path="x"), mode=0o600), {"x": (b"1", 0o600)}),
        (config_map("cm", KeyToPath(key="z", path="x"), optional=True), {}),
        (config_map("gone", optional=True), {}),
        (secret("s"), {"key": (b"k", 0o644)}),
        (secret("s", KeyToPath(key="key", path="./x//y")), {"x/y": (b"k", 0o644)}),
        (secret("gone", optional=True), {}),
    ],
)
def test_keys_become_files(volume: Volume, content: dict[str, tuple[bytes, int]]) -> None:
    assert {path: (file.content, file.mode) for path, file in files(volume).items()} == content


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (config_map("gone"), 'configmap "gone" not found'),
        (secret("gone"), 'secret "gone" not found'),
        (config_map("cm", KeyToPath(key="z", path="x")), "configmap references non-existent config key: z (in cm)"),
        (secret("s", KeyToPath(key="z", path="x")), "references non-existent secret key: z (in s)"),
        (config_map("cm", KeyToPath(key="a", path="../x")), '"../x" is no path inside a volume'),
        (config_map("cm", KeyToPath(key="a", path="x/../../y")), '"x/../../y" is no path inside a volume'),
        (config_map("cm", KeyToPath(key="a", path="/etc/passwd")), '"/etc/passwd" is no path inside a volume'),
        (config_map("cm", KeyToPath(key="a", path="..data")), '"..data" is no path inside a volume'),
    ],
)
def test_what_is_missing_or_leads_out_is_refused(volume: Volume, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        files(volume)
    assert (error.value.reason, error.value.message) == ("FailedMount", message)


def test_a_projected_volume_gathers_its_sources() -> None:
    volume = Volume(name="v")
    volume.projected.default_mode = 0o440
    volume.projected.sources.add().config_map.name = "cm"
    chosen = volume.projected.sources.add().secret
    chosen.name = "s"
    chosen.items.add(key="key", path="a", mode=0o400)
    about = volume.projected.sources.add().downward_api.items
    about.add(path="labels").field_ref.field_path = "metadata.labels"
    memory = about.add(path="limits/memory").resource_field_ref
    memory.container_name, memory.resource, memory.divisor = "main", "limits.memory", "1Mi"
    found = files(volume)
    # A later source wins.
    assert found["a"] == ProjectedFile(b"k", 0o400)
    assert found["b"] == ProjectedFile(b"2", 0o440)
    assert found["labels"].content == b'app="web"'
    assert found["limits/memory"].content == b"64"
    assert references([volume]) == ({"cm"}, {"s"})
    assert is_projection(volume)
    assert is_sensitive(volume)
    volume.projected.sources.append(VolumeProjection())
    volume.projected.sources[-1].service_account_token.path = "token"
    # There are no tokens: the user was warned, and the rest is there.
    assert files(volume) == found


def test_other_volumes_are_no_projections() -> None:
    volume = Volume(name="v")
    volume.empty_dir.SetInParent()
    assert not is_projection(volume)
    assert not is_sensitive(config_map("cm"))


def visible(directory: Path) -> dict[str, bytes]:
    """What a program that walks the volume sees, Kubernetes' own entries apart."""
    found = {}
    for top in directory.iterdir():
        if not top.name.startswith(".."):
            for path in [top, *top.rglob("*")]:
                if path.is_file():
                    found[str(path.relative_to(directory))] = path.read_bytes()
    return found


_NAMES = st.sampled_from(["a", "b", "c.conf", "d/e", "d/f", "g/h/i"])
_SETS = st.dictionaries(_NAMES, st.binary(max_size=8), max_size=5)


@given(history=st.lists(_SETS, min_size=1, max_size=6))
def test_whatever_was_there_before_the_last_set_is_what_is_seen(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("volume")
    before: dict[str, bytes] | None = None
    for content in history:
        changed = write_directory(directory, {name: ProjectedFile(data, 0o644) for name, data in content.items()})
        assert changed is (content != before)
        assert visible(directory) == content
        # The old set is gone: one directory, one link to it.
        assert len([path for path in directory.iterdir() if path.name.startswith("..")]) == 2
        before = content


def test_a_new_set_takes_the_place_of_the_old_in_one_step(tmp_path: Path) -> None:
    write_directory(tmp_path, {"a": ProjectedFile(b"1", 0o644), "b": ProjectedFile(b"1", 0o644)})
    data = tmp_path / "..data"
    before = data.readlink()
    link = os.lstat(tmp_path / "a").st_ino
    write_directory(tmp_path, {"a": ProjectedFile(b"2", 0o644), "b": ProjectedFile(b"2", 0o644)})
    assert data.readlink() != before
    # Names that stay are not touched: only where ..data leads has changed.
    assert os.lstat(tmp_path / "a").st_ino == link
    assert (tmp_path / "a").readlink() == Path("..data/a")


def test_an_interrupted_switch_is_completed_and_swept(tmp_path: Path) -> None:
    write_directory(tmp_path, {"a": ProjectedFile(b"1", 0o644)})
    (tmp_path / "..half").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..half")
    (tmp_path / "gone").symlink_to("..data/gone")
    write_directory(tmp_path, {"a": ProjectedFile(b"2", 0o644)})
    assert visible(tmp_path) == {"a": b"2"}
    assert not (tmp_path / "..half").exists()
    assert not (tmp_path / "gone").is_symlink()


@pytest.mark.parametrize(
    ("mode", "group", "seen"), [(0o600, None, 0o600), (0o600, os.getgid(), 0o640), (0o444, None, 0o444)]
)
def test_modes(tmp_path: Path, mode: int, group: int | None, seen: int) -> None:
    write_directory(tmp_path, {"a": ProjectedFile(b"1", mode)}, group=group)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == seen
    assert not write_directory(tmp_path, {"a": ProjectedFile(b"1", mode)}, group=group)
