"""The reader of Cora's and Citeseer's files: what it finds, and what it refuses to run or to believe."""

from __future__ import annotations

import copyreg
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mmvae_bench.data.graphs import GraphDataModule
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.planetoid import PARTS, PlanetoidFiles, unpickle
from mmvae_bench.specs.components import datasets

from .planetoid_copy import NAMES, SIZE, TESTED, classes, dumped, links, objects, words, write

PICKLES = ("allx", "tx", "ally", "ty", "graph")


def read(folder: Path) -> Any:
    return PlanetoidFiles("cora", SIZE, root=folder).load()


def test_the_graph_is_that_of_the_files(tmp_path: Path) -> None:
    """Rows of testing go where their numbers say; node 10 has none; loops and repeated links do not count."""
    graph = read(write(tmp_path))
    assert np.array_equal(graph.words, words().astype(bool))
    assert graph.labels.tolist() == classes().tolist()
    assert graph.labels[10] == -1
    assert not graph.words[10].any()
    assert [tuple(pair) for pair in graph.links.T] == sorted(links())


@pytest.mark.parametrize("folder", [".", "planetoid", "planetoid/data", "cora", "cora/raw", "Planetoid/Cora/raw"])
def test_files_are_found_where_users_have_them(folder: str, tmp_path: Path) -> None:
    write(tmp_path / folder)
    assert len(read(tmp_path).labels) == 12


def test_missing_files_are_named_and_another_folder_is_not_mixed_in(tmp_path: Path) -> None:
    with pytest.raises(MissingSourceError, match=r"(?s)missing: ind.cora.allx, ind.cora.tx.*use source=drawn") as none:
        read(tmp_path)
    assert str(tmp_path / "planetoid") in str(none.value)
    write(tmp_path / "planetoid")
    (tmp_path / "planetoid" / "ind.cora.ty").rename(tmp_path / "ind.cora.ty")
    with pytest.raises(MissingSourceError) as some:
        read(tmp_path)
    assert "missing" in str(some.value)
    # x and y are the beginning of allx and ally: nobody needs them.
    (tmp_path / "ind.cora.ty").rename(tmp_path / "planetoid" / "ind.cora.ty")
    assert not (tmp_path / "planetoid" / "ind.cora.x").exists()
    read(tmp_path)


class Trap:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.function, self.arguments


def stacked(module: str, name: str, argument: bytes = b"") -> bytes:
    """Protocol 4: a name from the stack, with dots in it where it has any, called with a text."""

    def text(value: bytes) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value

    call = text(argument) + pickle.TUPLE1 + pickle.REDUCE
    return b"\x80\x04" + text(module.encode()) + text(name.encode()) + pickle.STACK_GLOBAL + call + b"."


def called(module: str, name: str, arguments: str) -> bytes:
    """Protocol 0, as a person writes it."""
    return f"c{module}\n{name}\n({arguments}tR.".encode()


def hostile(marker: Path) -> dict[str, bytes]:
    touch, path = f"touch {marker}", str(marker)
    command = f"V{touch}\n"
    return {
        "os.system": pickle.dumps(Trap(os.system, touch), 2),
        "os.system, protocol 0": pickle.dumps(Trap(os.system, touch), 0),
        "os.system, protocol 4": pickle.dumps(Trap(os.system, touch), 4),
        "os.system, protocol 5": pickle.dumps(Trap(os.system, touch), 5),
        "os.system in the place of a neighbour": dumped({0: [Trap(os.system, touch)]}),
        "numpy.load": called("numpy", "load", f"V{path}\n"),
        "numpy's loadtxt, by protocol 4": stacked("numpy", "lib.npyio.os.system", touch.encode()),
        "getattr": called("__builtin__", "getattr", "c__builtin__\nlist\nV__class__\n"),
        "builtins.getattr": called("builtins", "getattr", "cos\nV system\n"),
        "eval": called("__builtin__", "eval", f"V__import__('os').system('{touch}')\n"),
        "a name with dots of an admitted one": stacked("collections", "defaultdict.__class__", touch.encode()),
        "a module reached through an admitted one": stacked("collections", "abc.sys.modules", touch.encode()),
        "dots in the module": stacked("__builtin__.list", "__class__", touch.encode()),
        "subprocess": called("subprocess", "check_output", f"(V{touch}\nl"),
        "posix": called("posix", "system", command),
        "numpy's scalar": called("numpy.core.multiarray", "scalar", ""),
        "scipy's own module of today": called("scipy.sparse._csr", "csr_matrix", ""),
        "codecs": called("_codecs", "encode", command + "Vlatin1\n"),
        "copyreg": called("copyreg", "_reconstructor", ""),
        "a persistent name": b"Pos.system\n.",
        "an extension code": b"\x80\x02\x82\x01.",
        "an instance of protocol 0": f"(V{touch}\nios\nsystem\n.".encode(),
        "an object of protocol 1": f"(cos\nsystem\nV{touch}\no.".encode(),
    }


