"""Inference by optimisation: the z that explains what is observed of an image, without any encoder.

Yan et al. (2016, "Attribute2Image", Sec. 4) infer z by minimising the energy of an image, over observed pixels alone
to complete it. With an objective's own likelihood that energy is ``-log p(x_O|z) - log p(z)``, so any objective with
p(x|z) can be asked.

Shapes: B image, C channel, H height, W width, A attribute, T word, D latent dimension, S start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from ..base.heartbeat import beat
from ..base.seeds import derive_seed
from ..data.strengths import is_complete
from ..distributions.pixels import QuantisedNormal
from ..objectives.base import CapabilityError, Objective, evaluating
from ..objectives.images import checked_images
from .checks import argument_checks
from .minimising import minimise
from .sampling import images_at_once

MAX_STEPS = 200
"""Of L-BFGS, for each start."""
TOLERANCE = 0.01
"""Nats: a start is done when two steps in a row bring less."""
NUM_RANDOM = 1
"""Starts that are samples of the prior, besides its mean and the encoder's answer."""
_GRADIENT_SHARE = 4
"""Of the images that are generated at once only a quarter, since what the gradient needs is kept."""


@dataclass(frozen=True)
class FittedLatents:
    """Where the optimisation has ended.

    Attributes:
        z: Float[B, D].
        log_joint: Float64[B], nats: ``log p(x_O|z) + log p(z)``, with ``log p(y|z)`` if y was told.
        start: Long[B], the start it was reached from: 0 the encoder's answer, 1 the prior's mean, from 2 on samples of
            the prior.
    """

    z: Tensor
    log_joint: Tensor
    start: Tensor


