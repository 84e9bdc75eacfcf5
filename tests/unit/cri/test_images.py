"""Images made of files: the same bytes everywhere, and an archive that adds up."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from agents.cri.images import Directory, Entry, File, ImageSource, Link, build_image, pause_image
from agents.cri.pause import UnsupportedMachineError, pause_program

FILES: dict[str, Entry] = {
    "/bin/app": File(b"#!/bin/sh\n", 0o755),
    "/bin/alias": Link("app"),
    "/srv/www/index.html": File(b"<p>hello"),
    "/tmp": Directory(0o1777),
}


def source(**changes: object) -> ImageSource:
    given: dict[str, object] = {"reference": "registry.test/app:1", "files": FILES, "machine": "x86_64"} | changes
    return ImageSource(**given)  # type: ignore[arg-type]


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for member in tar.getmembers():
            stream = tar.extractfile(member)
            assert stream is not None
            found[member.name] = stream.read()
        return found


def test_the_same_files_give_the_same_image_in_any_order() -> None:
    again = dict(reversed(FILES.items()))
    assert build_image(source()) == build_image(source(files=again))
    assert build_image(source()) != build_image(source(files=FILES | {"/x": File(b"")}))


def test_every_part_has_the_digest_and_size_it_is_listed_with() -> None:
    parts = unpacked(build_image(source(entrypoint=["/bin/app"], environment={"A": "1"}, user="1000")))
    assert json.loads(parts["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (listed,) = json.loads(parts["index.json"])["manifests"]
    assert listed["annotations"] == {"io.containerd.image.name": "registry.test/app:1"}

    def blob(descriptor: dict[str, object]) -> bytes:
        digest = str(descriptor["digest"]).removeprefix("sha256:")
        content = parts[f"blobs/sha256/{digest}"]
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, descriptor["size"])
        return content

    manifest = json.loads(blob(listed))
    config = json.loads(blob(manifest["config"]))
    (layer,) = manifest["layers"]
    blob(layer)
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Entrypoint"] == ["/bin/app"]
    assert config["config"]["Env"] == ["A=1"]
    assert config["config"]["User"] == "1000"


def test_a_layer_has_directories_before_what_is_in_them() -> None:
    parts = unpacked(build_image(source()))
    layer = next(content for name, content in parts.items() if name.startswith("blobs/") and b"ustar" in content[:512])
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == ["bin", "bin/alias", "bin/app", "srv", "srv/www", "srv/www/index.html", "tmp"]
    by_name = {member.name: member for member in members}
    assert by_name["bin/alias"].linkname == "app"
    assert by_name["bin/app"].mode == 0o755
    assert by_name["tmp"].mode == 0o1777
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_pause_program_is_an_executable_of_its_machine(machine: str, number: int) -> None:
    program = pause_program(machine)
    assert program[:7] == b"\x7fELF\x02\x01\x01"
    assert int.from_bytes(program[18:20], "little") == number
    entry = int.from_bytes(program[24:32], "little")
    assert entry == 0x400000 + 64 + 56
    # The file is one segment: its size is the size that is loaded.
    assert int.from_bytes(program[64 + 32 : 64 + 40], "little") == len(program)
    assert len(program) < 4096


def test_a_machine_without_pause_program_is_named() -> None:
    with pytest.raises(UnsupportedMachineError, match="no pause program for sparc64"):
        pause_image(machine="sparc64")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="needs a processor it is made for")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_pause_program_waits_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "pause"
    file.write_bytes(pause_program(platform.machine()))
    file.chmod(0o755)
    process = subprocess.Popen([file])
    try:
        caught, ignored = 1 << number - 1, 1 << signal.SIGCHLD - 1
        # It sets up its signals within microseconds; they are visible from outside.
        while not _mask(process.pid, "SigIgn") & ignored:
            assert process.poll() is None
            os.sched_yield()
        assert _mask(process.pid, "SigCgt") & caught
        process.send_signal(number)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _mask(pid: int, name: str) -> int:
    for each in Path(f"/proc/{pid}/status").read_text().splitlines():
        if each.startswith(name + ":"):
            return int(each.split()[1], 16)
    return 0
