"""SSVAE: a semi-supervised VAE with a classifier q(y|x) (Siddharth et al. 2017, Sec. 3; Kingma et al. 2014, M2).

Shapes: B batch, A attribute, V value, K completion, D latent dimension, Q query, S sample.
"""

from __future__ import annotations

import itertools
import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, RelaxedOneHotCategorical, kl_divergence
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..data.batch import Batch
from ..distributions.latents import FactorisedCategorical
from ..specs.built_in.families.few_labels import SSVAESpec
from .base import CapabilityError, Objective, Terms, evaluating
from .common.elbo import elbo
from .cvae import ConditionedDecoder
from .images import checked_images


def ssvae(
    *,
    log_px: Tensor,
    kl: Tensor,
    kl_y: Tensor,
    log_py: Tensor,
    log_qy: Tensor,
    labelled: Tensor,
    gamma: float,
    alpha: float,
    image_weight: float = 1.0,
) -> Terms:
    """The negative of ``L + alpha log q(y_O|x)``, gamma times for images with labels y_O, the batch mean, with

    ``L = E_q(y_M|x) [E_q(z|x,y)[a log p(x|y,z)] - KL(q(z|x,y) || p(z))] - KL(q(y_M|x) || p(y_M)) + log p(y_O)``

    and M the attributes without a label: Siddharth et al. (2017), Eq. 2 where O is empty, and the supervised term in
    the form published at NIPS where M is.

    Args:
        log_px: log p(x|y,z), Float[B], in the mean over q(y_M|x).
        kl: KL(q(z|x,y) || p(z)), Float[B], in the same mean.
        kl_y: KL(q(y_M|x) || p(y_M)), Float[B].
        log_py: log p(y_O), Float[B].
        log_qy: log q(y_O|x), Float[B].
        labelled: Bool[B], whether O is not empty.
        gamma: Weight of images with labels.
        alpha: Weight of log q(y_O|x).
        image_weight: a.
    """
    bound = elbo(log_px=log_px, kl=kl, image_weight=image_weight) - kl_y + log_py + alpha * log_qy
    parts = {"joint/log_px": log_px, "joint/kl": kl, "kl_y": kl_y, "log_py": log_py, "log_qy": log_qy}
    return Terms(-torch.where(labelled, gamma * bound, bound).mean(), parts)


def ssvae_printed(
    *,
    log_px: Tensor,
    kl: Tensor,
    kl_y: Tensor,
    log_py: Tensor,
    log_qy: Tensor,
    image_weight: float = 1.0,
) -> Terms:
    """The negative of ``q(y_O|x) (L - log q(y_O|x))``, the batch mean: Eq. 4 of the submission to ICLR, as printed.

    Where nothing has a label it is the same bound L. With a label its derivative in log q(y|x) is
    ``q (L - log q - 1)``: negative wherever L is, as it is of nearly every image, so the classifier unlearns its
    labels. An ablation.

    Args: as in :func:`ssvae`.
    """
    bound = elbo(log_px=log_px, kl=kl, image_weight=image_weight) - kl_y + log_py
    parts = {"joint/log_px": log_px, "joint/kl": kl, "kl_y": kl_y, "log_py": log_py, "log_qy": log_qy}
    return Terms(-(log_qy.exp() * (bound - log_qy)).mean(), parts)


