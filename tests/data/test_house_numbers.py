"""House numbers: SVHN's files in their format, made up here, its own test set, and what is drawn in their place."""

from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat, savemat

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.conformance import data as conformance
from mmvae_bench.data import commands
from mmvae_bench.data.house_numbers import HouseNumbersDataModule
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.svhn import FILES, MatFile, SvhnSource, parse_mat
from mmvae_bench.specs.components import datasets

NUM_TRAIN, NUM_TEST = 240, 30
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (NUM_TRAIN + NUM_TEST, 32, 32, 3), np.uint8)
LABELS = RANDOM.integers(0, 10, NUM_TRAIN + NUM_TEST)


def mat(images: np.ndarray, digits: np.ndarray, *, compressed: bool = True, **others: object) -> bytes:
    """As SVHN's are: rows, columns, channels, images; and a column of labels with 10 for 0."""
    content = {"X": np.moveaxis(images, 0, 3), "y": np.where(digits == 0, 10, digits)[:, None].astype(np.uint8)}
    out = io.BytesIO()
    savemat(out, content | others, do_compression=compressed)
    return out.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def source_of(root: Path, folder: str = ".", **settings: bool) -> SvhnSource:
    parts = [mat(IMAGES[:NUM_TRAIN], LABELS[:NUM_TRAIN], **settings), mat(IMAGES[NUM_TRAIN:], LABELS[NUM_TRAIN:])]
    files = []
    for file, content, num in zip(FILES, parts, (NUM_TRAIN, NUM_TEST), strict=True):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / file.name).write_bytes(content)
        files.append(replace(file, md5=md5(content), num_images=num))
    return SvhnSource(root=root, files=files)


def ready(source: SvhnSource, **settings: object) -> HouseNumbersDataModule:
    spec = datasets.parse({"name": "house_numbers", "source": "svhn", **settings})
    data = HouseNumbersDataModule(spec, source=source)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize(("folder", "compressed"), [(".", True), ("svhn", False), ("SVHN", True)])
def test_images_labels_and_the_test_set_are_those_of_the_files(folder: str, compressed: bool, tmp_path: Path) -> None:
    data = ready(source_of(tmp_path, folder, compressed=compressed))
    batch = data.store.batch(torch.arange(NUM_TRAIN + NUM_TEST))
    assert batch.concept[:, 0].tolist() == LABELS.tolist()
    pixels = (batch.image * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, IMAGES)
    assert data.rows("test").tolist() == list(range(NUM_TRAIN, NUM_TRAIN + NUM_TEST))
    rest = torch.cat([data.rows("train"), data.rows("val")]).sort().values
    assert torch.equal(rest, torch.arange(NUM_TRAIN))
    assert 8 <= len(data.rows("val")) <= 36
    assert "of the 240 others 1 in 12" in data.describe()["iid"]


def test_fewer_photographs_are_spread_over_both_files(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    whole, part = ready(source), ready(source, num_images=100)
    index = torch.arange(100) * 270 // 100
    assert part.columns["source_index"].tolist() == index.tolist()
    assert torch.equal(part.store.concepts, whole.store.concepts[index])
    assert part.rows("test").tolist() == [k for k in range(100) if index[k] >= NUM_TRAIN]
    assert torch.isin(index[part.rows("val")], whole.rows("val")).all()
    other = ready(source, split_seed=1)
    assert torch.equal(other.rows("test"), whole.rows("test"))
    assert not torch.equal(other.rows("val"), whole.rows("val"))


def test_photographs_are_scaled_to_another_canvas(tmp_path: Path) -> None:
    data = ready(source_of(tmp_path), canvas=16)
    pixels = (data.store.batch(torch.tensor([7])).image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels, np.asarray(Image.fromarray(IMAGES[7]).resize((16, 16), Image.Resampling.BICUBIC)))


def test_missing_and_wrong_files_are_described(tmp_path: Path) -> None:
    with pytest.raises(MissingSourceError) as caught:
        SvhnSource(root=tmp_path).load()
    wanted = ["missing: train_32x32.mat", "missing: test_32x32.mat", FILES[0].md5, "MMVAE_BENCH_DATA", "source=drawn"]
    for said in (*wanted, str(tmp_path / "svhn")):
        assert said in str(caught.value)
    source = source_of(tmp_path)
    path = tmp_path / "test_32x32.mat"
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    with pytest.raises(
        SourceError, match=rf"{path}: wrong md5 \w+, expected {md5(content)} \({len(content) - 200:,} byt"
    ):
        source.load()
    with pytest.raises(BenchmarkError, match="delete it, and copy or download it again"):
        ready(source)
    path.unlink()
    with pytest.raises(MissingSourceError, match=r"missing: test_32x32.mat\nlooked in"):
        source.load()
    path.mkdir()
    with pytest.raises(MissingSourceError, match=r"missing: test_32x32.mat"):
        source.load()


GOOD = mat(IMAGES[:20], LABELS[:20])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f.mat is not as it should be: no MATLAB 5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "no MATLAB 5 file"),
        (GOOD[:-100], "it ends within an element"),
        (GOOD[:128], "there is no array X"),
        (GOOD[:128] + struct.pack("<II", 15, 8) + zlib.compress(b""), "there is no array X"),
        (mat(IMAGES[:19], LABELS[:19]), "array X is uint8 [32, 32, 3, 19], expected numbers [32, 32, 3, 20]"),
        (mat(IMAGES[:20].astype(float), LABELS[:20]), "X is float64, expected uint8"),
        (mat(IMAGES[:20], LABELS[:20], X={"a": 1}), "array X is of class 2 [1, 1], expected numbers"),
        (mat(IMAGES[:20], LABELS[:20], y=np.array([["a"]], dtype=object)), "array y is of class 1 [1, 1]"),
        (mat(IMAGES[:20], LABELS[:20], y=np.ones((20, 1)) * 1j), "array y is double [20, 1], expected numbers"),
        (mat(IMAGES[:20], LABELS[:20] + 11), "a label is not one of 1 to 10"),
        (mat(IMAGES[:20], LABELS[:20], y=np.full((20, 1), 1.5)), "a label is not one of 1 to 10"),
        (mat(IMAGES[:20], LABELS[:20], y=np.full((20, 1), np.nan)), "a label is not one of 1 to 10"),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_mat(content, num_images=20, name="f.mat")
    assert message in str(caught.value)


