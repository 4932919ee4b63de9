"""Two-Object and Single-Object CLEVR as datasets: concepts, splits, what is prepared and described."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.concepts import compositional_split
from mmvae_bench.concepts.captions import SlotCaptions
from mmvae_bench.data import commands
from mmvae_bench.data.base import PARTITIONS
from mmvae_bench.data.clevr import TwoObjectClevrDataModule, held_out_objects, object_partition
from mmvae_bench.specs.built_in.datasets import OBJECT_SCHEMA, TWO_OBJECT_SCHEMA, TwoObjectClevrSpec
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.clevr.recipe import TwoObjectRecipe
from mmvae_bench.worlds.clevr.variant import Variant


@pytest.fixture(scope="module")
def concepts() -> Tensor:
    """Of the first 1,500 scenes."""
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    recipe = TwoObjectRecipe(TwoObjectClevrSpec(), variant=Variant("scalar"))
    return torch.from_numpy(recipe.concepts(recipe.scenes(np.arange(1500))))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TwoObjectClevrDataModule:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    module = TwoObjectClevrDataModule(
        TwoObjectClevrSpec(canvas=32, samples=16, num_images=24, variant="scalar", split="comp")
    )
    module.workers = 0
    module.prepare_data()
    module.setup()
    return module


def test_concepts_are_full_and_do_not_depend_on_the_other_scenes(concepts: Tensor) -> None:
    TWO_OBJECT_SCHEMA.check(concepts)
    assert (concepts >= 0).all()
    recipe = TwoObjectRecipe(TwoObjectClevrSpec(num_images=1), variant=Variant("llvm"))
    rows = np.array([1499, 0, 17])
    assert recipe.concepts(recipe.scenes(rows)).tolist() == concepts[rows].tolist()
    for attribute, values in zip(TWO_OBJECT_SCHEMA.attributes, concepts.unbind(1), strict=True):
        expected = len(concepts) / len(attribute)
        assert (values.bincount(minlength=len(attribute)) - expected).abs().max() < 5 * expected**0.5


@pytest.mark.parametrize("seed", [42, 0, 1, 2, 3])
def test_comp_holds_out_objects_and_no_value(concepts: Tensor, seed: int) -> None:
    split = compositional_split(OBJECT_SCHEMA, seed=seed)
    part_of = {tuple(each): PARTITIONS.index(name) for name, part in split.items() for each in part.tolist()}
    assert [len(split[name]) for name in PARTITIONS] == [81, 5, 10]
    partition = object_partition(concepts, seed=seed)
    for concept, part in zip(concepts.tolist(), partition.tolist(), strict=True):
        parts = {part_of[tuple(concept[:4])], part_of[tuple(concept[5:])]}
        if part == 2:
            assert 2 in parts
        elif part == 1:
            assert 1 in parts
            assert 2 not in parts
        else:
            assert parts == {0}
    training = concepts[partition == 0]
    for attribute, values in zip(TWO_OBJECT_SCHEMA.attributes, training.unbind(1), strict=True):
        assert len(values.unique()) == len(attribute)
    # An image is of a partition where neither object is of a later one.
    shares = partition.bincount().double() / len(partition)
    expected = torch.tensor([81**2, 86**2 - 81**2, 96**2 - 86**2]) / 96**2
    assert (shares - expected).abs().max() < 0.04


def test_a_split_that_loses_a_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = OBJECT_SCHEMA.combinations()
    is_red = everything[:, 1] == 1
    parts = {"train": everything[~is_red], "val": everything[is_red][:4], "test": everything[is_red][4:]}
    monkeypatch.setattr("mmvae_bench.data.clevr.compositional_split", lambda *args, **kwargs: parts)
    with pytest.raises(BenchmarkError, match="split_seed 5 holds out every object that is red"):
        held_out_objects(seed=5)


def test_what_is_prepared_is_what_the_recipe_makes(data: TwoObjectClevrDataModule) -> None:
    made = data.images.make(0, 24)
    batch = data.store.batch(torch.arange(24))
    assert batch.image.shape == (24, 3, 32, 32)
    assert torch.equal((batch.image * 255).round().byte(), torch.from_numpy(made.pixels).permute(0, 3, 1, 2))
    assert batch.concept.tolist() == made.concepts.tolist()
    assert batch.mask is not None
    assert made.masks is not None
    assert torch.equal(batch.mask.cpu().bool(), torch.from_numpy(made.masks))
    np.testing.assert_allclose(data.columns["x_1"], made.columns["x_1"], rtol=1e-6)


def test_describe_says_what_is_held_out(data: TwoObjectClevrDataModule) -> None:
    about = json.loads(json.dumps(data.describe(), allow_nan=False))
    assert about["source"] == "mitsuba"
    assert about["schema"] == TWO_OBJECT_SCHEMA.to_dict()
    assert about["combinations_of"] == ["size", "colour", "material", "shape"]
    objects = [tuple(each) for part in about["combinations"].values() for each in part]
    assert len(set(objects)) == len(objects) == 96
    assert about["recipe"]["recipe"]["variant"] == "scalar"
    assert about["recipe"]["renderer"].startswith("mitsuba 3")
    assert about["fingerprint"] == data.fingerprint
    assert sum(about["sizes"].values()) == 24


def test_iid_and_comp_are_two_splits_of_one_dataset(data: TwoObjectClevrDataModule) -> None:
    iid = TwoObjectClevrDataModule(data.spec.model_copy(update={"split": "iid"}))
    assert iid.fingerprint == data.fingerprint
    iid.setup()
    assert torch.equal(iid.rows("train", split="comp"), data.rows("train"))
    assert iid.describe()["combinations"] is None
    with pytest.raises(ValueError, match="official"):
        data.rows("train", split="official")


def test_single_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    parameters = {"canvas": 32, "samples": 16, "num_images": 40, "variant": "scalar"}
    data = datasets.parse({"name": "single_object_clevr", **parameters}).build()
    data.workers = 0
    data.prepare_data()
    data.setup()
    assert data.schema.to_dict() == {"colour": ["red", "blue"], "size": ["small", "large"]}
    assert len({tuple(concept) for concept in data.store.concepts.tolist()}) == 4
    assert data.store.batch(torch.arange(2)).image.shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="comp"):
        data.rows("train", split="comp")


def test_specs_say_what_can_be_asked() -> None:
    spec = datasets.parse("two_object_clevr")
    assert spec.image_shape() == (3, 112, 112)
    assert spec.concept_schema().given == ("relation",)
    assert isinstance(spec.captions(), SlotCaptions)
    for wrong in ({"samples": 32}, {"canvas": 31}, {"variant": "gpu"}, {"split": "iid_disjoint"}):
        with pytest.raises(ConfigError):
            TwoObjectClevrSpec.parse(wrong)
    with pytest.raises(ConfigError):
        datasets.parse({"name": "single_object_clevr", "split": "comp"})
    with pytest.raises(BenchmarkError, match="no captions"):
        datasets.parse("single_object_clevr").captions()


def test_a_sheet_of_what_is_not_prepared_is_of_its_first_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 10,000 would take an hour."""
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmvae_bench.data.clevr.LEAST_OF_SHEET", 40)
    spec = datasets.parse({"name": "single_object_clevr", "canvas": 32, "samples": 16, "variant": "scalar"})
    shown = commands.preview(spec, out=tmp_path / "a.png", num_images=3, partition="test", workers=0)
    assert shown["of_first"] == 45  # A tenth are test images, and half as many again.
    assert len(shown["rows"]) == 3
    assert max(shown["rows"]) < 45
    (folder,) = (path for path in (tmp_path / "cache" / "datasets").iterdir() if path.is_dir())
    part = spec.model_copy(update={"num_images": 45})
    assert folder == part.build().cache_path

    # Of what is there nothing else is made, and it is whole.
    again = commands.preview(part, out=tmp_path / "b.png", num_images=3, partition="test", workers=0)
    assert "of_first" not in again
    assert again["rows"] == shown["rows"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    monkeypatch.setattr("mmvae_bench.data.clevr.LEAST_OF_SHEET", 4)
    assert part.build().of_sheet("train", 1) == part


def test_a_sheet_takes_no_more_scenes_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    data = datasets.parse({"name": "two_object_clevr", "num_images": 150, "variant": "scalar"}).build()
    assert data.of_sheet("val", 48) == data.spec
    large = datasets.parse({"name": "two_object_clevr", "variant": "scalar"}).build()
    assert large.of_sheet("val", 48).most_images() == 1440
    assert large.of_sheet("train", 48).most_images() == 200
