"""Images given concepts, without a density of concepts: CVAE and disCVAE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ....base.errors import ConfigError, Problem
from ...components import (
    BackboneSpec,
    DatasetSpec,
    Modality,
    Posterior,
    backbones,
    by_setting,
    datasets,
    objectives,
)
from .common import WeightedImagesSpec


@objectives.register
class CVAESpec(WeightedImagesSpec):
    """Images given concepts, p(x|y,z): there is no density of concepts, so it cannot describe an image."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.cvae:CVAE"
    summary: ClassVar[str] = (
        "conditional ELBO of images given concepts, unspecified attributes imputed; cannot describe"
    )
    reference: ClassVar[str] = (
        "Sohn et al. 2015, Learning Structured Output Representation using Deep Conditional Generative Models"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"joint", "concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = "its image decoder is conditioned on the value of each attribute"
    strength_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = (
        "p(x|y,z) and q(z|x,y) need the label, and it has no q(y|x) to infer one"
    )
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.unspecified == "impute")

    name: Literal["cvae"] = "cvae"
    """The objective's name."""
    prior: Literal["conditional", "standard"] = "conditional"
    """p(z|y): conditional, a network, as in the paper; standard, N(0, I) whatever the concept."""
    unspecified: Literal["impute", "refuse"] = "impute"
    """impute: an unspecified attribute takes its value from a training concept that agrees with the specified ones;
    refuse: fully specified concepts only."""


@objectives.register
class DisCVAESpec(WeightedImagesSpec):
    """Foreground and background from latents of their own, the foreground given the concept; masks are for training
    only."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.discvae:DisCVAE"
    summary: ClassVar[str] = (
        "conditional ELBO of an image's layers: foreground and gate given concepts, background apart"
    )
    reference: ClassVar[str] = (
        "Yan et al. 2016, Attribute2Image: Conditional Image Generation from Visual Attributes, Eq. 7"
    )
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"concept"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = "its decoder of the foreground is conditioned on the value of each attribute"
    strength_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = (
        "p(x_F,g|y,z_F) and both of its encoders need the label, and it has no q(y|x) to infer one"
    )
    partial_concepts: ClassVar[bool] = by_setting(lambda spec: spec.unspecified == "impute")
    prior: ClassVar[str] = "standard"
    """p(z) = N(0, I), whatever the concept."""

    name: Literal["discvae"] = "discvae"
    """The objective's name."""
    lambda_g: Annotated[float, Field(ge=0)] = 0.3
    """Weight of log p(g|y,z_F); the released code's."""
    background_size: Annotated[int, Field(gt=0, le=4096)] | None = None
    """How many of the backbone's latent dimensions are the background's; null: a quarter, 64 of 256, as for the paper's
    faces. The paper's birds have 128."""
    unspecified: Literal["impute", "refuse"] = "impute"
    """impute: an unspecified attribute takes its value from a training concept that agrees with the specified ones;
    refuse: fully specified concepts only."""

    def sizes(self, latent_size: int) -> tuple[int, int]:
        """How many of the latent dimensions are the foreground's, and how many the background's."""
        background = max(1, latent_size // 4) if self.background_size is None else self.background_size
        return latent_size - background, background

    def check_concepts(self, dataset: DatasetSpec) -> None:
        """Needs masks, from which foreground and gate are learnt."""
        if not dataset.masks:
            able = tuple(name for name in datasets.names() if datasets.get(name).masks)
            source = f" of source {dataset.source}" if dataset.name in able else ""
            hint = f": {dataset.masks_hint}" if dataset.masks_hint else ""
            message = f"{self.name} learns the foreground from masks, and {dataset.name}{source} has none{hint}"
            raise ConfigError([Problem(message, ("dataset", "name"), repr(dataset.name), able)])

    def check(self, backbone: BackboneSpec) -> None:
        """Needs networks for layers, and latents for both of them."""
        if not backbone.layered:
            able = tuple(name for name in backbones.names() if backbones.get(name).layered)
            message = f"backbone {backbone.name} has no networks for the layers of an image, which {self.name} needs"
            raise ConfigError([Problem(message, ("backbone", "name"), repr(backbone.name), able)])
        foreground, background = self.sizes(backbone.latent_size)
        if foreground < 1:
            message = (
                f"of the {backbone.latent_size} latent dimensions of {backbone.name} none is left for the foreground"
            )
            raise ConfigError([Problem(message, ("objective", "background_size"), str(background))])
