"""``mmvae-bench describe``: what a trained model says about an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError, Problem
from ..concepts import Schema
from ..runs.folder import read_model
from .asking import AsJson, Number, Seed, TrialDir, answer, asked_of, check_images, check_png, in_few_words, opened


def describe(
    trial_dir: TrialDir,
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="Pictures of your own, or after --index more numbers."),
    ] = None,
    index: Annotated[
        list[int] | None,
        typer.Option("--index", metavar="K", min=0, help="Images of the test partition by number: --index 0 1 2."),
    ] = None,
    number: Number = 1,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Also draw the images with what is said.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Print q(y|x) of images. For each attribute: the most probable value, and how probable it is."""
    if out is not None:
        check_png(out)
    files, more = _divided(pictures or [], index)
    numbers = check_images(index, more, files, name="IMAGE")
    spec = read_model(trial_dir)

    model = opened(trial_dir)
    from ..evaluation import asking

    document = asking.describe(model, asked_of(spec, numbers, number, files), out, seed=seed)
    answer(document, _lines(document, spec.dataset.concept_schema()), as_json)


def _divided(words: list[str], index: list[int] | None) -> tuple[list[Path], list[int]]:
    """Files, or after --index the other numbers of images."""
    if not index:
        return [Path(word) for word in words], []
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise ConfigError([Problem("not the number of an image of the test partition", ("--index",), repr(word))])
    return [], [int(word) for word in words]


def _lines(document: dict[str, Any], schema: Schema) -> Iterator[str]:
    for entry in document["images"]:
        yield entry["image"] + (f" ({in_few_words(entry['concept'], schema)})" if entry["concept"] else "")
        width = max(map(len, entry["attributes"]))
        for name, said in entry["attributes"].items():
            others = sorted(said["probabilities"].items(), key=lambda pair: -pair[1])
            others = [pair for pair in others if pair[0] != said["value"] and pair[1] >= 0.01][:3]
            rest = ", ".join(f"{value} {probability:.0%}" for value, probability in others)
            value = "(unsaid)" if said["value"] is None else said["value"]
            yield f"  {name:{width}}  {said['probability']:>4.0%}  {value}" + (f"   ({rest})" if rest else "")
