"""``mmvae-bench analogies``: real images under every value of one attribute, all else as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError, unknown
from ..concepts import Schema
from ..runs.folder import read_model
from .asking import (
    AsJson,
    Index,
    More,
    Number,
    Out,
    Pictures,
    TrialDir,
    answer,
    asked_of,
    check_images,
    check_png,
    in_few_words,
    opened,
)


def analogies(
    trial_dir: TrialDir,
    attribute: Annotated[
        str, typer.Option("--attribute", metavar="NAME", help="Give this attribute each of its values in turn.")
    ],
    out: Out,
    more: More = None,
    index: Index = None,
    number: Number = 8,
    images: Pictures = None,
    as_json: AsJson = False,
) -> None:
    """Draw real images under every value of an attribute. The style of each is kept, the attribute changes."""
    check_png(out)
    files: list[Path] = images or []
    numbers = check_images(index, more, files)
    spec = read_model(trial_dir)
    schema = spec.dataset.concept_schema()
    if attribute not in schema.names:
        raise ConfigError([unknown("attribute", attribute, schema.names, ("--attribute",))])

    model = opened(trial_dir)
    from ..evaluation import analogies as pictures

    document = pictures.analogies(model, asked_of(spec, numbers, number, files), attribute, out)
    answer(document, _lines(document, schema), as_json)


def _lines(document: dict[str, Any], schema: Schema) -> Iterator[str]:
    """One line per image: its name, how far its own value is from it and the others from that, and its concept."""
    width = max(len(entry["image"]) for entry in document["images"])
    for entry in document["images"]:
        others = [change for value, change in zip(document["values"], entry["changes"], strict=True)
                  if value != entry["own"]]  # fmt: skip
        found = f"error {entry['error']:.4f}  change {sum(others) / len(others):.4f}"
        concept = in_few_words(entry["concept"], schema) + (" (described)" if entry["described"] else "")
        yield f"{entry['image']:{width}}  {found}  {concept}"
