"""A copy of the Hugging Face hub's CelebA, made here in the layout of the usual one."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.celeba_photos import CroppedPhotos, decode_and_crop, find_photos

from .celeba_copy import COLUMNS, FakeCelebA, photo

FAKE = FakeCelebA(num=32, size=(89, 109))
SIZES = (12, 10, 10)


def hub_copy(*, signed: bool = False, validation: str = "valid", drop: tuple[str, ...] = ()) -> datasets.DatasetDict:
    """Splits train, valid and test with an image, an id of the person, and the attributes as booleans or -1 and 1."""
    parts, start = {}, 0
    for name, size in zip(("train", validation, "test"), SIZES, strict=True):
        values = FAKE.values[start : start + size]
        columns: dict[str, list[object]] = {
            "image": [{"bytes": photo(start + i + 1, FAKE.size), "path": None} for i in range(size)],
            "celeb_id": list(range(size)),
        }
        for column, attribute in enumerate(COLUMNS):
            present = values[:, column]
            columns[attribute] = (present if signed else present > 0).tolist()
        for name_dropped in drop:
            del columns[name_dropped]
        parts[name] = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
        start += size
    return datasets.DatasetDict(parts)


def check(root: Path) -> None:
    photos = find_photos(root)
    assert np.array_equal(photos.rows.concepts, FAKE.concepts)
    assert np.bincount(photos.rows.partition).tolist() == list(SIZES)
    assert photos.rows.ids.tolist() == list(range(1, 33))
    made = CroppedPhotos(photos, size=16).make(10, 15)
    for place, number in enumerate(range(11, 16)):
        expected = decode_and_crop(photo(number, FAKE.size), photo_size=FAKE.size, size=16)
        assert np.array_equal(made.pixels[place], expected)


@pytest.mark.parametrize(("signed", "validation"), [(False, "valid"), (True, "validation")])
def test_saved_to_disk(tmp_path: Path, signed: bool, validation: str) -> None:
    hub_copy(signed=signed, validation=validation).save_to_disk(str(tmp_path / "celeba" / "hub"))
    check(tmp_path)


def test_parquet_files_as_the_hub_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "celeba" / "img_align+identity+attr"
    folder.mkdir(parents=True)
    for name, part in hub_copy().items():
        part.to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))
    check(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    hub_copy(drop=("Bald",)).save_to_disk(str(tmp_path / "celeba"))
    with pytest.raises(SourceError, match="no column Bald"):
        find_photos(tmp_path)


def test_images_already_cropped_are_refused(tmp_path: Path) -> None:
    copy = hub_copy()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    squares = (
        copy["train"].remove_columns("image").add_column("image", [{"bytes": buffer.getvalue(), "path": None}] * 12)
    )
    copy["train"] = squares.cast_column("image", datasets.Image()).select_columns(copy["test"].column_names)
    copy.save_to_disk(str(tmp_path / "celeba"))
    with pytest.raises(SourceError, match="64x64"):
        find_photos(tmp_path)
