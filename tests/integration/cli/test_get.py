"""`navctl get`: tables, documents, names and changes, as kubectl prints them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE

import pytest
import yaml

from orchestrator.api.v1 import Pod
from orchestrator.client import Client
from tests.integration.cli.commands import ROOT, Navctl, Result, line_of
from tests.integration.server.objects import config_map, deployment, node, pod, service


@pytest.fixture
async def objects(client: Client) -> None:
    for name in ("web-x", "web-y"):
        await client.create(pod(name, labels={"app": "web", "tier": name[-1]}))
    await client.create(pod("other"))
    await client.create(service("web", cluster_ip="10.96.0.5"))
    await client.create(config_map("settings", a="1"))
    await client.create(pod("coredns", namespace="kube-system"))


pytestmark = pytest.mark.usefixtures("objects")


async def test_a_table(navctl: Navctl) -> None:
    rows = [line.split() for line in (await navctl.ok("get", "pods")).splitlines()]
    assert rows[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[:4] for row in rows[1:]] == [[name, "0/1", "Pending", "0"] for name in ("other", "web-x", "web-y")]


async def test_columns_stand_below_their_names(navctl: Navctl) -> None:
    head, *rows = (await navctl.ok("get", "pods")).splitlines()
    assert head.startswith("NAME    READY   STATUS    RESTARTS   AGE")
    assert all(row.startswith(("other   0/1     Pending   0", "web-")) for row in rows)


async def test_names_of_one_kind(navctl: Navctl) -> None:
    out = await navctl.ok("get", "pods", "web-y", "web-x", "--no-headers")
    assert [line.split()[0] for line in out.splitlines()] == ["web-y", "web-x"]


@pytest.mark.parametrize("words", [("pod", "web-x"), ("pod/web-x",), ("po", "web-x"), ("Pod/web-x",)])
async def test_ways_to_say_the_same(navctl: Navctl, words: tuple[str, ...]) -> None:
    assert await navctl.ok("get", *words, "-o", "name") == "pod/web-x\n"


async def test_several_kinds_are_tables_with_prefixed_names(navctl: Navctl) -> None:
    out = await navctl.ok("get", "po,svc", "-l", "app=web")
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "pod/web-x", "pod/web-y"]
    out = await navctl.ok("get", "po,svc,cm")
    names = [line.split()[0] if line else "" for line in out.splitlines()]
    assert names == [
        *("NAME", "pod/other", "pod/web-x", "pod/web-y", ""),
        *("NAME", "service/web", ""),
        *("NAME", "configmap/settings"),
    ]


async def test_type_and_name_of_several_kinds(navctl: Navctl) -> None:
    out = await navctl.ok("get", "svc/web", "pod/web-x")
    assert [line.split()[0] for line in out.splitlines() if line] == ["NAME", "service/web", "NAME", "pod/web-x"]


async def test_all_means_what_people_work_with(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("web"))
    out = await navctl.ok("get", "all", "-o", "name")
    assert out.splitlines() == ["pod/other", "pod/web-x", "pod/web-y", "service/web", "deployment.apps/web"]


async def test_other_namespaces(navctl: Navctl) -> None:
    assert (await navctl.ok("get", "pods", "-n", "kube-system", "-o", "name")) == "pod/coredns\n"
    rows = [line.split() for line in (await navctl.ok("get", "pods", "-A")).splitlines()]
    assert rows[0][:2] == ["NAMESPACE", "NAME"]
    assert [row[:2] for row in rows[1:]] == [
        *(["default", name] for name in ("other", "web-x", "web-y")),
        ["kube-system", "coredns"],
    ]


async def test_things_without_namespaces(navctl: Navctl, client: Client) -> None:
    await client.create(node("n1"))
    for flags in ((), ("-A",)):
        head, row = (await navctl.ok("get", "nodes", *flags)).splitlines()
        assert head.split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
        assert row.split()[:2] == ["n1", "Unknown"]


async def test_selectors(navctl: Navctl) -> None:
    for selector in ("app=web", "app==web", "tier in (x,y)", "app"):
        assert await navctl.ok("get", "pods", "-l", selector, "-o", "name") == "pod/web-x\npod/web-y\n"
    assert await navctl.ok("get", "pods", "-l", "app!=web", "-o", "name") == "pod/other\n"
    assert await navctl.ok("get", "pods", "--field-selector=metadata.name=other", "-o", "name") == "pod/other\n"


async def test_wrong_selectors(navctl: Navctl) -> None:
    assert "unable to parse requirement" in await navctl.fails("get", "pods", "-l", "a in b")
    error = await navctl.fails("get", "pods", "--field-selector", "spec.colour=red")
    assert error == "Error from server (BadRequest): field label not supported: spec.colour"


async def test_labels_as_columns(navctl: Navctl) -> None:
    out = await navctl.ok("get", "pods", "-L", "app,tier", "--show-labels")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0][5:] == ["APP", "TIER", "LABELS"]
    assert rows[1][5:] == ["<none>"]
    assert rows[2][5:] == ["web", "x", "app=web,tier=x"]


async def test_wide(navctl: Navctl, client: Client) -> None:
    await client.bind(await client.get(Pod, "web-x", "default"), "n1")
    head, row = (await navctl.ok("get", "pods", "web-x", "-o", "wide")).splitlines()
    assert head.endswith("IP       NODE   NOMINATED NODE   READINESS GATES")
    assert row.endswith("<none>   n1     <none>           <none>")


async def test_flags_with_equals_signs(navctl: Navctl) -> None:
    expected = "pod/web-x\npod/web-y\n"
    assert await navctl.ok("get", "pods", "-o=name", "-l=app=web", "-n=default") == expected
    assert await navctl.ok("get", "pods", "-oname", "-lapp=web", "--watch=false", "--no-headers=true") == expected


async def test_one_object_as_a_document(navctl: Navctl) -> None:
    for shape, read in (("yaml", yaml.safe_load), ("json", json.loads)):
        shown = read(await navctl.ok("get", "svc", "web", "-o", shape))
        assert (shown["apiVersion"], shown["kind"], shown["metadata"]["name"]) == ("v1", "Service", "web")
        assert shown["spec"]["clusterIP"] == "10.96.0.5"


async def test_yaml_looks_like_kubectls(navctl: Navctl) -> None:
    lines = (await navctl.ok("get", "svc", "web", "-o", "yaml")).splitlines()
    assert lines[:2] == ["apiVersion: v1", "kind: Service"]
    assert any(line.startswith('  creationTimestamp: "20') for line in lines)
    assert "  clusterIP: 10.96.0.5" in lines
    assert "  ports:" in lines
    assert "  - port: 80" in lines


async def test_several_objects_as_a_document(navctl: Navctl) -> None:
    for words in (("pods",), ("pods", "other", "web-x", "web-y")):
        shown = json.loads(await navctl.ok("get", *words, "-o", "json"))
        assert (shown["apiVersion"], shown["kind"]) == ("v1", "List")
        assert [item["metadata"]["name"] for item in shown["items"]] == ["other", "web-x", "web-y"]
        assert all(item["kind"] == "Pod" for item in shown["items"])


async def test_templates(navctl: Navctl) -> None:
    assert await navctl.ok("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}") == "10.96.0.5"
    names = await navctl.ok("get", "pods", "-o", 'jsonpath={range .items[*]}{.metadata.name}{"\\n"}{end}')
    assert names == "other\nweb-x\nweb-y\n"
    assert (
        await navctl.ok("get", "pods", "-o=jsonpath={.items[?(@.metadata.labels.tier=='y')].metadata.name}") == "web-y"
    )
    assert await navctl.ok("get", "pods", "-o", "jsonpath='{.items[*].metadata.name}'") == "'other web-x web-y'"
    out = await navctl.ok("get", "pods", "-o", "custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier")
    assert out.splitlines() == ["NAME    TIER", "other   <none>", "web-x   x", "web-y   y"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("xml", 'unable to match a printer suitable for the output format "xml"'),
        ("jsonpath=", "needs a template"),
        ("jsonpath={.a", "error parsing jsonpath {.a"),
        ("custom-columns=NAME", "custom-columns"),
        ("custom-columns=NAME:{.a[}", "error parsing"),
        ("jsonpath-file=/nowhere/at/all", "/nowhere/at/all: No such file or directory"),
    ],
)
async def test_formats_there_are_not(navctl: Navctl, output: str, said: str) -> None:
    error = await navctl.fails("get", "pods", "-o", output)
    assert error.startswith("error: ")
    assert said in error
    assert "\n" not in error


async def test_nothing_there(navctl: Navctl) -> None:
    assert await navctl("get", "deploy") == Result(0, "", "No resources found in default namespace.\n")
    assert (await navctl("get", "deploy", "-A")).err == "No resources found\n"
    assert (await navctl("get", "nodes")).err == "No resources found\n"
    shown = json.loads(await navctl.ok("get", "deploy", "-o", "json"))
    assert shown["items"] == []


async def test_not_found(navctl: Navctl) -> None:
    error = await navctl.fails("get", "deploy", "web")
    assert error == 'Error from server (NotFound): deployments.apps "web" not found'
    assert (
        await navctl.fails("get", "pods", "-n", "nowhere", "web")
        == 'Error from server (NotFound): pods "web" not found'
    )
    assert await navctl.ok("get", "deploy", "web", "--ignore-not-found") == ""
    assert await navctl.ok("get", "deploy", "web", "--ignore-not-found", "-o", "yaml") == ""
    assert await navctl.fails("get", "deploy", "web", "-o", "json") == error


async def test_what_is_there_is_shown_beside_what_is_not(navctl: Navctl) -> None:
    result = await navctl("get", "pods", "web-x", "nope", "web-y")
    assert result.code == 1
    assert [row[0] for row in result.rows] == ["NAME", "web-x", "web-y"]
    assert result.err == 'Error from server (NotFound): pods "nope" not found\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("podz",), """error: the server doesn't have a resource type "podz" (did you mean "pod"?)"""),
        (("pod/a/b",), 'error: "pod/a/b" is not TYPE/NAME'),
        (("pod/a", "b"), 'error: "b" has no type'),
        ((), "error: name a resource"),
        (("pods", "web-x", "-A"), "error: a resource cannot be retrieved by name across all namespaces"),
        (("pods", "--nope"), "error: unknown flag: --nope\nSee 'navctl get --help' for usage."),
        (("pods", "web-x", "-l", "a=b"), "error: name cannot be provided when a selector is specified"),
        (("po,svc", "-w"), "error: you may only specify a single resource type"),
    ],
)
async def test_arguments_that_make_no_sense(navctl: Navctl, words: tuple[str, ...], said: str) -> None:
    assert (await navctl.fails("get", *words)).startswith(said)


