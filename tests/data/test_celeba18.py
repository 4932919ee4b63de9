"""CelebA-18 as a whole: spec, sources, splits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.concepts import satisfies
from mmvae_bench.conformance.data import strengths_are_scores_of_the_concept
from mmvae_bench.data.base import PARTITIONS
from mmvae_bench.data.celeba18 import CelebA18DataModule
from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.celeba_photos import find_photos
from mmvae_bench.data.strengths import value_weights
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA, NUM_DRAWN, CelebA18Spec
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.faces.recipe import DrawnFaces
from mmvae_bench.worlds.faces.strengths import strengths

from .sources.celeba_copy import FakeCelebA

DRAWN = {"size": 16, "num_images": 400}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def drawn(**parameters: object) -> CelebA18DataModule:
    pytest.importorskip("skia", exc_type=ImportError)
    return ready(CelebA18DataModule(CelebA18Spec.parse({**DRAWN, **parameters})))


def photographed(root: Path, fake: FakeCelebA, ids: range | None = None, **parameters: object) -> CelebA18DataModule:
    fake.write_texts(root / "celeba")
    fake.write_images(root / "celeba", ids=ids)
    spec = CelebA18Spec.parse({"source": "celeba", "size": 16, **parameters})
    return ready(CelebA18DataModule(spec, photos=find_photos(root, **fake.files)))


def ready(data: CelebA18DataModule) -> CelebA18DataModule:
    data.workers = 0
    data.prepare_data()
    data.setup()
    return data


def test_the_spec() -> None:
    spec = datasets.parse({"name": "celeba18"})
    assert isinstance(spec, CelebA18Spec)
    assert spec.image_shape() == (3, 64, 64)
    assert len(CELEBA18_SCHEMA) == 18
    assert {attribute.values for attribute in CELEBA18_SCHEMA.attributes} == {("no", "yes")}
    (query,) = spec.named_queries().values()
    assert CELEBA18_SCHEMA.format(CELEBA18_SCHEMA.indices(query)) == "Bald=yes, Male=no"
    assert set(spec.watched_attributes) <= set(CELEBA18_SCHEMA.names)
    for wrong in ({"size": 15}, {"size": 129}, {"num_images": 99}, {"source": "photos"}, {"split": "iid_disjoint"}):
        with pytest.raises(ConfigError):
            CelebA18Spec.parse(wrong)


def test_checking_a_spec_imports_no_torch() -> None:
    code = (
        "import sys; from mmvae_bench.specs.components import datasets; datasets.parse({'name': 'celeba18'});"
        "sys.exit('torch' in sys.modules or 'skia' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawn_faces_are_those_of_the_recipe(own_cache: Path) -> None:
    data = drawn()
    made = DrawnFaces(num_images=400, size=16, seed=0).make(100, 110)
    batch = data.store.batch(torch.arange(100, 110))
    assert np.array_equal((batch.image * 255).round().byte().permute(0, 2, 3, 1).numpy(), made.pixels)
    assert np.array_equal(batch.concept.numpy(), made.concepts)
    assert batch.mask is not None
    assert made.masks is not None
    assert np.array_equal(batch.mask.numpy(), made.masks)
    assert data.verify()["ok"]


def test_drawn_faces_have_scores_in_every_view(own_cache: Path) -> None:
    """They are the same images; only in the view of strengths y is the scores."""
    rows = torch.arange(100, 150)
    values, scores, text = (drawn(view=view) for view in ("attributes", "strengths", "text"))
    for data in (values, scores, text):
        strengths_are_scores_of_the_concept(data.spec)
        assert data.fingerprint == values.fingerprint
        batch = data.store.batch(rows)
        assert torch.equal(batch.image, values.store.batch(rows).image)
        assert torch.equal(batch.strength, values.store.batch(rows).strength)  # type: ignore[arg-type]
    made = DrawnFaces(num_images=400, size=16, seed=0).make(100, 150)
    wanted = torch.from_numpy(strengths(made.concepts, made.columns))
    batch = scores.store.batch(rows)
    assert torch.equal(batch.strength, wanted)  # type: ignore[arg-type]
    assert torch.equal(batch.description, value_weights(wanted))
    assert torch.equal(values.store.batch(rows).description, batch.concept)
    assert torch.equal(text.store.batch(rows).description, text.store.batch(rows).tokens)  # type: ignore[arg-type]
    assert not datasets.parse({"name": "celeba18", "source": "celeba"}).strengths


def test_about_200_000_faces_are_drawn_where_no_number_is_given() -> None:
    assert CelebA18DataModule(CelebA18Spec()).images.num_images == NUM_DRAWN


@pytest.mark.parametrize("split", ["iid", "comp"])
def test_partitions_are_disjoint_and_together_everything(own_cache: Path, split: str) -> None:
    data = drawn(split=split)
    rows = torch.cat([data.rows(partition) for partition in PARTITIONS])
    assert torch.equal(rows.sort().values, torch.arange(400))


def test_comp_holds_out_bald_and_not_male_and_describes_itself(own_cache: Path) -> None:
    data = drawn(split="comp", num_images=1500)
    query = CELEBA18_SCHEMA.parse("Bald=yes, Male=no")[None]
    for partition in ("train", "val"):
        assert not satisfies(data.concepts(partition), query).any()
    about = json.loads(json.dumps(data.describe(), allow_nan=False))
    for partition in PARTITIONS:
        listed = {tuple(concept) for concept in about["combinations"][partition]}
        assert listed == {tuple(concept) for concept in data.concepts(partition).tolist()}
    assert sum(map(len, about["combinations"].values())) == about["distinct_concepts"]
    assert about["attribute_model"]["largest_marginal_error"] < 1e-4


def test_another_split_depends_on_the_fingerprint_only(own_cache: Path) -> None:
    modules = [drawn(), drawn(split_seed=1), drawn(split="comp")]
    assert len({data.fingerprint for data in modules}) == 1
    for split in ("iid", "comp"):
        rows = [data.rows("train", split=split) for data in modules]
        assert all(torch.equal(rows[0], other) for other in rows[1:])
    assert not torch.equal(modules[0].rows("train"), modules[1].rows("train"))
    with pytest.raises(ValueError, match="iid, comp"):
        modules[0].rows("train", split="other")


def test_more_drawn_faces_leave_the_others_as_they_are(own_cache: Path) -> None:
    few, many = drawn(num_images=150), drawn(num_images=200)
    rows = torch.arange(150)
    assert torch.equal(few.store.batch(rows).image, many.store.batch(rows).image)
    assert torch.equal(few.rows("test"), many.rows("test")[: len(few.rows("test"))])


def test_photographs_follow_the_official_partition(own_cache: Path) -> None:
    fake = FakeCelebA(num=60, size=(89, 109))
    data = photographed(own_cache, fake, split_seed=5)
    for number, partition in enumerate(PARTITIONS):
        assert data.rows(partition).tolist() == np.flatnonzero(fake.partition == number).tolist()
    about = data.describe()
    assert about["source"] == "celeba"
    assert about["iid"] == "official"
    assert about["photographs"]["complete"]
    assert data.store.batch(torch.arange(2)).mask is None
    assert torch.equal(data.store.concepts, torch.from_numpy(fake.concepts).long())


def test_a_copy_without_a_part_of_the_partition_is_divided_by_ids(own_cache: Path) -> None:
    fake = FakeCelebA(num=420, size=(89, 109))
    data = photographed(own_cache, fake, ids=range(1, 401))
    about = json.loads(json.dumps(data.describe()))
    assert about["iid"] == "0.8 / 0.1 / 0.1 by hash of the number"
    assert about["photographs"]["missing"] == 20
    assert abs(about["sizes"]["train"] - 320) < 40
    assert min(about["sizes"].values()) > 20


def test_photographs_that_are_not_there(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(own_cache / "nothing"))
    with pytest.raises(SourceError, match="no CelebA images found"):
        CelebA18DataModule(CelebA18Spec(source="celeba")).prepare_data()


def test_without_skia_the_error_names_the_command(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmvae_bench.worlds.faces import recipe

    recipe._painter.cache_clear()
    monkeypatch.setitem(sys.modules, "skia", None)
    with pytest.raises(BenchmarkError, match=r"pip install 'mmvae-bench\[faces\]'"):
        recipe._painter(16)
