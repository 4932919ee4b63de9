"""A first step of an objective on made-up images of the right shapes: a bug shows before any dataset is made."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import torch
from torch import Tensor

from ..base.errors import BenchmarkError
from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.batch import Batch, ImageStore
from ..data.graph import Graph, normalised
from ..data.graphs import GraphStore
from ..objectives.base import Objective, Stage, planned_stages, raised_in
from ..specs.trial import TrainingSpec, TrialSpec
from .fit import fit

NUM_IMAGES = 2
"""Images of a batch and of a partition: batch norm needs two, and where images are missing two of either kind."""
SECONDS = 8.0
"""After so long no further objective is tried."""
OWN = "mmvae_bench."
"""Where the objectives of this package are implemented."""
NUM_LINES = 6
"""How much of a traceback is shown."""


def rehearse_all(
    specs: Sequence[TrialSpec], *, seconds: float = SECONDS, idle: Callable[[str, list[str]], object] | None = None
) -> Iterator[tuple[str, str | None]]:
    """(name, :func:`rehearse`'s answer) for each objective, each on the smallest images that it is to be trained on.

    Those of other packages come first, since there may be no time for all of them.

    Args:
        specs: Trials.
        seconds: When no further objective is begun.
        idle: As of :func:`rehearse`, with the objective's name first.
    """
    smallest: dict[str, TrialSpec] = {}
    for spec in sorted(specs, key=lambda spec: prod(spec.dataset.image_shape())):
        smallest.setdefault(spec.objective.name, spec)
    end = time.monotonic() + seconds
    for name, spec in sorted(smallest.items(), key=lambda item: item[1].objective.implementation.startswith(OWN)):
        if time.monotonic() > end:
            return
        yield name, rehearse(spec) if idle is None else rehearse(spec, idle=partial(idle, name))


def rehearse(spec: TrialSpec, *, idle: Callable[[list[str]], object] = lambda names: None) -> str | None:
    """Makes one step of every stage of a trial, or two, without and with labels, and validates, on the CPU.

    Networks and objective are those of the trial; the images are noise and the concepts are random.

    Args:
        spec: The trial.
        idle: Called with the networks that some stage trains and that got no gradient, if all steps could be made and
            there are any: the loss does not depend on them.

    Returns:
        None if that works; else what went wrong: the message, or the last lines of the traceback, and the objective's
        own line if it is not among them.
    """
    training, num_steps = (
        spec.training.model_copy(
            # A budget for all stages together would give each as many steps as it gives them in the trial.
            update={
                "batch_size": NUM_IMAGES,
                "validations": 1,
                "precision": "float32",
                "compile": False,
                "budget": "stage",
            }
        ),
        1,
    )
    if (supervision := training.supervision) is not None:
        # Two steps: the first without labels, the second with them.
        all_labelled = {"labels_per_class": None, "fraction": 1.0, "rate": 0.5}
        few = supervision.model_copy(update=all_labelled)
        training, num_steps = training.model_copy(update={"supervision": few}), 2
    if (missing := training.missing_images) is not None:
        half = missing.model_copy(update={"fraction": 0.5})
        training, num_steps = training.model_copy(update={"missing_images": half}), 2
    kind: type | None = None
    try:
        objective = spec.build()
        kind = type(objective)
        planned_stages(objective, spec.training)  # Raises if there are fewer steps than stages.
        stages = objective.stages

        def first_steps(training: TrainingSpec) -> list[Stage]:
            return [replace(stage, steps=num_steps) for stage in stages(training)]

        objective.stages = first_steps  # type: ignore[method-assign]
        reached = _reached(objective)
        fit(objective, MadeUp(spec), training, key=spec.key, seed=spec.seed)
        trained = {name for stage in stages(training) for name in stage.trains}
        if waiting := [name for name in objective.network_names if name in trained - reached]:
            idle(waiting)
    except BenchmarkError as error:
        return str(error)
    except Exception as error:
        return told(error, kind)
    return None


def told(error: Exception, kind: type | None) -> str:
    """The last lines of a traceback, and the own line of the class that the error came through."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    lines = [line for line in lines[-NUM_LINES:] if line.strip(" ^~")]
    # Of a deep traceback the last lines are a library's: the objective's own is named too.
    where = None if kind is None else raised_in(error, kind)
    if where is not None and not any(f'"{where.split(":")[0]}"' in line for line in lines):
        lines.insert(0, f"at {where}")
    return "\n".join(lines)


def _reached(objective: Objective) -> set[str]:
    """A set to which each network's name is added once a gradient that is not zero has come to one of its weights."""
    reached: set[str] = set()
    for name in objective.network_names:

        def note(parameter: Tensor, name: str = name) -> None:
            if name not in reached and parameter.grad is not None and bool(parameter.grad.any()):
                reached.add(name)

        parameters = list(getattr(objective, name).parameters())
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(note)
        if not parameters:
            reached.add(name)
    return reached


class MadeUp(ConceptDataModule):
    """Noise with random concepts, in the form of a trial's dataset.

    Args:
        spec: The trial.
        number: Images, all of which are in every partition; None: as many as a step needs.
    """

    def __init__(self, spec: TrialSpec, number: int | None = None) -> None:
        super().__init__(spec.dataset)
        generator = torch.Generator().manual_seed(derive_seed("rehearsal"))
        levels = 1 if self.image_shape[0] == 1 else 255
        if number is None:
            number = NUM_IMAGES if spec.training.missing_images is None else 2 * NUM_IMAGES
        images = (torch.rand(number, *self.image_shape, generator=generator) * levels).round() / levels
        columns = [torch.randint(size, (number,), generator=generator) for size in self.schema.sizes]
        masks = torch.rand(number, spec.dataset.masks, *self.image_shape[1:], generator=generator) < 0.5
        concepts = torch.stack(columns, 1)
        strengths = (
            (2 * concepts - 1) * torch.rand(concepts.shape, generator=generator) if spec.dataset.strengths else None
        )
        self._store = Images(images, concepts, masks if spec.dataset.masks else None, strengths)
        if spec.backbone.domain == "graph":
            link = torch.tensor([[0], [1]])
            features = images.flatten(1).to_sparse().coalesce()
            self._store = GraphStore(Graph(features, normalised(link, NUM_IMAGES), link), columns[0])

    @property
    def fingerprint(self) -> str:
        """Of no dataset."""
        return "made up"

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """All of them, in every partition."""
        return torch.arange(len(self.store))

    def greys(self, batch: Batch) -> Batch:
        """Themselves: noise was drawn from no grey."""
        return batch


class Images:
    """Images in memory, as a store."""

    def __init__(
        self, images: Tensor, concepts: Tensor, masks: Tensor | None = None, strengths: Tensor | None = None
    ) -> None:
        self.images, self.concepts, self.masks, self.strengths = images, concepts, masks, strengths

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor) -> Batch:
        """The images of some rows."""
        masks, strengths = (None if part is None else part[rows] for part in (self.masks, self.strengths))
        return Batch(self.images[rows], self.concepts[rows], rows, mask=masks, strength=strengths)

    def to(self, device: torch.device | str) -> ImageStore:
        """The same on a device."""
        masks, strengths = (None if part is None else part.to(device) for part in (self.masks, self.strengths))
        return Images(self.images.to(device), self.concepts.to(device), masks, strengths)