def test_it_reads_what_scipy_reads() -> None:
    """Other arrays, text and structures beside them are passed over; labels may be of any type."""
    others = {"text": "SVHN", "cell": np.array([["a", 1]], dtype=object), "s": {"a": [1, 2]}, "empty": np.zeros((0, 0))}
    for compressed in (True, False):
        for kind in (np.uint8, np.int16, np.float64):
            labels = np.where(LABELS[:20] == 0, 10, LABELS[:20])[:, None].astype(kind)
            content = mat(IMAGES[:20], LABELS[:20], compressed=compressed, **(others | {"y": labels}))
            images, digits = parse_mat(content, num_images=20, name="f.mat")
            theirs = loadmat(io.BytesIO(content))
            assert np.array_equal(images, np.moveaxis(theirs["X"], 3, 0))
            assert np.array_equal(digits, theirs["y"][:, 0] % 10)


def test_what_a_few_bytes_expand_to_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(2**26))
    content = GOOD[:128] + struct.pack("<II", 15, len(bomb)) + bomb
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="more than 495,616 bytes when unpacked"):
            parse_mat(content, num_images=20, name="f.mat")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_any_damage_is_an_error_or_the_same_shapes() -> None:
    random = np.random.default_rng(1)
    plain = mat(IMAGES[:20], LABELS[:20], compressed=False)
    for whole in (GOOD, plain):
        for _ in range(60):
            content = bytearray(whole)
            for place in random.integers(124, 400, 3):
                content[place] = random.integers(0, 256)
            try:
                images, labels = parse_mat(bytes(content), num_images=20, name="f.mat")
            except SourceError:
                continue
            assert images.shape == (20, 32, 32, 3)
            assert labels.min() >= 0
            assert labels.max() <= 9


def test_the_expected_files_are_svhns() -> None:
    assert [(file.name, file.num_images) for file in FILES] == [("train_32x32.mat", 73_257), ("test_32x32.mat", 26_032)]
    assert (
        sum(file.num_images for file in FILES)
        == datasets.parse({"name": "house_numbers", "source": "svhn"}).most_images()
    )
    assert isinstance(FILES[0], MatFile)


def of_drawings(**settings: object) -> HouseNumbersDataModule:
    data = datasets.parse({"name": "house_numbers", "num_images": 400, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, HouseNumbersDataModule)
    return data


def test_drawn_ones_conform_and_are_verified(tmp_path: Path) -> None:
    spec = datasets.parse({"name": "house_numbers", "num_images": 200, "canvas": 16})
    for check in conformance.CHECKS:
        check(spec)
    exported = commands.export(spec, out=tmp_path / "out")
    report = commands.verify(spec)
    assert (report["ok"], report["pixel_hash"]) == (True, exported["pixel_hash"])


def test_every_digit_and_partition_is_there() -> None:
    data = of_drawings()
    counts = Counter(data.store.concepts[:, 0].tolist())
    assert set(counts) == set(range(10))
    assert min(counts.values()) > 20
    sizes = [len(data.rows(part)) / 400 for part in ("train", "val", "test")]
    assert sizes == pytest.approx([0.85, 0.05, 0.10], abs=0.04)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"canvas": 28}, "canvas"),
        ({"split": "comp"}, r"split: not one of the choices\n  given: 'comp'\n  choices: iid"),
        (
            {"source": "svhn", "num_images": 99_290},
            "num_images: SVHN has 99,289 images; use at most that many, or null",
        ),
        ({"source": "digits"}, r"source: not one of the choices\n  given: 'digits'\n  choices: drawn, svhn"),
    ],
)
def test_what_does_not_exist_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.parse({"name": "house_numbers", **settings})
