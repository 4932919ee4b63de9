"""What every objective is: networks, a loss with named parts, stages of training, and how a trained one is used.

Shapes: B batch, C channel, H height, W width, A attribute, T word, D latent dimension, Q query, S sample.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from einops import pack, rearrange, repeat, unpack
from torch import Tensor, nn
from torch.distributions import Distribution

from ..backbones.base import Backbone, seeded
from ..base.errors import BenchmarkError
from ..base.randomness import own_randomness, seed_from, seed_generators
from ..base.seeds import derive_seed
from ..concepts.captions import CAPTION_SEED, Captions
from ..data.batch import Batch
from ..data.queries import query_of
from ..data.strengths import is_complete
from ..distributions.latents import standard_normal
from ..distributions.pixels import has_fixed_scale
from ..specs.components import ObjectiveSpec, Posterior
from ..specs.trial import TrainingSpec
from .images import checked_images
from .shown import Shown
from .terms import Terms as Terms
from .terms import TermsError as TermsError
from .terms import checked as checked

POSTERIOR_NAMES: Mapping[Posterior, str] = {"joint": "q(z|x,y)", "image": "q(z|x)", "concept": "q(z|y)"}
CONSEQUENCES: Mapping[Posterior, str] = {
    "concept": ", so the 3 C's cannot be computed",
    "image": ", so it cannot describe images",
}
"""What an objective without this posterior cannot do, as the end of a message."""


class CapabilityError(BenchmarkError):
    """An objective was asked for something that its mathematics does not provide."""


@dataclass(frozen=True)
class Stage:
    """A part of training with its own loss, trained networks and optimiser.

    Attributes:
        name: Used in seeds, logs and checkpoints.
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
            raise ValueError(
                f"stage {self.name!r} needs at least one step and one network to train, got {given}: leave it out"
            )


def planned_stages(objective: Objective, training: TrainingSpec) -> list[Stage]:
    """The stages of an objective with the steps that the budget leaves them.

    Raises:
        BenchmarkError: ``training.budget`` is total, and there are fewer steps than stages.
    """
    stages = objective.stages(training)
    if training.budget == "stage":
        return stages
    if training.steps < len(stages):
        names = ", ".join(stage.name for stage in stages)
        raise BenchmarkError(f"training.steps: {training.steps} in total are fewer than the stages ({names})")
    # Each has one step for certain; the others are shared in proportion, by rounding the ends of the stages.
    shared, total = training.steps - len(stages), sum(stage.steps for stage in stages)
    ends = [round(shared * sum(stage.steps for stage in stages[:place]) / total) for place in range(len(stages) + 1)]
    return [
        replace(stage, steps=1 + end - start) for stage, start, end in zip(stages, ends[:-1], ends[1:], strict=True)
    ]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards every module is in the mode it was in, also after an error.

    Module by module, because a stage of training keeps its frozen networks in eval mode while it trains the others.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def raised_in(error: BaseException, kind: type) -> str | None:
    """The last line of an objective's own code that an exception came through: ``FILE:LINE in FUNCTION``.

    Args:
        error: The exception.
        kind: The objective's class.

    Returns:
        None if the exception never was in the files of the class and of those that it is derived from.
    """
    own = kind.__mro__[: kind.__mro__.index(Objective)] if issubclass(kind, Objective) else (kind,)
    files = {getattr(sys.modules.get(part.__module__), "__file__", None) for part in own}
    if isinstance(error, TermsError):
        return f"{getattr(sys.modules.get(kind.__module__), '__file__', '?')} in terms"
    lines = [line for line in traceback.extract_tb(error.__traceback__) if line.filename in files]
    return f"{lines[-1].filename}:{lines[-1].lineno} in {lines[-1].name}" if lines else None


