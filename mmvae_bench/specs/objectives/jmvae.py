"""Spec of JMVAE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import ObjectiveSpec, Posterior, objectives


@objectives.register
class JMVAESpec(ObjectiveSpec):
    """The joint ELBO, with the unimodal posteriors pulled over the joint one (JMVAE-kl)."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jmvae:JMVAE"
    summary: ClassVar[str] = "joint ELBO minus KL from the joint to the unimodal posteriors"
    reference: ClassVar[str] = "Suzuki et al. 2017, Joint Multimodal Learning with Deep Generative Models, Eq. 5"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    text_obstacle: ClassVar[str | None] = None

    name: Literal["jmvae"] = "jmvae"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the two divergences; with 0 it is JVAE."""
