"""Spec of CVAE."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..components import Modality, ObjectiveSpec, Posterior, by_setting, objectives


@objectives.register
class CVAESpec(ObjectiveSpec):
    """Images given concepts, p(x|y,z): concepts have no density here, so an image cannot be described."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.cvae:CVAE"
    summary: ClassVar[str] = (
        "conditional ELBO of images given concepts, unspecified attributes imputed; cannot describe"
    )
    reference: ClassVar[str] = (
        "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional Generative Models"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = "its image decoder is told the value of each attribute"
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.unspecified == "impute")

    name: Literal["cvae"] = "cvae"
    """The objective's name."""
    prior: Literal["conditional", "standard"] = "conditional"
    """p(z|y): conditional, a network's, as in the paper; standard, N(0, I) whatever the concept."""
    unspecified: Literal["impute", "refuse"] = "impute"
    """impute: an unspecified attribute takes its value from a training concept that agrees with the specified ones;
    refuse: fully specified concepts only."""
