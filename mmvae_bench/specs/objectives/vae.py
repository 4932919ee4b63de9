"""Specs of the VAE and the beta-VAE of images alone."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..components import Modality, ObjectiveSpec, Posterior, objectives


class ImageVAESpec(ObjectiveSpec):
    """Images alone: no concept is seen, so none can be imagined or described."""

    implementation: ClassVar[str] = "mmvae_bench.objectives.vae:VAE"
    posteriors: ClassVar[frozenset[Posterior]] = frozenset({"image"})
    likelihoods: ClassVar[frozenset[Modality]] = frozenset({"image"})
    text_obstacle: ClassVar[str | None] = None

    @property
    def kl_weight(self) -> float:
        """The weight of KL(q(z|x) || p(z))."""
        raise NotImplementedError


@objectives.register
class VAESpec(ImageVAESpec):
    """The ELBO of images."""

    summary: ClassVar[str] = "ELBO of images alone: cannot imagine or describe"
    reference: ClassVar[str] = "Kingma and Welling 2014, Auto-Encoding Variational Bayes"

    name: Literal["vae"] = "vae"
    """The objective's name."""

    @property
    def kl_weight(self) -> float:
        """One."""
        return 1.0


@objectives.register
class BetaVAESpec(ImageVAESpec):
    """The ELBO of images with a weight on its divergence: the base of SCAN."""

    summary: ClassVar[str] = "ELBO of images alone with a weighted KL: cannot imagine or describe"
    reference: ClassVar[str] = (
        "Higgins et al. 2017, beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework"
    )

    name: Literal["beta_vae"] = "beta_vae"
    """The objective's name."""
    beta: Annotated[float, Field(ge=0)] = 4.0
    """Weight of KL(q(z|x) || p(z)); with 1 it is the VAE."""

    @property
    def kl_weight(self) -> float:
        """beta."""
        return self.beta
