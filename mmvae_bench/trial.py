"""One trial, from its spec to its result: data, networks, objective, training, evaluation."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .base.canonical import canonical_json
from .base.errors import BenchmarkError, ConfigError, about_data, explain
from .base.files import DamagedFile, atomic_path, clear_leftovers, write_json, write_text
from .base.heartbeat import heard
from .base.machine import provenance
from .base.processes import StopSignals
from .data.base import ConceptDataModule
from .data.missing import divided_rows
from .data.supervision import labelled_rows
from .evaluation.during import ScoreCurve
from .evaluation.evaluate import Evaluation, evaluate, judge_of
from .evaluation.latent_plane import write_latent_plane
from .evaluation.questions import questions_of
from .evaluation.samples import write_samples
from .metrics.protocols import PROTOCOL_RULES
from .objectives.base import Objective, planned_stages, raised_in
from .runs.checksums import write_checksums
from .runs.folder import TrialFolder, check_not_exported, read_model, read_result, read_trial
from .runs.lock import LockHeld, TrialLock, check_held
from .runs.names import (
    CHECKPOINT_FILE,
    CHECKSUMS_FILE,
    EVALUATION_FILE,
    LOG_FILE,
    PLANE_FILE,
    RESULT_FILE,
    SAMPLES_FILE,
    SPEC_FILE,
    TRAINING_LOG,
    WEIGHTS_FILE,
)
from .runs.previous import forget, has_survived, keep_checksums, record_failure
from .runs.stale import StaleTrial, WhenStale, discard, staleness
from .runs.status import Status, StatusWriter, begin, latest, read_status, write_status
from .specs.code import evaluation_code, training_code
from .specs.missing import imageless_share
from .specs.supervision import num_supervised, step_rate
from .specs.trial import SPEC_VERSION, TrialSpec, trial_label
from .training.checkpoint import Checkpoint, CheckpointError, DamagedCheckpoint
from .training.convergence import by_stage
from .training.examples import prepared
from .training.fit import Control, Fitted, TrainingInterrupted, fit
from .training.weights import restore_weights

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

    def __repr__(self) -> str:
        """One line: a result has thousands of numbers."""
        key, spec, training = (self.result.get(name) for name in ("key", "spec", "training"))
        label = trial_label(spec) if spec else "?"
        seconds = (training or {}).get("wall_seconds")
        time_taken = "" if seconds is None else f", trained in {seconds:g} s"
        return f"TrialResult({key} {label}: {len(self.result.get('scores', ()))} scores{time_taken}; {self.directory})"


def run_trial(
    spec: TrialSpec, *, out: str | Path, device: str | None = None, stale: WhenStale = "refuse"
) -> TrialResult:
    """Runs one trial under ``out/trials/<key>``, resuming where an earlier run was stopped.

    If the model is trained already and only the evaluation has changed, only the evaluation is run.

    Args:
        spec: The trial; its ``evaluation`` says how the trained model is evaluated.
        out: A run folder; created if it does not exist.
        device: ``cpu`` or ``cuda``; None: a GPU if there is one.
        stale: What to do if other code has trained or evaluated it: ``refuse``, ``keep`` or ``retrain``.

    Raises:
        BenchmarkError: if the trial fails for a reason that the user can fix.
        StaleTrial: if other code has trained or evaluated it and ``stale`` is ``refuse``; nothing was changed.
        LockHeld: if another process is working on it.
    """
    directory = Path(out) / "trials" / spec.key
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / SPEC_FILE, canonical_json(spec.canonical()))
    write_json(directory / EVALUATION_FILE, spec.evaluation.canonical())
    with TrialLock(directory):
        return run_locked(spec, directory, device=device, stale=stale)


def run_locked(
    spec: TrialSpec,
    directory: Path,
    *,
    device: str | None = None,
    record: Record = lambda record: None,
    stale: WhenStale = "refuse",
    begun: Status | None = None,
    alive: Callable[[], object] = lambda: None,
) -> TrialResult:
    """:func:`run_trial` in a folder that has the spec, for a caller that holds the folder's lock.

    Args:
        spec: The trial.
        directory: Its folder.
        device: ``cpu`` or ``cuda``; None: a GPU if there is one.
        record: Called with every record of the training as it is made, for a tracker.
        stale: As in :func:`run_trial`.
        begun: The status of this attempt, if it has begun; None: it begins now.
        alive: Called whenever there is progress, for others that wait for this trial; must be fast.
    """
    if begun is None:
        TrialFolder(directory).check_files()
        result = finished(directory, spec)
        if made_again(directory, stale):
            result = None
        if result is not None:
            return TrialResult(directory, result)
    status = begun or opened(spec, directory)
    try:
        with StopSignals(signal.SIGTERM, signal.SIGINT) as signals:
            return _train_and_evaluate(
                spec, directory, device or default_device(), status, signals.requested, record, alive
            )
    except LockHeld:
        raise  # Another process has taken the trial over: nothing more is written here.
    except TrainingInterrupted as interrupted:
        interrupt(directory, status, str(interrupted))
        raise
    except BaseException as error:
        check_held(directory)  # A folder that was moved is not made again, with nothing but a status in it.
        kind, text = explain(error)
        where = raised_in(error, spec.objective.implementing_class())
        of_data = isinstance(error, BenchmarkError) and error.of_data
        failed = replace(
            latest(directory, status), state="failed", error=text, error_type=kind, where=where, of_data=of_data
        )
        record_failure(directory, failed)
        log = directory / LOG_FILE
        if not log.exists():
            # In a sweep the process's output is stored there; outside of one, this is all there is.
            log.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
        raise


def opened(spec: TrialSpec, directory: Path, *, attempt: int | None = None) -> Status:
    """Begins an attempt at a trial, whose lock the caller holds, and clears away what an earlier one has left broken.

    Args:
        spec: The trial.
        directory: Its folder.
        attempt: The number of the attempt that it should be; None: as the environment says.

    Raises:
        LockHeld: it would be another one.
    """
    status = begin(directory, steps=0, meant=attempt)
    _set_aside_damaged_weights(directory, spec)
    clear_leftovers(directory)
    return status


def interrupt(directory: Path, status: Status, reason: str) -> None:
    """Records that an attempt has ended, and can be resumed.

    Raises:
        LockHeld: another process has taken the trial over, or its folder is gone: nothing was written.
    """
    check_held(directory)
    write_status(directory, replace(latest(directory, status).interrupted(), error=reason))


def made_again(directory: Path, stale: WhenStale) -> bool:
    """Whether what other code has made in the folder was removed, because ``stale`` says so."""
    folder = TrialFolder(directory)
    found = staleness(folder, folder.result_head()) if stale != "keep" else None
    if not found:
        return False
    if stale == "refuse":
        raise StaleTrial(directory, found)
    discard(directory, training=bool(found.training))
    return True


def control_of(
    spec: TrialSpec,
    directory: Path,
    data: ConceptDataModule,
    device: str,
    report: StatusWriter,
    *,
    stop: Callable[[], bool],
    record: Record = lambda record: None,
    alive: Callable[[], object] = lambda: None,
) -> Control:
    """How a trial is trained in its folder."""

    def progress(stage: str, step: int, steps: int, rate: float) -> None:
        report.training(stage, step, steps, rate)
        alive()

    return Control(
        checkpoint=directory / CHECKPOINT_FILE,
        log=directory / TRAINING_LOG,
        stop=stop,
        progress=progress,
        saved=report.saved,
        score=_score_curve(spec, data, device),
        num_scores=spec.evaluation.curve_points,
        code=training_code(spec.canonical()),
        record=record,
    )


def _train_and_evaluate(
    spec: TrialSpec,
    directory: Path,
    device: str,
    status: Status,
    stop: Callable[[], bool],
    record: Record,
    alive: Callable[[], object],
) -> TrialResult:
    torch.set_num_threads(spec.training.num_threads)
    report = StatusWriter(directory, status)

    def beat() -> None:
        report.beat()
        alive()

    with heard(beat), _flushed(report):
        evaluation_code_of(spec)  # Read and kept now: the files may be edited while training runs.
        data = ready_data(spec, device)
        objective = build_objective(spec).to(device)
        control = control_of(spec, directory, data, device, report, stop=stop, record=record, alive=alive)
        fitted = fit(objective, data, spec.training, key=spec.key, seed=spec.seed, device=device, control=control)
        report.evaluating(fitted.steps)
        result = _evaluate(spec, directory, data, objective, fitted, device, stop=stop)
        report.done()
        return result


@contextmanager
def _flushed(report: StatusWriter) -> Iterator[None]:
    """What a trial had come to is written if an error ends it."""
    try:
        yield
    except BaseException:
        with suppress(LockHeld, OSError):
            report.flush()
        raise


def load(directory: str | Path, *, device: str = "cpu") -> Objective:
    """A trained objective, in eval mode.

    Args:
        directory: A trial folder, or one that ``mmvae-bench export`` has written.
        device: Where its networks go.

    Raises:
        ConfigError: if the folder is neither.
        CheckpointError: if its weights are missing, unusable, or from the middle of training.
        DamagedFile: if a file of it is not what it should be.
    """
    directory = Path(directory)
    spec = read_model(directory, warn=_say)
    weights = directory / WEIGHTS_FILE
    if os.path.lexists(weights) and not os.path.lexists(directory / CHECKPOINT_FILE):
        objective = build_objective(spec)
        restore_weights(objective, weights, key=spec.key)
    else:
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

    Raises:
        ConfigError: it is no trial's folder, or an exported model.
    """
    directory, device = Path(directory), device or default_device()
    spec = read_trial(directory)
    check_not_exported(directory)
    if protocol is not None:
        return _evaluate_protocol(spec, directory, protocol, device)
    with TrialLock(directory):
        objective, fitted = _trained(spec, directory)
        write_json(directory / EVALUATION_FILE, spec.evaluation.canonical())
        result = _evaluate(spec, directory, ready_data(spec, device), objective, fitted, device)
        if has_survived(status := read_status(directory)):
            write_status(directory, replace(status, error=None, error_type=None, where=None))
        return result


