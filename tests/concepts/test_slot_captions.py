from __future__ import annotations

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import UNSPECIFIED
from mmvae_bench.concepts.captions import BLANK, SlotCaptions
from mmvae_bench.specs.built_in.datasets import TWO_OBJECT_SCHEMA


@pytest.fixture
def captions() -> SlotCaptions:
    return SlotCaptions(TWO_OBJECT_SCHEMA)


def random_concepts(num: int, *, partial: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(num, len(TWO_OBJECT_SCHEMA), generator=generator)
    concepts = (u * torch.tensor(TWO_OBJECT_SCHEMA.sizes)).long()
    if partial:
        concepts[torch.rand(concepts.shape, generator=generator) < 0.4] = UNSPECIFIED
    return concepts


@pytest.mark.parametrize("partial", [False, True])
def test_reading_back_gives_the_concept(captions: SlotCaptions, partial: bool) -> None:
    concepts = random_concepts(2000, partial=partial)
    tokens = captions.render(concepts, index=torch.arange(2000), seed=0)
    assert torch.equal(captions.parse(tokens), concepts)
    assert torch.equal(tokens == BLANK, concepts == UNSPECIFIED)
    assert torch.equal(torch.stack([captions.tokens(captions.text(row)) for row in tokens[:200]]), tokens[:200])


def test_the_words_are_those_of_the_concept(captions: SlotCaptions) -> None:
    concept = TWO_OBJECT_SCHEMA.parse(
        "size_1=small, colour_1=red, material_1=metal, shape_1=cube, relation=behind, "
        "size_2=large, colour_2=gray, material_2=rubber, shape_2=sphere"
    )
    text = "small red metal cube behind large gray rubber sphere"
    assert captions.text(captions.render(concept[None], index=torch.tensor([5]), seed=1)[0]) == text
    assert torch.equal(captions.parse(captions.tokens(text)[None])[0], concept)
    # The blank word, 2 sizes, 8 colours, 2 materials, 3 shapes, 4 relations; both objects share their words.
    assert len(captions.vocabulary) == 20


def test_a_word_in_another_place_is_refused(captions: SlotCaptions) -> None:
    with pytest.raises(ValueError, match=r"word 1 is 'red' and names size_1: small, large"):
        captions.parse(captions.tokens("red small metal cube behind large gray rubber sphere")[None])
    with pytest.raises(ValueError, match="not in the vocabulary: tiny"):
        captions.tokens("tiny red metal cube behind large gray rubber sphere")


def test_lenient_reading_passes_over_misplaced_words(captions: SlotCaptions) -> None:
    tokens = captions.tokens("red small metal cube behind large gray rubber sphere")
    read = captions.parse_leniently(tokens[None])[0]
    expected = "material_1=metal, shape_1=cube, relation=behind, "
    expected += "size_2=large, colour_2=gray, material_2=rubber, shape_2=sphere"
    assert TWO_OBJECT_SCHEMA.format(read.tolist()) == expected
    concepts = random_concepts(500, partial=True)
    tokens = captions.render(concepts, index=torch.arange(500), seed=0)
    assert torch.equal(captions.parse_leniently(tokens), concepts)


def test_a_concept_that_is_not_whole_cannot_be_said(captions: SlotCaptions) -> None:
    concept = random_concepts(1, partial=False)
    captions.require_sayable(concept)
    concept[0, [1, 8]] = UNSPECIFIED
    with pytest.raises(ConfigError, match=r"names every attribute.*: specify colour_1, shape_2"):
        captions.require_sayable(concept)
