"""The names of what is logged: one for every number, and the same at every run."""

from __future__ import annotations

from mmvae_bench.report.frames import COLUMNS
from mmvae_bench.runs.scores import Score
from mmvae_bench.tracking.metrics import SCORE_COLUMNS, record_values, score_name, score_table, score_values

SCORES = [
    Score(metric="correctness", partition="test", protocol="official", level=4, value=0.5).to_json(),
    Score(
        metric="correctness", partition="test", protocol="official", level=4, attribute="digit", value=0.25
    ).to_json(),
    Score(metric="coverage", partition="val", protocol="paper", level=0, value=float("nan")).to_json(),
    Score(metric="elbo", partition="test", value=-70.0).to_json(),
]


def test_a_name_tells_a_number_from_every_other_of_its_trial() -> None:
    assert [score_name(score) for score in SCORES] == [
        "test/official/correctness/level_4", "test/official/correctness/level_4/digit",
        "val/paper/coverage/level_0", "test/elbo",
    ]  # fmt: skip


def test_a_number_that_is_none_is_left_out() -> None:
    assert score_values(SCORES) == {
        "test/official/correctness/level_4": 0.5,
        "test/official/correctness/level_4/digit": 0.25,
        "test/elbo": -70.0,
    }


def test_the_table_has_columns_of_the_results() -> None:
    assert set(SCORE_COLUMNS) <= set(COLUMNS)
    assert score_table(SCORES[:1]) == [
        ["correctness", "test", "official", None, 4, 0.5, None, None, None, None, None, None]
    ]


def test_records_of_the_training() -> None:
    validation = {"event": "validation", "stage": "unimodal", "step": 5, "elbo": -3.0, "parts": {"image/kl": 1.0}}
    assert record_values(validation) == {"validation/unimodal/elbo": -3.0, "validation/unimodal/parts/image/kl": 1.0}
    for kind, name in (("labelled", "labelled"), ("without image", "without_image")):
        step = {"event": "train", "stage": "fit", "step": 5, "kind": kind, "loss": 2.0, "parts": {"image/kl": 1.0}}
        assert record_values(step) == {f"train/fit/{name}/loss": 2.0, f"train/fit/{name}/parts/image/kl": 1.0}
    points = [{"metric": "coverage", "attribute": None, "level": 2, "value": 0.75}]
    assert record_values({"event": "scores", "stage": "fit", "step": 5, "overall": 5, "scores": points}) == {
        "curve/coverage/level_2": 0.75
    }
