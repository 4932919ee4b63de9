"""``train --track``: the numbers of Lightning's loggers are those of log.jsonl and of the result; and the best trial of
a local sweep."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.specs.overrides import load_trial
from mmvae_bench.specs.sweeps import SweepMetric, load_sweep, sweep_metric
from mmvae_bench.tracking import loggers
from mmvae_bench.tracking.best import best_text, logged_values
from mmvae_bench.tracking.loggers import LoggerRun, Tracker, logged
from mmvae_bench.tracking.metrics import record_values, score_values

from .support import PARAMETERS, as_json

SMALL = PARAMETERS | {"training.steps": 6, "training.validations": 2, "evaluation.curve_points": 0}
TRIAL = load_trial(agent=SMALL)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial with a CSV logger, and the same without."""
    folder = tmp_path_factory.mktemp("followed")
    words = ["train", "--set-json", as_json(SMALL), "--out"]
    assert main([*words, str(folder / "plain")]) == 0
    assert main([*words, str(folder / "trial"), "--track", "csv"]) == 0
    return folder / "trial"


def wanted(folder: Path) -> dict[tuple[int, str], float]:
    """Every number that a tracker gets, by step and name."""
    result = json.loads((folder / "result.json").read_text())
    found = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        for name, value in record_values(record).items():
            found[record["step"], name] = value  # One stage: its step is that over all.
    last = result["training"]["steps"]
    return found | {(last, name): value for name, value in score_values(result["scores"]).items()}


def test_a_csv_file_has_every_number_at_its_step(followed: Path) -> None:
    (path,) = followed.glob("tracking/csv/version_*/metrics.csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    found = {(int(row["step"]), name): float(text) for row in rows for name, text in row.items()
             if text and name != "step"}  # fmt: skip
    expected = wanted(followed)
    assert found.keys() == expected.keys()
    assert len(expected) > 20
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-6, nan_ok=True), key
    assert "name: telbo" in (path.parent / "hparams.yaml").read_text().replace("objective.name", "name")


