"""Trials with their report, and the scripts of GPU.md, need only the packages that the page says are there or brought.

Everything else that is installed here is hidden from the processes, metadata and this package's own included.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "benchmarks" / "GPU.md").read_text(encoding="utf-8")
SESSION = (ROOT / "benchmarks" / "gpu_session.sh").read_text(encoding="utf-8")
SENTENCE = r"If the machine has Python 3\.12, (.+?), only (.+?) with its dependencies are missing"
THERE, MISSING = (
    {item.split()[0] for item in re.split(r", | and ", names)}
    for names in re.findall(SENTENCE, " ".join(PAGE.split()))[0]
)
DOWNLOADS = [
    dict(re.findall(r"([\w-]+)==([\w.]+)", command))
    for command in re.findall(r"^    python3 -m pip download (?:.*\\\n)*.*$", PAGE, flags=re.MULTILINE)
]
WHEELS = DOWNLOADS[0]
"""The wheels that every piece needs; the other commands bring what a few need."""
SCRIPTS = sorted(set(re.findall(r'(?:python3|"\$PYTHON") benchmarks/(\w+)\.py', PAGE + SESSION)))

# Python imports sitecustomize in every process that it starts, those of the trials among them. What is hidden is not
# found, as on a machine that lacks it: many packages look whether another one is there.
HIDING = """
import sys, sysconfig
from pathlib import Path

FOLDERS = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}

def installed(spec):
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    return any(FOLDERS & set(Path(place).resolve().parents) for place in places if place)

class Sparse:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        spec = self.finder.find_spec(name, path, target)
        return None if spec and path is None and name not in MODULES and installed(spec) else spec

    def find_distributions(self, *arguments, **named):
        find = getattr(self.finder, "find_distributions", lambda *_, **__: ())
        return (found for found in find(*arguments, **named) if found._normalized_name in DISTRIBUTIONS)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Sparse, sys.meta_path)
"""

GRID = """
name: offline
training: {steps: 2, validations: 1}
evaluation: {num_samples: 10, query_repeats: 1, num_resamples: 50, classifier: {name: conv_thin, steps: 2, width: 4}}
include:
  - datasets: [{name: mnist_a, canvas: 16, num_sources: 100, replicas: 3}]
    backbones: [{name: mnist_a_thin, width: 1, hidden: 8, latent_size: 2}]
    objectives: [bivcca]
  - datasets: [{name: sprites, level: 1, num_images: 300}]
    backbones: [{name: rgb_thin, width: 1, latent_size: 2}]
    objectives: [jmvae]
    evaluation: {num_samples: 10, query_repeats: 1, num_resamples: 50, classifier: {name: conv_rgb, steps: 2, width: 4}}
"""


def with_dependencies(names: Iterable[str], *, without: Iterable[str]) -> set[str]:
    """The packages and what they require here; ``without``: those that the machine lacks, whatever requires them."""
    found, todo, absent = set[tuple[str, str]](), [(name, "") for name in names], set(without)
    while todo:
        name, extra = todo.pop()
        if (name, extra) in found or name in absent:
            continue
        found.add((name, extra))
        try:
            requirements = map(Requirement, requires(name) or ())
        except PackageNotFoundError:  # one for another system, or that a newer version of what requires it dropped
            continue
        for each in requirements:
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                todo += ((str(canonicalize_name(each.name)), wanted) for wanted in ("", *each.extras))
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a machine with what the page says, and with this repository as a tree."""
    brought = {str(canonicalize_name(name)) for name in WHEELS}
    allowed = with_dependencies(THERE, without=MISSING) | brought
    modules = {
        module for module, owners in packages_distributions().items() if allowed & set(map(canonicalize_name, owners))
    }
    site = tmp_path_factory.mktemp("site")
    # Names of files and metadata have underscores.
    distributions = {name.replace("-", "_") for name in allowed}
    (site / "sitecustomize.py").write_text(f"MODULES, DISTRIBUTIONS = {modules!r}, {distributions!r}\n{HIDING}")
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (site, ROOT, ROOT / "benchmarks")))}


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_the_page_is_read() -> None:
    assert len(DOWNLOADS) == 3
    assert {"numpy", "pytorch-lightning", "torch", "typer", "filelock"} < THERE
    assert WHEELS.keys() >= MISSING
    assert {"step_rate", "stacked", "peers", "profile_step"} <= set(SCRIPTS)
    assert len(re.findall(r"^    .*benchmarks/\w+\.py", PAGE, flags=re.MULTILINE)) == PAGE.count("python3 benchmarks/")


def test_wheels_are_those_of_the_lock() -> None:
    lines = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    locked = {canonicalize_name(name): version for name, version in lines}
    assert locked.keys() >= set(map(canonicalize_name, WHEELS))
    for wheels in DOWNLOADS:
        for name, version in wheels.items():
            assert locked.get(canonicalize_name(name), version) == version, name


def test_what_is_not_on_the_page_is_hidden(environment: dict[str, str]) -> None:
    """Else the others prove nothing."""
    code = """
import json, importlib.util, importlib.metadata
names = ["datasets", "hypothesis", "wandb", "zuko", "numpy", "pydantic", "torch", "mmvae_bench"]
there = [name for name in names if importlib.util.find_spec(name)]
print(json.dumps([there, [each.name for each in importlib.metadata.distributions()]]))
try:
    import wandb
except ModuleNotFoundError as error:
    print(error)
"""
    done = python(code, environment)
    found, message = done.stdout.splitlines()
    there, distributions = json.loads(found)
    assert there == ["numpy", "pydantic", "torch", "mmvae_bench"]
    assert {"numpy", "pydantic"} <= set(distributions)
    assert not {"mmvae-bench", "wandb", "zuko"} & set(distributions)
    assert message == "No module named 'wandb'"


def test_a_run_with_its_report_from_the_tree(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    done = subprocess.run(
        [sys.executable, "-m", "mmvae_bench", "run", "--grid", "grid.yaml", "--workers", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "offline" / "trials").glob("*/result.json"))) == 2
    assert "bivcca" in done.stdout
    assert "jmvae" in done.stdout
    assert (tmp_path / "runs" / "offline" / "report" / "index.html").is_file()


def test_the_scripts_can_be_imported(environment: dict[str, str]) -> None:
    code = f"import importlib\nfor name in {SCRIPTS!r}:\n    print(importlib.import_module(name).__name__, flush=True)"
    done = python(code, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == SCRIPTS
