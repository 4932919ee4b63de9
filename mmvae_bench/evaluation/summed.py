"""Likelihoods of a model whose y and z are independent: p(x|y,z) p(y) p(z), as SSVAE's, summed over y.

Shapes: B batch, S sample, D latent dimension, A attribute, K concept.
"""

from __future__ import annotations

import itertools
import math
from math import prod

import torch
from torch import Tensor

from ..base.heartbeat import beat
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..data.batch import Batch
from ..metrics.functional import importance_log_weights, log_likelihood_bound
from ..objectives.base import CapabilityError, Objective
from .likelihood import Bound, Bounds, Drawn

SSVAE = "mmvae_bench.objectives.ssvae:SSVAE"
"""By its path: an import would make every evaluation depend on its code."""
MAX_CONCEPTS = 64
"""The maximum number of concepts that are summed over: each is decoded, for every image and z."""


class SummedBounds(Bounds):
    """The bounds of one batch under p(x|y,z) p(y) p(z), with p(y) uniform and independent between attributes.

    - ``log_px``: ``log sum_y p(y) (1/k) sum_s p(x|y,z_s) p(z_s) / q(z_s|x,y)``, k z from q(z|x,y) for each of the K
      concepts. The sum over y is exact, so the number inside the logarithm is unbiased, whatever q(y|x) says.
    - ``log_pxy``: importance weights p(x|y,z) p(y) p(z) / q(z|x,y); k samples, those of the ELBO.
    - ``elbo`` and its terms: E_q(z|x,y)[log p(x|y,z)] + log p(y) - KL(q(z|x,y) || p(z)), the mean over k samples.

    ``log_px_given_y`` is that of every objective, with p(z) for q(z|y). log p(y) is fixed by the number of concepts, so
    there is no bound of it.
    """

    def log_px(self, *, flow_prior: bool = False) -> Bound:
        """Summed over y.

        Raises:
            CapabilityError: with the flow; or if there are more concepts than can be summed over.
        """
        model, batch, sizes = self.model, self.batch, self.model.schema.sizes
        if flow_prior:
            model.aggregate_prior()
        if (number := prod(sizes)) > MAX_CONCEPTS:
            raise CapabilityError(
                f"{model.spec.name} has p(x|y,z) and no p(x|z): p(x) is a sum over the {number:,} concepts, each "
                f"decoded for every image, and is computed for at most {MAX_CONCEPTS}"
            )
        every = []
        for values in itertools.product(*map(range, sizes)):
            concept = torch.tensor(values, device=batch.image.device).expand(len(batch), -1)
            q = model.posterior(batch.image, concept)
            with own_randomness(derive_seed("likelihood latents", seed=self.seed, concept=values), batch.image.device):
                z = q.sample(torch.Size([self.num_samples]))
            every.append(
                importance_log_weights(
                    log_likelihood=self._pixels(z, concept),
                    log_prior=self._prior(z[0]).log_prob(z),
                    log_proposal=q.log_prob(z),
                )
            )
            beat()
        # All concepts have p(y) = 1/K and k samples each: the mean over both.
        bound = log_likelihood_bound(torch.cat(every))
        return Bound(bound, "q(z|x,y) of each y", self.num_samples, batch.image[0].numel())

    def _image_likelihood(self, drawn: Drawn) -> Tensor:
        """log p(x|y,z) at the batch's own y, Float64[S, B]."""
        if drawn.kind not in self._log_px:
            self._log_px[drawn.kind] = self._pixels(drawn.z, self.batch.description)
        return self._log_px[drawn.kind]

    def _concept_likelihood(self, drawn: Drawn) -> Tensor:
        """log p(y), the same for every z: Float64[S, B].

        Raises:
            CapabilityError: if y is no concept but scores, which have no probability here.
        """
        if drawn.kind == "concept" or self.batch.description.is_floating_point():
            return super()._concept_likelihood(drawn)
        log_py = -math.fsum(math.log(size) for size in self.model.schema.sizes)
        return drawn.log_q.new_full(drawn.log_q.shape, log_py, dtype=torch.float64)


def bounds_of(model: Objective, batch: Batch, *, num_samples: int, seed: int) -> Bounds:
    """The bounds of a batch under an objective's own factorisation; see :class:`Bounds`.

    The forms of SSVAE for faces and for several things have more latents than z, and no sum over y is written for them.
    """
    form = SummedBounds if getattr(model.spec, "implementation", None) == SSVAE else Bounds
    return form(model, batch, num_samples=num_samples, seed=seed)
