"""``mmvae-bench data``: the commands for datasets. Torch is imported by the commands, not here."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import ConfigError, Problem, nearest
from ..base.files import DATA_VARIABLE
from ..base.processes import FAILED, program
from ..data.sources import MissingSourceError
from ..specs.components import DatasetSpec, datasets
from ..specs.overrides import apply_assignments
from .uploading import Public, UploadTo, check_asked, uploaded

app = typer.Typer(name="data", help="Make, describe, show, check, export and import datasets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset; `mmvae-bench list datasets` lists them all.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", metavar="FOLDER", help=f"Where your data files are; sets {DATA_VARIABLE}.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=0,
        max=100_000,
        help="Processes that make images; 0: only this one. Default: one per CPU.",
    ),
]


@app.command()
def prepare(
    name: Name,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Make a dataset and store it in the cache. Existing files are checked, and damaged ones are made again."""
    spec = _spec(name, settings, data_root)
    from ..data import commands

    with _progress() as progress:
        made = commands.prepare(spec, workers=workers, progress=progress)
    _show(made, as_json)
    _warn_of_absent(made)


@app.command()
def describe(
    name: Name,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Describe a dataset: attributes, sizes, split, fingerprint. Makes it if needed."""
    spec = _spec(name, settings, data_root)
    from ..data import commands

    with _progress() as progress:
        described = commands.describe(spec, workers=workers, progress=progress)
    _show(described, as_json)
    _warn_of_absent(described)


@app.command()
def preview(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The file to write: .png, .jpg or .webp.")],
    num_images: Annotated[int, typer.Option("-n", "--num-images", min=1, max=1000, help="Number of images.")] = 48,
    partition: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    masks: Annotated[bool, typer.Option("--masks", help="Show the foreground masks next to each image.")] = False,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Write a contact sheet of images with their concepts.

    Makes the dataset if needed; of path-traced scenes only the first ones.
    """
    spec = _spec(name, settings, data_root)
    _check_choice("--partition", partition, ("train", "val", "test"))
    from ..data import commands

    with _progress() as progress:
        shown = commands.preview(
            spec, out=out, num_images=num_images, partition=partition, masks=masks, workers=workers, progress=progress
        )
    _show(shown if as_json else {"file": shown["file"], "images": len(shown["rows"])}, as_json)
    if "of_first" in shown:
        typer.echo(
            f"{name} is not prepared: this sheet is of its first {shown['of_first']:,} images; all "
            f"{spec.most_images():,}: `{_preparing(name, settings, data_root)}`",
            err=True,
        )


@app.command()
def verify(
    name: Name,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Check the files of a prepared dataset. Some images are compared with newly made ones.

    Exit code 1 if anything differs.
    """
    spec = _spec(name, settings, data_root)
    from ..data import commands

    with _progress() as progress:
        report = commands.verify(spec, workers=workers, progress=progress)
    _show(report, as_json)
    if not report["ok"]:
        typer.echo("\n".join(_to_mend(report, _preparing(name, settings, data_root))), err=True)
        raise typer.Exit(FAILED)


def _warn_of_absent(shown: dict[str, Any]) -> None:
    """Says on stderr which values no training image has."""
    if absent := shown.get("absent_in_training"):
        from ..data.absent import absent_text

        typer.echo(f"warning: {absent_text(absent)}", err=True)


def _preparing(name: str, settings: list[str] | None, data_root: Path | None) -> str:
    """The command that makes the whole dataset."""
    words = [*program(), "data", "prepare", name, *(word for item in settings or () for word in ("--set", item))]
    return shlex.join([*words, *([] if data_root is None else ["--data-root", str(data_root)])])


def _to_mend(report: dict[str, Any], again: str) -> Iterator[str]:
    """What is wrong with a dataset, and the commands that fix it."""
    damaged = [entry["file"] for entry in report["files"] if not entry["ok"]]
    yield from (f"damaged or missing: {file}" for file in damaged)
    changed = not report.get("source_files", {"ok": True})["ok"]
    if changed:
        yield "your files have changed since the images were made from them"
    kept: dict[str, str] = report.get("kept", {})
    drawn = report["path"] is None or bool(kept)
    if drawn and report["different"]:
        yield "no image is stored, and images drawn alone differ from the same ones drawn together on this machine"
    if damaged or changed:
        yield f"to make {'the images' if changed else 'these files'} again:\n  {again}"
        return
    wrong = [path for what, path in kept.items() if report[what]["different"]] if drawn else [report["path"]]
    if wrong:
        yield "every file is as it was written, but the images differ from those that are made here now"
        yield f"to make all of them again:\n  {shlex.join(['rm', '-r', *wrong])}\n  {again}"


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder for the Parquet files.")],
    settings: Settings = None,
    workers: Workers = None,
    upload: UploadTo = None,
    public: Public = False,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Export a dataset as Parquet files with PNG images. A card says what they are.

    `datasets.load_dataset` reads them.
    """
    spec = _spec(name, settings, data_root)
    check_asked(upload, public=public)
    from ..data import commands
    from ..report.card import dataset_card

    with _progress() as progress:
        told = commands.export(
            spec, out=out, workers=workers, progress=progress, card=lambda passport: dataset_card(spec, passport)
        )
    _show(told | uploaded(out, upload, kind="dataset", public=public), as_json)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder written by `mmvae-bench data export`.")],
    name: Name,
    settings: Settings = None,
    workers: Workers = None,
    as_json: AsJson = False,
    data_root: DataRoot = None,
) -> None:
    """Import an exported dataset into the cache, instead of making it."""
    spec = _spec(name, settings, data_root)
    from ..data import commands

    with _progress() as progress:
        _show(commands.import_from(spec, folder=folder, workers=workers, progress=progress), as_json)


def _spec(name: str, settings: list[str] | None, data_root: Path | None) -> DatasetSpec:
    if data_root is not None:
        os.environ[DATA_VARIABLE] = str(data_root)
    spec = datasets.get(name)
    given = apply_assignments({}, settings or [])
    if "name" in given:
        raise ConfigError([Problem("the dataset is named by the argument, not by --set", ("name",), given["name"])])
    return spec.parse({"name": name, **given})


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError([Problem("not one of the choices", (option,), repr(value), choices, nearest(value, choices))])


def _show(result: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(result) if as_json else "\n".join(_lines(result)))


ABSENT = {"combinations": "none is held out", "path": "nothing is stored"}
"""What people are told where a document has null; of other keys: none."""


def _lines(value: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Plain text: one line per key; what has keys or names of its own is indented, and long lists are only counted."""
    width = max((len(key) for key in value), default=0)
    for key, item in value.items():
        if isinstance(item, list) and item and all(map(_is_named_list, item)):
            item = dict(item)
        if isinstance(item, dict):
            yield f"{indent}{key}"
            yield from _lines(item, indent + "  ")
        elif item is None or item == []:
            yield f"{indent}{key:{width}}  {ABSENT.get(key, 'none')}"
        elif isinstance(item, list) and isinstance(item[0], dict | list):
            yield f"{indent}{key:{width}}  {_counted(item)}"
        else:
            yield f"{indent}{key:{width}}  {_text(item)}"


def _is_named_list(item: Any) -> bool:
    """Whether this is a name with a list: the pairs of an attribute and its values, in order."""
    return (
        isinstance(item, list | tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], list | tuple)
    )


def _counted(items: list[Any]) -> str:
    """How many there are and, of what was checked, how many are not as they should be."""
    if not all(isinstance(item, dict) and "ok" in item for item in items):
        return f"{len(items):,}"
    wrong = sum(not item["ok"] for item in items)
    return f"{len(items):,}, {f'{wrong:,} damaged or missing' if wrong else 'all as they were written'}"


def _text(item: Any) -> str:
    if isinstance(item, list | tuple):
        return " ".join(map(_text, item))
    if isinstance(item, bool):
        return "yes" if item else "no"
    return f"{item:.4g}" if isinstance(item, float) else str(item)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, or lines if stderr is not a terminal, and only while there is something to do."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from .progress import image_lines

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:-1],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("images", visible=False)
        try:
            if console.is_terminal:
                yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
            else:
                yield image_lines(sys.stderr)
        except MissingSourceError as error:
            raise MissingSourceError(f"{error}\n  or give the folder with --data-root") from error
        except KeyboardInterrupt:
            bar.stop()
            # What is made depends on the arguments alone, so the same command resumes.
            typer.echo(
                f"interrupted; finished files are kept; resume with:\n{shlex.join([*program(), *sys.argv[1:]])}",
                err=True,
            )
            raise
