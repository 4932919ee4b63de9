"""LFW's files: photographs by person, the people of View 1, and the scores of 73 attributes.

``lfw-deepfunneled/NAME/NAME_0001.jpg``; ``peopleDevTrain.txt`` and ``peopleDevTest.txt``, whose people are disjoint (a
number of people, then NAME, tab, number of images); ``lfw_attributes.txt`` (a comment, the names of the columns, then a
person's name with spaces, the number of the image and 73 scores, with tabs between); ``masks/NAME/NAME_0001.png``, the
user's own, white where the person is.

Shapes: N photograph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...base.files import DATA_VARIABLE
from ...base.printable import printable
from ...specs.built_in.photographs import LFW_NAMES
from . import MissingSourceError, SourceError
from .annotated import Annotated, check_there, first_with, nothing_found, read_lines, safe_name

IMAGES, MASKS, SCORES = "lfw-deepfunneled", "masks", "lfw_attributes.txt"
PEOPLE = ("peopleDevTrain.txt", "peopleDevTest.txt")
FOLDERS = ("lfw", ".", "lfw-py")
"""Folders to look in under the data root; the last is torchvision's."""
MD5: Mapping[str, str] = {
    PEOPLE[0]: "54eaac34beb6d042ed3a7d883e247a21",
    PEOPLE[1]: "e4bf5be0a43b5dcd9dc5ccfcb8fb19c5",
    SCORES: "a68c039ac854fd966fe4bdc36674b98f",
}
"""Of the files as they are distributed."""
MOST_BYTES = 64 * 2**20
"""The largest text file: the scores have about 15 MB."""
MOST_IMAGES = 100_000
"""In all lists together: LFW has 13,233."""
TRAINED = 0.9
"""The share of the training images of View 1 that is trained on, in the order of its list; the others validate."""
Key = tuple[str, int]
"""A person with underscores, and the number of the image."""


def find_lfw(root: Path, *, masked: bool, md5: Mapping[str, str] | None = None) -> Annotated:
    """The photographs of View 1 that have scores; with ``masked`` only those that have a mask.

    Args:
        root: The data root.
        masked: Whether masks are used.
        md5: Of the text files; None: :data:`MD5`.

    Raises:
        SourceError: if files are missing, damaged or not the official ones.
    """
    folders = [root / each for each in FOLDERS]
    folder = first_with(folders, IMAGES)
    if folder is None:
        raise _nothing(folders)
    places = {name: first_with([folder, *folders], name) for name in (*PEOPLE, SCORES)}
    if lacking := [f"{name} (md5 {MD5[name]})" for name, place in places.items() if place is None]:
        raise MissingSourceError(f"{folder}: no {', no '.join(lacking)}: put it beside {IMAGES}")
    texts = {
        name: read_lines(place / name, at_most=MOST_BYTES, most_lines=MOST_IMAGES, md5=(md5 or MD5)[name])
        for name, place in places.items()
        if place is not None
    }
    people = [read_people(texts[name], Path(name)) for name in PEOPLE]
    if twice := {name for name, _ in people[0]} & {name for name, _ in people[1]}:
        raise SourceError(f"{PEOPLE[0]} and {PEOPLE[1]} share {len(twice):,} people, the first: {sorted(twice)[0]}")
    scores = read_scores(texts[SCORES], Path(SCORES))
    images = folder / IMAGES / IMAGES if (folder / IMAGES / IMAGES).is_dir() else folder / IMAGES
    keys = [[each for each in one if each in scores] for one in people]
    without = sum(map(len, people)) - sum(map(len, keys))
    unmasked = 0
    if masked:
        if not (folder / MASKS).is_dir():
            raise MissingSourceError(
                f"{folder}: no folder {MASKS}, which masked: true asks for: put {MASKS}/NAME/NAME_0001.png there, of "
                "the photograph's size and white where the person is, for all photographs or for some; or set masked: "
                "false"
            )
        kept = [[each for each in one if (folder / MASKS / f"{file_of(each)}.png").is_file()] for one in keys]
        unmasked = sum(map(len, keys)) - sum(map(len, kept))
        keys = kept
    if not all(keys):
        empty = PEOPLE[[bool(one) for one in keys].index(False)]
        raise SourceError(f"{folder}: no photograph of {empty} has scores{' and a mask' if masked else ''}")
    every = [*keys[0], *keys[1]]
    names = tuple(f"{file_of(each)}.jpg" for each in every)
    check_there(images, names, what="photographs")
    values = np.array([scores[each] for each in every], np.float32)
    trained = num_trained(len(keys[0]))
    part = np.repeat(np.array([0, 1, 2], np.uint8), [trained, len(keys[0]) - trained, len(keys[1])])
    return Annotated(
        folder=images,
        names=names,
        masks=folder / MASKS if masked else None,
        # Of the scores as they are kept: one that is too small for float32 is 0.
        concepts=(values > 0).astype(np.uint8),
        part=part,
        scores=values,
        about={
            "found_in": str(folder), "people": len({name for name, _ in every}), "without_scores": without,
            "without_mask": unmasked if masked else None,
        },
    )  # fmt: skip


