"""``evaluate``: everything again, or one protocol alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import mmvae_bench as mb
from mmvae_bench.cli import main
from mmvae_bench.specs.trial import TrialSpec

SPEC = {
    "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "objective": "jmvae",
    "training": {"steps": 5, "batch_size": 32, "validations": 1},
    "evaluation": {
        "num_samples": 10,
        "query_repeats": 1,
        "num_resamples": 50,
        "protocols": ["paper"],
        "levels": [4],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished trial of each of two objectives."""
    out = tmp_path_factory.mktemp("run")
    return {
        name: mb.run_trial(TrialSpec.parse(SPEC | {"objective": name}), out=out).directory for name in ("jmvae", "jvae")
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_protocol_is_printed_and_the_folder_is_left_alone(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trial = runs["jmvae"]
    before = contents(trial)
    assert main(["evaluate", str(trial), "--protocol", "official"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["metric", "protocol", "partition", "level", "value"]
    assert [row.split()[:4] for row in rows] == [
        ["correctness", "official", "test", "4"],
        ["joint_divergence", "official", "test", "4"],
    ]
    assert main(["evaluate", str(trial), "--protocol", "official", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {score["protocol"] for score in printed["scores"]} == {"official"}
    assert printed["evaluation"]["protocols"] == ["official"]
    shown = [score["value"] for score in printed["scores"] if score["attribute"] is None]
    assert [row.split()[4] for row in rows] == [f"{value:.4g}" for value in shown]
    assert contents(trial) == before


def test_without_a_protocol_everything_is_evaluated_and_stored(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trial = runs["jmvae"]
    scores = json.loads((trial / "result.json").read_text())["scores"]
    (trial / "result.json").unlink()
    assert main(["evaluate", str(trial), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((trial / "result.json").read_text())
    assert printed["scores"] == scores
    assert {score["protocol"] for score in scores} == {"paper", None}


def test_a_protocol_that_the_model_has_no_scores_for_says_so(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(runs["jvae"]), "--protocol", "paper"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert printed.err == "no scores: objective jvae cannot do what protocol paper scores\n"


@pytest.mark.parametrize("lacking", [{"protocols": ["paper", "five"]}, {"questions": {"exact_match": {}}}])
def test_a_model_can_be_asked_without_the_package_of_a_metric(
    lacking: dict[str, Any], runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what evaluates the trial needs it; the model itself is named in the same way by every command."""
    trial = tmp_path / "trial"
    shutil.copytree(runs["jmvae"], trial)
    settings = json.loads((trial / "evaluation.json").read_text())
    (trial / "evaluation.json").write_text(json.dumps(settings | lacking))
    name = "five" if "protocols" in lacking else "exact_match"
    out = tmp_path / "six.png"
    assert main(["imagine", str(trial), "digit=6", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert printed.err.count("warning: ") == 1
    assert "the model does not need them" in printed.err
    assert f"evaluation.{next(iter(lacking))}" in printed.err
    assert repr(name) in printed.err
    assert mb.load(trial).spec.name == "jmvae"
    assert main(["export", str(trial), "--out", str(tmp_path / "export")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(trial)]) == 2
    assert repr(name) in capsys.readouterr().err
    # What is wrong with the model's own settings is an error as ever.
    (trial / "spec.json").write_text((trial / "spec.json").read_text().replace('"jmvae"', '"jmvea"'))
    assert main(["imagine", str(trial), "digit=6", "--out", str(out)]) == 2
    assert "jmvea" in capsys.readouterr().err
