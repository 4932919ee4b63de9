"""The dataset as a whole: its fingerprint, its splits, its cache."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.concepts import compositional_split
from mmvae_bench.data.base import PARTITIONS
from mmvae_bench.data.mnist_a import MnistADataModule
from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.digits import FOLDERS, MnistSource, digit_source
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA, MnistASpec
from mmvae_bench.worlds.mnist_a import draw_geometry, render

from .sources.idx_files import make_idx_set


def module(**parameters: object) -> MnistADataModule:
    """200 digits at canvas 16 unless told otherwise, ready."""
    data = MnistADataModule(MnistASpec.parse({"canvas": 16, "num_sources": 200, "replicas": 5, **parameters}))
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    return tmp_path


def test_rows_are_replicas_of_evenly_spread_digits() -> None:
    data, digits = module(), digit_source("digits").load()
    rows = torch.tensor([0, 4, 5, 503, 999])
    source = torch.tensor([0, 0, 1797 // 200, 100 * 1797 // 200, 199 * 1797 // 200])
    geometry = draw_geometry(source, torch.tensor([0, 4, 0, 3, 4]), seed=0)
    batch = data.store.batch(rows)
    assert torch.equal(batch.image[:, 0].bool(), render(digits.images[source], geometry, canvas=16))
    assert torch.equal(batch.concept[:, 0], digits.labels[source])
    assert torch.equal(batch.concept[:, 1:], geometry.concept)


def test_more_replicas_leave_the_others_as_they_are() -> None:
    few, many = module(replicas=2), module(replicas=5)
    shared = torch.arange(400) // 2 * 5 + torch.arange(400) % 2
    assert torch.equal(few.store.batch(torch.arange(400)).image, many.store.batch(shared).image)


@pytest.mark.parametrize("split", ["iid", "iid_disjoint", "comp"])
def test_partitions_are_disjoint_and_together_everything(split: str) -> None:
    data = module(split=split)
    rows = torch.cat([data.rows(partition) for partition in PARTITIONS])
    assert torch.equal(rows.sort().values, torch.arange(1000))
    sizes = data.describe()["sizes"]
    assert [sizes[partition] for partition in PARTITIONS] == [len(data.rows(partition)) for partition in PARTITIONS]


def test_iid_disjoint_puts_no_digit_in_two_partitions_and_iid_does() -> None:
    def digits_in(data: MnistADataModule) -> list[set[int]]:
        return [set((data.rows(partition) // 5).tolist()) for partition in PARTITIONS]

    disjoint, leaking = digits_in(module(split="iid_disjoint")), digits_in(module(split="iid"))
    assert not disjoint[0] & disjoint[1]
    assert not disjoint[0] & disjoint[2]
    assert not disjoint[1] & disjoint[2]
    assert leaking[0] & leaking[2]


@pytest.mark.parametrize("seed", [42, 7])
def test_comp_follows_the_published_rule(seed: int) -> None:
    data = module(split="comp", split_seed=seed)
    combinations = data.describe()["combinations"]
    expected = compositional_split(MNIST_A_SCHEMA, seed=seed)
    for partition, size in (("train", 204), ("val", 12), ("test", 24)):
        assert combinations[partition] == expected[partition].tolist()
        assert len(combinations[partition]) == size
        found = {tuple(concept) for concept in data.concepts(partition).tolist()}
        assert found <= {tuple(concept) for concept in combinations[partition]}


def test_another_split_depends_on_the_fingerprint_only() -> None:
    modules = [module(), module(split_seed=1), module(split="comp"), module(split="comp", split_seed=3)]
    for split in ("iid", "iid_disjoint", "comp"):
        rows = [data.rows("train", split=split) for data in modules]
        assert all(torch.equal(rows[0], other) for other in rows[1:])
    assert torch.equal(modules[0].rows("test"), modules[2].rows("test", split="iid"))
    assert not torch.equal(modules[1].rows("test"), modules[0].rows("test"))


def test_the_fingerprint_is_that_of_the_pixels() -> None:
    base = module()
    for same in ({"split": "comp"}, {"split_seed": 3}):
        assert module(**same).fingerprint == base.fingerprint
    others = [module(**change) for change in ({"canvas": 17}, {"seed": 1}, {"replicas": 4}, {"num_sources": 199})]
    assert len({data.fingerprint for data in (base, *others)}) == 5
    assert len({data.meta["pixel_hash"] for data in (base, *others)}) == 5
    spec = MnistASpec(source="mnist", canvas=16)
    usual, small = MnistADataModule(spec), MnistADataModule(spec, source=MnistSource(files=make_idx_set().files))
    assert usual.fingerprint != small.fingerprint


def test_describe_is_json_and_agrees_with_the_images() -> None:
    data = module(split="comp")
    about = json.loads(json.dumps(data.describe(), allow_nan=False))
    assert about["name"] == "mnist_a"
    assert about["source"] == "digits"
    assert about["image_shape"] == [1, 16, 16]
    assert about["schema"] == MNIST_A_SCHEMA.to_dict()
    assert about["num_images"] == 1000
    assert about["fingerprint"] == data.fingerprint
    assert about["storage_bytes"] == sum(
        (data.cache_path / name).stat().st_size for name in ("images.npy", "concepts.npy")
    )
    concepts = data.concepts("train")
    for index, attribute in enumerate(MNIST_A_SCHEMA.attributes):
        for value, fraction in enumerate(about["marginals"][attribute.name]):
            assert fraction == pytest.approx((concepts[:, index] == value).double().mean().item())
    assert module(split="iid").describe()["combinations"] is None


def test_preparing_again_does_nothing(own_cache: Path) -> None:
    data = module()
    before = {path: path.stat().st_mtime_ns for path in data.cache_path.iterdir()}
    calls: list[tuple[int, int]] = []
    again = MnistADataModule(data.spec, progress=lambda done, total: calls.append((done, total)))
    again.prepare_data()
    assert {path: path.stat().st_mtime_ns for path in data.cache_path.iterdir()} == before
    assert calls == []


def test_progress_reaches_the_end(own_cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    spec = MnistASpec(canvas=16, num_sources=100, replicas=5)
    MnistADataModule(spec, progress=lambda done, total: calls.append((done, total))).prepare_data()
    assert calls[-1] == (500, 500)
    assert sorted(calls) == calls


def test_verify_finds_all_well(own_cache: Path) -> None:
    data = module()
    report = data.verify()
    assert report["ok"]
    assert report["compared"] == report["num_images"] == 1000
    assert report["different"] == 0
    assert report["pixel_hash"] == data.meta["pixel_hash"]


@pytest.mark.parametrize("file", ["images.npy", "concepts.npy"])
def test_damage_is_verified_and_repaired(own_cache: Path, file: str) -> None:
    data = module()
    path = data.cache_path / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    report = MnistADataModule(data.spec).verify()
    assert not report["ok"]
    assert {entry["file"]: entry["ok"] for entry in report["files"]}[file] is False
    repaired = module()
    assert repaired.verify()["ok"]
    assert repaired.meta["pixel_hash"] == data.meta["pixel_hash"]


def test_verify_finds_images_that_the_generator_does_not_make(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right checksums, other pictures: a generator that changed without a new version."""
    data = module()
    monkeypatch.setattr("mmvae_bench.worlds.mnist_a.SCALE_STD", 0.09)
    report = MnistADataModule(data.spec).verify()
    assert not report["ok"]
    assert all(entry["ok"] for entry in report["files"])
    assert report["different"] > 100


