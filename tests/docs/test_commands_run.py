"""The commands that pages show about a model, a run and data are run as they are written, on models that are hardly
trained. Others are run elsewhere: those of the README and of docs/running.md in tests/test_readme.py, of
docs/extending.md in tests/extending, of graphs, layers and trackers in the tests of these, uploads in
tests/report/test_hub.py."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmvae_bench as mb
from mmvae_bench.cli import main
from mmvae_bench.specs.trial import TrialSpec

from .test_pages import COMMANDS

PAGES = {"asking.md", "commands.md", "first_run.md", "own_data.md", "python.md", "questions.md"}
ELSEWHERE = (" --upload ", "--grid quick --where", "run --grid mine.yaml")
"""What is sent to a hub; and grids, which are run small by other tests."""
NAMED = ("mmvae-bench run --grid quick", "mmvae-bench sweep --local sweep_wandb")
"""What is only spoken of: it would train for minutes."""
SHOWN = [
    (page, line)
    for page, line in COMMANDS
    if page in PAGES and line not in NAMED and not any(part in line for part in ELSEWHERE)
]
SMALL: dict[str, Any] = {
    "objective": "jmvae",
    "training": {"steps": 3, "batch_size": 16, "validations": 1},
    "evaluation": {"num_samples": 10, "query_repeats": 1, "num_queries": 4, "classifier": {"steps": 2}},
}
TRIALS: dict[str, dict[str, Any]] = {
    "sprites": {
        "dataset": {"name": "sprites", "num_images": 400, "canvas": 16},
        "backbone": {"name": "patches", "width": 4, "hidden": 8, "latent_size": 3},
        "classifier": "conv_rgb",
    },
    "digits": {
        "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
        "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
        "classifier": "conv_thin",
    },
}
TRIALS["told"] = TRIALS["digits"] | {"objective": "ssvae"}
"""For commands that need a decoder which is told y."""
TRIALS["flat"] = TRIALS["sprites"] | {
    "dataset": TRIALS["sprites"]["dataset"] | {"level": 2},
    "backbone": TRIALS["sprites"]["backbone"] | {"latent_size": 2},
}
"""For those that need two latents and few concepts."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of whoever reads: a run of sprites under the names that pages use, two models of digits beside
    it, and pictures."""
    folder, before = tmp_path_factory.mktemp("desk"), Path.cwd()
    os.chdir(folder)
    patch = pytest.MonkeyPatch()
    # Where matplotlib keeps its list of fonts: else it is in the user's folder.
    patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
    try:
        for name, settings in TRIALS.items():
            parts = {key: value for key, value in settings.items() if key != "classifier"}
            classifier = SMALL["evaluation"]["classifier"] | {"name": settings["classifier"]}
            spec = TrialSpec.parse(SMALL | parts | {"evaluation": SMALL["evaluation"] | {"classifier": classifier}})
            done = mb.run_trial(spec, out=Path("runs") / ("quick" if name == "sprites" else name))
            (folder / f"{name}.key").write_text(done.directory.name)
        for other in ("first", "other"):
            shutil.copytree(folder / "runs" / "quick", folder / "runs" / other)
        pets = folder / "data" / "pets"
        pets.mkdir(parents=True)
        rows = ["file,colour,size"]
        for index in range(40):
            Image.new("RGB", (48, 40), (200 * (index % 2), 40, 5 * index)).save(pets / f"{index:04}.png")
            rows.append(f"{index:04}.png,{('blue', 'red')[index % 2]},{('small', 'big')[index // 2 % 2]}")
        (pets / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
        Image.new("L", (16, 16), 90).save(folder / "IMAGE.png")
        yield folder
    finally:
        patch.undo()
        os.chdir(before)


def test_pages_show_what_is_run_here() -> None:
    assert {page for page, _ in SHOWN} == PAGES
    assert len(SHOWN) > 25


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_does_what_it_says(
    page: str,
    line: str,
    desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In any order: what a command would find from the one before is made for it."""
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(desk / "data"))
    monkeypatch.chdir(tmp_path if "--dry-run" in line else desk)
    on_digits = "digit" in line or "IMAGE.png" in line or (page == "asking.md" and "=" not in line)
    name = "told" if "analogies" in line else "digits" if on_digits else "sprites"
    name = "flat" if "--plane" in line else name
    key = (desk / f"{name}.key").read_text()
    trial = f"runs/{'quick' if name == 'sprites' else name}/trials/{key}"
    words = shlex.split(line.replace("TRIAL_DIR", trial).replace("KEY", key).replace("CONCEPT", "colour=red"))[1:]
    if words[:2] == ["imagine", "model"] and not Path("model").exists():
        assert main(["export", trial, "--out", "model"]) == 0
    if "--out" in words:
        out = Path(words[words.index("--out") + 1])
        words[words.index("--out") + 1] = str(out := tmp_path / out.name)
    if words[:2] == ["data", "export"]:
        words += ["--set", "num_images=400", "--set", "canvas=16"]
    assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out.strip() or said.err.strip()
    if "--out" in words:
        assert out.exists()
