"""MNIST as it is, and MNIST-2bit: pixels, concepts, the official test digits, and small trials."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import mmvae_bench as mb
from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.data import commands
from mmvae_bench.data.mnist import MnistDataModule, binarise, scale
from mmvae_bench.data.sources.digits import MnistSource, digit_source
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrialSpec

from .sources.idx_files import IdxSet, make_idx_set

BITS = {0: "even small", 1: "odd small", 2: "even small", 3: "odd small", 4: "even small",
        5: "odd large", 6: "even large", 7: "odd large", 8: "even large", 9: "odd large"}  # fmt: skip


def of_files(idx: IdxSet, folder: Path, name: str = "mnist", **settings: object) -> MnistDataModule:
    """A dataset of made-up files of MNIST, ready."""
    source = MnistSource(root=idx.write(folder, gz=True), files=idx.files, download=False)
    num_training = len(idx.contents[idx.files[1].name]) - 8
    data = MnistDataModule(
        datasets.parse({"name": name, "source": "mnist", **settings}),  # type: ignore[arg-type]
        source=source,
        num_digits=len(idx.labels),
        num_training=num_training,
    )
    data.prepare_data()
    data.setup()
    return data


def of_digits(**settings: object) -> MnistDataModule:
    data = datasets.parse({"name": "mnist", "canvas": 16, "num_images": 500, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, MnistDataModule)
    return data


def test_images_labels_and_the_test_digits_are_those_of_the_files(tmp_path: Path) -> None:
    idx = make_idx_set(num_train=600, num_test=40)
    data = of_files(idx, tmp_path)
    batch, grey = data.store.batch(torch.arange(640)), torch.from_numpy(idx.images).int()
    assert batch.concept[:, 0].tolist() == idx.labels.tolist()
    assert set(batch.image.unique().tolist()) == {0.0, 1.0}
    assert bool((batch.image[:, 0][grey == 0] == 0).all())
    assert bool((batch.image[:, 0][grey == 255] == 1).all())
    # Half a million draws: of each quarter of the greys as many are white as the mean grey says.
    for low in (0, 64, 128, 192):
        part = (grey >= low) & (grey < low + 64)
        expected = (grey[part].double() / 255).mean()
        assert batch.image[:, 0][part].double().mean() == pytest.approx(expected.item(), abs=0.005)
    assert data.rows("test").tolist() == list(range(600, 640))
    assert torch.equal(torch.cat([data.rows("train"), data.rows("val")]).sort().values, torch.arange(600))
    assert 25 <= len(data.rows("val")) <= 80
    assert len(data.rows("test", split="iid")) == 40


def test_the_seed_of_the_split_moves_validation_alone(tmp_path: Path) -> None:
    idx = make_idx_set(num_train=600, num_test=40)
    one, other = of_files(idx, tmp_path), of_files(idx, tmp_path, split_seed=1)
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.rows("test"), other.rows("test"))
    assert not torch.equal(one.rows("val"), other.rows("val"))


def test_the_two_bits_are_those_of_the_digit(tmp_path: Path) -> None:
    idx = make_idx_set(num_train=200, num_test=20)
    plain, bits = of_files(idx, tmp_path), of_files(idx, tmp_path, "mnist_2bit")
    rows = torch.arange(220)
    assert torch.equal(plain.store.batch(rows).image, bits.store.batch(rows).image)
    said = [" ".join(bits.schema.words(concept, brief=True)) for concept in bits.store.concepts.tolist()]
    assert said == [BITS[label] for label in idx.labels.tolist()]
    assert plain.fingerprint != bits.fingerprint
    for partition in ("train", "test"):
        assert len(bits.concepts(partition).unique(dim=0)) == 4


def test_an_image_depends_on_its_digit_and_the_seed_alone() -> None:
    grey, index = torch.rand(50, 28, 28, dtype=torch.float64), torch.arange(50) * 7
    together = binarise(grey, index, seed=3)
    for k in (0, 13, 49):
        assert torch.equal(binarise(grey[k : k + 1], index[k : k + 1], seed=3)[0], together[k])
    assert not torch.equal(binarise(grey, index, seed=4), together)
    assert not torch.equal(binarise(grey[:1], index[1:2], seed=3)[0], together[0])


def test_greys_are_what_the_pixels_were_drawn_from(tmp_path: Path) -> None:
    """Of the files, row by row in any order; and of a selection of digits, scaled."""
    idx = make_idx_set(num_train=600, num_test=40)
    data, rows = of_files(idx, tmp_path), torch.tensor([630, 2, 2, 17])
    batch = data.greys(data.store.batch(rows))
    torch.testing.assert_close(batch.image[:, 0], torch.from_numpy(idx.images)[rows].float() / 255)
    assert torch.equal(batch.index, rows)
    smaller = of_digits(name="mnist_2bit")
    grey = smaller.greys(smaller.store.batch(torch.arange(500))).image[:, 0]
    index = torch.arange(500) * 1797 // 500
    torch.testing.assert_close(grey, scale(digit_source("digits").load().images[index], 16).float())
    stored = smaller.store.batch(torch.arange(500)).image[:, 0]
    assert torch.equal(binarise(grey.double(), index, seed=0), stored > 0)


@pytest.mark.parametrize("canvas", [16, 32, 64])
def test_a_digit_is_scaled_to_the_canvas(canvas: int) -> None:
    """Twice as large is twice as large: the mean grey and the centre of mass, in units of the canvas, stay."""
    digits = digit_source("digits").load().images[:20]
    grey, own = scale(digits, canvas), digits.double() / 255
    assert grey.shape == (20, canvas, canvas)
    assert grey.min() >= 0
    assert grey.max() <= 1
    for image, scaled in zip(own, grey, strict=True):
        assert scaled.mean().item() == pytest.approx(image.mean().item(), rel=0.02)
        for dimension in (0, 1):
            centres = [
                (each.sum(dimension) * (torch.arange(side) + 0.5) / side).sum() / each.sum()
                for each, side in ((image, 28), (scaled, canvas))
            ]
            assert centres[0].item() == pytest.approx(centres[1].item(), abs=0.005)
    assert torch.equal(scale(digits, 28), own)


def test_the_stand_in_has_a_partition_of_each_kind_and_says_that_it_is_one() -> None:
    data = of_digits(num_images=1797)
    sizes = [len(data.rows(part)) / 1797 for part in ("train", "val", "test")]
    assert sizes == pytest.approx([0.85, 0.05, 0.10], abs=0.02)
    assert data.describe()["source"] == "digits"
    assert data.store.concepts[:, 0].tolist() == digit_source("digits").load().labels.tolist()


def test_fewer_images_are_evenly_spread_over_the_source() -> None:
    data = of_digits(num_images=100)
    index = torch.arange(100) * 1797 // 100
    assert data.columns["source_index"].tolist() == index.tolist()
    assert data.store.concepts[:, 0].tolist() == digit_source("digits").load().labels[index].tolist()
    # A digit is in the same partition, however many there are.
    whole = of_digits(num_images=1797)
    tests = set(whole.rows("test").tolist())
    assert [int(each) in tests for each in index] == torch.isin(torch.arange(100), data.rows("test")).tolist()


@pytest.mark.parametrize("name", ["mnist", "mnist_2bit"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_images": 1798}, r"num_images: source digits has 1,797 digits; use at most that many, or null for all"),
        ({"split": "comp"}, r"split: not one of the choices\n  given: 'comp'\n  choices: iid"),
        ({"source": "svhn"}, r"source: not one of the choices\n  given: 'svhn'\n  choices: mnist, digits"),
        ({"canvas": 8}, r"canvas"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.parse({"name": name, **settings})


def test_another_number_of_digits_than_that_of_mnist_is_refused(tmp_path: Path) -> None:
    idx = make_idx_set()
    source = MnistSource(root=idx.write(tmp_path, gz=False), files=idx.files, download=False)
    data = MnistDataModule(datasets.parse({"name": "mnist", "source": "mnist"}), source=source)  # type: ignore[arg-type]
    with pytest.raises(BenchmarkError, match="source mnist has 40 digits, expected 70,000"):
        data.prepare_data()


def test_it_is_verified_and_exported(tmp_path: Path) -> None:
    spec = datasets.parse({"name": "mnist_2bit", "canvas": 16, "num_images": 100})
    exported = commands.export(spec, out=tmp_path / "out")
    report = commands.verify(spec)
    assert (report["ok"], report["pixel_hash"]) == (True, exported["pixel_hash"])


def test_real_mnist() -> None:
    root = os.environ.get("MMVAE_BENCH_DATA")
    if not root or not MnistSource(download=False).user_files:
        pytest.skip("MMVAE_BENCH_DATA does not hold MNIST")
    data = datasets.parse({"name": "mnist_2bit", "source": "mnist"}).build()
    data.prepare_data()
    data.setup()
    digits = MnistSource(download=False).load()
    assert data.describe()["sizes"] == {"train": 54_987, "val": 5_013, "test": 10_000}
    assert torch.equal(data.rows("test"), torch.arange(60_000, 70_000))
    assert torch.equal(data.store.concepts[:, 0], digits.labels % 2)
    assert torch.equal(data.store.concepts[:, 1], (digits.labels >= 5).long())
    rows = torch.tensor([0, 59_999, 60_000, 69_999])
    image, grey = data.store.batch(rows).image[:, 0], digits.images[rows].double() / 255
    assert bool((image[grey == 0] == 0).all())
    assert bool((image[grey == 1] == 1).all())
    assert (image - grey).abs().mean() < 0.05


TRIAL = {
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 2},
    "objective": "jmvae",
    "training": {"steps": 6, "batch_size": 32, "validations": 1},
    "evaluation": {
        "num_samples": 5, "query_repeats": 1, "num_resamples": 20, "protocols": ["paper"],
        "classifier": {"name": "conv_thin", "steps": 3},
    },
}  # fmt: skip


def test_a_trial_of_one_attribute_says_why_two_of_the_3_cs_are_missing(tmp_path: Path) -> None:
    spec = TrialSpec.parse({**TRIAL, "dataset": {"name": "mnist", "num_images": 300}})
    result = mb.run_trial(spec, out=tmp_path).result
    found = {score["metric"] for score in result["scores"]}
    assert {"correctness", "joint_divergence", "description_accuracy", "classifier_accuracy"} <= found
    assert not {"coverage", "compositionality"} & found
    assert result["left_out"] == {
        "coverage": "a concept has one attribute, which every query specifies: none is left open",
        "compositionality": "a concept has one attribute: there is nothing to put together in a new way",
    }


def test_a_trial_of_two_bits_has_coverage(tmp_path: Path) -> None:
    spec = TrialSpec.parse({**TRIAL, "dataset": {"name": "mnist_2bit", "num_images": 300, "canvas": 16}})
    result = mb.run_trial(spec, out=tmp_path).result
    found = {(score["metric"], score["level"]) for score in result["scores"]}
    assert {("correctness", 2), ("correctness", 1), ("coverage", 1)} <= found
    assert "coverage" not in result.get("left_out", {})
