from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema, compositional_split
from mmvae_bench.evaluation.queries import MAX_COMBINATIONS, fixed_queries, make_queries, named_queries
from mmvae_bench.specs.built_in.datasets import MNIST_A_SCHEMA
from mmvae_bench.specs.components import datasets, of_domain
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec

from .fakes import LinesData, LinesSpec

STORED = {
    ("iid", 4): "ae432671edd2b985",
    ("iid", 3): "ba39d50dfd859e4c",
    ("iid", 2): "71c90b1cde53e202",
    ("iid", 1): "7b3987929ca88e41",
    ("comp", 4): "c5acae47086b5add",
}
"""Of the queries of MNIST-A's test partition as bytes, the first 16 hex digits of the sha256."""


def no_concepts(partition: str) -> Tensor:
    raise AssertionError("a small schema needs no image")


def ask(
    schema: Schema = MNIST_A_SCHEMA,
    split: str = "iid",
    split_seed: int = 42,
    partition: str = "test",
    concepts: Callable[[str], Tensor] = no_concepts,
    combinations: Tensor | None = None,
    **evaluation: object,
) -> dict[int, Tensor]:
    if split == "comp" and schema is MNIST_A_SCHEMA:
        combinations = compositional_split(MNIST_A_SCHEMA, seed=split_seed)[partition]
    queries = make_queries(
        schema,
        split=split,
        split_seed=split_seed,
        partition=partition,
        evaluation=EvaluationSpec.parse(evaluation),
        concepts=concepts,
        combinations=combinations,
    )
    assert [each.level for each in queries] == sorted((each.level for each in queries), reverse=True)
    return {each.level: each.concepts for each in queries}


@pytest.mark.parametrize("split", ["iid", "iid_disjoint"])
def test_mnist_a_has_480_queries_a_level(split: str) -> None:
    by_level = ask(split=split)
    assert list(by_level) == [4, 3, 2, 1]
    for level, concepts in by_level.items():
        assert concepts.shape == (480, 4)
        assert ((concepts >= 0).sum(1) == level).all()
    full, counts = by_level[4].unique(dim=0, return_counts=True)
    assert torch.equal(full, MNIST_A_SCHEMA.combinations())
    assert (counts == 2).all()


@pytest.mark.parametrize("split", ["iid", "comp"])
def test_queries_of_one_full_concept_are_one_group(split: str) -> None:
    queries = make_queries(
        MNIST_A_SCHEMA,
        split=split,
        split_seed=42,
        partition="test",
        evaluation=EvaluationSpec(query_repeats=3),
        concepts=no_concepts,
        combinations=compositional_split(MNIST_A_SCHEMA)["test"] if split == "comp" else None,
    )
    full = queries[0].concepts
    for each in queries:
        assert each.groups is not None
        together = each.groups[:, None] == each.groups[None, :]
        assert torch.equal(together, (full[:, None] == full[None, :]).all(-1))
        assert (together.sum(1) == 3).all()


def test_lower_levels_keep_values_of_the_full_concepts() -> None:
    by_level = ask()
    for level in (3, 2, 1):
        kept = by_level[level] >= 0
        assert torch.equal(by_level[level][kept], by_level[4][kept])


@pytest.mark.parametrize(("level", "num_subsets"), [(3, 4), (2, 6), (1, 4)])
def test_subsets_are_uniform(level: int, num_subsets: int) -> None:
    kept = ask(query_repeats=20)[level] >= 0
    counts = kept.unique(dim=0, return_counts=True)[1]
    assert len(counts) == num_subsets
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_comp_asks_the_held_out_combinations_in_full() -> None:
    for partition, number in (("val", 12), ("test", 24)):
        by_level = ask(split="comp", partition=partition)
        assert list(by_level) == [4]
        combinations, counts = by_level[4].unique(dim=0, return_counts=True)
        assert len(combinations) == number
        assert (counts == 2).all()
        held_out = {tuple(each) for each in compositional_split(MNIST_A_SCHEMA)[partition].tolist()}
        assert {tuple(each) for each in combinations.tolist()} == held_out


