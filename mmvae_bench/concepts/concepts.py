"""Concepts: which attributes there are, what values they take, and which of them are specified.

A concept is one integer per attribute: the index of its value, or -1 if the attribute is unspecified. This module is
imported where configurations are checked, so it imports torch only inside the functions that return tensors.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..base.errors import ConfigError, Problem, unknown
from ..base.printable import few

if TYPE_CHECKING:
    import torch

UNSPECIFIED = -1
"""The value index of an attribute about which a concept says nothing."""
MOST_WORDS = 20
"""Attributes that a label names."""


@dataclass(frozen=True)
class Attribute:
    """A named property with at least two named values."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ValueError(f"attribute {self.name!r} needs at least two distinct values, got {self.values}")
        for text in (self.name, *self.values):
            if not text or text != text.strip() or set(text) & set(",=*"):
                raise ValueError(
                    f"attribute {self.name!r}: {text!r} is empty, has spaces around it, or contains ',', '=' or '*'"
                )

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Schema:
    """The ordered attributes of a dataset's concepts.

    Attributes:
        attributes: In the order of a concept's indices.
        given: Names of attributes that every query specifies and no score counts: what the others describe depends on
            them, as the order of two objects in a caption depends on their relation.

    >>> schema = Schema((Attribute("digit", tuple("0123456789")), Attribute("scale", ("big", "small"))))
    >>> schema.parse("scale=small").tolist()
    [-1, 1]
    >>> schema.format([6, -1])
    'digit=6'
    """

    attributes: tuple[Attribute, ...]
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.attributes or len(set(self.names)) != len(self.attributes):
            raise ValueError(f"a schema needs at least one attribute, and distinct names, got {self.names}")
        if len(set(self.given)) != len(self.given) or not set(self.given) < set(self.names):
            raise ValueError(f"given attributes must be among {self.names}, each named once, got {self.given}")

    def __len__(self) -> int:
        return len(self.attributes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The attributes' names, in order."""
        return tuple(attribute.name for attribute in self.attributes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each attribute."""
        return tuple(len(attribute) for attribute in self.attributes)

    @cached_property
    def given_positions(self) -> tuple[int, ...]:
        """Positions of the given attributes in a concept, in order."""
        return tuple(position for position, name in enumerate(self.names) if name in self.given)

    @cached_property
    def scored_positions(self) -> tuple[int, ...]:
        """Positions of the other attributes: those that a score counts."""
        return tuple(position for position, name in enumerate(self.names) if name not in self.given)

    @cached_property
    def default_levels(self) -> tuple[int, ...]:
        """The numbers of specified attributes that queries have by default: all of 1..A for up to five attributes, else
        1, 2, 3, half and all; none that is smaller than the number of given attributes.

        >>> flags = tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(18))
        >>> Schema(flags).default_levels, Schema(flags[:4]).default_levels
        ((1, 2, 3, 9, 18), (1, 2, 3, 4))
        """
        number = len(self)
        levels = range(1, number + 1) if number <= 5 else (1, 2, 3, number // 2, number)
        return tuple(level for level in sorted(set(levels)) if level >= len(self.given))

    def to_dict(self) -> dict[str, list[str]]:
        """Plain JSON form: attribute name to value names, in order. It does not say which are given."""
        return {attribute.name: list(attribute.values) for attribute in self.attributes}

    def indices(self, text: str) -> tuple[int, ...]:
        """Value indices of a concept written as ``attribute=value`` pairs with commas between; the rest unspecified.

        An empty text specifies nothing. ``attribute=*`` leaves the attribute unspecified.

        Raises:
            ConfigError: with every unknown attribute, unknown value and repeated attribute, and the nearest valid name.
        """
        concept = [UNSPECIFIED] * len(self)
        problems: list[Problem] = []
        seen: set[str] = set()
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals:
                example = f"{self.names[0]}={self.attributes[0].values[0]}"
                problems.append(Problem(f"expected attribute=value, such as {example}", value=repr(pair)))
            elif name not in self.names:
                problems.append(unknown("attribute", name, self.names))
            elif name in seen:
                problems.append(Problem(f"attribute {name!r} is given twice", value=repr(text)))
            else:
                seen.add(name)
                position = self.names.index(name)
                values = self.attributes[position].values
                if value in values:
                    concept[position] = values.index(value)
                elif value != "*":
                    problems.append(unknown(f"value of {name}", value, values))
        if problems:
            raise ConfigError(problems, f"concept {text!r}")
        return tuple(concept)

    def parse(self, text: str) -> torch.Tensor:
        """:meth:`indices` as Long[attribute]."""
        import torch

        return torch.tensor(self.indices(text), dtype=torch.long)

    def format(self, concept: Iterable[int]) -> str:
        """The text of a concept, Long[attribute] or a sequence: the inverse of :meth:`parse`."""
        pairs = zip(self.attributes, (int(index) for index in concept), strict=True)
        return ", ".join(f"{attribute.name}={attribute.values[index]}" for attribute, index in pairs if index >= 0)

    def words(self, concept: Iterable[int], *, brief: bool = False) -> list[str]:
        """A concept for a label, one text per specified attribute: ``name=value``.

        For an attribute with the values ``no`` and ``yes`` the text is its name, or ``no`` and its name. In a fully
        specified concept "no other" stands for all that are absent.

        Args:
            concept: Long[attribute] or a sequence.
            brief: Give values without names, and leave out attributes that are absent.

        >>> schema = Schema(tuple(Attribute(name, ("no", "yes")) for name in ("Bald", "Male", "Smiling")))
        >>> schema.words([1, 0, -1]), schema.words([0, 1, 0]), schema.words([0, 1, 0], brief=True)
        (['Bald', 'no Male'], ['Male', 'no other'], ['Male'])
        """
        words: list[str] = []
        absent: list[str] = []
        for attribute, index in zip(self.attributes, map(int, concept), strict=True):
            if index == UNSPECIFIED:
                continue
            value = attribute.values[index]
            if attribute.values != ("no", "yes"):
                words.append(value if brief else f"{attribute.name}={value}")
            elif value == "yes":
                words.append(attribute.name)
            elif not brief:
                absent.append(f"no {attribute.name}")
                words.append(absent[-1])
        if absent and len(words) == len(self):
            words = [*(word for word in words if word not in absent), "no other"]
        return words

    def label(self, concept: Iterable[int]) -> str:
        """:meth:`words`, brief, under a picture: the first of them where there are many.

        >>> schema = Schema(tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(30)))
        >>> schema.label([0, 1, 1] + 27 * [0]), schema.label(30 * [1])[-28:]
        ('flag_1, flag_2', 'flag_18, flag_19 and 10 more')
        """
        return few(self.words(concept, brief=True), most=MOST_WORDS)

    def combinations(self) -> torch.Tensor:
        """Every fully specified concept: Long[combination, attribute], in product order, last attribute fastest."""
        import torch

        return torch.tensor(list(itertools.product(*map(range, self.sizes))), dtype=torch.long)

    def check(self, concepts: torch.Tensor) -> None:
        """Raises ValueError unless ``concepts`` is integer [..., attribute] with values in range or unspecified."""
        import torch

        if concepts.is_floating_point() or concepts.is_complex() or concepts.dtype == torch.bool:
            raise ValueError(f"a concept must contain integers, got {concepts.dtype}")
        if concepts.ndim == 0 or concepts.shape[-1] != len(self):
            raise ValueError(f"a concept has {len(self)} attributes {self.names}, got shape {tuple(concepts.shape)}")
        bad = (concepts < UNSPECIFIED) | (concepts >= torch.tensor(self.sizes, device=concepts.device))
        if bad.any():
            position = int(bad.nonzero()[0, -1])
            raise ValueError(
                f"attribute {self.names[position]!r} takes 0..{self.sizes[position] - 1} or {UNSPECIFIED} "
                f"(unspecified), got {concepts[bad][0].item()}"
            )


def specified(concepts: torch.Tensor) -> torch.Tensor:
    """Bool[..., attribute]: where a concept says something."""
    return concepts != UNSPECIFIED


def keep_random(
    concepts: torch.Tensor, level: int, *, generator: torch.Generator, given: Sequence[int] = ()
) -> torch.Tensor:
    """Keeps ``level`` attributes of each concept, and leaves the others unspecified.

    Args:
        concepts: Long[concept, attribute], with at least ``level`` attributes specified, the given ones among them.
        level: Number of attributes that stay specified, the given ones included: from their number to that of all.
        generator: Source of the subsets.
        given: Positions of attributes that always stay; the others are a uniformly random subset.
    """
    import torch

    num_attributes = concepts.shape[-1]
    if not len(given) <= level <= num_attributes:
        raise ValueError(f"level must be a number of attributes from {len(given)} to {num_attributes}, got {level}")
    lots = torch.rand(concepts.shape, generator=generator, dtype=torch.float64)
    lots[(concepts == UNSPECIFIED).to(lots.device)] = 2.0  # Above every lot drawn: last in rank.
    lots[..., list(given)] = -1.0  # Below every lot drawn: first in rank.
    ranks = lots.argsort(-1).argsort(-1)
    return concepts.masked_fill((ranks >= level).to(concepts.device), UNSPECIFIED)


def satisfies(full: torch.Tensor, concepts: torch.Tensor) -> torch.Tensor:
    """Which full concepts have every specified attribute of which concepts.

    Args:
        full: Long[example, attribute], fully specified.
        concepts: Long[query, attribute], -1 where unspecified.

    Returns:
        Bool[query, example].
    """
    import torch

    matches = torch.ones(len(concepts), len(full), dtype=torch.bool, device=full.device)
    for position in range(full.shape[-1]):
        wanted = concepts[:, position, None]
        matches &= (wanted == UNSPECIFIED) | (wanted == full[None, :, position])
    return matches


def compositional_split(
    schema: Schema, *, seed: int = 42, fractions: tuple[float, float, float] = (0.85, 0.05, 0.10)
) -> dict[str, torch.Tensor]:
    """Divides the combinations of values, so that test concepts differ from every training concept.

    The rule of the released code of Vedantam et al. (2018): the combinations in product order, shuffled by
    Fisher-Yates from the last position down with ``j = int(random() * (i + 1))``, cut at the fractions. Seed 42 with
    the default fractions is the published split of MNIST-A (204 / 12 / 24).

    Args:
        schema: The schema whose combinations are divided.
        seed: Seed of Python's Mersenne twister.
        fractions: Fractions of train, val and test; must sum to one.

    Returns:
        ``{"train" | "val" | "test": Long[combination, attribute]}``, disjoint, together every combination.

    Raises:
        ValueError: if a fraction is negative, they do not sum to one, or a part would be empty.
    """
    import torch

    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions of train, val and test must be positive and sum to 1, got {fractions}")
    combinations = schema.combinations()
    order, uniform = list(range(len(combinations))), random.Random(seed).random
    for i in range(len(order) - 1, 0, -1):
        j = int(uniform() * (i + 1))
        order[i], order[j] = order[j], order[i]
    # Cut below, as published; the tolerance is for products such as 0.9 * 240 that fall short in floating point.
    cuts = [math.floor(total * len(order) + 1e-9) for total in (fractions[0], fractions[0] + fractions[1])]
    parts = {"train": order[: cuts[0]], "val": order[cuts[0] : cuts[1]], "test": order[cuts[1] :]}
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise ValueError(f"{len(order)} combinations divided by {fractions} leave none for {', '.join(empty)}")
    return {name: combinations[torch.tensor(part)] for name, part in parts.items()}
