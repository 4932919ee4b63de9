"""The kinds of part a trial is made of, and their registries."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from .base import ComponentSpec
from .registry import Registry

if TYPE_CHECKING:
    from ..concepts import Schema

Posterior = Literal["joint", "image", "concept"]


class ObjectiveSpec(ComponentSpec):
    """What is optimised, with its parameters. The implementation is an ``mmvae_bench.objectives.base.Objective``."""

    posteriors: ClassVar[frozenset[Posterior]]
    """Which inference networks training fits: q(z|x,y) joint, q(z|x) image, q(z|y) concept."""
    partial_concepts: ClassVar[bool] = True
    """Whether q(z|y_O) takes concepts with unspecified attributes."""
    stage_names: ClassVar[tuple[str, ...]] = ("fit",)
    """The stages of training that this objective can have, in order."""


class DatasetSpec(ComponentSpec):
    """Images with concepts. The implementation is an ``mmvae_bench.data.base.ConceptDataModule``."""

    source: str
    """Where the pixels come from; a stand-in never passes for the real thing."""
    split: str
    """How the images are divided into train, val and test."""
    split_seed: int
    """Seed of the split."""

    def schema(self) -> Schema:  # type: ignore[override]
        """The attributes of the concepts."""
        raise NotImplementedError

    def image_shape(self) -> tuple[int, int, int]:
        """(channel, height, width)."""
        raise NotImplementedError

    def default_classifier(self) -> str:
        """The name of the observation classifier that scores this dataset unless the evaluation names another."""
        raise NotImplementedError

    def recipe(self) -> dict[str, object]:
        """What decides the images: the parameters without the split. Hashed into the dataset's fingerprint."""
        return {"name": self.name} | {
            key: value for key, value in self.parameters().items() if key not in ("split", "split_seed")
        }


class BackboneSpec(ComponentSpec):
    """A family of networks. The implementation is an ``mmvae_bench.backbones.base.Backbone``."""

    latent_size: int
    """Number of latent dimensions."""

    def check(self, dataset: DatasetSpec) -> None:
        """Raises ConfigError where the networks cannot take the images of ``dataset``."""


class ClassifierSpec(ComponentSpec):
    """An observation classifier, image to attributes, fixed for all objectives."""


objectives: Registry[ObjectiveSpec] = Registry(
    "objective", ObjectiveSpec, package="mmvae_bench.specs.objectives", group="mmvae_bench.objectives"
)
datasets: Registry[DatasetSpec] = Registry(
    "dataset", DatasetSpec, package="mmvae_bench.specs.datasets", group="mmvae_bench.datasets"
)
backbones: Registry[BackboneSpec] = Registry(
    "backbone", BackboneSpec, package="mmvae_bench.specs.backbones", group="mmvae_bench.backbones"
)
classifiers: Registry[ClassifierSpec] = Registry(
    "classifier", ClassifierSpec, package="mmvae_bench.specs.classifiers", group="mmvae_bench.classifiers"
)

# The annotations of fields that hold a part: its base class to a type checker, the registry's parser to pydantic.
if TYPE_CHECKING:
    ObjectiveField = ObjectiveSpec
    DatasetField = DatasetSpec
    BackboneField = BackboneSpec
    ClassifierField = ClassifierSpec
else:
    ObjectiveField = objectives.field()
    DatasetField = datasets.field()
    BackboneField = backbones.field()
    ClassifierField = classifiers.field()
