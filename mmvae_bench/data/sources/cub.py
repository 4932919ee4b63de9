"""The files of CUB-200-2011: photographs of birds, 312 attributes of each, the official split and the segmentations.

``images.txt`` (number, file), ``train_test_split.txt`` (number, whether it is for training), ``attributes.txt``
(number, ``group::value``), ``attributes/image_attribute_labels.txt`` (image, attribute, whether it is present,
certainty, seconds; a few rows have more cells), ``images/`` and ``segmentations/``, which are distributed apart.

Shapes: N photograph, A attribute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...base.files import DATA_VARIABLE
from ...base.heartbeat import beat
from ...base.printable import printable
from ...specs.built_in.photographs import CUB_NAMES
from . import MissingSourceError, SourceError
from .annotated import Annotated, check_there, first_with, mask_name, nothing_found, read_lines, safe_name

FOLDERS = ("CUB_200_2011", "cub/CUB_200_2011", "cub", ".")
"""Folders to look in under the data root."""
LIST, SPLIT = "images.txt", "train_test_split.txt"
NAMES, LABELS = "attributes.txt", "attributes/image_attribute_labels.txt"
IMAGES, MASKS = "images", "segmentations"
NUM_IMAGES = 11_788
"""As it is distributed."""
VALIDATES = 10
"""Of the training images, in the order of their list, each tenth validates."""
MOST_BYTES = 2**28
"""The largest text file: the labels have about 100 MB."""
MOST_IMAGES = 20_000
_EVERY = 200_000
"""Rows between two signs of life."""


def find_cub(root: Path) -> Annotated:
    """The photographs with their attributes, parts and masks.

    Raises:
        SourceError: if files are missing, not whole, or contradict each other.
    """
    folders = [root / each for each in FOLDERS]
    folder = first_with(folders, LIST)
    if folder is None:
        raise _nothing(folders)
    numbers, files = read_images(_lines(folder, LIST), folder / LIST)
    training = read_split(_lines(folder, SPLIT), folder / SPLIT, numbers)
    names = first_with([folder / "attributes", folder, folder.parent], NAMES)
    if names is None:
        raise MissingSourceError(f"{folder}: no attributes/{NAMES}, which names the attributes")
    check_names(_lines(names, NAMES), names / NAMES)
    check_there(folder / IMAGES, files, what="photographs")
    place = first_with([folder, folder.parent], MASKS)
    if place is None:
        raise MissingSourceError(
            f"{folder}: no folder {MASKS}: birds are cut out around their masks; unpack the segmentations, which are "
            f"distributed apart from the photographs, so that there is {folder / MASKS / Path(files[0]).parent}"
        )
    check_there(place / MASKS, [mask_name(file) for file in files], what="masks")
    concepts = read_labels(_lines(folder, LABELS), folder / LABELS, numbers)
    order = np.cumsum(training) % VALIDATES
    part = np.where(training, np.where(order == 0, 1, 0), 2).astype(np.uint8)
    return Annotated(
        folder=folder / IMAGES,
        names=tuple(files),
        masks=place / MASKS,
        concepts=concepts,
        part=part,
        about={"found_in": str(folder), "complete": len(files) == NUM_IMAGES},
    )


def read_images(lines: list[str], path: Path) -> tuple[np.ndarray, list[str]]:
    """Long[N], the number of each image, ascending, and its file under ``images``, which may have spaces.

    Raises:
        SourceError: if a line is no number and file, a number or file occurs twice, or a file lies elsewhere.
    """
    found: dict[int, str] = {}
    for place, line in enumerate(lines, 1):
        number, space, file = line.strip().partition(" ")
        if not line.strip():
            continue
        if not space or not _is_number(number) or not safe_name(file):
            raise SourceError(
                f"{path}: line {place} is '{printable(line[:120])}', expected a number and a file in {IMAGES}"
            )
        if int(number) in found:
            raise SourceError(f"{path}: line {place}: image {number} occurs twice")
        found[int(number)] = file
    if not found or len(found) > MOST_IMAGES or len(set(found.values())) < len(found):
        raise SourceError(
            f"{path}: {len(found):,} images of {len(set(found.values())):,} files, expected {NUM_IMAGES:,}"
        )
    numbers = sorted(found)
    return np.array(numbers, np.int64), [found[number] for number in numbers]


def read_split(lines: list[str], path: Path, numbers: np.ndarray) -> np.ndarray:
    """Bool[N], whether each image is for training.

    Raises:
        SourceError: if a line is no number and 0 or 1, or the images are not those of ``images.txt``.
    """
    found = {}
    for place, line in enumerate(lines, 1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 2 or not _is_number(cells[0]) or cells[1] not in ("0", "1"):
            raise SourceError(
                f"{path}: line {place} is '{printable(line[:120])}', expected an image's number and 0 or 1"
            )
        found[int(cells[0])] = cells[1] == "1"
    if sorted(found) != numbers.tolist():
        first = min(set(found) ^ set(numbers.tolist()))
        raise SourceError(f"{path}: not the images of {LIST}: they differ first in image {first}")
    training = np.array([found[number] for number in numbers.tolist()])
    if training.all() or training.sum() < VALIDATES:
        raise SourceError(f"{path}: {int(training.sum()):,} of {len(training):,} images are for training")
    return training


def check_names(lines: list[str], path: Path) -> None:
    """Raises SourceError unless the attributes are CUB's, in its order."""
    found = [line.strip() for line in lines if line.strip()]
    for place, name in enumerate(CUB_NAMES):
        if place >= len(found) or found[place].split(maxsplit=1)[1:] != [name]:
            given = printable(found[place]) if place < len(found) else "missing"
            raise SourceError(f"{path}: line {place + 1} is '{given}', expected '{place + 1} {name}'")
    if len(found) != len(CUB_NAMES):
        raise SourceError(f"{path}: {len(found):,} attributes, expected {len(CUB_NAMES)}")


