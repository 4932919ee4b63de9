"""One trial from a file and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.specs.trial_file import load_trial

TEXT = """\
dataset: {name: mnist_a, canvas: 32}
backbone: mnist_a_thin
objective: telbo
training:
  steps: 10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "trial.yaml"
    file.write_text(TEXT)
    return file


def test_a_file_alone(path: Path) -> None:
    assert load_trial(path) == TrialSpec.parse(
        {
            "dataset": {"name": "mnist_a", "canvas": 32},
            "backbone": "mnist_a_thin",
            "objective": "telbo",
            "training": {"steps": 10},
        }
    )


def test_settings_alone() -> None:
    json = '{"dataset": {"name": "mnist_a", "canvas": 16}, "backbone": "mnist_a_thin", "objective.lambda": 3}'
    spec = load_trial(json_settings=json, assignments=["objective=jmvae", "training.steps=7"])
    assert spec.objective.parameters() == {"lambda": 3.0, "alpha": 1.0}
    assert spec.training.steps == 7


def test_later_sources_win(path: Path) -> None:
    assert load_trial(path, json_settings='{"training.steps": 2}').training.steps == 2
    assert load_trial(path, json_settings='{"training.steps": 2}', assignments=["training.steps=3"]).training.steps == 3


def test_evaluation_is_a_default(path: Path) -> None:
    asked = {"num_samples": 50}
    assert load_trial(path, evaluation=asked).evaluation.num_samples == 50
    assert load_trial(path, evaluation=asked, assignments=["evaluation.num_samples=60"]).evaluation.num_samples == 60


def test_a_spec_written_by_a_run_reads_back(path: Path, tmp_path: Path) -> None:
    from mmvae_bench.base.hashing import canonical_json

    spec = load_trial(path)
    (tmp_path / "spec.json").write_text(canonical_json(spec.canonical()))
    assert load_trial(tmp_path / "spec.json").key == spec.key


def test_problems_of_the_file_have_their_line_and_those_of_the_command_line_say_so(path: Path) -> None:
    path.write_text(TEXT.replace("steps", "stesp"))
    with pytest.raises(ConfigError) as caught:
        load_trial(path, assignments=["objective.alpha=1"])
    text = str(caught.value)
    assert f"{path}:5: training.stesp: unknown key 'stesp' of training" in text
    assert f"{path}: objective.alpha: unknown key 'alpha' of telbo (set on the command line)" in text


def test_both_kinds_of_setting_can_be_wrong(path: Path) -> None:
    with pytest.raises(ConfigError, match="--set-json: not valid JSON"):
        load_trial(path, json_settings="{")
    with pytest.raises(ConfigError) as caught:
        load_trial(path, assignments=["seed=1", "seed=2", "what"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["- 1\n", "telbo\n"])
def test_a_file_of_something_else(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}:1: expected a mapping"):
        load_trial(path)


def test_a_problem_of_the_yaml_itself(path: Path) -> None:
    path.write_text(TEXT + "seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match=f"{path}:7: seed: key given twice, first on line 6"):
        load_trial(path)


def test_nothing_at_all() -> None:
    with pytest.raises(ConfigError) as caught:
        load_trial()
    assert {problem.location for problem in caught.value.problems} == {("dataset",), ("backbone",), ("objective",)}
