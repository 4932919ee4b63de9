"""Spec of JVAE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import ObjectiveSpec, Posterior, objectives


@objectives.register
class JVAESpec(ObjectiveSpec):
    """The joint ELBO alone. It trains no q(z|y), so it cannot imagine: the base that the others are compared with."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.jvae:JVAE"
    summary: ClassVar[str] = "joint ELBO of images and concepts; no unimodal posterior"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, Eq. 1"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint"})
    text_obstacle: ClassVar[str | None] = None

    name: Literal["jvae"] = "jvae"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
