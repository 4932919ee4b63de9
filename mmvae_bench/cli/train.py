"""``mmvae-bench train``: one trial in one folder; and the hidden command that prepares what trials share."""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.canonical import canonical_json
from ..base.errors import BenchmarkError, ConfigError
from ..base.files import append_regular, write_json, write_text
from ..base.processes import BAD_INPUT, FAILED, INTERRUPTED, LOCK_HELD, STALE, program, uncollected
from ..runs.folder import TrialFolder, read_object, read_trial, trials_nearby
from ..runs.lock import LockHeld, TrialLock
from ..runs.names import EVALUATION_FILE, RESULT_FILE, SPEC_FILE
from ..runs.stale import StaleTrial
from ..runs.status import ATTEMPT_VARIABLE
from ..specs.overrides import load_trial
from ..specs.trial import TrialSpec
from .options import Keep, Retrain, when_stale
from .progress import shown

if TYPE_CHECKING:
    from ..runs.stale import WhenStale
    from ..specs.components import DatasetSpec
    from ..tracking.loggers import Tracker
    from ..tracking.wandb import WandbRun
    from ..trial import TrialResult


def train(
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The trial's folder; default with --wandb: runs/wandb-SWEEP/trials/KEY."),
    ] = None,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML or JSON file with the trial's spec.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable.")
    ] = None,
    set_json: Annotated[
        str | None, typer.Option(metavar="JSON", help="Settings as a JSON object with dotted keys.")
    ] = None,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Log the trial as a W&B run; values from a sweep agent override all others.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", metavar="csv|tensorboard|mlflow", help="Log there as well; repeatable."),
    ] = None,
    retrain: Retrain = False,
    keep: Keep = False,
) -> None:
    """Run one trial, or resume it where it was stopped."""
    from ..tracking.loggers import check_kinds
    from ..tracking.wandb import under_agent, wandb_run

    check_kinds(track or ())
    stale = when_stale(retrain=retrain, keep=keep)
    if out is None and not wandb:
        raise ConfigError("--out FOLDER is missing: the folder for the trial's files (optional only with --wandb)")
    if out is not None:
        TrialFolder(out).check_files()
    if wandb and under_agent():
        # The run comes first: its config says what the trial is.
        with wandb_run() as run:
            trial = _trial_spec(out, spec, set_ or [], set_json, agent=run.settings)
            _train(out or _folder(trial, run.sweep), trial, nullcontext(run), stale, track or ())
    else:
        trial = _trial_spec(out, spec, set_ or [], set_json)
        _train(out or _folder(trial, None), trial, wandb_run(trial) if wandb else nullcontext(None), stale, track or ())


def _train(
    out: Path,
    trial: TrialSpec,
    tracked: AbstractContextManager[WandbRun | None],
    stale: WhenStale,
    track: Sequence[str],
) -> None:
    from ..tracking.loggers import logged

    _lay_out(out, trial)
    try:
        # Taken before anything heavy is imported, so that a second process gives up at once.
        with TrialLock(out):
            write_json(out / EVALUATION_FILE, trial.evaluation.canonical())
            with tracked as run, logged(track, out, trial) as trackers:
                if run is not None:
                    run.describe(trial)
                    trackers.append(run)
                _run(out, trial, trackers, stale)
    except LockHeld as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(LOCK_HELD) from None
    except KeyboardInterrupt:
        _say_how_to_resume("interrupted")
        raise


def _say_how_to_resume(why: str) -> None:
    typer.echo(f"{why}; resume with:\n{shlex.join([*program(), *sys.argv[1:]])}", err=True)


def _run(out: Path, trial: TrialSpec, trackers: Sequence[Tracker], stale: WhenStale) -> None:
    # A driver shows by itself how far its trials are.
    with nullcontext() if ATTEMPT_VARIABLE in os.environ else shown(out):
        result = _result(out, trial, trackers, stale)
    for tracker in trackers:
        tracker.result(result.result, result.directory)
    typer.echo(str(result.directory / RESULT_FILE))