@pytest.mark.parametrize("part", ["graph", "allx"])
@pytest.mark.parametrize("kind", hostile(Path("marker")))
def test_a_pickle_that_asks_for_anything_else_is_refused_and_runs_nothing(kind: str, part: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = hostile(marker)[kind]
    folder = write(tmp_path / "files", **{part: content})
    with pytest.raises(SourceError, match=rf"ind.cora.{part}: ") as refused:
        read(folder)
    assert "\n" not in str(refused.value)
    assert not marker.exists()


def test_what_would_run_does_run_when_it_is_loaded_otherwise(tmp_path: Path) -> None:
    """The traps of the test above are traps."""
    for kind in ("os.system", "os.system, protocol 4", "posix", "an instance of protocol 0", "an object of protocol 1"):
        marker = tmp_path / kind.replace(" ", "")
        pickle.loads(hostile(marker)[kind])
        assert marker.exists(), kind


def test_exactly_six_names_are_admitted(tmp_path: Path) -> None:
    asked: set[tuple[str, str]] = set()
    for part, value in objects().items():
        content = dumped(value)
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "GLOBAL":
                asked.add(tuple(argument.split(" ")))  # type: ignore[arg-type]
        assert content[:2] == b"\x80\x02", part
    assert asked == set(NAMES.values())
    for module, name in NAMES.values():
        unpickle(f"c{module}\n{name}\n.".encode())
    for module, name in (
        ("numpy", "array"),
        ("collections", "OrderedDict"),
        ("__builtin__", "dict"),
        ("builtins", "list"),
    ):
        with pytest.raises(ValueError, match=f"it asks for {module}.{name}, which no file of a graph needs"):
            unpickle(f"c{module}\n{name}\n.".encode())


@pytest.fixture
def looked_up() -> Iterator[None]:
    """An extension code that this process has looked up: from then on pickle asks nobody what stands for it."""
    copyreg.add_extension("os", "getcwd", 240)
    try:
        assert pickle.loads(b"\x80\x02\x82\xf0.") is os.getcwd
        yield
    finally:
        copyreg.remove_extension("os", "getcwd", 240)


NAMELESS = {
    "EXT1": b"\x82\xf0",
    "EXT2": b"\x83\xf0\x00",
    "EXT4": b"\x84\xf0\x00\x00\x00",
    "PERSID": b"Pos.getcwd\n",
    "BINPERSID": b"Vos.getcwd\nQ",
    "NEXT_BUFFER": b"\x97",
}


@pytest.mark.usefixtures("looked_up")
@pytest.mark.parametrize("operation", NAMELESS)
def test_nothing_is_had_without_its_name(operation: str, tmp_path: Path) -> None:
    content = b"\x80\x05" + NAMELESS[operation] + b")R."
    if operation.startswith("EXT"):
        assert pickle.loads(content) == os.getcwd()
    message = rf"ind\.cora\.allx: it cannot be read \(it asks for an object by {operation}, not by name\)"
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, allx=content))


