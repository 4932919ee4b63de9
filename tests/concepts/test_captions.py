"""Captions of CelebA-18 and of slots: what is said, in what order, and what a reader takes from it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import UNSPECIFIED, Attribute, Schema
from mmvae_bench.concepts.captions import BLANK, PresenceCaptions, SlotCaptions
from mmvae_bench.specs.built_in.datasets import CELEBA18_SCHEMA, TWO_OBJECT_SCHEMA, CelebA18Spec

CAPTIONS = CelebA18Spec().captions()
MALE = CELEBA18_SCHEMA.names.index("Male")

concepts = st.lists(st.sampled_from((-1, 0, 1)), min_size=18, max_size=18)


def words_of(concept: list[int]) -> set[str]:
    """A second opinion: what the paper says, in plain Python."""
    said = {name for name, value in zip(CELEBA18_SCHEMA.names, concept, strict=True) if value == 1}
    return said | ({"Female"} if concept[MALE] == 0 else set())


def render(concept: list[int], index: int = 0, seed: int = 0) -> torch.Tensor:
    return CAPTIONS.render(torch.tensor([concept]), index=torch.tensor([index]), seed=seed)


def test_the_vocabulary_is_the_papers() -> None:
    assert len(CAPTIONS.vocabulary) == 20
    assert CAPTIONS.vocabulary[0] == "-"
    assert CAPTIONS.max_words == 9
    assert set(CAPTIONS.vocabulary[1:]) == {*CELEBA18_SCHEMA.names, "Female"}


@given(concepts, st.integers(0, 10**9))
@settings(max_examples=80, deadline=None)
def test_a_caption_says_what_is_present_and_nothing_else(concept: list[int], index: int) -> None:
    tokens = render(concept, index)
    words = CAPTIONS.text(tokens[0]).split()
    expected = words_of(concept)
    assert len(words) == len(set(words)) == min(9, len(expected))
    assert set(words) <= expected
    read = CAPTIONS.parse(tokens)[0].tolist()
    assert words_of(read) == set(words)
    assert all(value == concept[position] for position, value in enumerate(read) if value != -1)
    assert torch.equal(CAPTIONS.tokens(" ".join(words)), tokens[0])


def test_absence_is_unspecified_to_the_reader_except_for_male() -> None:
    read = CAPTIONS.parse(render([0] * 18))[0]
    assert read[MALE] == 0
    assert (read == -1).sum() == 17


def test_nothing_said_specifies_nothing() -> None:
    assert CAPTIONS.parse(torch.zeros(1, 9, dtype=torch.long)).tolist() == [[-1] * 18]


def test_every_order_is_as_likely() -> None:
    concept = [0] * 18
    for name in ("Smiling", "Bald", "Male"):
        concept[CELEBA18_SCHEMA.names.index(name)] = 1
    index = torch.arange(12_000)
    tokens = CAPTIONS.render(torch.tensor([concept]).expand(len(index), -1), index=index, seed=3)
    orders = Counter(map(tuple, tokens[:, :3].tolist()))
    assert len(orders) == 6
    # 2000 expected of each, standard deviation 41.
    assert all(abs(count - 2000) < 200 for count in orders.values())


def test_too_many_words_lose_each_as_often() -> None:
    present = torch.ones(1, 18, dtype=torch.long)
    index = torch.arange(9000)
    tokens = CAPTIONS.render(present.expand(len(index), -1), index=index, seed=0)
    counts = tokens.flatten().bincount(minlength=20)
    assert counts[0] == 0
    assert counts[19] == 0
    # Half of the 18 words stay: 4500 expected of each, standard deviation 47.
    assert ((counts[1:19] - 4500).abs() < 240).all()


def test_a_caption_is_a_function_of_seed_and_index() -> None:
    concept = [1] * 18
    assert torch.equal(render(concept, 5), render(concept, 5))
    assert not torch.equal(render(concept, 5), render(concept, 6))
    assert not torch.equal(render(concept, 5, seed=1), render(concept, 5))
    both = CAPTIONS.render(torch.tensor([concept, concept]), index=torch.tensor([9, 5]), seed=0)
    assert torch.equal(both[1:], render(concept, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bald Bald", "the same attribute"),
        ("Male Female", "the same attribute"),
        ("Female Smiling Female", "the same attribute"),
    ],
)
def test_impossible_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAPTIONS.parse(CAPTIONS.tokens(text)[None])


def test_a_word_after_a_blank_is_impossible() -> None:
    with pytest.raises(ValueError, match="caption 1 is impossible, a word follows a blank"):
        CAPTIONS.parse(torch.tensor([[1] + [0] * 8, [0, 1] + [0] * 7]))


@pytest.mark.parametrize("token", [-1, 20])
def test_tokens_outside_the_vocabulary(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token}"):
        CAPTIONS.parse(torch.tensor([[token] + [0] * 8]))


def test_wrong_words_and_lengths() -> None:
    with pytest.raises(ValueError, match="not in the vocabulary: Bold"):
        CAPTIONS.tokens("Bold Male")
    with pytest.raises(ValueError, match="at most 9"):
        CAPTIONS.tokens(" ".join(CELEBA18_SCHEMA.names[:10]))
    with pytest.raises(ValueError, match=r"Long\[B, 9\]"):
        CAPTIONS.parse(torch.zeros(1, 8, dtype=torch.long))


def test_only_binary_attributes_are_present_or_absent() -> None:
    schema = Schema((Attribute("digit", ("0", "1", "2")),))
    with pytest.raises(ValueError, match="binary"):
        PresenceCaptions(schema, opposites={}, max_words=3)


def test_captions_longer_than_the_vocabulary_are_blank_at_the_end() -> None:
    schema = Schema((Attribute("Male", ("no", "yes")),))
    captions = PresenceCaptions(schema, opposites={"Male": "Female"}, max_words=4)
    assert captions.render(torch.tensor([[1], [0]]), index=torch.arange(2), seed=0).tolist() == [
        [1, 0, 0, 0],
        [2, 0, 0, 0],
    ]


def test_lenient_reading_passes_over_contradictions() -> None:
    texts = ["Bald Bald Smiling", "Male Female Bangs", "Female"]
    tokens = torch.stack([CAPTIONS.tokens(text) for text in texts])
    read = CAPTIONS.parse_leniently(tokens)
    assert [CELEBA18_SCHEMA.format(row) for row in read.tolist()] == ["Bald=yes, Smiling=yes", "Bangs=yes", "Male=no"]


@given(concepts, st.integers(0, 10**9))
@settings(max_examples=40, deadline=None)
def test_lenient_reading_of_a_possible_caption_is_reading(concept: list[int], index: int) -> None:
    tokens = render(concept, index)
    assert torch.equal(CAPTIONS.parse_leniently(tokens), CAPTIONS.parse(tokens))


def test_what_cannot_be_said_is_named() -> None:
    CAPTIONS.require_sayable(CELEBA18_SCHEMA.parse("Male=no, Bald=yes")[None])
    with pytest.raises(ConfigError, match="no word for Bald=no: leave Bald unspecified"):
        CAPTIONS.require_sayable(CELEBA18_SCHEMA.parse("Male=yes, Bald=no")[None])
    with pytest.raises(ConfigError, match="at most 9 words: specify at most that many attributes, not 18"):
        CAPTIONS.require_sayable(torch.ones(1, 18, dtype=torch.long))


def test_an_unknown_word_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        CAPTIONS.indices("Smilling Male Bald_")
    assert [problem.near for problem in caught.value.problems] == ["Smiling", "Bald"]
    assert "Wearing_Hat" in str(caught.value)


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