def test_following_changes_no_bit_and_damages_no_folder(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = [torch.load(folder / "last.ckpt", weights_only=True)["weights"] for folder in
               (followed, followed.with_name("plain"))]  # fmt: skip
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert main(["status", str(followed.parent)]) == 2
    assert main(["evaluate", str(followed), "--protocol", "paper", "--json"]) == 0


def replayed(tracker: Tracker, folder: Path) -> None:
    """A finished trial, told to a tracker as `train` does."""
    for line in (folder / "log.jsonl").read_text().splitlines():
        tracker.record({"overall": json.loads(line)["step"], **json.loads(line)})
    tracker.result(json.loads((folder / "result.json").read_text()), folder)


def test_tensorboard_has_every_number_at_its_step(followed: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with logged(["tensorboard"], tmp_path, TRIAL) as (tracker,):
        replayed(tracker, followed)
    (folder,) = tmp_path.glob("tracking/tensorboard/version_*")
    events = EventAccumulator(str(folder)).Reload()
    found = {(event.step, tag): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    expected = wanted(followed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5, nan_ok=True), key
    assert events.Tags()["images"] == ["samples"]


def interrupted(out: Path) -> None:
    """A session that is stopped after its first step."""
    with logged(["mlflow"], out, TRIAL) as (tracker,):
        tracker.record({"event": "train", "stage": "fit", "step": 1, "overall": 1, "loss": 1.0, "parts": {}})
        raise KeyboardInterrupt


def test_mlflow_has_every_number_at_its_step(
    followed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra mlflow)")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "x")  # So that it is as it was, after the test.
        monkeypatch.delenv(name)
    with logged(["mlflow"], tmp_path, TRIAL) as (tracker,):
        replayed(tracker, followed)
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path)  # Another session.
    assert "failed and stops here" not in capfd.readouterr().err

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'tracking' / 'mlflow' / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "mmvae-bench")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    (run,) = (each for each in runs if each.info.status == "FINISHED")
    assert (run.info.run_name, run.data.tags["trial"]) == (TRIAL.label, TRIAL.key)
    assert run.data.params["objective.gamma"] == "2.0"
    found = {(point.step, name): point.value for name in run.data.metrics
             for point in client.get_metric_history(run.info.run_id, name)}  # fmt: skip
    expected = wanted(followed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key
    (samples,) = (tmp_path / "tracking" / "mlflow").rglob("samples.png")
    assert samples.read_bytes() == (followed / "samples.png").read_bytes()


def test_a_logger_that_fails_says_so_once_and_nothing_else_happens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def log_metrics(self, *_: object, **__: object) -> None:
            raise OSError("no space left")

    run = LoggerRun("csv", tmp_path, TRIAL)
    run.logger = Broken()
    for step in (1, 2):
        run.record({"event": "train", "stage": "fit", "step": step, "overall": step, "loss": 1.0, "parts": {}})
    run.finish("success")
    assert capsys.readouterr().err == (
        "logging to csv failed and stops here; the trial continues: OSError: no space left\n"
    )


def test_what_cannot_follow_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--set-json", as_json(SMALL), "--out", str(tmp_path / "x"), "--track"]
    assert main([*words, "tensorbord"]) == 2
    assert "unknown tracker 'tensorbord'" in (said := capsys.readouterr().err)
    assert "nearest: tensorboard" in said
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    assert main([*words, "tensorboard"]) == 2
    assert "--track tensorboard needs the package tensorboard" in capsys.readouterr().err
    assert main([*words, "mlflow"]) == 2
    assert "needs the packages mlflow-skinny, sqlalchemy, alembic: run `pip install mlflow-skinny" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "x").exists()


def made(root: Path, result: dict[str, Any], values: list[float | None]) -> list[TrialFolder]:
    """Trials with a correctness on val each, None for one that is not finished."""
    folders = []
    for seed, value in enumerate(values):
        trial = load_trial(agent=SMALL | {"seed": seed})
        folder = TrialFolder(root / "trials" / trial.key)
        folder.directory.mkdir(parents=True)
        (folder.directory / "spec.json").write_text(canonical_json(trial.canonical()))
        if value is not None:
            scores = [{**score, "value": value} if (score["metric"], score["partition"]) == ("correctness", "val")
                      else score for score in result["scores"]]  # fmt: skip
            plain = {**result, "key": trial.key, "scores": scores}
            (folder.directory / "result.json").write_text(json.dumps(plain))
            log = [{"event": "train", "stage": "fit", "step": step, "loss": loss, "parts": {}}
                   for step, loss in ((1, 9.0), (2, 1 - value))]  # fmt: skip
            (folder.directory / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        folders.append(folder)
    return folders


def test_the_best_trial_is_named_by_the_sweeps_own_metric(tmp_path: Path, followed: Path) -> None:
    folders = made(tmp_path, json.loads((followed / "result.json").read_text()), [0.4, 0.9, 0.6, None])
    correctness = SweepMetric("val/paper/correctness/level_4", "maximize")
    text = best_text(folders, correctness)
    assert text == (
        f"best of 3 trials by val/paper/correctness/level_4 (maximize): 0.9, {folders[1].key} "
        f"telbo mnist_a/digits/iid seed 1\n  {folders[1].directory}"
    )
    assert f" {folders[0].key} " in best_text(folders, SweepMetric(correctness.name))
    # The last value of the training, as in the summary of a tracker.
    assert logged_values(folders[0].directory)["train/fit/loss"] == pytest.approx(0.6)
    assert f"0.1, {folders[1].key}" in best_text(folders, SweepMetric("train/fit/loss"))
    assert best_text(folders, SweepMetric("val/paper/correctness/level_3")) == (
        "no trial has val/paper/correctness/level_3; nearest: val/paper/correctness/level_4"
    )


def test_the_metric_of_a_sweep_file(tmp_path: Path) -> None:
    assert sweep_metric(Path("sweep_wandb")) == SweepMetric("val/paper/correctness/level_4", "maximize")
    path = tmp_path / "sweep.yaml"
    shipped = (Path(__file__).parents[2] / "configs" / "sweep_wandb.yaml").read_text()
    path.write_text(shipped.replace("goal: maximize", "goal: maximise"))
    with pytest.raises(ConfigError, match=r"metric.goal: not one of the choices(?s:.*)nearest: maximize"):
        load_sweep(path)
    path.write_text(shipped.replace("name: val/paper/correctness/level_4", "name: [a]"))
    with pytest.raises(ConfigError, match="metric: expected a mapping with the name of a logged number"):
        load_sweep(path)


@pytest.mark.parametrize("linked", ["tracking", "tracking/csv", "tracking/mlflow", "tracking/mlflow/mlflow.db"])
def test_a_link_in_a_trial_of_a_stranger_is_not_followed(
    linked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written where it leads, and the trial continues."""
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "trial"
    (out / linked).parent.mkdir(parents=True)
    if linked.endswith(".db"):
        elsewhere.write_bytes(b"")
    else:
        elsewhere.mkdir()
    (out / linked).symlink_to(elsewhere)
    run = LoggerRun("mlflow" if "mlflow" in linked else "csv", out, TRIAL)
    run.record({"event": "train", "stage": "fit", "step": 1, "overall": 1, "loss": 2.0, "parts": {}})
    run.finish("success")
    assert elsewhere.read_bytes() == b"" if elsewhere.is_file() else not any(elsewhere.iterdir())
    assert f"{out / linked}: a link, which is not followed" in capsys.readouterr().err