LARGE = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
GREEDY = {
    "a number for an object": b"\x80\x02]r" + struct.pack("<I", 2**24) + b".",
    "lists of a text": b"\x80\x02(c__builtin__\nlist\nq\x00" + LARGE + b"q\x01" + b"h\x00h\x01\x85R" * 20 + b"l.",
    "copies of a dict": b"\x80\x02(ccollections\ndefaultdict\nq\x00}q\x01("
    + b"".join(b"J" + struct.pack("<i", each) + b"N" for each in range(10**5))
    + b"u"
    + b"h\x00Nh\x01\x86R" * 20
    + b"l.",
}


@pytest.mark.parametrize("kind", GREEDY)
def test_a_short_file_takes_little_memory(kind: str) -> None:
    tracemalloc.start()
    with suppress(ValueError):
        unpickle(GREEDY[kind])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50 * 2**20


def test_one_list_that_is_that_of_every_node(tmp_path: Path) -> None:
    shared = list(range(12)) * 10**5
    with pytest.raises(SourceError, match="it lists 14,400,000 neighbours"):
        read(write(tmp_path, graph=dumped(dict.fromkeys(range(12), shared))))


def test_more_words_than_memory_holds(tmp_path: Path) -> None:
    wide = {"allx": changed_matrix(_shape=(8, 2**60)), "tx": csr_matrix(words()[list(TESTED)])}
    wide["tx"]._shape = (3, 2**60)
    with pytest.raises(SourceError, match=r"ind\.cora\.allx: it has 1,152,921,504,606,846,976 words, expected 5"):
        read(write(tmp_path, **{part: dumped(value) for part, value in wide.items()}))


MADE = b"(K\x01K\x08K\x03\x86%sK\x00U\x00tb."
DTYPE, DEEP = b"cnumpy\ndtype\n", b"]" * 3000 + b"a" * 2999
LABELS = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R" + MADE
# Each list holds the one before it twice: in full it would have 2 to the power of 60 ends.
DOUBLED = b"]q\x00" + b"".join(b"0](h%ch%ceq%c" % (k, k, k + 1) for k in range(60))
STRANGE = {
    "a deep list for a type": LABELS % (DTYPE + b"(" + DEEP + b"tR"),
    "a list of two to the power of 60 for a type": LABELS % (DTYPE + b"(" + DOUBLED + b"tR"),
    "a number without end for a type": LABELS % (DTYPE + b"(\x8b" + struct.pack("<i", 3000) + b"\x7f" * 3000 + b"tR"),
    "a megabyte of text for a type": LABELS % (DTYPE + b"(" + LARGE + b"tR"),
    "a deep list for the order of bytes": LABELS % (DTYPE + b"(U\x02i4tR(K\x03" + DEEP + b"tb"),
    "a type that was never called": LABELS % (DTYPE + b")\x81"),
    "an array that was never called": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)\x81.",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_content_is_never_written_out(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ind\.cora\.ally: an array (of numbers )?is expected") as refused:
        read(write(tmp_path, ally=STRANGE[kind]))
    assert len(str(refused.value)) < len(str(tmp_path)) + 100


@pytest.mark.parametrize(("name", "shown"), [("\x1b[2J\x1b]0;", r"\x1b[2J\x1b]0;"), ("a" * 10**6, "aaaa")])
def test_a_name_is_told_in_a_short_line_that_a_terminal_does_not_obey(name: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as refused:
        read(write(tmp_path, ally=f"cos\n{name}\n.".encode()))
    told = str(refused.value).removeprefix(str(tmp_path))
    assert told.isprintable()
    assert f"it asks for os.{shown}" in told
    assert len(told) < 400


def test_a_matrix_that_was_never_called(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"ind\.cora\.allx: a sparse matrix is expected"):
        read(write(tmp_path, allx=b"\x80\x02cscipy.sparse.csr\ncsr_matrix\n)\x81."))


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 2**64], ids=["long", "negative", "65 bits"])
def test_a_number_too_long_to_be_written_is_refused_for_what_it_is(number: int, tmp_path: Path) -> None:
    empty = csr_matrix(np.zeros((8, 5), np.float32))
    empty.__dict__["_shape"] = (8, number)
    for matrix in (changed_matrix(_shape=(8, number)), empty):
        with pytest.raises(SourceError, match="allx: a sparse matrix whose parts do not fit together"):
            read(write(tmp_path, allx=dumped(matrix)))
    for graph in ({number: [1]}, {0: [number]}):
        with pytest.raises(SourceError, match="leads out of the 12 nodes"):
            read(write(tmp_path, graph=dumped(graph)))


