"""Records are replaced by a command that says why, and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .records import CHANGELOG, CORRECTIONS, check_complete, differing_places, here, read, record, with_change, write

LOG = """# Changelog
Words.

## Unreleased
### Added
- A thing.

### Changed
- Another thing, in
  two lines.

### Fixed
- A bug.

## 0.1.0
### Changed
- Old.
"""


def made(name: str) -> dict[str, Any]:
    return {"value": [len(name), 0.1]}


def run(root: Path, *arguments: str, make: Callable[[str], dict[str, Any]] = made) -> None:
    record(
        arguments,
        command="tests.regression.things",
        what="things",
        path=root / "things.json",
        names=["one", "two"],
        make=make,
        root=root,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / CHANGELOG).write_text(LOG)
    (tmp_path / CORRECTIONS).write_text("# Corrections\nA list. None so far.\n")
    write(tmp_path / "things.json", {"one": {"recorded_on": {}, "value": [9]}, "gone": {"recorded_on": {}}})
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in root.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--changelog --correction is required"),
        (["one"], "--changelog --correction is required"),
        (["--changelog", " "], "the line that says why is empty"),
        (["--changelog", "a", "--correction", "b"], "not allowed with"),
        (["three", "--changelog", "a"], "unknown: three (choose from one, two)"),
        (["--changelo", "a"], "required"),
    ],
)
def test_nothing_is_recorded_without_a_reason(
    arguments: list[str], words: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(root)
    with pytest.raises(SystemExit) as stop:
        run(root, *arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert contents(root) == before


def test_a_change_gets_its_line(root: Path) -> None:
    run(root, "two", "--changelog", "because of it")
    assert read(root / "things.json") == {
        "one": {"recorded_on": {}, "value": [9]},
        "two": {"recorded_on": here(), "value": [3, 0.1]},
    }
    expected = LOG.replace("two lines.\n", "two lines.\n- Things re-recorded (two): because of it\n")
    assert (root / CHANGELOG).read_text() == expected


def test_a_correction_gets_its_line(root: Path) -> None:
    before = (root / CHANGELOG).read_text()
    run(root, "--correction", "coverage of telbo was 0.1 too high")
    run(root, "one", "--correction", f"and {'long ' * 40}")
    heading, words, empty, *lines = (root / CORRECTIONS).read_text().splitlines()
    assert (heading, words, empty) == ("# Corrections", "A list.", "")
    assert lines[0].endswith(": Things re-recorded (all): coverage of telbo was 0.1 too high")
    assert lines[1].startswith("- ")
    assert all(line.startswith("  ") and len(line) <= 120 for line in lines[2:])
    assert (root / CHANGELOG).read_text() == before


def test_a_failure_writes_nothing(root: Path) -> None:
    before = contents(root)

    def fail(name: str) -> dict[str, Any]:
        raise ArithmeticError(name)

    with pytest.raises(ArithmeticError):
        record(
            ["--changelog", "a"],
            command="x",
            what="things",
            path=root / "things.json",
            names=["one"],
            make=fail,
            root=root,
        )
    assert contents(root) == before


@pytest.mark.parametrize("unreleased", ["### Added\n- A thing.\n", "", "### Changed\n"])
def test_the_part_of_changes_is_made_where_it_is_missing(unreleased: str) -> None:
    text = with_change(f"# Log\n\n## Unreleased\n{unreleased}", "why")
    assert text.rstrip().endswith("### Changed\n- why")
    assert unreleased.rstrip() in text
    assert text.count("### Changed") == 1


def test_lists_stand_on_a_line_each(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"b": {"x": [1.5, 2.0]}, "a": {"x": [1], "y": {"z": [3, 4]}}})
    text = (tmp_path / "a.json").read_text()
    assert '"x": [1.5, 2.0]\n' in text
    assert list(json.loads(text)) == ["a", "b"]
    assert json.loads(text)["a"] == {"x": [1], "y": {"z": [3, 4]}}


def test_what_was_never_recorded_is_named_with_its_command(root: Path) -> None:
    with pytest.raises(AssertionError, match=r"new: never recorded; python -m tests.regression.things new --changelog"):
        check_complete(root / "things.json", ["one", "new", "gone"], "tests.regression.things")
    with pytest.raises(AssertionError, match="gone: recorded, but nothing of that name is registered"):
        check_complete(root / "things.json", ["one"], "tests.regression.things")
    check_complete(root / "things.json", ["one", "gone"], "tests.regression.things")


def test_places_differ_in_processor_and_torch() -> None:
    assert differing_places(here(), here()) == []
    assert differing_places(here() | {"torch": "2.6.0"}, here()) == [f"torch {here()['torch']} for 2.6.0"]
    assert all(here().values())
