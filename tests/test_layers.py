"""The rooms of the package and their order: what ``make lint`` checks, and that it would notice."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmvae_bench"
PROGRAM = "from importlinter.cli import lint_imports_command as run; run(['--no-cache', '--no-logo'])"
WRONG = {
    "against the flow": ("base/files.py", "from ..specs import trial as _trial", "the rooms of the house"),
    "between neighbours": ("sweep/driver.py", "from ..report import frames as _frames", "the rooms of the house"),
    "in a circle": ("metrics/functional/validation.py", "from .coverage import coverage as _coverage", "no circle"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(folder), "PATH": "", "HOME": str(folder)}
    return subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "mmvae_bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_import_fails_the_lint(copy: Path, kind: str) -> None:
    assert lint(copy).returncode == 0
    file, line, contract = WRONG[kind]
    path = copy / "mmvae_bench" / file
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert re.search(rf"{contract}.* BROKEN", done.stdout), done.stdout


def test_nothing_lies_loose_at_the_root() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "trial.py"}


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    """A path in backticks is of the repository, of the package, or an example that the page itself adds."""
    text = (ROOT / page).read_text()
    named = {name for name in re.findall(r"`([\w./-]+)`", text) if "/" in name and re.search(r"(\.\w+|/)$", name)}
    examples = {"mmvae_bench/objectives/mine.py", "tests/objectives/test_mine.py", "mmvae_bench/data/disks.py"}
    made = re.compile(r"^(runs|datasets|trials|report|slurm|figures)/")
    there = [ROOT, PACKAGE, PACKAGE / "objectives"]
    missing = [
        name
        for name in sorted(named - examples)
        if not made.match(name) and not any((folder / name).exists() for folder in there)
    ]
    assert not missing
    assert len(named) > 5
