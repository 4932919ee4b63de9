"""The workflow files: they parse, ask for little, end in time, and call what is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


class Unique(yaml.SafeLoader):
    """A key that is there twice is an error, not the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]  # type: ignore[no-untyped-call]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {keys}"
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> dict[str, Any]:
    document = yaml.load(path.read_text(), Loader=Unique)
    assert isinstance(document, dict)
    # YAML 1.1 reads `on` as true.
    return {"on" if key is True else key: value for key, value in document.items()}


def steps(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in document["jobs"].values():
        yield from job["steps"]


def matrix(path: Path) -> list[dict[str, str]]:
    jobs = load(path)["jobs"].values()
    return [row for job in jobs for row in job.get("strategy", {}).get("matrix", {}).get("include", [])]


def test_both_are_there() -> None:
    assert [path.name for path in FILES] == ["ci.yml", "nightly.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_ask_for_little_and_end_in_time(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {"contents": "read"}
    assert {"group", "cancel-in-progress"} == set(document["concurrency"])
    assert "github.ref" in document["concurrency"]["group"]
    for name, job in document["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 180, name
        assert "permissions" not in job, "no job has more than the workflow"
        assert set(job.get("needs", "").split()) <= set(document["jobs"]), name
    assert "secrets." not in path.read_text()
    assert "pull_request_target" not in document["on"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_major_version(path: Path) -> None:
    used = [step["uses"] for step in steps(load(path)) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@v\d+", action), action
    for step in steps(load(path)):
        assert ("uses" in step) != ("run" in step), step
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_target_of_make_exists(path: Path) -> None:
    targets = re.findall(r"\bmake (\w+)", " \n".join(step.get("run", "") for step in steps(load(path))))
    assert targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_change_is_linted_typed_tested_and_compared_at_both_ends() -> None:
    path = ROOT / ".github" / "workflows" / "ci.yml"
    document = load(path)
    assert {"pull_request", "push"} <= set(document["on"])
    run = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in document["jobs"].items()}
    assert [commands[-1] for commands in run.values()] == ["make lint", "make test", "make regress", "make docs"]
    for job in ("test", "regress"):
        rows = document["jobs"][job]["strategy"]["matrix"]["include"]
        constraints = {row["constraint"] for row in rows}
        assert constraints == {"requirements.lock", "requirements-oldest.txt", "requirements-newest.txt"}
        assert document["jobs"][job]["env"]["CONSTRAINT"] == "${{ matrix.constraint }}"


def test_the_night_has_the_small_grid_and_the_drills() -> None:
    document = load(ROOT / ".github" / "workflows" / "nightly.yml")
    assert document["on"]["schedule"]
    commands = [step["run"] for step in steps(document) if "run" in step]
    assert {"make benchmark", "make drills", "make regress"} <= set(commands)


@pytest.mark.parametrize("row", matrix(FILES[0]), ids=lambda row: f"{row['python']}-{row['constraint']}")
def test_make_installs_with_the_constraints_of_the_matrix(row: dict[str, str]) -> None:
    """As the job does: through the environment."""
    assert (ROOT / row["constraint"]).is_file()
    done = subprocess.run(
        ["make", "-n", "test", f"CONSTRAINT={row['constraint']}", "VENV=nowhere"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"--constraint {row['constraint']}" in done.stdout


def test_the_oldest_versions_are_those_that_the_package_promises() -> None:
    """Every pin is the lower end of the package's own range, and torch is among them."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = {item.name: item.specifier for item in map(Requirement, project["dependencies"])}
    lines = [line for line in (ROOT / "requirements-oldest.txt").read_text().splitlines() if line[:1] not in ("", "#")]
    pinned = {item.name: item.specifier for item in map(Requirement, lines)}
    assert {"torch", "torchvision", "pytorch-lightning"} <= set(pinned)
    for name, pin in pinned.items():
        (exact,), (lowest,) = pin, promised[name]
        assert (exact.operator, lowest.operator) == ("==", ">=")
        assert exact.version in (lowest.version, f"{lowest.version}.0"), name


def test_no_address_is_named() -> None:
    for path in [*FILES, ROOT / "requirements-oldest.txt", ROOT / "requirements-newest.txt"]:
        assert "://" not in path.read_text()
