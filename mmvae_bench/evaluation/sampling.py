"""Where images come from: held-out real ones, and imagined ones as the classifier reads them.

Shapes: Q query, S sample, A attribute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from einops import rearrange, repeat
from torch import Tensor

from ..base.seeds import derive_seed
from ..data.base import ConceptDataModule
from ..data.batch import Batch
from ..objectives.base import Objective
from .classifier import ObservationClassifier
from .classifier_training import Progress
from .queries import Queries

PIXELS_AT_ONCE = 2**19
"""Pixels imagined at once: 512 images at 32x32, 128 at 64x64. Feature maps take about a hundred times as much memory.
Part of the protocol: seeds are derived per chunk."""
MAX_IMAGES = 2_000
"""The largest number of real images per partition that are described, and on which the training loss is measured."""
BATCH_SIZE = 50
"""Real images per batch; the interval of the training loss is over batches."""


def images_at_once(image_shape: tuple[int, int, int]) -> int:
    """How many images of this shape are generated at once.

    >>> images_at_once((1, 32, 32)), images_at_once((3, 112, 112))
    (512, 13)
    """
    return max(1, PIXELS_AT_ONCE // math.prod(image_shape))


def chunk_sizes(image_shape: tuple[int, int, int], num_samples: int) -> tuple[int, int]:
    """(samples, queries) imagined at once.

    >>> chunk_sizes((1, 32, 32), 100), chunk_sizes((3, 112, 112), 100)
    ((100, 5), (13, 1))
    """
    images = images_at_once(image_shape)
    return min(images, num_samples), max(1, images // num_samples)


def real_batches(
    data: ConceptDataModule,
    partition: str,
    *,
    seed: int,
    device: torch.device,
    limit: int = MAX_IMAGES,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """Batches of at most ``limit`` images of a partition, always the same ones; a lower limit gives the first ones."""
    rows = data.rows(partition).cpu()
    generator = torch.Generator().manual_seed(derive_seed("real images", seed=seed, partition=partition))
    for part in rows[torch.randperm(len(rows), generator=generator)[:limit]].split(batch_size):
        yield data.store.batch(part).to(device)


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

    For each query z ~ q(z|y_O), then an image x ~ p(x|z), a sample and not the mean unless ``mean`` is set; then the
    value of each attribute that the classifier finds most probable, once it has been told the given attributes. The
    randomness of a chunk is derived from the evaluation's seed, the split, the partition, the level, the name of a
    named query and the chunk: it is the same for every objective.

    Args:
        model: With q(z|y).
        classifier: On the same device.
        data: Its split is part of the seeds.
        queries: Q concepts.
        num_samples: S.
        seed: The evaluation's.
        mean: Show the classifier E[x|z].
        progress: Called with ``"imagine"``, the number of images done and in all.
    """
    named: dict[str, object] = {"split": data.spec.split, "split_seed": data.spec.split_seed}
    if queries.name is not None:
        named["query"] = queries.name
    samples_at_once, queries_at_once = chunk_sizes(data.image_shape, num_samples)
    rows = []
    for start in range(0, len(queries), queries_at_once):
        concepts = queries.concepts[start : start + queries_at_once]
        columns = []
        for first in range(0, num_samples, samples_at_once):
            chunk = derive_seed(
                "samples", **named, seed=seed, partition=queries.partition, level=queries.level, chunk=[start, first]
            )
            number = min(samples_at_once, num_samples - first)
            generator = torch.Generator().manual_seed(chunk)
            images = model.imagine(concepts, num_samples=number, mean=mean, generator=generator)
            read = classifier.predict(
                rearrange(images, "query sample ... -> (query sample) ..."),
                given=repeat(concepts, "query attribute -> (query sample) attribute", sample=number),
            )
            columns.append(rearrange(read.cpu(), "(query sample) attribute -> query sample attribute", sample=number))
        rows.append(torch.cat(columns, 1))
        if progress is not None:
            progress("imagine", (start + len(concepts)) * num_samples, len(queries) * num_samples)
    return torch.cat(rows)
