"""CelebA and MNIST as people have them: other folders, other lists, other names, and folders with odd names."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmvae_bench.data.celeba18 import CelebA18DataModule
from mmvae_bench.data.mnist_a import MnistADataModule
from mmvae_bench.data.shards.export import export
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.celeba_photos import CroppedPhotos, Photos, find_photos
from mmvae_bench.data.sources.celeba_rows import image_name
from mmvae_bench.data.sources.digits import MnistSource
from mmvae_bench.specs.built_in.datasets import CelebA18Spec, MnistASpec

from .celeba_copy import COLUMNS, FakeCelebA, photo
from .idx_files import make_idx_set

FAKE = FakeCelebA(num=26, size=(89, 109))
ODD = ("hub[v1]", "a * b?", "100%#1 ~{x}", "Gesichter ä 顔")
PARTS = ("train", "valid", "test")
Layout = Callable[[Path], None]


def find(root: Path) -> Photos:
    return find_photos(root, **FAKE.files)


def check(photos: Photos) -> None:
    """The images and labels of all 26."""
    assert photos.rows.ids.tolist() == list(range(1, 27))
    assert np.array_equal(photos.rows.concepts, FAKE.concepts)
    assert np.array_equal(photos.rows.partition, FAKE.partition)
    made = CroppedPhotos(photos, size=16).make(0, 26)
    for position, content in enumerate(photo(number, FAKE.size) for number in range(1, 27)):
        expected = next(iter(CroppedPhotos(photos, size=16)._crops(np.array([position]))))
        assert np.array_equal(made.pixels[position], expected)
        assert next(iter(photos.files.read(np.array([position])))) == content


def rows(start: int, stop: int) -> pa.Table:
    """Rows of a hub's copy."""
    images = [{"bytes": photo(number + 1, FAKE.size), "path": image_name(number + 1)} for number in range(start, stop)]
    labels = {name: (FAKE.values[start:stop, place] > 0).tolist() for place, name in enumerate(COLUMNS)}
    return pa.table({"image": images, **labels})


BOUNDS = {"train": (0, 6), "valid": (6, 16), "test": (16, 26)}


def write_parquet(folder: Path, name: str, *, files: int = 1) -> None:
    """Parquet files of every split, called ``name`` with {split}, {number} and {total}; in row groups of four."""
    for split, (start, stop) in BOUNDS.items():
        edges = np.linspace(start, stop, files + 1).astype(int)
        for number in range(files):
            path = folder / name.format(split=split, number=number, total=files)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows(edges[number], edges[number + 1]), path, row_group_size=4)


def kaggle(folder: Path) -> None:
    """The folder as Kaggle unpacks it: images twice nested, and lists as CSV."""
    FAKE.write_images(folder / "img_align_celeba")
    FAKE.write_csv(folder)


def authors(folder: Path) -> None:
    """The folders of CelebA's own pages."""
    FAKE.write_images(folder / "Img", "zip")
    FAKE.write_texts(folder)
    for name, place in (("list_attr_celeba.txt", "Anno"), ("list_eval_partition.txt", "Eval")):
        (folder / place).mkdir()
        (folder / name).rename(folder / place / name)


def twice(folder: Path) -> None:
    """celeba/celeba/"""
    FAKE.write_images(folder / "celeba")
    FAKE.write_texts(folder / "celeba", gz=True)


def bare(folder: Path) -> None:
    """The images and the lists in one folder."""
    FAKE.write_images(folder)
    for path in list((folder / "img_align_celeba").iterdir()):
        path.rename(folder / path.name)
    FAKE.write_texts(folder)


def linked(folder: Path) -> None:
    """The hub's cache: every file a link."""
    store = folder.parent / "blobs"
    write_parquet(store, "{split}-{number:05d}-of-{total:05d}.parquet", files=2)
    inner = folder / "datasets--flwrlabs--celeba" / "snapshots" / "0123abcd" / "img_align+identity+attr"
    inner.mkdir(parents=True)
    for path in store.iterdir():
        (inner / path.name).symlink_to(path)


