"""Few labels: which images have them, and the batches of steps with and without.

Shapes: n training image, A attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..base.errors import ConfigError, Problem
from ..base.seeds import derive_seed
from ..concepts import UNSPECIFIED, Schema
from ..specs.components import BackboneSpec
from ..specs.supervision import WHERE, SupervisionSpec, num_supervised
from .base import ConceptDataModule, ResidentLoader
from .batch import Batch


def hidden_positions(supervision: SupervisionSpec, schema: Schema) -> tuple[int, ...]:
    """Positions of the attributes that only labelled images have values of."""
    names = schema.names if supervision.attributes is None else supervision.attributes
    return tuple(position for position, name in enumerate(schema.names) if name in names)


def labelled_rows(data: ConceptDataModule, supervision: SupervisionSpec, *, training_seed: int) -> Tensor:
    """The training images that have labels, in the order of the dataset: a function of the split and of the seeds.

    With ``labels_per_class`` exactly as many of each class: of each combination of values of the supervised attributes
    that some training image has.

    Args:
        data: After ``setup()``.
        supervision: How many.
        training_seed: Read with ``supervision.by_seed`` alone.

    Returns:
        Long[labelled], rows of the dataset, on its device.

    Raises:
        ConfigError: if a class has fewer images, naming it.
    """
    rows = data.rows("train")
    of_trial = {"training_seed": training_seed} if supervision.by_seed else {}
    generator = torch.Generator().manual_seed(derive_seed("labelled images", seed=supervision.seed, **of_trial))
    order = torch.randperm(len(rows), generator=generator)
    if supervision.fraction is not None:
        chosen = order[: max(1, round(supervision.fraction * len(rows)))]
    else:
        assert supervision.labels_per_class is not None
        chosen = _first_of_each_class(data, supervision, order, supervision.labels_per_class)
    return rows[chosen.sort().values.to(rows.device)]


def _first_of_each_class(data: ConceptDataModule, supervision: SupervisionSpec, order: Tensor, wanted: int) -> Tensor:
    """Of each class the first images in an order: positions among the training images."""
    positions = list(hidden_positions(supervision, data.schema))
    labels = data.concepts("train")[:, positions].cpu()[order]
    classes, which, counts = labels.unique(dim=0, return_inverse=True, return_counts=True)
    if int(counts.min()) < wanted:
        concept = torch.full((len(data.schema),), UNSPECIFIED)
        concept[positions] = classes[int(counts.argmin())]
        raise ConfigError(
            [
                Problem(
                    f"{wanted:,} labels for each of {len(classes):,} classes, but "
                    f"{data.schema.format(concept.tolist())} has only {int(counts.min()):,} training images: ask for "
                    f"{int(counts.min()):,}, for fewer attributes, or for a fraction",
                    (*WHERE, "labels_per_class"),
                    str(wanted),
                )
            ]
        )
    grouped = which.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    return order[torch.cat([grouped[start : start + wanted] for start in starts.tolist()])]


def check_enough(number: int, backbone: BackboneSpec, *, what: str, where: tuple[str, ...]) -> None:
    """Raises ConfigError if so few images are fewer than the networks take in a step.

    Args:
        number: How many there are.
        backbone: Of the networks.
        what: What they are, such as ``has labels``.
        where: The setting that made them so few.
    """
    if number < backbone.least_batch:
        message = (
            f"only {number} of the training examples {what}, but backbone {backbone.name} normalises over the batch, "
        )
        message += f"so it needs at least {backbone.least_batch} per step: ask for more, or choose another backbone"
        raise ConfigError([Problem(message, where)])


def check_labelled(rows: Tensor, backbone: BackboneSpec, supervision: SupervisionSpec) -> None:
    """Raises ConfigError if there are fewer labelled images than the networks take in a step."""
    key = "fraction" if supervision.fraction is not None else "labels_per_class"
    check_enough(len(rows), backbone, what="has labels", where=(*WHERE, key))


def without_labels(batch: Batch, positions: Sequence[int]) -> Batch:
    """The batch with the values of some attributes unspecified."""
    index = torch.tensor(list(positions), device=batch.concept.device)
    concept = batch.concept.index_fill(1, index, UNSPECIFIED)
    # Where some attributes stay known, scores and factors do not: they may tell the hidden ones.
    return replace(batch, concept=concept, unlabelled=True, strength=None, weights=None, factors=None)


def interleaved(
    supervised: Iterable[Batch], others: Iterable[Batch], *, rate: float, start: int, stop: int
) -> Iterator[Batch]:
    """The batches of steps ``start`` to ``stop``: of supervised steps from the first, of the others from the second."""
    one, other = iter(supervised), iter(others)
    for step in range(start, stop):
        yield next(one if num_supervised(step + 1, rate) > num_supervised(step, rate) else other)


class SupervisedLoader:
    """The batches of a stage: those of supervised steps from the labelled images, the others from all, without labels.

    Which kind a step is, and how many of each kind precede it, are closed forms of its number, and each kind is a
    :class:`~mmvae_bench.data.base.ResidentLoader`: the state is the step alone, so a resumed run sees the same batches.
    Where there are fewer labelled images than a batch has, a supervised step sees all of them.

    Args:
        data: After ``setup()``.
        supervision: Which images are labelled.
        rate: The share of supervised steps.
        batch_size: Images per batch.
        seed: Training seed.
        stage: Name of the training stage.
        start: Steps already done.
        stop: Total steps of the stage.
    """

    def __init__(
        self,
        data: ConceptDataModule,
        supervision: SupervisionSpec,
        *,
        rate: float,
        batch_size: int,
        seed: int,
        stage: str,
        start: int,
        stop: int,
    ) -> None:
        self.rate, self.start, self.stop = rate, start, stop
        self.hidden = hidden_positions(supervision, data.schema)
        first, last = num_supervised(start, rate), num_supervised(stop, rate)
        self.labelled = ResidentLoader(
            data.store,
            labelled_rows(data, supervision, training_seed=seed),
            batch_size=batch_size,
            seed=seed,
            stage=f"{stage}, labelled",
            start=first,
            stop=last,
        )
        self.unlabelled = data.training_loader(
            batch_size=batch_size, seed=seed, stage=stage, start=start - first, stop=stop - last
        )

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        unlabelled = (without_labels(batch, self.hidden) for batch in self.unlabelled)
        yield from interleaved(self.labelled, unlabelled, rate=self.rate, start=self.start, stop=self.stop)
