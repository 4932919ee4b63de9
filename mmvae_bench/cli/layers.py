"""``mmvae-bench layers``: what a layered model puts in front, where the background shows, and what it puts behind."""

from __future__ import annotations

from typing import Annotated

import typer

from ..base.errors import ConfigError, Problem
from ..runs.folder import read_model
from .asking import AsJson, Index, Number, Out, Seed, TrialDir, answer, asked_of, check_concept, check_png, opened


def layers(
    trial_dir: TrialDir,
    out: Out,
    concept: Annotated[
        str | None,
        typer.Argument(metavar="[CONCEPT]", help='Samples of it, such as "Smiling=yes"; none: real images, explained.'),
    ] = None,
    index: Index = None,
    number: Number = 4,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw the layers of samples of a concept, or of real images. They are foreground, gate, background, all."""
    check_png(out)
    spec = read_model(trial_dir)
    if concept is not None:
        check_concept(concept, spec.dataset)
        if index:
            message = "cannot be used with a concept, which is drawn: choose one of them"
            raise ConfigError([Problem(message, ("--index",))])

    model = opened(trial_dir, concept)
    from ..evaluation import layers as pictures

    asked = None if concept is not None else asked_of(spec, index, number, [])
    document = pictures.layers(model, out, concept=concept, asked=asked, num_samples=number, seed=seed)
    lines = [f"{row['name']}: the gate hides {row['hidden']:.0%}" for row in document["rows"]]
    answer(document, lines, as_json)