def prepare(spec: TrialSpec, *, progress: Callable[[str], None] = lambda text: None) -> None:
    """Makes what several trials share: the cached dataset and its trained observation classifier."""
    progress(f"preparing {spec.dataset.name}/{spec.dataset.source}")
    data = ready_data(spec, default_device())
    if spec.dataset.domain != "images":
        return
    progress(f"training the observation classifier of {spec.dataset.name}/{spec.dataset.source}")
    judge_of(data, spec.evaluation, device=default_device())


def build_objective(spec: TrialSpec) -> Objective:
    """The objective of a trial on its networks, with the initial weights of its seed."""
    objective = spec.build()
    objective.training_spec = spec.training
    return objective


def _supervised(spec: TrialSpec, data: ConceptDataModule, objective: Objective) -> dict[str, int]:
    """How many images had labels, and how many steps saw them; empty where all images have them."""
    supervision = spec.training.supervision
    if supervision is None:
        return {}
    stages = planned_stages(objective, spec.training)
    steps = sum(num_supervised(stage.steps, step_rate(supervision, spec.objective, stage.name)) for stage in stages)
    rows = labelled_rows(data, supervision, training_seed=spec.seed)
    return {"labelled_images": len(rows), "supervised_steps": steps}


def _imageless(spec: TrialSpec, data: ConceptDataModule, objective: Objective) -> dict[str, int]:
    """How many training examples had images, and how many steps were made on the others; empty where all had."""
    missing = spec.training.missing_images
    if missing is None:
        return {}
    share, stages = imageless_share(missing, spec.objective), planned_stages(objective, spec.training)
    steps = sum(num_supervised(stage.steps, share) for stage in stages)
    return {"examples_with_image": len(divided_rows(data, missing)[0]), "imageless_steps": steps}


