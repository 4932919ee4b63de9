"""What surrounds the package: files that others read by their form, and extras that are what the documentation says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from mmvae_bench.base.processes import SAFE_PYTHON

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["version"] == PROJECT["version"]


def test_the_versions_of_python_are_those_that_are_tested() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tested = set(re.findall(r'python: "([\d.]+)"', workflow))
    named = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text}
    assert named == tested


def test_the_pytest_plugin_is_light_and_adds_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pytest of an environment imports it."""
    (module,) = PROJECT["entry-points"]["pytest11"].values()
    program = f"import sys; sys.argv = ['x']; import {module} as plugin; print(sorted({{'torch', 'numpy', 'pydantic'}}"
    words = [*SAFE_PYTHON, "-c", f"{program} & set(sys.modules)), plugin.pytest_addoption)"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout.startswith("[] <function pytest_addoption")


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_an_issue_form_asks_something(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    assert all(part["attributes"]["label"] for part in form["body"])


def test_pre_commit_calls_what_lint_calls() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    programs = [hook["entry"].split()[0].rpartition("/")[2] for hook in repository["hooks"]]
    assert programs
    assert all(program in lint for program in programs)


def test_what_tests_need_is_installed_for_them() -> None:
    """A test that is skipped for want of a package is not run by `make test` either."""
    setup = re.search(r"--editable '\.\[(.*?)\]'", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert setup is not None
    extras = PROJECT["optional-dependencies"]
    (whole,) = (text for text in extras["dev"] if text.startswith("mmvae-bench["))
    installed = {*setup[1].split(","), *re.findall(r"\w+", whole.partition("[")[2])}
    tests = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py") if path != Path(__file__)]
    needed = set(re.findall(r"is not installed \(extra (\w+)\)", "".join(tests)))
    assert {"docs", "mlflow", "notebooks", "tensorboard"} <= needed
    assert needed <= installed


def test_an_extra_that_a_page_or_a_message_names_exists() -> None:
    files = [
        *ROOT.glob("docs/*.md"),
        ROOT / "README.md",
        *ROOT.glob("mmvae_bench/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
    named = {name for path in files for found in re.findall(r"\(extras? `?([a-z]+)`?\)|mmvae-bench\[([a-z]+)\]",
             path.read_text(encoding="utf-8")) for name in found if name}  # fmt: skip
    assert {"docs", "notebooks", "ray", "tensorboard"} <= named
    assert named <= PROJECT["optional-dependencies"].keys()


def test_the_page_of_an_index_has_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    """As the metadata that an index is given say; they are built in a copy, for builds leave files behind."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    program = "from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel('.'))"
    subprocess.run([*SAFE_PYTHON, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    head, _, page = metadata.read_text(encoding="utf-8").partition("\n\n")
    assert "Description-Content-Type: text/markdown" in head
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/" in readme
    assert re.findall(r"\]\((?!\w+://)[^)]*\)", page) == []
    files = re.findall(r"\]\(([\w./-]+)[^)]*\)", re.sub(r"!\[.*?\)", "", readme))
    assert all(f"`{file}`" in page for file in files)
    assert "    make benchmark" in page
    assert "| correctness | 4 |" in page
