"""Posteriors that are flows, fitted to a model that is trained first: VLVAE, q_true, q_agg, JNF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....base.errors import ConfigError, Problem
from ...base import LARGEST
from ...components import BackboneSpec, DatasetSpec, ObjectiveSpec, Posterior, by_setting, objectives
from .common import NEEDS_LABEL, Steps, WeightedImagesSpec

PAPER = "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs"


def flow_needs_two_dimensions(objective: ObjectiveSpec, backbone: BackboneSpec) -> None:
    """Raises ConfigError if z is too small for a flow, whose couplings condition one half of z on the other."""
    if backbone.latent_size < 2:
        raise ConfigError(
            [
                Problem(
                    f"{objective.name} fits a flow, which couples two halves of z: latent_size must be at least 2",
                    ("backbone", "latent_size"),
                    str(backbone.latent_size),
                )
            ]
        )


class _VLVAEBased(ObjectiveSpec):
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(
        lambda spec: None if spec.inference == "image" else NEEDS_LABEL
    )
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"prior"})
    later_fields: ClassVar[frozenset[str]] = frozenset({"shared_decoder"})

    inference: Literal["image", "joint"] = "image"
    """image: q(z|x), so that z contains no more of the concept than the image shows; joint: q(z|x,y)."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z). The paper: 0.02 on Two-Object CLEVR, 0.1 on CelebA."""
    concept_weight: Annotated[float, Field(gt=0)] = 50.0
    """Weight of log p(y|z), the lambda of the other objectives. The paper: 200 on Two-Object CLEVR, 100 on CelebA."""
    kl_warmup_steps: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    """Steps over which the weight of the KL grows from 0 to 1; null: a twentieth of the first stage, as published."""
    prior_flow: bool = False
    """In a last stage, fit a flow to the aggregate of q(z|x) over all images, as a prior that replaces N(0, I)."""
    flow_steps: Steps | None = None
    """Steps of each stage that fits a flow; null: half as many as the first stage."""
    shared_decoder: bool = False
    """Whether p(x|z) and p(y|z) begin with the same layers, five fully connected ones with two residual connections and
    batch norm, as in the paper (Sec. 5.1); otherwise they have no weights in common."""


class _ConceptFlow(_VLVAEBased):
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(lambda spec: frozenset({spec.inference, "concept"}))
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = by_setting(lambda spec: spec._obstacle())
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "concept", "prior")
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.mask_probability > 0)

    mask_probability: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Probability that some attributes of a training concept are masked while q(z|y) is fitted; 0: full concepts only,
    as in the paper, and the flow cannot condition on partial ones. Must be 0 in the text view: captions are not
    masked."""

    def _obstacle(self) -> Mapping[str, str] | str | None:
        """Why images without labels are left out: see :attr:`unlabelled_obstacle`."""
        if self.inference == "joint":
            return NEEDS_LABEL
        if self.mask_probability:
            return None
        return {"concept": "with mask_probability 0 the flow q(z|y) takes full concepts only"}

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of at least two."""
        flow_needs_two_dimensions(self, backbone)

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Refuses masking in the text view: captions are never masked, so it would have no effect."""
        if dataset.chosen_view == "text" and self.mask_probability:
            message = "the flow conditions on whole captions: in view text nothing can be masked"
            where, value = ("objective", "mask_probability"), str(self.mask_probability)
            raise ConfigError([Problem(message, where, value, ("0",), "0")])


@objectives.register
class VLVAESpec(_VLVAEBased):
    """Both modalities from z ~ q(z|x). It trains no q(z|y), so it cannot imagine: the basis of q_true and q_agg."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:VLVAE"
    summary: ClassVar[str] = "image and concept decoded from q(z|x); no q(z|y)"
    reference: ClassVar[str] = f"{PAPER}, Eq. 2"
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(lambda spec: frozenset({spec.inference}))
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "prior")

    name: Literal["vlvae"] = "vlvae"
    """The objective's name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.flow_steps is not None and not self.prior_flow:
            raise ConfigError([Problem("only applies to prior_flow true", ("flow_steps",), str(self.flow_steps))])
        return self

    def check(self, backbone: BackboneSpec) -> None:
        """A prior flow needs a latent size of at least two."""
        if self.prior_flow:
            flow_needs_two_dimensions(self, backbone)


@objectives.register
class QTrueSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y) of the fixed model."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:QTrue"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y)"
    reference: ClassVar[str] = f"{PAPER}, Eq. 3"

    name: Literal["q_true"] = "q_true"
    """The objective's name."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(y|z) while q(z|y) is fitted; 1 in the paper's formula, concept_weight in its code."""


@objectives.register
class QAggSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the aggregate of q(z|x) over the images of a concept."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vlvae:QAgg"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the aggregate of the posteriors of its images"
    reference: ClassVar[str] = f"{PAPER}, Eq. 4 and 5"

    name: Literal["q_agg"] = "q_agg"
    """The objective's name."""


@objectives.register
class JNFSpec(WeightedImagesSpec):
    """The joint ELBO; then, with the model frozen, flows q(z|x) and q(z|y) fitted to the joint posterior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jnf:JNF"
    summary: ClassVar[str] = "joint ELBO, then flows q(z|x) and q(z|y) fitted to the frozen joint posterior"
    reference: ClassVar[str] = (
        "Senellart et al. 2023, Improving Multimodal Joint Variational Autoencoders through Normalizing Flows"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "unimodal")
    text_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = NEEDS_LABEL

    name: Literal["jnf"] = "jnf"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    unimodal_steps: Steps | None = None
    """Steps of the stage that fits the flows; null: as many as the first."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of at least two."""
        flow_needs_two_dimensions(self, backbone)
