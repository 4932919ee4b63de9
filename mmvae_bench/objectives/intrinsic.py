"""SSVAE with the structure of intrinsic images: identity, light, shading and reflectance (Siddharth et al. 2017, 4.2).

The paper's recognition network is q(i|x) q(l|x) q(s|i,l) q(r|x): a categorical identity i, a direction of light l in
three dimensions, shading s, which a linear map makes of the two, and reflectance r. The decoder p(x|s,r) is a network
of both, with p(i) uniform and p(l), p(s) and p(r) standard normal: independent of each other, as its figure 6 has them.

Shapes: B batch, I identity, D dimension of s and of r, K completion, V value.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..backbones.layers import mixture
from ..concepts import UNSPECIFIED, Schema
from ..data.batch import Batch
from ..distributions.latents import FactorisedCategorical
from ..worlds.lit_faces import direction
from .base import CapabilityError, Objective, Terms, evaluating
from .images import checked_images
from .ssvae import SSVAE, kl_to_uniform, ssvae

IDENTITY, AZIMUTH, ELEVATION = "identity", "azimuth", "elevation"
"""The attributes of the concept: who it is, and in degrees the nearest bin of where the light comes from."""
LEAST_SCALE = 0.1
"""Of q(l|x), about 6 degrees. The density of a direction that is known exactly has no upper bound: without this the
scale collapses on the labelled images, and the loss jumps each time that a mean moves by more than it."""


def places_of(schema: Schema) -> tuple[int, int, int]:
    """The positions of identity, azimuth and elevation among the attributes."""
    identity, azimuth, elevation = (schema.names.index(name) for name in (IDENTITY, AZIMUTH, ELEVATION))
    return identity, azimuth, elevation


def middles_of_bins(schema: Schema) -> Tensor:
    """The direction in the middle of each bin of azimuth and of elevation: Float[azimuth, elevation, 3]."""
    angles = [[float(value) for value in schema.attributes[place].values] for place in places_of(schema)[1:]]
    middles = direction(*np.meshgrid(*angles, indexing="ij"))
    return torch.from_numpy(middles).to(torch.get_default_dtype())


class LightEncoder(nn.Module):
    """q(l|x), with a scale of at least :data:`LEAST_SCALE`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Distribution:
        """Float[B, C, H, W] to a diagonal normal over Float[B, 3]."""
        q = self.encoder(image)
        return Independent(Normal(q.mean, (q.variance + LEAST_SCALE**2).sqrt()), 1)


class ShadingEncoder(nn.Module):
    """q(s|i,l): a linear map for the mean, and another one with a softplus for the scale.

    The paper's listing has the softplus on both; a shading's mean may be negative, so that here it is on the scale.
    """

    def __init__(self, num_identities: int, size: int) -> None:
        super().__init__()
        self.mean, self.scale = (nn.Linear(num_identities + 3, size) for _ in range(2))

    def forward(self, identity: Tensor, light: Tensor) -> Distribution:
        """Shares of identities, Float[B, I], and lights, Float[B, 3], to a diagonal normal over Float[B, D]."""
        both = torch.cat([identity, light], -1)
        return Independent(Normal(self.mean(both), F.softplus(self.scale(both))), 1)


