"""Few labels: which images have them, and what a step sees."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data import supervision as few_labels
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.data.supervision import SupervisedLoader, without_labels
from mmvae_bench.specs.supervision import SupervisionSpec

labelled_rows = partial(few_labels.labelled_rows, training_seed=0)


def loader(
    data: ConceptDataModule, *, start: int = 0, stop: int = 40, seed: int = 0, rate: float = 0.3, **few: object
) -> SupervisedLoader:
    supervision = SupervisionSpec.parse({"labels_per_class": 2, "attributes": ["digit"], **few})
    return SupervisedLoader(data, supervision, rate=rate, batch_size=16, seed=seed, stage="fit", start=start, stop=stop)


@pytest.mark.parametrize("number", [1, 5])
def test_exactly_so_many_of_each_class(number: int, digits: ConceptDataModule) -> None:
    few = SupervisionSpec(labels_per_class=number, attributes=("digit",))
    rows = labelled_rows(digits, few)
    assert set(rows.tolist()) < set(digits.rows("train").tolist())
    assert digits.store.concepts[rows][:, 0].bincount().tolist() == [number] * 10
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(rows, labelled_rows(digits, few)), "the choice is the seed's alone"
    assert not torch.equal(rows, labelled_rows(digits, few.model_copy(update={"seed": 1})))


def test_each_training_seed_has_a_choice_of_its_own_where_that_is_asked_for(digits: ConceptDataModule) -> None:
    """And the batches of supervised steps are of that choice."""
    shared, own = (SupervisionSpec(labels_per_class=2, attributes=("digit",), by_seed=own) for own in (False, True))
    assert "by_seed" not in shared.canonical()
    choices = [few_labels.labelled_rows(digits, own, training_seed=seed) for seed in (0, 1)]
    assert not torch.equal(*choices)
    assert torch.equal(labelled_rows(digits, shared), few_labels.labelled_rows(digits, shared, training_seed=1))
    for seed, rows in enumerate(choices):
        assert digits.store.concepts[rows][:, 0].bincount().tolist() == [2] * 10
        seen = [batch.index for batch in loader(digits, seed=seed, by_seed=True) if not batch.unlabelled]
        assert set(torch.cat(seen).tolist()) == set(rows.tolist())


def test_a_class_of_several_attributes_is_a_combination_that_training_has(digits: ConceptDataModule) -> None:
    few = SupervisionSpec(labels_per_class=3, attributes=("location", "scale"))
    labels = digits.store.concepts[labelled_rows(digits, few)][:, [1, 3]]
    classes, counts = labels.unique(dim=0, return_counts=True)
    assert (len(classes), counts.tolist()) == (8, [3] * 8)
    every = SupervisionSpec(labels_per_class=1)
    combinations = digits.concepts("train").unique(dim=0)
    assert len(combinations) < 240, "some combinations are in no training image: they are no classes"
    chosen = digits.store.concepts[labelled_rows(digits, every)]
    assert torch.equal(chosen.unique(dim=0), combinations)
    assert len(chosen) == len(combinations)


def test_which_images_of_a_class_is_chosen_at_random(digits: ConceptDataModule) -> None:
    """Each equally often: over many seeds no image of a class is left out or preferred."""
    rows = digits.rows("train")
    same = rows[digits.store.concepts[rows][:, 0] == 3]
    counts = dict.fromkeys(same.tolist(), 0)
    for seed in range(300):
        chosen = labelled_rows(digits, SupervisionSpec(labels_per_class=4, attributes=("digit",), seed=seed))
        for row in set(chosen.tolist()) & counts.keys():
            counts[row] += 1
    expected = 300 * 4 / len(same)
    assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5


def test_a_fraction_is_of_the_training_images(digits: ConceptDataModule) -> None:
    total = len(digits.rows("train"))
    for fraction, number in ((0.25, round(total / 4)), (1.0, total), (1e-6, 1)):
        assert len(labelled_rows(digits, SupervisionSpec(fraction=fraction))) == number


def test_a_class_with_too_few_images_is_named(digits: ConceptDataModule) -> None:
    counts = digits.concepts("train")[:, 0].bincount()
    least, digit = int(counts.min()), int(counts.argmin())
    labelled_rows(digits, SupervisionSpec(labels_per_class=least, attributes=("digit",)))
    with pytest.raises(BenchmarkError, match=rf"10 classes, but digit={digit} has only {least} training images"):
        labelled_rows(digits, SupervisionSpec(labels_per_class=least + 1, attributes=("digit",)))


def test_a_step_is_wholly_labelled_or_wholly_not(digits: ConceptDataModule) -> None:
    few = SupervisionSpec(labels_per_class=2, attributes=("digit",))
    known, batches = set(labelled_rows(digits, few).tolist()), list(loader(digits))
    assert len(batches) == 40
    labelled = [step for step, batch in enumerate(batches) if not batch.unlabelled]
    assert labelled == [step for step in range(40) if int((step + 1) * 3) // 10 > (step * 3) // 10]
    for step, batch in enumerate(batches):
        truth = digits.store.concepts[batch.index]
        if step in labelled:
            assert set(batch.index.tolist()) <= known
            assert torch.equal(batch.concept, truth)
        else:
            assert bool((batch.concept[:, 0] == -1).all()), "no label is seen, not even that of a labelled image"
            assert torch.equal(batch.concept[:, 1:], truth[:, 1:]), "the other attributes are known"
    seen = {int(row) for batch in batches if batch.unlabelled for row in batch.index}
    assert known & seen, "among the images of an unlabelled step are the labelled ones"
    assert seen - known <= set(digits.rows("train").tolist())
    assert len(seen) > 0.9 * len(digits.rows("train"))


def test_labels_of_all_attributes_are_hidden_by_default(digits: ConceptDataModule) -> None:
    batches = loader(digits, attributes=None, labels_per_class=None, fraction=0.5, stop=9)
    assert all(bool((batch.concept == -1).all()) == batch.unlabelled for batch in batches)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_zero_or_one(rate: float, digits: ConceptDataModule) -> None:
    batches = list(loader(digits, rate=rate, stop=30))
    assert {batch.unlabelled for batch in batches} == {rate == 0}
    if rate == 0:
        plain = digits.training_loader(batch_size=16, seed=0, stage="fit", start=0, stop=30)
        assert all(torch.equal(mine.index, other.index) for mine, other in zip(batches, plain, strict=True))


@pytest.mark.parametrize("start", [1, 3, 17, 39])
def test_going_on_from_any_step_gives_the_same_batches(start: int, digits: ConceptDataModule) -> None:
    whole, rest = list(loader(digits)), list(loader(digits, start=start))
    assert len(rest) == 40 - start
    for mine, other in zip(rest, whole[start:], strict=True):
        assert torch.equal(mine.index, other.index)
        assert torch.equal(mine.concept, other.concept)


def test_a_supervised_step_takes_all_labelled_images_where_they_are_fewer_than_a_batch(
    digits: ConceptDataModule,
) -> None:
    few = SupervisionSpec(labels_per_class=1, attributes=("digit",))
    batches = [batch for batch in loader(digits, labels_per_class=1) if not batch.unlabelled]
    assert all(sorted(batch.index.tolist()) == labelled_rows(digits, few).tolist() for batch in batches)
    assert any(not torch.equal(first.index, second.index) for first, second in pairwise(batches))


def test_the_images_and_the_stores_labels_are_as_before(digits: ConceptDataModule) -> None:
    before = digits.store.concepts.clone()
    batch = digits.store.batch(digits.rows("train")[:5])
    hidden = without_labels(batch, (0, 2))
    assert hidden.lacks_labels
    assert not batch.lacks_labels
    assert torch.equal(hidden.image, batch.image)
    assert torch.equal(digits.store.concepts, before)
    assert bool((batch.concept >= 0).all())
    assert hidden.to("cpu").unlabelled, "where it goes, the batch still says that labels were hidden"
    assert Batch(batch.image, hidden.concept, batch.index).lacks_labels
