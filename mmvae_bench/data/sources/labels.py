"""Attributes as people store them: whichever form of yes and no a column has, or the first value that is neither.

Booleans, 0 and 1, -1 and 1, and the same as text are read; numbers of classes by the names of the classes. A missing
value is not a no.

Shapes: N image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from . import SourceError

WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
UNDERSTOOD = "true or false, yes or no, 1 or 0, 1 or -1"
MISSING = ("", "nan", "none", "null", "na", "n/a")


def presence(column: pa.ChunkedArray, *, file: Path, name: str, classes: Sequence[str] | None = None) -> np.ndarray:
    """Byte[N]: 1 where an attribute is present.

    Args:
        column: Its values.
        file: Where they are from, for the error.
        name: The attribute's name, for the error.
        classes: The names of the values, if they are numbers of classes.

    Raises:
        SourceError: with file, column, row and value of the first that is missing or no form of yes or no; also for a 0
            in a column that has -1, since it may stand for either.

    >>> presence(pa.chunked_array([["-1", "1", "-1"]]), file=Path("list.csv"), name="Bald").tolist()
    [0, 1, 0]
    """
    values, which = distinct(column, file=file, name=name)
    numbers = [_number(value, classes) for value in values]
    allowed = (-1.0, 1.0) if -1.0 in numbers else (0.0, 1.0)
    wrong = [place for place, number in enumerate(numbers) if number not in allowed]
    if wrong:
        row = int(np.isin(which, wrong).argmax())
        why = "next to -1 it may mean either" if numbers[which[row]] == 0 else f"expected {UNDERSTOOD}"
        raise bad_value(values[which[row]], file=file, name=name, row=row, why=why)
    present: np.ndarray = np.array([number == 1.0 for number in numbers], np.uint8)[which]
    return present


def distinct(column: pa.ChunkedArray, *, file: Path, name: str) -> tuple[list[Any], np.ndarray]:
    """The distinct values of a column, and which of them each row has: Long[N].

    Raises:
        SourceError: if the values are not numbers, booleans or text, or the column is damaged.
    """
    try:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise SourceError(f"{file}: column {name} has values of type {kind}, expected {UNDERSTOOD}")
        encoded = column.cast(kind).combine_chunks().dictionary_encode(null_encoding="encode")
        values: list[Any] = encoded.dictionary.to_pylist()
        return values, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    except (pa.ArrowException, ValueError, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: column {name} cannot be read ({error})") from error


def bad_value(value: Any, *, file: Path, name: str, row: int, why: str) -> SourceError:
    """The error about one value. A missing one is said to be missing."""
    why = "missing" if value is None or str(value).strip().casefold() in MISSING else why
    return SourceError(f"{file}: column {name}, row {row} (the first is 0): {value!r}: {why}")


def _number(value: Any, classes: Sequence[str] | None) -> float | None:
    """1 for yes, 0 or -1 for no, as the value says; None if it says neither."""
    if classes is not None:
        if not isinstance(value, int) or not 0 <= value < len(classes):
            return None
        value = classes[value]
    text = str(value).strip().casefold()
    if text in WORDS:
        return WORDS[text]
    try:
        return float(text)
    except ValueError:
        return None
