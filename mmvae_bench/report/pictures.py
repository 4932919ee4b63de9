"""The samples of a page, as many as there is room for: every objective beside the others, query by query.

A sheet says in a text where each of its images is and what the classifier reads in it; older sheets are shown whole.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from PIL import Image
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from ..base.printable import printable
from ..runs.names import SAMPLES_FILE
from .comparison import Comparison, Section
from .sheets import read_sheet, reduced, smaller, uri
from .trials import TrialRecord

SHEET_BYTES = 16 * 2**20
"""The largest file of samples that is read."""
MOST_IMAGES = 4
"""Images of a query beside each other."""
MANY_READINGS = 4
"""Above this many attributes only what is wrong is named under an image."""
NOTE = "mmvae-bench"
"""Keyword of the text in a sheet."""
REAL = "real images"
_WORDS = 600
"""Bytes around a picture."""

_Side = Annotated[int, Field(ge=1, le=4096)]
_Place = tuple[Annotated[int, Field(ge=0, le=2**16)], Annotated[int, Field(ge=0, le=2**16)]]
_Word = Annotated[str, Field(max_length=100)]
_Few = Field(max_length=64)


@with_config(ConfigDict(extra="forbid", strict=True))
class _Row(TypedDict):
    query: Annotated[list[_Word], _Few]
    read: Annotated[list[Annotated[list[tuple[_Word, bool]], _Few]], _Few]
    places: Annotated[list[_Place], _Few]
    real: Annotated[list[_Place], _Few]


@with_config(ConfigDict(extra="forbid", strict=True))
class _Note(TypedDict):
    version: int
    scale: _Side
    size: tuple[_Side, _Side]
    rows: Annotated[list[_Row], _Few]


_NOTE: TypeAdapter[Any] = TypeAdapter(_Note)


@dataclass(frozen=True)
class _Sheet:
    """An opened sheet and what its text says of it."""

    label: str
    trial: TrialRecord
    picture: Image.Image
    rows: Mapping[tuple[str, ...], _Row]
    size: tuple[int, int]
    scale: int

    def image(self, place: tuple[int, int]) -> bytes:
        """One image as a PNG file, in its own pixels."""
        (x, y), (width, height) = place, self.size
        cut = self.picture.crop((x, y, x + width, y + height))
        return reduced(
            cut.resize((max(1, width // self.scale), max(1, height // self.scale)), Image.Resampling.NEAREST)
        )


class Sheets:
    """Sheets that say what is in them, each opened once for its table, however often it is asked for."""

    def __init__(self) -> None:
        self._opened: dict[tuple[str, Path], _Sheet | None] = {}

    def __call__(self, label: str, trial: TrialRecord) -> _Sheet | None:
        """A trial's sheet; None of one that does not say what is in it, or of which that is not true."""
        key = (label, trial.directory)
        if key not in self._opened:
            self._opened[key] = _opened(label, trial)
        return self._opened[key]

    def forget(self) -> None:
        """Gives up their pictures, which take three bytes a pixel."""
        self._opened.clear()


