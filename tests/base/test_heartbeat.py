"""Every long phase of a trial beats, and so does waiting for another process that is in one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from mmvae_bench import trial
from mmvae_bench.base import heartbeat
from mmvae_bench.base.heartbeat import beat, heard
from mmvae_bench.data.cache import build_once
from mmvae_bench.data.shards.prepare import store_lock
from mmvae_bench.evaluation.evaluate import evaluate, judge_of
from mmvae_bench.runs.status import StatusWriter, begin, read_status
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import EvaluationSpec, TrainingSpec, TrialSpec


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Gets an entry for every beat."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.0)
    found: list[int] = []
    with heard(lambda: found.append(1)):
        yield found


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialSpec:
    """A small trial, with an empty cache."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return TrialSpec(
        dataset=datasets.parse({"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}),
        backbone=backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3}),
        objective=objectives.parse("jvae"),
        training=TrainingSpec(steps=3, batch_size=32, validations=1),
        evaluation=EvaluationSpec.parse({
            "num_samples": 10, "query_repeats": 1, "num_resamples": 50, "levels": [4],
            "classifier": {"name": "conv_thin", "steps": 7, "width": 8, "hidden": 16},
        }),
    )  # fmt: skip


def num(beats: list[int]) -> int:
    """How many there were since the last call."""
    count = len(beats)
    beats.clear()
    return count


def test_every_phase_beats(spec: TrialSpec, beats: list[int]) -> None:
    data = spec.dataset.build()
    data.prepare_data()
    assert num(beats) >= 1, "images are made"
    data.setup()
    judge_of(data, spec.evaluation)
    assert num(beats) >= 7, "the classifier is trained, a beat a step"
    judge_of(data, spec.evaluation)
    assert num(beats) == 0, "it is there already"
    evaluate(trial.build_objective(spec), data, spec.evaluation)
    assert num(beats) >= 1
    next(iter(data.training_loader(batch_size=8, seed=0, stage="fit", start=0, stop=1)))
    assert num(beats) == 1


def test_a_beat_shows_in_the_status(tmp_path: Path) -> None:
    status = begin(tmp_path, steps=5)
    writer = StatusWriter(tmp_path, status)
    file = tmp_path / "status.json"
    before = file.stat()
    writer.beat()
    after = file.stat()
    assert (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns)
    writer.beat()
    assert os.path.samestat(after, file.stat()), "at most one a second"
    assert read_status(tmp_path).steps == 5
    assert json.loads(file.read_text())["updated"] >= status.updated


@contextmanager
def held(path: Path, beats: list[int]) -> Iterator[None]:
    """Another holder of the lock of ``path``, who lets go once it was beaten for three times."""
    lock = FileLock(path.with_name(path.name + ".lock"), thread_local=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock.acquire()

    def wait_then_release() -> None:
        while len(beats) < 3:
            threading.Event().wait(0.01)
        lock.release()

    thread = threading.Thread(target=wait_then_release)
    thread.start()
    yield
    thread.join()


def test_waiting_for_another_process_beats(tmp_path: Path, beats: list[int]) -> None:
    with held(tmp_path / "a", beats):
        assert build_once(tmp_path / "a", lambda folder: {})
    assert num(beats) >= 3
    with held(tmp_path / "b", beats), store_lock(tmp_path / "b"):
        assert len(beats) >= 3


def test_nobody_hears_outside_of_the_block_and_no_more_often_than_asked() -> None:
    found: list[int] = []
    with heard(lambda: found.append(1)):
        for _ in range(100):
            beat()
    assert len(found) == 1
    beat()
    assert len(found) == 1


def test_a_pulse_of_a_preparation(spec: TrialSpec, tmp_path: Path) -> None:
    from mmvae_bench.base.canonical import canonical_json
    from mmvae_bench.cli.train import prepare

    (tmp_path / "spec.json").write_text(canonical_json(spec.canonical()))
    (tmp_path / "evaluation.json").write_text(canonical_json(spec.evaluation.canonical()))
    prepare(tmp_path / "spec.json", pulse=tmp_path / "pulse")
    assert (tmp_path / "pulse").exists()
