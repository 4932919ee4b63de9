"""What a checkpoint records about the processes that have trained it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.runs.stale import checkpoint_segments, mixture
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training import fit as module
from mmvae_bench.training.checkpoint import Checkpoint

from .conftest import Run


def steps(origin: dict[str, Any]) -> list[tuple[int, int]]:
    return [(segment["from"], segment["to"]) for segment in origin["segments"]]


def test_a_resume_adds_a_segment_and_leaves_the_origin(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the second stage, whose steps count on from the first."""
    machines = iter("abcd")
    monkeypatch.setattr(module, "provenance", lambda **_: {"package": "1", "device_name": next(machines)})
    for stop_after, expected in ((7, [(0, 7)]), (8, [(0, 7), (7, 15)]), (12, [(0, 7), (7, 15), (15, 27)])):
        run("scan", steps=20, stop_after=stop_after, folder="x")
        state = Checkpoint.load(tmp_path / "x" / "last.ckpt", key="k")
        assert steps(state.origin) == expected
        assert checkpoint_segments(tmp_path / "x" / "last.ckpt", key="k") == state.origin["segments"]
    _, fitted = run("scan", steps=20, folder="x")
    assert fitted is not None
    assert steps(fitted.origin)[-1] == (27, fitted.steps)
    assert fitted.origin["device_name"] == "a"
    assert [segment["device_name"] for segment in fitted.origin["segments"]] == list("abcd")


def test_a_checkpoint_of_an_earlier_version_goes_on_as_one_of_unknown_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    state = Checkpoint("k", 0, 4, {"w": torch.ones(3)}, origin={"package": "0.1.0"})
    state.begin_segment({"package": "0.2.0"}, {"objective": {"name": "x", "files": {"x.py": "1"}}}, step=4)
    state.save(path)
    segments = Checkpoint.load(path, key="k").origin["segments"]
    assert [(each["from"], each["to"], each["package"]) for each in segments] == [(0, 4, "0.1.0"), (4, 4, "0.2.0")]
    assert mixture({"provenance": {"segments": segments}}) == ["from step 4 on: the code before it was not recorded"]


def test_a_process_that_made_no_step_leaves_no_segment(tmp_path: Path) -> None:
    state = Checkpoint("k", 0, 0, {})
    for name in "ab":
        state.begin_segment({"device_name": name}, {}, step=0)
    assert state.origin["device_name"] == "b"
    assert steps(state.origin) == [(0, 0)]


def test_processor_time_is_that_of_the_steps_that_count(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every session, and of none of the steps that a crash threw away: here a step takes a second."""
    now, started, broken = 100.0, 0.0, False
    step = module.StageLoop._step

    def timed(self: module.StageLoop, *given: Any) -> Any:
        nonlocal now
        now += 1
        if broken and now - started > 2:
            raise RuntimeError
        return step(self, *given)

    monkeypatch.setattr(module.StageLoop, "_step", timed)
    monkeypatch.setattr(module.time, "process_time", lambda: now)
    for stop_after in (7, 8, 12):
        run("scan", steps=20, stop_after=stop_after, folder="x")
    broken, started = True, now
    with pytest.raises(RuntimeError):
        run("scan", steps=20, folder="x")
    broken = False
    _, fitted = run("scan", steps=20, folder="x")
    assert fitted is not None
    assert fitted.processor_seconds == fitted.steps == 40
    spent = [segment["processor_seconds"] for segment in fitted.origin["segments"]]
    assert spent == [each["to"] - each["from"] for each in fitted.origin["segments"]] == [7, 8, 12, 13]


def test_the_score_curve_costs_no_processor_time_of_training(
    run: Run, digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def score(_: object) -> list[dict[str, Any]]:
        nonlocal now
        now += 50
        return []

    monkeypatch.setattr(module.time, "process_time", lambda: now)
    objective, _ = run(steps=1)
    training = TrainingSpec(steps=6, batch_size=32, learning_rate=1e-3, validations=1)
    fitted = module.fit(objective, digits, training, key="k", seed=0, control=module.Control(score=score, num_scores=3))
    assert (now, fitted.processor_seconds) == (150, 0)


@pytest.mark.parametrize("unknown", [{}, {"processor_seconds": None}, {"processor_seconds": math.nan}])
def test_processor_time_that_a_session_did_not_record_is_unknown(unknown: dict[str, Any]) -> None:
    assert module.Fitted(9, 1.0, origin={"segments": [{"processor_seconds": 2.0}, unknown]}).processor_seconds is None
    assert module.Fitted(9, 1.0, origin={"package": "0.1.0"}).processor_seconds is None


def test_segments_that_are_damaged_are_none(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert checkpoint_segments(path, key="k") is None
    path.write_bytes(b"PK\x03\x04 nothing")
    assert checkpoint_segments(path, key="k") is None
    with ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert checkpoint_segments(path, key="k") == []
    told: list[tuple[str, object]] = [
        ("[" * 200_000, None),
        (json.dumps([3]), None),
        (json.dumps({"key": "k", "segments": {"a": 1}}), []),
        (json.dumps({"key": "k", "segments": [3, {"from": 1}]}), [{"from": 1}]),
        (json.dumps({"key": "another trial's", "segments": [{"from": 1}]}), None),
    ]
    for text, found in told:
        with ZipFile(path, "w") as archive:
            archive.writestr("archive/segments.json", text)
        assert checkpoint_segments(path, key="k") == found
