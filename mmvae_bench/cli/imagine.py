"""``mmvae-bench imagine``: images of a concept, drawn by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runs.folder import read_model
from .asking import TrialDir, check_concept, check_png, opened


def imagine(
    trial_dir: TrialDir,
    concept: Annotated[
        str,
        typer.Argument(
            metavar="CONCEPT",
            help='For example "digit=6, scale=small", or "" for anything; in the text view, a caption also works.',
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="PNG file to write.")],
    num_samples: Annotated[int, typer.Option("-n", metavar="N", min=1, max=10_000, help="Number of images.")] = 10,
    mean: Annotated[bool, typer.Option(help="Draw the mean of p(x|z); --no-mean draws a sample.")] = True,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Seed of the samples.")] = 0,
) -> None:
    """Draw images of a concept from a trained model."""
    check_png(out)
    # Checked before anything heavy is imported.
    check_concept(concept, read_model(trial_dir).dataset)

    model = opened(trial_dir, concept)
    import torch

    from ..data.sheets import draw_sheet, labelled, save_picture

    generator = torch.Generator().manual_seed(seed)
    asked = concept if model.captions is not None and "=" not in concept else model.schema.parse(concept)
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
    words = asked if isinstance(asked, str) else ", ".join(model.schema.words(asked)) or "nothing specified"
    what = "means of p(x|z)" if mean else "samples of p(x|z)"
    save_picture(labelled(sheet, f"{model.spec.name}: {words}; {what}, seed {seed}"), out)
    typer.echo(str(out))
