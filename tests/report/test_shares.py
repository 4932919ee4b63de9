"""How far a score has come from its floor to its ceiling, which protocol heads a table, and what is not ranked."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.report import write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import gather, write_results
from mmvae_bench.report.trials import find_trials
from mmvae_bench.runs.scores import Score, share_of_way, shares_of_score

from .synthetic_runs import scores_of, spec_of, write_trial


def score(metric: str = "correctness", **numbers: float) -> dict[str, object]:
    return Score(metric=metric, partition="test", **numbers).to_json()  # type: ignore[arg-type]


def test_a_score_as_far_up_as_a_blind_answer_has_come_no_way() -> None:
    """Level 18 of the faces: 82.4 was 32 of 50 points above a coin, and is a third of the way from a deaf model."""
    found = shares_of_score(score(value=0.824, ci_low=0.814, ci_high=0.834, floor=0.735, ceiling=0.99))
    assert found == pytest.approx({"share": 0.089 / 0.255, "share_low": 0.079 / 0.255, "share_high": 0.099 / 0.255})
    assert share_of_way(0.735, 0.735, 0.99) == 0.0
    assert share_of_way(0.7, 0.735, 0.99) < 0


def test_where_lower_is_better_the_ends_of_the_interval_change_places() -> None:
    found = shares_of_score(score("joint_divergence", value=0.3, ci_low=0.2, ci_high=0.4, floor=0.5, ceiling=0.1))
    assert found == pytest.approx({"share": 0.5, "share_low": 0.25, "share_high": 0.75})


@pytest.mark.parametrize(
    ("metric", "floor", "ceiling"),
    [
        ("coverage", 0.998, 0.968),  # a blind model beats an exact one: no way to go
        ("coverage", 0.992, 0.996),
        ("joint_divergence", 0.1, 0.5),
        ("correctness", math.nan, 0.9),
        ("correctness", 0.2, math.nan),
        ("frequency_unspecified", 0.0, 0.9),  # neither direction is better
    ],
)
def test_there_is_no_share_where_there_is_no_way(metric: str, floor: float, ceiling: float) -> None:
    found = shares_of_score(score(metric, value=0.5, ci_low=0.4, ci_high=0.6, floor=floor, ceiling=ceiling))
    assert all(math.isnan(value) for value in found.values())


def test_shares_are_columns_of_both_files(tmp_path: Path) -> None:
    for seed in (0, 1):
        spec = spec_of("telbo", seed=seed)
        write_trial(tmp_path, spec, scores=[replace(each, constant=0.4, deaf=0.25) for each in scores_of(spec)])
    frame = write_results(tmp_path)
    known = frame[frame.floor.notna()]
    for name, end in (("share", "value"), ("share_low", "ci_low"), ("share_high", "ci_high")):
        pd.testing.assert_series_equal(known[name], (known[end] - 0.2) / (0.93 - 0.2), check_names=False)
    assert set(known.constant) == {0.4}
    assert set(known.deaf) == {0.25}
    assert frame[frame.metric == "elbo"].share.isna().all()
    write_report(tmp_path, width=100, color=False)
    with (tmp_path / "report" / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "correctness"]
    assert len(rows) == 8
    for row in rows:
        value, low, high = (float(row[name]) for name in ("value", "ci_low", "ci_high"))
        found = [float(row[name]) for name in ("share", "share_low", "share_high")]
        assert found == pytest.approx([(each - 0.2) / 0.73 for each in (value, low, high)])
        assert (float(row["constant"]), float(row["deaf"])) == (0.4, 0.25)


def test_a_result_of_an_earlier_version_is_read_with_the_references_that_it_has(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of("telbo"))
    result = json.loads((folder / "result.json").read_text())
    for each in result["scores"]:
        del each["constant"], each["deaf"]
    write_json(folder / "result.json", result)
    frame = write_results(tmp_path)
    assert set(frame.status) == {"done"}
    assert frame.constant.isna().all()
    assert frame.deaf.isna().all()
    assert frame[frame.metric == "correctness"].share.notna().all()


@pytest.mark.parametrize(
    ("dataset", "backbone", "headline"),
    [({"name": "celeba18"}, "rgb_thin", "corrected"), ({}, "mnist_a_thin", "paper")],
    ids=["faces", "digits"],
)
def test_a_dataset_with_dependent_attributes_is_headed_by_what_is_fair_to_it(
    tmp_path: Path, dataset: dict[str, str], backbone: str, headline: str
) -> None:
    for objective in ("telbo", "jmvae"):
        spec = spec_of(objective)
        if dataset:
            parts = {"name": "celeba18", "source": "drawn", "size": 32, "num_images": 1000}
            spec = spec.parse(spec.canonical() | {"dataset": parts, "backbone": backbone})
        plain = scores_of(spec)
        more = [replace(each, protocol="corrected") for each in plain if each.protocol == "paper"]
        write_trial(tmp_path, spec, scores=[*plain, *more])
    write_results(tmp_path)
    (section,) = compare(gather(find_trials(tmp_path))).sections
    assert section.headline == headline
    assert next(row.protocol for row in section.rows if row.protocol) == headline
    assert {row.protocol for row in section.of(headline)} == {headline, None}


def test_a_bound_as_loose_as_its_proposal_marks_no_best(tmp_path: Path) -> None:
    means = {("telbo", seed): 0.01 * seed for seed in range(3)} | {("jmvae", seed): -5.0 for seed in range(3)}
    for (objective, seed), shift in means.items():
        spec = spec_of(objective, seed=seed)
        bounds = [
            Score(metric=metric, partition="test", protocol="likelihood", value=-6.0 + shift, num_samples=10,
                  per_query=[-6.0 + shift + 0.01 * number for number in range(20)], proposal="q(z|y)")
            for metric in ("log_py", "log_py_tight")
        ]  # fmt: skip
        write_trial(tmp_path, spec, scores=bounds)
    write_results(tmp_path)
    (section,) = compare(gather(find_trials(tmp_path))).sections
    rows = {row.metric: row for row in section.rows}
    assert rows["log_py"].best is None
    assert not rows["log_py"].leaders
    telbo = [column.objective for column in section.columns].index("telbo")
    assert rows["log_py_tight"].leaders == {telbo}
