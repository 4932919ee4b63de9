"""``mmvae-bench verify``: whether every file of a run folder is what was written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.processes import FAILED

if TYPE_CHECKING:
    from ..runs.verify import Verification


def verify(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Check every file of a run folder. It says what a run would do about what is wrong.

    Nothing is written. Exit code 0: nothing is wrong; unfinished and failed trials are not. 1: something is.
    """
    from ..runs.verify import verify as check

    found = check(run_dir)
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(_lines(found)))
    if not found.whole:
        raise typer.Exit(FAILED)


def _lines(found: Verification) -> Iterator[str]:
    """One line per trial that needs a word, below it each fault; what a run would do with the others; the totals."""
    from ..runs.verify import DONE, STRAY

    wrong = [trial for trial in found.trials if trial.faults]
    for trial in wrong:
        yield f"{trial.key}  {trial.label}"
        yield from (f"    {fault.file}: {fault.problem}" for fault in trial.faults)
        yield f"    a run: {trial.run}"
    yield from (f"{fault.file}: {fault.problem}" for fault in found.faults)
    unfinished = Counter(trial.run for trial in found.trials if not trial.faults and trial.run != DONE)
    yield from (f"{count} sound trial{'' if count == 1 else 's'}; a run: {step}" for step, count in unfinished.items())
    unsure = sum(trial.state == "done" and not trial.checksums for trial in found.trials)
    if unsure:
        yield (
            f"{unsure} trial{' was' if unsure == 1 else 's were'} made before there were checksums: readable, but "
            "whether a number was changed cannot be told"
        )
    one = len(found.trials) == 1
    strays = sum(trial.state == STRAY for trial in wrong)
    counts = [f"{count} {what}" for count, what in ((len(wrong) - strays, "damaged"), (strays, STRAY)) if count]
    said = ", ".join(counts) or f"nothing wrong with {'it' if one else 'them'}"
    yield f"{len(found.trials)} trial{'' if one else 's'} checked: {said}"
