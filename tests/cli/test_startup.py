"""Help and errors come at once: no torch, no lightning, little processor time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from mmvae_bench.cli import main
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.forks import IMPORTED

HEAVY = ["torch", "torchvision", "pytorch_lightning", "torchmetrics", "pandas", "pyarrow", "matplotlib", "scipy"]
HEAVY += ["sklearn", "datasets", "wandb"]
MAX_SECONDS = 1.5
"""Of processor time. The promise is half a second, kept with 0.25 s where this was written; test machines are noisy."""

GRID = "name: x\ndatasets: [{name: mnist_a, canvas: 32}]\nbackbones: [mnist_a_thin]\nobjectives: [teblo]\n"
# Runs the command line in a fresh interpreter, then says which heavy modules that has imported.
CODE = """
import json, sys
from mmvae_bench.cli import main
code = main(sys.argv[2:])
heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[1])))
print(json.dumps(heavy), file=sys.stderr)
sys.exit(code)
"""


class Finished(NamedTuple):
    code: int
    out: str
    err: str
    imported: list[str]
    seconds: float


def run(*arguments: str, folder: Path) -> Finished:
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(HEAVY), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    after = os.times()
    *err, imported = done.stderr.rstrip("\n").split("\n")
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return Finished(done.returncode, done.stdout, "\n".join(err), json.loads(imported), seconds)


HELP = [
    ["--help"],
    ["run", "--help"],
    ["train", "--help"],
    ["imagine", "--help"],
    ["complete", "--help"],
    ["data", "preview", "--help"],
]
LISTS = [
    ["list", "objectives"],
    ["list", "protocols", "--json"],
    ["list", "metrics"],
    ["list", "questions"],
    ["configs"],
    ["schema"],
    ["--version"],
]
DRY = [["run", "--grid", "good.yaml", "--dry-run", "--json"], ["run", "--grid", "good.yaml", "--dry-run"]]
BAD = [
    (["run", "--grid", "bad.yaml"], "bad.yaml:4: objectives[0]: unknown objective 'teblo'"),
    (["run", "--grid", "bad.yaml", "--dry-run", "--json"], "unknown objective 'teblo'"),
    (["run", "--grid", "nowhere.yaml"], "no such file: nowhere.yaml"),
    (["run", "--grid", "quik"], "no such file: quik, and no shipped configuration of that name"),
    (["configs", "quik"], "unknown configuration 'quik'"),
    (["run", "--grid", "good.yaml", "--where", "objective=jmvae"], "no trial of the grid has this objective"),
    (["train", "--set", "objective=teblo", "--out", "out"], "unknown objective 'teblo'"),
    (["train", "--spec", "trial.yaml", "--out", "out"], "unknown objective 'teblo'"),
    (["train", "--set-json", "{", "--out", "out"], "JSON"),
    (["list", "objectivs"], "unknown kind of part 'objectivs'"),
    (["data", "describe", "mnist_b"], "unknown dataset 'mnist_b'"),
    (["data", "describe", "mnist_a", "--set", "canvas=3"], "greater than or equal to 16"),
    (["evaluate", "nowhere", "--protocol", "papre"], "unknown protocol 'papre'"),
    (["imagine", "nowhere", "digit=6", "--out", "x.png"], "nowhere"),
    (["complete", "trial", "--region", "0:40,0:3", "--out", "x.png"], "the image has rows 0:32 and columns 0:32"),
    (["status", "nowhere"], "nowhere"),
    (["report", "nowhere", "elsewhere"], "nowhere: no such folder"),
    (["compare", "nowhere", "elsewhere"], "nowhere: no such folder"),
    (["leaderboard", "nowhere", "--out", "site"], "nowhere: no such folder"),
    (["export", "nowhere", "--out", "model"], "nowhere is not a trial folder"),
    (["sweep", "nowhere.yaml"], "wandb agent SWEEP"),
    (["sweep", "--local", "good.yaml"], "this is a grid, which mmvae-bench run takes"),
    (["train", "--wandb", "--set", "objective=teblo"], "unknown objective 'teblo'"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bad.yaml").write_text(GRID)
    (tmp_path / "good.yaml").write_text(GRID.replace("teblo", "telbo"))
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "spec.json").write_text(
        '{"version": 1, "dataset": {"name": "sprites"}, "backbone": {"name": "rgb_thin"}, "objective": {"name": "vae"}}'
    )
    (tmp_path / "trial.yaml").write_text("dataset: mnist_a\nbackbone: mnist_a_paper\nobjective: teblo\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [*HELP, *LISTS, *DRY], ids=" ".join)
def test_what_needs_no_torch_imports_none(arguments: list[str], folder: Path) -> None:
    done = run(*arguments, folder=folder)
    assert done.code == 0
    assert done.out
    assert not done.imported
    assert done.seconds < MAX_SECONDS


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_answered_at_once(arguments: list[str], words: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = run(*arguments, folder=folder)
    assert done.code == 2
    assert words in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert not done.out
    assert not done.imported
    assert done.seconds < MAX_SECONDS
    assert sorted(folder.iterdir()) == before, "nothing is started or written"


# What the imports of training, and of commands about a model, add to Lightning's: packages of others. Each in a fork of
# a process that has imported Lightning alone, which takes seconds.
ADDED = """
import json, os, sys
import pytorch_lightning
from importlib import import_module
before = {name.partition(".")[0] for name in sys.modules}
for names in json.loads(sys.argv[1]):
    if (child := os.fork()) == 0:
        for name in names:
            import_module(name)
        after = {name.partition(".")[0] for name in sys.modules}
        print(json.dumps(sorted(after - before - sys.stdlib_module_names)), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
SMALL = {"annotated_types", "einops", "filelock", "mmvae_bench", "pydantic", "pydantic_core", "safetensors"}
SMALL |= {"typing_inspection"}
"""A tenth of what Lightning takes, all together."""


def test_what_training_imports_beside_lightning() -> None:
    asked = [IMPORTED, ("mmvae_bench.evaluation.asking",)]
    words = [sys.executable, "-c", ADDED, json.dumps(asked)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = [set(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(asked)
    for added in found:
        assert added <= SMALL, "what only some trials need is imported where it is used"
        assert "mmvae_bench" in added


# Counts the full garbage collections that have to look through torch.
COUNTED = """
import gc, sys
from mmvae_bench.cli import main
full = []
def count(phase, info):
    if (phase, info["generation"]) == ("start", 2) and "torch" in sys.modules and not gc.get_freeze_count():
        full.append(info)
gc.callbacks.append(count)
code = main(sys.argv[1:])
print(len(full), gc.isenabled(), gc.get_freeze_count() > 100_000)
sys.exit(code)
"""


def test_what_is_imported_is_not_searched_for_garbage(folder: Path) -> None:
    """It would be several times while torch and Lightning are imported: a quarter of the time that takes."""
    trial = folder / "trial"
    spec = TrialSpec.parse({"dataset": "mnist_a", "backbone": "mnist_a_paper", "objective": "telbo"})
    (trial / "spec.json").write_text(json.dumps(spec.canonical()))
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, "imagine", str(trial), "digit=6", "--out", "x.png"],
        capture_output=True, text=True, timeout=240, cwd=folder,
    )  # fmt: skip
    assert done.stdout == "0 True True\n", done.stderr
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {trial} has no last.ckpt"), "and nothing is reported as leaked"
    assert done.stderr.count("\n") == 1


def test_the_processs_own_command_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(Exception):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr("mmvae_bench.cli.leave", leave)
    monkeypatch.setattr("sys.argv", ["mmvae-bench", "status", "nowhere"])
    monkeypatch.setitem(sys.modules, "torch", object())
    with pytest.raises(Left, match=r"^2$"):
        main()
    monkeypatch.delitem(sys.modules, "torch")
    assert main() == 2, "an ordinary end is quick enough"
    assert main(["status", "nowhere"]) == 2, "another caller goes on"
