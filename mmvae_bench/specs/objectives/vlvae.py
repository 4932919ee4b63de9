"""Specs of VLVAE, and of q(z|y) fitted to it afterwards: to the true posterior, or to the aggregate posterior."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import BackboneSpec, DatasetSpec, ObjectiveSpec, Posterior, by_setting, objectives

PAPER = "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs"


def flow_needs_two_dimensions(objective: ObjectiveSpec, backbone: BackboneSpec) -> None:
    """Raises ConfigError where the latent is too small for a flow: its couplings condition one half on the other."""
    if backbone.latent_size < 2:
        raise ConfigError(
            [
                Problem(
                    f"{objective.name} fits a flow, which couples two halves of z: the latent size is 2 or more",
                    ("backbone", "latent_size"),
                    str(backbone.latent_size),
                )
            ]
        )


class _VLVAEBased(ObjectiveSpec):
    text_obstacle: ClassVar[str | None] = None

    inference: Literal["image", "joint"] = "image"
    """image: q(z|x), so that z holds no more of the concept than the image shows; joint: q(z|x,y)."""
    image_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(x|z). The paper: 0.02 on Two-Object CLEVR, 0.1 on CelebA."""
    concept_weight: Annotated[float, Field(gt=0)] = 50.0
    """Weight of log p(y|z), the lambda of the other objectives. The paper: 200 on Two-Object CLEVR, 100 on CelebA."""
    kl_warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps over which the weight of the KL grows from 0 to 1; null: a twentieth of the first stage, as published."""
    prior_flow: bool = False
    """Fit a flow to the aggregate of q(z|x) over all images, as a prior to put in place of N(0, I), in a last stage."""
    flow_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps of each stage that fits a flow; null: half as many as the first stage."""


class _ConceptFlow(_VLVAEBased):
    posteriors: ClassVar[frozenset[Posterior]] = by_setting(lambda spec: frozenset({spec.inference, "concept"}))
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "concept", "prior")
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.mask_probability > 0)

    mask_probability: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How often a training concept is left partly unspecified while q(z|y) is fitted; 0: full concepts only, as in the
    paper, and the flow cannot be asked a partial one. In the text view it is 0: captions are whole."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of two or more."""
        flow_needs_two_dimensions(self, backbone)

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Captions are never masked: the setting would be ignored."""
        if dataset.chosen_view == "text" and self.mask_probability:
            message = "the flow reads whole captions: in view text nothing of them is left out"
            where, value = ("objective", "mask_probability"), str(self.mask_probability)
            raise ConfigError([Problem(message, where, value, ("0",), "0")])


@objectives.register
class VLVAESpec(_VLVAEBased):
    """Both modalities from z ~ q(z|x). It trains no q(z|y), so it cannot imagine: the base of q_true and q_agg."""

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
            raise ConfigError([Problem("has no meaning without prior_flow", ("flow_steps",), str(self.flow_steps))])
        return self

    def check(self, backbone: BackboneSpec) -> None:
        """A prior flow needs a latent size of two or more."""
        if self.prior_flow:
            flow_needs_two_dimensions(self, backbone)


@objectives.register
class QTrueSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y) of the fixed model."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.q_true:QTrue"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the true posterior p(z|y)"
    reference: ClassVar[str] = f"{PAPER}, Eq. 3"

    name: Literal["q_true"] = "q_true"
    """The objective's name."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(y|z) while q(z|y) is fitted; the paper's formula has 1, its code keeps concept_weight here."""


@objectives.register
class QAggSpec(_ConceptFlow):
    """VLVAE, then a flow q(z|y) fitted to the aggregate of q(z|x) over the images of a concept."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.q_agg:QAgg"
    summary: ClassVar[str] = "VLVAE, then a flow q(z|y) fitted to the aggregate of the posteriors of its images"
    reference: ClassVar[str] = f"{PAPER}, Eq. 4 and 5"

    name: Literal["q_agg"] = "q_agg"
    """The objective's name."""
