"""What every objective is: networks, a loss by named parts, and the stages in which it is trained.

Shapes: B batch, D latent dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone, seeded
from ..base.hashing import derive_seed
from ..base.randomness import seed_generators
from ..data.batch import Batch
from ..specs.components import ObjectiveSpec
from ..specs.trial import TrainingSpec
from .questions import CapabilityError, Questions

__all__ = ["CapabilityError", "Objective", "Stage", "Terms"]


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

    Raises:
        ValueError: for a stage without steps, or one that trains nothing.
    """

    name: str
    steps: int
    trains: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.trains:
            given = f"{self.steps} steps of {', '.join(self.trains) or 'no network'}"
            raise ValueError(f"stage {self.name!r} needs a step and a network to train, not {given}: leave it out")


class Objective(Questions):
    """Base of all objectives: what it answers is in :class:`Questions`, how it is trained stands here.

    A subclass writes :meth:`terms`, and :meth:`stages` where it has more than one. Which networks it has follows from
    its spec: an encoder for each of its ``posteriors``, a decoder for each of its ``likelihoods``.

    Args:
        spec: The objective's parameters.
        backbone: Builds the networks.
        seed: Training seed, for the initial weights.
    """

    def __init__(self, spec: ObjectiveSpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__()
        # The stage loop owns the optimiser: one a stage, with a state that is saved and resumed exactly.
        self.automatic_optimization = False
        self.spec, self.schema, self.image_shape = spec, backbone.schema, backbone.image_shape
        self.captions = backbone.captions
        self.latent_size = backbone.latent_size
        self.network_names = self.networks()
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
