"""Training takes nothing from the environment and the working folder: they belong to the user's other work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from mmvae_bench.data.base import ResidentLoader
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective
from mmvae_bench.training.checkpoint import Checkpoint
from mmvae_bench.training.fit import TrainingIncomplete

from .conftest import Run, same

ONE_TASK = {
    "SLURM_JOB_ID": "9", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
}  # fmt: skip
SURROUNDINGS = {
    "a SLURM job of one task": ONE_TASK,
    "an interactive SLURM allocation": ONE_TASK | {"SLURM_NTASKS": "4"},
    "torchrun": {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
    "LSF": {"LSB_JOBID": "1", "LSB_HOSTS": "a b", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_LOCAL_RANK": "0",
            "JSM_NAMESPACE_RANK": "0", "JSM_NAMESPACE_SIZE": "2"},
    "fewer steps": {"PL_TRAINER_MAX_STEPS": "3"},
    "fewer batches": {"PL_TRAINER_LIMIT_TRAIN_BATCHES": "2"},
    "a time limit": {"PL_TRAINER_MAX_TIME": "00:00:00:00"},
    "no epoch": {"PL_TRAINER_MAX_EPOCHS": "0"},
    "one batch": {"PL_TRAINER_FAST_DEV_RUN": "True"},
    "another precision": {"PL_TRAINER_PRECISION": "bf16-mixed"},
    "clipped gradients": {"PL_TRAINER_GRADIENT_CLIP_VAL": "0.01"},
    "inference mode": {"PL_TRAINER_BARE": "1", "PL_TRAINER_OVERFIT_BATCHES": "1"},
}  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_variables_of_lightning_and_of_clusters_change_nothing(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, plain = run(steps=8)
    for key, value in SURROUNDINGS[name].items():
        monkeypatch.setenv(key, value)
    model, fitted = run(steps=8)
    assert same(model.state_dict(), whole.state_dict())
    assert fitted is not None
    assert plain is not None
    assert (fitted.steps, fitted.history) == (plain.steps, plain.history)
    assert {key: os.environ[key] for key in SURROUNDINGS[name]} == SURROUNDINGS[name], "the user's own are left alone"


def test_a_checkpoint_of_slurm_in_the_working_folder_is_not_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(steps=8)
    other, _ = run(steps=8, seed=1)
    work = tmp_path / "work"
    work.mkdir()
    torch.save(
        {"state_dict": other.state_dict(), "pytorch-lightning_version": pl.__version__}, work / "hpc_ckpt_1.ckpt"
    )
    before = sorted(work.iterdir())
    monkeypatch.chdir(work)
    for key, value in ONE_TASK.items():
        monkeypatch.setenv(key, value)
    model, _ = run(steps=8)
    assert same(model.state_dict(), whole.state_dict())
    assert sorted(work.iterdir()) == before


def test_signals_of_slurm_keep_their_handlers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in ONE_TASK.items():
        monkeypatch.setenv(key, value)
    seen: list[object] = []
    step = Objective.training_step

    def watched(self: Objective, batch: Batch, batch_idx: int) -> object:
        seen.append(signal.getsignal(signal.SIGUSR1))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Objective, "training_step", watched)
    mine = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        run(steps=2)
    finally:
        signal.signal(signal.SIGUSR1, mine)
    assert seen == [signal.SIG_DFL] * 2


def test_a_stage_that_ends_early_is_not_finished(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the loop: the trial says so, keeps its state, and goes on from there."""
    whole, _ = run(steps=20, folder="whole")
    with monkeypatch.context() as patch:
        batches = ResidentLoader.__iter__
        patch.setattr(ResidentLoader, "__iter__", lambda self: islice(batches(self), 6))
        with pytest.raises(TrainingIncomplete, match=r"ended at step 6 of 20 of stage 'fit'"):
            run(steps=20, folder="parts")
    state = Checkpoint.load(tmp_path / "parts" / "last.ckpt", key="k")
    assert (state.stage, state.step) == (0, 6)
    resumed, fitted = run(steps=20, folder="parts")
    assert same(resumed.state_dict(), whole.state_dict())
    assert fitted is not None
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to be found")
def test_no_step_looks_for_a_gpu_where_there_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Lightning makes every step of Adam open the driver's library, which is not there."""
    searches = 0

    def search() -> int:
        nonlocal searches
        searches += 1
        return -1

    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr("torch.cuda._raw_device_count_nvml", search)
    run(steps=20)
    assert searches < 10
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


def test_freed_memory_is_kept_while_steps_are_made_and_no_longer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that brings is tested in a process of its own, in tests/base."""
    step, kept, inside = Objective.training_step, [False], []

    @contextmanager
    def noted() -> Iterator[None]:
        kept.append(True)
        yield
        kept.append(False)

    def watched(self: Objective, batch: Batch, index: int) -> dict[str, object]:
        inside.append(kept[-1])
        return step(self, batch, index)

    monkeypatch.setattr("mmvae_bench.training.fit.freed_memory_kept", noted)
    monkeypatch.setattr(Objective, "training_step", watched)
    run("jvae", steps=3)
    assert inside == [True] * 3
    assert kept == [False, True, False]