def fit_latents(
    model: Objective,
    image: Tensor,
    told: Tensor | None = None,
    observed: Tensor | None = None,
    *,
    steps: int | None = None,
    tolerance: float = TOLERANCE,
    num_random: int = NUM_RANDOM,
    seed: int = 0,
) -> FittedLatents:
    """``argmax_z log p(x_O|z) + log p(z)``, and ``+ log p(y|z)`` where a concept is told, for each image.

    Optimised by L-BFGS from several starts, of which the best end counts: the encoder's answer to the occluded image,
    where there is an encoder, the prior's mean, and samples of the prior. No training weight counts. The noise of a
    dequantised likelihood is averaged over in closed form, so the energy is a function of z and no estimate.

    Of an objective with p(x|y,z) y is a condition: it must be told, and z has the prior p(z|y).

    Args:
        model: Its mode is left as it was.
        image: Float[B, C, H, W] in [0, 1]. What is occluded has no influence.
        told: Long[B, A], -1 where nothing is told; in the text view captions, Long[B, T]. None: nothing.
        observed: Bool[H, W] or Bool[B, H, W]; None: every pixel.
        steps: The largest number for each start; None: :data:`MAX_STEPS`.
        tolerance: In nats.
        num_random: Starts that are samples of the prior.
        seed: Of these.

    Raises:
        CapabilityError: if the objective has no p(x|z) of what is told, or no p(y|z) for it; or if only a part of the
            image is observed and its pixels are not independent given z.
        TypeError: if the images are no floating-point tensor.
        ValueError: if there is no image, or they have another shape.
    """
    if not len(image):
        raise ValueError("there is no image to fit z to")
    device, steps = model.device, MAX_STEPS if steps is None else steps
    image = checked_images(image, model.image_shape, device, bounded=False)
    seen = (
        torch.ones_like(image[:, 0], dtype=torch.bool)
        if observed is None
        else observed.to(device).expand_as(image[:, 0])
    )
    told = None if told is None else told.to(device)
    image = image.masked_fill(~seen[:, None], 0)
    chunk = max(1, images_at_once(model.image_shape) // _GRADIENT_SHARE // (2 + num_random))
    found = []
    # Hundreds of steps on the same image, which need not be binary: no arguments are checked.
    with evaluating(model), torch.no_grad(), argument_checks(False):
        for start in range(0, len(image), chunk):
            part = slice(start, start + chunk)
            given = None if told is None else told[part]
            chosen = derive_seed("fitted latents", seed=seed, start=start)
            evidence = Evidence(model, image[part], seen[part], given)
            found.append(_fit(evidence, num_random, chosen, steps, tolerance))
            beat()
    return FittedLatents(*(torch.cat(parts) for parts in zip(*found, strict=True)))


class LacksConcept(CapabilityError):
    """The image decoder is conditioned on y, and was told none, or not the whole of it."""


class Evidence:
    """What is observed of some images, and what a z has to say about it.

    Args:
        model: In eval mode.
        image: Float[B, C, H, W], occluded pixels zero.
        observed: Bool[B, H, W].
        told: See :func:`fit_latents`.

    Raises:
        LacksConcept: the objective needs y, and ``told`` is None, or leaves an attribute open.
        CapabilityError: see :func:`fit_latents`.
    """

    def __init__(self, model: Objective, image: Tensor, observed: Tensor, told: Tensor | None) -> None:
        self.model, self.image, self.observed, self.told = model, image, observed, told
        self.is_whole, self.own_prior = bool(observed.all()), model.own_prior()
        z = torch.zeros(len(image), model.latent_size, device=image.device, dtype=next(model.parameters()).dtype)
        try:
            px, self.conditional = model.image_likelihood(z), False
            self.prior_mean = z if self.own_prior is None else self.own_prior.mean.expand_as(z)
        except CapabilityError as error:
            if told is None:
                raise LacksConcept(str(error)) from None
            try:
                # Where z comes from without an image, given y, is the prior of a conditional model.
                prior = model.posterior(concept=told)
                self.conditional, self.prior_mean, self.prior = True, model.centre(prior), prior
                px = model.image_likelihood(z, told)
            except CapabilityError as refusal:
                raise refusal if is_complete(told) else LacksConcept(str(refusal)) from None
        if told is not None and not self.conditional:
            model.concept_likelihood(z)
        if not self.is_whole and not _factorises(px):
            raise CapabilityError(
                f"p(x|z) of {model.spec.name} is not a product over pixels, so a part of an image has no likelihood"
            )

    def log_joint(self, z: Tensor, rows: Tensor) -> Tensor:
        """``log p(x_O|z) + log p(z)``, with log p(y|z) if y is told: Float64[n].

        Args:
            z: Float[n, D].
            rows: Long[n], the images that they explain.
        """
        told = None if self.told is None else self.told[rows]
        px = self.model.image_likelihood(z, told if self.conditional else None)
        if self.is_whole:
            total = _sum(pixel_log_density(px, self.image[rows])) if _factorises(px) else px.log_prob(self.image[rows])
        else:
            total = _sum(pixel_log_density(px, self.image[rows]).where(self.observed[rows, None], 0))
        if told is None:
            return total.double() + self._log_prior(z)
        if self.conditional:
            return total.double() + self.model.posterior(concept=told).log_prob(z).double()
        return total.double() + self._log_prior(z) + self.model.concept_likelihood(z).log_prob(told).double()

    def encoded(self) -> Tensor | None:
        """Float[B, D]: what the encoder infers from the image, occluded pixels zero: q(z|x), or q(z|x,y) where there is
        no other and the whole of y is told. None if there is neither."""
        posteriors, told = self.model.spec.posteriors, self.told
        if "image" in posteriors:
            return self.model.centre(self.model.posterior(image=self.image))
        if "joint" in posteriors and told is not None and is_complete(told):
            return self.model.centre(self.model.posterior(self.image, told))
        return None

    def prior_samples(self, number: int, generator: torch.Generator) -> Tensor:
        """So many z of the prior for each image, Float[S, B, D], the same on every device."""
        if not self.conditional:
            return self.model.sample_prior(number, len(self.prior_mean), generator=generator).to(self.prior_mean)
        noise = torch.randn(number, *self.prior_mean.shape, generator=generator).to(self.prior_mean)
        return self.prior_mean + noise * scale_of(self.model, self.prior)

    def _log_prior(self, z: Tensor) -> Tensor:
        if self.own_prior is not None:
            return self.own_prior.log_prob(z).double()
        return -0.5 * (z.double().square() + math.log(2 * math.pi)).sum(-1)


def scale_of(model: Objective, prior: Distribution) -> Tensor:
    """The standard deviation of each dimension of a model's z.

    Raises:
        CapabilityError: if there is none, as of a kind among others.
    """
    try:
        return prior.stddev
    except NotImplementedError:
        message = (
            f"part of the z of {model.spec.name} is discrete, so it can be neither optimised nor moved along a line"
        )
        raise CapabilityError(message) from None


def pixel_log_density(px: Distribution, image: Tensor) -> Tensor:
    """log p of each value of an image: Float[B, C, H, W].

    Of a dequantised normal the expectation over its noise u ~ U(-w/2, w/2):
    ``E_u[log N(x + u; m, s^2)] = log N(x; m, s^2) - w^2 / (24 s^2)``.

    Args:
        px: Independent over the values.
        image: Float[B, C, H, W].
    """
    base = getattr(px, "base_dist", px)
    if isinstance(base, QuantisedNormal):
        plain: Tensor = Normal(base.loc, base.scale).log_prob(image)
        return plain - base.bin_width**2 / (24 * base.scale.square())
    density: Tensor = base.log_prob(image)
    return density


def _factorises(px: Distribution) -> bool:
    return isinstance(px, Independent) and px.reinterpreted_batch_ndims == 3


def _sum(values: Tensor) -> Tensor:
    return values.double().sum((1, 2, 3))


def _fit(evidence: Evidence, num_random: int, seed: int, steps: int, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    mean = evidence.prior_mean
    random = evidence.prior_samples(num_random, torch.Generator().manual_seed(seed))
    encoded = evidence.encoded()
    starts = torch.cat([mean[None] if encoded is None else torch.stack([encoded, mean]), random])
    image_of = torch.arange(len(mean), device=mean.device).repeat(len(starts))
    z, energy = minimise(
        lambda z, rows: -evidence.log_joint(z, image_of[rows]), starts.flatten(0, 1), steps=steps, tolerance=tolerance
    )
    z, energy = z.unflatten(0, starts.shape[:2]), energy.unflatten(0, starts.shape[:2])
    best = energy.argmin(0)
    picked = torch.arange(len(mean), device=mean.device)
    return z[best, picked], -energy[best, picked], best + (encoded is None)
