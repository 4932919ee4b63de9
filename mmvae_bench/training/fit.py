"""The stage loop: one optimiser per stage, seeds from (seed, stage, step), exact resume.

Nothing here depends on the state of random generators: each step seeds itself, and the order of the batches is a
function of the epoch. Weights, optimiser and step therefore make a complete checkpoint. The loop is not Lightning's
trainer, whose own work took longer than a thin network's step, and which takes settings from the environment; the
weights are those that the trainer would give (``tests/training/test_lightning.py``).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributions import Distribution

from ..base.allocation import freed_memory_kept
from ..base.errors import BenchmarkError, about_data
from ..base.files import atomic_path
from ..base.machine import provenance
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.augmentation import AugmentedBatches
from ..data.base import ConceptDataModule
from ..data.batch import Batch
from ..data.missing import MissingImagesLoader, check_divided, divided_rows
from ..data.supervision import SupervisedLoader, check_labelled, labelled_rows
from ..objectives.base import Objective, Stage, Terms, evaluating, planned_stages
from ..runs.documents import read_records
from ..runs.lock import check_held
from ..runs.stale import segments_of
from ..specs.missing import imageless_share
from ..specs.supervision import num_supervised, step_rate
from ..specs.trial import TrainingSpec
from .checkpoint import Checkpoint, order_moments, own_storage
from .compiling import compiled
from .examples import check_batch_size
from .watch import FiniteWatch

NOT_CALLED = (
    "on_fit_start", "on_fit_end", "on_train_start", "on_train_end", "on_train_epoch_start", "on_train_epoch_end",
    "on_train_batch_start", "on_train_batch_end", "on_before_backward", "on_after_backward", "on_before_zero_grad",
    "on_before_optimizer_step", "backward", "optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping",
    "lr_scheduler_step", "configure_callbacks", "on_before_batch_transfer", "transfer_batch_to_device",
    "on_after_batch_transfer",
)  # fmt: skip
"""Hooks of a LightningModule that a trainer calls during training, and :func:`fit` does not."""
SEARCH = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""A variable that importing Lightning sets: every step of Adam then looks for the driver's library anew."""
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
        code: The code of the trial's parts, which checkpoints record: :func:`mmvae_bench.specs.code.training_code`.
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
    code: Mapping[str, Any] = field(default_factory=dict)
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
        origin: Where it was trained: versions, commit, device; and the same of each of its ``segments``.
    """

    steps: int
    seconds: float
    history: list[dict[str, Any]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def processor_seconds(self) -> float | None:
        """Processor time of all threads, over all sessions; None where a session did not record it."""
        spent = [segment.get("processor_seconds") for segment in segments_of({"provenance": self.origin})]
        known = [each for each in spent if isinstance(each, float) and 0 <= each < math.inf]
        return math.fsum(known) if spent and len(known) == len(spent) else None


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
        ConfigError: if there are fewer images, of those that have labels or images, than the settings ask for.
        BenchmarkError: if the objective overrides a hook of Lightning that is not called here.
    """
    control, device = control or Control(), torch.device(device)
    fitting = Fitting.begin(objective, data, training, key=key, seed=seed, device=device, control=control)
    with training_mode(training), compiled(objective, what=training.compile), freed_memory_kept():
        while not fitting.finished:
            fitting.loop().run()
    objective.end_stages()
    state = fitting.state
    return Fitted(_total(fitting.stages), state.seconds, state.history, state.origin)


@dataclass(eq=False, kw_only=True)
class _Given:
    """What is trained, on what and how, and how far it has come.

    Attributes:
        objective, data, training, control, device: As :func:`fit` takes them.
        stages: All that are planned.
        state: How far it has come, as a checkpoint has it.
    """

    objective: Objective
    data: ConceptDataModule
    training: TrainingSpec
    control: Control
    device: torch.device
    stages: list[Stage]
    state: Checkpoint


