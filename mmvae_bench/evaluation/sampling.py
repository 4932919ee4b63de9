"""What the judge sees in the images a model imagines.

Shapes: Q query, S sample, A attribute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.hashing import derive_seed
from ..data.base import ConceptDataModule
from ..objectives.base import Objective
from .classifier import ObservationClassifier
from .classifier_training import Progress
from .queries import Queries

PIXELS_AT_ONCE = 2**19
"""Pixels imagined at once: 512 images at 32x32, 128 at 64x64. Feature maps take some hundred times as much memory.
Part of the protocol: the seeds are those of the chunks."""


def predictions_of(
    model: Objective,
    classifier: ObservationClassifier,
    data: ConceptDataModule,
    queries: Queries,
    *,
    num_samples: int,
    seed: int,
    mean: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """The values of all attributes in ``num_samples`` images of every query: Long[Q, S, A], on the CPU.

    For each query z ~ q(z|y_O), then an image x ~ p(x|z), a sample and not the mean unless that is asked for; then the
    value of each attribute that the classifier finds most probable, when told the given ones. The randomness of a
    chunk is derived from the evaluation's seed, the split, the partition, the level, the name of a named query and the
    chunk: it is the same for every objective.

    Args:
        model: With q(z|y).
        classifier: On the same device.
        data: Whose split names the seeds.
        queries: Q concepts.
        num_samples: S.
        seed: Of the evaluation.
        mean: Show the classifier E[x|z].
        progress: Called with ``"imagine"``, the images done and in all.
    """
    told: dict[str, object] = {"split": data.spec.split, "split_seed": data.spec.split_seed}
    if queries.name is not None:
        told["query"] = queries.name
    samples_at_once, queries_at_once = chunk_sizes(data.image_shape, num_samples)
    rows = []
    for start in range(0, len(queries), queries_at_once):
        concepts = queries.concepts[start : start + queries_at_once]
        columns = []
        for first in range(0, num_samples, samples_at_once):
            chunk = derive_seed(
                "samples", **told, seed=seed, partition=queries.partition, level=queries.level, chunk=[start, first]
            )
            number = min(samples_at_once, num_samples - first)
            generator = torch.Generator().manual_seed(chunk)
            images = model.imagine(concepts, num_samples=number, mean=mean, generator=generator)
            asked = concepts.repeat_interleave(number, 0)
            read = classifier.predict(images.flatten(0, 1), given=asked)
            columns.append(read.cpu().unflatten(0, (len(concepts), number)))
        rows.append(torch.cat(columns, 1))
        if progress is not None:
            progress("imagine", (start + len(concepts)) * num_samples, len(queries) * num_samples)
    return torch.cat(rows)


def chunk_sizes(image_shape: tuple[int, int, int], num_samples: int) -> tuple[int, int]:
    """(samples, queries) imagined at once.

    >>> chunk_sizes((1, 32, 32), 100), chunk_sizes((3, 112, 112), 100)
    ((100, 5), (13, 1))
    """
    images = max(1, PIXELS_AT_ONCE // (image_shape[0] * image_shape[1] * image_shape[2]))
    return min(images, num_samples), max(1, images // num_samples)
