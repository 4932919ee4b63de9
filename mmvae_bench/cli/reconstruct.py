"""``mmvae-bench reconstruct``: real images beside what a trained model makes of them."""

from __future__ import annotations

from pathlib import Path

from ..runs.folder import read_model
from .asking import (
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
    check_images,
    check_png,
    error_lines,
    opened,
)


def reconstruct(
    trial_dir: TrialDir,
    out: Out,
    more: More = None,
    index: Index = None,
    number: Number = 8,
    images: Pictures = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw real images beside their reconstructions. One is by the encoder, one by optimisation of z."""
    check_png(out)
    files: list[Path] = images or []
    numbers = check_images(index, more, files)
    spec = read_model(trial_dir)

    model = opened(trial_dir)
    from ..evaluation import asking

    document = asking.reconstruct(model, asked_of(spec, numbers, number, files), out, seed=seed)
    answer(document, error_lines(document, spec.dataset.concept_schema()), as_json)
