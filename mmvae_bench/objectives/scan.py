"""SCAN, the symbol-concept association network (Higgins et al. 2017; in the terms of Vedantam et al. 2018, Sec. 4).

Three stages: a denoising autoencoder of images, a beta-VAE that compares images in its features, and a VAE of whole
concepts that is grounded in the beta-VAE's latents.

Shapes: B batch, C channel, H height, W width, A attribute, V value, D latent dimension.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..backbones.layers import GaussianHead
from ..concepts import Schema
from ..data.batch import Batch
from ..distributions.latents import diagonal_normal
from ..distributions.pixels import GREY_LEVEL, FixedScaleNormal, QuantisedNormal
from ..specs.built_in.families.images import SCANSpec
from ..specs.trial import TrainingSpec
from .base import CapabilityError, Objective, Stage, Terms
from .common.elbo import elbo
from .common.staged import frozen_call, total
from .vae import vae

CHANNELS = (32, 32, 64, 64)
"""Filters of the autoencoder's convolutions, of kernel 4 and stride 2, and back again (appendix)."""
BOTTLENECK = 100
"""Width of its narrowest layer (appendix)."""
HIDDEN = 100
"""Width of the concept encoder's one hidden layer (appendix)."""


def denoising(*, squared_error: Tensor) -> Terms:
    """``||x^ - x||^2``, summed over pixels, the batch mean: x^ is restored from x with a rectangle set to zero.

    Args:
        squared_error: Float[B].
    """
    return Terms(squared_error.mean(), {"denoise/squared_error": squared_error})


def concept_network(*, log_py: Tensor, kl: Tensor, kl_from_image: Tensor, beta: float, alpha: float) -> Terms:
    """``-E_q(z|y)[log p(y|z)] + beta KL(q(z|y) || p(z)) + alpha KL(q(z|x) || q(z|y))``, the batch mean.

    The last divergence runs from the image: a concept must cover every image of it.

    Args:
        log_py: log p(y|z), Float[B], z ~ q(z|y).
        kl: KL(q(z|y) || p(z)), Float[B].
        kl_from_image: KL(q(z|x) || q(z|y)), Float[B].
        beta: Weight of the first KL.
        alpha: Weight of the second.
    """
    loss = -(elbo(log_py=log_py, kl=kl, kl_weight=beta) - alpha * kl_from_image).mean()
    return Terms(loss, {"concept/log_py": log_py, "concept/kl": kl, "concept/kl_from_image": kl_from_image})


def occlude(image: Tensor) -> Tensor:
    """Sets a rectangle of every image to zero, with uniform corners: two draws per axis (appendix).

    Args:
        image: Float[B, C, H, W].
    """
    covered = torch.ones(len(image), 1, 1, 1, dtype=torch.bool, device=image.device)
    for size, pattern in ((image.shape[2], "h -> 1 1 h 1"), (image.shape[3], "w -> 1 1 1 w")):
        low, high = (torch.rand(len(image), 2, 1, 1, device=image.device) * size).sort(1).values.split(1, dim=1)
        # A pixel is covered where its centre is.
        centres = rearrange(torch.arange(size, device=image.device) + 0.5, pattern)
        covered = covered & (low <= centres) & (centres < high)
    return image.masked_fill(covered, 0.0)


