"""A small graph in the form of the files of Cora and Citeseer: pickles as Python 2 wrote them, with today's pickler."""

from __future__ import annotations

import io
import pickle
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

NAMES: dict[str, tuple[str, str]] = {
    "csr_matrix": ("scipy.sparse.csr", "csr_matrix"),
    "_reconstruct": ("numpy.core.multiarray", "_reconstruct"),
    "ndarray": ("numpy", "ndarray"),
    "dtype": ("numpy", "dtype"),
    "defaultdict": ("collections", "defaultdict"),
    "list": ("__builtin__", "list"),
}
"""What was called what."""
SIZE = (12, 5, 3, 14)
"""Nodes, words, classes and links of the graph below; node 10 has no row, node 11 is the last."""
NUM_KNOWN, TESTED = 8, (11, 9, 8)


class _Python2Pickler(pickle._Pickler):
    """Protocol 2, with the names of then, and bytes as strings."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, known = NAMES.get(getattr(obj, "__name__", ""), (obj.__module__, name or obj.__qualname__))
        self.write(pickle.GLOBAL + f"{module}\n{known}\n".encode())
        self.memoize(obj)

    def save_bytes(self, obj: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)

    def save_text(self, obj: str) -> None:
        self.save_bytes(obj.encode("latin1"))

    dispatch[type] = save_global
    dispatch[bytes] = save_bytes
    dispatch[str] = save_text


def dumped(value: object) -> bytes:
    """As Python 2 would have pickled it."""
    file = io.BytesIO()
    _Python2Pickler(file, 2).dump(value)
    return file.getvalue()


def words() -> NDArray[np.float32]:
    """Float[12, 5]; that of node 10 is nothing."""
    found = (np.random.default_rng(0).random((12, 5)) < 0.4).astype(np.float32)
    found[10] = 0
    return found


def classes() -> NDArray[np.int64]:
    """Long[12]; -1 of nodes 3 and 10."""
    found = np.arange(12) % 3
    found[[3, 10]] = -1
    return found


def links() -> set[tuple[int, int]]:
    """A ring of all but node 10, and three more."""
    ring = [*range(10), 11]
    return {(min(i, j), max(i, j)) for i, j in zip(ring, [*ring[1:], ring[0]], strict=True)} | {(0, 5), (2, 7), (4, 11)}


def objects() -> dict[str, Any]:
    """What is in each pickle."""
    table, one_hot = words(), np.zeros((12, 3), np.int32)
    known = classes() >= 0
    one_hot[np.arange(12)[known], classes()[known]] = 1
    neighbours: dict[int, list[int]] = defaultdict(list)
    for i, j in sorted(links()):
        neighbours[i].append(j)
        neighbours[j] += [i, i]  # Some links are listed more than once.
    neighbours[6].append(6)
    neighbours[10] = []
    tested = list(TESTED)
    return {
        "allx": csr_matrix(table[:NUM_KNOWN]),
        "tx": csr_matrix(table[tested]),
        "ally": one_hot[:NUM_KNOWN],
        "ty": one_hot[tested],
        "graph": neighbours,
    }


def write(folder: Path, *, name: str = "cora", **other: bytes) -> Path:
    """Writes the files; ``other`` replaces the content of some."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {part: dumped(value) for part, value in objects().items()}
    contents["test.index"] = "".join(f"{number}\n" for number in TESTED).encode()
    for part, content in (contents | {key.replace("_", "."): value for key, value in other.items()}).items():
        (folder / f"ind.{name}.{part}").write_bytes(content)
    return folder
