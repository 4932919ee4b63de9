"""The files of Cora and Citeseer as they are handed on: pickles of Python 2, read without running any of them.

A pickle names the functions that rebuild what is in it. These files name six, and any other name is refused; of the six
none is called either: each stands for a record of what the file says, which is checked and made into an array here.

Shapes: N node, V word, K class, T test node, E link.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.files import DATA_VARIABLE, data_root
from ...base.printable import printable
from ...worlds.block_model import CitationGraph
from . import MissingSourceError, SourceError
from .user_files import read_file

PARTS = ("allx", "tx", "ally", "ty", "graph", "test.index")
"""Those that are needed of the eight; x and y are the beginning of allx and ally."""
FOLDERS = (".", "planetoid", "planetoid/data", "{name}", "{name}/raw", "Planetoid/{title}/raw", "{title}/raw")
"""Folders to look in under the data root: the clone of the repository, and the layouts of PyTorch Geometric."""
_TYPES = {f"{kind}{width}" for kind in "iu" for width in (1, 2, 4, 8)} | {"f4", "f8", "b1"}
_NAMELESS = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"}
"""Operations that fetch an object from outside the file without its name. What an extension code of copyreg stands for,
once looked up, pickle takes from a cache and does not ask find_class."""
_MOST_NODES = 10**6
_MOST_LINKS = 10**7
_MOST_WORDS = 2**62
"""That columns can be told in 64 bits, and that the number can be written: Python refuses to write one too long."""
_MOST_TUPLES = 1000
"""These files have a few dozen each. A key of very many, one within the other, would end the process when hashed."""


class _Record:
    """What a pickle says of an object: its arguments and its state. A pickle can also make one that is never called."""

    arguments: tuple[object, ...] = ()
    state: Any = None

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Matrix(_Record):
    """Stands for scipy's csr_matrix."""


class _Array(_Record):
    """Stands for what numpy's _reconstruct returns."""


class _DType(_Record):
    """Stands for numpy's dtype."""


class _Type:
    """Stands for numpy's ndarray and for list, which are arguments here and never called."""

    def __new__(cls, *arguments: object) -> _Type:
        raise pickle.UnpicklingError("a type that is an argument is called")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a type has no state")


