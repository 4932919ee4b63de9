"""The queries: concepts that every model trained on the same dataset and split imagines.

On ``iid`` splits: every combination of values, several times, at each level; a level is a number of specified
attributes, and which ones are kept is drawn uniformly for each query, except for the given ones (``Schema.given``),
which always are. On ``comp``: the held-out combinations, fully specified. Datasets name further queries. In the text
view queries contain only what captions can express: as many attributes of a concept as the level, among those that have
words. Nothing here depends on the objective, so scores can be compared query by query.

Shapes: Q query, A attribute, N image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base.errors import ConfigError, Problem
from ..base.seeds import derive_seed
from ..concepts import UNSPECIFIED, Schema, keep_random, specified
from ..concepts.captions import Captions
from ..data.base import ConceptDataModule
from ..metrics.functional import satisfied
from ..objectives.base import Objective
from ..specs.trial import COMPOSITIONAL, EvaluationSpec

MAX_COMBINATIONS = 4096
"""If a schema has more combinations of values than this, the concepts of real images are queried instead."""
NUM_SAMPLED = 240
"""How many such concepts, before repeats: as many as MNIST-A has combinations."""


@dataclass(frozen=True)
class Queries:
    """Concepts to imagine.

    Attributes:
        partition: val or test.
        level: Number of specified attributes.
        concepts: Long[Q, A], -1 where unspecified.
        groups: Long[Q], the number of the full concept that each was made from. Queries of one group repeat it, and an
            interval is over groups. None: each is a group of its own.
        name: The name of a named query; None: fixed queries.
    """

    partition: str
    level: int
    concepts: Tensor
    groups: Tensor | None = None
    name: str | None = None

    def __len__(self) -> int:
        return len(self.concepts)


def fixed_queries(data: ConceptDataModule, evaluation: EvaluationSpec, partition: str) -> list[Queries]:
    """The queries of a partition, from the highest level down; see :func:`make_queries`."""
    # Of a schema too large to list a split may divide objects, not concepts: there the images say what is held out.
    parts = data.combinations() if is_listed(data.schema) else None
    return make_queries(
        data.schema,
        split=data.spec.split,
        split_seed=data.spec.split_seed,
        partition=partition,
        evaluation=evaluation,
        concepts=data.concepts,
        combinations=None if parts is None else torch.tensor(parts[partition], dtype=torch.long),
        captions=data.captions,
    )


def make_queries(
    schema: Schema,
    *,
    split: str,
    split_seed: int,
    partition: str,
    evaluation: EvaluationSpec,
    concepts: Callable[[str], Tensor],
    combinations: Tensor | None = None,
    captions: Captions | None = None,
) -> list[Queries]:
    """The queries of a partition, from the highest level down.

    The full concepts behind them are, each repeated ``query_repeats`` times,

    - on ``iid`` splits, all combinations of the schema; of a schema with more than 4,096 the concepts of images of the
      partition, drawn without replacement: 240 times the repeats, each used once, as far as there are any;
    - on ``comp``, the combinations that the split gives the partition; where it does not divide combinations (it may
      hold out objects, say), the distinct concepts of the partition's images that no training image has.

    Args:
        schema: The attributes.
        split: ``comp`` has queries of full concepts only.
        split_seed: Seed of the split.
        partition: val or test.
        evaluation: Levels, repeats, the largest number of concepts, and seed.
        concepts: Gives the concepts of the images of a partition, Long[N, A]; called if they are needed.
        combinations: Long[C, A], those that the split gives the partition; None if it does not divide them.
        captions: They must be able to express a query; None: there is no such limit. A concept with fewer words than a
            level has attributes gives no query, and a level without queries is left out.
    """
    identity = {
        "names": list(schema.names),
        "sizes": list(schema.sizes),
        "split": split,
        "split_seed": split_seed,
        "partition": partition,
        "repeats": evaluation.query_repeats,
        "seed": evaluation.seed,
    }
    levels = evaluation.levels or schema.default_levels
    if captions is not None:
        levels = tuple(level for level in levels if level in captions.levels)
    compositional = split == COMPOSITIONAL
    if compositional:
        levels = tuple(level for level in levels if level == len(schema))
    large = not is_listed(schema)
    largest = evaluation.num_queries or (NUM_SAMPLED if large else None)
    if large and not compositional:
        assert largest is not None
        full = _drawn(concepts(partition).cpu(), largest * evaluation.query_repeats, "query images", identity)
    else:
        if not compositional:
            distinct = schema.combinations()
        elif combinations is not None:
            schema.check(combinations)
            distinct = combinations
        else:
            distinct = novel_concepts(concepts(partition).cpu(), concepts("train").cpu())
        if largest is not None and largest < len(distinct):
            distinct = _drawn(distinct, largest, "query combinations", identity)
        full = distinct.repeat(evaluation.query_repeats, 1)
    if captions is not None:
        full = full.masked_fill(~captions.sayable(full), UNSPECIFIED)
    groups = full.unique(dim=0, return_inverse=True)[1]
    queries = []
    for level in sorted(levels, reverse=True):
        generator = _generator("queries", identity | {"level": level})
        enough = specified(full).sum(1) >= level
        kept = keep_random(full[enough], level, generator=generator, given=schema.given_positions)
        if len(kept):
            queries.append(Queries(partition, level, kept, groups[enough]))
    return queries


def answerable(model: Objective, queries: list[Queries]) -> list[Queries]:
    """The queries that the model can be asked: none without q(z|y), and only full concepts if q(z|y) takes no partial
    ones."""
    if not model.can_imagine:
        return []
    return [each for each in queries if model.takes_partial_concepts or each.level == len(model.schema)]


def is_listed(schema: Schema) -> bool:
    """Whether the schema has few enough combinations of values to query all of them."""
    return math.prod(schema.sizes) <= MAX_COMBINATIONS


def named_queries(data: ConceptDataModule, evaluation: EvaluationSpec, partition: str) -> list[Queries]:
    """The queries that the dataset names, each repeated ``query_repeats`` times, as one concept in several rows; in the
    text view only those that captions can express.

    Raises:
        ConfigError: if a concept is none of the schema's, or leaves a given attribute unspecified.
    """
    found = []
    for name, text in data.spec.named_queries().items():
        concept = data.schema.parse(text)
        if data.captions is not None and not _can_be_said(concept, data.captions):
            continue
        lacking = [data.schema.names[k] for k in data.schema.given_positions if concept[k] < 0]
        if lacking:
            raise ConfigError([Problem(f"query {name!r} must specify {', '.join(lacking)}", value=repr(text))])
        repeated = concept.repeat(evaluation.query_repeats, 1)
        groups = torch.zeros(len(repeated), dtype=torch.long)
        found.append(Queries(partition, int(specified(concept).sum()), repeated, groups, name))
    return found


def _can_be_said(concept: Tensor, captions: Captions) -> bool:
    """Whether a caption can express all of a concept, Long[A]."""
    try:
        captions.require_sayable(concept[None])
    except ConfigError:
        return False
    return True


def novel_concepts(held_out: Tensor, training: Tensor) -> Tensor:
    """The distinct concepts of held-out images that no training image has; all of them where training has each.

    Args:
        held_out: Long[N, A], fully specified.
        training: Long[M, A], fully specified.
    """
    distinct = held_out.unique(dim=0)
    novel: Tensor = distinct[~satisfied(distinct, training.unique(dim=0))]
    return novel if len(novel) else distinct


def _drawn(concepts: Tensor, number: int, purpose: str, identity: dict[str, object]) -> Tensor:
    """At most ``number`` of the rows, in random order."""
    order = torch.randperm(len(concepts), generator=_generator(purpose, identity))
    return concepts[order[:number]]


def _generator(purpose: str, identity: dict[str, object]) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(purpose, **identity))
