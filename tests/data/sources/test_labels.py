"""Labels in every form that can mean only one thing, and the first that is missing or could mean two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.celeba_photos import find_photos
from mmvae_bench.data.sources.labels import presence
from mmvae_bench.specs.built_in.datasets import CELEBA18_NAMES

from .celeba_copy import COLUMNS, FakeCelebA, photo

FAKE = FakeCelebA(num=24, size=(89, 109))
BALD = CELEBA18_NAMES.index("Bald")
FORMS: dict[str, tuple[Any, Any]] = {
    "booleans": (False, True),
    "0 and 1": (0, 1),
    "-1 and 1": (-1, 1),
    "0.0 and 1.0": (0.0, 1.0),
    "-1.0 and 1.0": (-1.0, 1.0),
    "text of -1 and 1": ("-1", "1"),
    "text of 0 and 1": ("0", "1"),
    "yes and no": ("no", "yes"),
    "true and false": ("false", "true"),
    "Python's words, padded": (" False", "True "),
    "text of floats": ("-1.0", "1.0"),
}


def table(no: Any, yes: Any, bald: dict[int, Any] | None = None) -> pa.Table:
    """A copy of the hub in which some rows of Bald have other values."""
    columns: dict[str, Any] = {
        "image": [{"bytes": photo(number + 1, FAKE.size), "path": None} for number in range(FAKE.num)]
    }
    for place, name in enumerate(COLUMNS):
        columns[name] = [yes if value > 0 else no for value in FAKE.values[:, place].tolist()]
    for row, value in (bald or {}).items():
        columns["Bald"][row] = value
    return pa.table(columns)


def write(root: Path, content: pa.Table) -> Path:
    path = root / "celeba" / "train.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(content, path, row_group_size=10)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_can_mean_only_one_thing(tmp_path: Path, form: str) -> None:
    write(tmp_path, table(*FORMS[form]))
    assert np.array_equal(find_photos(tmp_path).rows.concepts, FAKE.concepts)


@pytest.mark.parametrize(
    ("form", "value", "message"),
    [
        ("booleans", None, "None: missing"),
        ("0 and 1", None, "None: missing"),
        ("0.0 and 1.0", math.nan, "nan: missing"),
        ("-1.0 and 1.0", math.nan, "nan: missing"),
        ("-1 and 1", 0, "0: next to -1 it may mean either"),
        ("0 and 1", 2, "2: expected true or false"),
        ("0.0 and 1.0", 0.5, "0.5: expected"),
        ("0.0 and 1.0", math.inf, "inf: expected"),
        ("text of -1 and 1", "0", "'0': next to -1"),
        ("yes and no", "", "'': missing"),
        ("yes and no", "NaN", "'NaN': missing"),
        ("yes and no", "maybe", "'maybe': expected"),
        ("text of 0 and 1", None, "None: missing"),
    ],
)
@pytest.mark.parametrize("saved", [False, True])
def test_the_first_value_that_means_nothing_is_named(
    tmp_path: Path, form: str, value: Any, message: str, saved: bool
) -> None:
    no, yes = FORMS[form]
    content = table(no, yes, {17: value, 20: value})
    path = tmp_path / "celeba"
    if saved:
        datasets.Dataset(content).save_to_disk(str(path))
    else:
        path = write(tmp_path, content)
    with pytest.raises(SourceError) as caught:
        find_photos(tmp_path)
    assert str(caught.value).startswith(f"{path}: column Bald, row 17 (the first is 0): {message}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("names", [("no", "yes"), ("True", "False"), ("1", "-1")])
def test_numbers_of_classes_are_read_by_the_names_of_the_classes(
    tmp_path: Path, names: tuple[str, str], saved: bool
) -> None:
    """Where class 0 is called yes, 0 means yes."""
    yes = {"yes", "True", "1"}.intersection(names).pop()
    content = datasets.Dataset(table(1 - names.index(yes), names.index(yes)))
    features = content.features.copy()
    for name in COLUMNS:
        features[name] = datasets.ClassLabel(names=list(names))
    content = content.cast(features)
    path = tmp_path / "celeba"
    if saved:
        content.save_to_disk(str(path))
    else:
        path.mkdir()
        content.to_parquet(str(path / "train-00000-of-00001.parquet"))
    assert np.array_equal(find_photos(tmp_path).rows.concepts, FAKE.concepts)


def test_classes_of_other_names_are_refused(tmp_path: Path) -> None:
    content = datasets.Dataset(table(0, 1))
    features = content.features.copy()
    features["Bald"] = datasets.ClassLabel(names=["hair", "none of it"])
    (tmp_path / "celeba").mkdir()
    content.cast(features).to_parquet(str(tmp_path / "celeba" / "train-00000-of-00001.parquet"))
    with pytest.raises(SourceError, match=r"column Bald, row \d+ .*: \d: expected true or false"):
        find_photos(tmp_path)


@pytest.mark.parametrize("values", [[[1], [0]], [b"1", b"0"], [{"a": 1}, {"a": 0}]])
def test_a_column_of_something_else_is_refused(values: list[Any]) -> None:
    with pytest.raises(SourceError, match=r"list\.csv: column Bald has values of type .*expected true or false"):
        presence(pa.chunked_array([values]), file=Path("list.csv"), name="Bald")


def test_a_dictionary_of_texts_in_several_chunks() -> None:
    column = pa.chunked_array([pa.array(part).dictionary_encode() for part in (["no", "yes"], ["yes"], ["no", "no"])])
    assert presence(column, file=Path("list.csv"), name="Bald").tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize("value", ["", "NaN", "0", "2", "yes?"])
def test_a_missing_label_of_a_csv_list(tmp_path: Path, value: str) -> None:
    FAKE.write_images(tmp_path / "celeba", ids=range(1, 4))
    FAKE.write_csv(tmp_path / "celeba")
    path = tmp_path / "celeba" / "list_attr_celeba.csv"
    lines = path.read_text().splitlines()
    words = lines[6].split(",")
    words[1 + COLUMNS.index("Bald")] = value
    path.write_text("\n".join([*lines[:6], ",".join(words), *lines[7:]]) + "\n")
    with pytest.raises(SourceError, match=r"list_attr_celeba\.csv: column Bald, row 5 \(the first is 0\): "):
        find_photos(tmp_path)
