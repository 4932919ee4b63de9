"""The kinds of parts that a trial is made of, and their registries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from ..base.errors import BenchmarkError
from .base import ComponentSpec
from .registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from ..backbones.base import Backbone
    from ..concepts import Schema
    from ..concepts.captions import Captions
    from ..data.base import ConceptDataModule
    from ..objectives.base import Objective

Posterior = Literal["joint", "image", "concept"]
Modality = Literal["image", "concept"]
View = Literal["attributes", "text", "strengths"]
"""What y is: a concept, its caption, or real-valued scores of its attributes."""
Domain = Literal["images", "graph", "papers"]
"""What a part is made for: images with concepts; one graph whose nodes are the examples; or papers, each with its words
in the place of an image and its links in the place of a concept."""
Value = TypeVar("Value")


class _BySetting:
    """See :func:`by_setting`."""

    def __init__(self, compute: Callable[[Any], object]) -> None:
        self.compute = compute

    def __get__(self, spec: ComponentSpec | None, owner: type[ComponentSpec]) -> object:
        return self.compute(cast("Any", owner).model_construct() if spec is None else spec)


def by_setting(compute: Callable[[Any], Value]) -> Value:
    """A class variable of a spec that depends on its fields; read from the class itself, it is that of the defaults."""
    return cast("Value", _BySetting(compute))


class ObjectiveSpec(ComponentSpec):
    """What is optimised, with its parameters. The implementation is an ``mmvae_bench.objectives.base.Objective``."""

    interface: ClassVar[str] = "mmvae_bench.objectives.base:Objective"

    domain: ClassVar[Domain] = "images"
    """What it is trained on."""
    further_domains: ClassVar[frozenset[Domain]] = frozenset()
    """What it can be trained on besides."""
    posteriors: ClassVar[frozenset[Posterior]]
    """Which inference networks it trains: q(z|x,y) joint, q(z|x) image, q(z|y) concept."""
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image", "concept"})
    """Which decoders it has: p(x|z) image, p(y|z) concept."""
    caution: ClassVar[str | None] = None
    """What a report warns of, after the objective's name: settings that are there for an ablation; None: nothing."""
    has_describer: ClassVar[bool] = False
    """Whether it has q(y|x), by which it describes images without q(z|x) and p(y|z)."""
    partial_concepts: ClassVar[bool] = True
    """Whether q(z|y_O) takes concepts with unspecified attributes."""
    stage_names: ClassVar[tuple[str, ...]] = ("fit",)
    """The stages of training that this objective can have, in order."""
    text_obstacle: ClassVar[str | None] = "its loss is defined for attributes only"
    """Why y cannot be a caption; None if it can: the loss then uses ``batch.description``, never ``batch.concept``."""
    strength_obstacle: ClassVar[str | None] = "its loss is defined for values of attributes, not for scores of them"
    """Why y cannot be scores of attributes; None if it can: the loss then uses ``batch.description``, or reads no y."""

    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = "its loss is defined for labelled images only"
    """Why images without labels are left out of training: of all stages, or of those that a mapping names. None if the
    loss is defined for concepts with unspecified attributes, -1."""
    imageless_obstacle: ClassVar[str | None] = "every term of its loss needs the image"
    """Why examples without an image are left out of training; None if the loss then is one of y alone."""
    label_free_stages: ClassVar[frozenset[str]] = frozenset()
    """The stages of training whose loss reads no labels at all."""

    def leaves_out(self, stage: str) -> str | None:
        """Why a stage leaves out images without labels; None if it learns from them."""
        obstacle = self.unlabelled_obstacle
        return obstacle if obstacle is None or isinstance(obstacle, str) else obstacle.get(stage)

    @classmethod
    def views(cls) -> tuple[View, ...]:
        """What y can be, with the default settings."""
        text, strengths = cls.text_obstacle is None, cls.strength_obstacle is None
        return ("attributes", *(("text",) if text else ()), *(("strengths",) if strengths else ()))

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Raises ConfigError if the parameters do not apply to the concepts of ``dataset``."""

    def check(self, backbone: BackboneSpec) -> None:
        """Raises ConfigError if the objective cannot be trained on the networks of ``backbone``."""

    def build(self, backbone: Backbone, *, seed: int = 0) -> Objective:
        """The untrained objective.

        Args:
            backbone: Builds its networks.
            seed: Training seed, for the initial weights.

        Raises:
            ConfigError: if the implementation is not an Objective.
        """
        objective: Objective = self.implementing_class()(self, backbone, seed=seed)
        return objective


def _renamed(method: Callable[[Any], Schema], owner: str) -> Callable[[Any], Schema]:
    """``method`` of the class ``owner``, called through ``DatasetSpec.schema`` or defined under that name."""

    def deprecated(self: Any) -> Schema:
        message = f"{owner}.schema() was renamed: define and call {owner}.concept_schema()"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return method(self)

    return deprecated


class DatasetSpec(ComponentSpec):
    """Images with concepts. The implementation is an ``mmvae_bench.data.base.ConceptDataModule``."""

    interface: ClassVar[str] = "mmvae_bench.data.base:ConceptDataModule"

    domain: ClassVar[Domain] = "images"
    """What it holds."""
    watched_attributes: ClassVar[tuple[str, ...]] = ()
    """Attributes whose second value's frequency, for queries that leave them unspecified, is compared with training."""
    headline_protocol: ClassVar[str] = "paper"
    """The protocol whose scores a report shows first. ``paper`` compares open attributes with their training marginals,
    which is right where attributes are independent; where they are not, it punishes a model that knows how they depend
    on each other, and ``corrected`` comes first."""

    parts: ClassVar[Mapping[str, tuple[int, int, int, int]]] = {}
    """Regions of every image that show a part of its content, such as the eyes of aligned faces: rows from, to, columns
    from, to, in 64ths of the sides. The evaluation hides them to see how a model completes them."""

    hidden_squares: ClassVar[tuple[str, ...]] = ()
    """Squares at a random place in each image that the evaluation hides too, ``random-8`` or ``random-16``."""

    masks: ClassVar[int] = 0
    """How many foreground masks come with each image: ``Batch.mask`` of the data module. 0: there are none."""

    masks_hint: ClassVar[str] = ""
    """What setting gives the images masks, where one does."""

    mirrors: ClassVar[bool] = False
    """Whether an image that is mirrored, or turned by a few degrees, shows the same concept: no attribute says left,
    right or which way something leans."""
    margin: ClassVar[int] = 0
    """How many pixels around each image are stored with it, on all sides: ``ConceptDataModule.widened``."""

    greys: ClassVar[bool] = False
    """Whether each pixel was drawn as 0 or 1 from a grey that is still at hand: ``ConceptDataModule.greys``."""

    strengths: ClassVar[bool] = False
    """Whether a real-valued score of each attribute comes with each image: ``Batch.strength`` of the data module."""
    factors: ClassVar[tuple[str, ...]] = ()
    """The continuous factors that come with each image beside its concept: ``Batch.factors`` of the data module."""

    source: str
    """Where the pixels come from; a stand-in never passes for the real thing."""
    split: str
    """How the images are divided into train, val and test."""
    split_seed: int
    """Seed of the split."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        # ``schema`` was this method's name; pydantic has a method called that. A class that defines one has both.
        super().__pydantic_init_subclass__(**options)
        for own, other in (("concept_schema", "schema"), ("schema", "concept_schema")):
            if own in cls.__dict__ and other not in cls.__dict__:
                setattr(cls, other, _renamed(cls.__dict__[own], cls.__name__))

    def concept_schema(self) -> Schema:
        """The attributes of the concepts."""
        raise NotImplementedError

    def image_shape(self) -> tuple[int, int, int]:
        """(channel, height, width)."""
        raise NotImplementedError

    def default_classifier(self) -> str | None:
        """The name of the observation classifier that scores this dataset unless the evaluation names another; None
        for a graph, of which there is nothing to read off."""
        raise NotImplementedError

    def most_images(self) -> int | None:
        """A number of images that the dataset cannot exceed; None if only preparing it shows how many there are."""
        return None

    def kept_in_cache(self) -> tuple[str, ...]:
        """Folders in the cache, relative to it, with bytes of the user that cannot be made again. Conformance checks,
        which hide the cache, read them where they are."""
        return ()

    def nodes_per_step(self) -> int | None:
        """How many nodes a step on a graph takes, all that are for training; None where there is no graph."""
        return None

    def named_queries(self) -> Mapping[str, str]:
        """Further queries, besides the fixed ones, that every model is scored on: a name, and the concept as text."""
        return {}

    @property
    def chosen_view(self) -> View:
        """What y is."""
        return "attributes"

    def texts(self) -> Captions | None:
        """How y is written as a caption; None in the attribute view."""
        return None

    def levels(self) -> tuple[int, ...]:
        """The possible numbers of specified attributes of a query; in the text view, those that captions express."""
        captions = self.texts()
        if captions is not None:
            return captions.levels
        schema = self.concept_schema()
        return tuple(range(max(1, len(schema.given)), len(schema) + 1))

    def captions(self) -> Captions:
        """How a concept is written as a caption.

        Raises:
            BenchmarkError: if the dataset has no captions.
        """
        raise BenchmarkError(f"dataset {self.name} has no captions: its concepts are attributes only")

    def recipe(self) -> dict[str, object]:
        """What determines the images: all parameters but split and view. Hashed into the dataset's fingerprint."""
        others = ("split", "split_seed", "view")
        return {"name": self.name} | {key: value for key, value in self.parameters().items() if key not in others}

    def build(self) -> ConceptDataModule:
        """The data module, neither prepared nor set up.

        Raises:
            ConfigError: if the implementation is not a ConceptDataModule.
        """
        data: ConceptDataModule = self.implementing_class()(self)
        return data


