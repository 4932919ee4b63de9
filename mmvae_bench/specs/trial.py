"""One trial: what is hashed into its key, and the evaluation settings, which are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, field_serializer, model_validator
from pydantic_core import CoreSchema

from ..base.canonical import content_hash
from ..base.errors import ConfigError, Location, Problem, nearest, unknown
from ..metrics.protocols import PROTOCOL_RULES
from .augmentation import AugmentationSpec, augmentation_problems
from .base import LARGEST, Spec
from .components import (
    BackboneField,
    BackboneSpec,
    ClassifierField,
    DatasetField,
    DatasetSpec,
    Domain,
    ObjectiveField,
    ObjectiveSpec,
    QuestionSpec,
    backbones,
    is_for,
    objectives,
    of_domain,
    questions,
)
from .missing import MissingImagesSpec, missing_problems
from .paths import pointed
from .registry import Registry
from .supervision import SupervisionSpec, num_supervised, supervision_problems

if TYPE_CHECKING:
    from ..objectives.base import Objective

COMPOSITIONAL = "comp"


def view_problems(dataset: DatasetSpec, backbone: BackboneSpec, objective: ObjectiveSpec) -> Iterator[Problem]:
    """Why a model cannot learn from a dataset in its view: because of the networks, the loss or the split."""
    if dataset.chosen_view == "strengths":
        yield from _strength_problems(dataset, backbone, objective)
    captions = dataset.texts()
    if captions is None:
        return
    if "text" not in backbone.views:
        able = tuple(name for name in backbones.names() if "text" in backbones.get(name).views)
        message = f"backbone {backbone.name} has no networks for captions, which view text of {dataset.name} needs"
        yield Problem(message, ("backbone", "name"), repr(backbone.name), able)
    if objective.text_obstacle is not None:
        message = f"{objective.name} cannot use captions as y: {objective.text_obstacle}"
        yield Problem(message, ("dataset", "view"), "text", ("attributes",), "attributes")
    if dataset.split == COMPOSITIONAL and len(captions.schema) not in captions.levels:
        message = f"split comp needs full concepts, but captions of {dataset.name} do not mention absent attributes"
        yield Problem(f"{message}: choose another split, or view attributes", ("dataset", "split"), repr(dataset.split))


def _strength_problems(dataset: DatasetSpec, backbone: BackboneSpec, objective: ObjectiveSpec) -> Iterator[Problem]:
    view = ("dataset", "view")
    if not dataset.strengths:
        message = f"{dataset.name} of source {dataset.source} has values of attributes, and no scores"
        yield Problem(message, view, "strengths", ("attributes",), "attributes")
    if "strengths" not in backbone.views:
        able = tuple(name for name in backbones.names() if "strengths" in backbones.get(name).views)
        message = f"the networks of backbone {backbone.name} take values of attributes only, not scores of them"
        yield Problem(message, ("backbone", "name"), repr(backbone.name), able)
    if objective.strength_obstacle is not None:
        message = f"{objective.name} cannot use scores of attributes as y: {objective.strength_obstacle}"
        yield Problem(message, view, "strengths", ("attributes",), "attributes")


_HOLDS: Mapping[Domain, str] = {"images": "images", "graph": "a graph", "papers": "papers"}


def domain_problems(
    dataset: DatasetSpec, backbone: BackboneSpec, objective: ObjectiveSpec, evaluation: EvaluationSpec
) -> Iterator[Problem]:
    """Why parts cannot be put together that are made for images, and for graphs."""
    kinds: tuple[tuple[str, BackboneSpec | ObjectiveSpec, Registry[Any]], ...] = (
        ("backbone", backbone, backbones), ("objective", objective, objectives)
    )  # fmt: skip
    for kind, part, registry in kinds:
        if not is_for(part, dataset.domain):
            message = f"{kind} {part.name} is for {_HOLDS[part.domain]}, but {dataset.name} holds "
            message += _HOLDS[dataset.domain]
            able = tuple(of_domain(registry, dataset.domain))
            yield Problem(message, (kind, "name"), repr(part.name), able, able[0] if len(able) == 1 else None)
    if dataset.domain == "papers" and (objective.domain == "graph") != (backbone.domain == "graph"):
        # Both can be used there, but not together.
        able = tuple(name for name in of_domain(backbones, "papers")
                     if (backbones.get(name).domain == "graph") == (objective.domain == "graph"))  # fmt: skip
        message = f"objective {objective.name} cannot be trained on the networks of backbone {backbone.name}"
        yield Problem(message, ("backbone", "name"), repr(backbone.name), able, able[0])
    for question in evaluation.questions:
        if question.domain != dataset.domain:
            message = f"question {question.name} is about {_HOLDS[question.domain]}, but {dataset.name} holds "
            yield Problem(message + _HOLDS[dataset.domain], ("evaluation", "questions"), question.name)
    if dataset.domain != "images" and evaluation.classifier is not None:
        holds = "is a graph" if dataset.domain == "graph" else "holds papers"
        message = f"{dataset.name} {holds}: there are no images to classify"
        yield Problem(message, ("evaluation", "classifier"), repr(evaluation.classifier.name), ("null",), "null")


SPEC_VERSION: Final = 1
"""Increased when the meaning of a spec changes; folders of other versions are refused."""

PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]
Few = Annotated[int, Field(gt=0, le=1_000_000)]
"""A number of things that are in memory together."""
Partition = Literal["val", "test"]
HiddenRegion = Literal[
    "left", "right", "top", "bottom", "top-left", "top-right", "bottom-left", "bottom-right", "random-8", "random-16"
]
DEFAULT_PROTOCOLS = ("official", "paper", "corrected")
"""The protocols that share the samples of the fixed queries."""


class TrainingSpec(Spec):
    """How the parameters are fitted. Adam throughout, as in every paper compared here."""

    later_fields: ClassVar[frozenset[str]] = frozenset({"budget", "supervision", "missing_images", "augmentation"})

    steps: PositiveInt = 250_000
    """Gradient steps: of the main stage, or of all stages together, as ``budget`` says."""
    batch_size: PositiveInt = 64
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Adam's step size."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """float32; tf32 (matrix products and convolutions, on a GPU); bfloat16 (autocast)."""
    num_threads: Annotated[int, Field(gt=0, le=1024)] = 1
    """CPU threads; part of the key, because results differ bitwise between numbers of threads."""
    validations: PositiveInt = 20
    """How often, at least, the validation ELBO is computed in each stage; evenly spaced."""
    compile: Literal[False, True, "loss"] = False
    """What torch.compile makes code of. true: each network; loss: the loss as a whole, which is faster in long training
    of small networks, once it is compiled."""
    budget: Literal["stage", "total"] = "stage"
    """What ``steps`` counts. stage: the main stage, as in the papers, so that an objective with several stages trains
    longer than one with a single stage. total: all stages, which share the steps in the proportions that they have
    otherwise, so that every objective makes the same number of steps."""
    supervision: SupervisionSpec | None = None
    """Which training images have labels, and which steps see them; null: all images and steps."""
    missing_images: MissingImagesSpec | None = None
    """Which training examples have no image; null: none."""
    augmentation: AugmentationSpec | None = None
    """How training images are changed at random, differently at each step; null: not at all."""

    @property
    def together_obstacle(self) -> str | None:
        """Why trials that differ in the seed cannot be trained as one, as far as these settings tell."""
        if self.compile:
            return "training.compile is set"
        if self.precision == "bfloat16":
            return "training.precision is bfloat16"
        return None

    @model_validator(mode="after")
    def _check(self) -> Self:
        supervision = self.supervision
        if supervision is not None and supervision.rate and not num_supervised(self.steps, supervision.rate):
            first = ceil(1 / Fraction(str(supervision.rate)))
            message = f"none of {self.steps:,} steps is supervised: the first is step {first:,}"
            raise ConfigError([Problem(message, ("supervision", "rate"), str(supervision.rate))])
        return self


def _known_protocol(value: object) -> str:
    if not isinstance(value, str) or value not in PROTOCOL_RULES:
        choices = tuple(PROTOCOL_RULES)
        raise ConfigError([Problem("not one of the choices", (), repr(value), choices, nearest(value, choices))])
    return PROTOCOL_RULES.get(value, ()).name


def _known_questions(value: object) -> tuple[QuestionSpec, ...]:
    """Specs of questions from a mapping of their names to their settings."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError([Problem("expected a mapping of keys to values", (), repr(value))])
    found, problems = [], []
    for name, settings in value.items():
        try:
            found.append(_question(str(name), settings))
        except ConfigError as error:
            problems += [replace(problem, location=(str(name), *problem.location)) for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _question(name: str, settings: object) -> QuestionSpec:
    if name in questions and name not in _questions_to_name():
        message = f"question {name!r} is built in: its settings are keys of evaluation itself"
        raise ConfigError([Problem(message, (), choices=tuple(_questions_to_name()))])
    if name not in questions:
        raise ConfigError([unknown("question", name, _questions_to_name())])
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError([Problem(f"expected the settings of {name}, key by key", (), repr(settings))])
    return questions.get(name, ()).parse({"name": name, **(settings or {})})


def _questions_to_name() -> list[str]:
    """The questions that are asked where ``evaluation.questions`` names them: built-in ones, and all of other
    packages."""
    built_in = questions.built_in()
    return [name for name in questions if name not in built_in or questions.get(name).on_request]


class _ProtocolNames:
    """Lists the protocols in the JSON schema, with those of other packages."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "enum": list(PROTOCOL_RULES)}


class _QuestionNames:
    """Lists the questions that can be named in the JSON schema."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        properties = {name: {"type": ["object", "null"]} for name in _questions_to_name()}
        return {"type": "object", "properties": properties, "additionalProperties": False}


class EvaluationSpec(Spec):
    """How a trained model is evaluated. It is not part of the key: evaluating again never retrains."""

    later_fields: ClassVar[frozenset[str]] = frozenset(
        {"questions", "images", "likelihood_max_samples", "reconstruction_images", "hidden_regions"}
    )

    protocols: tuple[Annotated[str, BeforeValidator(_known_protocol), _ProtocolNames()], ...] = DEFAULT_PROTOCOLS
    """How samples become scores. official, paper and corrected share the samples of the fixed queries; cremer uses the
    texts of real images instead, with one z per text, and the mean image. multivae, mmvaeplus and mopoe share the
    samples of coherence. attribute2image reads ten samples of the concepts of real images."""
    levels: tuple[PositiveInt, ...] | None = None
    """Numbers of specified attributes in the fixed queries; null: all of them up to five, else 1, 2, 3, half and
    all."""
    partitions: tuple[Partition, ...] = ("test",)
    """The partitions evaluated: val for choosing settings, test for reporting."""
    num_samples: Few = 100
    """Images drawn per query."""
    images: Literal["sample", "mean", "both"] = "sample"
    """What the classifier is shown of p(x|z): a sample, as in the paper; its mean, in rows of their own; or both, at
    the same z. Where the scale of p(x|z) is a setting, and no model of noise, the mean takes the place of a sample."""
    query_repeats: Few = 2
    """How often each combination of values is queried at a level."""
    num_queries: PositiveInt | None = None
    """The largest number of full concepts behind the queries of a level, before repeats; null: all combinations of
    values, or 240 concepts of real images where there are more than 4,096."""
    classifier: ClassifierField | None = None
    """The observation classifier; null: the dataset's own."""
    curve_points: Annotated[int, Field(ge=0, le=1000)] = 0
    """How often correctness and coverage are also measured during training, evenly spaced, for the curve of each score
    against steps; 0: only at the end. A trial that is already trained is not trained again for it."""
    likelihood_images: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """The largest number of images per partition whose log likelihoods are bounded: log p(x|y), log p(x), log p(y), and
    the terms of the unweighted ELBO; 0: none."""
    likelihood_samples: Few = 10
    """Importance samples behind each bound of log p(x) and log p(y); Cremer and Kushman take 10."""
    likelihood_max_samples: Annotated[int, Field(ge=128, le=LARGEST)] = 4096
    """The largest number of z behind log_py_tight, per description; it starts with 64, and doubles them until that
    moves the bound by less than a tenth of its interval, or 0.01 nats."""
    prior_images: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """How many z are drawn from the prior, and from the flow in its place, to compare the image and the text of each;
    0: none."""
    reconstruction_images: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """The largest number of images per partition that are reconstructed, and completed where a part of them is hidden,
    by the encoder and by optimisation of z; 0: none."""
    hidden_regions: tuple[HiddenRegion, ...] = ()
    """Further parts of images that are hidden to be completed, besides the right half, the quadrant at the bottom right
    and what the dataset names. random-8 and random-16 are squares of 8 or 16 64ths of the sides, in each image at a
    place of its own, the same one for every objective."""
    num_resamples: Few = 2000
    """Not used: intervals are computed in closed form. Kept so that the settings of earlier runs stay the same."""
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Seed of the queries and of the samples."""
    questions: Annotated[tuple[QuestionSpec, ...], BeforeValidator(_known_questions), _QuestionNames()] = Field(
        default=(), json_schema_extra={"default": {}}
    )
    """Further questions, built in or of other packages: a mapping of their names to their settings."""

    @field_serializer("questions")
    def _by_name(self, chosen: tuple[QuestionSpec, ...]) -> dict[str, Any]:
        return {question.name: question.parameters() for question in chosen}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("protocols", "partitions", "levels", "hidden_regions"):
            value = getattr(self, key)
            empty = value == () and key != "hidden_regions"
            if value is not None and (empty or len(set(value)) != len(value)):
                raise ConfigError([Problem("needs at least one entry, each once", (key,), repr(list(value)))])
        if self.hidden_regions and not self.reconstruction_images:
            message = "nothing is completed where reconstruction_images is 0: set it, or leave this out"
            raise ConfigError([Problem(message, ("hidden_regions",), repr(list(self.hidden_regions)))])
        for name in self.protocols:
            needed = PROTOCOL_RULES[name].num_samples
            if needed is not None and self.num_samples < needed:
                message = f"protocol {name} scores {needed} samples: draw that many, or leave it out of protocols"
                raise ConfigError([Problem(message, ("num_samples",), str(self.num_samples))])
        return self

    def of_protocol(self, name: str) -> Self:
        """The same evaluation with this protocol alone."""
        return type(self).parse(self.canonical() | {"protocols": [name]})


SETTINGS: Final = (("training", TrainingSpec), ("evaluation", EvaluationSpec))
"""The parts of a trial that are no components."""


class TrialSpec(Spec):
    """One training run: a dataset, networks, an objective, training settings and a seed."""

    version: Literal[1] = SPEC_VERSION
    """Version of the spec format."""
    dataset: DatasetField
    """The images, their concepts and their split."""
    backbone: BackboneField
    """The networks."""
    objective: ObjectiveField
    """What is optimised."""
    training: TrainingSpec = TrainingSpec()
    """How it is optimised."""
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    """Training seed: initial weights, order of batches, latent noise."""
    evaluation: Annotated[EvaluationSpec, Field(exclude=True)] = EvaluationSpec()
    """How the trained model is evaluated; part of neither the key nor ``spec.json``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if strangers := [*domain_problems(self.dataset, self.backbone, self.objective, self.evaluation)]:
            raise ConfigError(strangers)
        problems = [
            *_batch_problems(self.training.batch_size, self.dataset, self.backbone),
            *view_problems(self.dataset, self.backbone, self.objective),
            *_level_problems(self.evaluation, self.dataset),
            *supervision_problems(self.training.supervision, self.dataset, self.objective),
            *missing_problems(
                self.training.missing_images,
                self.training.steps,
                self.dataset,
                supervised=self.training.supervision is not None,
            ),
            *augmentation_problems(self.training.augmentation, self.dataset, self.backbone),
        ]
        checks: list[Callable[[], None]] = [
            lambda: self.objective.check(self.backbone),
            lambda: self.objective.check_concepts(self.dataset),
            lambda: self.backbone.check(self.dataset),
        ]
        for check in checks:
            try:
                check()
            except ConfigError as error:
                problems = [*error.problems, *problems]
        if problems:
            raise ConfigError(problems)
        return self

    @classmethod
    def parse(cls, value: object, *, location: Location = ()) -> Self:
        """Validates ``value``; raises ConfigError with every problem, and where misplaced keys belong."""
        try:
            return super().parse(value, location=location)
        except ConfigError as error:
            raise ConfigError(pointed(error.problems, SETTINGS)) from None

    def build(self) -> Objective:
        """The untrained objective on its networks, with the initial weights of the seed."""
        dataset = self.dataset
        backbone = self.backbone.build(
            schema=dataset.concept_schema(), image_shape=dataset.image_shape(), captions=dataset.texts()
        )
        return self.objective.build(backbone, seed=self.seed)

    @property
    def key(self) -> str:
        """The first 12 hex digits of the sha256 of the canonical JSON: the trial's name on disk."""
        return content_hash(self.canonical())

    def __repr__(self) -> str:
        """One line: a list of trials is read as one. ``canonical()`` has every setting."""
        return f"{type(self).__name__}({self.key} {self.label})"

    __str__ = __repr__

    @property
    def label(self) -> str:
        """A short human-readable name."""
        dataset = self.dataset
        named = {"name": dataset.name, "source": dataset.source, "split": dataset.split, "view": dataset.chosen_view}
        return trial_label({"objective": {"name": self.objective.name}, "dataset": named, "seed": self.seed})


def trial_label(spec: Mapping[str, Any]) -> str:
    """A short human-readable name, from a canonical spec that may be damaged: question marks for whatever is missing.

    A source with the dataset's own name is left out: a stand-in has another one.

    >>> trial_label({"objective": {"name": "jmvae"}, "dataset": {"name": "celeba18", "view": "text"}, "seed": 0})
    'jmvae celeba18/?/?/text seed 0'
    >>> trial_label({"objective": {"name": "jmvae"}, "dataset": {"name": "arrays", "source": "arrays", "split": "iid"}})
    'jmvae arrays/iid seed ?'
    """
    objective, dataset = (
        {} if not isinstance(part := spec.get(kind), Mapping) else part for kind in ("objective", "dataset")
    )
    name, source, split = (str(dataset.get(key, "?")) for key in ("name", "source", "split"))
    words = [name, *([source] if source != name or name == "?" else []), split]
    words += [view] if (view := dataset.get("view")) in ("text", "strengths") else []
    return f"{objective.get('name', '?')} {'/'.join(words)} seed {spec.get('seed', '?')}"


def _batch_problems(batch_size: int, dataset: DatasetSpec, backbone: BackboneSpec) -> Iterator[Problem]:
    """Why no step can be made with so many images."""
    where, given, least, most = ("training", "batch_size"), str(batch_size), backbone.least_batch, dataset.most_images()
    if batch_size < least:
        message = f"backbone {backbone.name} normalises over the batch, so it needs at least {least} images per step"
        yield Problem(message, where, given, near=str(least))
    if backbone.domain == "graph":
        nodes = dataset.nodes_per_step()
        if batch_size != nodes:
            message = f"this {dataset.name} is one graph, trained whole: {nodes} nodes per step"
            yield Problem(message, where, given, (str(nodes),), str(nodes))
    elif most is not None and batch_size > most:
        yield Problem(f"this {dataset.name} has only {most:,} images, of which some are for testing", where, given)


def _level_problems(evaluation: EvaluationSpec, dataset: Any) -> list[Problem]:
    schema = dataset.concept_schema()
    num_attributes, levels = len(schema), dataset.levels()
    notes = f", {' and '.join(schema.given)} always specified" if schema.given else ""
    notes += f"; its captions express {' or '.join(map(str, levels))} of them" if dataset.chosen_view == "text" else ""
    problems = [
        Problem(
            f"no level {level}: {dataset.name} has concepts of {num_attributes} attributes{notes}",
            ("evaluation", "levels", index),
            str(level),
            tuple(str(choice) for choice in levels),
            str(min(levels, key=lambda choice: abs(choice - level))),
        )
        for index, level in enumerate(evaluation.levels or ())
        if level not in levels
    ]
    classifier = evaluation.classifier
    if schema.given and classifier is not None and not classifier.takes_given:
        message = f"classifier {classifier.name} cannot take {' and '.join(schema.given)} as input, without which the "
        message += f"order of {dataset.name}'s other attributes is ambiguous: use null, or a classifier that can"
        problems.append(Problem(message, ("evaluation", "classifier"), repr(classifier.name)))
    if dataset.split == "comp" and num_attributes not in (evaluation.levels or (num_attributes,)):
        message = f"split comp is scored on full concepts only: add level {num_attributes}"
        problems.append(Problem(message, ("evaluation", "levels"), repr(list(evaluation.levels or ()))))
    return problems