def test_verify_needs_a_prepared_dataset(own_cache: Path) -> None:
    with pytest.raises(BenchmarkError, match="not prepared"):
        MnistADataModule(MnistASpec(canvas=16, num_sources=20)).verify()


def test_mnist_from_idx_files_and_then_without_them(own_cache: Path) -> None:
    idx_set = make_idx_set()
    folder = idx_set.write(own_cache / "files", gz=True)
    spec = MnistASpec(source="mnist", canvas=16, replicas=2)
    source = MnistSource(root=folder, files=idx_set.files, download=False)
    data = MnistADataModule(spec, source=source)
    data.prepare_data()
    data.setup()
    assert data.store.concepts[::2, 0].tolist() == idx_set.labels.tolist()
    assert data.describe()["source"] == "mnist"
    for path in folder.iterdir():
        path.unlink()
    MnistADataModule(spec, source=source).prepare_data()
    with pytest.raises(SourceError, match="missing"):
        data.verify()


def test_real_mnist(own_cache: Path) -> None:
    root = os.environ.get("MMVAE_BENCH_DATA")
    if root is None or not any((Path(root) / folder / "train-images-idx3-ubyte.gz").exists() for folder in FOLDERS):
        pytest.skip("MMVAE_BENCH_DATA does not hold MNIST")
    data = module(source="mnist", num_sources=1000, replicas=2, canvas=32)
    assert data.verify()["ok"]
    assert 0.005 < data.store.batch(torch.arange(2000)).image.mean() < 0.05


@pytest.mark.parametrize(("source", "num"), [("digits", 1798), ("mnist", 70_001)])
def test_more_digits_than_there_are(source: str, num: int) -> None:
    with pytest.raises(ConfigError, match="at most that many"):
        MnistASpec.parse({"source": source, "num_sources": num})


def test_an_empty_partition_says_what_to_do() -> None:
    modules = (module(num_sources=20, replicas=1, split_seed=seed) for seed in range(50))
    data = next(data for data in modules if data.describe()["sizes"]["val"] == 0)
    with pytest.raises(BenchmarkError, match="raise num_sources or replicas"):
        data.rows("val")


def test_wrong_names_are_errors() -> None:
    data = module()
    with pytest.raises(ValueError, match="train, val, test"):
        data.rows("valid")
    with pytest.raises(ValueError, match="iid, iid_disjoint, comp"):
        data.rows("train", split="other")
    with pytest.raises(RuntimeError, match="prepare_data"):
        MnistADataModule(MnistASpec(canvas=18, num_sources=20)).setup()


def test_lightning_finds_its_loaders() -> None:
    data = module()
    assert sum(len(batch) for batch in data.val_dataloader()) == len(data.rows("val"))
    assert sum(len(batch) for batch in data.test_dataloader()) == len(data.rows("test"))
    assert len(next(iter(data.train_dataloader()))) == 64