def add_pictures(
    comparison: Comparison, contexts: Sequence[dict[str, Any]], room: int, sheets: Sheets | None = None
) -> None:
    """Adds samples to what the page shows of each section, in ``room`` bytes.

    Side by side where the sheets allow it; else whole sheets, the best objective of every section first, then the
    first seed of the others, then other seeds.

    Args:
        comparison: Whose samples.
        contexts: What the page shows of each section; changed.
        room: Bytes.
        sheets: Those that have been opened already.
    """
    sheets = sheets or Sheets()
    places = list(zip(comparison.sections, contexts, strict=True))
    for left, (section, context) in zip(range(len(places), 0, -1), places, strict=True):
        found = side_by_side(section, context["best_first"], room // left, sheets)
        if found is not None:
            context["pictures"], size = found
            room -= size
            shown_labels = {row["label"] for row in found[0]["rows"]}
            context["no_samples"] = _left_out(section, context["best_first"], shown_labels, sheets)
        sheets.forget()
    whole = [(section, context) for section, context in places if context["pictures"] is None]
    for kind in ("sheet", "samples", "more_samples"):
        for section, context in whole:
            for label, trial in _trials(section, context["best_first"], kind):
                # Once it is full it stays so: what is shown is the first ones, and no choice.
                content = None if room <= 0 else read_sheet(trial, at_most=SHEET_BYTES)
                if content is not None:
                    address = uri(smaller(content))
                    size = len(address) + _WORDS
                    if size <= room:
                        context[kind].append({"label": label, "seed": trial.spec.get("seed"), "uri": address,
                                              "color": comparison.colors[label]})  # fmt: skip
                    room = room - size if size <= room else 0
    for section, context in whole:
        shown = sum(len(context[kind]) for kind in ("sheet", "samples", "more_samples"))
        held = sum((line.trial.directory / SAMPLES_FILE).is_file() for line in section.progress)
        if shown < held and room <= 0:
            context["no_samples"] = (
                f"The page has room for the samples of {shown} of {held} trials; those of the others are in their "
                "folders, which the table of trials names."
            )


def _left_out(section: Section, best_first: Sequence[int], shown: Collection[str], sheets: Sheets) -> str | None:
    """Which objectives have samples that are not side by side with the others, and why."""
    columns = [section.columns[index] for index in best_first if section.columns[index].label not in shown]
    held = [
        (column.label, column.done[0])
        for column in columns
        if column.done and (column.done[0].directory / SAMPLES_FILE).is_file()
    ]
    fit = [label for label, trial in held if sheets(label, trial) is not None]
    silent = [label for label, _ in held if label not in fit]
    said = []
    if fit:
        said.append(
            f"No room on the page for the samples of {', '.join(fit)}: they are in the folders of their trials."
        )
    if silent:
        said.append(
            f"Not shown: {', '.join(silent)}. Their samples, in the folders of their trials, are of no concept, or do "
            "not say which image is where."
        )
    return " ".join(said) or None


def _trials(section: Section, best_first: Sequence[int], kind: str) -> Iterator[tuple[str, TrialRecord]]:
    """The trials of a section that are shown there, with the label of their column."""
    firsts = [(column.label, trial) for index in best_first for column in (section.columns[index],)
              for trial in column.done[:1]]  # fmt: skip
    if kind == "more_samples":
        return ((column.label, trial) for column in section.columns for trial in column.done[1:])
    return iter(firsts[:1] if kind == "sheet" else firsts[1:])


def side_by_side(
    section: Section, best_first: Sequence[int], room: int, opened: Sheets | None = None
) -> tuple[dict[str, Any], int] | None:
    """The same queries for the first trial of every objective, below real images, and the bytes that it takes.

    As many images of each query as fit, at least one; where not even these fit, of fewer objectives, the best of them.
    None where no sheet says what is in it, or not even those of the best fit.
    """
    opened, sheets = opened or Sheets(), []
    for index in best_first:
        column = section.columns[index]
        for trial in column.done[:1]:
            if (sheet := opened(column.label, trial)) is not None:
                sheets.append(sheet)
    if not sheets:
        return None
    queries = list(dict.fromkeys(query for sheet in sheets for query in sheet.rows))
    for number in range(MOST_IMAGES, 0, -1):
        rows = [_real_row(sheets, queries, number), *(_row(sheet, queries, number) for sheet in sheets)]
        if sum(map(_size, rows)) <= room:
            break
    while (size := sum(map(_size, rows))) > room and len(rows) > 1:
        rows.pop()
    return ({"queries": queries, "rows": rows}, size) if len(rows) > 1 else None


def at_a_glance(
    section: Section, best_first: Sequence[int], number: int, sheets: Sheets
) -> tuple[str, list[dict[str, Any]]] | None:
    """The first image of each of the first queries of the best objective whose sheet says what is in it.

    Args:
        section: Whose samples.
        best_first: Its columns, the best first.
        number: Of queries, at most.
        sheets: Those that have been opened already.

    Returns:
        (label of the objective, images as they are beside the others); None where no sheet says what is in it.
    """
    for index in best_first:
        column = section.columns[index]
        for trial in column.done[:1]:
            if (sheet := sheets(column.label, trial)) is not None:
                cells = _row(sheet, list(sheet.rows), 1)["cells"]
                return column.label, [cell[0] for cell in cells if cell][:number]
    return None


def size_of(images: Iterable[Mapping[str, Any]]) -> int:
    """The bytes that images with their words take, about."""
    return sum(len(each["uri"]) + 40 * len(each["reading"]) + _WORDS // 2 for each in images)


def _size(row: Mapping[str, Any]) -> int:
    return sum(map(size_of, row["cells"]))


def _opened(label: str, trial: TrialRecord) -> _Sheet | None:
    """A sheet that says what is in it; None of one that does not, or whose text is not true of it."""
    content = read_sheet(trial, at_most=SHEET_BYTES)
    if content is None:
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as file:
            text = file.text.get(NOTE)  # type: ignore[attr-defined]
            if text is None:
                return None
            note = _NOTE.validate_json(text)
            picture = file.convert("RGB")
    except Exception:  # Whatever Pillow makes of a file that only begins as a PNG.
        return None
    width, height = note["size"]
    for row in note["rows"]:
        places = [*row["places"], *row["real"]]
        if len(row["read"]) != len(row["places"]) or any(
            x + width > picture.width or y + height > picture.height for x, y in places
        ):
            return None
    rows = {tuple(map(printable, row["query"])): row for row in note["rows"]}
    return _Sheet(label, trial, picture, rows, (width, height), note["scale"]) if rows else None


def _row(sheet: _Sheet, queries: Sequence[tuple[str, ...]], number: int) -> dict[str, Any]:
    """The images of one objective; a cell is empty where it cannot be asked a query."""
    cells = []
    for query in queries:
        row = sheet.rows.get(query)
        cell: list[dict[str, Any]] = []
        for place, read in zip(row["places"], row["read"], strict=True) if row else ():
            words = [(printable(word), wrong) for word, wrong in read]
            wrong = any(mistaken for _, mistaken in words)
            shown = words if len(words) <= MANY_READINGS else [pair for pair in words if pair[1]]
            alt = f"{sheet.label}: {', '.join(query)}"
            kind = "none" if not words else "wrong" if wrong else "right"
            cell.append({"uri": uri(sheet.image(place)), "alt": alt, "reading": shown, "kind": kind})
            if len(cell) == number:
                break
        cells.append(cell)
    return {"label": sheet.label, "note": f"seed {sheet.trial.spec.get('seed')}", "cells": cells}


def _real_row(sheets: Sequence[_Sheet], queries: Sequence[tuple[str, ...]], number: int) -> dict[str, Any]:
    """Real images of each query, from the first sheet that has it."""
    cells = []
    for query in queries:
        sheet = next(each for each in sheets if query in each.rows)
        cells.append([
            {"uri": uri(sheet.image(place)), "alt": f"real: {', '.join(query)}", "reading": [], "kind": "real"}
            for place in sheet.rows[query]["real"][:number]
        ])  # fmt: skip
    return {"label": REAL, "note": "", "cells": cells}
