"""Log likelihoods of held-out images and their descriptions, as far as an objective's mathematics gives them.

Shapes: B batch, S sample, D latent dimension, A attribute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from ..base.heartbeat import beat
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.batch import Batch
from ..distributions.latents import FactorisedCategorical, diagonal_normal
from ..distributions.texts import AutoregressiveText
from ..metrics.functional import elbo_terms, importance_log_weights, log_likelihood_bound
from ..objectives.base import POSTERIOR_NAMES, CapabilityError, Objective
from ..specs.components import Posterior

PROTOCOL = "likelihood"
FLOW_PRIOR = "_flow_prior"
"""Suffix of the name of a metric with the flow q(z) in place of p(z)."""
ENTROPY = "description_entropy"
TIGHT = "log_py_tight"
FEWEST = 64
"""z per description in the first round of :func:`tight_log_py`."""
FRACTION = 0.1
"""Of the arm of the interval: paired differences between objectives are much narrower than the interval itself."""
NEGLIGIBLE = 0.01
"""Nats: a bound that moves by less when the number of z is doubled is tight, however narrow its interval."""
_COMPARED_AT_ONCE = 2**15
"""Bounds the memory: at most so many pairs of z and description are compared at once."""


@dataclass(frozen=True)
class Bound:
    """One number per image.

    Attributes:
        values: Float64[B], nats; of :data:`ENTROPY` Float64[B, A], or of words.
        proposal: What z was drawn from.
        num_samples: Samples of z per image.
        num_dimensions: Those of the observed modality; None if there is no such number.
    """

    values: Tensor
    proposal: str
    num_samples: int
    num_dimensions: int | None = None


@dataclass(frozen=True)
class TightBound:
    """log p(y) of each description, with what tells how far to trust it.

    Attributes:
        values: Float64[U], nats.
        effective: Float64[U]: the effective sample size as a share of the z, ``(sum w)^2 / (k sum w^2)``.
        step: By how much the last doubling of k moved the mean over images, nats.
        proposal: What z was drawn from.
        num_samples: k, z per description.
    """

    values: Tensor
    effective: Tensor
    step: float
    proposal: str
    num_samples: int


@torch.no_grad()
def tight_log_py(
    model: Objective,
    descriptions: Tensor,
    counts: Tensor,
    *,
    max_samples: int,
    seed: int,
    flow_prior: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> TightBound:
    """log p(y) by importance sampling from a mixture, half prior and half q(z|y), which no q(z|y) can spoil.

    ``log (1/k) sum_s w_s, w_s = p(y|z_s) p(z_s) / (p(z_s)/2 + q(z_s|y)/2)``, half of the z from each (the balance
    heuristic, Owen and Zhou 2000): unbiased inside the logarithm, and ``w <= 2 p(y|z)``, so the bound is as tight as
    twice as few z from the prior alone would make it, and tighter where q(z|y) is good. k is doubled until that moves
    the mean over images by less than a tenth of the arm of its 95 % interval over images, or by less than
    :data:`NEGLIGIBLE`; and its standard error over z is as small.

    Args:
        model: In eval mode, with q(z|y) and p(y|z).
        descriptions: Long[U, A], or Long[U, W] in the text view; all different.
        counts: Long[U], how many images have each.
        max_samples: The largest k.
        seed: Of z.
        flow_prior: The flow q(z) takes the place of p(z), in the model and in the mixture.
        report: Called with how many z are drawn and the largest number.

    Raises:
        CapabilityError: if the model lacks one of the distributions.
    """
    device, num = descriptions.device, len(descriptions)
    q = model.posterior(concept=descriptions)
    zeros = torch.zeros(q.event_shape, device=device)
    prior = model.aggregate_prior() if flow_prior else model.own_prior() or diagonal_normal(zeros, zeros)
    of_images, at_once = counts.to(device).double() / counts.sum(), max(1, _COMPARED_AT_ONCE // num)
    total = torch.full((num,), -torch.inf, dtype=torch.float64, device=device)
    squares, values, effective, k, step = total, total, total, 0, math.inf
    while 2 * k <= max_samples:
        for start in range(k, max(2 * k, FEWEST), 2 * at_once):
            half = min(at_once, (max(2 * k, FEWEST) - start) // 2)
            with own_randomness(derive_seed("tight log p(y)", seed=seed, start=start), device):
                log_weights = _mixture_weights(model, q, prior, descriptions, half)
            total = torch.logaddexp(total, log_weights.logsumexp(0))
            squares = torch.logaddexp(squares, (2 * log_weights).logsumexp(0))
            beat()
        k, before = max(2 * k, FEWEST), values
        values = total - math.log(k)
        step = float((of_images * (values - before)).sum())
        report(k, max_samples)
        effective = (2 * total - squares).exp()
        # One doubling may move it little by luck: the error of the estimate itself must be as small.
        error = float((of_images.square() / effective).sum().sqrt())
        spread = float((of_images * (values - (of_images * values).sum()).square()).sum().sqrt())
        half_width = 1.96 * spread / math.sqrt(float(counts.sum()))
        if max(abs(step), error) < max(NEGLIGIBLE, FRACTION * half_width):
            break
    return TightBound(values, effective / k, step, f"{'q(z)' if flow_prior else 'p(z)'} and q(z|y)", k)


def _mixture_weights(model: Objective, q: Distribution, prior: Distribution, descriptions: Tensor, half: int) -> Tensor:
    """log w of ``half`` z from the prior, shared by all descriptions, and as many from q(z|y): Float64[2 half, U]."""
    shared = prior.sample(torch.Size([half]))
    # Decoded once for all descriptions.
    log_py = model.concept_likelihood(shared).log_prob(descriptions[:, None]).T
    each = shared[:, None].expand(-1, len(descriptions), -1)
    own = q.sample(torch.Size([half]))
    told = descriptions.expand(half, -1, -1).flatten(0, 1)
    own_log_py = model.concept_likelihood(own.flatten(0, 1)).log_prob(told).unflatten(0, own.shape[:2])
    rows = []
    for z, log_likelihood in ((each, log_py), (own, own_log_py)):
        log_prior = prior.log_prob(z).double()
        log_mixture = torch.logaddexp(log_prior, q.log_prob(z).double()) - math.log(2)
        rows.append(
            importance_log_weights(log_likelihood=log_likelihood, log_prior=log_prior, log_proposal=log_mixture)
        )
    return torch.cat(rows)


@dataclass
class Drawn:
    """z ~ q of every example of a batch, Float[S, B, D], and log q(z), Float[S, B]."""

    kind: Posterior
    q: Distribution
    z: Tensor
    log_q: Tensor


class Bounds:
    """The bounds of one batch. A bound for which an objective has no networks raises CapabilityError, which says why.

    - ``log_px_given_y``: log p(x|z) + log q(z|y) - log q(z|x), one z ~ q(z|x) (Cremer and Kushman 2018, Eq. 6).
    - ``log_px``: importance weights p(x|z) p(z) / q(z|x), or q(z) in place of p(z); k samples.
    - ``log_py``: importance weights p(y|z) p(z) / q(z|y), or q(z) in place of p(z); k samples.
    - ``log_pxy``: importance weights p(x|z) p(y|z) p(z) / q(z|x,y), or q(z) in place of p(z); k samples, those of the
      ELBO.
    - ``elbo`` and its terms: E_q[log p(x|z) + log p(y|z)] - KL(q || p), q = q(z|x,y), or q(z|x) where there is no
      other; the mean over k samples. Where the KL has no closed form it is the mean of log q(z) - log p(z).
    - ``description_entropy``: of p(y_k|z), z as for the ELBO: how uncertain an objective is about what it describes.
      In the text view of the next word, p(y_t|z, y_1 .. y_(t-1)), in a text y ~ p(y|z): their mean is that of p(y|z)
      per word.

    Objectives without q(z|x) take q(z|x,y) instead: a bound holds for any proposal. No training weight counts.

    Args:
        model: In eval mode.
        batch: On its device.
        num_samples: k.
        seed: Of the latents, and of the noise that a quantised likelihood adds, the same for every z of an image.
    """

    def __init__(self, model: Objective, batch: Batch, *, num_samples: int, seed: int) -> None:
        self.model, self.batch, self.num_samples, self.seed = model, batch, num_samples, seed
        self._draws: dict[Posterior, Drawn] = {}
        self._log_px: dict[Posterior, Tensor] = {}
        self._log_py: dict[Posterior, Tensor] = {}

    def log_px_given_y(self) -> Bound:
        """Eq. 6: one sample."""
        drawn = self._first_of("image", "joint")
        z, described = drawn.z[:1], self.batch.description
        q_concept = self.model.posterior(concept=described)
        weights = importance_log_weights(
            log_likelihood=self._pixels(z, described), log_prior=q_concept.log_prob(z), log_proposal=drawn.log_q[:1]
        )
        return Bound(log_likelihood_bound(weights), POSTERIOR_NAMES[drawn.kind], 1, self.batch.image[0].numel())

    def log_px(self, *, flow_prior: bool = False) -> Bound:
        """Importance-weighted, under p(z) or the flow."""
        drawn = self._first_of("image", "joint")
        return self._importance(drawn, self._image_likelihood(drawn), self.batch.image[0].numel(), flow_prior)

    def log_py(self, *, flow_prior: bool = False) -> Bound:
        """Importance-weighted, under p(z) or the flow."""
        drawn = self._first_of("concept")
        return self._importance(drawn, self._concept_likelihood(drawn), self.batch.description.shape[1], flow_prior)

    def log_pxy(self, *, flow_prior: bool = False) -> Bound:
        """Importance-weighted, under p(z) or the flow; its z are those of :meth:`elbo`."""
        drawn = self._first_of("joint", "image")
        log_py = self._concept_likelihood(drawn)
        num_dimensions = self.batch.image[0].numel() + self.batch.description.shape[1]
        return self._importance(drawn, self._image_likelihood(drawn) + log_py, num_dimensions, flow_prior)

    def elbo(self) -> dict[str, Bound]:
        """``elbo``, ``elbo_log_px``, ``elbo_log_py`` and ``elbo_kl``."""
        drawn = self._first_of("joint", "image")
        log_py = self._concept_likelihood(drawn)
        prior = self._prior(drawn.z[0])
        try:
            kl = kl_divergence(drawn.q, prior)
        except NotImplementedError:  # A mixture's.
            kl = (drawn.log_q - prior.log_prob(drawn.z)).mean(0)
        terms = elbo_terms(log_px=self._image_likelihood(drawn), log_py=log_py, kl=kl)
        proposal = POSTERIOR_NAMES[drawn.kind]
        return {
            name if name == "elbo" else f"elbo_{name}": Bound(values, proposal, self.num_samples)
            for name, values in terms.items()
        }

    def description_entropy(self) -> Bound:
        """In nats per attribute or word, the mean over z."""
        drawn = self._first_of("joint", "image")
        found = []
        for number, z in enumerate(drawn.z):
            py = self.model.concept_likelihood(z)
            if isinstance(py, AutoregressiveText):
                with own_randomness(derive_seed("described texts", seed=self.seed, number=number), z.device):
                    found.append(py.word_entropies(py.sample()).double())
            elif isinstance(py, FactorisedCategorical):
                each = [torch.special.entr(log_probs.double().exp()).sum(-1) for log_probs in py.log_probs]
                found.append(torch.stack(each, -1))
            else:
                raise CapabilityError(
                    "p(y|z) is not a product over attributes or words, so a single one has no entropy of its own"
                )
        return Bound(torch.stack(found).mean(0), POSTERIOR_NAMES[drawn.kind], self.num_samples)

    def _importance(self, drawn: Drawn, log_likelihood: Tensor, num_dimensions: int, flow_prior: bool) -> Bound:
        prior = self.model.aggregate_prior() if flow_prior else self._prior(drawn.z[0])
        weights = importance_log_weights(
            log_likelihood=log_likelihood, log_prior=prior.log_prob(drawn.z), log_proposal=drawn.log_q
        )
        return Bound(log_likelihood_bound(weights), POSTERIOR_NAMES[drawn.kind], self.num_samples, num_dimensions)

    def _first_of(self, *kinds: Posterior) -> Drawn:
        """z from the first of these posteriors that the objective has; drawn once."""
        kind = next((kind for kind in kinds if kind in self.model.spec.posteriors), kinds[0])
        if kind not in self._draws:
            batch = self.batch
            q = self.model.posterior(
                batch.image if kind != "concept" else None, batch.description if kind != "image" else None
            )
            with own_randomness(derive_seed("likelihood latents", seed=self.seed, proposal=kind), batch.image.device):
                z = q.sample(torch.Size([self.num_samples]))
            self._draws[kind] = Drawn(kind, q, z, q.log_prob(z))
        return self._draws[kind]

    def _image_likelihood(self, drawn: Drawn) -> Tensor:
        if drawn.kind not in self._log_px:
            self._log_px[drawn.kind] = self._pixels(drawn.z, None)
        return self._log_px[drawn.kind]

    def _pixels(self, z: Tensor, described: Tensor | None) -> Tensor:
        """log p(x|z), or log p(x|y,z) of an objective whose decoder takes y: Float64[S, B]; one z at a time."""
        rows = []
        for each in z:
            px = self.model.image_likelihood(each, described)
            # A quantised likelihood adds noise to the pixels: one image is one noisy image, for every z.
            with own_randomness(derive_seed("likelihood noise", seed=self.seed), z.device):
                rows.append(px.log_prob(self.batch.image).double())
        return torch.stack(rows)

    def _concept_likelihood(self, drawn: Drawn) -> Tensor:
        """log p(y|z), Float64[S, B]."""
        if drawn.kind not in self._log_py:
            described = self.batch.description
            rows = [self.model.concept_likelihood(z).log_prob(described).double() for z in drawn.z]
            self._log_py[drawn.kind] = torch.stack(rows)
        return self._log_py[drawn.kind]

    def _prior(self, z: Tensor) -> Distribution:
        """p(z) over z's last dimension: N(0, I), one for each example, or the model's own."""
        zeros = torch.zeros_like(z)
        return self.model.own_prior() or diagonal_normal(zeros, zeros)
