"""A folder that is no trial: the commands that take one list the trials that may have been meant."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from mmvae_bench.base.processes import INTERRUPTED, program
from mmvae_bench.cli import main
from mmvae_bench.runs.folder import MOST_NEARBY, trials_nearby
from mmvae_bench.specs.trial import TrialSpec


def spec(seed: int) -> TrialSpec:
    settings = {"dataset": {"name": "mnist_a", "canvas": 16}, "backbone": "mnist_a_thin", "objective": "jmvae"}
    return TrialSpec.parse({**settings, "seed": seed})


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of two trials of which nothing but the specs is there."""
    for seed in (0, 1):
        folder = tmp_path / "run" / "trials" / spec(seed).key
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(spec(seed).canonical()))
    return tmp_path / "run"


@pytest.mark.parametrize("command", [["train", "--out"], ["evaluate"], ["imagine"]], ids=lambda words: words[0])
@pytest.mark.parametrize("given", ["", "trials", "trials/{key}x", "{key}"])
def test_the_trials_nearby_are_listed_the_nearest_first(
    command: list[str], given: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = spec(1).key
    words = [*command, str(run_folder / given.format(key=key))]
    if command[0] == "imagine":
        words = ["imagine", words[-1], "digit=6", "--out", "x.png"]
    assert main(words) == 2
    said = capsys.readouterr().err
    lines = [line.split()[:2] for line in said.splitlines() if "seed" in line]
    expected = [[str(run_folder / "trials" / spec(seed).key), "jmvae"] for seed in (0, 1)]
    if "{key}" in given:
        assert lines == expected[::-1]
    else:
        assert sorted(lines) == sorted(expected)
    assert f"trials in {run_folder / 'trials'}:" in said
    assert not Path("x.png").exists()


def test_what_is_listed_is_bounded_and_bears_damaged_specs(tmp_path: Path) -> None:
    assert trials_nearby(tmp_path / "nothing") == ""
    for number in range(MOST_NEARBY + 3):
        folder = tmp_path / "trials" / f"{number:02}"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("[1]" if number else '{"objective": 3}')
    said = trials_nearby(tmp_path)
    assert said.endswith("and 3 more")
    assert said.count("damaged") == MOST_NEARBY


def test_a_trial_that_is_not_trained_cannot_imagine(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder / "trials" / spec(0).key
    out = run_folder / "x.png"
    words = ["imagine", str(folder), "digit=6", "--out", str(out)]
    assert main(words) == 2
    assert "has not been trained yet" in capsys.readouterr().err
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 and no more")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is damaged" in said
    assert said.count("\n") == 1
    from mmvae_bench.training.checkpoint import Checkpoint

    Checkpoint(spec(0).key, 0, 7, {}).save(folder / "last.ckpt")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "from the middle of training (step 7 of" in said
    assert f"mmvae-bench train --out {folder}" in said
    assert not out.exists()


@pytest.mark.parametrize("why", ["stopped at step 3 of stage 'fit'", "interrupted"])
def test_a_training_that_is_stopped_ends_with_the_command_that_resumes_it(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmvae_bench.training.fit import TrainingInterrupted

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt if why == "interrupted" else TrainingInterrupted(why)

    (tmp_path / "spec.json").write_text(json.dumps(spec(1).canonical()))
    words = ["train", "--spec", str(tmp_path / "spec.json"), "--out", str(tmp_path / "a trial")]
    monkeypatch.setattr("mmvae_bench.trial.run_locked", stopped)
    monkeypatch.setattr("sys.argv", ["/somewhere/mmvae-bench", *words])
    assert main(words) == INTERRUPTED
    said = capsys.readouterr().err
    command = shlex.join([*program(), *words])
    assert said.endswith(f"{why}; resume with:\n{command}\n")
    assert said.count("resume") == 1
