"""The questions that the evaluation asks of a trained objective, and how most objectives answer them.

Shapes: B batch, C channel, H height, W width, A attribute, T word, D latent dimension, Q query, S sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..base.errors import BenchmarkError, ConfigError
from ..base.randomness import own_randomness, seed_from
from ..concepts import Schema
from ..concepts.captions import CAPTION_SEED, Captions
from ..distributions.latents import standard_normal
from ..specs.components import ObjectiveSpec, Posterior

POSTERIOR_NAMES: Mapping[Posterior, str] = {"joint": "q(z|x,y)", "image": "q(z|x)", "concept": "q(z|y)"}
CONSEQUENCES: Mapping[Posterior, str] = {
    "concept": ", so the 3 C's cannot be asked of it",
    "image": ", so it cannot describe",
}


class CapabilityError(BenchmarkError):
    """An objective was asked for something that its mathematics does not give."""


class Questions(pl.LightningModule):
    """An objective's distributions, and its answers: ``imagine``, ``describe`` and ``reconstruct``.

    They need no more than the networks that the spec names, and leave the mode of training as it was. In the text view
    the networks read and write captions, Long[B, T], wherever they have concepts otherwise; the questions are still
    asked and answered in concepts.
    """

    spec: ObjectiveSpec
    schema: Schema
    captions: Captions | None
    image_shape: tuple[int, int, int]
    image_decoder: nn.Module
    concept_decoder: nn.Module

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        """q(z|x,y), q(z|x) or q(z|y_O), by what is given.

        Args:
            image: Float[B, C, H, W] or None.
            concept: Long[B, A] or None; -1 where unspecified, for q(z|y_O) only. In the text view captions, Long[B, T].

        Raises:
            CapabilityError: where the objective trains no such network, or takes full concepts only.
        """
        if image is not None and concept is not None:
            # Not in training, whose concepts are whole: looking at them would make every step wait for a GPU.
            if not self.training and bool((concept < 0).any()):
                raise CapabilityError(f"{self.spec.name} has q(z|x,y) of fully specified concepts only")
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

    def aggregate_prior(self) -> Distribution:
        """q(z), fitted to the aggregate of the image posteriors: a distribution over Float[D], in place of p(z).

        Raises:
            CapabilityError: where the objective fits none.
        """
        raise CapabilityError(f"{self.spec.name} fits no flow to the aggregate posterior, to put in place of p(z)")

    def prior(self, like: Distribution) -> Distribution:
        """p(z) = N(0, I), shaped like a posterior."""
        return standard_normal(like)

    def centre(self, posterior: Distribution) -> Tensor:
        """Float[B, D]: the one z that stands for a posterior, its mean."""
        return posterior.mean

    @property
    def takes_partial_concepts(self) -> bool:
        """Whether :meth:`imagine` takes concepts with unspecified attributes; in the text view captions decide."""
        return self.spec.partial_concepts if self.captions is None else len(self.captions.levels) > 1

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
        self,
        concept: Tensor | str,
        *,
        num_samples: int = 10,
        mean: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images of a concept: z ~ q(z|y_O), then x ~ p(x|z), or the mean of p(x|z) for display.

        In the text view a concept is said in a caption first. What captions leave to chance, such as an order of words,
        is drawn anew for each image: z is a sample of the mean of q(z|y) over the captions y of the concept.

        Args:
            concept: Long[A] or Long[Q, A], -1 where unspecified; or a text, which is a caption in the text view and
                else a concept as :meth:`Schema.parse` reads it.
            num_samples: S, images a concept.
            mean: Give E[x|z] in place of a sample of x.
            generator: Source of randomness; None: torch's global one.

        Returns:
            Float[S, C, H, W] or Float[Q, S, C, H, W], in [0, 1].

        Raises:
            CapabilityError: where the objective has no q(z|y), or takes full concepts only.
            ConfigError: where no caption says all of the concept, or the text cannot be read.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples is at least 1, got {num_samples}")
        asked, shape, repeats = self._asked(concept, num_samples)
        with self._evaluating(), own_randomness(seed_from(generator), self.device):
            told = asked if self.captions is None or isinstance(concept, str) else self._said(self.captions, asked)
            px = self.image_likelihood(*self.draw_latents(told, repeats))
            images = px.mean if mean else px.sample()
        return images.clamp(0, 1).reshape(*shape, *self.image_shape)

    def draw_latents(self, concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """z ~ q(z|y_O), Float[Q * S, D], and the concept that the image decoder is told of each, Long[Q * S, A].

        In the text view captions take the place of the concepts.
        """
        z = self.posterior(concept=concept).sample(torch.Size([num_samples])).transpose(0, 1)
        return z.reshape(-1, z.shape[-1]), concept.repeat_interleave(num_samples, 0)

    @torch.no_grad()
    def describe(self, image: Tensor) -> Tensor:
        """The most probable concept of an image, at the mean of q(z|x): Float[B, C, H, W] to Long[B, A].

        In the text view what the caption says that is the most probable one word by word; -1 where it says nothing.
        """
        with self._evaluating():
            z = self.centre(self.posterior(image=image.to(self.device)))
            return self.describe_latents(z)

    @torch.no_grad()
    def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
        """The concept read off p(y|z), its mode or a sample of it: Float[B, D] to Long[B, A].

        In the text view a caption is written and read: -1 where it says nothing, or nothing that makes sense. The
        networks run in the mode they are in, and a sample is drawn with torch's global generator.

        Raises:
            CapabilityError: where the objective has no p(y|z).
        """
        py = self.concept_likelihood(z)
        y = py.sample() if sample else py.mode
        return y if self.captions is None else self.captions.parse_leniently(y)

    @torch.no_grad()
    def reconstruct(self, image: Tensor, concept: Tensor | None = None) -> Tensor:
        """E[x|z] at the mean of q(z|x), or of q(z|x,y) where y is given too (see :meth:`posterior`).

        Float[B, C, H, W] in [0, 1].
        """
        with self._evaluating():
            given = None if concept is None else concept.to(self.device)
            z = self.centre(self.posterior(image.to(self.device), given))
            return self.image_likelihood(z, given).mean.clamp(0, 1)

    def _asked(self, concept: Tensor | str, num_samples: int) -> tuple[Tensor, tuple[int, ...], int]:
        """What :meth:`imagine` is asked, the shape of its answer but for that of an image, and how many z each needs.

        Concepts, Long[Q, A], or in the text view one for each image, Long[Q * S, A], each said anew; or a caption,
        Long[1, T].
        """
        if isinstance(concept, str) and self.captions is not None:
            return self._caption(self.captions, concept), (num_samples,), num_samples
        wanted = self.schema.parse(concept) if isinstance(concept, str) else concept
        self.schema.check(wanted)
        queries, shape = wanted.reshape(-1, len(self.schema)).to(self.device), (*wanted.shape[:-1], num_samples)
        if self.captions is None:
            return queries, shape, num_samples
        self.captions.require_sayable(queries)
        return queries.repeat_interleave(num_samples, 0), shape, 1

    def _caption(self, captions: Captions, text: str) -> Tensor:
        """Long[1, T]: a caption of some concept."""
        tokens = captions.tokens(text)[None]
        try:
            captions.require_sayable(captions.parse(tokens))
        except ValueError as error:
            raise ConfigError(str(error), f"caption {text!r}") from None
        return tokens.to(self.device)

    def _said(self, captions: Captions, concepts: Tensor) -> Tensor:
        """A caption of each concept, Long[B, A] to Long[B, T]: which one, torch's generator says."""
        return captions.render(concepts, index=torch.randint(2**31, (len(concepts),)), seed=CAPTION_SEED)

    def _network(self, posterior: Posterior) -> nn.Module:
        if posterior not in self.spec.posteriors:
            has = ", ".join(POSTERIOR_NAMES[name] for name in sorted(self.spec.posteriors))
            message = f"{self.spec.name} trains no {POSTERIOR_NAMES[posterior]}; it has {has}"
            raise CapabilityError(message + CONSEQUENCES.get(posterior, ""))
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
