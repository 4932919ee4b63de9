"""Every command of the README, and of docs/running.md after it, is run as it is written: in a folder of its own, on a
quick.yaml that is made small."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmvae_bench.cli import main
from mmvae_bench.sweep.slurm import parse_parameters

ROOT = Path(__file__).parent.parent
README, RUNNING, CLUSTERS = ((ROOT / name).read_text() for name in ("README.md", "docs/running.md", "docs/clusters.md"))
SMALL = {
    "sprites": {"num_images": 600},
    "mnist_a": {"num_sources": 300, "replicas": 2},
    "celeba18": {"num_images": 600, "size": 32},
    "two_object_clevr": {"num_images": 120, "canvas": 32},
}
"""What makes a dataset small; one that quick.yaml names must have an entry here."""
SETTINGS = ["dataset.num_sources=300", "dataset.replicas=2", "evaluation.classifier.name=conv_thin",
            "evaluation.classifier.steps=5", "evaluation.num_samples=10", "evaluation.query_repeats=1"]  # fmt: skip
"""What makes one trial small, added to the command that trains one."""


def shell_commands(page: str) -> list[str]:
    """The commands of the indented blocks, continued lines joined, comments and the environment's folder left out."""
    blocks = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    text = "\n".join(line for line in blocks.splitlines() if line.startswith("    "))
    return commands_of(text.replace(".venv/bin/", ""))


def commands_of(text: str) -> list[str]:
    """One command a line."""
    commands = [re.sub(r"\s+# .*", "", line).strip() for line in text.replace("\\\n", " ").splitlines()]
    return [" ".join(command.split()) if "train" in command else command for command in commands if command]


COMMANDS = [command for page in (README, RUNNING) for command in shell_commands(page) if command.startswith("mmvae")]
ELSEWHERE = commands_of("".join(re.findall(r"```console\n(.*?)```", CLUSTERS, flags=re.DOTALL)))
ON_CLUSTERS = [command for command in ELSEWHERE if "--executor" in command]
TARGETS = sorted(set(re.findall(r"(?:`|    )make (\w+)", README + RUNNING)))


STARTED = {"run", "train", "sweep"}
"""Commands that train: each is a process of its own, as for whoever reads. The others are called here."""


def small_grid() -> dict[str, Any]:
    """configs/quick.yaml with one table a dataset, two objectives and seeds, few images, steps and questions."""
    grid: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "quick.yaml").read_text())
    grid["seeds"] = grid["seeds"][:2]
    for part in (grid, *grid.get("include", [])):
        for dataset in part.get("datasets", []):
            dataset.update(SMALL[dataset["name"]])
        if "datasets" in part:
            part["datasets"] = list({dataset["name"]: dataset for dataset in part["datasets"]}.values())
        if "objectives" in part:
            part["objectives"] = part["objectives"][:2]
        if "training" in part:
            part["training"].update(steps=3, batch_size=16)
        asked = part.setdefault("evaluation", {})
        asked.update(num_samples=10, query_repeats=1, num_queries=8)
        asked.pop("curve_points", None)
        asked["classifier"] = {"name": asked.get("classifier", {"name": "conv_thin"})["name"], "steps": 5}
    return grid


def small_sweep() -> dict[str, Any]:
    """configs/sweep_wandb.yaml with few images, few steps and few questions."""
    sweep: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "sweep_wandb.yaml").read_text())
    settings = dict(setting.split("=") for setting in SETTINGS) | {"training.steps": "3", "training.batch_size": "16"}
    sweep["parameters"] |= {key: {"value": yaml.safe_load(value)} for key, value in settings.items()}
    return sweep


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the checkout, as far as the README goes, with a cache of its own."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").mkdir()
    (folder / "configs" / "quick.yaml").write_text(yaml.safe_dump(small_grid(), sort_keys=False))
    (folder / "configs" / "sweep_wandb.yaml").write_text(yaml.safe_dump(small_sweep(), sort_keys=False))
    return folder


def surroundings(desk: Path) -> dict[str, str]:
    return {"MMVAE_BENCH_CACHE": str(desk / "cache"), "MPLCONFIGDIR": str(desk / "matplotlib"), "COLUMNS": "120"}