class Objective(Shown, pl.LightningModule):
    """Base of all objectives: how an objective is trained, and what a trained one can do.

    A subclass lists its networks in :attr:`network_names`, computes its loss in :meth:`terms`, and overrides
    :meth:`stages` if it is trained in more than one. A trained one offers :meth:`imagine`, :meth:`describe` and
    :meth:`reconstruct`, which need no more than the networks and leave the training mode as it was.

    In the text view the networks read and write captions, Long[B, T], wherever they otherwise have concepts; what
    :meth:`imagine` takes and :meth:`describe` returns are still concepts.

    Args:
        spec: The objective's parameters.
        backbone: Builds the networks.
        seed: Training seed, for the initial weights.
    """

    spec: ObjectiveSpec
    image_decoder: nn.Module
    concept_decoder: nn.Module

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "networks" in vars(cls):
            # It would be ignored, and another set of networks trained than its author meant.
            raise TypeError(f"{cls.__name__}.networks() is not called any more: give network_names instead")

    def __init__(self, spec: ObjectiveSpec, backbone: Backbone, *, seed: int = 0) -> None:
        super().__init__()
        self.spec, self.schema, self.image_shape = spec, backbone.schema, backbone.image_shape
        self.backbone_spec = backbone.spec
        self.captions: Captions | None = backbone.captions
        self.latent_size = backbone.latent_size
        for name in self.network_names:
            setattr(self, name, seeded(partial(self.build_network, name, backbone), seed=seed, name=name))
        self.stage: Stage | None = None
        self.training_spec, self.training_seed = TrainingSpec(), seed
        self.optimizer: torch.optim.Optimizer | None = None
        self.stage_began = 0
        """The trainer's global step at which the stage began, under a plain Lightning trainer."""
        self.step_done = 0
        """Optimiser steps done in the stage."""
        self._step_seeds: dict[tuple[int, int], int] = {}
        self._share = (0, 0)

    # ---------------------------------------------------------------- networks

    @property
    def network_names(self) -> tuple[str, ...]:
        """The names of the networks: attributes of the objective, and what its stages train.

        A subclass lists them, as a class attribute or, where they depend on its settings, as a property. Here: an
        encoder for each posterior of the spec, and a decoder for each likelihood.
        """
        encoders = (f"{name}_encoder" for name in sorted(self.spec.posteriors))
        return (*encoders, *(f"{name}_decoder" for name in ("image", "concept") if name in self.spec.likelihoods))

    @property
    def decoders(self) -> tuple[str, ...]:
        """The names of the decoders among the networks."""
        return tuple(name for name in self.network_names if name in ("image_decoder", "concept_decoder"))

    def build_network(self, name: str, backbone: Backbone) -> nn.Module:
        """One of the networks: the backbone's of that name, unless an objective builds its own."""
        network: nn.Module = getattr(backbone, name)()
        return network

    # ---------------------------------------------------------------- training

    def terms(self, batch: Batch) -> Terms:
        """The loss of a batch in the current stage, with one sample of z for each expectation."""
        raise NotImplementedError

    def stages(self, training: TrainingSpec) -> list[Stage]:
        """The stages of training, in order; by default one that trains every network."""
        return [Stage("fit", training.steps, self.network_names)]

    def begin_stage(self, stage: Stage) -> None:
        """Makes exactly the stage's networks trainable, and keeps the others in eval mode until the stage ends."""
        self.stage, self.step_done, self._share = stage, 0, (0, 0)
        self._step_seeds.clear()
        for name in self.network_names:
            getattr(self, name).requires_grad_(name in stage.trains)
        self.train(self.training)

    def end_stages(self) -> None:
        """After the last stage: no network is frozen any more, and :meth:`terms` returns all terms again."""
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
        """Adam over the networks that the current stage trains; outside of stages over all of them."""
        names = self.network_names if self.stage is None else self.stage.trains
        parameters = [parameter for name in names for parameter in getattr(self, name).parameters()]
        trainer = self._trainer
        # A fused Adam undoes the scaling of mixed precision itself, so Lightning could not clip before it.
        clipped = trainer is not None and bool(trainer.gradient_clip_val) and trainer.precision.endswith("-mixed")
        self.optimizer = torch.optim.Adam(parameters, lr=self.training_spec.learning_rate, fused=not clipped)
        return self.optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The loss of one step, seeded by (seed, stage, step), so that it does not depend on where training resumed.

        Returns:
            ``loss``, to be minimised, penalties of the networks' weights included; and under ``terms`` the step's
            terms, which callbacks receive in their ``outputs``.
        """
        self.seed_step()
        terms = checked(self.terms(batch), len(batch))
        if self._trainer is not None and self._trainer.training:
            self._log_terms("train", "loss", terms.loss, terms, size=len(batch))
        return {"loss": self.penalised(terms), "terms": terms}

    def seed_step(self) -> None:
        """Seeds the generators for the next step."""
        if self._share not in self._step_seeds:
            name = "fit" if self.stage is None else self.stage.name
            # Other processes, and other parts of an accumulated batch, have other images and need other noise.
            which = {"process": self._share[0], "part": self._share[1]} if any(self._share) else {}
            seed = derive_seed("training step", seed=self.training_seed, stage=name, **which)
            self._step_seeds[self._share] = seed % 2**62
        seed_generators(self._step_seeds[self._share] + self.step_done, self.device)

    def penalised(self, terms: Terms) -> Tensor:
        """The loss with the penalties of the weights that are trained."""
        loss = terms.loss
        for name in self.network_names if self.stage is None else self.stage.trains:
            penalty = getattr(getattr(self, name), "penalty", None)
            if penalty is not None and (value := penalty()) is not None:
                loss = loss + value
        return loss

    # ---- under a plain Lightning trainer; the project's own loop calls none of these hooks

    def on_fit_start(self) -> None:
        """Every network can be trained, until a stage begins.

        Raises:
            BenchmarkError: if training is semi-supervised: the trainer's batches do not say which steps have labels.
        """
        if self.training_spec.supervision is not None:
            raise BenchmarkError(
                "training.supervision chooses the batches of each step, which a plain Lightning trainer gets from the "
                "data module: train with mmvae-bench, or without supervision"
            )
        if self.training_spec.missing_images is not None:
            raise BenchmarkError(
                "training.missing_images chooses the batches of each step: train with mmvae-bench, or without it"
            )
        self.end_stages()

    def on_train_start(self) -> None:
        """Begins the stage, if there is only one: it lasts as long as the trainer trains.

        Raises:
            BenchmarkError: if there are several, and no callback that has begun the first of them.
        """
        if self.stage is not None:
            return
        stage, *others = stages = planned_stages(self, self.training_spec)
        if others:
            raise BenchmarkError(
                f"{self.spec.name} is trained in {len(stages)} stages ({', '.join(each.name for each in stages)}): "
                "give the trainer callbacks=[mmvae_bench.training.stages.Stages(...)], which runs them"
            )
        steps = self.trainer.estimated_stepping_batches
        self.stage_began = 0
        self.begin_stage(replace(stage, steps=int(steps)) if 0 < steps < float("inf") else stage)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Finds the step that the batch belongs to in Lightning's own count, which its checkpoints hold."""
        trainer = self.trainer
        self.step_done = trainer.global_step - self.stage_began
        self._share = (trainer.global_rank, batch_idx % trainer.accumulate_grad_batches)

    def on_train_end(self) -> None:
        """Ends the stages."""
        self.end_stages()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs ``val/elbo``, the negative loss, and the mean of each part, in nats per image, always with the same
        noise."""
        with own_randomness(derive_seed("validation", partition="val", batch=batch_idx) % 2**62, self.device):
            terms = self.terms(batch)
        self._log_terms("val", "elbo", -terms.loss, terms, size=len(batch))

    def _log_terms(self, prefix: str, name: str, value: Tensor, terms: Terms, *, size: int) -> None:
        values = {f"{prefix}/{name}": value.detach()}
        values |= {f"{prefix}/parts/{part}": each.detach().mean() for part, each in terms.parts.items()}
        self.log_dict(values, batch_size=size, sync_dist=prefix == "val")

    # ---------------------------------------------------------------- distributions

    def log_image(self, z: Tensor, batch: Batch) -> Tensor:
        """log p(x|z) of a batch at z, Float[B, D] to Float[B]: 0 where its images are missing, for there is nothing to
        explain. Then nothing is decoded: it would move the means of the decoder's batch norms."""
        if batch.imageless:
            return z.new_zeros(len(z))
        log_px: Tensor = self.image_likelihood(z, batch.description).log_prob(batch.image)
        return log_px

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), q(z|x) or q(z|y_O), depending on what is given.

        Args:
            image: Float[B, C, H, W] or None.
            concept: Long[B, A] or None; -1 where unspecified, for q(z|y_O) only. In the text view captions, Long[B, T];
                in that of strengths also weights of values, Float[B, V].

        Raises:
            CapabilityError: if the objective has no such network, or needs fully specified concepts.
        """
        if image is not None and concept is not None:
            # Not in training, where concepts are always complete: the check would make every step wait for the GPU.
            if not self.training and not is_complete(concept):
                raise CapabilityError(f"{self.spec.name} has q(z|x,y) for fully specified concepts only")
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
        """(p(x|z), p(y|z)) for z Float[B, D]; ``concept`` is for models whose image decoder is conditioned on it."""
        return self.image_likelihood(z, concept), self.concept_likelihood(z)

    def image_likelihood(self, z: Tensor, concept: Tensor | None = None) -> Distribution:
        """p(x|z), or p(x|y,z) for models whose image decoder is conditioned on the concept."""
        px: Distribution = self.image_decoder(z)
        return px

    def concept_likelihood(self, z: Tensor) -> Distribution:
        """p(y|z).

        Raises:
            CapabilityError: if the objective has no concept decoder.
        """
        if "concept" not in self.spec.likelihoods:
            raise CapabilityError(f"{self.spec.name} has no p(y|z): it models images only and cannot describe them")
        py: Distribution = self.concept_decoder(z)
        return py

    def prior(self, like: Distribution) -> Distribution:
        """p(z) = N(0, I), shaped like a posterior."""
        return standard_normal(like)

    def own_prior(self) -> Distribution | None:
        """p(z), over Float[D], of an objective whose prior is not N(0, I); None: it is."""
        return None

    def sample_prior(self, *size: int, generator: torch.Generator | None = None) -> Tensor:
        """z ~ p(z), Float[*size, D], on the CPU: the same z for every objective with N(0, I), whatever its device."""
        own = self.own_prior()
        if own is None:
            return torch.randn(*size, self.latent_size, generator=generator)
        with own_randomness(seed_from(generator), self.device):
            return own.sample(torch.Size(size)).cpu()

    def aggregate_prior(self) -> Distribution:
        """q(z), fitted to the aggregate of the image posteriors: a distribution over Float[D], in place of p(z).

        Raises:
            CapabilityError: if the objective has no such flow.
        """
        raise CapabilityError(f"{self.spec.name} has no flow fitted to the aggregate posterior that could replace p(z)")

    def centre(self, posterior: Distribution) -> Tensor:
        """Float[B, D]: the one z that represents a posterior: its mean; of a flow, whose own mean has no closed form,
        where it maps the mean of its base."""
        centre: Tensor | None = getattr(posterior, "centre", None)
        return posterior.mean if centre is None else centre

    # ---------------------------------------------------------------- once trained

    @property
    def takes_partial_concepts(self) -> bool:
        """Whether :meth:`imagine` takes concepts with unspecified attributes; in the text view captions decide."""
        return self.spec.partial_concepts if self.captions is None else len(self.captions.levels) > 1

    @property
    def can_imagine(self) -> bool:
        """Whether there is a q(z|y)."""
        return "concept" in self.spec.posteriors

    @property
    def can_describe(self) -> bool:
        """Whether there is q(y|x), or both q(z|x) and p(y|z)."""
        both = "image" in self.spec.posteriors and "concept" in self.spec.likelihoods
        return both or self.spec.has_describer

    @property
    @torch.no_grad()
    def has_fixed_scale(self) -> bool:
        """Whether the scale of p(x|z) is a setting: see :func:`~mmvae_bench.distributions.pixels.has_fixed_scale`."""
        z = torch.zeros(1, self.latent_size, device=self.device)
        concept = torch.zeros(1, len(self.schema), dtype=torch.long, device=self.device)
        if self.captions is not None:
            concept = self.captions.render(concept, index=torch.zeros(1, dtype=torch.long), seed=CAPTION_SEED)
        with evaluating(self):
            return has_fixed_scale(self.image_likelihood(z, concept))

    @torch.no_grad()
    def imagine(
        self,
        concept: Tensor | str | Mapping[str, object],
        *,
        num_samples: int = 10,
        mean: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images of a concept: z ~ q(z|y_O), then x ~ p(x|z), or the mean of p(x|z) for display.

        In the text view a concept is first written as a caption. Where a concept has several captions, such as other
        orders of its words, each image gets its own: z is a sample of the mean of q(z|y) over the concept's captions y.

        Args:
            concept: Long[A] or Long[Q, A], -1 where unspecified; or a text, which in the text view is a caption and
                otherwise a concept as :meth:`Schema.parse` reads it; or a dict of values by attribute, such as
                ``{"digit": 6, "scale": "small"}``. Of an objective that can be told strengths also Float[V] or
                Float[Q, V], see :mod:`mmvae_bench.data.strengths`.
            num_samples: S, images per concept.
            mean: Return E[x|z] instead of a sample of x.
            generator: Source of randomness; None: torch's global one.

        Returns:
            Float[S, C, H, W] or Float[Q, S, C, H, W], in [0, 1].

        Raises:
            CapabilityError: if the objective has no q(z|y), or needs fully specified concepts.
            ConfigError: if no caption can express the concept, or the text cannot be read.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        if isinstance(concept, Mapping):
            concept = self.schema.parse(", ".join(f"{name}={value}" for name, value in concept.items()))
        asked = query_of(concept, self.schema, self.captions, scores=self.spec.strength_obstacle is None)
        queries, leading = pack([asked.to(self.device)], "* word")
        with evaluating(self), own_randomness(seed_from(generator), self.device):
            if self.captions is None or isinstance(concept, str):
                z, given = self.draw_latents(queries, num_samples)
            else:
                each = repeat(queries, "query attribute -> (query sample) attribute", sample=num_samples)
                which = torch.randint(2**31, (len(each),))
                z, given = self.draw_latents(self.captions.render(each, index=which, seed=CAPTION_SEED), 1)
            px = self.image_likelihood(z, given)
            images = px.mean if mean else px.sample()
        images = rearrange(images.clamp(0, 1), "(query sample) c h w -> query sample c h w", sample=num_samples)
        (result,) = unpack(images, leading, "* sample c h w")
        return result

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ q(z|y_O), Float[Q * S, D], and the concept that the image decoder gets with each, Long[Q * S, A].

        In the text view captions take the place of the concepts.
        """
        z = self.posterior(concept=concept).sample(torch.Size([num_samples]))
        given = repeat(concept, "query attribute -> (query sample) attribute", sample=num_samples)
        return rearrange(z, "sample query d -> (query sample) d"), given

    @torch.no_grad()
    def describe(self, image: Tensor) -> Tensor:
        """The most probable concept of an image, at the mean of q(z|x): Float[B, C, H, W] to Long[B, A].

        In the text view: what the caption says that is most probable word by word; -1 where it says nothing.
        """
        with evaluating(self):
            given = checked_images(image, self.image_shape, self.device)
            return self.describe_latents(self.centre(self.posterior(image=given)))

    @torch.no_grad()
    def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
        """The concept decoded from z, the mode of p(y|z) or a sample of it: Float[B, D] to Long[B, A].

        In the text view a caption is written and read back: -1 where it says nothing, or nothing that makes sense. The
        networks run in the mode they are in, and a sample is drawn with torch's global generator.

        Raises:
            CapabilityError: if the objective has no p(y|z).
        """
        py = self.concept_likelihood(z)
        y = py.sample() if sample else py.mode
        return y if self.captions is None else self.captions.parse_leniently(y)

    @torch.no_grad()
    def reconstruct(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """E[x|z] at the mean of q(z|x), or of q(z|x,y) where y is given too (see :meth:`posterior`).

        Float[B, C, H, W] in [0, 1].
        """
        with evaluating(self):
            given = None if concept is None else concept.to(self.device)
            z = self.encode(checked_images(image, self.image_shape, self.device), given)
            return self.image_likelihood(z, given).mean.clamp(0, 1)

    def encode(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """The one z that the encoder infers: the centre of q(z|x), or of q(z|x,y) where y is given too.

        An objective whose encoder says more than one q(z|x) can hold overrides it.

        Raises:
            CapabilityError: if there is no such posterior.
        """
        return self.centre(self.posterior(image, concept))

    def _network(self, posterior: Posterior) -> nn.Module:
        if posterior not in self.spec.posteriors:
            available = ", ".join(POSTERIOR_NAMES[name] for name in sorted(self.spec.posteriors))
            message = f"{self.spec.name} trains no {POSTERIOR_NAMES[posterior]}; it has {available}"
            described_otherwise = posterior == "image" and self.can_describe
            raise CapabilityError(message + ("" if described_otherwise else CONSEQUENCES.get(posterior, "")))
        network = getattr(self, f"{posterior}_encoder")
        assert isinstance(network, nn.Module)
        return network
