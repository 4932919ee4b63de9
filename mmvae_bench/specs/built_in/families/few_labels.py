"""Semi-supervised by construction: SSVAE, its recursive form, and MEME in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ....base.errors import ConfigError, Problem
from ....concepts import Schema
from ...components import (
    BackboneSpec,
    DatasetSpec,
    Modality,
    ObjectiveSpec,
    Posterior,
    by_setting,
    datasets,
    objectives,
)
from ..few_labels import LIGHT


@objectives.register
class MEMESpec(ObjectiveSpec):
    """Each modality is the other's label: a semi-supervised VAE in both directions, which share their networks."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.meme:MEME"
    summary: ClassVar[str] = (
        "mutual supervision: p(z|y) is the prior of images and p(z|x) that of concepts; learns from either alone"
    )
    reference: ClassVar[str] = "Joy et al. 2022, Learning Multimodal VAEs through Mutual Supervision"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    imageless_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    text_obstacle: ClassVar[str | None] = None
    caution: ClassVar[str | None] = by_setting(
        lambda spec: (
            "with scored one and weights trained follows gradients that are mostly noise: an ablation"
            if (spec.scored, spec.weights) == ("one", "trained") and spec.num_samples > 1
            else None
        )
    )

    name: Literal["meme"] = "meme"
    """The objective's name."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z), and of log q(x|y)."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z), and of log q(y|x)."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of log q(y|x) and log q(x|y), beside lambda and image_weight; 1 in the paper, 10 in its code."""
    num_samples: Annotated[int, Field(gt=0, le=1000)] = 11
    """K, samples of z in the mean q(t|s)."""
    scored: Literal["all", "one"] = "all"
    """Which of the K samples the weighted term is a mean over. all: every one, decoded to s too; one: the first, as in
    the paper's code. The expectation is the same, but with weights trained the gradient of one is mostly noise."""
    weights: Literal["trained", "detached"] = "trained"
    """Gradient of the weights q(t|z) / q(t|s). trained: the bound's own; detached: none, as in the paper's code. Then
    with alpha, image_weight and lambda 1 nothing trains q(t|z), its two terms being opposite in the mean."""
    divergence: Literal["sampled", "analytic"] = "sampled"
    """log q(z|s) - log p(z|t). sampled: at the z that is weighted, as in the formula; analytic: KL(q(z|s) || p(z|t))
    times the weights, as in the paper's code, which is no bound."""
    num_pseudo_inputs: Annotated[int, Field(gt=0, le=10_000)] = 128
    """N, inputs u of p(z) = (1/N) sum q(z|u), for examples without labels or images; as many as a batch has in the
    paper's code."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs as many pseudo-inputs as the networks need images in a step."""
        if self.num_pseudo_inputs < (least := backbone.least_batch):
            message = f"backbone {backbone.name} normalises over the pseudo-inputs, so it needs at least {least}"
            given = str(self.num_pseudo_inputs)
            raise ConfigError([Problem(message, ("objective", "num_pseudo_inputs"), given, near=str(least))])


INTRINSIC: Final = "mmvae_bench.objectives.intrinsic:IntrinsicSSVAE"
MAX_COMPLETIONS: Final = 64
"""The maximum number of values that are summed over: each is decoded, for every example."""


