"""MVAE: the multimodal VAE (Wu and Goodman 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..data.batch import Batch
from ..specs.built_in.families.experts import MVAESpec
from .base import Terms
from .common.elbo import elbo
from .common.modalities import MultimodalObjective

Subset = tuple[bool, ...]


def mvae(
    bounds: Mapping[str, tuple[Tensor | None, Tensor | None, Tensor]],
    *,
    lambda_image: float,
    lambda_: float,
    beta: float,
) -> Terms:
    """``-sum_S (E_q_S sum_{m in S} lambda_m log p(x_m|z) - beta KL(q_S || p(z)))``, the batch mean.

    Wu and Goodman (2018): the ELBO of a subset of the modalities, and their sum in sub-sampled training.

    Args:
        bounds: For each subset S: log p(x|z) or None where S has no image, log p(y_S|z) or None if it has no
            attribute, and KL(q_S || p(z)), each Float[B], with z ~ q_S proportional to p(z) prod_{m in S} q(z|x_m).
        lambda_image: Weight of log p(x|z).
        lambda_: Weight of log p(y_S|z).
        beta: Weight of the divergences.
    """
    total: list[Tensor] = []
    parts: dict[str, Tensor] = {}
    for name, (log_px, log_py, kl) in bounds.items():
        bound = elbo(
            log_px=log_px, log_py=log_py, kl=kl, image_weight=lambda_image, concept_weight=lambda_, kl_weight=beta
        )
        total.append(bound.mean())
        named = {f"{name}/log_px": log_px, f"{name}/log_py": log_py, f"{name}/kl": kl}
        parts |= {key: part for key, part in named.items() if part is not None}
    return Terms(-torch.stack(total).sum(), parts)


class MVAE(MultimodalObjective):
    """ELBOs of all modalities, of each alone, and of some random subsets, at one z each.

    The prior is a factor of every product: q(z|x) is p(z) times the image's expert. An example that lacks modalities
    has the bounds of those that it has: an image without labels the ELBO of the image, y without an image that of y.
    """

    spec: MVAESpec
    prior_is_factor = True

    def terms(self, batch: Batch) -> Terms:
        """The bound of every subset of :meth:`subsets`, from the same experts."""
        spec, experts = self.spec, self.experts(batch.known_image, batch.description)
        bounds, latents = {}, {}
        for name, subset in self.subsets().items():
            q = self.product(experts, subset)
            latents[name] = z = q.rsample()
            log_px = self.log_image(z, batch) if subset[0] else None
            wanted = self._restricted(batch.description, subset[1:])
            log_py = self.concept_likelihood(z).log_prob(wanted) if any(subset[1:]) else None
            counts, kl = self._counts(experts.present, subset), kl_divergence(q, self.prior(q))
            bounds[name] = (_where(counts, log_px), _where(counts, log_py), torch.where(counts, kl, 0.0))
        terms = mvae(bounds, lambda_image=spec.lambda_image, lambda_=spec.lambda_, beta=spec.beta)
        terms.latents.update(latents)
        return terms

    def subsets(self) -> dict[str, Subset]:
        """The subsets of a step by name: ``joint``, each modality's, and random ones, shared by the whole batch.

        A random one is uniform over the subsets of two to M - 1 modalities.
        """
        num_modalities = len(self.modality_names)
        chosen: dict[str, Subset] = {"joint": (True,) * num_modalities}
        for m, name in enumerate(self.modality_names):
            chosen[name] = tuple(other == m for other in range(num_modalities))
        number = self.spec.num_random_subsets
        for index in range(int(num_modalities > 2) if number is None else number):
            chosen[f"random_{index}"] = _random_subset(num_modalities)
        return chosen

    def _counts(self, present: Tensor, subset: Subset) -> Tensor:
        """Bool[B]: which examples have the bound of a subset; ``present`` is Bool[B, M].

        That of all modalities counts for each example, as the bound of those that it has; that of fewer where the
        example has them all, and others too. So each set of modalities that it has counts at most once.
        """
        if all(subset):
            return present.any(1)
        members = torch.tensor(subset, device=present.device)
        return (present | ~members).all(1) & (present & ~members).any(1)

    def _restricted(self, concept: Tensor, members: Subset) -> Tensor:
        """The concept with the attributes outside the subset unspecified: they add nothing to log p(y|z)."""
        if not self.per_attribute:
            return concept
        return concept.masked_fill(~torch.tensor(members, device=concept.device), -1)


def _where(counts: Tensor, part: Tensor | None) -> Tensor | None:
    return None if part is None else torch.where(counts, part, 0.0)


def _random_subset(num_modalities: int) -> Subset:
    # Drawn on the CPU, whose generator every step seeds too: choosing what to decode must not wait for a GPU.
    while True:
        subset = tuple((torch.rand(num_modalities) < 0.5).tolist())
        if 2 <= sum(subset) < num_modalities:
            return subset