def _imageless_left_out(spec: TrialSpec) -> dict[str, str]:
    """Why examples without images were not trained on, where there were some and they were not."""
    reason = spec.objective.imageless_obstacle
    return {} if spec.training.missing_images is None or reason is None else {"examples without images": reason}


def _unlabelled_left_out(spec: TrialSpec, objective: Objective) -> dict[str, str]:
    """Why images without labels were not trained on, where training is semi-supervised and they were not."""
    if spec.training.supervision is None:
        return {}
    stages = [stage.name for stage in planned_stages(objective, spec.training)]
    reasons = {stage: reason for stage in stages if (reason := spec.objective.leaves_out(stage)) is not None}
    if not reasons:
        return {}
    whole = len(set(reasons.values())) == 1 and len(reasons) == len(stages)
    text = next(iter(reasons.values())) if whole else "; ".join(f"stage {name}: {why}" for name, why in reasons.items())
    return {"images without labels": text}


def evaluation_code_of(spec: TrialSpec) -> dict[str, Any]:
    """The code of what evaluates a trial, as it was when it was first asked for."""
    given = spec.evaluation.classifier
    classifier = given.name if given is not None else spec.dataset.default_classifier()
    return evaluation_code(spec.evaluation.canonical(), classifier, dataset=spec.dataset.name)


