"""Log likelihoods and the terms of the evidence lower bound as metrics: means over images, in nats."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from .functional.likelihood import elbo_terms, log_likelihood_bound, nats_per_dimension


class LogLikelihoodValue(NamedTuple):
    """The mean over images in nats, and in nats a dimension."""

    nats: Tensor
    nats_per_dimension: Tensor


class _ImageMeans(Metric):
    """Sums over images and their number, in float64, reduced by summation: exact under any split over processes."""

    is_differentiable = False
    full_state_update = False

    sums: Tensor
    num_images: Tensor

    def __init__(self, num_sums: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(num_sums, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, *values: Tensor) -> None:
        """A value an image, Float64[image], of each sum. Not in place, for float64 must outlast a cast around it."""
        self.sums = self.sums + torch.stack([each.sum() for each in values])
        self.num_images = self.num_images + len(values[0])

    @property
    def _means(self) -> Tensor:
        return self.sums / self.num_images


class LogLikelihood(_ImageMeans):
    """The mean over images of :func:`~mmvae_bench.metrics.functional.log_likelihood_bound`.

    One class for all of them; what is bounded is decided by the weights
    (:func:`~mmvae_bench.metrics.functional.importance_log_weights`): ``log p(x)`` and ``log p(y)`` under p(z) or the
    flow q(z), and with one sample under q(z|y) the ``log p(x|y)`` of Cremer and Kushman (2018), Eq. 6.

    Args:
        num_dimensions: of the modality: channels times pixels, or attributes or words.

    Raises:
        ValueError: ``num_dimensions`` is below 1.

    >>> metric = LogLikelihood(num_dimensions=4)
    >>> metric.update(torch.tensor([[-6.0, -2.0], [-6.0, -2.0]]))
    >>> metric.compute().nats, metric.compute().nats_per_dimension
    (tensor(-4., dtype=torch.float64), tensor(-1., dtype=torch.float64))
    """

    higher_is_better = True

    def __init__(self, *, num_dimensions: int) -> None:
        super().__init__(1)
        nats_per_dimension(torch.zeros(1), num_dimensions)
        self.num_dimensions = num_dimensions

    def update(self, log_weights: Tensor) -> None:
        """Add images.

        Args:
            log_weights: Float[sample, image].

        Raises:
            ValueError: not of that shape, or not numbers.
        """
        self._add(log_likelihood_bound(log_weights))

    def compute(self) -> LogLikelihoodValue:
        """The means; nan where there was no image."""
        nats = self._means[0]
        return LogLikelihoodValue(nats, nats_per_dimension(nats, self.num_dimensions))


class ELBOValues(NamedTuple):
    """The means over images of the bound and its terms, in nats: ``elbo = log_px + log_py - kl``."""

    elbo: Tensor
    log_px: Tensor
    log_py: Tensor
    kl: Tensor


class ELBOTerms(_ImageMeans):
    """The means over images of :func:`~mmvae_bench.metrics.functional.elbo_terms`.

    >>> metric = ELBOTerms()
    >>> metric.update(log_px=torch.tensor([[-9.0]]), log_py=torch.tensor([[-2.0]]), kl=torch.tensor([3.0]))
    >>> metric.compute().elbo
    tensor(-14., dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__(len(ELBOValues._fields))

    def update(self, *, log_px: Tensor, log_py: Tensor, kl: Tensor) -> None:
        """Add images.

        Args:
            log_px: log p(x|z), Float[sample, image].
            log_py: log p(y|z), Float[sample, image], at the same z.
            kl: KL(q || p), Float[image].

        Raises:
            ValueError: the shapes disagree, or a value is not a number.
        """
        terms = elbo_terms(log_px=log_px, log_py=log_py, kl=kl)
        self._add(*(terms[name] for name in ELBOValues._fields))

    def compute(self) -> ELBOValues:
        """The means; nan where there was no image."""
        return ELBOValues(*self._means)
