"""``mmvae-bench complete``: images of which a part is hidden, completed by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runs.folder import read_model
from .asking import (
    MOST_NAMES,
    AsJson,
    Index,
    More,
    Number,
    Out,
    Pictures,
    Seed,
    TrialDir,
    answer,
    asked_of,
    check_concept,
    check_images,
    check_png,
    error_lines,
    opened,
)


def complete(
    trial_dir: TrialDir,
    out: Out,
    region: Annotated[
        str,
        typer.Option(
            metavar="REGION",
            help="What is hidden: left, right, top, bottom, top-left, ..., quadrant, a part that the dataset names, "
            "random-8 or random-16 (a square at a different place in each image), or ROWS,COLUMNS in pixels such as "
            "8:24,0:16.",
        ),
    ],
    more: More = None,
    index: Index = None,
    number: Number = 8,
    images: Pictures = None,
    told: Annotated[
        str | None,
        typer.Option(metavar="CONCEPT", help='What the model is told about all of them, such as "digit=6".'),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Hide a part of real images and draw it completed. It is done by the encoder, and by optimisation of z."""
    check_png(out)
    files: list[Path] = images or []
    numbers = check_images(index, more, files)
    spec = read_model(trial_dir)
    if told is not None:
        check_concept(told, spec.dataset)
    from ..evaluation.regions import Box, region_of

    hidden = region_of(region, spec.dataset)

    model = opened(trial_dir, told)
    from ..evaluation import asking
    from ..evaluation.fitting import LacksConcept

    given = None if told is None else asking.description_of(model, told)
    asked = asked_of(spec, numbers, number, files)
    try:
        document = asking.complete(model, asked, hidden, given, out, seed=seed)
    except LacksConcept as error:
        # What pictures of one's own show nobody knows: the values are an example then.
        concept = [0] * len(model.schema) if asked.concepts is None else asked.concepts[0].tolist()
        pairs = model.schema.format(concept).split(", ")
        shown = ", ".join(pairs[:MOST_NAMES] + ["..."] * (len(pairs) > MOST_NAMES))
        raise LacksConcept(f'{error}\n  Tell it all {len(pairs)} attributes, as in --told "{shown}"') from None
    where = list(hidden) if isinstance(hidden, Box) else hidden.name
    answer(document | {"region": where, "told": told}, error_lines(document, spec.dataset.concept_schema()), as_json)
