"""``mmvae-bench interpolate``: the way from one concept to another in the latent space of a trained model."""

from __future__ import annotations

from typing import Annotated

import typer

from ..runs.folder import read_model
from .asking import AsJson, Out, Steps, TrialDir, answer, check_concept, check_png, opened


def interpolate(
    trial_dir: TrialDir,
    first: Annotated[str, typer.Argument(metavar="CONCEPT_A", help='Where to start, such as "digit=6, scale=small".')],
    second: Annotated[str, typer.Argument(metavar="CONCEPT_B", help="Where to go.")],
    out: Out,
    steps: Steps = 8,
    as_json: AsJson = False,
) -> None:
    """Draw the images on the line between two concepts. Below each is what the model reads in it."""
    check_png(out)
    spec = read_model(trial_dir)
    for text in (first, second):
        check_concept(text, spec.dataset)

    model = opened(trial_dir, first, second)
    from ..evaluation import asking

    start, end = (asking.description_of(model, text) for text in (first, second))
    document = asking.interpolate(model, start, end, out, names=(first, second), steps=steps)
    lines = [f"{step['place']:.2f}  {step['described']}".rstrip() for step in document["steps"]]
    answer(document, lines, as_json)
