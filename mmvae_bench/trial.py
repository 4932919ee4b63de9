"""One trial, from its spec to its result: data, networks, objective, training, evaluation."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .base.canonical import canonical_json
from .base.errors import ConfigError, explain
from .base.files import read_json, remove_leftovers, write_json, write_text
from .base.heartbeat import heard
from .base.machine import provenance
from .base.processes import StopSignals
from .data.base import ConceptDataModule
from .evaluation.during import ScoreCurve
from .evaluation.evaluate import Evaluation, evaluate, judge_of
from .evaluation.latent_plane import write_latent_plane
from .evaluation.questions import questions_of
from .evaluation.samples import write_samples
from .metrics.protocols import PROTOCOL_RULES
from .objectives.base import Objective
from .runs.folder import read_trial
from .runs.lock import TrialLock
from .runs.names import (
    CHECKPOINT_FILE,
    EVALUATION_FILE,
    LOG_FILE,
    PLANE_FILE,
    RESULT_FILE,
    SAMPLES_FILE,
    SPEC_FILE,
    STATUS_FILE,
    TRAINING_LOG,
)
from .runs.status import Status, StatusWriter, begin, latest, write_status
from .specs.trial import SPEC_VERSION, TrialSpec
from .training.checkpoint import Checkpoint, CheckpointError
from .training.convergence import convergence
from .training.fit import Control, Fitted, TrainingInterrupted, fit

Record = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialResult:
    """A finished trial.

    Attributes:
        directory: The trial's folder.
        result: The contents of ``result.json``.
        scores: Its ``scores``.
    """

    directory: Path
    result: dict[str, Any]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """All scores, as plain dicts."""
        scores: list[dict[str, Any]] = self.result["scores"]
        return scores


def run_trial(spec: TrialSpec, *, out: str | Path, device: str | None = None) -> TrialResult:
    """Runs one trial under ``out/trials/<key>``, resuming where an earlier run was stopped.

    If the model is trained already and only the evaluation has changed, only the evaluation is run.

    Args:
        spec: The trial; its ``evaluation`` says how the trained model is evaluated.
        out: A run folder; created if it does not exist.
        device: ``cpu`` or ``cuda``; None: a GPU if there is one.

    Raises:
        BenchmarkError: if the trial fails for a reason that the user can fix.
        LockHeld: if another process is working on it.
    """
    directory = Path(out) / "trials" / spec.key
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / SPEC_FILE, canonical_json(spec.canonical()))
    write_json(directory / EVALUATION_FILE, spec.evaluation.canonical())
    with TrialLock(directory):
        return run_locked(spec, directory, device=device)


def run_locked(
    spec: TrialSpec, directory: Path, *, device: str | None = None, record: Record = lambda record: None
) -> TrialResult:
    """:func:`run_trial` in a folder that has the spec, for a caller that holds the folder's lock.

    Args:
        spec: The trial.
        directory: Its folder.
        device: ``cpu`` or ``cuda``; None: a GPU if there is one.
        record: Called with every record of the training as it is made, for a tracker.
    """
    result = _finished(directory, spec)
    if result is not None:
        return TrialResult(directory, result)
    status = begin(directory, steps=0)
    for name in (CHECKPOINT_FILE, RESULT_FILE, SAMPLES_FILE, PLANE_FILE, STATUS_FILE):
        remove_leftovers(directory / name)
    try:
        with StopSignals(signal.SIGTERM, signal.SIGINT) as signals:
            return _train_and_evaluate(spec, directory, device or default_device(), status, signals.requested, record)
    except TrainingInterrupted as interrupted:
        write_status(directory, replace(latest(directory, status), state="interrupted", error=str(interrupted)))
        raise
    except BaseException as error:
        kind, text = explain(error)
        write_status(directory, replace(latest(directory, status), state="failed", error=text, error_type=kind))
        log = directory / LOG_FILE
        if not log.exists():
            # In a sweep the process's output is stored there; outside of one, this is all there is.
            log.write_text("".join(traceback.format_exception(error)))
        raise


def _train_and_evaluate(
    spec: TrialSpec, directory: Path, device: str, status: Status, stop: Callable[[], bool], record: Record
) -> TrialResult:
    torch.set_num_threads(spec.training.num_threads)
    report = StatusWriter(directory, status)
    with heard(report.beat):
        data = _ready_data(spec, device)
        objective = build_objective(spec).to(device)
        fitted = fit(
            objective,
            data,
            spec.training,
            key=spec.key,
            seed=spec.seed,
            device=device,
            control=Control(
                checkpoint=directory / CHECKPOINT_FILE,
                log=directory / TRAINING_LOG,
                stop=stop,
                progress=report.training,
                score=_score_curve(spec, data, device),
                num_scores=spec.evaluation.curve_points,
                record=record,
            ),
        )
        report.evaluating(fitted.steps)
        result = _evaluate(spec, directory, data, objective, fitted, device, stop=stop)
        write_status(directory, replace(report.status, state="done", phase=None))
        return result


def load(directory: str | Path, *, device: str = "cpu") -> Objective:
    """A trained objective, in eval mode.

    Args:
        directory: A trial folder.
        device: Where its networks go.

    Raises:
        ConfigError: if the folder is not a trial folder.
        CheckpointError: if its checkpoint is missing, unusable, or from the middle of training.
    """
    directory = Path(directory)
    spec = read_trial(directory)
    objective, _ = _trained(spec, directory)
    return objective.to(device).eval()


def evaluate_trial(directory: str | Path, *, protocol: str | None = None, device: str | None = None) -> TrialResult:
    """Evaluates a trained model again; its weights are left as they are.

    Args:
        directory: A trial folder.
        protocol: Evaluate under this protocol alone and change nothing in the folder; None: evaluate everything that
            ``evaluation.json`` asks for, and replace ``result.json``.
        device: ``cpu`` or ``cuda``; None: a GPU where there is one.

    Returns:
        The result; with a protocol its scores are those of the protocol.
    """
    directory, device = Path(directory), device or default_device()
    spec = read_trial(directory)
    if protocol is not None:
        return _evaluate_protocol(spec, directory, protocol, device)
    with TrialLock(directory):
        objective, fitted = _trained(spec, directory)
        write_json(directory / EVALUATION_FILE, spec.evaluation.canonical())
        return _evaluate(spec, directory, _ready_data(spec, device), objective, fitted, device)


def prepare(spec: TrialSpec, *, progress: Callable[[str], None] = lambda text: None) -> None:
    """Makes what several trials share: the cached dataset and its trained observation classifier."""
    progress(f"preparing {spec.dataset.name}/{spec.dataset.source}")
    data = _ready_data(spec, default_device())
    progress(f"training the observation classifier of {spec.dataset.name}/{spec.dataset.source}")
    judge_of(data, spec.evaluation, device=default_device())


def build_objective(spec: TrialSpec) -> Objective:
    """The objective of a trial on its networks, with the initial weights of its seed."""
    dataset = spec.dataset
    backbone = spec.backbone.build(
        schema=dataset.concept_schema(), image_shape=dataset.image_shape(), captions=dataset.texts()
    )
    return spec.objective.build(backbone, seed=spec.seed)


def default_device() -> str:
    """``cuda`` if there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _finished(directory: Path, spec: TrialSpec) -> dict[str, Any] | None:
    """The stored result, if it is complete and belongs to the requested evaluation; None if it has to be computed.

    Raises:
        ConfigError: if the result belongs to another trial: ``spec.json`` was changed after it was written.
    """
    try:
        result = read_json(directory / RESULT_FILE)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(result, dict) or not isinstance(result.get("scores"), list):
        return None
    if result.get("key") != spec.key:
        raise ConfigError(
            f"{directory / RESULT_FILE} belongs to trial {result.get('key')!r}, but {SPEC_FILE} next to it describes "
            f"{spec.key!r}: restore the spec, or choose another folder"
        )
    return result if result.get("evaluation") == spec.evaluation.canonical() else None


