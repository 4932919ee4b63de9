"""Spec of JNF."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import BackboneSpec, ObjectiveSpec, Posterior, objectives
from .vlvae import flow_needs_two_dimensions


@objectives.register
class JNFSpec(ObjectiveSpec):
    """The joint ELBO; then, on the frozen model, flows for q(z|x) and q(z|y) fitted to the joint posterior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jnf:JNF"
    summary: ClassVar[str] = "joint ELBO, then flows q(z|x) and q(z|y) fitted to the frozen joint posterior"
    reference: ClassVar[str] = (
        "Senellart et al. 2023, Improving Multimodal Joint Variational Autoencoders through Normalizing Flows"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "unimodal")
    text_obstacle: ClassVar[str | None] = None

    name: Literal["jnf"] = "jnf"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    unimodal_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps of the stage that fits the flows; null: as many as the first."""

    def check(self, backbone: BackboneSpec) -> None:
        """Needs a latent size of two or more."""
        flow_needs_two_dimensions(self, backbone)
