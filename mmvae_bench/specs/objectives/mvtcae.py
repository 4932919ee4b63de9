"""Spec of MVTCAE."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import objectives
from .multimodal import MultimodalSpec


@objectives.register
class MVTCAESpec(MultimodalSpec):
    """Total correlation reduced by a representation: the product of experts, held close to each expert."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.mvtcae:MVTCAE"
    summary: ClassVar[str] = "product of experts held close to each expert; the prior is no factor"
    reference: ClassVar[str] = "Hwang et al. 2021, Multi-View Representation Learning via Total Correlation Objective"

    name: Literal["mvtcae"] = "mvtcae"
    """The objective's name."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the divergences from the single experts; the rest is of the divergence from the prior."""
    beta: Annotated[float, Field(ge=0)] = 2.5
    """Weight of the divergences."""