def test_comp_follows_the_split_seed() -> None:
    assert not torch.equal(ask(split="comp", split_seed=1)[4], ask(split="comp", split_seed=2)[4])


def test_queries_are_the_same_every_time() -> None:
    first, second = ask(), ask()
    assert all(torch.equal(first[level], second[level]) for level in first)


@pytest.mark.parametrize("other", [{"seed": 1}, {"partition": "val"}, {"split": "iid_disjoint"}, {"split_seed": 1}])
def test_queries_differ_where_what_they_may_depend_on_differs(other: dict[str, object]) -> None:
    assert not torch.equal(ask()[2], ask(**other)[2])  # type: ignore[arg-type]


def test_a_level_does_not_depend_on_the_other_levels_asked() -> None:
    assert torch.equal(ask(levels=[2])[2], ask()[2])
    assert list(ask(levels=[1, 3])) == [3, 1]


LARGE = Schema(tuple(Attribute(f"attribute_{k}", ("no", "yes")) for k in range(13)))


def test_a_large_schema_is_asked_about_concepts_of_images() -> None:
    assert MAX_COMBINATIONS < 2**13
    concepts = torch.randint(2, (3000, 13), generator=torch.Generator().manual_seed(0))
    by_level = ask(LARGE, concepts=lambda partition: concepts)
    assert list(by_level) == [13, 6, 3, 2, 1]
    assert all(each.shape == (480, 13) for each in by_level.values())
    rows = [int((concepts == query).all(1).nonzero()[0, 0]) for query in by_level[13]]
    # Drawn over the whole partition, not its beginning.
    assert max(rows) > 2000
    kept = by_level[6] >= 0
    assert torch.equal(by_level[6][kept], by_level[13][kept])


def test_a_large_schema_with_few_images_asks_each_once() -> None:
    concepts = torch.cat([torch.eye(13, dtype=torch.long), torch.zeros(1, 13, dtype=torch.long)])
    full = ask(LARGE, concepts=lambda partition: concepts)[13]
    assert torch.equal(full.unique(dim=0), concepts.unique(dim=0))
    assert len(full) == 14


def test_the_stored_queries_of_mnist_a() -> None:
    """Published numbers stand on these, bit for bit."""
    digests = {
        (split, level): hashlib.sha256(concepts.numpy().tobytes()).hexdigest()[:16]
        for split in ("iid", "comp")
        for level, concepts in ask(split=split).items()
    }
    assert digests == STORED


def test_fewer_concepts_are_a_subset_of_the_combinations() -> None:
    by_level = ask(num_queries=50)
    assert [len(each) for each in by_level.values()] == [100] * 4
    assert len(by_level[4].unique(dim=0)) == 50
    again = ask(num_queries=50)
    assert all(torch.equal(concepts, again[level]) for level, concepts in by_level.items())
    assert torch.equal(ask(num_queries=240)[2], ask()[2])
    held_out = {tuple(each) for each in compositional_split(MNIST_A_SCHEMA)["test"].tolist()}
    few = ask(split="comp", num_queries=5)[4]
    assert len(few.unique(dim=0)) == 5
    assert {tuple(each) for each in few.tolist()} < held_out
    concepts = torch.randint(2, (3000, 13), generator=torch.Generator().manual_seed(0))
    assert len(ask(LARGE, concepts=lambda partition: concepts, num_queries=7)[13]) == 14


PAIR = Schema(
    (*(Attribute(f"first_{k}", tuple("abcdefgh")) for k in range(2)), Attribute("relation", ("left", "right")),
     *(Attribute(f"second_{k}", tuple("abcdefgh")) for k in range(2))),
    given=("relation",),
)  # fmt: skip


def pairs(number: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(size, (number,), generator=generator) for size in PAIR.sizes], 1)