def _result(out: Path, trial: TrialSpec, trackers: Sequence[Tracker], stale: WhenStale) -> TrialResult:
    with uncollected():
        from ..data.sources import SourceError
        from ..training.fit import TrainingInterrupted
        from ..trial import run_locked

    def record(record: dict[str, Any]) -> None:
        for tracker in trackers:
            tracker.record(record)

    try:
        return run_locked(trial, out, stale=stale, record=record)
    except StaleTrial as error:
        if ATTEMPT_VARIABLE not in os.environ:
            raise
        # The driver has found nothing of the kind: the code has changed since. That is no failure of the trial.
        typer.echo(str(error), err=True)
        raise typer.Exit(STALE) from None
    except (LockHeld, ConfigError, SourceError):
        raise
    except TrainingInterrupted as interrupted:
        _say_how_to_resume(str(interrupted))
        raise typer.Exit(INTERRUPTED) from None
    except BenchmarkError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except Exception:
        traceback.print_exc(file=sys.stderr)
        raise typer.Exit(FAILED) from None


def train_together(
    out: Annotated[list[str], typer.Option(metavar="ATTEMPT:FOLDER", help="A trial's folder; repeatable.")],
    keep: Keep = False,
) -> None:
    """Run trials that differ in nothing but the seed, trained as one; a driver's jobs that are done by one process."""
    codes: set[int] = set()
    nothing_done = True

    def failed(folder: Path, what: BaseException) -> None:
        own = isinstance(what, BenchmarkError)
        text = f"{folder.name}: {what if own else ''.join(traceback.format_exception(what)).rstrip()}"
        typer.echo(text, err=True)
        if folder != first:
            _note(folder, text)
        if not isinstance(what, LockHeld):
            codes.add(STALE if isinstance(what, StaleTrial) else BAD_INPUT if _is_input(what) else FAILED)

    def code() -> int:
        """One for all: a driver takes what became of each trial from its own files."""
        return next((each for each in (BAD_INPUT, FAILED, STALE) if each in codes), LOCK_HELD if nothing_done else 0)

    folders = [(int(attempt), Path(folder)) for attempt, _, folder in (each.partition(":") for each in out)]
    _, first = folders[0]
    with ExitStack() as locks:
        given: list[tuple[TrialSpec, Path, int]] = []
        for attempt, folder in folders:
            try:
                spec = read_trial(folder)
                locks.enter_context(TrialLock(folder))
            except (BenchmarkError, OSError) as error:
                failed(folder, error)
            else:
                given.append((spec, folder, attempt))
                if folder != first:
                    _note(folder, f"in one process with {first.name}, whose log has what it says")
        if not given:
            raise typer.Exit(code())
        with uncollected():
            from ..sweep.together import Mate, run_together
            from ..training.fit import TrainingInterrupted
            from ..trial import TrialResult

        def ended(mate: Mate, what: TrialResult | BaseException) -> None:
            nonlocal nothing_done
            if isinstance(what, TrialResult):
                nothing_done = False
                typer.echo(str(mate.directory / RESULT_FILE))
            elif not isinstance(what, TrainingInterrupted):
                failed(mate.directory, what)

        try:
            run_together([Mate(*each) for each in given], stale=when_stale(retrain=False, keep=keep), ended=ended)
        except TrainingInterrupted as interrupted:
            typer.echo(str(interrupted), err=True)
            raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code())


def _is_input(error: BaseException) -> bool:
    from ..data.sources import SourceError

    return isinstance(error, ConfigError | SourceError)


def _note(folder: Path, text: str) -> None:
    """Adds a line to the log of a trial whose process writes into another's."""
    with suppress(OSError, BenchmarkError), append_regular(TrialFolder(folder).log_path) as log:
        log.write(f"{text}\n".encode(errors="backslashreplace"))


def prepare(
    spec: Annotated[Path, typer.Option(help="A trial's spec.json.")],
    pulse: Annotated[Path | None, typer.Option(help="File to touch as long as there is progress.")] = None,
) -> None:
    """Prepare the dataset and the observation classifier of a trial, which other trials share."""
    trial = read_trial(spec.parent)

    from ..base.heartbeat import heard

    with uncollected():
        from ..data.shards.prepare import NoSpaceError
        from ..data.shards.processes import WorkerError
        from ..trial import prepare as prepare_trial

    try:
        with heard(pulse.touch if pulse is not None else lambda: None):
            prepare_trial(trial, progress=lambda text: typer.echo(text, err=True))
    except (NoSpaceError, WorkerError) as error:
        # The machine's fault and not the input's: a trial that runs elsewhere, or later, may succeed.
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from None


