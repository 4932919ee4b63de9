"""The points of the score curve: the values of the evaluation itself, asked without a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import run_trial

SETTINGS = {
    "dataset": {"name": "mnist_a", "canvas": 16, "replicas": 2, "num_sources": 300},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "objective": {"name": "jmvae"},
    "training": {"steps": 20, "batch_size": 16, "learning_rate": 1e-2, "validations": 2},
}
EVALUATION = {
    "num_samples": 10,
    "query_repeats": 1,
    "protocols": ["paper"],
    "num_resamples": 20,
    "classifier": {"name": "conv_thin", "steps": 150},
}


def test_the_last_point_is_the_result_and_training_is_untouched(tmp_path: Path) -> None:
    """With as many samples as a point has, the point at the last step is the evaluation's own number, and the weights
    are bit for bit those of a trial without a curve."""
    spec = TrialSpec.parse(SETTINGS | {"evaluation": EVALUATION | {"curve_points": 4}})
    plain = TrialSpec.parse(SETTINGS | {"evaluation": EVALUATION})
    assert spec.key == plain.key
    with_curve, without = run_trial(spec, out=tmp_path / "a"), run_trial(plain, out=tmp_path / "b")

    records = [json.loads(line) for line in (with_curve.directory / "log.jsonl").read_text().splitlines()]
    points = [record for record in records if record["event"] == "scores"]
    assert [record["step"] for record in points] == [5, 10, 15, 20]
    asked = {(s["metric"], s["attribute"], s["level"]): s["value"] for s in with_curve.scores}
    last = {(s["metric"], s["attribute"], s["level"]): s["value"] for s in points[-1]["scores"]}
    assert len(last) == 4 + 3 + 4  # correctness of each level, coverage where something is open, each attribute
    assert last == pytest.approx({key: asked[key] for key in last}, abs=1e-12)
    assert points[0]["scores"] != points[-1]["scores"]

    weights = [torch.load(r.directory / "last.ckpt", weights_only=True)["weights"] for r in (with_curve, without)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_an_objective_without_a_concept_posterior_has_no_curve(tmp_path: Path) -> None:
    spec = TrialSpec.parse(SETTINGS | {"objective": {"name": "jvae"}, "evaluation": EVALUATION | {"curve_points": 4}})
    directory = run_trial(spec, out=tmp_path).directory
    assert '"scores"' not in (directory / "log.jsonl").read_text()
