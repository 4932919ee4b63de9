"""Export and import, as others see the images, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data import commands
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.shards.export import export
from mmvae_bench.data.shards.parquet_form import PASSPORT
from mmvae_bench.specs.built_in.datasets import MnistASpec

from .spec import SCHEMA, SquaresModule, SquaresSpec
from .squares import Squares

SPEC = SquaresSpec(num_images=23)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMVAE_BENCH_CACHE", str(folder / "cache"))
        commands.export(SPEC, out=folder / "squares", workers=0)
    return folder / "squares"


@pytest.fixture
def exported(exported_once: Path, tmp_path: Path) -> Path:
    """An export that may be damaged."""
    return Path(shutil.copytree(exported_once, tmp_path / "squares"))


def ready(spec: SquaresSpec) -> SquaresModule:
    data = SquaresModule(spec)
    data.workers = 0
    data.prepare_data()
    data.setup()
    return data


def test_load_dataset_reads_it(exported: Path, own_cache: Path, tmp_path: Path) -> None:
    from datasets import ClassLabel, load_dataset
    from datasets import Image as ImageFeature

    loaded = load_dataset(str(exported), cache_dir=str(tmp_path / "datasets"))
    data = ready(SPEC)
    assert {name: len(part) for name, part in loaded.items()} == {
        {"val": "validation"}.get(name, name): size for name, size in data.describe()["sizes"].items()
    }
    train = loaded["train"]
    assert train.features["colour"] == ClassLabel(names=["red", "green", "blue"])
    assert isinstance(train.features["image"], ImageFeature)
    assert train["index"][:] == data.rows("train").tolist()
    for row in (0, 5):
        index = train[row]["index"]
        pixels, concept, mask, brightness, name = Squares(23).one(index)
        assert (np.asarray(train[row]["image"]) == pixels).all()
        assert ((np.asarray(train[row]["mask_1"]) == 255) == mask[0]).all()
        assert [train[row][attribute] for attribute in SCHEMA.names] == concept.tolist()
        assert (train[row]["brightness"], train[row]["file"]) == (brightness, name)
    one_file = load_dataset(
        "parquet",
        data_files=str(exported / "data" / "test-00000-of-00001.parquet"),
        cache_dir=str(tmp_path / "datasets"),
    )["train"]
    assert one_file["index"][:] == data.rows("test").tolist()


def test_there_and_back(exported: Path, own_cache: Path) -> None:
    found = commands.import_from(SPEC, folder=exported, workers=0)
    assert not found["already_there"]
    imported = own_cache / "datasets" / f"squares-{Squares(23).fingerprint}"
    files = {path.name: path.read_bytes() for path in imported.iterdir()}
    assert SquaresModule(SPEC).cache_path == imported
    shutil.rmtree(imported)
    made = ready(SPEC)
    assert {path.name: path.read_bytes() for path in made.cache_path.iterdir()} == files
    assert commands.import_from(SPEC, folder=exported, workers=0)["already_there"]
    assert [path.name for path in imported.parent.glob("*.import")] == []


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table], partition: str = "train") -> None:
    path = folder / "data" / f"{partition}-00000-of-00001.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    position = table.column_names.index(name)
    return table.set_column(position, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def other_pixel(table: pa.Table) -> pa.Table:
    values = table.column("image").to_pylist()
    pixels = np.asarray(Image.open(io.BytesIO(values[2]["bytes"]))).copy()
    pixels[0, 0, 0] ^= 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return with_column(table, "image", [*values[:2], {"bytes": file.getvalue(), "path": None}, *values[3:]])


def other_label(table: pa.Table) -> pa.Table:
    values = table.column("large").to_pylist()
    return with_column(table, "large", [1 - values[0], *values[1:]])


def no_picture(table: pa.Table) -> pa.Table:
    return with_column(table, "image", [{"bytes": b"x", "path": None}] * len(table))


def twice(table: pa.Table) -> pa.Table:
    values = table.column("index").to_pylist()
    return with_column(table, "index", [values[1], *values[1:]])


def passport(folder: Path, **changes: object) -> None:
    path = folder / PASSPORT
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


REFUSED = {
    "a pixel": (lambda folder: rewrite(folder, other_pixel), "the pixels in .* do not match"),
    "a label": (lambda folder: rewrite(folder, other_label), "the labels in .* do not match"),
    "a row too few": (lambda folder: rewrite(folder, lambda t: t.slice(1)), "contains 22 images, but .* says 23"),
    "a row twice": (lambda folder: rewrite(folder, twice), "some are missing or duplicated"),
    "no picture": (lambda folder: rewrite(folder, no_picture), "not a picture"),
    "a column too few": (
        lambda folder: rewrite(folder, lambda t: t.drop_columns(["colour"])),
        "does not have the columns",
    ),
    "a file too few": (lambda folder: next(folder.glob("data/test*")).unlink(), "images, .* says 23"),
    "no parquet": (lambda folder: next(folder.glob("data/test*")).write_bytes(b"no"), "is damaged or not a Parquet"),
    "no passport": (lambda folder: (folder / PASSPORT).unlink(), "is not an export: it has no mmvae_bench.json"),
    "a broken passport": (lambda folder: (folder / PASSPORT).write_text("{"), "is damaged"),
    "a later version": (lambda folder: passport(folder, format=2), "format 2, this version reads 1"),
    "another dataset": (
        lambda folder: passport(folder, name="circles"),
        "dataset: circles in the export, squares requested",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_or_damaged_export_is_refused(exported: Path, own_cache: Path, what: str) -> None:
    damage, message = REFUSED[what]
    damage(exported)
    with pytest.raises(BenchmarkError, match=message):
        commands.import_from(SPEC, folder=exported, workers=0)
    assert not SquaresModule(SPEC).cache_path.exists()
    assert [path for path in own_cache.glob("datasets/*") if path.is_dir()] == []


def test_other_settings_are_named(exported: Path, own_cache: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"version: 1 in the export, 2 requested"):
        commands.import_from(SquaresSpec(num_images=23, version=2), folder=exported)


def test_a_folder_with_something_in_it_is_left_alone(exported: Path, own_cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    with pytest.raises(BenchmarkError, match="is not an empty folder"):
        commands.export(SPEC, out=exported, workers=0)
    assert {path: path.stat().st_mtime_ns for path in exported.rglob("*")} == before


def test_mnist_a_is_exported_as_well_and_not_imported(digits: ConceptDataModule, tmp_path: Path) -> None:
    export(digits, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    row = digits.rows("train")[3:4]
    pixels = np.asarray(Image.open(io.BytesIO(table.column("image")[3].as_py()["bytes"])))
    assert (pixels == digits.store.batch(row).image[0, 0].numpy() * 255).all()
    with pytest.raises(BenchmarkError, match="mnist_a cannot be imported"):
        commands.import_from(MnistASpec(), folder=tmp_path / "out")