@dataclass(eq=False, kw_only=True)
class Fitting(_Given):
    """An objective on its way through the stages."""

    @classmethod
    def begin(
        cls,
        objective: Objective,
        data: ConceptDataModule,
        training: TrainingSpec,
        *,
        key: str,
        seed: int,
        device: torch.device,
        control: Control,
        together: int = 1,
    ) -> Fitting:
        """Goes on from the checkpoint if there is one; see :func:`fit`.

        Args:
            together: How many objectives are trained as one, this one among them: recorded with the machine.
        """
        _refuse_hooks(objective)
        stages = planned_stages(objective, training)
        state = Checkpoint(key, 0, 0, {})
        if control.checkpoint is not None and control.checkpoint.exists():
            state = Checkpoint.load(control.checkpoint, key=key)
            state.restore(objective, control.checkpoint)
        if control.log is not None:
            _forget_after(control.log, stages, state)
        with about_data():
            check_batch_size(data, training)
        objective.training_seed, objective.training_spec = seed, training
        objective.to(device)
        if state.stage < len(stages):
            origin = provenance(device=str(device), precision=training.precision, threads=training.num_threads)
            if together > 1:
                origin["together"] = together
            state.begin_segment(origin, control.code, step=_total(stages[: state.stage]) + state.step)
        return cls(
            objective=objective,
            data=data,
            training=training,
            control=control,
            device=device,
            stages=stages,
            state=state,
        )

    @property
    def finished(self) -> bool:
        """Whether the last stage is done."""
        return self.state.stage >= len(self.stages)

    def loop(self, *, together: int = 1) -> StageLoop:
        """The loop of the stage that it is in.

        Args:
            together: How many objectives this process trains at the same time: the processor time is divided by it.
        """
        return StageLoop(**vars(self), together=together)


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
class StageLoop(_Given):
    """Runs the stage that ``state`` is in, and saves, logs, validates and stops between its steps.

    :meth:`run` does it all. Whoever makes the steps of several loops at once calls :meth:`begin`, takes
    :meth:`batches`, calls :meth:`after` when a step of this one's is made, and in the end :meth:`finish`.
    """

    together: int = 1
    before_saving: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.stage = self.stages[self.state.stage]
        self.done, self.total = _total(self.stages[: self.state.stage]), _total(self.stages)
        self.watch = FiniteWatch(self.stage.name)
        self.validate_every = max(1, self.stage.steps // self.training.validations)
        self.log_every = max(10, self.stage.steps // 200)
        self.kinds = _kinds(self.training, self.objective, self.stage.name)
        self.clock = self.saved = self.counted_at = time.monotonic()
        self.processor = time.process_time()
        self.counted_step, self.rate = self.state.step, 0.0
        self.paused = (0.0, 0.0)
        """Wall and processor time, in s, of the last scoring."""

    def run(self, *, until: int | None = None) -> None:
        """Trains from the state's step to the end of the stage, and moves the state on to the next stage.

        Args:
            until: Save and return after this step of the stage; None: at its end.
        """
        optimizer = self.begin()
        for batch in self.batches():
            self.after(self._step(batch, optimizer))
            if self.objective.step_done == until:
                self.save()
                return
        self.finish()

    def begin(self) -> torch.optim.Optimizer:
        """Prepares the objective for the next step of the stage, and returns its optimiser."""
        objective, state = self.objective, self.state
        objective.begin_stage(self.stage)
        objective.train()
        objective.step_done = state.step
        optimizer = objective.configure_optimizers()
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise BenchmarkError(
                f"{type(objective).__name__}.configure_optimizers() must return one optimiser of torch, "
                f"got {type(optimizer).__name__}"
            )
        objective.optimizer = optimizer
        if state.optimizer is not None:
            optimizer.load_state_dict(state.optimizer)
            order_moments(optimizer)
        return optimizer

    def finish(self) -> None:
        """Moves the state on to the next stage.

        Raises:
            TrainingIncomplete: if steps of this stage are left; the state was saved.
        """
        objective, state = self.objective, self.state
        if objective.step_done < self.stage.steps:
            self.save()
            raise TrainingIncomplete(
                f"training ended at step {objective.step_done} of {self.stage.steps} of stage {self.stage.name!r}, "
                "although nothing asked it to stop: there were no more batches; the state was saved"
            )
        self._snapshot()
        state.stage, state.step, state.optimizer = state.stage + 1, 0, None
        self._save()

    def batches(self) -> Iterable[Batch]:
        """The batches of the stage that are left, their images changed where that is asked for."""
        batches, augmentation = self._as_stored(), self.training.augmentation
        if augmentation is None:
            return batches
        seed, stage = self.objective.training_seed, self.stage.name
        return AugmentedBatches(batches, augmentation, self.data, seed=seed, stage=stage, start=self.state.step)

    def _as_stored(self) -> Iterable[Batch]:
        which: dict[str, Any] = {
            "batch_size": self.training.batch_size,
            "seed": self.objective.training_seed,
            "stage": self.stage.name,
            "start": self.state.step,
            "stop": self.stage.steps,
        }
        supervision, missing = self.training.supervision, self.training.missing_images
        share = self.kinds.share
        if missing is not None:
            with about_data():
                divided = divided_rows(self.data, missing)
            # Not of the data alone: another backbone, or objective, may do with fewer.
            check_divided(divided, share, self.objective.backbone_spec)
            return MissingImagesLoader(self.data, missing, share=share, **which)
        if supervision is None:
            return self.data.training_loader(**which)
        if num_supervised(self.stage.steps, share):
            with about_data():
                rows = labelled_rows(self.data, supervision, training_seed=self.objective.training_seed)
            check_labelled(rows, self.objective.backbone_spec, supervision)
        return SupervisedLoader(self.data, supervision, rate=share, **which)

    def _step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """One gradient step. Nothing of it is alive when the next one begins."""
        objective = self.objective
        with self._autocast():
            outputs = objective.training_step(batch.to(self.device), objective.step_done)
            optimizer.zero_grad(set_to_none=True)
            outputs["loss"].backward()
            optimizer.step()
        objective.step_done += 1
        terms: Terms = outputs["terms"]
        return terms

    def _autocast(self) -> AbstractContextManager[object]:
        if self.training.precision != "bfloat16":
            return nullcontext()
        # Without the cache of casts: it would keep them from one functional call to the next.
        return torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False)

    def after(self, terms: Terms) -> None:
        """What follows a step: checks, records, checkpoints, stopping.

        Raises:
            TrainingInterrupted: after saving, when ``control.stop`` returns true.
            NonFiniteLossError: naming the step and the part of the loss that broke.
        """
        step = self.objective.step_done
        self.watch.update(step - 1, terms)
        if self.kinds.is_last(step, min(-(-step // self.log_every) * self.log_every, self.stage.steps)):
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
            self.save()
        if stop and step < self.stage.steps:
            raise self._interrupted()

    # ---- state

    def save(self) -> None:
        """Saves the state as it is after the last step."""
        self._snapshot()
        self._save()

    def _interrupted(self) -> TrainingInterrupted:
        return TrainingInterrupted(f"stopped at step {self.objective.step_done} of stage {self.stage.name!r}")

    def _snapshot(self) -> None:
        self.watch.check()
        # A finite loss can have a gradient that is not finite: the weights show the damage before a loss does.
        self.watch.check_weights(self.objective, step=self.objective.step_done)
        now = time.monotonic()
        self.state.seconds += now - self.clock
        self.clock = now
        self.state.step = self.objective.step_done
        processor = time.process_time()
        own = (processor - self.processor) / self.together
        self.state.extend_segment(self.done + self.state.step, processor_seconds=own)
        self.processor = processor
        self.before_saving()
        self.state.weights = own_storage(self.objective.state_dict())
        if self.objective.optimizer is not None:
            self.state.optimizer = own_storage(self.objective.optimizer.state_dict())

    def _save(self) -> None:
        if self.control.checkpoint is not None:
            self.state.save(self.control.checkpoint)
            step = _total(self.stages[: self.state.stage]) + self.state.step
            self.control.saved(self.stage.name, step, self.total)
        self.saved = time.monotonic()

    # ---- records

    def _log_training(self, step: int, terms: Terms) -> None:
        parts = {name: float(part.detach().mean()) for name, part in terms.parts.items()}
        self._log("train", step, self.kinds.named(step) | {"loss": float(terms.loss.detach()), "parts": parts})

    def _validate(self, step: int) -> None:
        parts = validation_terms(self.objective, self.data)
        if not math.isfinite(parts["elbo"]):
            self.watch.check()
            self.watch.check_weights(self.objective, step=step)
            broken = [name for name, value in parts.items() if name != "elbo" and not math.isfinite(value)]
            raise self.watch.validation_error(step, broken)
        values = {"elbo": parts.pop("elbo"), "parts": parts}
        self.state.history.append({"stage": self.stage.name, "step": step, **values})
        self._log("validation", step, values)

    def _score(self, step: int) -> None:
        """Logs a point of the score curve. It leaves the model unchanged, and its time does not count as training."""
        assert self.control.score is not None
        started, processor = time.monotonic(), time.process_time()
        with evaluating(self.objective):
            scores = self.control.score(self.objective)
        self._log("scores", step, {"overall": self.done + step, "scores": scores})
        self.paused = (time.monotonic() - started, time.process_time() - processor)
        self.pause(*self.paused)

    def pause(self, seconds: float, processor: float) -> None:
        """Leaves out time that this process has spent on something else, all threads together."""
        self.clock, self.counted_at = self.clock + seconds, self.counted_at + seconds
        self.processor += processor

    def _log(self, event: str, step: int, values: dict[str, Any]) -> None:
        record = {"event": event, "stage": self.stage.name, "step": step, **values}
        if self.control.log is not None:
            check_held(self.control.log.parent)
            with self.control.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")
        self.control.record(record | {"overall": self.done + step})


@dataclass(frozen=True)
class _Kinds:
    """Which steps of a stage are of which of two kinds: those with labels, or without an image, and the others.

    A record every so many steps could show one kind alone: every tenth step is supervised where half of them are. So
    the last step of each kind in an interval is recorded.

    Attributes:
        share: Of the steps, those of the first kind.
        names: Of both kinds.
    """

    share: float = 0.0
    names: tuple[str, str] = ("", "")

    def is_last(self, step: int, end: int) -> bool:
        """Whether no later step up to ``end`` is of the kind of ``step``, from 1."""
        if step == end or not 0 < self.share < 1:
            return step == end
        later = num_supervised(end, self.share) - num_supervised(step, self.share)
        return later == (0 if self._is_first(step) else end - step)

    def named(self, step: int) -> dict[str, Any]:
        """What a record says of the kind of its step: nothing where all are alike."""
        return {"kind": self.names[0 if self._is_first(step) else 1]} if 0 < self.share < 1 else {}

    def _is_first(self, step: int) -> bool:
        return num_supervised(step, self.share) > num_supervised(step - 1, self.share)


def _kinds(training: TrainingSpec, objective: Objective, stage: str) -> _Kinds:
    """The kinds of steps of a stage."""
    if training.missing_images is not None:
        return _Kinds(imageless_share(training.missing_images, objective.spec), ("without image", "with image"))
    if training.supervision is not None:
        return _Kinds(step_rate(training.supervision, objective.spec, stage), ("labelled", "unlabelled"))
    return _Kinds()


def _refuse_hooks(objective: Objective) -> None:
    """Raises if the objective overrides a hook that would be called by Lightning's trainer, and not here."""
    kind = type(objective)
    ignored = [name for name in NOT_CALLED if getattr(kind, name) is not getattr(Objective, name)]
    if ignored:
        raise BenchmarkError(
            f"{kind.__name__} overrides {', '.join(ignored)}, which the training of this benchmark does not call: "
            "what a step does belongs into terms(), and the optimiser into configure_optimizers()"
        )


def _total(stages: list[Stage]) -> int:
    return sum(stage.steps for stage in stages)


def _forget_after(log: Path, stages: list[Stage], state: Checkpoint) -> None:
    """Drops the records of steps that will be repeated, and a last line that a kill cut short."""
    order = {stage.name: index for index, stage in enumerate(stages)}
    with atomic_path(log) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in read_records(log):
            step = record.get("step")
            position = (order.get(str(record.get("stage")), len(stages)), step if isinstance(step, int) else math.inf)
            if position <= (state.stage, state.step):
                file.write(json.dumps(record, allow_nan=False) + "\n")


@contextmanager
def training_mode(training: TrainingSpec) -> Iterator[None]:
    """Process-wide settings of a training run, restored afterwards.

    Argument validation of Distributions costs one device sync per call; the watch on the loss takes its place.
    """
    validated = Distribution._validate_args
    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    # Where there is no GPU, the search fails each time, which costs up to a tenth of a thin network's step.
    search = None if torch.cuda.is_available() else os.environ.pop(SEARCH, None)
    Distribution.set_default_validate_args(False)
    torch.set_num_threads(training.num_threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = training.precision == "tf32"
    try:
        with torch.enable_grad():
            yield
    finally:
        if search is not None:
            os.environ[SEARCH] = search
        Distribution.set_default_validate_args(validated)
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
