"""The number that a sweep optimises: one that its trials can have, or an error before any of them is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmvae_bench.base.errors import Problem
from mmvae_bench.cli import main
from mmvae_bench.specs.components import questions
from mmvae_bench.specs.sweep_metrics import metric_problems
from mmvae_bench.specs.trial import TrialSpec, trial_label
from mmvae_bench.tracking.metrics import record_values, score_name

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def trial(objective: Any = "telbo", **evaluation: Any) -> TrialSpec:
    dataset = {"name": "mnist_a", "canvas": 32}
    return TrialSpec.parse(
        {"dataset": dataset, "backbone": "mnist_a_thin", "objective": objective, "evaluation": evaluation}
    )


def problem(name: str, *trials: TrialSpec) -> Problem:
    (found,) = metric_problems(name, trials or (trial(),))
    assert found.location == ("metric", "name")
    assert found.value == repr(name)
    return found


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("test/paper/correctnes/level_4", "test/paper/correctness/level_4"),
        ("test/papr/coverage/level_2", "test/paper/coverage/level_2"),
        ("test/paper/correctness", "test/paper/correctness/level_4"),
        ("validation/elbo", "validation/fit/elbo"),
        ("train/fitt/loss", "train/fit/loss"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, near: str) -> None:
    assert problem(name).near == near


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("test/paper/correctness/level_9", {}),
        ("test/paper/correctness/level_2", {"levels": [4]}),
        ("test/paper/coverage/level_4", {}),  # Nothing is open.
        ("test/paper/correctness/level_4/colour", {}),
        ("test/correctness/level_4", {}),
        ("test/corrected/correctness/level_4", {"protocols": ["paper"]}),
        ("test/likelihood/log_px", {}),
        ("test/mig", {}),
        ("test/paper/correctness/level_4", {"partitions": ["val"]}),
        ("curve/correctness/level_4", {}),
    ],
)
def test_what_the_settings_do_not_ask_for_is_refused(name: str, settings: dict[str, Any]) -> None:
    assert metric_problems(name, [trial(**settings)])


def test_the_reason_is_said() -> None:
    assert "evaluation.partitions is test" in problem("val/paper/correctness/level_4").message
    assert "evaluation.curve_points is 0" in problem("curve/correctness/level_4").message
    assert "such as test/official/correctness/level_1" in problem("blah").message
    assert problem("blah").near is None


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("val/paper/correctness/level_4", {"partitions": ["val"]}),
        ("test/paper/correctness/level_4/digit", {}),
        ("test/paper/correctness_mean_images/level_4", {"images": "both"}),
        ("curve/coverage/level_2", {"curve_points": 5}),
        ("test/likelihood/log_px", {"likelihood_images": 10}),
        ("test/mig/digit", {"questions": {"disentanglement": {}}}),
        ("test/classifier_accuracy/digit", {"partitions": ["val"]}),
    ],
)
def test_what_the_settings_ask_for_is_taken(name: str, settings: dict[str, Any]) -> None:
    assert metric_problems(name, [trial(), trial(**settings)]) == [], "one trial that can have it is enough"


@pytest.mark.parametrize(
    ("objective", "name", "settings", "lacks"),
    [
        ("vae", "test/paper/correctness/level_4", {}, "vae has no q(z|y)"),
        ("vae", "curve/correctness/level_4", {"curve_points": 5}, "vae has no q(z|y)"),
        ("vae", "test/description_accuracy", {}, "vae has no q(y|x), nor both q(z|x) and p(y|z)"),
        ("ssvae", "test/description_accuracy", {}, None),
        ("jvae", "test/description_accuracy", {}, "jvae has no q(y|x), nor both q(z|x) and p(y|z)"),
        ("jvae", "test/mig", {"questions": {"disentanglement": {}}}, "jvae has no q(z|x)"),
        ("cvae", "test/reconstruction_error", {"reconstruction_images": 10}, None),
        ("scan", "test/paper/correctness/level_4", {}, None),
        (
            {"name": "jmvae", "concept_fusion": "concatenation"},
            "test/paper/coverage/level_2",
            {},
            "jmvae has no q(z|y) of queries that leave attributes open",
        ),
        ({"name": "jmvae", "concept_fusion": "concatenation"}, "test/paper/correctness/level_4", {}, None),
    ],
)
def test_what_an_objective_cannot_be_asked_is_refused(
    objective: Any, name: str, settings: dict[str, Any], lacks: str | None
) -> None:
    asked = trial(objective, **settings)
    if lacks is None:
        assert metric_problems(name, [asked]) == []
        return
    found = problem(name, asked)
    assert found.message == f"no trial of this sweep has such a number: {lacks}"
    assert found.near is None or metric_problems(found.near, [asked]) == []
    # One trial that can have it is enough for a grid, whose last word is the best of those that have.
    other = trial("mvtcae", **settings)
    assert metric_problems(name, [asked, other]) == []
    (found,) = metric_problems(name, [other, asked], of_each=True)
    assert found.message == f"the next trial is chosen by what all before it scored, and {lacks}"
    assert found.near is None or metric_problems(found.near, [other, asked], of_each=True) == []


def test_a_search_needs_the_number_of_each_trial() -> None:
    one, other = trial(), trial(levels=[4])
    name = "test/paper/correctness/level_2"
    assert metric_problems(name, [one, one], of_each=True) == []
    (found,) = metric_problems(name, [one, other], of_each=True)
    assert found.message.endswith(f"{trial_label(other.canonical())} has no such number")
    assert found.near == "test/paper/correctness/level_4"


def test_the_numbers_of_a_log_are_taken() -> None:
    two_stages = trial({"name": "telbo", "schedule": "two_stage"})
    for record in (
        {"event": "train", "stage": "fit", "loss": 1.0, "parts": {"joint/kl": 1.0}},
        {"event": "train", "stage": "unimodal", "kind": "with image", "loss": 1.0, "parts": {"image/log_px": 1.0}},
        {"event": "validation", "stage": "unimodal", "elbo": 1.0, "parts": {"joint/kl": 1.0}},
    ):
        for name in record_values(record):
            assert metric_problems(name, [two_stages]) == []
    assert metric_problems("validation/unimodal/elbo", [trial("jmvae")]), "it has one stage"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/results.parquet")), ids=lambda path: path.parent.name)
def test_every_number_that_was_ever_published_is_taken(path: Path) -> None:
    """Of a trial of each objective in each world, whose evaluation is what its numbers say."""
    rows = pd.read_parquet(path)
    rows = rows[rows.value.notna()]
    checked = 0
    for _, group in rows.groupby(["dataset", "dataset_params", "split", "objective"]):
        own = group[group.trial == group.trial.iloc[0]]
        spec = _spec_of(own)
        for row in own[["metric", "partition", "protocol", "attribute", "level"]].to_dict("records"):
            score = {key: None if pd.isna(value) else value for key, value in row.items()}
            score |= {"level": None if score["level"] is None else int(score["level"])}
            assert metric_problems(score_name(score), [spec]) == []
            checked += 1
    assert checked > 5


def _spec_of(rows: pd.DataFrame) -> TrialSpec:
    first, metrics = rows.iloc[0], set(rows.metric)
    asked = (questions.get(name) for name in questions.built_in())
    evaluation: dict[str, Any] = {
        "partitions": sorted(rows.partition.unique()),
        "images": "both",
        "likelihood_images": 10,
        "prior_images": 10,
        "reconstruction_images": 10,
        "questions": {
            spec.model_fields["name"].default: {} for spec in asked if spec.on_request and metrics & {*spec.metrics}
        },
    }
    if protocols := [name for name in rows.protocol.dropna().unique() if name != "likelihood"]:
        evaluation["protocols"] = protocols
    if levels := sorted({int(level) for level in rows[rows.protocol == "paper"].level.dropna()}):
        evaluation["levels"] = levels
    parts = {
        part: json.loads(first[f"{part}_params"]) | ({} if part == "training" else {"name": first[part]})
        for part in ("dataset", "backbone", "objective", "training")
    }
    return TrialSpec.parse({**parts, "evaluation": evaluation})


SWEEP = """\
method: METHOD
run_cap: 2
metric: {name: val/paper/correctnes/level_4, goal: maximize}
parameters:
  objective.name: {values: [jmvae, telbo]}
  dataset: {value: {name: mnist_a, canvas: 32}}
  backbone.name: {value: mnist_a_thin}
  evaluation.partitions: {value: [val]}
"""


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_nothing_is_trained_for_a_number_that_no_trial_has(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP.replace("METHOD", method))
    for options in (["--dry-run"], []):
        assert main(["sweep", "--local", str(path), *options]) == 2
        said = capsys.readouterr().err
        assert f"{path}:3: metric.name: no trial of this sweep has such a number" in said
        assert "nearest: val/paper/correctness/level_4" in said
    assert [*tmp_path.iterdir()] == [path]


def test_a_search_over_an_objective_that_has_no_such_number_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end after the first of its trials."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    text = SWEEP.replace("correctnes/", "correctness/").replace("[jmvae, telbo]", "[jmvae, vae]")
    path.write_text(text.replace("METHOD", "bayes"))
    for options in (["--dry-run"], []):
        assert main(["sweep", "--local", str(path), *options]) == 2
        said = capsys.readouterr().err
        assert f"{path}:3: metric.name: the next trial is chosen by what all before it scored, and vae has no" in said
    assert [*tmp_path.iterdir()] == [path]
    path.write_text(text.replace("METHOD", "grid"))
    assert main(["sweep", "--local", str(path), "--dry-run"]) == 0