def rehearse(
    spec: Annotated[list[Path] | None, typer.Option(help="A trial's spec.json; repeatable.")] = None,
    data: Annotated[Path | None, typer.Option(help="Specs, one per line, whose data are read instead.")] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Drop what is written to stderr.")] = False,
) -> None:
    """Make a first step of every stage of each objective on made-up images, and ask questions of other packages there;
    print one JSON line for each.

    With --data, read the data of trials, and print one JSON line per problem.
    """
    import json

    if silent:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 2)
    # Whatever an objective prints must not be mistaken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**said: object) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    if data is not None:
        _read_data(data, answer)
        return
    with uncollected():
        from ..training.rehearsal import rehearse_all

    trials = [read_trial(path.parent) for path in spec or ()]
    untried = {trial.objective.name for trial in trials}
    failing: set[str] = set()
    for name, error in rehearse_all(trials, idle=lambda name, networks: answer(idle=name, networks=networks)):
        answer(objective=name, error=error)
        untried.discard(name)
        failing |= {name} if error else set()
    if untried:
        answer(untried=sorted(untried))
    sound = [trial for trial in trials if trial.objective.name not in failing]
    if any(trial.evaluation.questions for trial in sound):
        from ..evaluation.rehearsal import rehearse_questions

        for name, error in rehearse_questions(sound):
            answer(question=name, error=error)


def _read_data(path: Path, answer: Callable[..., None]) -> None:
    """Says what is wrong with the data of the trials whose specs are in a file."""
    import json
    import threading
    from dataclasses import asdict

    from ..base.heartbeat import heard

    threading.Thread(target=_end_unheard, args=(1,), daemon=True).start()

    with uncollected():
        from ..training.examples import check_all

    lines = path.read_text(encoding="utf-8").splitlines()
    specs = [TrialSpec.parse(json.loads(line)) for line in lines]

    def preparing(dataset: DatasetSpec) -> None:
        answer(preparing=f"{dataset.name}/{dataset.source}")

    with heard(lambda: answer(beat=True)):
        for number, problems in check_all(specs, preparing=preparing):
            for problem in problems:
                answer(trial=number, problem=asdict(problem))


def _end_unheard(descriptor: int) -> None:
    """Ends this process, and what it has started, once nobody reads its output: who asked was killed."""
    poll = select.poll()
    poll.register(descriptor, 0)  # That there is no reader left is told without being asked for.
    if any(event & select.POLLNVAL for _, event in poll.poll()):
        return  # It is closed: nobody was ever to be told anything.
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(FAILED)


def _trial_spec(
    out: Path | None,
    file: Path | None,
    assignments: list[str],
    set_json: str | None,
    *,
    agent: Mapping[str, Any] | None = None,
) -> TrialSpec:
    """The spec from a file (or the folder's own), changed by the JSON values, the single ones, and the agent's."""
    if file is None and not assignments and set_json is None and not agent:
        if out is None:
            raise ConfigError("nothing to train: give --spec FILE, --set KEY=VALUE, or --out with a trial's folder")
        file = out / SPEC_FILE
        if not file.exists():
            raise ConfigError(f"{out} has no {SPEC_FILE}: give --spec FILE, --set or --set-json{trials_nearby(out)}")
    beside = file.parent / EVALUATION_FILE if file is not None and file.name == SPEC_FILE else None
    evaluation = read_object(beside) if beside is not None and beside.exists() else None
    return load_trial(file, json_settings=set_json, assignments=assignments, evaluation=evaluation, agent=agent)


def _folder(trial: TrialSpec, sweep: str | None) -> Path:
    """The default folder of a tracked trial: the trials of a sweep make up a run folder."""
    return Path("runs") / (f"wandb-{sweep}" if sweep else "wandb") / "trials" / trial.key


def _lay_out(out: Path, trial: TrialSpec) -> None:
    """Writes the spec into the folder, unless the folder belongs to another trial."""
    path, text = out / SPEC_FILE, canonical_json(trial.canonical())
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{out} belongs to another trial ({path} differs): choose another --out")
    if not path.exists():
        write_text(path, text)
