"""YAML with lines: what a value is read as, where it stands, and what is said about files that are not right."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench.base.errors import ConfigError, Location, Problem
from mmvae_bench.specs.yaml_source import parse_yaml, read_yaml

# JSON writes what lies beyond these planes as two escapes, which YAML reads as two characters.
# A key of YAML has at most 1,024 characters, escapes counted as written.
WORDS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=100)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("+12e03", 12e3),
        ("-1.", -1.0),
        ("250_000", 250_000),
        ("007", 7),
        ("0x1f", 31),
        ("0o17", 15),
        ("-3", -3),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2019-01-01", "2019-01-01"),
        ("1:30", "1:30"),
        ("'5'", "5"),
        ('"no"', "no"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    read = parse_yaml(f"key: {text}", source="f").value["key"]
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_read_as_one() -> None:
    assert math.isnan(parse_yaml(".nan", source="f").value)


@given(PLAIN)
def test_json_reads_as_itself(value: Any) -> None:
    document = parse_yaml(json.dumps(value), source="f")
    assert document.value == value
    assert not document.problems


TEXT = """\
# a comment
name: demo
objectives:
  - telbo
  - name: jmvae
    alpha: 0.5

training: {steps: 3,
  batch_size: 4}
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ((), 2),
        (("name",), 2),
        (("objectives",), 3),
        (("objectives", 0), 4),
        (("objectives", 1), 5),
        (("objectives", 1, "alpha"), 6),
        (("training", "steps"), 8),
        (("training", "batch_size"), 9),
    ],
)
def test_every_location_has_its_line(location: Location, line: int) -> None:
    assert parse_yaml(TEXT, source="f").lines[location] == line


@pytest.mark.parametrize(
    ("location", "written", "line"),
    [
        (("objectives", 0, "name"), ("objectives", 0), 4),  # a bare name stands for a mapping
        (("training", 0, "steps"), ("training", "steps"), 8),  # one mapping stands for a list of one
        (("training", 0, "precision"), ("training", "precision"), 8),  # a key that is not there: its mapping
        (("datasets",), ("datasets",), 2),
        ((), (), 2),
    ],
)
def test_problems_are_located_as_the_file_writes_them(location: Location, written: Location, line: int) -> None:
    located = parse_yaml(TEXT, source="f").locate(Problem("wrong", location))
    assert (located.location, located.line) == (written, line)


def test_problems_come_in_the_order_of_the_file() -> None:
    document = parse_yaml("a: 1\nb: 2\nb: 3\nc: 4\n", source="f.yaml")
    error = document.error([Problem("late", ("c",)), Problem("early", ("a",))])
    assert str(error) == "f.yaml:1: a: early\nf.yaml:3: b: duplicate key, first given on line 2\nf.yaml:4: c: late"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "not valid YAML"),
        ("a: b: c", 1, "not valid YAML"),
        ("a: 1\n\tb: 2", 2, "not valid YAML"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: 1\nb: *nowhere", 2, "undefined alias 'nowhere'"),
        ("a: 1\nb: \x07", 2, "special characters"),
        ("'open", 1, "end of stream"),
    ],
)
def test_what_does_not_parse_names_file_and_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, source="grid.yaml")
    assert str(caught.value).startswith(f"grid.yaml:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "YAML tags are not supported"),
        ("a: 1\nb: !thing 3", 2, "YAML tags are not supported"),
        ("a: !!set {x, y}", 1, "!!set"),
        ("a: !!int x", 1, "not a valid int"),
        ("a: 1\nb: 1\na: 2", 3, "duplicate key, first given on line 1"),
        ("? [1, 2]\n: 3", 1, "a key must be text"),
        ("a: &x\n  - *x", 1, "an alias inside the value it refers to"),
        ("a: &x\n  <<: *x", 1, "<< needs"),
        ("<<: 3", 1, "<< needs a mapping"),
    ],
)
def test_what_parses_but_is_not_plain_is_a_problem(text: str, line: int, words: str) -> None:
    document = parse_yaml(text, source="f")
    assert [(problem.line, words in str(problem)) for problem in document.problems] == [(line, True)]


def test_aliases_and_merges() -> None:
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nsame: *base\nmore:\n  <<: [*base, *other]\n  a: 5\n"
    document = parse_yaml(text, source="f")
    assert document.value["same"] == {"a": 1, "b": 2}
    assert document.value["more"] == {"a": 5, "b": 2, "c": 4}  # its own keys first, then the earlier base
    assert document.lines["more", "a"] == 6
    assert document.lines["more", "c"] == 2
    assert not document.problems


def test_multiplying_aliases_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 200,000 keys and values"):
        parse_yaml("\n".join(lines), source="f")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        parse_yaml("[" * 20_000, source="f")


def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "quik.yaml")
    assert str(caught.value).splitlines() == [
        f"no such file: {tmp_path / 'quik.yaml'}",
        f"  choices: {tmp_path / 'quick.yaml'}",
        f"  nearest: {tmp_path / 'quick.yaml'}",
    ]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(folder .* does not exist\)"):
        read_yaml(tmp_path / "nowhere" / "quick.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        read_yaml(tmp_path)


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "file" / "quick.yaml")


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"name: x\nsummary: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}:2: the file is not UTF-8 text"


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\r\n")
    assert read_yaml(path).value == {"name": "x"}
