"""The built-in objective of images of several things, of which only the number is labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ...concepts import Schema
from ..components import BackboneSpec, DatasetSpec, Modality, ObjectiveSpec, Posterior, datasets, objectives

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
        hint = ": choose labels count" if dataset.name in able else ""
        message = (
            f"{self.name} takes concepts of one attribute, {COUNT}, with the values 0, 1, 2 and so on: how many things "
            f"an image shows; those of this {dataset.name} are {_shortened(schema)}{hint}"
        )
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
            message = "a style says where a component's picture is, so it needs two dimensions: or set window to null"
            raise ConfigError([Problem(message, ("backbone", "latent_size"), str(backbone.latent_size), near="2")])


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
