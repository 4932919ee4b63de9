"""What is asked in the text view: only what captions can say."""

from __future__ import annotations

import torch
from torch import Tensor

from mmvae_bench.concepts import UNSPECIFIED
from mmvae_bench.evaluation.queries import make_queries
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA as FACES
from mmvae_bench.specs.built_in.datasets import TWO_OBJECT_SCHEMA as PAIRS
from mmvae_bench.specs.built_in.datasets import CelebA18Spec, TwoObjectClevrSpec
from mmvae_bench.specs.trial import EvaluationSpec

MALE = FACES.names.index("Male")


def faces(partition: str) -> Tensor:
    generator = torch.Generator().manual_seed(len(partition))
    return (torch.rand(500, 18, generator=generator) < 0.2).long()


def asked(spec: CelebA18Spec | TwoObjectClevrSpec, concepts: Tensor, **evaluation: object) -> dict[int, Tensor]:
    queries = make_queries(
        spec.concept_schema(),
        split="iid",
        split_seed=42,
        partition="test",
        evaluation=EvaluationSpec.parse({"num_queries": 200, "query_repeats": 1, **evaluation}),
        concepts=lambda partition: concepts,
        captions=spec.texts(),
    )
    assert all(each.groups is not None and len(each.groups) == len(each) for each in queries)
    return {each.level: each.concepts for each in queries}


def test_faces_are_asked_by_words_that_are_in_their_captions() -> None:
    spec, concepts = CelebA18Spec(view="text"), faces("test")
    captions = spec.captions()
    found = asked(spec, concepts)
    assert set(found) == {1, 2, 3, 9}, "the usual levels, as far as captions go"
    for level, queries in found.items():
        assert bool(((queries != UNSPECIFIED).sum(1) == level).all())
        others = [k for k in range(18) if k != MALE]
        assert bool((queries[:, others] != 0).all()), "absence has no word"
        assert bool((queries[:, MALE] == 0).any())
        captions.require_sayable(queries)
        tokens = captions.render(queries, index=torch.arange(len(queries)), seed=0)
        assert torch.equal(captions.parse(tokens), queries)
    few = concepts[(concepts == 1).sum(1) < 5]
    assert set(asked(spec, few, levels=[9, 2])) == {2}, "of these faces none has nine words"


def test_whoever_has_too_few_words_is_not_asked() -> None:
    concepts = faces("test")
    words = (concepts == 1).sum(1) + (concepts[:, MALE] == 0).long()
    found = asked(CelebA18Spec(view="text"), concepts, levels=[4], num_queries=500)
    assert len(found[4]) == int((words >= 4).sum())


def test_pairs_are_asked_whole() -> None:
    concepts = torch.stack([torch.randint(size, (300,)) for size in PAIRS.sizes], 1)
    found = asked(TwoObjectClevrSpec(view="text"), concepts)
    assert set(found) == {9}
    attributes = asked(TwoObjectClevrSpec(), concepts)
    assert torch.equal(attributes[9], found[9]), "the same questions in both views"
