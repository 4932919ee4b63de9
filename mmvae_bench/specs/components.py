"""The kinds of part a trial is made of, and their registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from ..base.errors import BenchmarkError
from .base import ComponentSpec
from .registry import Registry

if TYPE_CHECKING:
    from ..concepts import Schema
    from ..concepts.captions import Captions

Posterior = Literal["joint", "image", "concept"]
Modality = Literal["image", "concept"]
View = Literal["attributes", "text"]
"""What y is: a concept, or a caption of it."""
Value = TypeVar("Value")


class _BySetting:
    """See :func:`by_setting`."""

    def __init__(self, compute: Callable[[Any], object]) -> None:
        self.compute = compute

    def __get__(self, spec: ComponentSpec | None, owner: type[ComponentSpec]) -> object:
        return self.compute(cast("Any", owner).model_construct() if spec is None else spec)


def by_setting(compute: Callable[[Any], Value]) -> Value:
    """A class variable of a spec that depends on its fields; asked of the class itself, it is that of the defaults."""
    return cast("Value", _BySetting(compute))


class ObjectiveSpec(ComponentSpec):
    """What is optimised, with its parameters. The implementation is an ``mmvae_bench.objectives.base.Objective``."""

    posteriors: ClassVar[frozenset[Posterior]]
    """Which inference networks training fits: q(z|x,y) joint, q(z|x) image, q(z|y) concept."""
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image", "concept"})
    """Which decoders it has: p(x|z) image, p(y|z) concept."""
    partial_concepts: ClassVar[bool] = True
    """Whether q(z|y_O) takes concepts with unspecified attributes."""
    stage_names: ClassVar[tuple[str, ...]] = ("fit",)
    """The stages of training that this objective can have, in order."""
    text_obstacle: ClassVar[str | None] = "its loss was written for attributes"
    """Why y cannot be a text; None where it can: the loss then reads ``batch.description``, never ``batch.concept``."""

    @classmethod
    def views(cls) -> tuple[View, ...]:
        """What y can be, with the default settings."""
        return ("attributes",) if cls.text_obstacle is not None else ("attributes", "text")

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Raises ConfigError where the parameters have no meaning on the concepts of ``dataset``."""

    def check(self, backbone: BackboneSpec) -> None:
        """Raises ConfigError where the objective cannot be trained on the networks of ``backbone``."""


class DatasetSpec(ComponentSpec):
    """Images with concepts. The implementation is an ``mmvae_bench.data.base.ConceptDataModule``."""

    watched_attributes: ClassVar[tuple[str, ...]] = ()
    """Names of attributes whose second value's frequency, where a query leaves them open, is compared with training."""

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

    def named_queries(self) -> Mapping[str, str]:
        """Concepts that every trained model is asked besides the fixed queries: a name, and the concept as text."""
        return {}

    @property
    def chosen_view(self) -> View:
        """What y is."""
        return "attributes"

    def texts(self) -> Captions | None:
        """How y is said in words; None in the attribute view."""
        return None

    def levels(self) -> tuple[int, ...]:
        """The numbers of specified attributes that a query may have: those that captions can say, in the text view."""
        captions = self.texts()
        if captions is not None:
            return captions.levels
        schema = self.schema()
        return tuple(range(max(1, len(schema.given)), len(schema) + 1))

    def captions(self) -> Captions:
        """How a concept is said in words.

        Raises:
            BenchmarkError: where the dataset has no captions.
        """
        raise BenchmarkError(f"dataset {self.name} has no captions: its concepts are attributes only")

    def recipe(self) -> dict[str, object]:
        """What decides the images: the parameters without split and view. Hashed into the dataset's fingerprint."""
        others = ("split", "split_seed", "view")
        return {"name": self.name} | {key: value for key, value in self.parameters().items() if key not in others}


class BackboneSpec(ComponentSpec):
    """A family of networks. The implementation is an ``mmvae_bench.backbones.base.Backbone``."""

    views: ClassVar[tuple[View, ...]] = ("attributes",)
    """What y can be: with ``text``, there are encoders and a decoder of captions."""

    latent_size: int
    """Number of latent dimensions."""

    def check(self, dataset: DatasetSpec) -> None:
        """Raises ConfigError where the networks cannot take the images of ``dataset``."""


class ClassifierSpec(ComponentSpec):
    """An observation classifier, image to attributes, fixed for all objectives."""

    takes_given: ClassVar[bool] = False
    """Whether it can be told the given attributes of a schema, without which others cannot be read off an image."""


class QuestionSpec(ComponentSpec):
    """What a trained model is asked. The implementation is an ``mmvae_bench.evaluation.questions.base.Question``."""

    interface: ClassVar[str] = "mmvae_bench.evaluation.questions.base:Question"

    metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics that its scores may have, as the catalogue of metrics names them."""


objectives: Registry[ObjectiveSpec] = Registry(
    "objective", ObjectiveSpec, page="mmvae_bench.specs.built_in.objectives", group="mmvae_bench.objectives"
)
datasets: Registry[DatasetSpec] = Registry(
    "dataset", DatasetSpec, page="mmvae_bench.specs.built_in.datasets", group="mmvae_bench.datasets"
)
backbones: Registry[BackboneSpec] = Registry(
    "backbone", BackboneSpec, page="mmvae_bench.specs.built_in.backbones", group="mmvae_bench.backbones"
)
classifiers: Registry[ClassifierSpec] = Registry(
    "classifier", ClassifierSpec, page="mmvae_bench.specs.built_in.classifiers", group="mmvae_bench.classifiers"
)
questions: Registry[QuestionSpec] = Registry(
    "question", QuestionSpec, page="mmvae_bench.specs.built_in.questions", group="mmvae_bench.questions"
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
