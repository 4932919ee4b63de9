"""The user's own files in the working folder, named after libraries: never imported, by no process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.data.shards.prepare import prepare_store
from mmvae_bench.sweep.executor import Job
from mmvae_bench.sweep.local import COMMAND, LocalExecutor, Slot
from mmvae_bench.sweep.remote import Origin, Runner

from ..data.shards.squares import Squares

ROOT = Path(__file__).parents[2]
SHADOWS = (
    "datasets", "types", "random", "wandb", "filelock", "typer", "pydantic", "yaml", "tempfile", "numpy", "torch",
    "pytorch_lightning", "pandas", "rich", "queue", "pickle",
)  # fmt: skip
SHADOW = "with open({marks!r}, 'a') as file:\n    file.write(__name__ + '\\n')\n"
GRID = {
    "name": "small",
    "datasets": [{"name": "mnist_a", "source": "digits", "canvas": 16, "num_sources": 100, "replicas": 3}],
    "backbones": [{"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3}],
    "objectives": ["jvae"],
    "training": {"steps": 3, "batch_size": 16, "validations": 1},
    "evaluation": {"num_samples": 10, "query_repeats": 1, "num_resamples": 20, "levels": [4],
                   "classifier": {"name": "conv_thin", "steps": 3}},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, full of such files; a file that is imported leaves its name in ``marks``."""
    own = tmp_path / "own"
    own.mkdir()
    for name in SHADOWS:
        (own / f"{name}.py").write_text(SHADOW.format(marks=str(own / "marks")), encoding="utf-8")
    (own / "grid.yaml").write_text(json.dumps(GRID), encoding="utf-8")
    monkeypatch.chdir(own)
    return own


def imported(folder: Path) -> list[str]:
    marks = folder / "marks"
    return sorted(set(marks.read_text(encoding="utf-8").split())) if marks.exists() else []


def started(*arguments: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """``python -m mmvae_bench`` in the working folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | surroundings
    return subprocess.run(
        [sys.executable, "-m", "mmvae_bench", *arguments],
        env=environment, capture_output=True, encoding="utf-8", timeout=300,
    )  # fmt: skip


def test_a_whole_run(folder: Path) -> None:
    done = started("run", "--grid", "grid.yaml", "--workers", "1")
    assert imported(folder) == []
    assert done.returncode == 0, done.stderr


def test_the_program_itself_and_what_the_user_asks_for(folder: Path) -> None:
    assert started("list", "objectives").returncode == 0
    assert imported(folder) == []
    for name in set(SHADOWS) - {"yaml"}:
        (folder / f"{name}.py").unlink()
    started("list", "objectives", PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))
    assert imported(folder) == ["yaml"], "whoever puts the folder into PYTHONPATH gets it"


def test_a_checkout_that_is_not_installed_still_runs(tmp_path: Path) -> None:
    """There the working folder is where the package lies, for the program and for what it starts."""
    (tmp_path / "mmvae_bench").symlink_to(ROOT / "mmvae_bench")
    code = (
        "import os, runpy, subprocess, sys\n"
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
        f"sys.path[:] = [os.getcwd()] + [path for path in sys.path if path not in ('', {str(ROOT)!r})]\n"
        "sys.argv[:] = ['mmvae_bench', 'list', 'nothing']\n"
        "try:\n    runpy.run_module('mmvae_bench', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n    print(end.code, os.environ.get('PYTHONPATH'))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.stdout.split() == ["2", str(tmp_path)], done.stderr


def test_a_process_of_the_local_executor(folder: Path) -> None:
    executor = LocalExecutor([Slot("cpu")], command=COMMAND)
    executor.submit(Job("list", ("list", "objectives"), folder / "log", {"PYTHONPATH": str(ROOT)}))
    ended = executor.wait(60)
    assert [end.returncode for end in ended] == [0]
    assert imported(folder) == []


def test_what_such_a_process_starts_itself(folder: Path) -> None:
    """A library may start an interpreter too."""
    program = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import datasets']))"
    executor = LocalExecutor([Slot("cpu")], command=(sys.executable, "-c", program))
    executor.submit(Job("nested", (), folder / "log"))
    assert len(executor.wait(60)) == 1
    assert imported(folder) == []


def test_a_process_on_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert Runner(Origin.here(COMMAND)).run(Job("list", ("list", "objectives"), folder / "log")) == 0
    assert imported(folder) == []


def test_a_process_that_makes_images(folder: Path, tmp_path: Path) -> None:
    assert prepare_store(tmp_path / "store", Squares(4), name="squares", shard_size=4, workers=1)
    assert imported(folder) == []


def test_a_worker_of_ray_looks_where_the_package_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    from mmvae_bench.sweep.ray import connect

    joined: list[Any] = []
    monkeypatch.setattr(ray, "init", lambda **_: joined.append(Path.cwd()))
    assert connect() is ray
    assert joined == [ROOT]
    assert Path.cwd() == folder