def test_the_given_attribute_is_in_every_query_and_counts_in_the_level() -> None:
    by_level = ask(PAIR, concepts=lambda partition: pairs(2000, 0))
    assert list(by_level) == [5, 4, 3, 2, 1]
    for level, concepts in by_level.items():
        assert ((concepts >= 0).sum(1) == level).all()
        assert (concepts[:, 2] >= 0).all()
    # Which of the others stay is uniform.
    counts = (ask(PAIR, concepts=lambda partition: pairs(2000, 0), query_repeats=6)[2] >= 0).sum(0)
    assert chisquare(counts[[0, 1, 3, 4]].numpy()).pvalue > 0.01


def test_comp_of_a_large_schema_asks_the_distinct_concepts_that_training_lacks() -> None:
    """An object is held out: no training image has it, every held-out image has, the schema's split is not asked."""
    everything = pairs(4000, 1)
    held_out = (everything[:, :2] == 3).all(1) | (everything[:, 3:] == 3).all(1)
    parts = {"train": everything[~held_out], "test": torch.cat([everything[held_out], everything[~held_out][:50]])}
    by_level = ask(PAIR, split="comp", concepts=parts.__getitem__, query_repeats=3)
    assert list(by_level) == [5]
    distinct, counts = by_level[5].unique(dim=0, return_counts=True)
    assert (counts == 3).all()
    assert torch.equal(distinct, everything[held_out].unique(dim=0))
    limited = ask(PAIR, split="comp", concepts=parts.__getitem__, query_repeats=3, num_queries=20)[5]
    assert len(limited.unique(dim=0)) == 20
    assert len(limited) == 60


def test_a_split_that_divides_objects_is_asked_through_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = LinesData(LinesSpec(split="comp"))
    parts = {"train": torch.tensor([[0, 0, 0, 0, 0]]), "test": torch.tensor([[3, 3, 1, 0, 0], [0, 0, 0, 0, 0]])}
    data.schema = PAIR
    monkeypatch.setattr(data, "combinations", lambda: {"train": [[0, 0]], "val": [], "test": [[3, 3]]})
    monkeypatch.setattr(data, "concepts", parts.__getitem__)
    (found,) = fixed_queries(data, EvaluationSpec(), "test")
    assert found.concepts.tolist() == [[3, 3, 1, 0, 0]] * 2


def test_named_queries_are_one_concept_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = LinesData(LinesSpec())
    monkeypatch.setattr(LinesSpec, "named_queries", lambda self: {"rare": "number=three, place=top-left"})
    (found,) = named_queries(data, EvaluationSpec(query_repeats=3), "test")
    assert (found.name, found.level, found.partition) == ("rare", 2, "test")
    assert found.concepts.tolist() == [[0, -1, 2]] * 3
    data.schema = Schema(data.schema.attributes, given=("direction",))
    with pytest.raises(ConfigError, match="query 'rare' must specify direction"):
        named_queries(data, EvaluationSpec(), "test")


@pytest.mark.parametrize("name", sorted({*datasets.self_contained()} & {*of_domain(datasets, "images")}))
def test_every_dataset_names_concepts_and_attributes_of_its_own(name: str) -> None:
    spec = datasets.parse(name)
    schema = spec.concept_schema()
    for text in spec.named_queries().values():
        concept = schema.indices(text)
        assert any(value >= 0 for value in concept)
        assert all(concept[k] >= 0 for k in schema.given_positions)
    for watched in spec.watched_attributes:
        assert schema.attributes[schema.names.index(watched)].values == ("no", "yes")
        assert watched not in schema.given


def test_official_needs_its_ten_samples() -> None:
    with pytest.raises(ConfigError, match=r"num_samples.*official.*10 samples"):
        EvaluationSpec.parse({"num_samples": 9})
    EvaluationSpec.parse({"num_samples": 9, "protocols": ["paper"]})


def test_comp_without_the_full_level_is_refused() -> None:
    dataset = {"name": "mnist_a", "split": "comp", "canvas": 32}
    trial = {"dataset": dataset, "backbone": "mnist_a_thin", "objective": "jmvae"}
    with pytest.raises(ConfigError, match="split comp is scored on full concepts only: add level 4"):
        TrialSpec.parse({**trial, "evaluation": {"levels": [1, 2]}})
    TrialSpec.parse({**trial, "evaluation": {"levels": [1, 4]}})