class _Dict(dict[Any, Any]):
    """Stands for defaultdict, which copies what it is called with: a short file could ask for that many times."""

    def __init__(self, *arguments: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a dict has no state")


_ADMITTED: dict[tuple[str, str], type] = {
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Type,
    ("numpy", "dtype"): _DType,
    ("collections", "defaultdict"): _Dict,
    ("__builtin__", "list"): _Type,
}


class _Unpickler(pickle.Unpickler):
    """Knows six names, exactly as written."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of a graph needs")
        return _ADMITTED[module, name]


def unpickle(content: bytes) -> Any:
    """What a pickle of these files holds, with records in place of matrices and arrays.

    Raises:
        ValueError: if it is damaged, or names anything but the six.
    """
    try:
        num_tuples = 0
        for operation, number, _ in pickletools.genops(content):
            if operation.name in _NAMELESS:
                raise pickle.UnpicklingError(f"it asks for an object by {operation.name}, not by name")
            # A table of that length would be made at once.
            if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (number or 0) > len(content):
                raise pickle.UnpicklingError(f"it numbers an object {number:,}")
            num_tuples += "TUPLE" in operation.name or "FROZENSET" in operation.name
        if num_tuples > _MOST_TUPLES:
            raise pickle.UnpicklingError(f"it has {num_tuples:,} tuples, which no file of a graph needs")
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # A damaged pickle raises whatever its bytes happen to mean.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        refused = isinstance(error, pickle.UnpicklingError)
        damage = "cannot be read" if refused else "is damaged or cut short"
        raise ValueError(f"it {damage} ({printable(reason):.300})") from None


def array_of(record: object) -> NDArray[Any]:
    """The array that a record describes.

    Raises:
        ValueError: if it describes none of numbers, or not as many as its shape says.
    """
    if not isinstance(record, _Array) or not isinstance(record.state, tuple) or len(record.state) != 5:
        raise ValueError("an array is expected")
    _, shape, dtype, by_columns, content = record.state
    kind = dtype.arguments[0] if isinstance(dtype, _DType) and dtype.arguments else None
    state = dtype.state if isinstance(dtype, _DType) else None
    order: Any = state[1] if isinstance(state, tuple) and state[1:] else "|"
    if not isinstance(kind, str) or kind not in _TYPES or order not in ("<", ">", "=", "|"):
        # A list may be thousands deep, or have more parts than memory holds: only a short text can be written out.
        found = f", not of {kind!r}" if isinstance(kind, str) and len(kind) < 20 else ""
        raise ValueError(f"an array of numbers is expected{found}")
    if not isinstance(shape, tuple) or not all(type(side) is int and 0 <= side <= 2**40 for side in shape):
        raise ValueError("an array without a shape")
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(raw, bytes):
        raise ValueError("an array of numbers is expected, not of objects")
    flat = np.frombuffer(raw, np.dtype(kind).newbyteorder(order))
    return flat.reshape(shape, order="F" if by_columns else "C")


def rows_of(record: object) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]]:
    """The shape of a sparse matrix of 0 and 1, and the row and the column of each 1.

    Raises:
        ValueError: if it is not sound, or has other values.
    """
    state = record.state if isinstance(record, _Matrix) else None
    if not isinstance(state, dict):
        raise ValueError("a sparse matrix is expected")
    shape = state.get("_shape", state.get("shape"))
    values, columns, starts = (array_of(state.get(key)) for key in ("data", "indices", "indptr"))
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(side) is int for side in shape):
        raise ValueError("a sparse matrix without a shape")
    sound = (
        values.ndim == columns.ndim == starts.ndim == 1
        and columns.dtype.kind in "iu"
        and starts.dtype.kind in "iu"
        and len(values) == len(columns)
        and 0 <= shape[0] <= _MOST_NODES
        and 0 <= shape[1] <= _MOST_WORDS
        and len(starts) == shape[0] + 1
        and starts[0] == 0
        and starts[-1] == len(columns)
        and bool((np.diff(starts.astype(np.int64)) >= 0).all())
        and bool(((columns >= 0) & (columns < shape[1])).all())
    )
    if not sound:
        raise ValueError("a sparse matrix whose parts do not fit together")
    if not bool(np.isin(values, (0, 1)).all()):
        raise ValueError("words either occur or not: a value is neither 0 nor 1")
    counts = starts[1:].astype(np.int64) - starts[:-1].astype(np.int64)
    rows, there = np.repeat(np.arange(shape[0]), counts), values != 0
    return (shape[0], shape[1]), rows[there], columns[there].astype(np.int64)


class PlanetoidFiles:
    """The user's copy of the files of one graph.

    Args:
        name: ``cora`` or ``citeseer``.
        size: (N, V, K, E) that it must have.
        root: Folder to look in; by default the data root, ``$MMVAE_BENCH_DATA``.
    """

    def __init__(self, name: str, size: tuple[int, int, int, int], *, root: Path | None = None) -> None:
        self.name, self.size, self.root = name, size, root

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Each file, all from one folder; raises MissingSourceError if no folder has all of them."""
        root = data_root() if self.root is None else self.root
        folders = [root / each.format(name=self.name, title=_TITLES.get(self.name, self.name)) for each in FOLDERS]
        missing: dict[Path, list[str]] = {}
        for folder in folders:
            paths = {part: folder / f"ind.{self.name}.{part}" for part in PARTS}
            lacking = [path.name for path in paths.values() if not path.is_file()]
            if not lacking:
                return paths
            missing[folder] = lacking
        some = [folder for folder, lacking in missing.items() if len(lacking) < len(PARTS)]
        wanted = ", ".join(missing[some[0]] if some else [f"ind.{self.name}.{part}" for part in PARTS])
        looked = "".join(f"\n  {folder.resolve()}" for folder in some or folders)
        raise MissingSourceError(
            f"files of {self.name} are missing: {wanted}\nlooked in:{looked}\n"
            f"copy them to a folder and set {DATA_VARIABLE} to it, or use source=drawn, a stand-in that needs no file"
        )

    @cached_property
    def checksum(self) -> str:
        """sha256 of the contents of all files, in order."""
        digest = hashlib.sha256()
        for part in PARTS:
            digest.update(hashlib.sha256(self._content(part)).digest())
        return digest.hexdigest()

    def load(self) -> CitationGraph:
        """The graph: the nodes of training first, then those of testing in the order of their numbers.

        Numbers among those of testing that have no row, as 15 of Citeseer, are nodes without words and without class.
        Loops are left out, and a link that is listed from both ends counts once.

        Raises:
            SourceError: if a file is damaged or missing, or they do not fit together, or are not this graph's.
        """
        (num_known, num_words), rows, columns = self._read("allx", rows_of)
        self._require("allx", num_words == self.size[1], f"it has {num_words:,} words, expected {self.size[1]:,}")
        tested, test_rows, test_columns = self._read("tx", rows_of)
        known, others = self._read("ally", self._labels), self._read("ty", self._labels)
        numbers = self._test_numbers()
        wanted = (len(numbers), num_words)
        for_each = f"expected {wanted}: a row for each number in {self.paths['test.index'].name}"
        self._require("tx", tested == wanted, f"it has shape {tested}, {for_each}")
        for part, labels, num in (("ally", known, num_known), ("ty", others, len(numbers))):
            self._require(part, len(labels) == num, f"it has {len(labels)} rows, expected {num}")
        distinct = len(np.unique(numbers)) == len(numbers) and bool(len(numbers)) and numbers.min() == num_known
        self._require("test.index", bool(distinct), f"its numbers are not distinct, or do not go on from {num_known}")
        num_nodes = int(numbers.max()) + 1
        self._require("test.index", num_nodes <= _MOST_NODES, f"it names node {num_nodes - 1}")
        links = self._read("graph", lambda content: _links(content, num_nodes))
        found = (num_nodes, num_words, self.size[2], links.shape[1])
        if found != self.size:
            told = "{:,} nodes, {:,} words, {:,} classes and {:,} links"
            raise SourceError(
                f"{self.paths['graph'].parent}: {self.name} has {told.format(*self.size)}; these files hold "
                f"{told.format(*found)}"
            )
        words = np.zeros((num_nodes, num_words), bool)
        words[rows, columns] = True
        words[numbers[test_rows], test_columns] = True
        classes = np.full(num_nodes, -1, np.int64)
        classes[:num_known] = known
        classes[numbers] = others
        return CitationGraph(words, classes, links)

    def _labels(self, record: object) -> NDArray[np.int64]:
        """The class of each row of Int[N, K], with a single 1 or none: Long[N]."""
        table = array_of(record)
        if table.ndim != 2 or table.shape[1] != self.size[2] or table.dtype.kind not in "iuf":
            raise ValueError(f"it has shape {table.shape}, expected a column for each of {self.size[2]} classes")
        if not bool(np.isin(table, (0, 1)).all()) or bool((table.sum(1) > 1).any()):
            raise ValueError("a row is not of one class")
        return np.where(table.sum(1) == 1, table.argmax(1), -1).astype(np.int64)

    def _test_numbers(self) -> NDArray[np.int64]:
        lines = self._content("test.index").decode("latin1").split()
        self._require("test.index", all(line.isascii() and line.isdigit() and len(line) < 8 for line in lines),
                      "a line is not the number of a node")  # fmt: skip
        return np.array([int(line) for line in lines], np.int64)

    def _read(self, part: str, understand: Any) -> Any:
        try:
            return understand(unpickle(self._content(part)))
        except (ValueError, TypeError, RecursionError) as error:
            raise SourceError(f"{self.paths[part]}: {error}") from None

    def _content(self, part: str) -> bytes:
        try:
            return read_file(self.paths[part])
        except OSError as error:
            raise SourceError(f"{self.paths[part]}: it cannot be read ({error})") from None

    def _require(self, part: str, met: bool, otherwise: str) -> None:
        if not met:
            raise SourceError(f"{self.paths[part]}: {otherwise}")


_TITLES = {"cora": "Cora", "citeseer": "CiteSeer"}


def _links(neighbours: object, num_nodes: int) -> NDArray[np.int64]:
    """The pairs i < j of a dict from nodes to lists of their neighbours: Long[2, E], ordered."""
    if not isinstance(neighbours, dict):
        raise ValueError("a dict of neighbours is expected")
    pairs = []
    listed = sum(len(others) for others in neighbours.values() if isinstance(others, list))
    if listed > _MOST_LINKS:  # A list that a file holds once can be that of every node.
        raise ValueError(f"it lists {listed:,} neighbours")
    for node, others in neighbours.items():
        if not isinstance(others, list) or not all(type(each) is int for each in (node, *others)):
            raise ValueError("a node's neighbours are not numbers")
        if not all(0 <= each < num_nodes for each in (node, *others)):
            whose = f"node {node}" if 0 <= node < num_nodes else "a node without a row"
            raise ValueError(f"a link of {whose} leads out of the {num_nodes} nodes")
        pairs += [(min(node, other), max(node, other)) for other in others if other != node]
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2).T.copy()
