"""Concepts: text to values and back, masks that are uniform, and the published compositional split."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import (
    UNSPECIFIED,
    Attribute,
    Schema,
    compositional_split,
    keep_random,
    satisfies,
    specified,
)
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA

WORD = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters=",=*"), min_size=1, max_size=6)
NAMES = st.lists(WORD, min_size=1, max_size=4, unique=True)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(NAMES)
    values = [draw(st.lists(WORD, min_size=2, max_size=4, unique=True)) for _ in names]
    return Schema(tuple(Attribute(name, tuple(words)) for name, words in zip(names, values, strict=True)))


@st.composite
def schema_and_concept(draw: st.DrawFn) -> tuple[Schema, tuple[int, ...]]:
    schema = draw(schemas())
    return schema, tuple(draw(st.integers(UNSPECIFIED, size - 1)) for size in schema.sizes)


# ---------------------------------------------------------------- schema and text


@given(schema_and_concept())
def test_a_concept_is_its_text(given_: tuple[Schema, tuple[int, ...]]) -> None:
    schema, concept = given_
    assert schema.indices(schema.format(concept)) == concept


@given(schema_and_concept(), st.randoms())
def test_order_spaces_and_stars_do_not_matter(given_: tuple[Schema, tuple[int, ...]], rng: random.Random) -> None:
    schema, concept = given_
    pairs = [
        f" {attribute.name} = {attribute.values[index] if index >= 0 else '*'} "
        for attribute, index in zip(schema.attributes, concept, strict=True)
    ]
    rng.shuffle(pairs)
    assert schema.indices(",".join(pairs)) == concept


@given(schemas())
def test_a_schema_is_its_dictionary(schema: Schema) -> None:
    attributes = tuple(Attribute(name, tuple(values)) for name, values in schema.to_dict().items())
    assert Schema(attributes) == schema


def test_words_are_of_what_is_specified() -> None:
    schema = Schema((Attribute("colour", ("red", "green", "blue")), Attribute("large", ("no", "yes"))))
    assert schema.words([2, 1], brief=True) == ["blue", "large"]
    assert schema.words(torch.tensor([0, 0]), brief=True) == ["red"]
    assert schema.words([2, -1], brief=True) == ["blue"]
    assert schema.words([-1, -1]) == []
    assert schema.words([-1, 0]) == ["no large"]
    assert schema.words([1, 0]) == ["colour=green", "no other"]


def test_parse_gives_a_tensor_and_format_takes_one() -> None:
    concept = MNIST_A_SCHEMA.parse("digit=6, scale=small")
    assert concept.dtype == torch.long
    assert concept.tolist() == [6, 1, -1, -1]
    assert MNIST_A_SCHEMA.format(concept) == "digit=6, scale=small"
    assert MNIST_A_SCHEMA.parse("").tolist() == [-1] * 4
    assert MNIST_A_SCHEMA.format([-1] * 4) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "digt=6",
            "unknown attribute 'digt'\n  choices: digit, scale, orientation, location\n  nearest: digit",
        ),
        ("scale=smal", "unknown value of scale 'smal'\n  choices: big, small\n  nearest: small"),
        ("digit=10", "unknown value of digit '10'\n  choices: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("scale=", "unknown value of scale ''\n  choices: big, small"),
        ("digit", "expected attribute=value, such as digit=0\n  given: 'digit'"),
        ("digit=6; scale=small", "unknown value of digit '6; scale=small'"),
        ("digit=6, digit=7", "attribute 'digit' is given twice"),
        ("digit=*, digit=7", "attribute 'digit' is given twice"),
    ],
)
def test_concepts_that_there_are_not(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MNIST_A_SCHEMA.indices(text)
    assert str(caught.value).startswith(f"concept {text!r}: {message}")


def test_every_problem_of_a_concept_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        MNIST_A_SCHEMA.indices("digt=6, scale=smal, what, location=top-left")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("values", [(), ("a",), ("a", "a")])
def test_an_attribute_needs_distinct_values(values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least two distinct values"):
        Attribute("x", values)


def test_a_schema_needs_distinct_attributes() -> None:
    one = Attribute("x", ("a", "b"))
    for attributes in ((), (one, one)):
        with pytest.raises(ValueError, match="distinct names"):
            Schema(attributes)


def test_format_needs_every_attribute() -> None:
    with pytest.raises(ValueError, match="zip"):
        MNIST_A_SCHEMA.format([1, 1])


def test_combinations_are_in_product_order() -> None:
    combinations = MNIST_A_SCHEMA.combinations().tolist()
    assert len(combinations) == 240
    assert [tuple(row) for row in combinations] == list(itertools.product(range(10), range(2), range(3), range(4)))


@pytest.mark.parametrize(
    ("concepts", "words"),
    [
        (torch.zeros(2, 4), "must contain integers"),
        (torch.zeros(2, 4, dtype=torch.bool), "must contain integers"),
        (torch.zeros(2, 3, dtype=torch.long), "4 attributes"),
        (torch.tensor(3), "4 attributes"),
        (torch.tensor([0, 2, 0, 0]), "'scale' takes 0..1 or -1"),
        (torch.tensor([[0, 0, 0, 0], [0, 0, -2, 0]]), "'orientation' takes 0..2"),
    ],
)
def test_check_refuses_what_is_no_concept(concepts: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MNIST_A_SCHEMA.check(concepts)


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.int8])
def test_check_takes_concepts_of_any_shape(dtype: torch.dtype) -> None:
    MNIST_A_SCHEMA.check(torch.tensor([[[-1, 1, 2, 3]], [[9, -1, -1, -1]]], dtype=dtype))
    MNIST_A_SCHEMA.check(torch.empty(0, 4, dtype=dtype))


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_masks_keep_every_subset_equally_often(level: int) -> None:
    """Counted against the enumeration of all subsets: chi-square, so that any bias shows."""
    num_attributes, num_draws = 4, 12_000
    full = torch.arange(num_attributes).expand(num_draws, num_attributes)
    kept = keep_random(full, level, generator=torch.Generator().manual_seed(level))
    assert torch.equal(kept[specified(kept)], full[specified(kept)])  # what is kept is not changed
    counts = Counter(tuple(row.nonzero().flatten().tolist()) for row in specified(kept))
    subsets = list(itertools.combinations(range(num_attributes), level))
    assert set(counts) == set(subsets)
    if len(subsets) > 1:
        assert chisquare([counts[subset] for subset in subsets]).pvalue > 1e-3


def test_masks_are_decided_by_the_generator_alone() -> None:
    full = MNIST_A_SCHEMA.combinations()
    first, again = (keep_random(full, 2, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    torch.rand(3)
    other = keep_random(full, 2, generator=torch.Generator().manual_seed(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("level", [-1, 5])
def test_there_is_no_such_level(level: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 4"):
        keep_random(MNIST_A_SCHEMA.combinations(), level, generator=torch.Generator())


@given(st.data())
def test_satisfies_is_a_loop_over_specified_attributes(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(2, 3), min_size=1, max_size=4))
    full = data.draw(st.lists(st.tuples(*(st.integers(0, size - 1) for size in sizes)), max_size=6))
    queries = data.draw(st.lists(st.tuples(*(st.integers(-1, size - 1) for size in sizes)), max_size=6))
    result = satisfies(
        torch.tensor(full, dtype=torch.long).reshape(len(full), len(sizes)),
        torch.tensor(queries, dtype=torch.long).reshape(len(queries), len(sizes)),
    )
    wanted = [[all(q in (-1, x) for q, x in zip(query, row, strict=True)) for row in full] for query in queries]
    assert result.shape == (len(queries), len(full))
    assert result.tolist() == wanted


# ---------------------------------------------------------------- the compositional split


def by_the_rule(schema: Schema, *, seed: int) -> dict[str, list[tuple[int, ...]]]:
    """The released code's rule, written anew: Python's old shuffle, from the last card down, then two cuts."""
    deck = list(itertools.product(*(range(size) for size in schema.sizes)))
    draw = random.Random(seed).random
    for last in range(len(deck) - 1, 0, -1):
        chosen = int(draw() * (last + 1))
        deck[chosen], deck[last] = deck[last], deck[chosen]
    train, val = len(deck) * 85 // 100, len(deck) * 90 // 100
    return {"train": deck[:train], "val": deck[train:val], "test": deck[val:]}


def as_tuples(split: dict[str, torch.Tensor]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [tuple(row) for row in rows.tolist()] for name, rows in split.items()}


def test_the_published_split() -> None:
    split = as_tuples(compositional_split(MNIST_A_SCHEMA))
    assert {name: len(rows) for name, rows in split.items()} == {"train": 204, "val": 12, "test": 24}
    assert Counter(row for rows in split.values() for row in rows) == Counter(
        itertools.product(range(10), range(2), range(3), range(4))
    )
    scales = Counter(MNIST_A_SCHEMA.attributes[1].values[row[1]] for row in split["test"])
    assert scales == {"big": 17, "small": 7}


@pytest.mark.parametrize("seed", [42, 0, 1, 2**40])
def test_the_rule(seed: int) -> None:
    assert as_tuples(compositional_split(MNIST_A_SCHEMA, seed=seed)) == by_the_rule(MNIST_A_SCHEMA, seed=seed)


def test_splits_differ_by_seed() -> None:
    assert set(as_tuples(compositional_split(MNIST_A_SCHEMA))["test"]) != set(
        as_tuples(compositional_split(MNIST_A_SCHEMA, seed=0))["test"]
    )


def test_test_concepts_differ_from_every_training_concept() -> None:
    split = compositional_split(MNIST_A_SCHEMA, seed=7)
    assert not satisfies(split["train"], split["test"]).any()
    assert not satisfies(split["train"], split["val"]).any()


@pytest.mark.parametrize("sizes", [(2, 5), (3, 3, 3), (20, 2, 2)])
def test_other_schemas_are_cut_at_the_nearest_place(sizes: tuple[int, ...]) -> None:
    schema = Schema(tuple(Attribute(f"a{i}", tuple(map(str, range(size)))) for i, size in enumerate(sizes)))
    split = compositional_split(schema, seed=3, fractions=(0.6, 0.2, 0.2))
    total = len(schema.combinations())
    for name, fraction in {"train": 0.6, "val": 0.2, "test": 0.2}.items():
        assert abs(len(split[name]) - fraction * total) <= 1
    assert sum(map(len, split.values())) == total


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ((0.9, 0.2, -0.1), "must be positive and sum to 1"),
        ((0.5, 0.2, 0.2), "must be positive and sum to 1"),
        ((1.0, 0.0, 0.0), "leave none for val, test"),
        ((0.0, 0.5, 0.5), "leave none for train"),
    ],
)
def test_fractions_that_do_not_divide(fractions: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compositional_split(MNIST_A_SCHEMA, fractions=fractions)


def test_concepts_come_without_torch() -> None:
    """Configurations are checked before torch is imported; this module is on their way."""
    import subprocess
    import sys

    code = "import sys, mmvae_bench.concepts as c; c.Schema((c.Attribute('a', ('x', 'y')),)).indices('a=x'); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, timeout=60)


def flags(number: int, *given: int) -> Schema:
    """Binary attributes, some of them given."""
    attributes = tuple(Attribute(f"flag_{k}", ("no", "yes")) for k in range(number))
    return Schema(attributes, tuple(f"flag_{k}" for k in given))


@pytest.mark.parametrize("given", [("a", "a"), ("missing",), ("a", "b")])
def test_given_names_are_some_of_the_attributes(given: tuple[str, ...]) -> None:
    attributes = (Attribute("a", ("x", "y")), Attribute("b", ("x", "y")))
    with pytest.raises(ValueError, match="given attributes must be among"):
        Schema(attributes, given)


def test_given_and_scored_positions_are_all_positions() -> None:
    schema = flags(5, 3, 1)
    assert schema.given_positions == (1, 3)
    assert schema.scored_positions == (0, 2, 4)
    assert schema.to_dict() == flags(5).to_dict()


def test_default_levels() -> None:
    by_size = {number: flags(number).default_levels for number in (2, 4, 5, 6, 7, 9, 18)}
    assert by_size == {
        2: (1, 2), 4: (1, 2, 3, 4), 5: (1, 2, 3, 4, 5), 6: (1, 2, 3, 6), 7: (1, 2, 3, 7), 9: (1, 2, 3, 4, 9),
        18: (1, 2, 3, 9, 18),
    }  # fmt: skip
    assert flags(9, 4).default_levels == (1, 2, 3, 4, 9)
    assert flags(9, 4, 5).default_levels == (2, 3, 4, 9)


def test_masks_keep_the_given_and_every_subset_of_the_others_equally_often() -> None:
    full = torch.ones(6000, 5, dtype=torch.long)
    kept = keep_random(full, 3, generator=torch.Generator().manual_seed(0), given=(1,)) >= 0
    assert kept[:, 1].all()
    assert (kept.sum(1) == 3).all()
    counts = kept.unique(dim=0, return_counts=True)[1]
    assert len(counts) == math.comb(4, 2)
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_a_level_below_the_given_is_refused() -> None:
    full = torch.ones(2, 3, dtype=torch.long)
    assert (keep_random(full, 2, generator=torch.Generator(), given=(0, 2)) >= 0).tolist() == [[True, False, True]] * 2
    with pytest.raises(ValueError, match="from 2 to 3, got 1"):
        keep_random(full, 1, generator=torch.Generator(), given=(0, 2))