def _evaluate_protocol(spec: TrialSpec, directory: Path, protocol: str, device: str) -> TrialResult:
    spec = spec.model_copy(update={"evaluation": spec.evaluation.of_protocol(protocol)})
    objective, fitted = _trained(spec, directory)
    torch.set_num_threads(spec.training.num_threads)
    data, start = _ready_data(spec, device), time.monotonic()
    asked = [question for question in questions_of(spec.evaluation) if question.name == PROTOCOL_RULES[protocol].asks]
    evaluation = evaluate(objective.to(device).eval(), data, spec.evaluation, questions=asked, device=device)
    return TrialResult(
        directory, _result(spec, data, objective, fitted, evaluation, device, seconds=time.monotonic() - start)
    )


def _trained(spec: TrialSpec, directory: Path) -> tuple[Objective, Fitted]:
    """The objective of a trial whose training is finished, and what is known of the training."""
    path = directory / CHECKPOINT_FILE
    if not path.exists():
        raise CheckpointError(f"{directory} has no {CHECKPOINT_FILE}: the trial has not been trained yet")
    objective = build_objective(spec)
    state = Checkpoint.load(path, key=spec.key)
    stages = objective.stages(spec.training)
    if state.stage < len(stages):
        raise CheckpointError(
            f"{path} is from the middle of training (step {state.step} of {stages[state.stage].steps} in stage "
            f"{stages[state.stage].name!r}): finish the trial with mmvae-bench train --out {directory}"
        )
    state.restore(objective, path)
    return objective, Fitted(sum(stage.steps for stage in stages), state.seconds, state.history, state.origin)