def shell(desk: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | surroundings(desk)
    return subprocess.run(words, cwd=desk, env=environment, capture_output=True, text=True, timeout=600, check=False)


def trial_of(run: Path, *, dataset: str) -> str:
    """The first key of a trial on a dataset."""
    specs = {path.parent.name: json.loads(path.read_text()) for path in run.glob("trials/*/spec.json")}
    return min(key for key, spec in specs.items() if spec["dataset"]["name"] == dataset)


def test_nothing_of_the_readme_is_left_out() -> None:
    """The commands are found: one of each kind that there is, and the targets of make that it names."""
    assert [shlex.split(command)[1] for command in COMMANDS] == [
        "run", "status", "imagine",
        "run", "status", "report", "verify", "evaluate", "list", "configs", "complete", "export",
        "leaderboard", "data", "train", "sweep", "sweep",
    ]  # fmt: skip
    assert {"benchmark", "test", "paper"} <= set(TARGETS)
    assert len(ON_CLUSTERS) == 2


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_exist(target: str) -> None:
    """With what they run: their commands are those of this file and of the configurations' own test."""
    planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr
    wanted = {"benchmark": "run --grid configs/quick.yaml", "paper": "run --grid configs/paper.yaml", "test": "pytest"}
    assert wanted.get(target, "") in planned.stdout


def test_the_commands_one_after_another(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def called(words: list[str]) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(desk)
            for name, value in surroundings(desk).items():
                patch.setenv(name, value)
            code = main(words)
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    for command in COMMANDS:
        words = shlex.split(command)
        if "KEY" in command:
            key = trial_of(desk / "runs" / "quick", dataset="sprites")  # the queries are of sprites
            words = [word.replace("KEY", key) for word in words]
        if words[1] == "train":
            words = [re.sub(r"^training\.steps=\d+$", "training.steps=3", word) for word in words]
            words += [word for setting in SETTINGS for word in ("--set", setting)]
        starts = words[1] in STARTED
        done = shell(desk, [sys.executable, "-m", "mmvae_bench", *words[1:]]) if starts else called(words[1:])
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip()
        if "--out" in words:
            assert (desk / words[words.index("--out") + 1]).exists(), command
    assert (desk / "runs" / "quick" / "report" / "index.html").exists()
    assert (desk / "runs" / "one" / "result.json").exists()


@pytest.mark.parametrize("command", ON_CLUSTERS, ids=["ray", "slurm"])
def test_the_commands_for_clusters_are_understood(desk: Path, command: str) -> None:
    """As far as a machine without a cluster can: the plan is made; with --slurm, so are submitit's parameters."""
    words = shlex.split(command)[1:]
    words[words.index("configs/paper.yaml")] = str(ROOT / "configs" / "paper.yaml")
    done = shell(desk, [sys.executable, "-m", "mmvae_bench", *words, "--dry-run"])
    assert done.returncode == 0, done.stderr
    assert "trials for /shared/paper; nothing was started" in done.stdout + done.stderr
    settings = [words[index + 1] for index, word in enumerate(words) if word == "--slurm"]
    if settings:
        submitit = pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
        assert parse_parameters(settings, list(submitit.SlurmExecutor._valid_parameters())) == {
            "partition": "gpu", "gpus_per_node": 1, "time": 240
        }  # fmt: skip


MY_OWN = """
import numpy as np

generator = np.random.default_rng(0)
colours, sizes = generator.choice(["red", "blue"], 200), generator.choice(["small", "big"], 200)
images = np.zeros((200, 16, 16, 3), dtype=np.uint8)
for image, colour, size in zip(images, colours, sizes):
    image[: 4 if size == "small" else 12, :, 0 if colour == "red" else 2] = 255
"""


def test_the_lines_of_python(desk: Path) -> None:
    """As they stand but for the number of steps, the classifier's 3,000 as well, on images of one's own."""
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "mb." in block]
    for long, short in (
        ('"steps": 2000', '"steps": 3'),
        ("\n    },\n", '\n        "evaluation": {"classifier": {"name": "conv_rgb", "steps": 20}},\n    },\n'),
    ):
        assert block.count(long) == 1
        block = block.replace(long, short)
    done = shell(desk, [sys.executable, "-c", MY_OWN + block])
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("jmvae", "telbo", "mvae", "correctness")), done.stdout