async def test_many_objects_come_in_pages(navctl: Navctl, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.get.PAGE", 2)
    assert await navctl.ok("get", "pods", "-o", "name") == "pod/other\npod/web-x\npod/web-y\n"


async def test_sorted_by_a_field(navctl: Navctl) -> None:
    out = await navctl.ok("get", "pods", "-l", "app", "--sort-by=.metadata.labels.tier", "-o", "name")
    assert out == "pod/web-x\npod/web-y\n"
    out = await navctl.ok("get", "pods", "--sort-by={.metadata.labels.tier}", "-o", "name")
    assert out == "pod/other\npod/web-x\npod/web-y\n"


async def test_changes_as_they_come(navctl: Navctl, client: Client) -> None:
    async with navctl.process("get", "pods", "-l", "app=web", "--watch") as process:
        assert (await line_of(process.stdout)).split()[0] == "NAME"
        assert [(await line_of(process.stdout)).split()[0] for _ in range(2)] == ["web-x", "web-y"]
        await client.create(pod("web-with-a-long-name", labels={"app": "web"}))
        assert (await line_of(process.stdout)).split()[:3] == ["web-with-a-long-name", "0/1", "Pending"]
        await client.bind(await client.get(Pod, "web-x", "default"), "n1")
        assert (await line_of(process.stdout)).split()[0] == "web-x"
        process.send_signal(signal.SIGINT)
        rest, err = await process.communicate()
        assert (process.returncode, rest, err) == (130, b"", b"\n")


async def test_changes_of_one_object_in_other_forms(navctl: Navctl, client: Client) -> None:
    async with navctl.process("get", "pod/web-x", "-w", "-o", 'jsonpath={.spec.nodeName}{"\\n"}') as process:
        assert await line_of(process.stdout) == ""
        await client.bind(await client.get(Pod, "web-y", "default"), "n2")
        await client.bind(await client.get(Pod, "web-x", "default"), "n1")
        assert await line_of(process.stdout) == "n1"


async def test_watching_what_is_not_there(navctl: Navctl) -> None:
    assert await navctl.fails("get", "pod", "nope", "-w") == 'Error from server (NotFound): pods "nope" not found'


async def test_a_reader_that_has_enough(navctl: Navctl, client: Client) -> None:
    for i in range(40):
        await client.create(config_map(f"c{i:02}", data="x" * 20_000))
    command = f"set -o pipefail; {sys.executable} -m cli.navctl get cm -o yaml | head -n 1"
    shell = await asyncio.create_subprocess_exec("bash", "-c", command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    assert await shell.communicate() == (b"apiVersion: v1\n", b"")
    assert shell.returncode == 0
