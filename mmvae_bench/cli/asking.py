"""What the commands share that ask one trained model: their options, their checks, and how they answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import ConfigError, Problem
from ..base.printable import few
from ..base.processes import uncollected
from ..concepts import Schema
from ..runs.folder import read_model
from ..specs.components import DatasetSpec
from ..specs.trial import TrialSpec

if TYPE_CHECKING:
    from ..evaluation.images import Asked
    from ..objectives.base import Objective

TrialDir = Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="The trial's folder.")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE.png", help="PNG file to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of what is drawn.")]
Index = Annotated[
    list[int] | None,
    typer.Option("--index", metavar="K", min=0, help="Images of the test partition by number: --index 0 1 2."),
]
More = Annotated[list[int] | None, typer.Argument(metavar="[K]...", help="More numbers of images.", min=0)]
Number = Annotated[int, typer.Option("-n", metavar="N", min=1, max=100, help="Number of images, if none is named.")]
Pictures = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="A picture of your own instead of test images; repeatable."),
]
Steps = Annotated[int, typer.Option("--steps", metavar="K", min=2, max=50, help="Images from one end to the other.")]


def check_png(out: Path) -> None:
    """Raises ConfigError unless the name is that of a PNG file."""
    if out.suffix.lower() != ".png":
        near = str(out.with_suffix(".png")) if out.name else None
        raise ConfigError([Problem("the image must be a PNG file", ("--out",), str(out), near=near)])


def check_concept(text: str, dataset: DatasetSpec) -> None:
    """Raises ConfigError unless a text is a concept of the dataset or, in its text view, a caption."""
    captions = dataset.texts()
    _ = captions.indices(text) if captions is not None and "=" not in text else dataset.concept_schema().indices(text)


def check_images(
    index: list[int] | None, more: list[int] | None, files: Iterable[Path], *, name: str = "--image"
) -> list[int] | None:
    """The numbers of the images that are asked for; None if none is named. ``name`` is what the command calls files.

    Raises:
        ConfigError: if there are numbers and files, or a file is missing.
    """
    numbers, files = [*(index or []), *(more or [])], list(files)
    if numbers and files:
        raise ConfigError([Problem("cannot be used with a picture of your own: choose one of them", ("--index",))])
    for file in files:
        if not file.exists():
            word = str(file)
            hint = f"; for an image of the test partition say --index {word}" if word.isdecimal() else ""
            raise ConfigError([Problem(f"no such file{hint}", (name,), word)])
    return numbers or None


def opened(trial_dir: Path, *told: str | None) -> Objective:
    """The trained model of a folder; torch is imported here.

    Args:
        trial_dir: The folder.
        told: Concepts or captions that it will be told. An empty one specifies nothing, which is said on stderr,
            because an unset variable of the shell looks the same.

    Raises:
        ConfigError: if it is one of papers: there is nothing to draw.
    """
    dataset = read_model(trial_dir).dataset
    if dataset.domain == "papers":
        raise ConfigError(f"{trial_dir} is a model of {dataset.name}, words and links of papers: it has no images")
    with uncollected():
        from ..trial import load

    model = load(trial_dir)
    for text in told:
        if text is not None and not text.strip():
            typer.echo(said_of_an_empty_one(dataset), err=True)
    return model


def said_of_an_empty_one(dataset: DatasetSpec) -> str:
    """What a concept or caption without a word means."""
    return "the concept is empty: every attribute is left open" if dataset.texts() is None else "the caption is empty"


def asked_of(spec: TrialSpec, numbers: list[int] | None, number: int, files: list[Path]) -> Asked:
    """The images, from the dataset or from files; what was done to a file is said on stderr."""
    from ..evaluation.images import file_images, held_out_images
    from ..training.examples import prepared

    if files:
        asked = file_images(files, spec.dataset.image_shape())
        for note in asked.notes:
            typer.echo(note, err=True)
        return asked
    return held_out_images(prepared(spec), numbers, number=number)


def answer(document: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Prints one JSON document, or what people read: some lines, and the file."""
    if as_json:
        typer.echo(json.dumps(document, allow_nan=False))
        return
    for line in lines:
        typer.echo(line)
    if document.get("file"):
        typer.echo(document["file"])


WHOSE = {"fitted": "optimisation"}
"""What is told to people of an answer, where that is not its name in the document."""


MOST_NAMES = 12
"""Attributes that are named of a concept."""


def in_few_words(concept: str | None, schema: Schema) -> str:
    """A concept of a document as people read it; nothing where none is known."""
    return (few(schema.words(schema.indices(concept)), most=MOST_NAMES) or "none") if concept else ""


def error_lines(document: dict[str, Any], schema: Schema) -> Iterable[str]:
    """One line per image: its name, its concept, and the error by encoder and by optimisation."""
    for name, reason in document["left_out"].items():
        typer.echo(f"no answer of the {WHOSE.get(name, name)}: {reason}", err=True)
    width = max(len(entry["image"]) for entry in document["images"])
    for entry in document["images"]:
        found = [f"{name} {entry[name]['error']:.4f}" for name in ("encoder", "fitted") if name in entry]
        yield "  ".join([f"{entry['image']:{width}}", *found, in_few_words(entry["concept"], schema)]).rstrip()
