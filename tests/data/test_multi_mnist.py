"""Several digits on one canvas: counts, digits, pools and places, against the digits that are said to be there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import mmvae_bench as mb
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.conformance import data as conformance
from mmvae_bench.data import commands
from mmvae_bench.data.multi_mnist import MultiMnistDataModule
from mmvae_bench.data.sources.digits import Digits, MnistSource, digit_source
from mmvae_bench.data.splits import random_partition
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.worlds.multi_mnist import MOST_SHARED, draw_layout, shared

from .sources.idx_files import IdxSet, make_idx_set


def of_digits(**settings: object) -> MultiMnistDataModule:
    data = datasets.parse({"name": "multi_mnist", "canvas": 32, "num_images": 700, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, MultiMnistDataModule)
    return data


def of_files(idx: IdxSet, folder: Path, **settings: object) -> MultiMnistDataModule:
    source = MnistSource(root=idx.write(folder, gz=True), files=idx.files, download=False)
    data = MultiMnistDataModule(
        datasets.parse({"name": "multi_mnist", "source": "mnist", "num_images": 280, **settings}),  # type: ignore[arg-type]
        source=source,
        num_digits=len(idx.labels),
        num_training=600,
    )
    data.prepare_data()
    data.setup()
    return data


def sources(data: MultiMnistDataModule) -> np.ndarray:
    """The index of each digit in its source, -1 for none: Long[N, 3]."""
    return np.stack([data.columns[f"source_{k}"] for k in range(data.spec.max_digits)], 1)


def test_a_concept_counts_the_digits_that_were_put_there() -> None:
    counted, named = of_digits(), of_digits(labels="digits")
    which, labels = sources(counted), digit_source("digits").load().labels.numpy()
    assert np.array_equal(which, sources(named))
    rows = torch.arange(700)
    assert torch.equal(counted.store.batch(rows).image, named.store.batch(rows).image)
    for row in range(700):
        there = [int(labels[index]) for index in which[row] if index >= 0]
        assert int(counted.store.concepts[row, 0]) == len(there) == counted.columns["count"][row]
        assert named.store.concepts[row].tolist() == [there.count(digit) for digit in range(10)]
    assert counted.fingerprint != named.fingerprint
    assert named.schema.format(named.store.concepts[5].tolist()).startswith("zeros=")


def test_counts_and_digits_are_equally_frequent_in_every_partition() -> None:
    data = of_digits(num_images=5600)
    labels = digit_source("digits").load().labels.numpy()
    which = sources(data)
    assert data.store.concepts[:, 0].bincount().tolist() == [1400] * 4
    for part in ("train", "val", "test"):
        rows = data.rows(part).numpy()
        shares = data.concepts(part)[:, 0].bincount() / len(rows)
        assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.05)
        digits = labels[which[rows][which[rows] >= 0]]
        shares = torch.from_numpy(digits).bincount() / len(digits)
        assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.03)


def test_test_images_are_made_of_test_digits_alone(tmp_path: Path) -> None:
    data = of_files(make_idx_set(num_train=600, num_test=60), tmp_path)
    which = sources(data)
    test = data.rows("test").numpy()
    assert test.tolist() == list(range(6, 280, 7))
    assert which[test].max() >= 600
    assert which[test][which[test] >= 0].min() >= 600
    others = np.setdiff1d(np.arange(280), test)
    assert which[others].max() < 600
    rule = random_partition(torch.arange(280), seed=42, fractions=(11 / 12, 1 / 12, 0.0)).clamp(max=1).numpy()
    assert data.rows("val").tolist() == [row for row in others if rule[row] == 1]
    stand_in = of_digits()
    which = sources(stand_in)
    pools = [{int(index) for index in which[stand_in.rows(part).numpy()].ravel() if index >= 0} for part in
             ("train", "val", "test")]  # fmt: skip
    assert not pools[2] & (pools[0] | pools[1])
    assert pools[1] & pools[0]


def test_the_pixels_are_those_of_the_digits_at_their_places(tmp_path: Path) -> None:
    """On a canvas of 64 each digit shrinks to 17 to 25 pixels: its ink is where it was put, and nowhere else."""
    idx = make_idx_set(num_train=600, num_test=60)
    data = of_files(idx, tmp_path, canvas=64)
    layout = draw_layout(np.arange(280), most=3, one_in=7, canvas=64, seed=0)
    which, images = sources(data), data.store.batch(torch.arange(280)).image[:, 0].numpy()
    compared = 0
    for row in range(280):
        outside = np.ones((64, 64), bool)
        expected = 0.0
        for k in range(3):
            if (index := which[row, k]) < 0:
                assert layout.side[row, k] == -1
                continue
            side, top, left = (int(each[row, k]) for each in (layout.side, layout.top, layout.left))
            assert 17 <= side <= 25
            assert 0 <= min(top, left) <= max(top, left) <= 64 - side
            assert idx.labels[index] == layout.digit[row, k]
            outside[top : top + side, left : left + side] = False
            expected += idx.images[index].astype(float).mean() / 255 * side**2
        assert not images[row][outside].any()
        if layout.digit[row, 1] < 0 <= layout.digit[row, 0]:
            # Alone, nothing overlaps: its ink is that of the digit, to the noise of binarisation.
            assert images[row].sum() == pytest.approx(expected, abs=6 + 4 * expected**0.5)
            compared += 1
    assert compared == 70


class Quarters:
    """Digits whose upper left quarter alone is white."""

    name, checksum, user_files = "digits", "quarters", None

    def load(self) -> Digits:
        images = torch.zeros(1000, 28, 28, dtype=torch.uint8)
        images[:, :14, :14] = 255
        return Digits(images, torch.arange(1000) % 10)


def test_a_digit_is_upright_and_where_its_box_says() -> None:
    spec = datasets.parse({"name": "multi_mnist", "canvas": 64, "num_images": 100, "max_digits": 1})
    data = MultiMnistDataModule(spec, source=Quarters(), num_digits=1000)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    layout = draw_layout(np.arange(100), most=1, one_in=7, canvas=64, seed=0)
    for row in range(7, 14):
        rows, columns = np.nonzero(data.store.batch(torch.tensor([row])).image[0, 0].numpy())
        side, top, left = (int(each[row, 0]) for each in (layout.side, layout.top, layout.left))
        assert (rows.min(), columns.min()) == (top, left)
        assert abs(rows.max() + 1 - top - side / 2) <= 1.5
        assert abs(columns.max() + 1 - left - side / 2) <= 1.5


def test_boxes_share_little_and_are_anywhere() -> None:
    layout = draw_layout(np.arange(4000), most=3, one_in=7, canvas=64, seed=3)
    three = np.flatnonzero(layout.digit[:, 2] >= 0)
    assert len(three) == 1000 or abs(len(three) - 1000) < 8
    for row in three:
        boxes = [tuple(int(each[row, k]) for each in (layout.top, layout.left, layout.side)) for k in range(3)]
        for k in range(3):
            for j in range(k):
                (top, left, side), other = boxes[k], boxes[j]
                grids = [np.zeros((64, 64), bool) for _ in range(2)]
                for grid, (y, x, s) in zip(grids, (boxes[k], other), strict=True):
                    grid[y : y + s, x : x + s] = True
                share = (grids[0] & grids[1]).sum() / min(side, other[2]) ** 2
                assert share <= MOST_SHARED
                assert shared(np.array([top]), np.array([left]), side, other)[0] == share  # type: ignore[arg-type]
    assert {int(side) for side in np.unique(layout.side)} == {-1, *range(17, 26)}
    alone = layout.top[:, 0][layout.digit[:, 0] >= 0] / (64 - layout.side[:, 0][layout.digit[:, 0] >= 0])
    assert np.histogram(alone, 4, (0, 1))[0] / len(alone) == pytest.approx([0.25] * 4, abs=0.04)


def test_an_image_depends_on_its_number_alone() -> None:
    few, many = of_digits(num_images=100), of_digits(num_images=300)
    rows = torch.arange(100)
    assert torch.equal(few.store.batch(rows).image, many.store.batch(rows).image)
    assert torch.equal(few.store.concepts, many.store.concepts[:100])
    together = many.images.make(0, 300)
    alone = of_digits(num_images=300).images.make(123, 124)
    assert np.array_equal(alone.pixels[0], together.pixels[123])
    assert not np.array_equal(of_digits(seed=1).images.make(0, 50).pixels, together.pixels[:50])


def test_the_split_comp_holds_out_what_is_together() -> None:
    data = of_digits(labels="digits", split="comp", num_images=1400)
    found = {part: {tuple(row) for row in data.concepts(part).tolist()} for part in ("train", "val", "test")}
    assert not found["train"] & found["test"]
    assert not found["val"] & (found["train"] | found["test"])
    assert data.combinations() == {part: sorted(map(list, concepts)) for part, concepts in found.items()}
    for position in range(10):
        seen = {row[position] for part in found.values() for row in part}
        assert {row[position] for row in found["train"]} == seen


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "comp"}, "split: there are too few counts to hold some out: choose split iid, or labels digits"),
        ({"canvas": 30}, "canvas"),
        ({"max_digits": 4}, "max_digits"),
        ({"labels": "digit"}, r"labels: not one of the choices\n  given: 'digit'\n  choices: count, digits"),
    ],
)
def test_what_does_not_exist_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.parse({"name": "multi_mnist", **settings})


def test_another_number_of_digits_than_that_of_mnist_is_refused(tmp_path: Path) -> None:
    idx = make_idx_set()
    source = MnistSource(root=idx.write(tmp_path, gz=False), files=idx.files, download=False)
    spec = datasets.parse({"name": "multi_mnist", "source": "mnist", "num_images": 100})
    with pytest.raises(BenchmarkError, match="source mnist has 40 digits, expected 70,000"):
        MultiMnistDataModule(spec, source=source).prepare_data()  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", ["count", "digits"])
def test_it_conforms(labels: str, tmp_path: Path) -> None:
    spec = datasets.parse({"name": "multi_mnist", "canvas": 32, "num_images": 300, "labels": labels})
    for check in conformance.CHECKS:
        check(spec)
    exported = commands.export(spec, out=tmp_path / "out")
    report = commands.verify(spec)
    assert (report["ok"], report["pixel_hash"]) == (True, exported["pixel_hash"])


def test_real_mnist() -> None:
    root = os.environ.get("MMVAE_BENCH_DATA")
    if not root or not MnistSource(download=False).user_files:
        pytest.skip("MMVAE_BENCH_DATA does not hold MNIST")
    data = datasets.parse({"name": "multi_mnist", "source": "mnist", "num_images": 1400}).build()
    data.prepare_data()
    data.setup()
    labels = MnistSource(download=False).load().labels
    assert len(data.rows("test")) == 200
    which = np.stack([data.columns[f"source_{k}"] for k in range(3)], 1)
    assert which[data.rows("test").numpy()].max() >= 60_000
    row = int(np.flatnonzero(which[:, 2] >= 0)[0])
    digits = labels[torch.from_numpy(which[row].astype(np.int64))]
    assert len(digits) == int(data.store.concepts[row, 0]) == 3


def test_a_trial_of_how_many_of_each(tmp_path: Path) -> None:
    """Ten attributes that depend on each other: the corrected protocol comes first, and open ones have coverage."""
    spec = TrialSpec.parse({
        "dataset": {"name": "multi_mnist", "canvas": 32, "num_images": 300, "labels": "digits", "max_digits": 2},
        "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 2},
        "objective": "jmvae",
        "training": {"steps": 4, "batch_size": 32, "validations": 1},
        "evaluation": {
            "num_samples": 4, "query_repeats": 1, "num_resamples": 20, "protocols": ["corrected"], "levels": [10, 1],
            "classifier": {"name": "conv_thin", "steps": 3},
        },
    })  # fmt: skip
    result = mb.run_trial(spec, out=tmp_path).result
    found = {(score["metric"], score["level"]) for score in result["scores"]}
    assert {("correctness", 10), ("correctness", 1), ("coverage", 1)} <= found
    assert spec.dataset.headline_protocol == "corrected"
