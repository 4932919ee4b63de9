"""The kinds of spec: each builds only what it says it builds, and a dataset's schema has a new name and an old one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Literal

import pytest

from mmvae_bench.base import catalogue as module
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.data import commands
from mmvae_bench.specs.base import ComponentSpec
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA, MnistASpec
from mmvae_bench.specs.built_in.families.joint import JVAESpec
from mmvae_bench.specs.components import DatasetSpec, ObjectiveSpec, backbones, classifiers, datasets, objectives
from mmvae_bench.specs.registry import Registry
from tests.conformance.worlds import BandsSpec

SHAPE = (1, 16, 16)

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


@pytest.mark.parametrize("name", datasets.self_contained())
def test_schema_of_a_built_in_is_its_concept_schema(name: str) -> None:
    spec = datasets.parse(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = spec.concept_schema()
    old: Any = spec
    with pytest.warns(DeprecationWarning, match=r"concept_schema\(\)") as caught:
        assert old.schema() == expected
    assert caught[0].filename == __file__


BUILD: dict[str, Callable[[Any], object]] = {
    "objective": lambda spec: spec.build(None, seed=0),
    "dataset": lambda spec: spec.build(),
    "backbone": lambda spec: spec.build(schema=OLD, image_shape=SHAPE),
    "classifier": lambda spec: spec.build(schema=OLD, image_shape=SHAPE),
}


@pytest.mark.parametrize(
    ("spec", "implementation", "interface"),
    [
        (objectives.parse("jvae"), "torch.nn:Linear", "mmvae_bench.objectives.base.Objective"),
        (datasets.parse("mnist_a"), "mmvae_bench.objectives.jvae:JVAE", "mmvae_bench.data.base.ConceptDataModule"),
        (backbones.parse("mnist_a_thin"), "mmvae_bench.objectives.jvae:JVAE", "mmvae_bench.backbones.base.Backbone"),
        (classifiers.parse("conv_thin"), "mmvae_bench.backbones.thin:ThinBackbone", "torch.nn.Module"),
    ],
    ids=BUILD,
)
def test_another_kind_of_implementation_is_refused(
    spec: ComponentSpec, implementation: str, interface: str, request: pytest.FixtureRequest
) -> None:
    mistaken = type("MistakenSpec", (type(spec),), {"implementation": implementation, "__module__": __name__})
    message = f"^{spec.name}: its implementation {implementation} is not a subclass of {interface}$"
    with pytest.raises(ConfigError, match=message):
        BUILD[request.node.callspec.id](mistaken())


class MistakenSpec(JVAESpec):
    """An objective of another package whose implementation is not one."""

    implementation: ClassVar[str] = "mmvae_bench.backbones.thin:ThinBackbone"

    name: Literal["mistaken"] = "mistaken"  # type: ignore[assignment]


def test_a_mistaken_entry_point_is_named_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "mmvae_bench_test.objectives"
    point = EntryPoint("mistaken", f"{__name__}:MistakenSpec", group)
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    registry = Registry("objective", ObjectiveSpec, page="mmvae_bench.specs.built_in.objectives", group=group)
    spec: Any = registry.parse("mistaken")
    with pytest.raises(ConfigError, match=r"^mistaken: its implementation .*:ThinBackbone is not a subclass of"):
        spec.build(None, seed=0)


def test_captions_are_passed_on_in_the_text_view_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that knows no captions takes no such argument."""
    given: list[dict[str, Any]] = []
    spec = backbones.parse("rgb_thin")
    monkeypatch.setattr(type(spec), "implementing_class", lambda self: lambda spec, **options: given.append(options))
    captions: Any = object()
    spec.build(schema=OLD, image_shape=SHAPE)
    spec.build(schema=OLD, image_shape=SHAPE, captions=captions)
    assert given == [
        {"schema": OLD, "image_shape": SHAPE},
        {"schema": OLD, "image_shape": SHAPE, "captions": captions},
    ]


def test_a_data_module_needs_no_argument_for_progress() -> None:
    """``data prepare`` sets it on whatever module a dataset has."""

    def progress(done: int, total: int) -> None: ...

    assert commands._module(BandsSpec(), progress, None).progress is progress