class BackboneSpec(ComponentSpec):
    """A family of networks. The implementation is an ``mmvae_bench.backbones.base.Backbone``."""

    interface: ClassVar[str] = "mmvae_bench.backbones.base:Backbone"

    domain: ClassVar[Domain] = "images"
    """What its networks read."""
    further_domains: ClassVar[frozenset[Domain]] = frozenset()
    """What they can read besides."""
    views: ClassVar[tuple[View, ...]] = ("attributes",)
    """What y can be: with ``text``, there are encoders and a decoder for captions; with ``strengths``, networks that
    are told y also take weights of the values, Float[B, V], and give the same bits for a value's index and its weight
    1."""

    layered: ClassVar[bool] = False
    """Whether it has networks for the layers of an image: the implementation is a
    ``mmvae_bench.backbones.base.LayeredBackbone``."""

    bounded_pixels: ClassVar[bool] = False
    """Whether p(x|z) is defined for pixels in [0, 1] alone."""

    one_size: ClassVar[bool] = False
    """Whether its decoder makes images of one size, whatever ``image_shape`` it is built with."""

    least_batch: ClassVar[int] = 1
    """The smallest number of images per step: 2 where batch norm has one value per channel and image."""

    latent_size: int
    """Number of latent dimensions."""

    def check(self, dataset: DatasetSpec) -> None:
        """Raises ConfigError if the networks cannot take the images of ``dataset``."""

    def build(self, *, schema: Schema, image_shape: tuple[int, int, int], captions: Captions | None = None) -> Backbone:
        """The family, ready to build networks.

        Args:
            schema: The attributes of the concepts.
            image_shape: (channel, height, width).
            captions: How concepts are written as captions, in the text view. None in the attribute view, where the
                implementation is called without this argument.

        Raises:
            ConfigError: if the implementation is not a Backbone.
        """
        texts = {} if captions is None else {"captions": captions}
        backbone: Backbone = self.implementing_class()(self, schema=schema, image_shape=image_shape, **texts)
        return backbone


