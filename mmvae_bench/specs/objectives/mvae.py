"""Spec of MVAE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import DatasetSpec, objectives
from .multimodal import MultimodalSpec


@objectives.register
class MVAESpec(MultimodalSpec):
    """ELBOs of all modalities, of each alone, and of random subsets, each under the product of its experts."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mvae:MVAE"
    summary: ClassVar[str] = "ELBOs of subsets of modalities under products of experts; the prior is a factor"
    reference: ClassVar[str] = (
        "Wu and Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning"
    )

    name: Literal["mvae"] = "mvae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of each KL(q_S || p(z)); the paper anneals it up to 1."""
    num_random_subsets: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Subsets of two to M - 1 modalities drawn at each step; null: 1 where M is above 2, else 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_random_subsets:
            message = "two modalities have no subsets besides both and each: choose modalities per_attribute, or 0"
            raise ConfigError([Problem(message, ("num_random_subsets",), str(self.num_random_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """The image and one attribute are two modalities, which have no other subset to draw."""
        if self.num_random_subsets and self.num_modalities(dataset) < 3:
            message = "two modalities have no subsets besides both and each: choose 0"
            where, value = ("objective", "num_random_subsets"), str(self.num_random_subsets)
            raise ConfigError([Problem(message, where, value, near="0")])
