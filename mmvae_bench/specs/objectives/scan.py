"""Spec of SCAN."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import ObjectiveSpec, Posterior, by_setting, objectives


@objectives.register
class SCANSpec(ObjectiveSpec):
    """A beta-VAE on images alone, then concepts grounded in its frozen latents; a concept is one symbol, never partial.

    The paper's latent size is 32: a setting of the backbone.
    """

    implementation: ClassVar[str] = "mmvae_bench.objectives.scan:SCAN"
    summary: ClassVar[str] = "beta-VAE on images (on features of a denoising autoencoder), then a VAE of whole concepts"
    reference: ClassVar[str] = "Higgins et al. 2017, SCAN: Learning Hierarchical Compositional Visual Concepts"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    text_obstacle: ClassVar[str | None] = "a concept is one k-hot symbol to it"
    partial_concepts: ClassVar[bool] = False
    stage_names: ClassVar[tuple[str, ...]] = by_setting(
        lambda spec: (("denoise",) if spec.dae else ()) + ("image", "concept")
    )

    name: Literal["scan"] = "scan"
    """The objective's name."""
    dae: bool = True
    """Whether images are compared in the features of a denoising autoencoder, trained first; false: pixel by pixel."""
    beta_x: Annotated[float, Field(ge=0)] = 53.0
    """Weight of KL(q(z|x) || p(z)). The published one belongs to larger images and their features: on small binary
    ones it leaves nothing in z, so choose it on the validation split."""
    beta_y: Annotated[float, Field(ge=0)] = 1.0
    """Weight of KL(q(z|y) || p(z))."""
    alpha: Annotated[float, Field(ge=0)] = 10.0
    """Weight of KL(q(z|x) || q(z|y)), which grounds the concepts."""
    denoise_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps of the denoising autoencoder; null: half as many as the beta-VAE's, which are training.steps."""
    concept_steps: Annotated[int, Field(gt=0)] | None = None
    """Steps of the concept network; null: half as many as the beta-VAE's."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.denoise_steps is not None and not self.dae:
            raise ConfigError([Problem("has no meaning with dae false", ("denoise_steps",), str(self.denoise_steps))])
        return self
