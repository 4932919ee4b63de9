"""Two loops that do the same work on the same tensors: a minimal PyTorch loop, and the project's ``fit``.

Both gather a batch, compute ``terms()``, backpropagate and take a step of fused Adam, stage by stage. The bare loop has
no seeding, no check of the loss, no log, no checkpoint, no Lightning.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import torch
from torch.distributions import Distribution

from mmvae_bench.base.allocation import freed_memory_kept
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.status import Status, StatusWriter
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import SEARCH, Control, TrainingInterrupted, fit


class StepClock:
    """Seconds per step between two points of a loop.

    On a CPU this is processor time, so that other processes on the machine matter little; on a GPU it is wall time,
    read at the two points only, because each reading waits for the device.

    Args:
        device: Where the steps run.
        warm_up: The number of steps before the first point.
        num_steps: The number of steps before the second point, warm-up included.

    Attributes:
        wall_a_step: Wall time on either device; nan before the second point.
    """

    wall_a_step = math.nan

    def __init__(self, device: torch.device, *, warm_up: int, num_steps: int) -> None:
        if not 0 <= warm_up < num_steps:
            raise ValueError(f"no steps left to time: {num_steps} steps, of which {warm_up} are warm-up")
        self.device, self.warm_up, self.num_steps = device, warm_up, num_steps
        self._begun: float | None = None
        self._ended: float | None = None

    def tick(self, step: int) -> None:
        """To be called after each step, and with 0 at the start."""
        if step == self.warm_up:
            self._begun, self._wall = self._now(), time.perf_counter()
        elif step == self.num_steps:
            self._ended = self._now()
            self.wall_a_step = (time.perf_counter() - self._wall) / (self.num_steps - self.warm_up)

    @property
    def seconds_a_step(self) -> float:
        """The mean over the timed steps.

        Raises:
            RuntimeError: If the loop ended before the last of them.
        """
        if self._begun is None or self._ended is None:
            raise RuntimeError(f"the loop ended before step {self.num_steps}")
        return (self._ended - self._begun) / (self.num_steps - self.warm_up)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()


def bare_steps(
    objective: Objective,
    data: ConceptDataModule,
    training: TrainingSpec,
    *,
    num_steps: int | None = None,
    part: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Iterator[int]:
    """The bare loop: yields the number of completed steps after each step, at most ``num_steps``.

    Networks are compiled as ``fit`` compiles them; a loss that is compiled as a whole is the plain one here. Each part
    of a step runs inside the context manager ``part(name)``, for a profiler.
    """
    rows, size, done = data.rows("train"), training.batch_size, 0
    objective.training_spec = training
    if training.compile is True:
        for name in objective.network_names:
            getattr(objective, name).compile()
    for stage in objective.stages(training):
        objective.begin_stage(stage)
        objective.train()
        optimizer = objective.configure_optimizers()
        order, position = rows, len(rows)
        for _ in range(stage.steps):
            if done == num_steps:
                return
            with part("data"):
                if position + size > len(rows):
                    order, position = rows[torch.randperm(len(rows)).to(rows.device)], 0
                batch = data.store.batch(order[position : position + size])
                position += size
            with _autocast(training, objective.device):
                with part("likelihoods, divergences"):
                    loss = objective.terms(batch).loss
                with part("weight penalty"):
                    for name in stage.trains:
                        penalty = getattr(getattr(objective, name), "penalty", None)
                        if penalty is not None and (value := penalty()) is not None:
                            loss = loss + value
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with part("optimizer"):
                optimizer.step()
            done += 1
            yield done


def time_bare(
    objective: Objective,
    data: ConceptDataModule,
    training: TrainingSpec,
    *,
    warm_up: int = 0,
    num_steps: int | None = None,
) -> float:
    """Seconds per step of the bare loop, after ``warm_up`` steps, on the objective's device."""
    clock = StepClock(objective.device, warm_up=warm_up, num_steps=num_steps or _total(objective, training))
    run_bare(objective, data, training, clock)
    return clock.seconds_a_step


def run_bare(objective: Objective, data: ConceptDataModule, training: TrainingSpec, clock: StepClock) -> None:
    """The bare loop up to the clock's last step."""
    with as_in_training(training):
        clock.tick(0)
        for step in bare_steps(objective, data, training, num_steps=clock.num_steps):
            clock.tick(step)


def time_fit(
    objective: Objective,
    data: ConceptDataModule,
    training: TrainingSpec,
    *,
    warm_up: int = 1,
    num_steps: int | None = None,
    folder: Path | None = None,
) -> float:
    """Seconds per step of ``fit``, after ``warm_up`` steps, with checkpoints and a log if a folder is given.

    With ``num_steps``, training is stopped there from outside, so it logs and validates as often as a whole run does.
    """
    if warm_up < 1:
        raise ValueError("warm_up must be at least 1: the first step of fit also sets up Lightning")
    clock = StepClock(objective.device, warm_up=warm_up, num_steps=num_steps or _total(objective, training))
    run_fit(objective, data, training, clock, folder=folder)
    return clock.seconds_a_step


def run_fit(
    objective: Objective,
    data: ConceptDataModule,
    training: TrainingSpec,
    clock: StepClock,
    *,
    folder: Path | None = None,
) -> None:
    """``fit`` up to the clock's last step, with checkpoints, a log and a status if a folder is given."""
    done = 0
    status = folder and StatusWriter(folder, Status(state="running"))

    def progress(stage: str, step: int, steps: int, rate: float) -> None:
        nonlocal done
        done = step
        if status:
            status.training(stage, step, steps, rate)
        clock.tick(step)

    control = Control(
        checkpoint=folder and folder / "last.ckpt",
        log=folder and folder / "log.jsonl",
        stop=lambda: done >= clock.num_steps,
        progress=progress,
    )
    with suppress(TrainingInterrupted):
        fit(objective, data, training, key="benchmark", seed=0, device=objective.device, control=control)


@contextmanager
def as_in_training(training: TrainingSpec) -> Iterator[None]:
    """The process-wide switches that ``fit`` sets: threads, TF32, no checks in Distributions, no search for a GPU, and
    memory that is freed is kept."""
    with ExitStack() as undo:
        undo.enter_context(freed_memory_kept())
        undo.callback(Distribution.set_default_validate_args, Distribution._validate_args)
        undo.callback(torch.set_num_threads, torch.get_num_threads())
        for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
            undo.callback(setattr, backend, "allow_tf32", backend.allow_tf32)
            setattr(backend, "allow_tf32", training.precision == "tf32")  # noqa: B010
        if not torch.cuda.is_available() and (search := os.environ.pop(SEARCH, None)) is not None:
            undo.callback(os.environ.__setitem__, SEARCH, search)
        Distribution.set_default_validate_args(False)
        torch.set_num_threads(training.num_threads)
        yield


def _autocast(training: TrainingSpec, device: torch.device) -> torch.autocast:
    # Without the cache of casts, as in Lightning.
    enabled = training.precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def _total(objective: Objective, training: TrainingSpec) -> int:
    return sum(stage.steps for stage in objective.stages(training))
