"""Spec of BiVCCA."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import ObjectiveSpec, Posterior, objectives


@objectives.register
class BiVCCASpec(ObjectiveSpec):
    """Both modalities decoded from either one's posterior; there is no joint posterior."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.bivcca:BiVCCA"
    summary: ClassVar[str] = "both modalities from q(z|x) and from q(z|y), weighted mu and 1 - mu"
    reference: ClassVar[str] = "Wang et al. 2016, Deep Variational Canonical Correlation Analysis, Sec. 3.2 (bi-VCCA)"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    text_obstacle: ClassVar[str | None] = None

    name: Literal["bivcca"] = "bivcca"
    """The objective's name."""
    lambda_: Annotated[float, Field(gt=0, alias="lambda")] = 50.0
    """Weight of log p(y|z)."""
    mu: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Weight of the term under q(z|x); the one under q(z|y) gets 1 - mu."""