def test_what_is_too_deep_is_an_error_with_the_file(tmp_path: Path) -> None:
    def deep(content: object) -> None:
        raise RecursionError("too deep")

    files = PlanetoidFiles("cora", SIZE, root=write(tmp_path))
    with pytest.raises(SourceError, match=r"ind\.cora\.allx: too deep"):
        files._read("allx", deep)


@pytest.mark.parametrize("part", PARTS)
def test_a_file_cut_short_is_named(part: str, tmp_path: Path) -> None:
    whole = (write(tmp_path / "whole") / f"ind.cora.{part}").read_bytes()
    # Without its last line break the list of numbers is still whole.
    last = len(whole) - 1 - (part == "test.index")
    for length in sorted({0, 1, 2, len(whole) // 3, len(whole) // 2, last}):
        folder = write(tmp_path / str(length), **{part.replace(".", "_"): whole[:length]})
        with pytest.raises(SourceError, match=rf"ind.cora.{part}|these files hold"):
            read(folder)
    if part != "test.index":
        with pytest.raises(SourceError, match=rf"ind.cora.{part}: it is damaged or cut short \("):
            read(write(tmp_path / "half", **{part: whole[: len(whole) // 2]}))


def damaged_array(**changes: object) -> Any:
    """The labels, with parts of the array's state replaced as a pickle could."""

    class Odd:
        def __reduce__(self) -> Any:
            function, arguments, state = np.zeros((8, 3), np.int32).__reduce__()
            named = dict(zip(("version", "shape", "dtype", "by_columns", "content"), state, strict=True)) | changes
            return function, arguments, tuple(named.values())

    return Odd()


def changed_matrix(**changes: object) -> csr_matrix:
    matrix = objects()["allx"]
    for key, value in changes.items():
        matrix.__dict__[key] = value
    return matrix


WRONG: dict[str, tuple[str, Any, str]] = {
    "no matrix": ("allx", {}, "a sparse matrix is expected"),
    "no array": ("ally", [1, 2], "an array is expected"),
    "no dict": ("graph", [1, 2], "a dict of neighbours is expected"),
    "neighbours are no list": ("graph", {0: 3}, "a node's neighbours are not numbers"),
    "a neighbour is no number": ("graph", {0: ["1"]}, "a node's neighbours are not numbers"),
    "a neighbour is true": ("graph", {0: [True]}, "a node's neighbours are not numbers"),
    "a link leads out": ("graph", {0: [12]}, "a link of node 0 leads out of the 12 nodes"),
    "a negative number": ("graph", {0: [-1]}, "a link of node 0 leads out of the 12 nodes"),
    "rows of tests": ("tx", csr_matrix(words()[:2]), r"it has shape \(2, 5\), expected \(3, 5\)"),
    "words of tests": ("tx", csr_matrix(words()[:3, :4]), r"it has shape \(3, 4\), expected \(3, 5\)"),
    "rows of classes": ("ally", np.eye(3, dtype=np.int32), "it has 3 rows, expected 8"),
    "columns of classes": ("ty", np.eye(4, dtype=np.int32)[:3], "expected a column for each of 3 classes"),
    "two classes at once": ("ty", np.ones((3, 3), np.int32), "a row is not of one class"),
    "half a class": ("ty", np.full((3, 3), 0.5), "a row is not of one class"),
    "a word twice": ("tx", csr_matrix(2 * words()[list(TESTED)]), "a value is neither 0 nor 1"),
    "more rows than starts": ("allx", changed_matrix(_shape=(9, 5)), "parts do not fit together"),
    "fewer columns than named": ("allx", changed_matrix(_shape=(8, 2)), "parts do not fit together"),
    "a shape of texts": ("allx", changed_matrix(_shape=("8", "5")), "a sparse matrix without a shape"),
    "starts that go back": ("allx", changed_matrix(indptr=np.array([0, 9, 2, 3, 4, 5, 6, 7, 8], np.int32)), "fit"),
    "objects in an array": ("ally", np.array([[object]], object)[:0], "an array of numbers is expected"),
    "an array longer than its bytes": ("ally", damaged_array(shape=(10**9, 3)), "cannot reshape"),
    "a negative side": ("ally", damaged_array(shape=(-8, -3)), "an array without a shape"),
    "no bytes": ("ally", damaged_array(content=[1]), "not of objects"),
    "another graph": ("graph", {0: [1]}, "12 nodes, 5 words, 3 classes and 14 links; these files hold .* 1 links"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_together_is_named(kind: str, tmp_path: Path) -> None:
    part, value, message = WRONG[kind]
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, **{part: dumped(value)}))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("11\n9\n9\n", "not distinct, or do not go on from 8"),
        ("11\n9\n10\n", "not distinct, or do not go on from 8"),
        ("11\n9\neight\n", "a line is not the number of a node"),
        ("-8\n9\n8\n", "a line is not the number of a node"),
        ("9999999\n9\n8\n", "it names node 9999999"),
        ("8\n9\n10\n11\n", r"it has shape \(3, 5\), expected \(4, 5\): a row for each number in ind.cora.test.index"),
        ("", r"expected \(0, 5\)"),
    ],
)
def test_numbers_of_test_nodes_that_cannot_be_are_refused(numbers: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, test_index=numbers.encode()))


def test_changed_files_are_another_dataset(tmp_path: Path) -> None:
    before = PlanetoidFiles("cora", SIZE, root=write(tmp_path)).checksum
    assert PlanetoidFiles("cora", SIZE, root=tmp_path).checksum == before
    write(tmp_path, ty=dumped(np.roll(objects()["ty"], 1, 1)))
    assert PlanetoidFiles("cora", SIZE, root=tmp_path).checksum != before


@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_the_real_files_hold_the_graphs_that_papers_count(name: str) -> None:
    """Where somebody has them: 15 nodes of Citeseer have no row, 48 no link."""
    data = datasets.parse({"name": name, "source": "planetoid"}).build()
    assert isinstance(data, GraphDataModule)
    try:
        described = data.describe()
    except MissingSourceError:
        pytest.skip(f"no files of {name} under the data root")
    known = {"cora": (2708, 1433, 5278, 0, 0), "citeseer": (3327, 3703, 4552, 48, 15)}
    keys = ("num_images", "num_words", "num_links", "nodes_without_links", "nodes_without_class")
    assert tuple(described[key] for key in keys) == known[name]


def test_a_key_of_a_million_tuples_in_each_other_does_not_end_the_process(tmp_path: Path) -> None:
    nested = b"\x80\x02}K\x01" + pickle.TUPLE1 * 10**6 + b"K\x01s."
    code = "import sys; from mmvae_bench.data.sources.planetoid import unpickle; unpickle(sys.stdin.buffer.read())"
    ended = subprocess.run([sys.executable, "-c", code], input=nested, capture_output=True, check=False)
    assert b"ValueError: it cannot be read (it has 1,000,000 tuples" in ended.stderr
    with pytest.raises(SourceError, match=r"ind\.cora\.allx: it has 10,000,000,000,000 words, expected 5"):
        read(write(tmp_path, allx=dumped(changed_matrix(_shape=(8, 10**13)))))
