"""One expert per modality, combined without a joint network: MVAE, MMVAE, MoPoE, MVTCAE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from ....base.errors import ConfigError, Problem
from ...components import DatasetSpec, Domain, ObjectiveSpec, Posterior, by_setting, objectives


def _with_both_names(schema: dict[str, Any]) -> None:
    schema["properties"]["image_weight"] = schema["properties"]["lambda_image"]


class MultimodalSpec(ObjectiveSpec):
    """The joint posterior is computed from one expert per modality; no network sees both image and concept.

    The weight of log p(y|z) is 50, as for the objectives of the published table, so that a comparison is not one of
    weights; the papers of these objectives choose their own weights for each pair of modalities.
    """

    model_config = ConfigDict(json_schema_extra=_with_both_names)

    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    imageless_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    text_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: None if spec.modalities == "two" else "words are not modalities: choose modalities two"
    )

    modalities: Literal["two", "per_attribute"] = "two"
    """two: the image, and all attributes together; per_attribute: the image, and each attribute separately."""
    lambda_image: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z); may be given as ``image_weight``, the name that it has in other objectives, but not in
    ``--where``."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""

    @model_validator(mode="before")
    @classmethod
    def _one_name_of_the_weight(cls, value: Any) -> Any:
        # So that one key sweeps the weight over all objectives; stored trials keep theirs, which is written out at its
        # default too: beside that, the other name is not a second value.
        if not isinstance(value, Mapping) or "image_weight" not in value:
            return value
        if value.get("lambda_image", 1.0) != 1.0:
            message = "image_weight and lambda_image are one weight: give one of them"
            raise ConfigError([Problem(message, ("image_weight",), str(value["image_weight"]))])
        others = {key: item for key, item in value.items() if key != "image_weight"}
        return others | {"lambda_image": value["image_weight"]}

    def num_modalities(self, dataset: DatasetSpec) -> int:
        """The number of modalities M, for the concepts of a dataset."""
        return 1 + (1 if self.modalities == "two" else len(dataset.concept_schema()))


@objectives.register
class MVAESpec(MultimodalSpec):
    """ELBOs of all modalities, of each one, and of random subsets, each under the product of its experts."""

    further_domains: ClassVar[frozenset[Domain]] = frozenset({"papers"})
    implementation: ClassVar[str] = "mmvae_bench.objectives.mvae:MVAE"
    summary: ClassVar[str] = "ELBOs of subsets of modalities under products of experts, with the prior as a factor"
    reference: ClassVar[str] = (
        "Wu and Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning"
    )

    name: Literal["mvae"] = "mvae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of each KL(q_S || p(z)); the paper anneals it to 1."""
    num_random_subsets: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Subsets of two to M - 1 modalities drawn at each step; null: 1 if M is greater than 2, else 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_random_subsets:
            message = (
                "two modalities have no subsets besides both together and each alone: "
                "choose modalities per_attribute, or 0"
            )
            raise ConfigError([Problem(message, ("num_random_subsets",), str(self.num_random_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses random subsets for the image and one attribute: two modalities have no further subsets to draw; and
        links one by one."""
        if dataset.domain == "papers" and self.modalities != "two":
            message = f"the links of {dataset.name} are one modality"
            raise ConfigError([Problem(message, ("objective", "modalities"), self.modalities, ("two",), "two")])
        if self.num_random_subsets and self.num_modalities(dataset) < 3:
            message = "two modalities have no subsets besides both together and each alone: choose 0"
            where, value = ("objective", "num_random_subsets"), str(self.num_random_subsets)
            raise ConfigError([Problem(message, where, value, near="0")])


@objectives.register
class MMVAESpec(MultimodalSpec):
    """A bound on the joint likelihood under the mixture of the modalities' experts, each sampled in turn."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mmvae:MMVAE"
    summary: ClassVar[str] = "importance-weighted bound under a mixture of experts, without the prior as a factor"
    reference: ClassVar[str] = (
        "Shi et al. 2019, Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models"
    )

    name: Literal["mmvae"] = "mmvae"
    """The objective's name."""
    bound: Literal["iwae", "elbo"] = "iwae"
    """iwae: the log of the mean importance weight; elbo: the mean of the log weights."""
    num_samples: Annotated[int, Field(gt=0, le=1000)] = 10
    """K, samples of z from each modality's expert; all of them are decoded."""
    estimator: Literal["dreg", "plain"] | None = None
    """Gradient of iwae: dreg, doubly reparameterised, as in their code; plain, the bound's own. null: dreg for iwae."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bound == "elbo" and self.estimator == "dreg":
            raise ConfigError([Problem("only applies to bound iwae", ("estimator",), "dreg", ("plain",), "plain")])
        return self


MAX_SUBSETS: Final = 2**12
"""The maximum number of products in a mixture: each is kept in memory for every example."""


@objectives.register
class MoPoESpec(MultimodalSpec):
    """One ELBO under the uniform mixture over subsets of modalities, each subset a product of experts."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mopoe:MoPoE"
    summary: ClassVar[str] = (
        "ELBO under a mixture of products of experts over all subsets, without the prior as a factor"
    )
    reference: ClassVar[str] = "Sutter et al. 2021, Generalized Multimodal ELBO (mixture of products of experts)"

    name: Literal["mopoe"] = "mopoe"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the KL's bound."""
    num_subsets: Annotated[int, Field(gt=0, le=MAX_SUBSETS)] | None = None
    """Subsets in the mixture: all together, each one, and random others, fixed by the seed; null: all 2^M - 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_subsets is not None:
            message = "two modalities have three subsets, and all are used: choose modalities per_attribute, or null"
            raise ConfigError([Problem(message, ("num_subsets",), str(self.num_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses too many subsets, and so few that some modality would have no posterior."""
        num_modalities = self.num_modalities(dataset)
        every, least = 2**num_modalities - 1, num_modalities + 1
        if self.num_subsets is None and every > MAX_SUBSETS:
            message = (
                f"{num_modalities} modalities have {every:,} subsets, more than {MAX_SUBSETS:,}: "
                f"choose num_subsets from {least} to {MAX_SUBSETS:,}, or modalities two"
            )
            raise ConfigError([Problem(message, ("objective", "num_subsets"), "null", near=str(least))])
        if self.num_subsets is not None and not least <= self.num_subsets <= every:
            message = f"{num_modalities} modalities need {least} (all together, each one) to {every:,} subsets"
            near = str(min(max(self.num_subsets, least), every))
            raise ConfigError([Problem(message, ("objective", "num_subsets"), str(self.num_subsets), near=near)])


@objectives.register
class MVTCAESpec(MultimodalSpec):
    """A bound on the total correlation that z explains: the product of experts, kept close to each expert."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mvtcae:MVTCAE"
    summary: ClassVar[str] = "product of experts kept close to each expert, without the prior as a factor"
    reference: ClassVar[str] = "Hwang et al. 2021, Multi-View Representation Learning via Total Correlation Objective"
    imageless_obstacle: ClassVar[str | None] = by_setting(
        lambda spec: "with alpha 1 its loss of y alone is 0" if spec.modalities == "two" and spec.alpha == 1 else None
    )

    name: Literal["mvtcae"] = "mvtcae"
    """The objective's name."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 5 / 6
    """Share of the divergences from the single experts; the rest is the share of the divergence from the prior. The
    authors' own runs use 5/6; 0.1, the default of earlier versions, is far from theirs."""
    beta: Annotated[float, Field(ge=0)] = 2.5
    """Weight of the divergences."""
