"""A dataset over a shard store, and what the commands do with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data import commands
from mmvae_bench.data.preview import preview
from mmvae_bench.specs.built_in.datasets import MnistASpec

from .shards.spec import SCHEMA, SquaresModule, SquaresSpec
from .shards.squares import Squares


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ready(**parameters: object) -> SquaresModule:
    data = SquaresModule(SquaresSpec.parse({"num_images": 60, **parameters}))
    data.workers = 0
    data.prepare_data()
    data.setup()
    return data


def test_describe_is_json_and_agrees_with_the_images() -> None:
    data = ready()
    about = json.loads(json.dumps(data.describe(), allow_nan=False))
    assert about["fingerprint"] == Squares(60).fingerprint
    assert about["recipe"] == Squares(60).describe()
    assert about["schema"] == SCHEMA.to_dict()
    assert about["storage_bytes"] == sum(path.stat().st_size for path in data.cache_path.glob("*.arrow"))
    assert sum(about["sizes"].values()) == about["num_images"] == 60
    assert about["mean_brightness"] == pytest.approx(np.mean([Squares(60).one(row)[3] for row in range(60)]))
    training = np.array([Squares(60).one(row)[1] for row in data.rows("train").tolist()])
    assert about["marginals"]["large"] == pytest.approx([1 - training[:, 1].mean(), training[:, 1].mean()])
    assert {"name", "source", "split", "split_seed", "combinations", "pixel_hash", "made_with", "path"} <= about.keys()


def test_another_split_depends_on_the_fingerprint_only() -> None:
    one, other = ready(split_seed=1), ready(split="halves")
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.rows("train", split="iid"), other.rows("train", split="iid"))
    assert not torch.equal(one.rows("train"), one.rows("train", split="iid"))
    with pytest.raises(BenchmarkError, match="split halves with seed 42 leaves no image for val"):
        other.rows("val")
    with pytest.raises(ValueError, match="unknown partition 'valid'"):
        other.rows("valid")


def test_it_must_be_prepared_first() -> None:
    data = SquaresModule(SquaresSpec(num_images=61))
    for ask in (data.setup, data.describe, lambda: data.columns):
        with pytest.raises(RuntimeError, match="prepare_data"):
            ask()
    with pytest.raises(BenchmarkError, match=r"is not prepared: .* does not exist"):
        data.verify()


def test_verify_and_prepare_through_the_commands() -> None:
    spec = SquaresSpec(num_images=12)
    found = commands.prepare(spec, workers=0)
    assert found["num_images"] == 12
    report = commands.verify(spec, workers=1)
    assert (report["ok"], report["compared"], report["different"]) == (True, 8, 0)
    shard = next(Path(found["path"]).glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    report = commands.verify(spec, workers=0)
    assert not report["ok"]
    assert [entry["file"] for entry in report["files"] if not entry["ok"]] == [shard.name]
    commands.prepare(spec, workers=0)
    assert commands.verify(spec, workers=0)["ok"]


def test_a_trial_reads_the_images_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sweep starts again and again imports no more than it needs: of ``datasets``, nothing."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "datasets"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert len(ready().store.batch(torch.arange(5))) == 5


def test_a_number_of_workers_that_would_be_ignored_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="mnist_a is always made by a single process: leave out --workers"):
        commands.prepare(MnistASpec(), workers=2)


@pytest.mark.parametrize(
    ("suffix", "format"), [(".png", "PNG"), (".jpg", "JPEG"), (".JPEG", "JPEG"), (".webp", "WEBP")]
)
def test_a_preview_is_what_its_name_says(tmp_path: Path, suffix: str, format: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    preview(ready(), path, num_images=3)
    assert Image.open(path).format == format


def test_another_ending_is_an_error_before_anything_is_made(tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"sheet.tiff: the file name of an image must end in .png, .jpg"):
        commands.preview(SquaresSpec(), out=tmp_path / "sheet.tiff", num_images=3)
    assert not own_cache.exists()


def test_captions_are_shown_where_there_are_any(tmp_path: Path) -> None:
    shown = preview(ready(captioned=True), tmp_path / "a.png", num_images=7)
    assert shown["captions"] == ["large" if "large=yes" in concept else "small" for concept in shown["concepts"]]
    assert "captions" not in preview(ready(), tmp_path / "b.png", num_images=7)


def test_masks_are_tinted_beside_the_image(tmp_path: Path) -> None:
    data = ready()
    shown = preview(data, tmp_path / "a.png", num_images=1, masks=True)
    mask = data.store.batch(torch.tensor(shown["rows"])).mask
    assert mask is not None
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    # Red over grey, in no image: each of its pixels is 448 // 12 wide.
    tinted = (pixels[..., 0] - pixels[..., 1] > 100) & (pixels[..., 1] == pixels[..., 2]) & (pixels[..., 0] < 255)
    assert tinted.sum() == int(mask.sum()) * (448 // 12) ** 2
    with pytest.raises(BenchmarkError, match="has no masks: leave out --masks"):
        preview(ready(num_masks=0), tmp_path / "a.png", num_images=1, masks=True)
