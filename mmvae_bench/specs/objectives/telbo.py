"""Spec of TELBO."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import ObjectiveSpec, Posterior, objectives


@objectives.register
class TELBOSpec(ObjectiveSpec):
    """Three ELBOs: of both modalities, of images and of concepts; the last two leave the decoders alone."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.telbo:TELBO"
    summary: ClassVar[str] = "triple ELBO: joint, image and concept terms, decoders trained by the joint term only"
    reference: ClassVar[str] = "Vedantam et al. 2018, Generative Models of Visually Grounded Imagination, Eq. 5"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "image", "concept"})
    stage_names: ClassVar[tuple[str, ...]] = ("fit", "unimodal")
    text_obstacle: ClassVar[str | None] = None

    name: Literal["telbo"] = "telbo"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z) in the joint term."""
    gamma: Annotated[float, Field(gt=0)] = 1.0
    """Weight of log p(y|z) in the concept term. The published table is labelled 50 and was probably run with 1."""
    schedule: Literal["joint", "two_stage"] = "joint"
    """joint: all three terms from the first step; two_stage: the joint term first, then the unimodal encoders."""
    unimodal_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps of the second stage of two_stage; null: as many as the first."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unimodal_steps is not None and self.schedule == "joint":
            raise ConfigError(
                [Problem("has no meaning with schedule joint", ("unimodal_steps",), str(self.unimodal_steps))]
            )
        return self