@objectives.register
class SSVAESpec(ObjectiveSpec):
    """A classifier q(y|x) inside a VAE whose decoder is told y: the model of few labels, which also learns without."""

    implementation: ClassVar[str] = by_setting(
        lambda spec: INTRINSIC if spec.structure == "intrinsic" else "mmvae_bench.objectives.ssvae:SSVAE"
    )
    further_implementations: ClassVar[tuple[str, ...]] = (INTRINSIC,)
    summary: ClassVar[str] = (
        "p(x|y,z) p(y) p(z) with q(y|x) q(z|x,y): learns from images without labels; semi-supervised"
    )
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models, "
        "Eq. 2"
    )
    imageless_obstacle: ClassVar[str | None] = (
        "the bound of y alone is log p(y), which is fixed: nothing is to be learnt"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    caution: ClassVar[str | None] = by_setting(
        lambda spec: (
            "with supervised printed unlearns its labels: an ablation" if spec.supervised == "printed" else None
        )
    )
    has_describer: ClassVar[bool] = True
    text_obstacle: ClassVar[str | None] = "its image decoder is conditioned on the value of each attribute"
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    later_fields: ClassVar[frozenset[str]] = frozenset({"structure"})

    name: Literal["ssvae"] = "ssvae"
    """The objective's name."""
    structure: Literal["plain", "intrinsic"] = "plain"
    """plain: q(y|x) and q(z|x,y), whatever y is; intrinsic: the paper's model of faces under one light, whose latents
    are identity, light, shading q(s|i,l) and reflectance q(r|x), each of the last two as large as the backbone's z."""
    estimator: Literal["plug_in", "exact", "concrete"] = "plug_in"
    """The expectation over q(y|x) for an attribute without a label. plug_in: the networks are given its probabilities,
    as in the paper, which is biased unless they are 0 and 1; exact: the sum over its values (Kingma et al. 2014, M2);
    concrete: a relaxed sample of it."""
    temperature: Annotated[float, Field(gt=0)] = 0.66
    """Temperature of the relaxed samples of concrete."""
    supervised: Literal["review", "printed"] = "review"
    """What labelled images add. review: gamma (ELBO + alpha log q(y|x)), as published at NIPS; printed: Eq. 4 of the
    ICLR submission, q(y|x) (ELBO - log q(y|x)), an ablation: it makes a label with a negative ELBO improbable."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of labelled images."""
    alpha: Annotated[float, Field(ge=0)] = 50.0
    """Weight of log q(y|x) of the labels; review only."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|y,z)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.estimator != "concrete" and self.temperature != 0.66:
            message = "only applies to estimator concrete"
            problems.append(Problem(message, ("temperature",), str(self.temperature)))
        if self.supervised == "printed":
            problems += [
                Problem("only applies to supervised review", (name,), str(getattr(self, name)))
                for name in ("gamma", "alpha")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            if self.structure == "intrinsic":
                message = "supervised printed needs structure plain: a light has a density, not a probability"
                problems.append(Problem(message, ("structure",), self.structure, ("plain",), "plain"))
        if problems:
            raise ConfigError(problems)
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses a sum over too many values, and an intrinsic structure where there is no light."""
        schema = dataset.concept_schema()
        if self.structure == "intrinsic" and dataset.factors != LIGHT:
            message = (
                f"for faces under a light, and {dataset.name} has no direction of the light: train it on lit_faces"
            )
            raise ConfigError([Problem(message, ("objective", "structure"), "intrinsic", ("plain",), "plain")])
        number = len(schema.attributes[0]) if self.structure == "intrinsic" else prod(schema.sizes)
        if self.estimator == "exact" and number > MAX_COMPLETIONS:
            message = (
                f"a sum over the {number:,} concepts of {dataset.name}, each decoded for every image: "
                f"exact is for at most {MAX_COMPLETIONS}"
            )
            others = ("plug_in", "concrete")
            raise ConfigError([Problem(message, ("objective", "estimator"), "exact", others, others[0])])


COUNT: Final = "count"
"""The attribute that says how many things an image shows."""


@objectives.register
class RecursiveSSVAESpec(ObjectiveSpec):
    """A semi-supervised VAE of a variable number of things on one canvas, each of a kind and in a style. The concept is
    how many there are."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.recursive_ssvae:RecursiveSSVAE"
    summary: ClassVar[str] = (
        "several things on one canvas, found one after the other, and how many: learns from images without labels"
    )
    reference: ClassVar[str] = (
        "Siddharth et al. 2017, Learning Disentangled Representations with Semi-Supervised Deep Generative Models, 4.3"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    has_describer: ClassVar[bool] = True
    text_obstacle: ClassVar[str | None] = "its image decoder is told a number"
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    imageless_obstacle: ClassVar[str | None] = (
        "the bound of y alone is log p(y), which is fixed: nothing is to be learnt"
    )

    name: Literal["recursive_ssvae"] = "recursive_ssvae"
    """The objective's name."""
    num_kinds: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many kinds of things there are: values of d_k. Its style n_k is as large as the backbone's z."""
    window: Annotated[float, Field(gt=0, lt=1)] | None = 0.45
    """The side of a component's picture as a share of the canvas's, rounded to four pixels. The first two dimensions of
    its style are where it is, uniform under the prior. null: a component may light the whole canvas, and show several
    things."""
    estimator: Literal["exact", "plug_in"] = "exact"
    """The expectation over q(K|x) of an image without a label. exact: the sum over K, with the same canvases for all;
    plug_in: one union of all components, of which the k-th counts with q(K >= k|x), as in ssvae biased unless that is
    0 or 1."""
    kind_estimator: Literal["plug_in", "concrete"] = "plug_in"
    """What the decoder is given as d_k. plug_in: the probabilities q(d_k|x); concrete: a relaxed sample."""
    temperature: Annotated[float, Field(gt=0)] = 0.66
    """Temperature of the relaxed samples of concrete."""
    leak: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """The probability that a pixel is lit where no component is. It cannot be 0: an image with a lit pixel would be
    impossible where K is 0."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of labelled images."""
    alpha: Annotated[float, Field(ge=0)] = 50.0
    """Weight of log q(K|x) of the labels."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|K,d,n)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind_estimator != "concrete" and self.temperature != 0.66:
            message = "only applies to kind_estimator concrete"
            raise ConfigError([Problem(message, ("temperature",), str(self.temperature))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Needs a concept that is a number of things, and nothing else."""
        if is_count(schema := dataset.concept_schema()):
            return
        able = tuple(name for name in datasets.self_contained() if is_count(datasets.parse(name).concept_schema()))
        message = (
            f"{self.name} takes concepts of one attribute, {COUNT}, with the values 0, 1, 2 and so on: how many things "
            f"an image shows; those of this {dataset.name} are {_shortened(schema)}"
        )
        labels = getattr(dataset, "labels", None)
        if labels is not None and dataset.name in able:
            raise ConfigError([Problem(message, ("dataset", "labels"), labels, (COUNT,), COUNT)])
        raise ConfigError([Problem(message, ("dataset", "name"), repr(dataset.name), able)])

    def check(self, backbone: BackboneSpec) -> None:
        """Needs pixels that are dark or lit, and a style with two dimensions for where a picture is."""
        message = f"{self.name} unites components where pixels are dark or lit"
        family = getattr(backbone, "likelihood", None)
        if family not in (None, "bernoulli"):
            raise ConfigError([Problem(message, ("backbone", "likelihood"), family, ("bernoulli",), "bernoulli")])
        if not backbone.bounded_pixels:
            message += f", and those of backbone {backbone.name} are not"
            raise ConfigError([Problem(message, ("backbone", "name"), backbone.name)])
        if self.window is not None and backbone.latent_size < 2:
            message = "a style says where a component's picture is, so it needs two dimensions, or set window to null"
            raise ConfigError([Problem(message, ("backbone", "latent_size"), str(backbone.latent_size), near="2")])
        if self.window is not None and backbone.one_size:
            message = (
                f"components are pictures smaller than the canvas, and backbone {backbone.name} makes images of one "
            )
            message += "size: set it to null, or choose another backbone"
            raise ConfigError([Problem(message, ("objective", "window"), f"{self.window:g}", near="null")])


def is_count(schema: Schema) -> bool:
    """Whether concepts are a number of things and nothing else: a digit's name is a number too, but counts nothing.

    >>> from mmvae_bench.concepts import Attribute
    >>> [is_count(Schema((Attribute(name, ("0", "1", "2")),))) for name in ("count", "digit")]
    [True, False]
    """
    values = schema.attributes[0].values
    return schema.names == (COUNT,) and values == tuple(map(str, range(len(values))))


def _shortened(schema: Schema) -> str:
    first = [f"{each.name} ({', '.join(each.values[:3])}{', ...' * (len(each) > 3)})" for each in schema.attributes[:2]]
    return ", ".join(first) + f" and {len(schema) - 2} more" * (len(schema) > 2)
