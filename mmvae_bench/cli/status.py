"""``mmvae-bench status``: how far the trials of a run are."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..runs.store import TrialOverview


def status(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Show the state and the steps of every trial of a run. It says why one failed or is damaged."""
    from ..runs.store import overview

    trials = overview(run_dir)
    if as_json:
        typer.echo(json.dumps({"trials": [trial.to_json() for trial in trials]}))
    else:
        typer.echo("\n".join(_lines(trials)))


def _lines(trials: Sequence[TrialOverview]) -> Iterator[str]:
    """One line per trial, below it the machine that it runs on or the reason that it does not, and last the totals."""
    from ..base.printable import printable
    from ..runs.status import STATES
    from ..runs.store import DAMAGED
    from ..specs.labels import trial_labels

    width = max((len(f"{trial.steps}") for trial in trials), default=1)
    for trial, label in zip(trials, trial_labels([trial.spec for trial in trials]), strict=True):
        shown = trial.to_json()
        attempts = f"  attempt {trial.status.attempts}" if trial.status.attempts > 1 else ""
        steps = f"{shown['step']:>{width}}/{shown['steps']:<{width}}"
        yield f"{trial.key}  {trial.state:<11}  {steps}  {label if trial.spec else trial.label}{attempts}"
        if trial.host:
            yield f"    on {trial.host}{_age(trial.status.updated)}"
        if trial.reason:
            yield from (f"    {line}" for line in trial.reason.splitlines())
        if trial.stale:
            yield f"    made by other code: {trial.stale}"
        if trial.state == "done" and shown["error"]:
            yield f"    could not be evaluated again, its result is kept: {shown['error'].splitlines()[0]}"
        if trial.state in ("failed", DAMAGED):
            yield from (f"    {line}" for line in (shown["error"] or "").splitlines())
        if trial.state == "failed" and trial.status.log:
            yield f"    log: {printable(trial.status.log)}"
    counts = Counter(trial.state for trial in trials)
    words = [f"{counts[state]} {state}" for state in (*reversed(STATES), DAMAGED) if counts[state]]
    stale = sum(bool(trial.stale) for trial in trials)
    yield ", ".join([*words, *([f"{stale} made by other code"] if stale else [])]) or "no trials"


def _age(updated: float | None) -> str:
    """How long ago a process last wrote its status. Its machine's clock may differ: never a time to come."""
    from ..sweep.events import duration

    return "" if updated is None else f", last heartbeat {duration(max(0.0, time.time() - updated))} ago"
