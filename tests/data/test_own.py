"""The user's own images: what is stored is what was given, and what is wrong is refused before anything is stored."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mmvae_bench.data as data
from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.cli import main
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data.sources import SourceError
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec

NUM = 200
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.integers(0, 256, (NUM, 12, 16, 3), np.uint8)
# In neither alphabetical nor any other obvious order.
WORDS = {"size": np.array(["10", "9"])[RANDOM.integers(0, 2, NUM)], "colour": RANDOM.choice(["red", "blue"], NUM)}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a data root of the test's own; returns where arrays are stored."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path / "root"))
    return tmp_path / "cache" / "arrays"


def built(spec: Any) -> Any:
    module = spec.build()
    module.prepare_data()
    module.setup()
    return module


def test_a_batch_is_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    spec = data.from_arrays(IMAGES, WORDS)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0] == repr(spec)
    assert f"  size: 9 {(WORDS['size'] == '9').sum()}, 10 {(WORDS['size'] == '10').sum()}" in said.err
    module = built(spec)
    rows = torch.tensor([3, 0, NUM - 1])
    batch = module.store.batch(rows)
    assert torch.equal((batch.image * 255).round().byte(), torch.from_numpy(IMAGES[rows].transpose(0, 3, 1, 2)))
    for row, concept in zip(rows.tolist(), batch.concept, strict=True):
        assert module.schema.format(concept) == f"size={WORDS['size'][row]}, colour={WORDS['colour'][row]}"
    assert sum(len(module.rows(part)) for part in ("train", "val", "test")) == NUM
    report = module.verify()
    assert report["ok"]
    assert (report["num_images"], report["pixel_hash"]) == (NUM, module.describe()["pixel_hash"])


def test_the_order_of_attributes_survives_a_spec_file() -> None:
    """Canonical JSON sorts keys, so attributes that were a mapping would change places with their columns' values."""
    spec = data.from_arrays(IMAGES, WORDS)
    again = datasets.parse(json.loads(canonical_json(spec.canonical())))
    assert again == spec
    assert again.concept_schema().names == ("size", "colour")
    assert again.concept_schema().attributes[0].values == ("9", "10")


def test_a_spec_is_complete_without_the_data(store: Path) -> None:
    """So a trained model is loaded where there is none of it; to train, the data are asked for by name."""
    spec = data.from_arrays(IMAGES, WORDS)
    plain = spec.canonical()
    for path in sorted(store.glob("*/*")):
        path.unlink()
    assert datasets.parse(plain) == spec
    with pytest.raises(
        SourceError, match=rf"the arrays {spec.data} are damaged in .*call mmvae_bench.data.from_arrays"
    ):
        built(spec)


def test_in_a_grid_the_digest_is_enough_and_an_unknown_one_is_named() -> None:
    spec = data.from_arrays(IMAGES, WORDS)
    assert datasets.parse({"name": "arrays", "data": spec.data}) == spec
    wrong = spec.data[:-1] + ("0" if spec.data[-1] != "0" else "1")
    with pytest.raises(ConfigError) as caught:
        datasets.parse({"name": "arrays", "data": wrong})
    assert "no such arrays in" in str(caught.value)
    assert f"given: {wrong}" in str(caught.value)
    assert f"nearest: {spec.data}" in str(caught.value)
    with pytest.raises(ConfigError, match="required key 'data' is missing"):
        datasets.parse("arrays")


def test_equal_bytes_are_one_dataset_in_whatever_form(store: Path) -> None:
    first = data.from_arrays(IMAGES, WORDS)
    forms = [
        torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()),
        IMAGES.astype(np.float32) / 255,
        torch.from_numpy(IMAGES).double() / 255,
        IMAGES.astype(np.int64),
    ]
    frame = pd.DataFrame({"size": WORDS["size"].astype(int), "colour": WORDS["colour"]})
    assert all(data.from_arrays(form, frame) == first for form in forms)
    assert len(list(store.glob("*/meta.json"))) == 1
    changed = IMAGES.copy()
    changed[5, 0, 0, 0] ^= 1
    swapped = {**WORDS, "size": np.where(WORDS["size"] == "9", "10", "9")}
    others = [data.from_arrays(changed, WORDS), data.from_arrays(IMAGES, swapped)]
    others.append(data.from_arrays(IMAGES, WORDS, {"size": ["10", "9"], "colour": ["blue", "red"]}))
    digests = {first.data, *(spec.data for spec in others)}
    assert len(digests) == 4
    assert len({spec.build().fingerprint for spec in (first, *others)}) == 4


