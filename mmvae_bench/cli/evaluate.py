"""``mmvae-bench evaluate``: evaluates a trained model again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from ..base.processes import uncollected
from ..metrics.protocols import PROTOCOL_RULES, PROTOCOLS
from ..runs.folder import read_trial
from ..runs.stale import mixture
from .writing import writing_to


def evaluate(
    trial_dir: Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="The trial's folder.")],
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Only print the scores under this protocol, and leave the folder unchanged: {', '.join(PROTOCOLS)}, "
            "or one of another package.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Evaluate a trained model again, without retraining. It replaces result.json."""
    if protocol is not None:
        PROTOCOL_RULES.get(protocol, ("--protocol",))

    read_trial(trial_dir)

    with uncollected():
        from ..runs.scores import Score
        from ..trial import evaluate_trial

    with writing_to(trial_dir, advice="Copy the folder, or give --protocol NAME: then it is only read."):
        result = evaluate_trial(trial_dir, protocol=protocol)
    if changed := mixture(result.result):
        typer.echo(f"not all of this was made by one code: {'; '.join(changed)}", err=True)
    if as_json:
        typer.echo(json.dumps(result.result))
        return
    scores = [score for score in map(Score.from_json, result.scores) if score.attribute is None]
    width = max((len(score.metric) for score in scores), default=0) + 2
    typer.echo(f"{'metric':<{width}}{'protocol':<11}{'partition':<11}{'level':<7}{'value':>10}   95 % interval")
    for score in scores:
        level = "" if score.level is None else str(score.level)
        known = math.isfinite(score.ci_low + score.ci_high)
        interval = f"[{score.ci_low:.4g}, {score.ci_high:.4g}]" if known else "(no interval)"
        typer.echo(
            f"{score.metric:<{width}}{score.protocol or '':<11}{score.partition:<11}{level:<7}"
            f"{score.value:>10.4g}   {interval}"
        )
    if not scores:
        name = result.result["spec"]["objective"]["name"]
        typer.echo(f"no scores: objective {name} cannot do what protocol {protocol} scores", err=True)
