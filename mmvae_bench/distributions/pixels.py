"""p(x|z) of images: distributions over pixels in [0, 1], from the outputs of a decoder's network.

Shapes: B batch, C channel, H height, W width. Every log probability is in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Beta, Distribution, Independent, Laplace, Normal, constraints
from torch.nn import functional as F

GREY_LEVEL = 1 / 256
"""The width of a grey level, for pixels in [0, 1]."""


class FixedNormal(Normal):
    """A Gaussian whose scale is a setting: ``-(x - loc)^2 / (2 scale^2)`` and a constant.

    The scale weighs the error of an image against the divergence of its z; no pixel's noise was fitted to it. So the
    mean is the picture, and a sample is the mean under noise of no meaning.
    """

    fixed_scale: ClassVar[bool] = True
    """The mean is the picture, not a sample."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: torch's own log density, bit by bit; what the pixels share is computed once."""
        if self._validate_args:
            self._validate_sample(value)
        scale = _shared(self.scale)
        result: Tensor = -((value - self.loc) ** 2) / (2 * scale**2) - scale.log() - math.log(math.sqrt(2 * math.pi))
        return result


class FixedLaplace(Laplace):
    """A Laplace distribution whose scale is a setting: ``-|x - loc| / scale`` and a constant. See
    :class:`FixedNormal`."""

    fixed_scale: ClassVar[bool] = True
    """The mean is the picture, not a sample."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: torch's own log density, bit by bit; what the pixels share is computed once."""
        if self._validate_args:
            self._validate_sample(value)
        scale = _shared(self.scale)
        result: Tensor = -(2 * scale).log() - (value - self.loc).abs() / scale
        return result


