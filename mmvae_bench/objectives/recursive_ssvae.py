"""SSVAE of a variable number of things on one canvas (Siddharth et al. 2017, 4.3; Fig. 8 and the listing for
multi-mnist in the appendix).

The paper's model: a count K, uniform; for each k up to K a digit d_k, uniform, and a style n_k ~ N(0, I); a canvas with
all of them. Its recognition network is q(K|x) and then, repeated K times with a state in between, q(d_k|x) q(n_k|x).
Only K has labels. Eq. 2 for an image without one is

    L = E_q(K|x) [E_q(d,n|x) log p(x|K,d,n) - sum_{k<=K} (KL(q(d_k|x) || p(d)) + KL(q(n_k|x) || p(n)))]
        - KL(q(K|x) || p(K))
      = E_q(K|x) E_q(d,n|x) log p(x|K,d,n) - sum_k w_k KL_k - KL(q(K|x) || p(K)),    w_k = q(K >= k|x),

and with one it is L + alpha log q(K|x), where L has q(K|x) certain and log p(K) in the place of its last term.
Components above K are no part of the model, so nothing is paid for them: with K known, w_k is 1 for k <= K and else 0.

The paper says neither how components make a canvas nor how gradients reach K. This project's choices:

- **Canvas**: a pixel is dark if no component lights it and nothing leaks, a noisy or:
  p(x=1|K,d,n) = 1 - (1 - leak) prod_{k<=K} (1 - p_k), with p_k = p(d_k,n_k) of one network for all components.
- **Place**: the network makes a picture smaller than the canvas (``window``), and the first two dimensions of n_k say
  where it is, so that one component cannot show two digits far apart. With ``window: null`` it makes whole canvases.
- **K without a label**: ``exact`` sums over K; all counts share the same canvases. ``plug_in``, in the way of the
  paper's plug-in estimation, is log p(x|.) of one union in which p_k has the weight w_k. That is at least the mean of
  log p(x|.) over components that are there independently with probability w_k, and no bound of it over K; where q(K|x)
  is certain both are the same. sum_k w_k KL_k is the expectation itself in both.
- **d_k** is given to the decoder as its probabilities (``plug_in``, the paper's) or as a relaxed sample (``concrete``).
- **The state** is that of a GRU, which is given the features of the image at each step and no sample of earlier ones.
- **K** is at most the largest count of the dataset: 3 on multi-MNIST, as in the paper's text, whose listing has five.

Shapes: B batch, K largest number of components, C channel, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from ..backbones.base import Backbone
from ..backbones.recurrent import ComponentDecoder, ComponentEncoder, component_decoder, component_encoder
from ..data.batch import Batch
from ..distributions.components import Components, log_dark, log_dark_of_first, union_image
from ..distributions.latents import FactorisedCategorical
from ..specs.built_in.families.few_labels import RecursiveSSVAESpec
from .base import Terms
from .ssvae import SSVAE, kl_to_uniform, ssvae


class RecursiveSSVAE(SSVAE):
    """q(K|x), q(d_k|x) q(n_k|x) and p(x|K,d,n). z is (d_1, n_1, ..., d_K, n_K) for the largest K, each d_k one-hot.

    ``posterior(image, concept)`` is q(d,n|x) of the components that are there, as the concept says, and the prior of
    the others, of which an image shows nothing; ``posterior(concept=y)`` is the prior of all, whatever y. The rest is
    as SSVAE has it.
    """

    spec: RecursiveSSVAESpec  # type: ignore[assignment]
    joint_encoder: ComponentEncoder
    image_decoder: ComponentDecoder

    def __init__(self, spec: RecursiveSSVAESpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        self.most, self.style_size = backbone.schema.sizes[0] - 1, backbone.latent_size
        self.latent_size = self.most * (spec.num_kinds + self.style_size)

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """Those of components are made of the backbone's encoder and decoder of one z."""
        spec, most = self.spec, backbone.schema.sizes[0] - 1
        if name == "joint_encoder":
            return component_encoder(backbone, num=most, num_kinds=spec.num_kinds)
        if name == "image_decoder":
            return component_decoder(backbone, num_kinds=spec.num_kinds, leak=spec.leak, window=spec.window)
        return super().build_network(name, backbone)

    # ---------------------------------------------------------------- training

    def terms(self, batch: Batch) -> Terms:
        """The bound, at one d and n of every component, whether it is there or not."""
        spec, image, count = self.spec, batch.image, batch.concept[:, 0]
        labelled = count >= 0
        q_count: FactorisedCategorical = self.describer(image)
        (log_q,) = q_count.log_probs
        label = F.one_hot(count.clamp_min(0), self.most + 1).to(log_q)
        weights = torch.where(labelled[:, None], label, log_q.exp())
        q = self.joint_encoder.every(image)
        z = q.relaxed(spec.temperature if spec.kind_estimator == "concrete" else None)
        canvases = self.image_decoder.canvases(z)
        if spec.estimator == "exact":
            log_px_of_each = union_image(log_dark_of_first(canvases, leak=spec.leak)).log_prob(image[:, None])
            log_px = (weights * log_px_of_each).sum(1)
        else:
            # log q(K < k|x), from logarithms: 1 - q(K >= k|x) would round to 0, and lose its gradient.
            log_absent = torch.where(labelled[:, None], label.cumsum(1).log(), log_q.logcumsumexp(1))[:, :-1]
            log_px = union_image(log_dark(canvases, log_absent, leak=spec.leak)).log_prob(image)
        there = weights.flip(1).cumsum(1).flip(1)[:, 1:]
        terms = ssvae(
            log_px=log_px,
            kl=(there * q.divergences(self.own_prior())).sum(1),
            kl_y=torch.where(labelled, 0.0, kl_to_uniform(log_q)),
            log_py=labelled * -math.log(self.most + 1),
            log_qy=q_count.log_prob(batch.concept),
            labelled=labelled,
            gamma=spec.gamma,
            alpha=spec.alpha,
            image_weight=spec.image_weight,
        )
        terms.latents["joint"] = z
        return terms

    # ---------------------------------------------------------------- distributions

    def own_prior(self) -> Components:
        """Every kind equally probable, and N(0, I): of all components, whether they are there or not."""
        return self._prior()

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(d,n|x,K), or p(d,n) for a concept alone.

        Raises:
            CapabilityError: for an image alone, or an image with a concept that says no number.
        """
        if image is None and concept is not None:
            return self._prior(len(concept))
        return super().posterior(image, concept)

    def _prior(self, *batch: int) -> Components:
        sizes = {"num_kinds": self.spec.num_kinds, "style_size": self.style_size}
        return Components.prior(*batch, self.most, **sizes, like=next(self.parameters()))