def num_trained(number: int) -> int:
    """Of so many photographs of people for development, the first ones that are trained on; the rest validate."""
    return math.floor(TRAINED * number)


def file_of(key: Key) -> str:
    """
    >>> file_of(("Aaron_Eckhart", 1))
    'Aaron_Eckhart/Aaron_Eckhart_0001'
    """
    name, number = key
    return f"{name}/{name}_{number:04d}"


def read_people(lines: list[str], path: Path) -> list[Key]:
    """Every image of the people of a list, in its order.

    Raises:
        SourceError: if it is no such list, or not whole.
    """
    head = lines[0].strip() if lines else ""
    rows = [line for line in lines[1:] if line.strip()]
    if not head.isdecimal() or int(head[:9]) != len(rows):
        raise SourceError(f"{path}: its first line says '{printable(head[:80])}' people, and {len(rows):,} follow")
    found: dict[Key, None] = {}
    for place, line in enumerate(rows, 2):
        name, tab, number = line.rstrip().partition("\t")
        if not tab or not number.isdecimal() or len(number) > 4 or not int(number) or not _plain(name):
            raise SourceError(f"{path}: line {place} is '{printable(line[:120])}', expected NAME, a tab and a number")
        found |= dict.fromkeys((name, image) for image in range(1, int(number) + 1))
        if len(found) > MOST_IMAGES:
            raise SourceError(f"{path}: more than {MOST_IMAGES:,} images up to line {place}")
    if len({name for name, _ in found}) != len(rows):
        raise SourceError(f"{path}: a person occurs twice")
    return list(found)


def read_scores(lines: list[str], path: Path) -> dict[Key, list[float]]:
    """The 73 scores of each image, in the order of the schema.

    Raises:
        SourceError: if a column is missing or unknown, or a row has too few cells or another image's name.
    """
    start = next((place for place, line in enumerate(lines[:5]) if "\timagenum\t" in line.casefold()), None)
    if start is None:
        raise SourceError(f"{path}: none of its first lines names the columns person and imagenum")
    head = [cell.strip() for cell in lines[start].lstrip("#").split("\t") if cell.strip()]
    columns = {_letters(name): place for place, name in enumerate(head)}
    lacking = [name for name in LFW_NAMES if _letters(name) not in columns]
    if lacking or len(head) != len(LFW_NAMES) + 2:
        raise SourceError(
            f"{path}: expected person, imagenum and {len(LFW_NAMES)} attributes, found {len(head)} columns"
            + (f", without {', '.join(lacking[:5])}" if lacking else "")
        )
    order = [columns[_letters(name)] for name in LFW_NAMES]
    found: dict[Key, list[float]] = {}
    for place, line in enumerate(lines[start + 1 :], start + 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        person = printable(cells[0][:80])
        if len(cells) != len(head):
            raise SourceError(
                f"{path}: line {place} ({person}) has {len(cells)} cells, expected {len(head)}: a name, a number and "
                f"{len(LFW_NAMES)} scores"
            )
        try:
            key = (cells[0].strip().replace(" ", "_"), int(cells[1]))
            scores = [float(cells[column]) for column in order]
        except ValueError as error:
            raise SourceError(f"{path}: line {place} ({person}): {printable(str(error))}") from None
        if not all(abs(score) < 1e6 for score in scores):
            raise SourceError(
                f"{path}: line {place} ({person}): a score is not a number between -1,000,000 and 1,000,000"
            )
        if key in found:
            raise SourceError(f"{path}: line {place} ({person}): image {key[1]} occurs twice")
        found[key] = scores
    return found


def _plain(name: str) -> bool:
    return safe_name(name) and "/" not in name and name != "."


def _letters(name: str) -> str:
    """Without what copies of the file write in different ways, such as an apostrophe."""
    return "".join(each for each in name.casefold() if each.isalnum())


def _nothing(folders: list[Path]) -> MissingSourceError:
    return nothing_found(
        "photographs of LFW",
        folders,
        [
            f"{IMAGES}/NAME/NAME_0001.jpg ..., the images aligned by deep funneling, 250x250",
            *(f"{name}, md5 {MD5[name]}" for name in MD5),
            f"{MASKS}/NAME/NAME_0001.png, of your own, for masked: true",
        ],
        f"what to do: set {DATA_VARIABLE} to the folder that holds lfw/. {IMAGES} and the lists of View 1 are "
        "distributed\n  with LFW, the scores by the Columbia Vision Laboratory.",
    )
