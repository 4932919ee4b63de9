"""disCVAE: layered images, foreground and background from latents of their own (Yan et al. 2016, Attribute2Image).

Shapes: B batch, C channel, H height, W width, A attribute, D latent dimension, D_F and D_B those of the two layers.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from ..backbones.base import Backbone, LayeredBackbone
from ..data.batch import Batch
from ..distributions.layers import Layers
from ..specs.built_in.families.conditional import DisCVAESpec
from .base import CapabilityError, Terms
from .cvae import CVAE


def discvae(
    *,
    log_px: Tensor,
    log_foreground: Tensor,
    log_gate: Tensor,
    kl_foreground: Tensor,
    kl_background: Tensor,
    lambda_g: float,
    image_weight: float = 1.0,
) -> Terms:
    """The batch mean of the negative bound on log p(x,x_F,g|y) (Yan et al. 2016, Eq. 7), ``- E_q(z_F|x_F,y)[a log
    p(x_F|y,z_F) + lambda_g log p(g|y,z_F)] - E_q(z_F|.)q(z_B|.)[a log p(x|y,z_F,z_B)] + KL(q(z_F|x_F,y) || p(z_F)) +
    E_q(z_F|.)[KL(q(z_B|x,y,z_F) || p(z_B))]``; with a = 1 it is the paper's.

    Args:
        log_px: log p(x|y,z_F,z_B), Float[B], at one z of both posteriors.
        log_foreground: log p(x_F|y,z_F), Float[B], at the same z_F.
        log_gate: log p(g|y,z_F), Float[B].
        kl_foreground: KL(q(z_F|x_F,y) || p(z_F)), Float[B].
        kl_background: KL(q(z_B|x,y,z_F) || p(z_B)), Float[B]; it depends on the sample z_F.
        lambda_g: Weight of the gate.
        image_weight: a, the weight of the pixels of both images.
    """
    bound = image_weight * (log_px + log_foreground) + lambda_g * log_gate - kl_foreground - kl_background
    parts = {
        "layers/log_px": log_px,
        "layers/log_foreground": log_foreground,
        "layers/log_gate": log_gate,
        "layers/kl_foreground": kl_foreground,
        "layers/kl_background": kl_background,
    }
    return Terms(-bound.mean(), parts)


class DisCVAE(CVAE):
    """``x = x_F + g * x_B``: foreground x_F and gate g from z_F and the concept, background x_B from z_B alone.

    Masks are needed in training only, so there is no q(z|x) and no q(z|x,y): z of a new image is found by optimisation.
    ``z = [z_F, z_B]`` has the prior N(0, I). What a CVAE does with a concept, unspecified attributes included, this
    does too.

    The encoder of z_F reads x_F, in which the gate shows, and that of z_B the whole image and the sample z_F. The
    gradient of the second divergence flows to the first encoder, as the bound has it; the authors' code drops it.
    """

    spec: DisCVAESpec  # type: ignore[assignment]
    foreground_encoder: nn.Module
    background_encoder: nn.Module
    foreground_decoder: nn.Module
    background_decoder: nn.Module

    @property
    def network_names(self) -> tuple[str, ...]:
        """Two encoders and two decoders."""
        return ("foreground_encoder", "background_encoder", "foreground_decoder", "background_decoder")

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """A layer's network, with that layer's share of the latent dimensions."""
        layered, (foreground, background) = cast("LayeredBackbone", backbone), self.spec.sizes(backbone.latent_size)
        return {
            "foreground_encoder": lambda: layered.foreground_encoder(foreground),
            "background_encoder": lambda: layered.background_encoder(background, foreground),
            "foreground_decoder": lambda: layered.foreground_decoder(foreground),
            "background_decoder": lambda: layered.background_decoder(background),
        }[name]()

    def terms(self, batch: Batch) -> Terms:
        """The bound at one z of each posterior; in training, the concepts are stored."""
        assert batch.mask is not None, "the grid refuses datasets without masks"
        if self.training:
            self.memory.remember(batch.concept)
        foreground, gate = split_layers(batch.image, batch.mask)
        q_foreground = self.foreground_encoder(foreground, batch.description)
        z_foreground = q_foreground.rsample()
        q_background = self.background_encoder(batch.image, batch.description, z_foreground)
        z_background = q_background.rsample()
        layers = self._layers(z_foreground, z_background, batch.description)
        terms = discvae(
            log_px=layers.image.log_prob(batch.image),
            log_foreground=layers.foreground.log_prob(foreground),
            log_gate=layers.gate.log_prob(gate),
            kl_foreground=kl_divergence(q_foreground, self.prior(q_foreground)),
            kl_background=kl_divergence(q_background, self.prior(q_background)),
            lambda_g=self.spec.lambda_g,
            image_weight=self.spec.image_weight,
        )
        terms.latents |= {"foreground": z_foreground, "background": z_background}
        return terms

    def layers(self, z: Tensor, concept: Tensor) -> Layers:
        """The layers of z, Float[B, D], and fully specified concepts, Long[B, A], or weights of values, Float[B, V]."""
        foreground, background = z.split(self.spec.sizes(self.latent_size), -1)
        return self._layers(foreground, background, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|y,z): the composed image.

        Raises:
            CapabilityError: if no concept is given.
        """
        if concept is None:
            raise CapabilityError(f"{self.spec.name} has p(x|y,z) but no p(x|z): its image decoder needs the concept")
        return self.layers(z, concept).image

    def _layers(self, z_foreground: Tensor, z_background: Tensor, concept: Tensor) -> Layers:
        foreground, gate = self.foreground_decoder(z_foreground, concept)
        return Layers(foreground, gate, self.background_decoder(z_background))


def split_layers(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The foreground on black, and the gate, which is open outside of every mask.

    Args:
        image: Float[B, C, H, W].
        mask: Bool[B, M, H, W].

    Returns:
        Float[B, C, H, W] and Float[B, 1, H, W].

    >>> import torch
    >>> foreground, gate = split_layers(torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[True, False]]]]))
    >>> foreground.tolist(), gate.tolist()
    ([[[[0.5, 0.0]]]], [[[[0.0, 1.0]]]])
    """
    inside = mask.any(1, keepdim=True)
    return image.masked_fill(~inside, 0), (~inside).to(image.dtype)
