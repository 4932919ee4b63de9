"""``mmvae-bench neighbours``: samples of a trained model, each above the training image that is nearest to it; or
beside the training image with the nearest attributes."""

from __future__ import annotations

from typing import Annotated

import typer

from ..base.errors import ConfigError, Problem
from ..base.printable import few
from ..runs.folder import read_model
from .asking import AsJson, More, Out, Seed, TrialDir, answer, check_concept, check_png, in_few_words, opened

MOST_NAMES = 6
"""Attributes that a line names where images differ."""


def neighbours(
    trial_dir: TrialDir,
    out: Out,
    concept: Annotated[
        str | None,
        typer.Argument(metavar="[CONCEPT]", help='Such as "digit=6, scale=small"; default: samples of the prior.'),
    ] = None,
    index: Annotated[
        list[int] | None,
        typer.Option(
            "--index",
            metavar="K",
            min=0,
            help="Test images by number: samples of their attributes, beside the training images with the nearest: "
            "--index 0 1 2.",
        ),
    ] = None,
    more: More = None,
    num_samples: Annotated[int, typer.Option("-n", metavar="N", min=1, max=100, help="Number of samples.")] = 8,
    mean: Annotated[bool, typer.Option(help="Show the mean of p(x|z); --no-mean shows a sample.")] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw samples above the training images nearest to them. They are samples of a concept or of the prior; or, with
    --index, of the attributes of real images, beside the training images with the nearest attributes."""
    check_png(out)
    if index and concept is not None and concept.isdecimal():
        index, concept, more = [*index, int(concept), *(more or [])], None, None
    if more:
        message = "one number or concept too many: test images by number are --index 0 1 2"
        raise ConfigError([Problem(message, ("--index",), str(more[0]))])
    spec = read_model(trial_dir)
    if concept is not None:
        check_concept(concept, spec.dataset)
        if index:
            message = "cannot be used with a concept: the attributes are those of the image"
            raise ConfigError([Problem(message, ("--index",))])

    model = opened(trial_dir, concept)
    from ..evaluation.asking import description_of
    from ..evaluation.neighbours import show_nearest
    from ..training.examples import prepared

    asked = None if concept is None else description_of(model, concept)
    data = prepared(spec)
    if index:
        from ..evaluation.conditioned import show_conditioned
        from ..evaluation.images import held_out_images

        images = held_out_images(data, index, number=len(index))
        document = show_conditioned(model, data, images, out, number=num_samples, mean=mean, seed=seed)
        lines = [
            f"{each['image']}: training image {each['nearest']} has the nearest attributes, distance "
            f"{each['distance']:.3f}, {_difference(each['differing'])}"
            for each in document["images"]
        ]
        answer(document, lines, as_json)
        return
    name = "prior" if concept is None else concept
    document = show_nearest(model, data, asked, out, name=name, number=num_samples, mean=mean, seed=seed)
    schema = spec.dataset.concept_schema()
    lines = [
        f"sample {place}: training image {each['nearest']} ({in_few_words(each['concept'], schema)}), "
        f"distance {each['distance']:.3f}, "
        f"ratio {each['ratio']:.3f}, nearer than {100 * each['closer_than_real']:.0f} % of held-out images"
        for place, each in enumerate(document["samples"], 1)
    ]
    held_out = document["held_out"]
    lines.append(f"held-out images: median distance {held_out['distance']:.3f}, ratio {held_out['ratio']:.3f}")
    answer(document | {"concept": concept}, lines, as_json)


def _difference(names: list[str]) -> str:
    return f"other values of {few(names, most=MOST_NAMES)}" if names else "the same values of all"
