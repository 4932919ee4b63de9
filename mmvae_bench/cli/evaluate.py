"""``mmvae-bench evaluate``: asks a trained model again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import ConfigError, unknown
from ..metrics.protocols import PROTOCOLS
from ..runs.folder import read_trial


def evaluate(
    trial_dir: Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="The trial's folder.")],
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Only this protocol: {', '.join(PROTOCOLS)}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Evaluate a trained model again; training is left as it is."""
    if protocol is not None and protocol not in PROTOCOLS:
        raise ConfigError([unknown("protocol", protocol, PROTOCOLS, ("--protocol",))])

    read_trial(trial_dir)

    from ..runs.scores import Score
    from ..trial import evaluate_trial

    result = evaluate_trial(trial_dir, protocol=protocol)
    scores = [score for score in result.scores if protocol is None or score["protocol"] in (protocol, None)]
    if as_json:
        typer.echo(json.dumps({**result.result, "scores": scores}))
        return
    width = max((len(score["metric"]) for score in scores), default=0) + 2
    typer.echo(f"{'metric':<{width}}{'protocol':<11}{'partition':<11}{'level':<7}{'value':>10}   95 % interval")
    for score in map(Score.from_json, scores):
        if score.attribute is None:
            level = "" if score.level is None else str(score.level)
            interval = f"[{score.ci_low:.4g}, {score.ci_high:.4g}]"
            typer.echo(
                f"{score.metric:<{width}}{score.protocol or '':<11}{score.partition:<11}{level:<7}"
                f"{score.value:>10.4g}   {interval}"
            )
