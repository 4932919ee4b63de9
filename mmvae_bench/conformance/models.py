"""What is relied on of an objective, on networks of this package; and of a backbone, under TELBO, which has every
network. The images are made in memory, and the networks are small."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..backbones.layers import mixture
from ..base.errors import ConfigError
from ..data.batch import Batch
from ..objectives.base import CapabilityError, Objective
from ..specs.components import BackboneSpec, ObjectiveSpec, View, objectives
from ..specs.trial import TrainingSpec
from ..training.fit import Control, TrainingInterrupted, fit
from .learning import assert_gradients_reach_what_is_trained, losses_on
from .worlds import BandsData, images_at_once, small, world_of

NETWORKS = ("mnist_a_thin", "rgb_thin", "attribute2image_thin")
"""An objective is tested on the first of these that it can be trained on; captions need the second."""
EVERYWHERE = "telbo"
RATES = (3e-3, 1e-4)
"""Step sizes of Adam at which a loss may fall; the second is that of the papers' networks."""


class Model:
    """An objective with networks, and images for them."""

    def __init__(self, objective: ObjectiveSpec, backbone: BackboneSpec, view: View = "attributes") -> None:
        self.objective, self.backbone = objective, backbone
        self.data: BandsData = world_of(objective, backbone.name, view)

    @classmethod
    def of(cls, spec: ObjectiveSpec | BackboneSpec, view: View = "attributes") -> Model:
        """For a part that is to be tested."""
        if isinstance(spec, BackboneSpec):
            return cls(objectives.parse(EVERYWHERE), spec, view)
        reasons = []
        for name in NETWORKS[1:2] if view == "text" else NETWORKS:
            try:
                spec.check(small(name))
                return cls(spec, small(name), view)
            except ConfigError as error:
                reasons.append(f"{name}: {error}")
        raise AssertionError("it can be trained on no networks:\n" + "\n".join(reasons))

    def build(self, seed: int = 0) -> Objective:
        """The untrained objective."""
        data = self.data
        built = self.backbone.build(schema=data.schema, image_shape=data.image_shape, captions=data.captions)
        return self.objective.build(built, seed=seed)

    def batch(self) -> Batch:
        """Images to learn from."""
        return self.data.store.batch(torch.arange(images_at_once(self.data.image_shape)))


def has_a_loss_and_a_part_for_each_image(spec: ObjectiveSpec | BackboneSpec) -> None:
    """The loss is one number, and what it is made of is finite, one number an image; the latents are those of z."""
    model = Model.of(spec)
    batch = model.batch()
    terms = model.build().terms(batch)
    assert terms.loss.ndim == 0, f"the loss has shape {tuple(terms.loss.shape)}: it must be one number, a batch mean"
    assert bool(terms.loss.isfinite()), f"the loss is {terms.loss.item()}"
    assert terms.parts, "Terms.parts is empty: logs and reports show what a loss is made of"
    for name, part in terms.parts.items():
        shape = tuple(part.shape)
        assert shape == (len(batch.image),), f"part {name} has shape {shape}, not one number for each image"
        assert bool(part.isfinite().all()), f"part {name} is not finite"
    for name, z in terms.latents.items():
        assert len(z) == len(batch.image), f"latents {name} have shape {tuple(z.shape)}, not one z for each image"


def sends_gradients_where_it_trains(spec: ObjectiveSpec | BackboneSpec) -> None:
    """To each parameter that a stage trains, and to none that it freezes."""
    model = Model.of(spec)
    assert_gradients_reach_what_is_trained(model.build(), model.batch())


def same_seed_same_loss(spec: ObjectiveSpec | BackboneSpec) -> None:
    """And another seed, other weights."""
    model, losses = Model.of(spec), []
    for seed in (0, 0, 1):
        objective = model.build(seed)
        torch.manual_seed(7)
        losses.append(objective.terms(model.batch()).loss.item())
    assert losses[0] == losses[1], f"seed 0 gives loss {losses[0]} and then {losses[1]}: draw noise by torch"
    assert losses[0] != losses[2], "seeds 0 and 1 give the same loss: initial weights must depend on the seed"


def learns_a_batch(spec: ObjectiveSpec | BackboneSpec) -> None:
    """In each stage the loss of one batch falls, at a large step size or at a small one; by how much depends on its
    formula. Deep networks leave the numbers behind at the large one.
    """
    model, told = Model.of(spec), list[str]()
    for rate in RATES:
        found = losses_on(model.build(), model.batch(), steps=60, rate=rate)
        ends = {stage: (fmean(losses[:5]), fmean(losses[-5:])) for stage, losses in found.items()}
        # A loss that is nan has not fallen, nor one that was infinite.
        stuck = [stage for stage, (first, last) in ends.items() if not first - last > 0.02 * abs(first)]
        if not stuck:
            return
        first, last = ends[stuck[0]]
        number = len(found[stuck[0]])
        told.append(
            f"stage {stuck[0]}: {number} steps of size {rate:g} on one batch take the loss from {first:.4g} to "
            f"{last:.4g}"
        )
    raise AssertionError("; ".join(told))


