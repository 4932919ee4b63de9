"""What the kinds of spec promise: datasets give their schema under its new name and its old one."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import pytest

from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA, MnistASpec
from mmvae_bench.specs.components import DatasetSpec, datasets

OLD = Schema((Attribute("colour", ("red", "blue")),))


class OldSpec(DatasetSpec):
    """A dataset of another package, written when the method was called ``schema``."""

    implementation: ClassVar[str] = "nowhere:Nothing"
    summary: ClassVar[str] = "old"
    reference: ClassVar[str] = "none"

    name: str = "old"
    source: str = "drawn"
    split: str = "iid"
    split_seed: int = 0

    def schema(self) -> Schema:  # type: ignore[override]
        return OLD


class LongerMnistASpec(MnistASpec):
    """Another package's version of a built-in dataset, with one attribute more."""

    def schema(self) -> Schema:  # type: ignore[override]
        inherited: Any = super().schema()
        return Schema((*inherited.attributes, *OLD.attributes))


def test_a_dataset_that_overrides_schema_still_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"OldSpec.schema\(\) was renamed"):
        assert OldSpec().concept_schema() == OLD
    with pytest.warns(DeprecationWarning, match="concept_schema"):
        assert OldSpec().levels() == (1,)


def test_an_override_under_the_old_name_wins_over_what_it_inherits() -> None:
    with pytest.warns(DeprecationWarning, match="MnistASpec"):
        names = LongerMnistASpec().concept_schema().names
    assert names == (*MNIST_A_SCHEMA.names, "colour")


@pytest.mark.parametrize("name", datasets.names())
def test_schema_of_a_built_in_is_its_concept_schema(name: str) -> None:
    spec = datasets.parse(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = spec.concept_schema()
    old: Any = spec
    with pytest.warns(DeprecationWarning, match=r"concept_schema\(\)") as caught:
        assert old.schema() == expected
    assert caught[0].filename == __file__
