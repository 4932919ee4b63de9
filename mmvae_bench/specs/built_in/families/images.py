"""Images first: VAE and beta-VAE, which see no concept, and SCAN, which grounds concepts in their latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ....base.errors import ConfigError, Problem
from ...components import Modality, Posterior, by_setting, objectives
from .common import Steps, WeightedImagesSpec


class ImageVAESpec(WeightedImagesSpec):
    """Images only: it never sees a concept, so it can neither imagine nor describe one."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vae:VAE"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = None
    strength_obstacle: ClassVar[str | None] = None
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = None
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"fit"})

    @property
    def kl_weight(self) -> float:
        """The weight of KL(q(z|x) || p(z))."""
        raise NotImplementedError


@objectives.register
class VAESpec(ImageVAESpec):
    """The ELBO of images."""

    summary: ClassVar[str] = "ELBO of images only: cannot imagine or describe"
    reference: ClassVar[str] = "Kingma and Welling 2014, Auto-Encoding Variational Bayes"

    name: Literal["vae"] = "vae"
    """The objective's name."""

    @property
    def kl_weight(self) -> float:
        """Weight one: the plain ELBO."""
        return 1.0


@objectives.register
class BetaVAESpec(ImageVAESpec):
    """The ELBO of images with a weighted divergence: the basis of SCAN."""

    summary: ClassVar[str] = "ELBO of images only, with a weighted KL: cannot imagine or describe"
    reference: ClassVar[str] = (
        "Higgins et al. 2017, beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework"
    )

    name: Literal["beta_vae"] = "beta_vae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 4.0
    """Weight of KL(q(z|x) || p(z)); 1 gives the VAE."""

    @property
    def kl_weight(self) -> float:
        """The spec's beta."""
        return self.beta


@objectives.register
class SCANSpec(WeightedImagesSpec):
    """A beta-VAE of images, then concepts grounded in its frozen latents; a concept is one symbol, never partial."""

    later_fields: ClassVar[frozenset[str]] = WeightedImagesSpec.later_fields | {"latent_size"}

    implementation: ClassVar[str] = "mmvae_bench.objectives.scan:SCAN"
    summary: ClassVar[str] = "beta-VAE on images (on features of a denoising autoencoder), then a VAE of whole concepts"
    reference: ClassVar[str] = "Higgins et al. 2017, SCAN: Learning Hierarchical Compositional Visual Concepts"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image", "concept"})
    text_obstacle: ClassVar[str | None] = "it represents a concept as one k-hot symbol"
    unlabelled_obstacle: ClassVar[Mapping[str, str] | str | None] = {
        "concept": "a concept is one symbol, never partial"
    }
    imageless_obstacle: ClassVar[str | None] = "q(z|y) is fitted to the q(z|x) of images, which grounds its concepts"
    label_free_stages: ClassVar[frozenset[str]] = frozenset({"denoise", "image"})
    partial_concepts: ClassVar[bool] = False
    stage_names: ClassVar[tuple[str, ...]] = by_setting(
        lambda spec: (("denoise",) if spec.dae else ()) + ("image", "concept")
    )

    name: Literal["scan"] = "scan"
    """The objective's name."""
    dae: bool = True
    """Compare images in the features of a denoising autoencoder, which is trained first; false: pixel by pixel."""
    beta_x: Annotated[float, Field(ge=0)] = 53.0
    """Weight of KL(q(z|x) || p(z)). The published weight is for larger images and their features: on small binary
    images it leaves no information in z, so choose it on the validation split."""
    beta_y: Annotated[float, Field(ge=0)] = 1.0
    """Weight of KL(q(z|y) || p(z))."""
    alpha: Annotated[float, Field(ge=0)] = 10.0
    """Weight of KL(q(z|x) || q(z|y)), which grounds the concepts."""
    latent_size: Annotated[int, Field(gt=0, le=500)] | None = None
    """Number of latent dimensions; null: the backbone's, as for every other objective. The paper's is 32."""
    denoise_steps: Steps | None = None
    """Steps of the denoising autoencoder; null: half as many as the beta-VAE's, which are training.steps."""
    concept_steps: Steps | None = None
    """Steps of the concept network; null: half as many as the beta-VAE's."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.denoise_steps is not None and not self.dae:
            raise ConfigError([Problem("only applies to dae true", ("denoise_steps",), str(self.denoise_steps))])
        if self.image_weight != 1 and self.dae:
            message = "with dae true images are compared in features, without log p(x|z): choose dae false, or 1"
            raise ConfigError([Problem(message, ("image_weight",), str(self.image_weight))])
        return self