def read_labels(lines: list[str], path: Path, numbers: np.ndarray) -> np.ndarray:
    """Byte[N, A], 1 where an attribute is present.

    Raises:
        SourceError: if a line is no label, or not every image has one of each attribute.
    """
    rows = {number: row for row, number in enumerate(map(str, numbers.tolist()))}
    columns = {str(place + 1): place for place in range(len(CUB_NAMES))}
    found = np.full((len(numbers), len(CUB_NAMES)), 255, np.uint8)
    for place, line in enumerate(lines, 1):
        if place % _EVERY == 0:
            beat()
        cells = line.split(None, 3)
        if not cells:
            continue
        row, column = (rows.get(cells[0]), columns.get(cells[1])) if len(cells) >= 3 else (None, None)
        if row is None or column is None or cells[2] not in ("0", "1"):
            raise SourceError(
                f"{path}: line {place} is '{printable(line[:80])}', expected the number of an image of {LIST}, an "
                f"attribute from 1 to {len(CUB_NAMES)}, and 0 or 1"
            )
        if found[row, column] != 255:
            raise SourceError(f"{path}: line {place}: image {cells[0]} has attribute {cells[1]} twice")
        found[row, column] = int(cells[2])
    lacking = np.argwhere(found == 255)
    if len(lacking):
        row, column = lacking[0]
        raise SourceError(
            f"{path}: {len(lacking):,} labels are missing, the first: image {numbers[row]} has none of attribute "
            f"{column + 1} ({CUB_NAMES[column]}): copy or unpack the file again"
        )
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _lines(folder: Path, name: str) -> list[str]:
    if not (folder / name).exists():
        raise MissingSourceError(f"{folder}: no {name}: it is part of CUB_200_2011.tgz")
    return read_lines(folder / name, at_most=MOST_BYTES, most_lines=MOST_IMAGES * len(CUB_NAMES))


def _nothing(folders: list[Path]) -> MissingSourceError:
    return nothing_found(
        "birds of CUB-200-2011",
        folders,
        [
            f"{LIST}, {SPLIT}, attributes/{NAMES}, {LABELS} and {IMAGES}/..., as CUB_200_2011.tgz has them",
            "  (md5 97eceeb196236b17998738112f37df78)",
            f"{MASKS}/..., there or beside it, as segmentations.tgz has them",
        ],
        f"what to do: set {DATA_VARIABLE} to the folder that holds CUB_200_2011/. Its authors distribute it for "
        "non-commercial\n  research.",
    )
