"""MEME: the mutually supervised multimodal VAE (Joy et al. 2022).

Shapes: B batch, K sample, N pseudo-input, D latent dimension, C channel, H height, W width.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, kl_divergence
from torch.func import functional_call

from ..backbones.base import Backbone
from ..data.base import place
from ..data.batch import Batch
from ..distributions.latents import diagonal_normal, log_mean_exp
from ..specs.built_in.families.few_labels import MEMESpec
from ..specs.trial import TrainingSpec
from .base import Objective, Stage, Terms

MODALITIES = ("image", "concept")
_PAIRS = 2**19
"""Bounds the memory: so many pairs of a z and a pseudo-input are compared at once."""


def supervised(
    *,
    log_ps: Tensor,
    log_ratio: Tensor,
    log_qt: Tensor,
    source_weight: float = 1.0,
    target_weight: float = 1.0,
    alpha: float = 1.0,
    detach_weights: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """``E_q(z|s)[w (a log p(s|z) + log p(z|t) - log q(z|s) - log q(t|z))] + alpha b log q(t|s)`` of each pair, with
    ``w = q(t|z) / q(t|s)`` and ``q(t|s) = E_q(z|s)[q(t|z)]``.

    Joy et al. (2022), the objective of a pair (s, t), without the constant log p(t). Since ``w q(z|s)`` is a posterior
    q(z|s,t), it is the ELBO of log p(s|t), p(z|t) being the prior: a lower bound with a = b = alpha = 1. So it is, in
    expectation, with the mean of K samples in the place of q(t|s), whatever K: z is then one of them, drawn by the
    weights w (the bound of sampling-importance-resampling), below the importance-weighted bound of K samples.

    Args:
        log_ps: log p(s|z), Float[n, B], of the first n of K samples z ~ q(z|s).
        log_ratio: log p(z|t) - log q(z|s), Float[n, B] at the same z; or Float[1, B], its mean over q(z|s).
        log_qt: log q(t|z), Float[K, B].
        source_weight: a.
        target_weight: b.
        alpha: Weight of log q(t|s) beside b.
        detach_weights: Whether w is a constant to the gradient.

    Returns:
        Float[B], to be maximised, and its parts, Float[B] each: ``log_ps`` and ``log_ratio`` are means under w, the
        second of ``log p(z|t) - log q(z|s,t)``.
    """
    log_qts = log_mean_exp(log_qt)
    # Not log_qt - log_qts: of thousands of nats, as those of images are, that has an error of 1e-4 in single precision.
    log_weights = log_qt.log_softmax(0)[: len(log_ps)] + math.log(len(log_qt))
    weights = log_weights.detach().exp() if detach_weights else log_weights.exp()
    reconstruction = (weights * log_ps).mean(0)
    divergence = (weights * (log_ratio - log_weights)).mean(0)
    # From -log q(t|z) = -log w - log q(t|s): so nearly all of the latter cancels before it is multiplied.
    rest = (alpha * target_weight - weights.mean(0)) * log_qts
    parts = {"log_ps": reconstruction, "log_ratio": divergence, "log_qt": log_qts}
    return source_weight * reconstruction + divergence + rest, parts


def unsupervised(*, log_ps: Tensor, log_ratio: Tensor, source_weight: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
    """``E_q(z|s)[a log p(s|z) + log p(z) - log q(z|s)]`` of each s without its t.

    Joy et al. (2022), with ``p(z) = (1/N) sum_i p(z|u_i)`` and pseudo-inputs u_i of t.

    Args:
        log_ps: log p(s|z), Float[B], z ~ q(z|s).
        log_ratio: log p(z) - log q(z|s), Float[B].
        source_weight: a.

    Returns:
        Float[B], to be maximised, and its parts.
    """
    return source_weight * log_ps + log_ratio, {"log_ps": log_ps, "log_ratio": log_ratio}


def _of_first_process(values: Tensor) -> Tensor:
    rank, number = place()
    if number == 1:
        return values
    size = torch.tensor(len(values), device=values.device)
    torch.distributed.broadcast(size, src=0)
    # Another process may have seen fewer, or none with a label.
    found = values.contiguous() if rank == 0 else values.new_empty(int(size), *values.shape[1:])
    torch.distributed.broadcast(found, src=0)
    return found


class PseudoInputs(nn.Module):
    """N inputs of an encoder, which start as the first training examples that are seen; images are then learnt.

    They, and how many there are so far, are saved and restored with the weights.

    Args:
        values: Of the form of the inputs, Float[N, ...] if they can be learnt, or Long[N, ...].
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values: Tensor
        self.num_seen: Tensor
        if values.is_floating_point():
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.long))
        self.full = False
        """Known to be; saves a look at ``num_seen``, for which a step would have to wait for the GPU."""
        # Whatever is loaded may hold fewer.
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
            lambda module, keys: setattr(module, "full", False)
        )

    @torch.no_grad()
    def remember(self, values: Tensor) -> None:
        """Keeps the first of some inputs, as long as there are fewer than N; none may be given. Where several processes
        train together, all of them keep those of the first process, and all must call this."""
        if self.full:
            return
        values = _of_first_process(values)
        if not len(values):
            return
        start = int(self.num_seen)
        new = values[: len(self.values) - start]
        self.values[start : start + len(new)] = new
        self.num_seen += len(new)
        self.full = start + len(new) == len(self.values)

    def forward(self) -> Tensor:
        """Those that there are."""
        return self.values if self.full else self.values[: int(self.num_seen)]