class ClassifierSpec(ComponentSpec):
    """An observation classifier, from images to attributes, the same for all objectives. The implementation is a
    ``torch.nn.Module``."""

    interface: ClassVar[str] = "torch.nn:Module"

    takes_given: ClassVar[bool] = False
    """Whether it takes the given attributes of a schema as input; without them the others are ambiguous in an image."""

    def build(self, *, schema: Schema, image_shape: tuple[int, int, int]) -> nn.Module:
        """The untrained network, with weights from torch's global generator.

        Args:
            schema: The attributes of the concepts.
            image_shape: (channel, height, width).

        Raises:
            ConfigError: if the implementation is not a Module.
        """
        network: nn.Module = self.implementing_class()(self, schema=schema, image_shape=image_shape)
        return network


class QuestionSpec(ComponentSpec):
    """What a trained model is asked. The implementation is an ``mmvae_bench.evaluation.questions.base.Question``."""

    interface: ClassVar[str] = "mmvae_bench.evaluation.questions.base:Question"

    domain: ClassVar[Domain] = "images"
    """What the models that it is asked were trained on; others are not asked it."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics that its scores may have, as the catalogue of metrics names them."""
    on_request: ClassVar[bool] = False
    """Whether a built-in question is only asked where ``evaluation.questions`` names it, with its settings there, as
    questions of other packages are."""


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
    "classifier",
    ClassifierSpec,
    page="mmvae_bench.specs.built_in.classifiers",
    group="mmvae_bench.classifiers",
    derived_from="mmvae_bench.specs.built_in.classifiers:TrainedClassifierSpec",
)
questions: Registry[QuestionSpec] = Registry(
    "question", QuestionSpec, page="mmvae_bench.specs.built_in.questions", group="mmvae_bench.questions"
)


def is_for(part: type[ComponentSpec] | ComponentSpec, domain: Domain) -> bool:
    """Whether a part, which is no classifier, is made for a domain."""
    return part.domain == domain or domain in getattr(part, "further_domains", ())  # type: ignore[union-attr]


def of_domain(registry: Registry[Any], domain: Domain) -> list[str]:
    """The names of the parts of a registry, except classifiers, that are made for a domain; those that cannot be
    imported left out."""
    return [name for name in registry.usable()[0] if is_for(registry.get(name), domain)]


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
