"""What every objective is: networks, a loss by named parts, and answers to the questions of the evaluation.

Shapes: B batch, C channel, H height, W width, A attribute, D latent dimension, Q query, S sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..backbones.base import Backbone, seeded
from ..data.base import Batch
from ..distributions import standard_normal
from ..randomness import own_randomness, seed_from, seed_generators
from ..specs.components import ObjectiveSpec, Posterior
from ..specs.errors import BenchmarkError
from ..specs.seeds import derive_seed
from ..specs.trial import TrainingSpec

POSTERIOR_NAMES: Mapping[Posterior, str] = {"joint": "q(z|x,y)", "image": "q(z|x)", "concept": "q(z|y)"}
CONSEQUENCES: Mapping[Posterior, str] = {
    "concept": ", so the 3 C's cannot be asked of it",
    "image": ", so it cannot describe",
}


class CapabilityError(BenchmarkError):
    """An objective was asked for something that its mathematics does not give."""


@dataclass
class Terms:
    """A loss and what it is made of.

    Attributes:
        loss: Scalar, to be minimised, in nats an example.
        parts: Float[B] each, in nats, with the sign they have in the formula; of one example each.
        latents: Float[B, D] each: the z that were drawn, by the name of the posterior. With these and the networks'
            distributions anybody can recompute the loss.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    latents: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A part of training with its own loss, trained networks and optimiser.

    Attributes:
        name: Named in seeds, logs and checkpoints.
        steps: Gradient steps.
        trains: Names of the networks whose parameters are trained; the others are frozen and in eval mode.
    """

    name: str
    steps: int
    trains: tuple[str, ...]


class Objective(pl.LightningModule):
    """Base of all objectives.

    A subclass writes :meth:`terms`, and :meth:`stages` where it has more than one. Which networks it has follows from
    its spec: an encoder for each of its ``posteriors``, a decoder for each of its ``likelihoods``.

    Args:
        spec: The objective's parameters.
        backbone: Builds the networks.
        seed: Training seed, for the initial weights.
    """

    spec: ObjectiveSpec

    def __init__(self, spec: ObjectiveSpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__()
        # The stage loop owns the optimiser: one a stage, with a state that is saved and resumed exactly.
        self.automatic_optimization = False
        self.spec, self.schema, self.image_shape = spec, backbone.schema, backbone.image_shape
        self.latent_size = backbone.latent_size
        self.network_names = self.networks()
        self.image_decoder: nn.Module
        self.concept_decoder: nn.Module
        for name in self.network_names:
            setattr(self, name, seeded(partial(self.build_network, name, backbone), seed=seed, name=name))
        self.stage: Stage | None = None
        self.training_spec, self.training_seed = TrainingSpec(), seed
        self.optimizer: torch.optim.Optimizer | None = None
        self._step_seed: int | None = None
        self.step_done = 0
        self.last_terms: Terms | None = None

    def networks(self) -> tuple[str, ...]:
        """The names of the networks: an encoder for each posterior of the spec, and the decoders."""
        return (*(f"{name}_encoder" for name in sorted(self.spec.posteriors)), *self.decoders)

    @property
    def decoders(self) -> tuple[str, ...]:
        """The names of the decoders: one for each likelihood of the spec."""
        return tuple(f"{name}_decoder" for name in ("image", "concept") if name in self.spec.likelihoods)

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """A network of :meth:`networks`: the backbone's of that name, unless an objective has one of its own."""
        network: nn.Module = getattr(backbone, name)()
        return network

    # ---------------------------------------------------------------- training

    def terms(self, batch: Batch) -> Terms:
        """The loss of a batch in the current stage, with one sample of z for each expectation."""
        raise NotImplementedError

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The stages of training, in order; here one, of every network."""
        return [Stage("fit", training.steps, self.network_names)]

    def begin_stage(self, stage: Stage) -> None:
        """Makes exactly the stage's networks trainable, and puts the others into eval mode for good."""
        self.stage, self._step_seed, self.step_done = stage, None, 0
        self.optimizer = None
        for name in self.network_names:
            getattr(self, name).requires_grad_(name in stage.trains)
        self.train(self.training)

    def end_stages(self) -> None:
        """After the last stage: no network is frozen any more, and :meth:`terms` gives all terms again."""
        self.stage = None
        self.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Objective:
        """Training mode for the networks of the current stage only: a frozen one keeps its batch-norm statistics."""
        super().train(mode)
        if self.stage is not None:
            for name in self.network_names:
                getattr(self, name).train(mode and name in self.stage.trains)
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over the networks that the current stage trains."""
        names = self.network_names if self.stage is None else self.stage.trains
        parameters = [parameter for name in names for parameter in getattr(self, name).parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=self.training_spec.learning_rate, fused=True)
        return self.optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One gradient step, seeded by (seed, stage, step), so that it is the same however often training resumed."""
        if self._step_seed is None:
            name = "fit" if self.stage is None else self.stage.name
            self._step_seed = derive_seed("training step", seed=self.training_seed, stage=name) % 2**62
        seed_generators(self._step_seed + self.step_done, self.device)
        terms = self.terms(batch)
        loss = terms.loss
        for name in self.network_names if self.stage is None else self.stage.trains:
            penalty = getattr(getattr(self, name), "penalty", None)
            if penalty is not None and (value := penalty()) is not None:
                loss = loss + value
        assert self.optimizer is not None
        self.optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        self.optimizer.step()
        self.step_done += 1
        self.last_terms = terms

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs ``val/elbo``, the negative loss, for use with a plain Lightning trainer."""
        self.log("val/elbo", -self.terms(batch).loss, batch_size=len(batch))

    # ---------------------------------------------------------------- questions

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), q(z|x) or q(z|y_O), by what is given.

        Args:
            image: Float[B, C, H, W] or None.
            concept: Long[B, A] or None; -1 where unspecified, for q(z|y_O) only.

        Raises:
            CapabilityError: where the objective trains no such network.
        """
        if image is not None and concept is not None:
            result: Distribution = self._network("joint")(image, concept)
        elif image is not None:
            result = self._network("image")(image)
        elif concept is not None:
            if not self.spec.partial_concepts and bool((concept < 0).any()):
                raise CapabilityError(f"{self.spec.name} takes fully specified concepts only")
            result = self._network("concept")(concept)
        else:
            raise ValueError("posterior needs an image, a concept or both")
        return result

    def likelihood(self, z: Tensor, concept: Tensor | None = None) -> tuple[Distribution, Distribution]:
        """(p(x|z), p(y|z)) for z Float[B, D]; ``concept`` is for models whose image decoder is told it."""
        return self.image_likelihood(z, concept), self.concept_likelihood(z)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|z), or p(x|y,z) for models whose image decoder is told the concept."""
        px: Distribution = self.image_decoder(z)
        return px

    def concept_likelihood(self, z: Tensor) -> Distribution:
        """p(y|z).

        Raises:
            CapabilityError: where the objective has no concept decoder.
        """
        if "concept" not in self.spec.likelihoods:
            raise CapabilityError(f"{self.spec.name} has no p(y|z): it models images only, and cannot describe")
        py: Distribution = self.concept_decoder(z)
        return py

    def prior(self, like: Distribution) -> Distribution:
        """p(z) = N(0, I), shaped like a posterior."""
        return standard_normal(like)

    def centre(self, posterior: Distribution) -> Tensor:
        """Float[B, D]: the one z that stands for a posterior, its mean."""
        return posterior.mean

    @property
    def can_imagine(self) -> bool:
        """Whether there is a q(z|y) to ask."""
        return "concept" in self.spec.posteriors

    @property
    def can_describe(self) -> bool:
        """Whether there are a q(z|x) and a p(y|z) to ask."""
        return "image" in self.spec.posteriors and "concept" in self.spec.likelihoods

    @torch.no_grad()
    def imagine(
        self, concept: Tensor, *, num_samples: int = 10, mean: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of a concept: z ~ q(z|y_O), then x ~ p(x|z), or the mean of p(x|z) for display.

        Args:
            concept: Long[A] or Long[Q, A], -1 where unspecified.
            num_samples: S, images a concept.
            mean: Give E[x|z] in place of a sample of x.
            generator: Source of randomness; None: torch's global one.

        Returns:
            Float[S, C, H, W] or Float[Q, S, C, H, W], in [0, 1].

        Raises:
            CapabilityError: where the objective has no q(z|y), or takes full concepts only.
        """
        self.schema.check(concept)
        if num_samples < 1:
            raise ValueError(f"num_samples is at least 1, got {num_samples}")
        queries = concept.reshape(-1, concept.shape[-1]).to(self.device)
        with self._evaluating(), own_randomness(seed_from(generator), self.device):
            px = self.image_likelihood(*self.draw_latents(queries, num_samples))
            images = px.mean if mean else px.sample()
        return images.clamp(0, 1).reshape(*concept.shape[:-1], num_samples, *self.image_shape)

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ q(z|y_O), Float[Q * S, D], and the concept that the image decoder is told of each, Long[Q * S, A]."""
        z = self.posterior(concept=concept).sample(torch.Size([num_samples])).transpose(0, 1)
        return z.reshape(-1, z.shape[-1]), concept.repeat_interleave(num_samples, 0)

    @torch.no_grad()
    def describe(self, image: Tensor) -> Tensor:
        """The most probable concept of an image, at the mean of q(z|x): Float[B, C, H, W] to Long[B, A]."""
        with self._evaluating():
            z = self.centre(self.posterior(image=image.to(self.device)))
            return self.concept_likelihood(z).mode

    @torch.no_grad()
    def reconstruct(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """E[x|z] at the mean of q(z|x), or of q(z|x,y) where a concept is given too; Float[B, C, H, W] in [0, 1]."""
        with self._evaluating():
            given = None if concept is None else concept.to(self.device)
            z = self.centre(self.posterior(image.to(self.device), given))
            return self.image_likelihood(z, given).mean.clamp(0, 1)

    def _network(self, posterior: Posterior) -> nn.Module:
        if posterior not in self.spec.posteriors:
            has = ", ".join(POSTERIOR_NAMES[name] for name in sorted(self.spec.posteriors))
            raise CapabilityError(
                f"{self.spec.name} trains no {POSTERIOR_NAMES[posterior]}; it has {has}"
                + CONSEQUENCES.get(posterior, "")
            )
        network = getattr(self, f"{posterior}_encoder")
        assert isinstance(network, nn.Module)
        return network

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)
