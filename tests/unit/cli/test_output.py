"""Tables and documents of objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.failure import Failure
from cli.output import (
    Format,
    TableOptions,
    align,
    as_document,
    in_order,
    read_format,
    read_path,
    reference,
    rows_of,
    show_document,
)
from orchestrator.api.kinds import kind_of
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import ConfigMap, Deployment, Namespace, ObjectMeta, Pod

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MADE = to_timestamp(NOW - timedelta(minutes=5))


def config(name: str, namespace: str = "default", **labels: str) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels, creation_timestamp=MADE), data={"a": "1"}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Format()),
        ("wide", Format("wide")),
        ("jsonpath={.a[?(@.b=='c')]}", Format("jsonpath", "{.a[?(@.b=='c')]}")),
        ("custom-columns=A:.a,B:b", Format("custom-columns", "A:.a,B:b")),
    ],
)
def test_formats(text: str | None, expected: Format) -> None:
    assert read_format(text) == expected


def test_a_template_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "template").write_text("{.metadata.name}")
    assert read_format(f"jsonpath-file={tmp_path}/template") == Format("jsonpath", "{.metadata.name}")


@pytest.mark.parametrize("text", ["xml", "JSON", "jsonpath", "jsonpath={", "custom-columns=", "custom-columns=A:.a,B"])
def test_formats_there_are_not(text: str) -> None:
    with pytest.raises(Failure):
        read_format(text)


@pytest.mark.parametrize("text", [".a.b", "a.b", "{.a.b}", "{a.b}"])
def test_paths_with_and_without_braces(text: str) -> None:
    assert read_path("--sort-by", text) == "{.a.b}"


def test_references() -> None:
    assert reference(Pod(metadata=ObjectMeta(name="web"))) == "pod/web"
    assert reference(Deployment(metadata=ObjectMeta(name="web"))) == "deployment.apps/web"


OPTIONS = [
    (TableOptions(), [["NAME", "DATA", "AGE"], ["x", "1", "5m"]]),
    (TableOptions(headers=False), [["x", "1", "5m"]]),
    (TableOptions(namespaces=True), [["NAMESPACE", "NAME", "DATA", "AGE"], ["default", "x", "1", "5m"]]),
    (TableOptions(prefix=True), [["NAME", "DATA", "AGE"], ["configmap/x", "1", "5m"]]),
    (TableOptions(labels=True), [["NAME", "DATA", "AGE", "LABELS"], ["x", "1", "5m", "a=1,z.io/b=2"]]),
    (
        TableOptions(label_columns=("z.io/b", "none")),
        [["NAME", "DATA", "AGE", "B", "NONE"], ["x", "1", "5m", "2", ""]],
    ),
    (
        TableOptions(namespaces=True, prefix=True, labels=True, label_columns=("a",), headers=False),
        [["default", "configmap/x", "1", "5m", "1", "a=1,z.io/b=2"]],
    ),
]


@pytest.mark.parametrize(("options", "rows"), OPTIONS)
def test_tables(options: TableOptions, rows: list[list[str]]) -> None:
    obj = config("x", **{"z.io/b": "2", "a": "1"})
    assert rows_of(kind_of(ConfigMap), [obj], NOW, options) == rows


def test_a_table_of_what_has_no_namespace() -> None:
    obj = Namespace(metadata=ObjectMeta(name="x", creation_timestamp=MADE))
    head, _ = rows_of(kind_of(Namespace), [obj], NOW, TableOptions(namespaces=True, labels=True))
    assert head == ["NAME", "STATUS", "AGE", "LABELS"]


def test_no_labels() -> None:
    assert rows_of(kind_of(ConfigMap), [config("x")], NOW, TableOptions(labels=True))[1][-1] == "<none>"


def test_columns_stand_below_each_other() -> None:
    assert align([["NAME", "A"], ["long-name", ""], ["x", "1"]]) == "NAME        A\nlong-name\nx           1\n"
    assert align([["a", "b"]], gap=1) == "a b\n"
    assert align([]) == ""


@given(st.lists(st.lists(st.text("ab", max_size=5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_every_cell_of_a_column_begins_at_the_same_place(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    starts = [0, widths[0] + 3, widths[0] + widths[1] + 6]
    for row, line in zip(rows, align(rows).splitlines(), strict=True):
        for cell, start in zip(row, starts, strict=True):
            assert line.ljust(start)[start : start + len(cell)] == cell


def test_documents() -> None:
    one = as_document([config("x")], single=True)
    assert isinstance(one, dict)
    assert one["kind"] == "ConfigMap"
    several = as_document([config("x"), config("y")], single=False)
    assert isinstance(several, dict)
    assert (several["kind"], len(several["items"] if isinstance(several["items"], list) else [])) == ("List", 2)
    assert json.loads(show_document(several, Format("json"))) == several
    assert show_document(several, Format("jsonpath", "{.items[*].metadata.name}")) == "x y"


def test_custom_columns() -> None:
    document = as_document([config("x", a="1"), config("y")], single=False)
    shape = read_format(
        "custom-columns=NAME:.metadata.name,LABEL:{.metadata.labels.a},TWO:.metadata['name','namespace']"
    )
    assert show_document(document, shape).splitlines() == [
        "NAME   LABEL    TWO",
        "x      1        x,default",
        "y      <none>   y,default",
    ]
    assert (
        show_document(as_document([config("x")], single=True), Format("custom-columns", "N:.metadata.name")) == "N\nx\n"
    )
    assert show_document(document, Format("custom-columns", "N:.metadata.name"), headers=False) == "x\ny\n"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("{.metadata.name}", ["n1", "n2", "n10"]),
        ("{.metadata.labels.order}", ["n10", "n2", "n1"]),
        ("{.metadata.generation}", ["n10", "n1", "n2"]),
        ("{.metadata.nope}", ["n2", "n10", "n1"]),
    ],
)
def test_order(path: str, names: list[str]) -> None:
    objects = [config("n2", order="v1.9"), config("n10"), config("n1", order="v1.10")]
    objects[0].metadata.generation = 10
    objects[2].metadata.generation = 9
    assert [each.metadata.name for each in in_order(objects, path)] == names
