"""Attributes from a table: a column for each, a row for each image. Imports no torch.

Every cell becomes the text of a value: true and false are yes and no, a whole number loses its ``.0``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, Location, Problem, nearest, unknown
from ..base.files import DamagedFile, read_bytes
from ..base.printable import printable
from .concepts import Attribute, Schema

MOST_VALUES = 200
"""Of one attribute, and at most half as many as rows. What has more is a quantity, or a name."""
MOST_TABLE = 2**30
"""The largest table, in bytes."""
Columns = Mapping[str, Sequence[str]]
"""By attribute the text of its value in each row."""


Row = Callable[[int], str]
"""What a row is called where something is wrong with it, by its number, which is counted from 0."""


def numbered(row: int) -> str:
    """A row of what has no lines: arrays, data frames, Parquet files."""
    return f"row {row} (the first is 0)"


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        columns: By name the cells of every row.
        name: The file's.
        lines: The line of the file on which each row begins, the first being 1; None where it has no lines.
    """

    columns: dict[str, list[str]]
    name: str
    lines: Sequence[int] | None = None

    def row(self, row: int) -> str:
        """A row as people find it: by the line of a CSV file, whose first is the header."""
        return numbered(row) if self.lines is None else f"line {self.lines[row]} of {self.name}"


def read_table(path: Path) -> Table:
    """A CSV file with a header, or a Parquet file, as text.

    Raises:
        ConfigError: if there is no such file, or it is not such a table.
    """
    if not path.is_file():
        raise ConfigError([Problem("no such file", ("table",), printable(str(path)))])
    path = path.resolve()  # A link is the user's own business here.
    return _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)


def texts(values: Iterable[Any], *, location: Location, row: Row = numbered) -> list[str]:
    """The values of a column as text.

    Args:
        values: Of a column.
        location: The column, for the error.
        row: What a row is called, for the error.

    Raises:
        ConfigError: if one is missing (None, nan, an empty text), naming its row.
    """
    found = []
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ConfigError([Problem("expected a sequence with a value for each image", location, repr(values))])
    for number, value in enumerate(values):
        if getattr(value, "ndim", 0):
            raise ConfigError([Problem(f"{row(number)} has more than one value", location, repr(value))])
        text = _text(value)
        if not text:
            raise ConfigError([Problem(f"{row(number)} has no value: every image needs one", location, repr(value))])
        found.append(text)
    return found