class _Mixture(MixtureSameFamily):
    """Of many components: the log density of a few z at a time."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Float[..., D] to Float[...]."""
        num = self.mixture_distribution.logits.shape[-1]
        rows = value.reshape(-1, value.shape[-1]).split(max(1, _PAIRS // num))
        found: list[Tensor] = [MixtureSameFamily.log_prob(self, each) for each in rows]
        return torch.cat(found).reshape(value.shape[:-1])


class MEME(Objective):
    """Each modality is the other's label: p(z|y) is q(z|y), the classifier q(y|z) is p(y|z), and the same the other way
    round; the loss of a pair is the mean of both directions.

    There is no q(z|x,y) to ask for, and its p(z) is not N(0, I): it is the mean of the q(z|u) of pseudo-inputs u.
    Concepts are the first N that training shows, a sample of p(y), for they cannot be learnt by gradients; images start
    so and are learnt, as in the paper, where training has examples without one.

    In the direction of y to x, w compares likelihoods of a whole image, so that nearly always one of the K samples has
    all the weight: z is then the sample that explains the image best.

    The paper's code differs from its formula: w is a constant to the gradient (``weights``), of one sample
    (``scored``), log q(z|s) - log p(z|t) is an analytic divergence (``divergence``), log q(t|s) counts ten times
    (``alpha``), and both directions are added, not averaged.
    """

    spec: MEMESpec
    image_encoder: nn.Module
    concept_encoder: nn.Module
    network_names = ("image_encoder", "concept_encoder", "image_decoder", "concept_decoder", "pseudo_images")
    pseudo_images: PseudoInputs

    def __init__(self, spec: MEMESpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__(spec, backbone, seed=seed)
        width = len(self.schema) if self.captions is None else self.captions.max_words
        self.memory = PseudoInputs(torch.zeros(spec.num_pseudo_inputs, width, dtype=torch.long))

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """The backbone's network, or the pseudo-inputs that are images."""
        if name == "pseudo_images":
            return PseudoInputs(torch.zeros(self.spec.num_pseudo_inputs, *backbone.image_shape))
        return super().build_network(name, backbone)

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """One stage; only the loss of an example without an image depends on pseudo-images."""
        trained = self.network_names if training.missing_images is not None else self.network_names[:-1]
        return [Stage("fit", training.steps, trained)]

    def terms(self, batch: Batch) -> Terms:
        """Pairs in both directions, or the bound of the modality that there is."""
        if self.training:
            self._remember(batch)
        if batch.imageless:
            return self._terms(*self._alone("concept", batch))
        if not batch.lacks_labels:
            return self._terms(*self._pairs(batch))
        told = (batch.description >= 0).any(1)
        if not told.any():
            return self._terms(*self._alone("image", batch))
        bound, parts, latents = self._pairs(batch)
        if not told.all():
            other, without, drawn = self._alone("image", batch)
            bound = torch.where(told, bound, other)
            parts = {name: torch.where(told, part, without.get(name, 0.0)) for name, part in parts.items()}
            latents["image/0"] = torch.where(told[:, None], latents["image/0"], drawn["image/0"])
        return self._terms(bound, parts, latents)

    def own_prior(self) -> Distribution:
        """The mean of q(z|u) over pseudo-concepts u; N(0, I) before any concept has been seen."""
        return self._mixture(self.concept_encoder, self.memory())

    # ---------------------------------------------------------------- parts of the loss

    def _remember(self, batch: Batch) -> None:
        # A network that a stage does not train is in eval mode.
        if self.pseudo_images.training:
            self.pseudo_images.remember(batch.image[:0] if batch.imageless else batch.image)
        self.memory.remember(batch.description[:0] if batch.lacks_labels else batch.description)

    def _pairs(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The mean of both directions, Float[B], with its parts and the z that were drawn."""
        spec = self.spec
        q = {"image": self.posterior(image=batch.image), "concept": self.posterior(concept=batch.description)}
        weight = {"image": spec.image_weight, "concept": spec.lambda_}
        bounds: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        latents: dict[str, Tensor] = {}
        for source, target in (MODALITIES, MODALITIES[::-1]):
            z = q[source].rsample(torch.Size([spec.num_samples]))
            scored = z if spec.scored == "all" else z[:1]
            log_ratio = q[target].log_prob(scored) - q[source].log_prob(scored)
            if spec.divergence == "analytic":
                log_ratio = -kl_divergence(q[source], q[target])[None]
            bound, found = supervised(
                log_ps=self._log_likelihood(source, scored, batch),
                log_ratio=log_ratio,
                log_qt=self._log_likelihood(target, z, batch),
                source_weight=weight[source],
                target_weight=weight[target],
                alpha=spec.alpha,
                detach_weights=spec.weights == "detached",
            )
            bounds.append(bound)
            parts |= self._named(source, found)
            latents |= {f"{source}/{k}": each for k, each in enumerate(z)}
        return (bounds[0] + bounds[1]) / 2, parts, latents

    def _alone(self, source: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The bound of one modality without the other, Float[B], with its parts and its z."""
        if source == "image":
            q, prior, weight = self.posterior(image=batch.image), self.own_prior(), self.spec.image_weight
        else:
            q, weight = self.posterior(concept=batch.description), self.spec.lambda_
            prior = self._mixture(self.image_encoder, self.pseudo_images())
        z = q.rsample()
        bound, found = unsupervised(
            log_ps=self._log_likelihood(source, z[None], batch)[0],
            log_ratio=prior.log_prob(z) - q.log_prob(z),
            source_weight=weight,
        )
        return bound, self._named(source, found), {f"{source}/0": z}

    def _mixture(self, encoder: nn.Module, inputs: Tensor) -> Distribution:
        """The mean of q(z|u) over inputs u: a distribution over Float[D]."""
        if not len(inputs):
            zeros = torch.zeros(self.latent_size, device=inputs.device)
            return diagonal_normal(zeros, zeros)
        # With copies of the buffers: a batch norm's are those of the data.
        each = functional_call(encoder, {name: buffer.clone() for name, buffer in encoder.named_buffers()}, (inputs,))
        return _Mixture(Categorical(logits=each.mean.new_zeros(len(inputs))), each)

    def _log_likelihood(self, modality: str, z: Tensor, batch: Batch) -> Tensor:
        """log p(x|z) or log p(y|z), Float[K, B], of z Float[K, B, D]."""
        value = batch.image if modality == "image" else batch.description
        each = rearrange(z, "k b d -> (k b) d")
        p = self.image_likelihood(each) if modality == "image" else self.concept_likelihood(each)
        return rearrange(p.log_prob(repeat(value, "b ... -> (k b) ...", k=len(z))), "(k b) -> k b", k=len(z))

    def _named(self, source: str, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        letters = {"image": ("x", "y"), "concept": ("y", "x")}[source]
        names = dict(zip(("log_ps", "log_qt"), (f"log_p{letters[0]}", f"log_q{letters[1]}"), strict=True))
        return {f"{source}/{names.get(name, name)}": part for name, part in parts.items()}

    def _terms(self, bound: Tensor, parts: dict[str, Tensor], latents: dict[str, Tensor]) -> Terms:
        return Terms(-bound.mean(), parts, latents)
