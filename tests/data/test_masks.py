"""What a dataset declares about masks is what its batches hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.clevr import recipe as clevr

HERE: list[dict[str, Any]] = [
    {"name": "sprites", "num_images": 100, "canvas": 16},
    {"name": "dsprites", "num_images": 1000},
    {"name": "mnist_a", "canvas": 16, "num_sources": 20, "replicas": 1},
    {"name": "mnist", "num_images": 100},
    {"name": "multi_mnist", "canvas": 32, "num_images": 100},
    {"name": "house_numbers", "num_images": 100},
    {"name": "lit_faces", "canvas": 16, "num_people": 2},
    {"name": "celeba18", "source": "drawn", "size": 16, "num_images": 100},
]


@pytest.mark.parametrize("settings", HERE, ids=lambda settings: settings["name"])
def test_the_number_of_masks_is_the_declared_one(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings["name"] == "celeba18":
        pytest.importorskip("skia", exc_type=ImportError)
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    data = datasets.parse(settings).build()
    data.workers = 0
    data.prepare_data()
    data.setup()
    mask = data.store.batch(torch.arange(3)).mask
    assert (0 if mask is None else mask.shape[1]) == data.spec.masks
    assert mask is None or bool(mask.flatten(1).any(1).all())


def test_the_number_of_masks_of_a_scene_is_that_of_its_objects() -> None:
    for name, kind in (("two_object_clevr", clevr.TwoObjectRecipe), ("single_object_clevr", clevr.SingleObjectRecipe)):
        assert datasets.parse(name).masks == kind.num_objects


def test_photographs_and_the_original_dsprites_have_none() -> None:
    assert datasets.parse({"name": "celeba18", "source": "celeba"}).masks == 0
    assert datasets.parse({"name": "dsprites", "source": "dsprites"}).masks == 0