def test_value_indices_follow_the_schema() -> None:
    schema = Schema((Attribute("size", ("big", "small")), Attribute("colour", ("red", "green", "blue"))))
    concepts = np.stack([RANDOM.integers(0, 2, NUM), RANDOM.integers(0, 3, NUM)], 1)
    module = built(data.from_arrays(IMAGES, torch.from_numpy(concepts), schema))
    assert module.schema == schema
    assert np.array_equal(module.store.concepts.numpy(), concepts)
    alone = data.from_arrays(IMAGES, concepts[:, 1])
    assert alone.concept_schema().to_dict() == {"attribute_0": ["0", "1", "2"]}


def test_a_split_of_ones_own_and_one_by_concept() -> None:
    parts = np.array(["train", "val", "test", "train"] * (NUM // 4))
    module = built(data.from_arrays(IMAGES, WORDS, split=parts))
    assert module.rows("val").tolist() == list(range(1, NUM, 4))
    # The classifier's split, whatever the spec's.
    assert len(module.rows("train", split="iid")) not in (0, NUM // 2)
    kinds = {"kind": RANDOM.integers(0, 40, NUM), "wet": RANDOM.integers(0, 2, NUM) == 1}
    module = built(data.from_arrays(IMAGES, kinds, split="comp"))
    assert module.schema.attributes[1].values == ("no", "yes")
    found = [{tuple(each) for each in module.concepts(part).tolist()} for part in ("train", "val", "test")]
    assert [one & other for one, other in combinations(found, 2)] == [set()] * 3


def test_arrays_are_found_under_the_data_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = data.from_arrays(IMAGES, WORDS, folder=tmp_path / "root" / "arrays")
    assert "trials find it" not in capsys.readouterr().err
    module = built(spec)
    assert module.folder == tmp_path / "root" / "arrays" / spec.data
    data.from_arrays(IMAGES[::-1], WORDS, folder=tmp_path / "elsewhere")
    assert "trials find it where this is the folder 'arrays' under the data root" in capsys.readouterr().err


def test_shades_are_no_bernoulli() -> None:
    grey, black = IMAGES[..., 0], IMAGES[..., 0] > 127
    concepts = {"size": WORDS["size"]}
    trial = {"backbone": "mnist_a_thin", "objective": "jmvae", "training": {"batch_size": 8}}
    assert not data.from_arrays(grey, concepts).binary
    with pytest.raises(ConfigError, match=r"black and white alone.*choose patches"):
        TrialSpec.parse({**trial, "dataset": data.from_arrays(grey, concepts)})
    spec = data.from_arrays(black, concepts)
    assert spec.binary
    TrialSpec.parse({**trial, "dataset": spec})
    assert built(spec).store.batch(torch.tensor([0])).image.unique().tolist() == [0.0, 1.0]


NAN = IMAGES.astype(float) / 255
NAN[2, 1, 1, 0] = np.nan
WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "text": ((np.full(NUM, "x"), WORDS), r"images: expected numbers.*<U1\[200\]"),
    "flat": ((IMAGES.reshape(NUM, -1), WORDS), r"\[N, H, W\], \[N, C, H, W\] or .*uint8\[200, 576\]"),
    "two channels": ((IMAGES[..., :2], WORDS), r"one or three channels"),
    "range": ((IMAGES.astype(float), WORDS), r"floats must be from 0 to 1; divide bytes by 255\n.*from 0 to 255"),
    "negative": ((IMAGES.astype(int) - 9, WORDS), r"whole numbers must be from 0 to 255\n.*from -9"),
    "nan": ((NAN, WORDS), r"images: not finite\n.*1 of the values"),
    "one shade": ((IMAGES * 0, WORDS), r"all pixels are the same"),
    "divided twice": ((IMAGES / 255 / 255, WORDS), r"all but black: were they divided by 255 twice\?"),
    "divided three times": ((IMAGES / 255 / 255 / 255, WORDS), r"all but black"),
    "one shade as bytes": ((np.where(IMAGES > 9, 0.5, 0.501), WORDS), r"all pixels are the same as bytes"),
    "bits as bytes": ((IMAGES % 2, WORDS), r"these are 0 and 1: give booleans"),
    "too few": ((IMAGES[:19], {"a": [0, 1] * 9 + [0]}), r"at least 20 are needed"),
    "rows": ((IMAGES[:-1], WORDS), r"concepts: as many rows as there are images.*\n.*200 for 199"),
    "uneven": ((IMAGES, {**WORDS, "size": WORDS["size"][1:]}), r"as many values as there are images\n.*size: 199"),
    "missing": ((IMAGES, {**WORDS, "size": [None, *WORDS["size"][1:]]}),
                r"concepts.size: row 0 \(the first is 0\) has no value"),
    "float": ((IMAGES, {"height": RANDOM.normal(size=NUM)}), r"concepts.height: at most 100 values.*200 distinct"),
    "single": ((IMAGES, {**WORDS, "all": ["a"] * NUM}), r"concepts.all: an attribute needs at least two values"),
    "comma": ((IMAGES, {"size": ["a,b", "c"] * (NUM // 2)}), r"contains ',', '=' or"),
    "unspecified": ((IMAGES, np.full((NUM, 2), -1)), r"row 0 \(the first is 0\) has a negative value"),
    "floats as concepts": ((IMAGES, np.zeros((NUM, 2))), r"whole numbers \[N, A\].*\n.*float64\[200, 2\]"),
    "outside": ((IMAGES, WORDS, {"size": ["9", "10"], "colour": ["rd", "blue"]}),
                r"unknown value of colour in row \d+ \(the first is 0\): 'red'\n.*choices: rd, blue\n.*nearest: rd"),
    "outside by number": ((IMAGES, np.arange(NUM) % 3, {"size": ["a", "b"]}),
                          r"row 2 \(the first is 0\): size has the values 0 to 1"),
    "column": ((IMAGES, WORDS, {"sizes": ["9", "10"], "colour": ["red", "blue"]}),
               r"concepts.sizes: required column is missing\n.*choices: size, colour\n.*nearest: size"),
    "a scalar": ((IMAGES, {"size": 5}), r"concepts.size: expected a sequence.*\n.*5"),
    "a word": ((IMAGES, {"size": "red"}), r"concepts.size: expected a sequence.*\n.*'red'"),
    "two values a row": ((IMAGES, {"size": np.zeros((NUM, 2))}),
                         r"concepts.size: row 0 \(the first is 0\) has more than one value"),
    "two columns of one name": ((IMAGES, pd.DataFrame([["a", "b"]] * NUM, columns=["size", "size"])),
                                r"concepts: every attribute needs a name of its own\n.*2 named 'size'"),
    "uneven images": (([[1], [1, 2]], WORDS), r"images: expected images of one shape"),
    "no schema": ((IMAGES, WORDS, {"size": ["9"]}), r"schema: attribute 'size' needs at least two"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_stored(name: str, store: Path) -> None:
    arguments, message = WRONG[name]
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        data.from_arrays(*arguments)
    assert not list(store.glob("*"))


def test_a_folder_that_cannot_be_written_and_a_split_of_nothing(tmp_path: Path, store: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="folder: cannot be written: Not a directory"):
        data.from_arrays(IMAGES, WORDS, folder=tmp_path / "file" / "arrays")
    with pytest.raises(ConfigError, match="split: expected iid, comp, or the partition of each image"):
        data.from_arrays(IMAGES, WORDS, split=None)  # type: ignore[arg-type]
    assert not list(store.glob("*"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (
            "attributes",
            {"colour": ["blue", "red"], "size": ["9", "10"]},
        ),  # The columns' places alone say which is which.
        ("attributes", {"size": ["10", "9"], "colour": ["blue", "red"]}),
        ("binary", True),
        ("num_images", NUM - 1),
        ("shape", [3, 16, 12]),
    ],
)
def test_a_spec_that_contradicts_the_arrays_is_refused(key: str, value: Any) -> None:
    spec = data.from_arrays(IMAGES, WORDS)
    built(datasets.parse({"name": "arrays", "data": spec.data}))
    with pytest.raises(SourceError, match=f"have {key} "):
        datasets.parse({"name": "arrays", "data": spec.data, key: value}).build().prepare_data()


def test_arrays_under_the_name_of_others_are_refused(store: Path) -> None:
    spec = data.from_arrays(IMAGES, WORDS)
    other = data.from_arrays(255 - IMAGES, WORDS)
    (store / spec.data).rename(store / "elsewhere")
    (store / other.data).rename(store / spec.data)
    with pytest.raises(SourceError, match=f"have data {other.data}, not {spec.data}"):
        spec.build().prepare_data()


@pytest.mark.parametrize("what", ["an archive", "objects", "fewer rows", "other partitions", "a pipe", "too long"])
def test_foreign_arrays_are_only_data(what: str, store: Path) -> None:
    spec = data.from_arrays(IMAGES, WORDS, split=["train", "val"] + ["test"] * (NUM - 2))
    module, folder = built(spec), store / spec.data
    path = folder / ("partition.npy" if what == "other partitions" else "concepts.npy")
    path.unlink()
    with path.open("wb") if what != "a pipe" else nullcontext() as file:
        if what == "an archive":
            np.savez(file, a=IMAGES)
        elif what == "objects":
            np.save(file, np.array([[{}]], object))
        elif what == "too long":
            np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (2**50, 2)})
        elif file is not None:
            np.save(file, np.full(NUM, 3, np.uint8) if what == "other partitions" else np.zeros((9, 2), np.int64))
        else:
            os.mkfifo(path)
    with pytest.raises(BenchmarkError, match="is damaged"):
        module.setup()


def test_only_whole_arrays_are_named(store: Path) -> None:
    spec = data.from_arrays(IMAGES, WORDS)
    for name in (".0123456789abcdef.unfinished", "\x1b[2J"):
        (store / name).mkdir()
        (store / name / "meta.json").write_text("{}")
    with pytest.raises(ConfigError) as refused:
        datasets.parse({"name": "arrays", "data": "0" * 16})
    assert refused.value.problems[0].choices == (spec.data,)


def test_a_part_without_images_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"split: comp leaves a part without images.*\n.*val 0"):
        data.from_arrays(IMAGES, WORDS, split="comp")
    with pytest.raises(
        ConfigError, match=r"unknown partition in row 0 \(the first is 0\): 'validate'.*\n.*choices: train, val, test"
    ):
        data.from_arrays(IMAGES, WORDS, split=["validate"] * NUM)
    with pytest.raises(ConfigError, match=r"given leaves a part without images"):
        data.from_arrays(IMAGES, WORDS, split=["train"] * NUM)
    with pytest.raises(ConfigError, match="give the partition of each image"):
        data.from_arrays(IMAGES, WORDS, split="given")
    assert not list(store.glob("*"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with 40 pictures of 20 x 12 and their table."""
    folder = tmp_path / "root" / "pets"
    folder.mkdir(parents=True)
    rows = ["file,kind,wet"]
    for number in range(40):
        picture = np.zeros((12, 20, 3), np.uint8)
        picture[:, 4:16] = (number, 2 * number, 200)  # The middle square, and what is cut off.
        Image.fromarray(picture).save(folder / f"{number:02}.png")
        rows.append(f"{number:02}.png,{'cat' if number % 3 else 'dog'},{number % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_folder_of_pictures(pictures: Path) -> None:
    spec = data.from_folder("pets", size=8)
    assert spec == datasets.parse({"name": "folder", "path": "pets", "size": 8})
    module = built(spec)
    assert module.schema.to_dict() == {"kind": ["cat", "dog"], "wet": ["0", "1"]}
    batch = module.store.batch(torch.tensor([7]))
    assert (batch.image[0] * 255).round().flatten(1).unique(dim=1).flatten().tolist() == [7, 14, 200]
    assert module.schema.format(batch.concept[0]) == "kind=cat, wet=1"
    grey = built(data.from_folder(pictures, size=8, channels=1, schema={"wet": ["1", "0"]}))
    assert grey.image_shape == (1, 8, 8)
    assert grey.store.concepts[:4, 0].tolist() == [1, 0, 1, 0]


def test_the_place_of_a_folder_is_not_its_fingerprint_but_a_changed_picture_is(pictures: Path) -> None:
    spec = data.from_folder("pets", size=8)
    moved = pictures.with_name("other")
    pictures.rename(moved)
    there = data.from_folder(moved, size=8)
    assert there.build().fingerprint == spec.build().fingerprint
    Image.new("RGB", (12, 12), "red").save(moved / "03.png")
    changed = data.from_folder(moved, size=8)
    assert changed.build().fingerprint != there.build().fingerprint
    with pytest.raises(
        SourceError, match=f"have changed: their digest is {changed.data}, the one asked for {there.data}"
    ):
        built(there)


def test_a_table_in_parquet_and_a_split_in_it(pictures: Path) -> None:
    frame = pd.read_csv(pictures / "labels.csv").assign(partition=["train", "train", "val", "test"] * 10)
    frame.to_parquet(pictures / "labels.parquet")
    spec = data.from_folder("pets", "labels.parquet", size=8, split="given")
    module = built(spec)
    assert module.schema.names == ("kind", "wet")
    assert module.rows("val").tolist() == list(range(2, 40, 4))
    with pytest.raises(
        ConfigError, match=r"split: the table has no column 'partition'.*\n.*\n.*choices: file, kind, wet"
    ):
        data.from_folder("pets", size=8, split="given")
    frame.rename(columns={"partition": "Partition"}).to_parquet(pictures / "labels.parquet")
    with pytest.raises(ConfigError, match=r"(?s)no column 'partition'.*nearest: Partition"):
        data.from_folder("pets", "labels.parquet", size=8, schema={"wet": ["0", "1"]}, split="given")


def _table(folder: Path, old: str, new: str) -> None:
    path = folder / "labels.csv"
    path.write_text(path.read_text().replace(old, new))


BROKEN: dict[str, tuple[Any, str]] = {
    "no folder": (lambda folder: folder.rename(folder.with_name("x")), r"path: no such folder"),
    "no table": (lambda folder: (folder / "labels.csv").unlink(), r"table: no such file"),
    "no column": (lambda folder: _table(folder, "file,", "fil,"),
                  r"file_column: the table has no column.*\n.*'file'\n.*choices: fil, kind, wet\n.*nearest: fil"),
    "no picture": (lambda folder: (folder / "05.png").unlink(), r"line 7 of labels.csv: no such picture in .*pets"),
    "twice": (lambda folder: _table(folder, "05.png", "04.png"),
              r"line 7 of labels.csv: the same picture as in line 6 of labels.csv"),
    "outside": (lambda folder: _table(folder, "05.png", "../05.png"),
                r"line 7 of labels.csv: .*relative to the folder"),
    "no value": (lambda folder: _table(folder, "05.png,cat", "05.png,"),
                 r"concepts.kind: line 7 of labels.csv has no value"),
    "cells": (lambda folder: _table(folder, "05.png,cat,1", "05.png,cat"), r"labels.csv:7: 2 cells under 3 columns"),
    "header": (lambda folder: _table(folder, "kind,wet", "wet,wet"), r"names its columns, each once"),
    "latin-1": (lambda folder: (folder / "labels.csv").write_bytes("file,wet\n00.png,schön\n".encode("latin-1")),
                r"table: labels.csv:2: not UTF-8 text: save the table as UTF-8\n  given: b'\\xf6'$"),
    "semicolons": (lambda folder: _table(folder, ",", ";"),
                   r"table: labels.csv:1: cells are separated by ';', and a CSV file needs commas.*\n.*file;kind;wet"),
    "tabs": (lambda folder: _table(folder, ",", "\t"), r"labels.csv:1: cells are separated by '\\t'"),
    "no partition": (lambda folder: _table(folder, "file,kind,wet", "file,kind,partition"),
                     r"split: unknown partition in line 2 of labels.csv: '0'.*choices: train, val, test"),
    "few rows": (lambda folder: (folder / "labels.csv").write_text("file,wet\n00.png,1\n"), r"at least 20 images"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_folder_is_named(name: str, pictures: Path, tmp_path: Path) -> None:
    spoil, message = BROKEN[name]
    spoil(pictures)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        data.from_folder("pets", size=8)
    assert not (tmp_path / "cache").exists()


def test_a_row_is_named_by_its_line_in_a_table_of_text(pictures: Path) -> None:
    """Lines that are empty, and cells over several of them, are lines too."""
    table = pictures / "labels.csv"
    head, *rows = table.read_text().splitlines()
    parts = ["train", "train", "val", "test"] * 10
    told = [f"{row},{part}" for row, part in zip(rows, parts, strict=True)]
    table.write_text("\n".join([f"{head},partition,note", "", f'{told[0]},"a\nb"', *(f"{row},c" for row in told[1:])]))
    for old, new, call, message in (
        ("02.png,cat", "02.png,cow", {"schema": {"kind": ["cat", "dog"]}},
         "unknown value of kind in line 6 of labels.csv: 'cow'"),
        ("02.png,cat,0,val", "02.png,cat,0,vall", {"split": "given"},
         "unknown partition in line 6 of labels.csv: 'vall'"),
    ):  # fmt: skip
        whole = table.read_text()
        assert old in whole
        _table(pictures, old, new)
        with pytest.raises(ConfigError, match=message):
            data.from_folder("pets", size=8, **{"schema": {"wet": ["0", "1"]}} | call)
        table.write_text(whole)
    frame = pd.read_csv(table).assign(kind=[None, *["cat"] * 39])
    frame.to_parquet(pictures / "labels.parquet")
    with pytest.raises(ConfigError, match=r"row 0 \(the first is 0\) has no value"):
        data.from_folder("pets", "labels.parquet", size=8, schema={"kind": ["cat", "dog"]})


def test_a_folder_beside_the_user_is_found_from_python_and_named_to_a_grid(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is relative to the working folder would be another one in the processes of a grid."""
    here = tmp_path / "here"
    here.mkdir()
    pictures.rename(here / "mine")
    monkeypatch.chdir(here)
    spec = data.from_folder("mine", size=8)
    assert spec.path == str(here / "mine")
    with pytest.raises(ConfigError) as refused:
        datasets.parse({"name": "folder", "path": "mine", "size": 8})
    assert refused.value.problems[0].near == str(here / "mine")
    pictures.parent.joinpath("mine").symlink_to(here / "mine")  # The data root goes first, as in a grid.
    assert data.from_folder("mine", size=8).path == "mine"
    with pytest.raises(ConfigError, match="no such folder") as refused:
        data.from_folder("none", size=8)
    assert refused.value.problems[0].near is None


def test_a_picture_that_is_none_leaves_nothing_half_made(pictures: Path, tmp_path: Path) -> None:
    (pictures / "05.png").write_text("not a picture")
    spec = data.from_folder("pets", size=8)
    with pytest.raises(SourceError, match=r"05\.png cannot be used: not an image"):
        built(spec)
    assert [path.suffix for path in (tmp_path / "cache" / "datasets").iterdir()] == [".lock"]


def test_bfloat16_images_of_unequal_size_and_a_series_with_labels_of_its_own(store: Path) -> None:
    images, concepts = torch.rand(60, 1, 8, 8, dtype=torch.bfloat16), torch.arange(60) % 3
    assert data.from_arrays(images, concepts).data == data.from_arrays(images.float(), concepts).data
    with pytest.raises(ConfigError, match="images: expected images of one shape"):
        data.from_arrays([[1], [1, 2]], concepts)
    parts = pd.Series(["train", "val", "tset"] * 20, index=[f"row {k}" for k in range(60)])
    with pytest.raises(ConfigError, match=r"(?s)partition in row 2 \(the first is 0\).*tset"):
        data.from_arrays(images, concepts, split=parts)


def test_a_column_that_the_table_lacks_is_named_when_the_spec_is_read(pictures: Path) -> None:
    told = {"name": "folder", "path": "pets", "size": 8, "attributes": {"furr": ["long", "short"]}}
    with pytest.raises(ConfigError, match=r"attributes.*furr.*no column of this name"):
        datasets.parse(told)
    for malformed in (7, ["fur"], [["fur", 3]], [7]):
        with pytest.raises(ConfigError, match="attributes"):
            datasets.parse(told | {"attributes": malformed})


@pytest.mark.parametrize(("name", "key"), [("folder", "path"), ("arrays", "data")])
def test_only_the_key_that_names_the_data_is_asked_for(name: str, key: str, store: Path) -> None:
    """The others are read from the data."""
    with pytest.raises(ConfigError, match=f"required key '{key}' is missing") as caught:
        datasets.parse({"name": name})
    assert "num_images" not in str(caught.value)


def test_values_that_no_training_image_has_are_named(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are asked for all the same."""
    warning = "warning: no training image has size: 9, 11; colour: grey. Queries ask for these values all the same"
    concepts = {"size": ["10"] * 160 + ["9"] * 40, "colour": ["red", "blue"] * 100}
    split = ["train"] * 160 + ["val", "test"] * 20
    schema = {"size": ["9", "10", "11"], "colour": ["red", "blue", "grey"]}
    spec = data.from_arrays(IMAGES, concepts, schema, split=split)
    assert warning in capsys.readouterr().err
    words = ["data", "describe", "arrays", "--set", f"data={spec.data}"]
    assert main([*words, "--set", "split=given", "--json"]) == 0
    said = capsys.readouterr()
    assert warning in said.err
    assert json.loads(said.out)["absent_in_training"] == {"size": ["9", "11"], "colour": ["grey"]}
    assert main(["data", "prepare", *words[2:], "--set", "split=iid"]) == 0
    assert "no training image has size: 11; colour: grey" in capsys.readouterr().err
    data.from_arrays(IMAGES, WORDS)
    data.from_folder("pets", size=8)
    assert "warning" not in capsys.readouterr().err
    data.from_folder("pets", size=8, schema={"kind": ["cat", "dog", "cow"], "wet": ["0", "1"]})
    assert "warning: no training image has kind: cow. " in capsys.readouterr().err


def test_captions_of_own_data_name_the_values_in_order(pictures: Path) -> None:
    plain = data.from_arrays(IMAGES, WORDS)
    spec = data.from_arrays(IMAGES, WORDS, view="text")
    assert spec == datasets.parse({"name": "arrays", "data": plain.data, "view": "text"})
    # The same images, and in the other view the same spec as before there were captions.
    assert spec.build().fingerprint == plain.build().fingerprint
    assert "view" not in plain.canonical()
    module = built(spec)
    batch = module.store.batch(torch.arange(NUM))
    captions = module.captions
    assert captions.vocabulary == ("<blank>", "9", "10", "blue", "red")
    assert torch.equal(captions.parse(batch.description), batch.concept)
    assert captions.text(batch.description[3]) == f"{WORDS['size'][3]} {WORDS['colour'][3]}"
    assert data.from_folder("pets", size=8, view="text").captions().text([1, 3]) == "cat 0"
    spaced = {"size": WORDS["size"], "colour": np.char.add(WORDS["colour"], " ish")}
    data.from_arrays(IMAGES, spaced)
    with pytest.raises(ConfigError, match=r"view: a caption names a value of colour by one word.*\n.*'blue ish'"):
        data.from_arrays(IMAGES, spaced, view="text")
