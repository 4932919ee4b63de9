"""Errors during training: those of a run's own question, of a training that they leave as it is."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import label_errors
import pandas as pd
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.evaluation.questions import questions_of
from mmvae_bench.evaluation.questions.base import Context
from mmvae_bench.objectives.base import evaluating
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.trial import build_objective, ready_data

GRID = """
name: few
datasets: [{name: mnist, canvas: 16, num_images: 400}]
backbones: [{name: mlp, hidden: 8, latent_size: 2}]
objectives: [ssvae, {name: ssvae, estimator: concrete}]
training: {steps: 6, batch_size: 32, learning_rate: 0.01, supervision: {labels_per_class: 1, rate: 0.5, by_seed: true}}
evaluation: {partitions: [val, test]}
"""


class Pool:
    """Does its work at once, in this process, and keeps what it raises."""

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Any, spec: TrialSpec) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(spec))
        except BenchmarkError as error:
            future.set_exception(error)
        return future


def trial(**training: Any) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": {"name": "mnist", "canvas": 16, "num_images": 1000},
            "backbone": {"name": "mlp", "hidden": 16, "latent_size": 2},
            "objective": training.pop("objective", "ssvae"),
            "training": {"steps": 6, "batch_size": 32, "learning_rate": 0.01}
            | {"supervision": {"labels_per_class": 1, "rate": 0.5, "by_seed": True}}
            | training,
            "evaluation": {"partitions": ["val", "test"]},
            "seed": 3,
        }
    )


def test_the_last_errors_are_the_scores_of_the_trained_model() -> None:
    """Of a model that was trained without any on the way, as the question of a run scores it."""
    spec = trial(steps=60)
    rows = label_errors.measured(spec, 20, "cpu")
    assert [(row["step"], row["partition"]) for row in rows] == [
        (step, each) for step in (20, 40, 60) for each in ("val", "test")
    ]
    data, model = ready_data(spec, "cpu"), build_objective(spec)
    fit(model, data, spec.training, key=spec.key, seed=spec.seed)
    (question,) = (each for each in questions_of(spec.evaluation) if each.name == "few_labels")
    # It asks neither the classifier of images nor the judge.
    for last in rows[-2:]:
        context = Context(model, data, None, None, spec.evaluation, last["partition"], torch.device("cpu"))  # type: ignore[arg-type]
        with evaluating(model), torch.no_grad():
            scores = {score.metric: score.value for score in question.ask(context)}
        assert {"label_error": last["error"], "label_error_alone": last["error_alone"]} == scores
        assert last["error"] != last["error_alone"]
    assert len({row["error"] for row in rows}) > 3, "the model changes, and partitions differ"
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)


def test_what_has_no_error_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="all images have labels"):
        label_errors.measured(trial(supervision=None), 2, "cpu")
    with pytest.raises(BenchmarkError, match="cvae cannot describe"):
        label_errors.measured(trial(objective="cvae"), 2, "cpu")
    with pytest.raises(BenchmarkError, match="6 steps are no multiple of --every 4"):
        label_errors.measured(trial(), 4, "cpu")


def test_the_file_grows_trial_by_trial_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.yaml").write_text(GRID, encoding="utf-8")
    out = tmp_path / "errors.parquet"
    asked: list[object] = []

    def measured(spec: TrialSpec, every: int, device: str) -> list[dict[str, Any]]:
        estimator = spec.objective.parameters()["estimator"]
        if len(asked) == 1 and estimator == "concrete":
            asked.append("broken")
            raise BenchmarkError("broken")
        asked.append(estimator)
        about: dict[str, Any] = {"trial": spec.key, "objective": "ssvae"}
        about |= {"objective_params": f'{{"estimator": "{estimator}"}}', "seed": 0}
        about |= {"supervision": '{"labels_per_class": 1, "fraction": null}', "augmentation": "null"}
        return [
            about | {"step": step, "partition": each, "error": step / 1000, "error_alone": 0.25, "seconds": step}
            for step in (every, 2 * every)
            for each in ("val", "test")
        ]

    monkeypatch.setattr(label_errors, "measured", measured)
    command = ["label_errors.py", str(tmp_path / "few.yaml"), "--out", str(out), "--every", "10"]
    monkeypatch.setattr(sys, "argv", [*command, "--set", "training.steps=20"])
    with pytest.raises(SystemExit, match="broken"):
        label_errors.main()
    assert len(pd.read_parquet(out)) == 4
    label_errors.main()
    assert asked == ["plug_in", "broken", "concrete"]
    found = pd.read_parquet(out)
    assert tuple(found.columns) == label_errors.COLUMNS
    assert found["trial"].nunique() == 2
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"| ssvae{model} | labels_per_class 1 |  | 0 | {each} | 1.0 | 2.0 | 25.0 | 20 |"
        for model in ("", ", estimator concrete")
        for each in ("val", "test")
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_trial_is_trained_whoever_trains_it(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings of the command line."""
    started: list[int] = []

    def pool(number: int, **_: object) -> Pool:
        started.append(number)
        return Pool()

    monkeypatch.setattr(label_errors, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(label_errors, "measured", lambda spec, every, device: [{"trial": spec.training.steps}])
    wanted = label_errors.changed([trial(), trial(steps=8)], ["training.learning_rate=0.5"])
    assert [each.training.learning_rate for each in wanted] == [0.5, 0.5]
    found = list(label_errors.trained(wanted, 2, "cpu", workers))
    assert sorted(row["trial"] for rows in found for row in rows) == [6, 8]
    assert started == [workers] * (workers > 1)
    # Settings that make two trials one: it is trained once.
    assert len(label_errors.changed([trial(), trial(steps=8)], ["training.steps=2"])) == 1


def test_a_trial_that_fails_beside_others_loses_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(spec: TrialSpec, every: int, device: str) -> list[dict[str, Any]]:
        if spec.training.steps == 7:
            raise BenchmarkError("lost")
        return [{"trial": spec.training.steps}]

    monkeypatch.setattr(label_errors, "ProcessPoolExecutor", lambda *_, **__: Pool())
    monkeypatch.setattr(label_errors, "as_completed", list)  # In order: the one that fails is done first.
    monkeypatch.setattr(label_errors, "measured", measured)
    rows = label_errors.trained([trial(steps=steps) for steps in (7, 6, 8)], 1, "cpu", 2)
    assert [next(rows)[0]["trial"], next(rows)[0]["trial"]] == [6, 8]
    with pytest.raises(BenchmarkError, match="lost"):
        next(rows)


def test_another_file_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    row: dict[str, object] = dict.fromkeys(label_errors.COLUMNS, 0)
    row |= {"trial": trial().key, "partition": "test", "step": 2}
    pd.DataFrame([row, row | {"step": 4}]).to_parquet(tmp_path / "errors.parquet")
    (tmp_path / "text.parquet").write_text("no table", encoding="utf-8")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    asked = trial().model_copy(update={"evaluation": trial().evaluation.model_copy(update={"partitions": ("test",)})})
    assert len(label_errors.kept(tmp_path / "errors.parquet", [asked], 2)) == 2
    both = asked.evaluation.model_copy(update={"partitions": ("val", "test")})
    for spec, every in ((asked, 3), (asked.model_copy(update={"evaluation": both}), 2)):
        with pytest.raises(BenchmarkError, match=f"errors of trial {asked.key} every 2 steps on test: give another"):
            label_errors.kept(tmp_path / "errors.parquet", [spec], every)
    for name in ("text", "other"):
        with pytest.raises(BenchmarkError, match=rf"{name}\.parquet: not a file of this script"):
            label_errors.kept(tmp_path / f"{name}.parquet", [asked], 2)