class QuantisedNormal(Normal):
    """A Gaussian for pixels that were rounded to grey levels: it scores the pixel plus uniform noise.

    ``log_prob(x) = log N(x + u; loc, scale^2)``, ``u ~ U(-w/2, w/2)``, a fresh one at each call (Vedantam et al. 2018,
    A.4, "gaussian likelihood with uniform noise"; Theis et al. 2016, Sec. 3.1). It is a density over pixels in [0, 1],
    in nats, so it may be positive. With ``P(x)`` the probability mass of the grey level, the Gaussian's integral over
    ``[x - w/2, x + w/2]``, Jensen's inequality gives for each pixel

        E_u[log N(x + u; loc, scale^2)] + log w <= log P(x) <= 0.

    So the sum over an image's n pixels plus ``n log w`` is, in expectation, a lower bound on the log probability of
    the stored image, and no mean and scale can push the expected density above ``log 256`` per pixel. On pixels scaled
    to [-1, 1], as in the released code, the same density is ``n log 2`` lower.

    The noise is drawn from torch's global generator, as every sample of z is: the seed of a training step determines
    it, and it is the same in every validation. It has the shape of ``value``, so that several z share it.

    Args:
        loc: Float[...].
        scale: Float[...].
        bin_width: w; with zero, ``value`` is scored without noise.
    """

    def __init__(
        self, loc: Tensor, scale: Tensor, *, bin_width: float = GREY_LEVEL, validate_args: bool | None = None
    ) -> None:
        self.bin_width = bin_width
        super().__init__(loc, scale, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> QuantisedNormal:
        """The same distribution with a larger batch shape."""
        new: QuantisedNormal = self.__new__(type(self)) if _instance is None else _instance
        new.bin_width = self.bin_width
        super().expand(batch_shape, _instance=new)  # type: ignore[no-untyped-call]
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: the log density of ``value`` plus noise."""
        if self.bin_width:
            value = value + self.bin_width * (torch.rand_like(value) - 0.5)
        result: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]
        return result


class FixedScaleNormal(QuantisedNormal):
    """A quantised normal whose scale is a setting: a weight of its squared error, and no model of the noise."""

    fixed_scale: ClassVar[bool] = True


class ConstrainedBeta(Distribution):
    """Beta(c a, c (1 - a)) with ``a = sigmoid(logits)``: a Beta distribution with mean a and concentration c.

    Cremer and Kushman, Sec. 5.1.2, with c = 100. Pixels are scored after clamping to [1e-5, 1 - 1e-5], where the
    density is finite. The formula uses ``log Gamma(c a) = log Gamma(1 + c a) - log c - log a``: value and gradient
    stay finite for every finite logit, also where a or 1 - a is rounded to zero.

    Args:
        logits: Float[...].
        concentration: c, above 2.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"logits": constraints.real}
    support = constraints.unit_interval
    fixed_scale: ClassVar[bool] = True
    smallest: ClassVar[float] = 1e-5
    """Pixels are clamped to at least this, and to at most one minus this."""

    def __init__(self, logits: Tensor, *, concentration: float = 100.0, validate_args: bool | None = None) -> None:
        if concentration <= 2:
            raise ValueError(f"the concentration must be above 2, so that the mode is inside, got {concentration}")
        self.logits, self.concentration = logits, concentration
        super().__init__(logits.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """a, Float[...]."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """``a (1 - a) / (c + 1)``."""
        return self.logits.sigmoid() * (-self.logits).sigmoid() / (self.concentration + 1)

    @property
    def mode(self) -> Tensor:
        """``(c a - 1) / (c - 2)``, or the end of [0, 1] towards which the density grows without bound."""
        return ((self.concentration * self.mean - 1) / (self.concentration - 2)).clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[...]: the log density of the clamped ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        # Terms of a few hundred nats cancel to a few: in float32 they are off by up to a nat on an image of 112x112.
        logits, given = self.logits.double(), value.clamp(self.smallest, 1 - self.smallest).double()
        alpha, beta = self.concentration * logits.sigmoid(), self.concentration * (-logits).sigmoid()
        # log a + log(1 - a), and the constants of log Gamma(c) and of both log Gamma(c a), log Gamma(c (1 - a)).
        log_odds = 2 * F.logsigmoid(logits) - logits
        constant = math.lgamma(self.concentration) + 2 * math.log(self.concentration)
        log_normaliser = torch.lgamma(1 + alpha) + torch.lgamma(1 + beta) - log_odds - constant
        log_density = (alpha - 1) * given.log() + (beta - 1) * (-given).log1p() - log_normaliser
        return log_density.to(torch.promote_types(self.logits.dtype, value.dtype))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Float[sample, ...]."""
        with torch.no_grad():
            # A shape parameter rounded to zero has no gamma variate; with this one it is almost surely zero.
            alpha, beta = (
                (self.concentration * logits.sigmoid()).clamp_min(self.smallest)
                for logits in (self.logits, -self.logits)
            )
            return Beta(alpha, beta, validate_args=False).sample(torch.Size(sample_shape))


def has_fixed_scale(px: Distribution) -> bool:
    """Whether the scale of p(x|z) is a setting that weighs an error, and not learnt from the pixels' noise.

    A sample of such a distribution shows noise that nothing was fitted to.

    >>> has_fixed_scale(beta_image(torch.zeros(1, 1, 2, 2))), has_fixed_scale(bernoulli_image(torch.zeros(1, 1, 2, 2)))
    (True, False)
    """
    return bool(getattr(getattr(px, "base_dist", px), "fixed_scale", False))


def bernoulli_image(logits: Tensor) -> Distribution:
    """Independent Bernoulli pixels; logits Float[..., C, H, W]."""
    return Independent(Bernoulli(logits=logits), 3)


def quantised_normal_image(parameters: Tensor, *, min_scale: float = GREY_LEVEL / 2) -> Distribution:
    """Independent quantised normal pixels (Vedantam et al. 2018, A.4, CelebA), each with its own scale.

    The network's output is for pixels in [-1, 1], as in the released code: its mean m and log scale s become
    ``(1 + m) / 2`` and ``exp(s) / 2`` here. ``min_scale`` is added to the scale, which the code does not do: it bounds
    the gradient of one pixel's error with respect to its mean, of order ``1 / scale^2``, and keeps a slope where a
    clamp has none. On a pixel that is known exactly, half a grey level costs 0.22 nats of the 5.37 that noise of one
    level leaves.

    Args:
        parameters: Float[..., 2 C, H, W]: m, then s.
        min_scale: Added to the scale, in units of pixels in [0, 1].
    """
    mean, log_scale = _at_least_float32(parameters).chunk(2, dim=-3)
    return Independent(QuantisedNormal((1 + mean) / 2, min_scale + log_scale.exp() / 2), 3)


def beta_image(logits: Tensor) -> Distribution:
    """Independent constrained Beta pixels; logits Float[..., C, H, W]."""
    return Independent(ConstrainedBeta(_at_least_float32(logits)), 3)


def normal_image(logits: Tensor, *, scale: float) -> Distribution:
    """Independent normal pixels of one fixed scale, in units of pixels in [0, 1]; logits Float[..., C, H, W].

    The mean of a pixel is the sigmoid of its logit, so it is a picture.
    """
    return Independent(FixedNormal(_at_least_float32(logits).sigmoid(), scale), 3)


def laplace_image(logits: Tensor, *, scale: float) -> Distribution:
    """Independent Laplace pixels of one fixed scale; see :func:`normal_image`."""
    return Independent(FixedLaplace(_at_least_float32(logits).sigmoid(), scale), 3)


@dataclass(frozen=True)
class ImageLikelihood:
    """A family of p(x|z).

    Attributes:
        num_parameters: Output channels of a decoder's network per channel of the image.
        distribution: Float[..., num_parameters * C, H, W] to a distribution over Float[..., C, H, W].
    """

    num_parameters: int
    distribution: Callable[[Tensor], Distribution]


IMAGE_LIKELIHOODS: Mapping[str, ImageLikelihood] = {
    "bernoulli": ImageLikelihood(1, bernoulli_image),
    "quantised_normal": ImageLikelihood(2, quantised_normal_image),
    "beta": ImageLikelihood(1, beta_image),
}
"""Those without a setting, by the name in a backbone's spec."""
OF_FIXED_SCALE: Mapping[str, Callable[..., Distribution]] = {"normal": normal_image, "laplace": laplace_image}
"""Those whose scale is a setting, by the name in a backbone's spec."""


def image_likelihood(name: str, *, scale: float | None = None) -> ImageLikelihood:
    """The family of p(x|z) of a name.

    Args:
        name: A key of :data:`IMAGE_LIKELIHOODS` or :data:`OF_FIXED_SCALE`.
        scale: The scale, for the latter, in units of pixels in [0, 1].
    """
    if name not in OF_FIXED_SCALE:
        return IMAGE_LIKELIHOODS[name]
    if scale is None:
        raise ValueError(f"likelihood {name} needs a scale")
    return ImageLikelihood(1, partial(OF_FIXED_SCALE[name], scale=scale))


def _shared(values: Tensor) -> Tensor:
    """The element that an expanded tensor repeats, Float[]; any other tensor as it is."""
    return values if any(values.stride()) else values[(0,) * values.ndim]


def _at_least_float32(parameters: Tensor) -> Tensor:
    """In bfloat16 a mean has steps of a grey level, and a log gamma of 359 has steps of 2."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))
