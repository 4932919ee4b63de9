"""The stage loop: one Lightning fit per stage, seeds from (seed, stage, step), exact resume.

Lightning does not save the state of random generators, so nothing here depends on it: each step seeds itself, and the
order of the batches is a function of the epoch. Weights, optimiser and step therefore make a complete checkpoint.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.distributions import Distribution

from ..base.errors import BenchmarkError
from ..base.machine import provenance
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..objectives.base import Objective, Stage, Terms, evaluating
from ..specs.trial import TrainingSpec
from .checkpoint import Checkpoint
from .watch import FiniteWatch

LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "tf32": "32-true",
    "bfloat16": "bf16-mixed",
}
VALIDATION_IMAGES = 2048
"""The validation ELBO is computed on at most this many images, always the same ones with the same noise."""


class TrainingInterrupted(Exception):
    """Training was asked to stop and has saved its state."""


class TrainingIncomplete(BenchmarkError):
    """Training ended before its last step, and nothing had asked it to."""


@dataclass
class Control:
    """How a run is monitored and stopped from outside; nothing here changes a number.

    Attributes:
        checkpoint: Where the state is saved; None: nowhere.
        log: JSON-lines file of training and validation records; None: no log.
        checkpoint_seconds: Time between two saves.
        stop: Called at every step: whether training should save its state and stop.
        progress: Called with (stage name, steps done overall, steps overall, steps per second) at every step; must be
            fast.
        saved: Called with (stage name, steps done overall, steps overall) after every save.
        score: Returns the scores that are logged as ``scores``. Called ``num_scores`` times, evenly spaced over the
            steps of all stages, the last time at their end; None: never. Its time does not count as training time.
        num_scores: Number of points of the score curve.
        record: Called with every record of the log, plus ``overall``, its step over all stages.
    """

    checkpoint: Path | None = None
    log: Path | None = None
    checkpoint_seconds: float = 60.0
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[str, int, int, float], None] = lambda stage, step, steps, rate: None
    saved: Callable[[str, int, int], None] = lambda stage, step, steps: None
    score: Callable[[Objective], list[dict[str, Any]]] | None = None
    num_scores: int = 0
    record: Callable[[dict[str, Any]], None] = lambda record: None

    def wants_score(self, step: int, total: int) -> bool:
        """Whether a point of the score curve is due at this step (from 1) of all."""
        return self.score is not None and step * self.num_scores // total > (step - 1) * self.num_scores // total


@dataclass
class Fitted:
    """What training returns besides the weights.

    Attributes:
        steps: Steps of all stages.
        seconds: Time spent training, over all sessions.
        history: Validation records: stage, step, elbo and the mean of each part, in nats per image.
        origin: Where it was trained: versions, commit, device.
    """

    steps: int
    seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)


def fit(
    objective: Objective,
    data: ConceptDataModule,
    training: TrainingSpec,
    *,
    key: str,
    seed: int,
    device: torch.device | str = "cpu",
    control: Control | None = None,
) -> Fitted:
    """Trains ``objective`` through all its stages, resuming from the checkpoint if there is one.

    Args:
        objective: Its weights are trained in place.
        data: Prepared and set up, resident on ``device``.
        training: Steps, batch size, learning rate, precision.
        key: The trial's key, written into checkpoints.
        seed: Training seed.
        device: Where to train.
        control: Checkpoints, logs, progress and stopping.

    Raises:
        TrainingInterrupted: after saving, when ``control.stop`` returns true.
        NonFiniteLossError: naming the step and the part of the loss that broke; the last good checkpoint is kept.
        TrainingIncomplete: after saving, if a stage ended before its last step for any other reason.
        CheckpointError: if the checkpoint cannot be used.
    """
    control, device = control or Control(), torch.device(device)
    stages = objective.stages(training)
    state = Checkpoint(key, 0, 0, {})
    if control.checkpoint is not None and control.checkpoint.exists():
        state = Checkpoint.load(control.checkpoint, key=key)
        state.restore(objective, control.checkpoint)
    if control.log is not None:
        _forget_after(control.log, stages, state)
    num_images = len(data.rows("train"))
    if training.batch_size > num_images:
        raise BenchmarkError(
            f"training.batch_size: {training.batch_size} images per step, but the training partition has {num_images}: "
            "choose a smaller batch or more images"
        )
    objective.training_seed, objective.training_spec = seed, training
    if state.stage < len(stages):
        state.origin = provenance(device=str(device), precision=training.precision, threads=training.num_threads)
    with _training_mode(training), _compiled(objective, wanted=training.compile):
        while state.stage < len(stages):
            _StageLoop(
                objective=objective,
                data=data,
                training=training,
                stages=stages,
                state=state,
                control=control,
                device=device,
            ).run()
    objective.end_stages()
    objective.to("cpu" if device.type == "cpu" else device)
    return Fitted(_total(stages), state.seconds, state.history, state.origin)


def validation_terms(objective: Objective, data: ConceptDataModule, *, partition: str = "val") -> dict[str, float]:
    """The ELBO (the negative loss) of a partition and the mean of each part, in nats per image, without gradients.

    The same images and the same noise at every call, so that differences along a run are not noise.
    """
    sums: dict[str, float] = {}
    count = 0
    seed = derive_seed("validation", partition=partition)
    with evaluating(objective), torch.no_grad(), own_randomness(seed, objective.device):
        for batch in data.batches(partition, limit=VALIDATION_IMAGES):
            terms = objective.terms(batch)
            means = {"elbo": -terms.loss} | {name: part.mean() for name, part in terms.parts.items()}
            for name, value in means.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
            count += len(batch)
    return {name: value / count for name, value in sums.items()}


@dataclass(eq=False, kw_only=True)
class _StageLoop(pl.Callback):
    """Runs the stage that ``state`` is in, and saves, logs, validates and stops between its steps."""

    objective: Objective
    data: ConceptDataModule
    training: TrainingSpec
    stages: list[Stage]
    state: Checkpoint
    control: Control
    device: torch.device

    def __post_init__(self) -> None:
        self.stage = self.stages[self.state.stage]
        self.done, self.total = _total(self.stages[: self.state.stage]), _total(self.stages)
        self.watch = FiniteWatch(self.stage.name)
        self.validate_every = max(1, self.stage.steps // self.training.validations)
        self.log_every = max(10, self.stage.steps // 200)
        self.clock = self.saved = self.counted_at = time.monotonic()
        self.counted_step, self.rate = self.state.step, 0.0

    def run(self) -> None:
        """Trains from the state's step to the end of the stage, and moves the state on to the next stage."""
        objective, state = self.objective, self.state
        objective.begin_stage(self.stage)
        objective.train()
        objective.step_done = state.step
        if state.step < self.stage.steps:
            loader = self.data.training_loader(
                batch_size=self.training.batch_size,
                seed=objective.training_seed,
                stage=self.stage.name,
                start=state.step,
                stop=self.stage.steps,
            )
            try:
                # Lightning loads what looks like a SLURM checkpoint in its root folder: it gets one that is empty.
                with tempfile.TemporaryDirectory(prefix="mmvae-bench-") as empty:
                    self._trainer(root=empty).fit(objective, train_dataloaders=loader)
            except SIGTERMException as error:
                # The signal came after this step's own check for it, and Lightning checks again. The step is complete
                # all the same.
                if objective.step_done < self.stage.steps:
                    self._snapshot()
                    self._save()
                    raise self._interrupted() from error
            if objective.step_done < self.stage.steps:
                self._snapshot()
                self._save()
                raise TrainingIncomplete(
                    f"training ended at step {objective.step_done} of {self.stage.steps} of stage {self.stage.name!r}, "
                    "although nothing asked it to stop: a hook or callback ended Lightning's loop; the state was saved"
                )
        self._snapshot()
        state.stage, state.step, state.optimizer = state.stage + 1, 0, None
        self._save()

    def _trainer(self, *, root: str) -> pl.Trainer:
        """A trainer that takes nothing from its surroundings: no cluster, no folder and no setting of PL_TRAINER_*."""
        hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PL_TRAINER_")}
        try:
            return self._make_trainer(root)
        finally:
            os.environ.update(hidden)

    def _make_trainer(self, root: str) -> pl.Trainer:
        return pl.Trainer(
            max_epochs=1,
            # Under SLURM's variables Lightning would expect its tasks, requeue the job and write its own checkpoints.
            plugins=[LightningEnvironment()],
            default_root_dir=root,
            accelerator="gpu" if self.device.type == "cuda" else "cpu",
            devices=[self.device.index or 0] if self.device.type == "cuda" else 1,
            precision=LIGHTNING_PRECISION[self.training.precision],
            callbacks=[self],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )

    # ---- Lightning's hooks

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.state.optimizer is not None:
            self._optimizer.load_state_dict(self.state.optimizer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, terms = self.objective.step_done, outputs["terms"]
        self.watch.update(step - 1, terms)
        if step % self.log_every == 0 or step == self.stage.steps:
            self.watch.check()
            self._log_training(step, terms)
        if step % self.validate_every == 0 or step == self.stage.steps:
            self._validate(step)
        if self.control.wants_score(self.done + step, self.total):
            self._score(step)
        now = time.monotonic()
        if now - self.counted_at >= 1:
            self.rate = (step - self.counted_step) / (now - self.counted_at)
            self.counted_at, self.counted_step = now, step
        self.control.progress(self.stage.name, self.done + step, self.total, self.rate)
        stop = self.control.stop()
        if stop or now - self.saved >= self.control.checkpoint_seconds:
            self._snapshot()
            self._save()
        if stop and step < self.stage.steps:
            raise self._interrupted()

    # ---- state

    def _interrupted(self) -> TrainingInterrupted:
        return TrainingInterrupted(f"stopped at step {self.objective.step_done} of stage {self.stage.name!r}")

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.objective.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def _snapshot(self) -> None:
        self.watch.check()
        # A finite loss can have a gradient that is not finite: the weights show the damage before a loss does.
        self.watch.check_weights(self.objective, step=self.objective.step_done)
        now = time.monotonic()
        self.state.seconds += now - self.clock
        self.clock = now
        self.state.step = self.objective.step_done
        self.state.weights = self.objective.state_dict()
        if self.objective.optimizer is not None:
            self.state.optimizer = self.objective.optimizer.state_dict()

    def _save(self) -> None:
        if self.control.checkpoint is not None:
            self.state.save(self.control.checkpoint)
            step = _total(self.stages[: self.state.stage]) + self.state.step
            self.control.saved(self.stage.name, step, self.total)
        self.saved = time.monotonic()

    # ---- records

    def _log_training(self, step: int, terms: Terms) -> None:
        parts = {name: float(part.detach().mean()) for name, part in terms.parts.items()}
        self._log("train", step, {"loss": float(terms.loss.detach()), "parts": parts})

    def _validate(self, step: int) -> None:
        parts = validation_terms(self.objective, self.data)
        if not math.isfinite(parts["elbo"]):
            self.watch.check_weights(self.objective, step=step)
            broken = [name for name, value in parts.items() if name != "elbo" and not math.isfinite(value)]
            raise self.watch.error(step - 1, broken, what="validation ELBO")
        values = {"elbo": parts.pop("elbo"), "parts": parts}
        self.state.history.append({"stage": self.stage.name, "step": step, **values})
        self._log("validation", step, values)

    def _score(self, step: int) -> None:
        """Logs a point of the score curve. It leaves the model unchanged, and its time does not count as training."""
        assert self.control.score is not None
        started = time.monotonic()
        with evaluating(self.objective):
            scores = self.control.score(self.objective)
        self._log("scores", step, {"overall": self.done + step, "scores": scores})
        spent = time.monotonic() - started
        self.clock, self.counted_at = self.clock + spent, self.counted_at + spent

    def _log(self, event: str, step: int, values: dict[str, Any]) -> None:
        record = {"event": event, "stage": self.stage.name, "step": step, **values}
        if self.control.log is not None:
            with self.control.log.open("a") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")
        self.control.record(record | {"overall": self.done + step})


def _total(stages: list[Stage]) -> int:
    return sum(stage.steps for stage in stages)


def _forget_after(log: Path, stages: list[Stage], state: Checkpoint) -> None:
    """Drops the records of steps that will be repeated, and a last line that a kill cut short."""
    order = {stage.name: index for index, stage in enumerate(stages)}
    kept = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        try:
            record = json.loads(line)
            position = (order[record["stage"]], record["step"])
        except (ValueError, KeyError, TypeError):
            continue
        if position <= (state.stage, state.step):
            kept.append(line + "\n")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(kept))