def infer_schema(columns: Columns) -> Schema:
    """The attributes of some columns: the values that occur, numbers in their order, other texts by the alphabet.

    Raises:
        ConfigError: with every column that is no attribute: a single value, too many, or characters that a concept
            cannot be written with.

    >>> infer_schema({"size": ["10", "9", "10"], "wet": ["yes", "no", "no"]}).to_dict()
    {'size': ['9', '10'], 'wet': ['no', 'yes']}
    """
    attributes, problems = [], []
    if not columns:
        raise ConfigError([Problem("there is no attribute", ("concepts",))])
    for name, values in columns.items():
        # By the text first: numbers that are equal, 1 and 1.0, are in the same order everywhere.
        distinct = sorted(sorted(set(values)), key=_order(values))
        where, shown = ("concepts", name), f"{len(distinct):,} distinct values in {len(values):,} rows"
        most = min(MOST_VALUES, max(2, len(values) // 2))
        if len(distinct) > most:
            message = f"at most {most} values are possible: divide a quantity into classes, or leave it out"
            problems.append(Problem(message, where, shown))
        elif len(distinct) < 2:
            problems.append(Problem("an attribute needs at least two values: leave it out", where, repr(distinct)))
        else:
            try:
                attributes.append(Attribute(name, tuple(distinct)))
            except ValueError as error:
                problems.append(Problem(str(error), where))
    if problems:
        raise ConfigError(problems)
    return Schema(tuple(attributes))


def schema_of(given: Schema | Mapping[str, Sequence[Any]]) -> Schema:
    """A schema from the values of each attribute.

    Raises:
        ConfigError: if it is none.
    """
    if isinstance(given, Schema):
        return given
    try:
        parts = [Attribute(str(name), tuple(map(_text, values))) for name, values in given.items()]
        return Schema(tuple(parts))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError([Problem(str(error), ("schema",))]) from None


def indices_of(columns: Columns, schema: Schema, *, row: Row = numbered) -> list[list[int]]:
    """The value indices of every row, attribute by attribute in the order of the schema: [A][N].

    Args:
        columns: The attributes' values.
        schema: The values that there are.
        row: What a row is called, for the error.

    Raises:
        ConfigError: with every attribute that is missing or unknown, and the first value of each that the schema lacks.
    """
    problems = [Problem("required column is missing", ("concepts", name), choices=tuple(columns),
                        near=nearest(name, columns)) for name in schema.names if name not in columns]  # fmt: skip
    problems += [
        unknown("attribute", name, schema.names, ("concepts",)) for name in columns if name not in schema.names
    ]
    found = []
    for attribute in schema.attributes:
        place = {value: index for index, value in enumerate(attribute.values)}
        column = columns.get(attribute.name, ())
        indices = [place.get(value, -1) for value in column]
        if -1 in indices:
            first = indices.index(-1)
            kind = f"value of {attribute.name} in {row(first)}:"
            problems.append(unknown(kind, printable(column[first]), attribute.values, ("concepts", attribute.name)))
        found.append(indices)
    if problems:
        raise ConfigError(problems)
    return found


def _text(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    text = "" if value is None else str(value).strip()
    return "" if text in ("<NA>", "NaT") else text


def _order(values: Iterable[str]) -> Any:
    try:
        ordered = not any(math.isnan(float(value)) for value in values)
    except ValueError:
        return str
    return float if ordered else str


def _csv_text(path: Path) -> str:
    where = ("table",)
    try:
        content = read_bytes(path, at_most=MOST_TABLE)
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{path.name}:{line}: not UTF-8 text: save the table as UTF-8"
        raise ConfigError([Problem(message, where, printable(repr(content[error.start : error.start + 1])))]) from None
    except (OSError, DamagedFile) as error:
        raise ConfigError([Problem(f"{path.name} cannot be read: {error}", where)]) from None


def _read_csv(path: Path) -> Table:
    rows = csv.reader(io.StringIO(_csv_text(path), newline=""))
    lines = []
    try:
        head = [name.strip() for name in next(rows, [])]
        if not head or len(set(head)) != len(head) or not all(head):
            message = "the first line of a table names its columns, each once"
            raise ConfigError([Problem(message, ("table",), printable(", ".join(head)))])
        if len(head) == 1 and (found := [mark for mark in ";\t|" if mark in head[0]]):
            message = (
                f"{path.name}:1: cells are separated by {found[0]!r}, and a CSV file needs commas: save it with them"
            )
            raise ConfigError([Problem(message, ("table",), printable(head[0]))])
        columns: list[list[str]] = [[] for _ in head]
        last = rows.line_num  # A cell in quotes may go over several lines.
        for row in rows:
            if row:
                lines.append(last + 1)
            last = rows.line_num
            if row and len(row) != len(head):
                message = f"{path.name}:{rows.line_num}: {len(row)} cells under {len(head)} columns"
                raise ConfigError([Problem(message, ("table",))])
            for column, cell in zip(columns, row, strict=False):
                column.append(cell.strip())
    except csv.Error as error:
        raise ConfigError([Problem(f"{path.name}:{rows.line_num}: {error}", ("table",))]) from None
    return Table(dict(zip(head, columns, strict=True)), printable(path.name), lines)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError([Problem(f"{path.name} cannot be read: {error}", ("table",))]) from None
    columns = {str(name): [_text(value) for value in table[name].to_pylist()] for name in table.column_names}
    return Table(columns, printable(path.name))