def answers_as_it_declares(spec: ObjectiveSpec | BackboneSpec) -> None:
    """What its spec says that it can be asked has an answer of the right form, and everything else is refused."""
    model = Model.of(spec)
    objective, batch = model.build().train(), model.batch()
    given = {"joint": (batch.image, batch.concept), "image": (batch.image, None), "concept": (None, batch.concept)}
    for name, (image, concept) in given.items():
        declared = name in objective.spec.posteriors
        z, refused = None, ""
        try:
            z = objective.posterior(image, concept).sample()
        except CapabilityError as error:
            refused = str(error)
        assert declared or refused, f"posteriors does not declare {name}, and it is answered: raise CapabilityError"
        assert not (declared and refused), f"posteriors declares {name}, and it is refused: {refused}"
        assert z is None or len(z) == len(batch.image), f"a sample of posterior {name} has shape {tuple(z.shape)}"
    if objective.can_imagine:
        _imagines(objective)
    if objective.can_describe:
        described = objective.describe(batch.image)
        try:
            model.data.schema.check(described)
        except ValueError as error:
            raise AssertionError(f"describe gives what is no concept: {error}") from None
    if "image" in objective.spec.posteriors and "image" in objective.spec.likelihoods:
        again = objective.reconstruct(batch.image)
        assert again.shape == batch.image.shape, f"reconstruct gives {tuple(again.shape)} of {tuple(batch.image.shape)}"
        assert bool(((again >= 0) & (again <= 1)).all()), "a reconstruction has pixels outside [0, 1]"
    assert objective.training, "a question leaves the model in another mode than it was in"


def _imagines(objective: Objective) -> None:
    concepts = torch.tensor([[1, 2, 0], [1, -1, 0], [-1, -1, -1]])[:, : len(objective.schema)]
    concepts = concepts if objective.spec.partial_concepts else concepts[:1]

    def draw(seed: int) -> torch.Tensor:
        return objective.imagine(concepts, num_samples=4, generator=torch.Generator().manual_seed(seed))

    before = torch.random.get_rng_state()
    images = draw(0)
    wanted = (len(concepts), 4, *objective.image_shape)
    assert tuple(images.shape) == wanted, f"imagine gives {tuple(images.shape)}, not {wanted}"
    assert bool(((images >= 0) & (images <= 1)).all()), "imagined pixels are outside [0, 1]"
    assert torch.equal(images, draw(0)), "imagine gives other images with the same generator"
    assert not torch.equal(images, draw(1)), "imagine gives the same images with another generator"
    assert torch.equal(before, torch.random.get_rng_state()), "imagine with a generator draws from the global one too"


def survives_saving(spec: ObjectiveSpec | BackboneSpec) -> None:
    """A model with the saved weights answers as the one that was saved."""
    model = Model.of(spec)
    mine, other, batch = model.build(), model.build(1), model.batch()
    mine.train()
    mine.terms(batch)  # Moves the statistics of batch norm.
    other.load_state_dict(mine.state_dict())
    losses = []
    for objective in (mine, other):
        torch.manual_seed(2)
        with torch.no_grad():
            losses.append(objective.eval().terms(batch).loss.item())
    assert losses[0] == losses[1], "the loss is another one after load_state_dict: something is not in state_dict()"


def resumes_to_the_bit(spec: ObjectiveSpec | BackboneSpec) -> None:
    """A training that was stopped and resumed ends with the weights of an uninterrupted one."""
    model, weights = Model.of(spec), []
    # The training images are four and a half such batches: of six steps, two are in the second epoch.
    size = images_at_once(model.data.image_shape) // 2
    training = TrainingSpec(steps=6, batch_size=size, learning_rate=1e-3, validations=2)
    with tempfile.TemporaryDirectory() as folder:
        for stops in ((None,), (2, None)):
            for stop in stops:
                objective, asked = model.build(), iter(range(1, 100))

                def due(stop: int | None = stop, asked: Any = asked) -> bool:
                    return bool(next(asked) == stop)

                control = Control(checkpoint=Path(folder) / str(len(stops)), stop=due)
                try:
                    fit(objective, model.data, training, key="k", seed=0, control=control)
                except TrainingInterrupted:
                    assert stop is not None, "training stopped by itself"
            weights.append(objective.state_dict())
    moved = [name for name, value in weights[0].items() if not torch.equal(weights[1][name], value)]
    assert not moved, f"after a stop at step 2 and a resumption these weights are others: {', '.join(moved[:5])}"


def reads_captions(spec: ObjectiveSpec | BackboneSpec) -> None:
    """Where y can be a text: the loss reads ``batch.description``, and there are gradients."""
    views = spec.views if isinstance(spec, BackboneSpec) else spec.views()
    if "text" in views:
        model = Model.of(spec, "text")
        assert_gradients_reach_what_is_trained(model.build(), model.batch())


def reads_strengths(spec: ObjectiveSpec | BackboneSpec) -> None:
    """Where y can be scores: a value of weight 1 in ``batch.description`` is that value, to the bit."""
    views = spec.views if isinstance(spec, BackboneSpec) else spec.views()
    if "strengths" not in views:
        return
    model = Model(objectives.parse("cvae"), spec) if isinstance(spec, BackboneSpec) else Model.of(spec)
    built, batch = model.build().eval(), model.batch()
    weights = mixture(batch.concept, model.data.schema.sizes, dtype=batch.image.dtype)
    losses = []
    for each in (batch, replace(batch, weights=weights)):
        torch.manual_seed(0)
        with torch.no_grad():
            losses.append(float(built.terms(each).loss))
    assert losses[0] == losses[1], f"told values the loss is {losses[0]}, told the same as weights {losses[1]}"


CHECKS: list[Callable[[Any], None]] = [
    has_a_loss_and_a_part_for_each_image,
    sends_gradients_where_it_trains,
    same_seed_same_loss,
    learns_a_batch,
    answers_as_it_declares,
    survives_saving,
    resumes_to_the_bit,
    reads_captions,
    reads_strengths,
]