class SSVAE(Objective):
    """q(y|x), q(z|x,y) and p(x|y,z), with p(z) = N(0, I) and p(y) uniform and independent between attributes.

    ``posterior(concept=y)`` is p(z), whatever y: the two are independent. :meth:`imagine` draws open attributes from
    p(y), :meth:`describe` answers argmax q(y|x), and :meth:`reconstruct` takes that for y where it is given none.
    """

    spec: SSVAESpec
    network_names = ("joint_encoder", "describer", "image_decoder")
    describer: nn.Module

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The image decoder has an input for each value of each attribute, in addition to z."""
        if name != "image_decoder":
            return super().build_network(name, backbone)
        wider = backbone.with_latent_size(self.latent_size + sum(self.schema.sizes))
        return ConditionedDecoder(wider.image_decoder(), self.schema.sizes)

    # ---------------------------------------------------------------- training

    def terms(self, batch: Batch) -> Terms:
        """The bound, at one z for each y that the estimator looks at."""
        spec, concept = self.spec, batch.concept
        q_y: FactorisedCategorical = self.describer(batch.image)
        open_, sizes = concept < 0, q_y.log_probs[0].new_tensor(self.schema.sizes)
        values, weights = self._completions(q_y, concept)
        image = repeat(batch.image, "b c h w -> (k b) c h w", k=len(weights))
        q = self._network("joint")(image, rearrange(values, "k b v -> (k b) v"))
        z = q.rsample()
        px = self.image_decoder(z, rearrange(values, "k b v -> (k b) v"))

        def mean(part: Tensor) -> Tensor:
            return (weights * rearrange(part, "(k b) -> k b", k=len(weights))).sum(0)

        parts = {
            "log_px": mean(px.log_prob(image)),
            "kl": mean(kl_divergence(q, self.prior(q))),
            "kl_y": torch.where(open_, torch.stack([kl_to_uniform(each) for each in q_y.log_probs], -1), 0.0).sum(1),
            "log_py": -((~open_).to(sizes.dtype) @ sizes.log()),
            "log_qy": q_y.log_prob(concept),
        }
        if spec.supervised == "printed":
            terms = ssvae_printed(**parts, image_weight=spec.image_weight)
        else:
            labelled = (~open_).any(1)
            terms = ssvae(
                **parts, labelled=labelled, gamma=spec.gamma, alpha=spec.alpha, image_weight=spec.image_weight
            )
        drawn = rearrange(z, "(k b) d -> k b d", k=len(weights))
        names = ["joint"] if len(drawn) == 1 else [f"joint/{k}" for k in range(len(drawn))]
        terms.latents.update(zip(names, drawn, strict=True))
        return terms

    def _completions(self, q_y: FactorisedCategorical, concept: Tensor) -> tuple[Tensor, Tensor]:
        """What the networks are given as y, Float[K, B, sum V], and the weight of each, Float[K, B].

        A labelled attribute has its value. Another one has, by ``estimator``, its probabilities (K = 1), a relaxed
        sample (K = 1), or each of its values in turn, weighted by its probability.
        """
        if self.spec.estimator == "exact":
            return self._every_value(q_y, concept)
        columns = []
        for k, log_probs in enumerate(q_y.log_probs):
            known = F.one_hot(concept[:, k].clamp_min(0), log_probs.shape[-1]).to(log_probs.dtype)
            guess = log_probs.exp()
            if self.spec.estimator == "concrete":
                temperature = log_probs.new_tensor(self.spec.temperature)
                guess = RelaxedOneHotCategorical(temperature, logits=log_probs).rsample()
            columns.append(torch.where(concept[:, k, None] < 0, guess, known))
        return torch.cat(columns, -1)[None], torch.ones_like(columns[0][None, :, 0])

    def _every_value(self, q_y: FactorisedCategorical, concept: Tensor) -> tuple[Tensor, Tensor]:
        # Attributes that all images have labels of are not summed over.
        anywhere = (concept < 0).any(0).tolist()
        sizes = [log_probs.shape[-1] for log_probs in q_y.log_probs]
        choices = [range(size) if is_open else (-1,) for size, is_open in zip(sizes, anywhere, strict=True)]
        values, weights = [], []
        for chosen in itertools.product(*choices):
            columns, weight = [], torch.ones_like(q_y.log_probs[0][:, 0])
            for k, (value, log_probs) in enumerate(zip(chosen, q_y.log_probs, strict=True)):
                known = concept[:, k] >= 0
                if value >= 0:
                    # Of an image that has the label, the completion that agrees with it counts, and counts once.
                    weight = weight * torch.where(
                        known, (concept[:, k] == value).to(log_probs.dtype), log_probs[:, value].exp()
                    )
                filled = concept[:, k] if value < 0 else torch.where(known, concept[:, k], value)
                columns.append(F.one_hot(filled, log_probs.shape[-1]).to(log_probs.dtype))
            values.append(torch.cat(columns, -1))
            weights.append(weight)
        return torch.stack(values), torch.stack(weights)

    # ---------------------------------------------------------------- distributions

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), or p(z) for a concept alone.

        Raises:
            CapabilityError: for an image alone, or an image with a concept that has unspecified attributes.
        """
        if image is None and concept is not None:
            dtype = next(self.parameters()).dtype
            zeros = torch.zeros(len(concept), self.latent_size, device=concept.device, dtype=dtype)
            return Independent(Normal(zeros, torch.ones_like(zeros)), 1)
        return super().posterior(image, concept)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|y,z).

        Raises:
            CapabilityError: if no concept is given, or one with unspecified attributes.
        """
        if concept is None:
            raise CapabilityError(f"{self.spec.name} has p(x|y,z) but no p(x|z): its image decoder needs the concept")
        if not self.training and not concept.is_floating_point() and bool((concept < 0).any()):
            raise CapabilityError(f"{self.spec.name} has p(x|y,z) of fully specified concepts only")
        px: Distribution = self.image_decoder(z, concept)
        return px

    def concept_likelihood(self, z: Tensor) -> Distribution:
        """There is no p(y|z).

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(f"{self.spec.name} has no p(y|z): z and y are independent, and it describes by q(y|x)")

    # ---------------------------------------------------------------- once trained

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ p(z), and the y that the decoder gets: the concept, its open attributes drawn from p(y)."""
        each = repeat(concept, "query attribute -> (query sample) attribute", sample=num_samples)
        drawn = [torch.randint(size, (len(each),), device=each.device) for size in self.schema.sizes]
        complete = torch.where(each < 0, torch.stack(drawn, -1), each)
        return self.posterior(concept=complete).sample(), complete

    @torch.no_grad()
    def describe(self, image: Tensor) -> Tensor:
        """argmax q(y|x): Float[B, C, H, W] to Long[B, A]."""
        with evaluating(self):
            q_y: FactorisedCategorical = self.describer(checked_images(image, self.image_shape, self.device))
            return q_y.mode

    @torch.no_grad()
    def reconstruct(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """E[x|y,z] at the mean of q(z|x,y), with the y given or, without one, argmax q(y|x)."""
        return super().reconstruct(image, self.describe(image) if concept is None else concept)


def kl_to_uniform(log_probs: Tensor) -> Tensor:
    """KL(q || uniform) of log probabilities, Float[B, V]: the entropy of V equal values minus that of q."""
    return (log_probs.exp() * log_probs).sum(-1) + math.log(log_probs.shape[-1])