class DenoisingAutoencoder(nn.Module):
    """Images to images through a bottleneck, whose values before their non-linearity (``encoder``) are the features.

    It has as many of the four convolutions as the sides can be halved: all of them at multiples of 16 pixels. The
    restored pixels are linear: under a sigmoid, the gradient of the squared error of mostly black images soon vanishes.

    Args:
        image_shape: (channel, height, width), the sides even.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = image_shape
        depth = max(n for n in range(len(CHANNELS) + 1) if height % 2**n == 0 and width % 2**n == 0)
        sizes = (channels, *CHANNELS[:depth])
        flat = (sizes[-1], height // 2**depth, width // 2**depth)
        down: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            down += [nn.Conv2d(size_in, size_out, 4, 2, 1), nn.ELU()]
        up: list[nn.Module] = []
        for size_in, size_out in pairwise(reversed(sizes)):
            up += [nn.ELU(), nn.ConvTranspose2d(size_in, size_out, 4, 2, 1)]
        size = flat[0] * flat[1] * flat[2]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, BOTTLENECK))
        self.decoder = nn.Sequential(nn.ELU(), nn.Linear(BOTTLENECK, size), nn.Unflatten(1, flat), *up)

    def forward(self, image: Tensor) -> Tensor:
        """Float[B, C, H, W] to Float[B, C, H, W]."""
        restored: Tensor = self.decoder(self.encoder(image))
        return restored


def k_hot(concept: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """A concept as one vector with a one for each attribute's value: Long[B, A], fully specified, to Float[B, sum V].

    >>> k_hot(torch.tensor([[2, 0]]), (3, 2))
    tensor([[0., 0., 1., 1., 0.]])
    """
    columns = [F.one_hot(concept[:, k], size) for k, size in enumerate(sizes)]
    return torch.cat(columns, dim=-1).to(torch.get_default_dtype())


class SymbolEncoder(nn.Module):
    """q(z|y) of a concept taken as one symbol: its k-hot vector through one hidden layer.

    Args:
        schema: The attributes.
        latent_size: D.
    """

    def __init__(self, schema: Schema, *, latent_size: int) -> None:
        super().__init__()
        self.sizes = schema.sizes
        self.hidden = nn.Sequential(nn.Linear(sum(schema.sizes), HIDDEN), nn.ReLU())
        self.head = GaussianHead(HIDDEN, latent_size)

    def forward(self, concept: Tensor) -> Distribution:
        """Long[B, A], fully specified, to a diagonal normal over Float[B, D]."""
        symbol = k_hot(concept, self.sizes).to(self.head.mean.weight.dtype)
        return diagonal_normal(*self.head(self.hidden(symbol)))


class SCAN(Objective):
    """A latent space of images first, then concepts as distributions in it.

    As in all objectives here, p(y|z) is a categorical per attribute; q(z|y) takes the whole k-hot vector.
    """

    spec: SCANSpec
    denoiser: DenoisingAutoencoder

    def __init__(self, spec: SCANSpec, backbone: Backbone, *, seed: int = 0) -> None:
        if spec.latent_size is not None:
            backbone = backbone.with_latent_size(spec.latent_size)
        super().__init__(spec, backbone, seed=seed)

    @property
    def network_names(self) -> tuple[str, ...]:
        """An encoder and a decoder for each modality, and the denoising autoencoder if it is wanted."""
        denoiser = ("denoiser",) if self.spec.dae else ()
        return ("concept_encoder", "image_encoder", "image_decoder", "concept_decoder", *denoiser)

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The denoising autoencoder and the encoder of symbols, or the backbone's network."""
        if name == "denoiser":
            return DenoisingAutoencoder(self.image_shape)
        if name == "concept_encoder":
            return SymbolEncoder(self.schema, latent_size=self.latent_size)
        return super().build_network(name, backbone)

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The denoising autoencoder, the beta-VAE on its features, the concept network."""
        half = max(1, training.steps // 2)
        stages = [
            Stage("image", training.steps, ("image_encoder", "image_decoder")),
            Stage("concept", self.spec.concept_steps or half, ("concept_encoder", "concept_decoder")),
        ]
        return [Stage("denoise", self.spec.denoise_steps or half, ("denoiser",)), *stages] if self.spec.dae else stages

    def terms(self, batch: Batch) -> Terms:
        """The terms of the current stage; outside of stages all of them, each without gradient to what it freezes."""
        names = self.spec.stage_names if self.stage is None else (self.stage.name,)
        terms = {"denoise": self.denoise, "image": self.image, "concept": self.concept}
        return total(*(terms[name](batch) for name in names))

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x) or q(z|y); see :meth:`Objective.posterior`.

        Raises:
            CapabilityError: for a concept with an unspecified attribute, naming it.
        """
        if concept is not None and bool((missing := (concept < 0).reshape(-1, len(self.schema)).any(0)).any()):
            names = [name for name, absent in zip(self.schema.names, missing.tolist(), strict=True) if absent]
            raise CapabilityError(
                "scan takes fully specified concepts only, because it treats a concept as one symbol: "
                f"also give {', '.join(names)}"
            )
        return super().posterior(image, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|z). Features train only the mean of a pixel, so decoders that also have a scale use half a grey level."""
        px = super().image_likelihood(z, concept)
        if self.spec.dae and isinstance(px, Independent) and isinstance(px.base_dist, QuantisedNormal):
            return Independent(FixedScaleNormal(px.mean, torch.full_like(px.mean, GREY_LEVEL / 2)), 3)
        return px

    def denoise(self, batch: Batch) -> Terms:
        """Images restored from occluded ones."""
        restored = self.denoiser(occlude(batch.image))
        squared_error = F.mse_loss(restored, batch.image, reduction="none")
        return denoising(squared_error=reduce(squared_error, "b c h w -> b", "sum"))

    def image(self, batch: Batch) -> Terms:
        """The beta-VAE, on the squared error in features of the fixed autoencoder, or on log p(x|z)."""
        q = self.posterior(image=batch.image)
        z = q.rsample()
        px = self.image_likelihood(z)
        if self.spec.dae:
            wanted, given = (frozen_call(self.denoiser.encoder, image) for image in (batch.image, px.mean))
            log_px = -reduce((given - wanted).square(), "b feature -> b", "sum")
        else:
            log_px = px.log_prob(batch.image)
        terms = vae(
            log_px=log_px,
            kl=kl_divergence(q, self.prior(q)),
            beta=self.spec.beta_x,
            image_weight=self.spec.image_weight,
        )
        if self.spec.dae:
            # Not a log probability: its unit is not the nat, and it cannot be compared with any other objective's.
            terms.parts["image/squared_error"] = -terms.parts.pop("image/log_px")
        terms.latents["image"] = z
        return terms

    def concept(self, batch: Batch) -> Terms:
        """The concept network, pulled towards the posterior of an image, which is left unchanged."""
        q = self._network("concept")(batch.concept)
        z = q.rsample()
        with torch.no_grad():
            q_image = frozen_call(self._network("image"), batch.image)
        terms = concept_network(
            log_py=self.concept_likelihood(z).log_prob(batch.concept),
            kl=kl_divergence(q, self.prior(q)),
            kl_from_image=kl_divergence(q_image, q),
            beta=self.spec.beta_y,
            alpha=self.spec.alpha,
        )
        terms.latents["concept"] = z
        return terms
