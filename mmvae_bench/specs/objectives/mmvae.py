"""Spec of MMVAE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import objectives
from .multimodal import MultimodalSpec


@objectives.register
class MMVAESpec(MultimodalSpec):
    """A bound on the joint likelihood under the mixture of the modalities' experts, each sampled in turn."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mmvae:MMVAE"
    summary: ClassVar[str] = "importance-weighted bound under a mixture of experts; the prior is no factor"
    reference: ClassVar[str] = (
        "Shi et al. 2019, Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models"
    )

    name: Literal["mmvae"] = "mmvae"
    """The objective's name."""
    bound: Literal["iwae", "elbo"] = "iwae"
    """iwae: the log of the mean importance weight; elbo: the mean of the log weights."""
    num_samples: Annotated[int, Field(gt=0, le=1000)] = 10
    """K, samples of z from each modality's expert; every one is decoded."""
    estimator: Literal["dreg", "plain"] | None = None
    """Gradient of iwae: dreg, doubly reparameterised, as in their code; plain, the bound's own. null: dreg for iwae."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bound == "elbo" and self.estimator == "dreg":
            raise ConfigError([Problem("has no meaning with bound elbo", ("estimator",), "dreg", ("plain",), "plain")])
        return self
