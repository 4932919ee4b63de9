"""Rendering needs Mitsuba, which the extra ``clevr`` installs."""

from __future__ import annotations

import pytest

from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.clevr.recipe import SingleObjectRecipe, TwoObjectRecipe
from mmvae_bench.worlds.clevr.variant import Variant, resolve


@pytest.fixture(scope="session")
def fast() -> Variant:
    """The variant that works here; found once."""
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3: pip install 'mmvae-bench[clevr]'")
    return resolve("auto")


def pairs(variant: Variant, /, **parameters: object) -> TwoObjectRecipe:
    """Canvas 32, 16 samples unless told otherwise."""
    spec = datasets.parse({"name": "two_object_clevr", "canvas": 32, "samples": 16, **parameters})
    return TwoObjectRecipe(spec, variant=variant)


def singles(variant: Variant, /, **parameters: object) -> SingleObjectRecipe:
    """Canvas 32, 16 samples unless told otherwise."""
    spec = datasets.parse({"name": "single_object_clevr", "canvas": 32, "samples": 16, **parameters})
    return SingleObjectRecipe(spec, variant=variant)