class IntrinsicSSVAE(SSVAE):
    """q(i|x), q(l|x), q(s|i,l), q(r|x) and p(x|s,r). z is s and r, beside each other.

    A light is known exactly where the batch has it (``Batch.factors``), else as the middle of its bins where a label
    says these. ``posterior(concept=y)`` is q(s|i,l) and p(r), what z is drawn from without an image: with p(s) in its
    place y would say nothing about x.
    """

    network_names = ("describer", "light_encoder", "shading_encoder", "reflectance_encoder", "image_decoder")  # type: ignore[assignment]
    light_encoder: nn.Module
    shading_encoder: ShadingEncoder
    reflectance_encoder: nn.Module
    centres: Tensor

    def __init__(self, spec: object, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)  # type: ignore[arg-type]
        self.places = places_of(self.schema)
        self.num_identities = self.schema.sizes[self.places[0]]
        self.latent_size = 2 * backbone.latent_size
        self.register_buffer("centres", middles_of_bins(self.schema), persistent=False)

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """Encoders are those of the backbone for images; the classifier is of the identity alone."""
        if name == "describer":
            one = Schema((backbone.schema.attributes[backbone.schema.names.index(IDENTITY)],))
            return backbone.spec.build(schema=one, image_shape=backbone.image_shape).describer()
        if name == "light_encoder":
            return LightEncoder(backbone.with_latent_size(3).image_encoder())
        if name == "reflectance_encoder":
            return backbone.image_encoder()
        if name == "shading_encoder":
            return ShadingEncoder(backbone.schema.sizes[backbone.schema.names.index(IDENTITY)], backbone.latent_size)
        return backbone.with_latent_size(2 * backbone.latent_size).image_decoder()

    # ---------------------------------------------------------------- training

    def terms(self, batch: Batch) -> Terms:
        """The bound, at one l and r, and one s for each identity that the estimator looks at."""
        spec, image = self.spec, batch.image
        identity = batch.concept[:, self.places[0], None]
        light, is_lit = self.known_light(batch)
        q_i: FactorisedCategorical = self.describer(image)
        q_l, q_r = self.light_encoder(image), self.reflectance_encoder(image)
        r = q_r.rsample()
        l = torch.where(is_lit[:, None], light, q_l.rsample())  # noqa: E741 - the paper's letter
        values, weights = self._completions(q_i, identity)

        num = len(weights)
        many = repeat(image, "b c h w -> (k b) c h w", k=num)
        q_s = self.shading_encoder(rearrange(values, "k b v -> (k b) v"), repeat(l, "b d -> (k b) d", k=num))
        s = q_s.rsample()
        px = self.image_decoder(torch.cat([s, repeat(r, "b d -> (k b) d", k=num)], -1))

        def mean(part: Tensor) -> Tensor:
            return (weights * rearrange(part, "(k b) -> k b", k=num)).sum(0)

        prior_l, is_named = self.prior(q_l), identity[:, 0] >= 0
        kl_i, kl_l = kl_to_uniform(q_i.log_probs[0]), kl_divergence(q_l, prior_l)
        parts = {
            "log_px": mean(px.log_prob(many)),
            "kl": mean(kl_divergence(q_s, self.prior(q_s))) + kl_divergence(q_r, self.prior(q_r)),
            "kl_y": torch.where(is_named, 0.0, kl_i) + torch.where(is_lit, 0.0, kl_l),
            "log_py": torch.where(is_lit, prior_l.log_prob(light), 0.0)
            - is_named * q_i.log_probs[0].new_tensor(self.num_identities).log(),
            "log_qy": q_i.log_prob(identity) + torch.where(is_lit, q_l.log_prob(light), 0.0),
        }
        terms = ssvae(
            **parts, labelled=is_named | is_lit, gamma=spec.gamma, alpha=spec.alpha, image_weight=spec.image_weight
        )
        shadings = rearrange(s, "(k b) d -> k b d", k=num)
        names = ["shading"] if num == 1 else [f"shading/{k}" for k in range(num)]
        terms.latents.update({"light": l, "reflectance": r}, **dict(zip(names, shadings, strict=True)))
        return terms

    def known_light(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The direction of each light, Float[B, 3], and where it is known, Bool[B]; arbitrary elsewhere."""
        azimuth, elevation = (batch.concept[:, place] for place in self.places[1:])
        known = (azimuth >= 0) & (elevation >= 0)
        middle = self.centres[azimuth.clamp_min(0), elevation.clamp_min(0)]
        return middle if batch.factors is None else batch.factors.to(middle), known

    # ---------------------------------------------------------------- distributions

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(s|i,l) q(r|x), or q(s|i,l) p(r) for a concept alone, whose light is the middle of its bins.

        Raises:
            CapabilityError: for an image alone, or a concept that leaves attributes open.
        """
        if concept is None:
            return super().posterior(image, concept)
        if bool((concept < 0).any()):
            raise CapabilityError(f"{self.spec.name} takes fully specified concepts only; imagine draws the others")
        identity = mixture(concept[:, self.places[:1]], (self.num_identities,), dtype=self.centres.dtype)
        light = self.centres[concept[:, self.places[1]], concept[:, self.places[2]]]
        return self._both(identity, light, image)

    def _both(self, identity: Tensor, light: Tensor, image: Tensor | None) -> Distribution:
        q_s = self.shading_encoder(identity, light)
        q_r = self.prior(q_s) if image is None else self.reflectance_encoder(image)
        parts = (q_s, q_r)
        return Independent(Normal(torch.cat([q.mean for q in parts], -1), torch.cat([q.stddev for q in parts], -1)), 1)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|s,r): given both, y says nothing more about x."""
        px: Distribution = self.image_decoder(z)
        return px

    # ---------------------------------------------------------------- once trained

    @torch.no_grad()
    def light(self, image: Tensor) -> Tensor:
        """The direction of the light, the mean of q(l|x) as a unit vector: Float[B, C, H, W] to Float[B, 3]."""
        with evaluating(self):
            given = checked_images(image, self.image_shape, self.device)
            return F.normalize(self.light_encoder(given).mean, dim=-1)

    @torch.no_grad()
    def describe(self, image: Tensor) -> Tensor:
        """argmax q(i|x), and the bins of the direction of the light: Float[B, C, H, W] to Long[B, A]."""
        with evaluating(self):
            x, y, z = self.light(image).unbind(-1)
            described = image.new_full((len(image), len(self.schema)), UNSPECIFIED, dtype=torch.long).to(self.device)
            q_i: FactorisedCategorical = self.describer(image.to(self.device))
            described[:, self.places[0]] = q_i.mode[:, 0]
            for place, angle in zip(self.places[1:], (torch.atan2(x, z), torch.asin(y.clamp(-1, 1))), strict=True):
                centres = angle.new_tensor([float(value) for value in self.schema.attributes[place].values])
                described[:, place] = (angle.rad2deg()[:, None] - centres).abs().argmin(1)
            return described

    @torch.no_grad()
    def reconstruct(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """E[x|s,r] at :meth:`encode`.

        Told another identity, the image shows it under its own light, as the paper's figure 7 does, only where the
        concept has the bins of the light that is seen.
        """
        return Objective.reconstruct(self, image, concept)

    def encode(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """The means of q(s|i,l) and q(r|x): of the identity and the bins that are told, else of argmax q(i|x) and the
        mean light."""
        if concept is not None:
            return super().encode(image, concept)
        q_i: FactorisedCategorical = self.describer(image)
        identity = mixture(q_i.mode, (self.num_identities,), dtype=self.centres.dtype)
        return self._both(identity, self.light_encoder(image).mean, image).mean