def default_device() -> str:
    """``cuda`` if there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def finished(directory: Path, spec: TrialSpec) -> dict[str, Any] | None:
    """The stored result, if it is whole and belongs to the requested evaluation; None if it has to be computed.

    Raises:
        ConfigError: if the result belongs to another trial: ``spec.json`` was changed after it was written.
    """
    try:
        result = read_result(directory / RESULT_FILE)
    except (FileNotFoundError, DamagedFile) as error:
        if isinstance(error, DamagedFile):
            _say(f"{error}: it is made again")
        return None
    if result["key"] != spec.key:
        raise ConfigError(
            f"{directory / RESULT_FILE} belongs to trial {result['key']!r}, but {SPEC_FILE} next to it describes "
            f"{spec.key!r}: restore the spec, or choose another folder"
        )
    if result.get("evaluation") != spec.evaluation.canonical():
        return None
    return result if TrialFolder(directory).weights_damage() is None else None


def _set_aside_damaged_weights(directory: Path, spec: TrialSpec) -> None:
    """Renames a checkpoint that is not what was saved, so that the trial is trained from its start."""
    path = directory / CHECKPOINT_FILE
    try:
        if path.exists():
            Checkpoint.load(path, key=spec.key)
    except DamagedCheckpoint as error:
        aside = path.with_name(f"{CHECKPOINT_FILE}.damaged")
        # A result beside other weights than its own would make those look damaged, should this process be stopped.
        for name in (RESULT_FILE, CHECKSUMS_FILE):
            (directory / name).unlink(missing_ok=True)
        forget(directory)
        path.replace(aside)
        _say(f"{str(error).rsplit(':', 1)[0]}: it is kept as {aside.name}, and the trial is trained from its start")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _evaluate_protocol(spec: TrialSpec, directory: Path, protocol: str, device: str) -> TrialResult:
    if spec.dataset.domain != "images":
        holds = "a graph" if spec.dataset.domain == "graph" else "papers"
        raise ConfigError(f"protocol {protocol} scores images, and {spec.dataset.name} holds {holds}", "--protocol")
    spec = spec.model_copy(update={"evaluation": spec.evaluation.of_protocol(protocol)})
    objective, fitted = _trained(spec, directory)
    torch.set_num_threads(spec.training.num_threads)
    data, start = ready_data(spec, device), time.monotonic()
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
    stages = planned_stages(objective, spec.training)
    if state.stage < len(stages):
        raise CheckpointError(
            f"{path} is from the middle of training (step {state.step} of {stages[state.stage].steps} in stage "
            f"{stages[state.stage].name!r}): finish the trial with mmvae-bench train --out {directory}"
        )
    state.restore(objective, path)
    return objective, Fitted(sum(stage.steps for stage in stages), state.seconds, state.history, state.origin)


def ready_data(spec: TrialSpec, device: str) -> ConceptDataModule:
    """The data module of a trial, prepared and on its device."""
    with about_data():
        data = prepared(spec)
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
    # What cannot be written of a question of the user's shows here, before pictures of a previous result are replaced.
    json.dumps([score.to_json() for score in evaluation.scores], allow_nan=False)
    if evaluation.classifier is not None:
        with atomic_path(directory / SAMPLES_FILE) as drawn:
            write_samples(objective, data, evaluation.classifier, drawn, images=spec.evaluation.images)
            write_latent_plane(objective, data, directory / PLANE_FILE, device=device)
    result = _result(spec, data, objective, fitted, evaluation, device, seconds=time.monotonic() - start)
    check_held(directory)
    text = json.dumps(result, allow_nan=False) + "\n"
    keep_checksums(directory)
    write_checksums(directory, result=text.encode())
    write_text(directory / RESULT_FILE, text)
    forget(directory)
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
    # Each stage has its own loss and its own verdict; the last one is the trial's.
    verdicts = by_stage(fitted.history)
    described, judge = data.describe(), evaluation.classifier
    supervised, imageless = _supervised(spec, data, objective), _imageless(spec, data, objective)
    seen = fitted.steps * spec.training.batch_size
    if supervised:
        fewer = max(0, spec.training.batch_size - supervised["labelled_images"])
        seen -= fewer * supervised["supervised_steps"]
    if imageless:
        have, steps, size = imageless["examples_with_image"], imageless["imageless_steps"], spec.training.batch_size
        seen = steps * min(size, len(data.rows("train")) - have) + (fitted.steps - steps) * min(size, have)
    return {
        "version": SPEC_VERSION,
        "key": spec.key,
        "spec": spec.canonical(),
        "evaluation": spec.evaluation.canonical(),
        "dataset": {name: described.get(name) for name in ("fingerprint", "pixel_hash", "source")},
        "classifier": judge and judge.to_json() | {"unmatched_queries": evaluation.unmatched},
        "training": {
            "steps": fitted.steps,
            "wall_seconds": round(fitted.seconds, 3),
            "processor_seconds": None if fitted.processor_seconds is None else round(fitted.processor_seconds, 3),
            "steps_per_second": round(fitted.steps / fitted.seconds, 3) if fitted.seconds else None,
            "samples_seen": seen,
            **({"supervision": supervised} if supervised else {}),
            **({"missing_images": imageless} if imageless else {}),
            "num_parameters": sum(parameter.numel() for parameter in objective.parameters()),
            "parameters_by_network": {
                name: sum(parameter.numel() for parameter in getattr(objective, name).parameters())
                for name in objective.network_names
            },
            "convergence": verdicts[-1].to_json(),
            "convergence_by_stage": [verdict.to_json() for verdict in verdicts],
        },
        # Of the training, from where it began; the evaluation may have run on another machine.
        "provenance": fitted.origin,
        "evaluated_on": provenance(device=device, precision="float32", threads=torch.get_num_threads())
        | {
            "wall_seconds": round(seconds, 3),
            "seconds_by_question": {name: each.to_json() for name, each in evaluation.seconds.items()},
            "code": evaluation_code_of(spec) | training_code(spec.canonical()),
        },
        "seeds": {
            "training": spec.seed,
            "split": getattr(spec.dataset, "split_seed", None),
            "evaluation": spec.evaluation.seed,
        },
        "left_out": _unlabelled_left_out(spec, objective) | _imageless_left_out(spec) | evaluation.left_out,
        **({"confusion": evaluation.confusion} if evaluation.confusion else {}),
        "scores": [score.to_json() for score in evaluation.scores],
    }
