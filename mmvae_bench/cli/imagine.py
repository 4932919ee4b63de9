"""``mmvae-bench imagine``: images of a concept, drawn by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..base.errors import ConfigError, Problem
from ..base.processes import uncollected
from ..runs.folder import read_trial


def imagine(
    trial_dir: Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="The trial's folder.")],
    concept: Annotated[
        str,
        typer.Argument(
            metavar="CONCEPT", help='For example "digit=6, scale=small"; in the text view, a caption also works.'
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="PNG file to write.")],
    num_samples: Annotated[int, typer.Option("-n", metavar="N", min=1, max=10_000, help="Number of images.")] = 10,
    mean: Annotated[bool, typer.Option(help="Draw the mean of p(x|z); --no-mean draws a sample.")] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Seed of the samples.")] = 0,
) -> None:
    """Draw images of a concept from a trained model."""
    if out.suffix.lower() != ".png":
        near = str(out.with_suffix(".png"))
        raise ConfigError([Problem("the image must be a PNG file", ("--out",), str(out), near=near)])

    # The concept is checked before anything heavy is imported.
    dataset = read_trial(trial_dir).dataset
    captions = dataset.texts()
    is_caption = captions is not None and "=" not in concept
    _ = captions.indices(concept) if captions is not None and is_caption else dataset.concept_schema().indices(concept)

    with uncollected():
        import torch

        from ..data.sheets import draw_sheet, save_picture
        from ..trial import load

    model = load(trial_dir)
    generator = torch.Generator().manual_seed(seed)
    asked = concept if is_caption else model.schema.parse(concept)
    images = model.imagine(asked, num_samples=num_samples, mean=mean, generator=generator)
    gap = 2 if num_samples > 1 else 0
    sheet, _ = draw_sheet(
        images,
        num_columns=min(10, num_samples),
        scale=max(1, 96 // images.shape[-1]),
        gap=gap,
        margins=(gap, gap, 0, 0),
        paper=(127, 127, 127),
    )
    save_picture(sheet, out)
    typer.echo(str(out))