def _ready_data(spec: TrialSpec, device: str) -> ConceptDataModule:
    """The data module of a trial, prepared and on its device."""
    data = spec.dataset.build()
    data.prepare_data()
    data.setup()
    data.to(device)
    return data


def _score_curve(spec: TrialSpec, data: ConceptDataModule, device: str) -> ScoreCurve | None:
    """Scores the model during training; None if the evaluation has no curve, or the objective no q(z|y)."""
    if not spec.evaluation.curve_points or "concept" not in spec.objective.posteriors:
        return None
    return ScoreCurve(data, spec.evaluation, device=device)


def _evaluate(
    spec: TrialSpec,
    directory: Path,
    data: ConceptDataModule,
    objective: Objective,
    fitted: Fitted,
    device: str,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> TrialResult:
    def go_on(what: str, done: int, total: int) -> None:
        if stop():
            raise TrainingInterrupted(f"stopped during the evaluation ({what}, {done} of {total}); training is done")

    torch.set_num_threads(spec.training.num_threads)
    start = time.monotonic()
    objective = objective.to(device).eval()
    evaluation = evaluate(objective, data, spec.evaluation, device=device, progress=go_on)
    write_samples(objective, data, evaluation.classifier, directory / SAMPLES_FILE, images=spec.evaluation.images)
    write_latent_plane(objective, data, directory / PLANE_FILE, device=device)
    result = _result(spec, data, objective, fitted, evaluation, device, seconds=time.monotonic() - start)
    write_json(directory / RESULT_FILE, result)
    return TrialResult(directory, result)


def _result(
    spec: TrialSpec,
    data: ConceptDataModule,
    objective: Objective,
    fitted: Fitted,
    evaluation: Evaluation,
    device: str,
    *,
    seconds: float,
) -> dict[str, Any]:
    # Each stage has its own loss, so only the curve of the last one says whether the run has converged.
    stage = fitted.history[-1]["stage"]
    last = [record for record in fitted.history if record["stage"] == stage]
    trend = convergence([record["step"] for record in last], [record["elbo"] for record in last], stage=stage)
    described = data.describe()
    return {
        "version": SPEC_VERSION,
        "key": spec.key,
        "spec": spec.canonical(),
        "evaluation": spec.evaluation.canonical(),
        "dataset": {name: described.get(name) for name in ("fingerprint", "pixel_hash", "source")},
        "classifier": evaluation.classifier.to_json() | {"unmatched_queries": evaluation.unmatched},
        "training": {
            "steps": fitted.steps,
            "wall_seconds": round(fitted.seconds, 3),
            "steps_per_second": round(fitted.steps / fitted.seconds, 3) if fitted.seconds else None,
            "num_parameters": sum(parameter.numel() for parameter in objective.parameters()),
            "convergence": trend.to_json(),
        },
        # Of the training; the evaluation may have run on another machine.
        "provenance": fitted.origin,
        "evaluated_on": provenance(device=device, precision="float32", threads=torch.get_num_threads())
        | {"wall_seconds": round(seconds, 3)},
        "seeds": {
            "training": spec.seed,
            "split": getattr(spec.dataset, "split_seed", None),
            "evaluation": spec.evaluation.seed,
        },
        "left_out": evaluation.left_out,
        "scores": [score.to_json() for score in evaluation.scores],
    }