LAYOUTS: dict[str, Layout] = {
    "kaggle": kaggle,
    "authors": authors,
    "twice": twice,
    "bare": bare,
    "one file per split": lambda folder: write_parquet(folder, "{split}.parquet"),
    "converted by the hub": lambda folder: write_parquet(folder, "default/{split}/{number:04d}.parquet", files=2),
    "data": lambda folder: write_parquet(folder, "data/{split}-{number:05d}-of-{total:05d}.parquet", files=2),
    "with a hash": lambda folder: write_parquet(folder, "data/{split}-{number:05d}-of-{total:05d}-0f1e2d3c.parquet"),
    "linked": linked,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_as_people_have_them(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path / "celeba")
    check(find(tmp_path))


@pytest.mark.parametrize("layout", ["kaggle", "one file per split", "converted by the hub", "data"])
def test_the_data_root_may_be_the_folder_itself_or_a_folder_above(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path / "input" / "celeba-dataset")
    check(find(tmp_path / "input" / "celeba-dataset"))
    check(find(tmp_path / "input"))


def test_one_parquet_file_is_a_training_part(tmp_path: Path) -> None:
    (tmp_path / "celeba").mkdir()
    pq.write_table(rows(0, 26), tmp_path / "celeba" / "train.parquet")
    photos = find(tmp_path)
    assert np.array_equal(photos.rows.concepts, FAKE.concepts)
    assert photos.rows.partition.tolist() == [0] * 26


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("layout", ["folder", "zip", "tar", "kaggle", "data", "saved"])
def test_folders_with_odd_names(tmp_path: Path, name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the data root and of the cache."""
    folder = tmp_path / name / "celeba"
    if layout == "saved":
        features = {split: datasets.Dataset(rows(*bounds)) for split, bounds in BOUNDS.items()}
        datasets.DatasetDict(features).save_to_disk(str(tmp_path / "plain"))
        shutil.copytree(tmp_path / "plain", folder)
    elif layout in LAYOUTS:
        LAYOUTS[layout](folder)
    else:
        FAKE.write_texts(folder)
        FAKE.write_images(folder, layout)
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / f"cache {name}"))
    photos = find(tmp_path / name)
    check(photos)
    spec = CelebA18Spec.parse({"source": "celeba", "size": 16})
    data = CelebA18DataModule(spec, photos=photos)
    data.workers = 0
    data.prepare_data()
    data.setup()
    assert data.verify()["ok"]
    if layout == "folder":
        pixels = data.describe()["pixel_hash"]
        export(data, tmp_path / f"out {name}")
        shutil.rmtree(data.cache_path)
        assert data.import_from(tmp_path / f"out {name}")["pixel_hash"] == pixels


@pytest.mark.parametrize("name", ODD)
def test_mnist_and_its_cache_in_folders_with_odd_names(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_idx_set()
    small.write(tmp_path / name / "MNIST" / "raw", gz=True)
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / f"cache {name}"))
    spec = MnistASpec.parse({"canvas": 16, "num_sources": 20, "replicas": 1, "source": "mnist"})
    data = MnistADataModule(spec, source=MnistSource(root=tmp_path / name, files=small.files, download=False))
    data.prepare_data()
    data.setup()
    assert data.verify()["ok"]


@pytest.mark.parametrize("gz", [True, False])
def test_mnist_is_read_by_content(tmp_path: Path, gz: bool) -> None:
    """Unpacked under a name that ends in .gz, and packed under one that does not; as Kaggle calls the files."""
    small = make_idx_set()
    for number, (name, content) in enumerate((small.packed if not gz else small.contents).items()):
        path = tmp_path / (name + ".gz" * gz)
        if number > 1:
            path = tmp_path / name / (name.replace("-idx", ".idx") + ".gz" * gz)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    digits = MnistSource(root=tmp_path, files=small.files, download=False).load()
    assert np.array_equal(digits.images.numpy(), small.images)
    assert np.array_equal(digits.labels.numpy(), small.labels)


def test_lists_of_celeba_are_read_by_content(tmp_path: Path) -> None:
    FAKE.write_images(tmp_path / "celeba")
    for name, text in FAKE.texts.items():
        (tmp_path / "celeba" / name).write_bytes(gzip.compress(text.encode()))
    check(find(tmp_path))
    FAKE.write_texts(tmp_path / "celeba")
    for name in FAKE.texts:
        (tmp_path / "celeba" / name).rename(tmp_path / "celeba" / f"{name}.gz")
    check(find(tmp_path))


@pytest.mark.parametrize("layout", ["png", "wild", "7z", "tar.gz", "parquet of another name", "nothing"])
def test_what_is_not_understood_is_named_with_what_was_found(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "celeba"
    folder.mkdir()
    found = {"png": "1 .png", "wild": "img_celeba/", "7z": "2 .7z", "tar.gz": "1 .tar.gz", "nothing": "nothing"}
    if layout == "png":
        (folder / "img_align_celeba_png").mkdir()
        (folder / "000001.png").write_bytes(b"png")
    elif layout == "wild":
        (folder / "img_celeba").mkdir()
        (folder / "img_celeba" / "girl.jpg").write_bytes(b"")
    elif layout == "7z":
        (folder / "img_align_celeba_png.7z.001").write_bytes(b"")
        (folder / "a.7z").write_bytes(b"")
        (folder / "b.7z").write_bytes(b"")
    elif layout == "tar.gz":
        (folder / "img_align_celeba.tar.gz").write_bytes(b"")
    elif layout != "nothing":
        pq.write_table(rows(0, 3), folder / "faces.parquet")
    with pytest.raises(MissingSourceError) as caught:
        find(tmp_path)
    lines = str(caught.value).splitlines()
    (line,) = [line for line in lines if line.startswith(f"  {folder.resolve()}: ")]
    assert found.get(layout, "1 .parquet") in line
    assert "--data-root" not in str(caught.value)


def test_an_incomplete_or_doubled_download_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "celeba"
    write_parquet(folder, "data/{split}-{number:05d}-of-{total:05d}.parquet", files=3)
    whole = (folder / "data" / "valid-00001-of-00003.parquet").read_bytes()
    (folder / "data" / "valid-00001-of-00003.parquet").unlink()
    with pytest.raises(SourceError, match=r"incomplete: of 3 files such as valid-.*1 are missing, the first .* 00001"):
        find(tmp_path)
    (folder / "data" / "valid-00001-of-00003.parquet").write_bytes(whole)
    check(find(tmp_path))
    pq.write_table(rows(0, 6), folder / "data" / "train.parquet")
    with pytest.raises(SourceError, match=r"several sets of files of one split: .*train\.parquet"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "000003.jpg,",
            "000003.jpg,7",
            r"list_eval_partition\.csv: column partition, row 2 .*: 70: expected 0, 1",
        ),
        ("000003.jpg,0", "000003.jpg,", r"list_eval_partition\.csv: column partition, row 2 .*: None: missing"),
        ("000003.jpg", "3.jpg", r"list_eval_partition\.csv: column image_id, row 2 .*: '3\.jpg': expected an image's"),
        ("000003.jpg", "000004.jpg", r"list_eval_partition\.csv: 000004\.jpg occurs twice"),
        ("partition", "split", r"list_eval_partition\.csv: .* not one column partition; it has: image_id, split"),
        ("000003.jpg,0", "000003.jpg,0,0", r"list_eval_partition\.csv: not a CSV file .*Expected 2 columns, got 3"),
    ],
)
def test_a_wrong_line_of_a_csv_list_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    kaggle(tmp_path / "celeba")
    path = tmp_path / "celeba" / "list_eval_partition.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SourceError, match=message):
        find(tmp_path)
