"""Spec of MoPoE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from ...base.errors import ConfigError, Problem
from ..components import DatasetSpec, objectives
from .multimodal import MultimodalSpec

MAX_SUBSETS: Final = 2**12
"""Products that a mixture may have: each is held in memory for every example."""


@objectives.register
class MoPoESpec(MultimodalSpec):
    """One ELBO under the uniform mixture over subsets of modalities, each subset a product of experts."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mopoe:MoPoE"
    summary: ClassVar[str] = "ELBO under a mixture of products over all subsets; the prior is no factor"
    reference: ClassVar[str] = "Sutter et al. 2021, Generalized Multimodal ELBO (mixture of products of experts)"

    name: Literal["mopoe"] = "mopoe"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the KL's bound."""
    num_subsets: Annotated[int, Field(gt=0, le=MAX_SUBSETS)] | None = None
    """Subsets in the mixture: all together, each alone, and random others, fixed by the seed; null: all 2^M - 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.modalities == "two" and self.num_subsets is not None:
            message = "two modalities have three subsets, and all are used: choose modalities per_attribute, or null"
            raise ConfigError([Problem(message, ("num_subsets",), str(self.num_subsets))])
        return self

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """All subsets of many modalities are too many; fewer than each modality alone leave one without a posterior."""
        num_modalities = self.num_modalities(dataset)
        every, least = 2**num_modalities - 1, num_modalities + 1
        if self.num_subsets is None and every > MAX_SUBSETS:
            message = (
                f"{num_modalities} modalities have {every:,} subsets, more than {MAX_SUBSETS:,}: "
                f"choose num_subsets from {least} to {MAX_SUBSETS:,}, or modalities two"
            )
            raise ConfigError([Problem(message, ("objective", "num_subsets"), "null", near=str(least))])
        if self.num_subsets is not None and not least <= self.num_subsets <= every:
            message = f"{num_modalities} modalities need {least} (all together, each alone) to {every:,} subsets"
            near = str(min(max(self.num_subsets, least), every))
            raise ConfigError([Problem(message, ("objective", "num_subsets"), str(self.num_subsets), near=near)])
