from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mmvae_bench.concepts import Attribute, Schema, compositional_split
from mmvae_bench.evaluation.queries import MAX_COMBINATIONS, make_queries
from mmvae_bench.specs.datasets.mnist_a import SCHEMA
from mmvae_bench.specs.errors import ConfigError
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec


def no_concepts() -> Tensor:
    raise AssertionError("a small schema needs no image")


def ask(
    schema: Schema = SCHEMA,
    split: str = "iid",
    split_seed: int = 42,
    partition: str = "test",
    concepts: Callable[[], Tensor] = no_concepts,
    **evaluation: object,
) -> dict[int, Tensor]:
    queries = make_queries(
        schema,
        split=split,
        split_seed=split_seed,
        partition=partition,
        evaluation=EvaluationSpec.parse(evaluation),
        concepts=concepts,
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
    assert torch.equal(full, SCHEMA.combinations())
    assert (counts == 2).all()


@pytest.mark.parametrize("split", ["iid", "comp"])
def test_queries_of_one_full_concept_are_one_group(split: str) -> None:
    queries = make_queries(
        SCHEMA,
        split=split,
        split_seed=42,
        partition="test",
        evaluation=EvaluationSpec(query_repeats=3),
        concepts=no_concepts,
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
        held_out = {tuple(each) for each in compositional_split(SCHEMA)[partition].tolist()}
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
    by_level = ask(LARGE, concepts=lambda: concepts)
    assert list(by_level) == list(range(13, 0, -1))
    assert all(each.shape == (480, 13) for each in by_level.values())
    rows = [int((concepts == query).all(1).nonzero()[0, 0]) for query in by_level[13]]
    # Drawn over the whole partition, not its beginning.
    assert max(rows) > 2000
    kept = by_level[4] >= 0
    assert torch.equal(by_level[4][kept], by_level[13][kept])


def test_a_large_schema_with_few_images_asks_each_once() -> None:
    concepts = torch.cat([torch.eye(13, dtype=torch.long), torch.zeros(1, 13, dtype=torch.long)])
    full = ask(LARGE, concepts=lambda: concepts)[13]
    assert torch.equal(full.unique(dim=0), concepts.unique(dim=0))
    assert len(full) == 14


def test_official_needs_its_ten_samples() -> None:
    with pytest.raises(ConfigError, match=r"num_samples.*official.*10 samples"):
        EvaluationSpec.parse({"num_samples": 9})
    EvaluationSpec.parse({"num_samples": 9, "protocols": ["paper"]})


def test_comp_without_the_full_level_is_refused() -> None:
    dataset = {"name": "mnist_a", "split": "comp", "canvas": 32}
    trial = {"dataset": dataset, "backbone": "mnist_a_thin", "objective": "jmvae"}
    with pytest.raises(ConfigError, match="split comp asks for full concepts only: add level 4"):
        TrialSpec.parse({**trial, "evaluation": {"levels": [1, 2]}})
    TrialSpec.parse({**trial, "evaluation": {"levels": [1, 4]}})