@contextmanager
def _compiled(objective: Objective, *, wanted: bool) -> Iterator[None]:
    """Compiles the networks inside the block, if ``wanted``.

    The networks, not the LightningModule: its hooks break the graph. Afterwards they are as before, so that a model is
    evaluated with the same code whether it was just trained or loaded from its checkpoint.
    """
    networks = [getattr(objective, name) for name in objective.network_names] if wanted else []
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            # What nn.Module.compile sets; torch has no public way to undo it.
            network._compiled_call_impl = None


@contextmanager
def _training_mode(training: TrainingSpec) -> Iterator[None]:
    """Process-wide settings of a training run, restored afterwards.

    Argument validation of Distributions costs one device sync per call; the watch on the loss takes its place.
    """
    validated = Distribution._validate_args
    threads = torch.get_num_threads()
    # Lightning reports at every fit which devices it has found, and advertises.
    talk = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = talk.level
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    talk.setLevel(logging.WARNING)
    Distribution.set_default_validate_args(False)
    torch.set_num_threads(training.num_threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = training.precision == "tf32"
    try:
        with warnings.catch_warnings():
            # The loader is resident: worker processes would only slow it down.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*treespec.*")
            # A network that is frozen in a stage is in eval mode on purpose.
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            # Validation runs between steps, on fixed noise, not through Lightning's loop.
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
            yield
    finally:
        talk.setLevel(level)
        Distribution.set_default_validate_args(validated)
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
