"""What is relied on of a dataset. A large one is tested with small settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from ..base.errors import BenchmarkError, ConfigError
from ..concepts.captions import CAPTION_SEED
from ..data.base import PARTITIONS, ConceptDataModule
from ..specs.components import DatasetSpec, classifiers

NUM_LOOKED_AT = 64
"""Images that are looked at."""


@cache
def _built(spec: DatasetSpec) -> ConceptDataModule:
    data: ConceptDataModule = spec.build()
    data.workers = 0
    data.prepare_data()
    data.setup()
    return data


def _rows(data: ConceptDataModule) -> torch.Tensor:
    return torch.cat([data.rows(partition)[:NUM_LOOKED_AT] for partition in PARTITIONS])


def images_and_concepts_are_in_range(spec: DatasetSpec) -> None:
    """Images in [0, 1] of the shape that the spec says, and concepts of its schema, fully specified."""
    data = _built(spec)
    batch = data.store.batch(_rows(data))
    shape = tuple(spec.image_shape())
    assert tuple(batch.image.shape[1:]) == shape, f"images are {tuple(batch.image.shape[1:])}; image_shape() is {shape}"
    assert batch.image.dtype == torch.float32, f"images are {batch.image.dtype}, not float32"
    low, high = batch.image.min().item(), batch.image.max().item()
    assert 0 <= low <= high <= 1, f"pixels are from {low:.3g} to {high:.3g}, not in [0, 1]"
    schema = spec.concept_schema()
    try:
        schema.check(batch.concept)
    except ValueError as error:
        raise AssertionError(f"concepts do not fit concept_schema(): {error}") from None
    assert bool((batch.concept >= 0).all()), "the concept of an image leaves attributes open (-1)"
    masks = 0 if batch.mask is None else batch.mask.shape[1]
    assert masks == spec.masks, f"{masks} masks come with an image, and the spec says masks = {spec.masks}"


def strengths_are_scores_of_the_concept(spec: DatasetSpec) -> None:
    """If the spec declares them: a finite number for each attribute, all of which are binary, above 0 exactly where it
    has its second value."""
    batch = _built(spec).store.batch(_rows(_built(spec)))
    assert (batch.strength is not None) == spec.strengths, f"strengths = {spec.strengths} is not what the batches hold"
    if batch.strength is None:
        return
    sizes = set(spec.concept_schema().sizes)
    assert sizes == {2}, f"strengths are for binary attributes, and there are attributes of {max(sizes)} values"
    assert batch.strength.dtype == torch.float32, f"strengths are {batch.strength.dtype}, not float32"
    assert bool(batch.strength.isfinite().all()), "strengths are not finite"
    assert torch.equal(batch.strength > 0, batch.concept == 1), "the sign of a strength is not that of its value"


def partitions_share_no_image(spec: DatasetSpec) -> None:
    """train, val and test: none is empty, none has an image of another."""
    data = _built(spec)
    rows = {partition: data.rows(partition).tolist() for partition in PARTITIONS}
    seen: dict[int, str] = {}
    for partition, found in rows.items():
        assert found, f"{partition} has no images"
        for row in found:
            assert 0 <= row < len(data.store), f"{partition} has row {row} of {len(data.store)} images"
            assert row not in seen, f"row {row} is in {seen[row]} and in {partition}"
            seen[row] = partition


def the_same_spec_gives_the_same_images(spec: DatasetSpec) -> None:
    """Fingerprint, partitions, pixels and concepts: results of two machines must be of the same data."""
    one = _built(spec)
    other: ConceptDataModule = spec.build()
    other.workers = 0
    assert one.fingerprint == other.fingerprint, "the fingerprint is another one for the same spec"
    other.prepare_data()
    other.setup()
    for partition in PARTITIONS:
        assert torch.equal(one.rows(partition), other.rows(partition)), f"{partition} is not the same the second time"
    rows = _rows(one)
    first, second, again = one.store.batch(rows), other.store.batch(rows), one.store.batch(rows.flip(0))
    for name in ("image", "concept"):
        mine = getattr(first, name)
        assert torch.equal(mine, getattr(second, name)), f"another {name} for the same row of the same spec"
        assert torch.equal(mine, getattr(again, name).flip(0)), f"the {name} of a row depends on the rows beside it"


def another_split_is_of_the_same_images(spec: DatasetSpec) -> None:
    """A split divides the same images: it is no part of the fingerprint, which says what they are."""
    other: ConceptDataModule = spec.model_copy(update={"split_seed": spec.split_seed + 1}).build()
    assert _built(spec).fingerprint == other.fingerprint, "the fingerprint depends on split_seed"


def captions_are_read_back(spec: DatasetSpec) -> None:
    """If it has a text view: a caption says nothing that is not so, and reads the same as text and as tokens."""
    try:
        captions = type(spec).parse(spec.canonical() | {"view": "text"}).captions()
    except BenchmarkError:
        return
    rows = _rows(_built(spec))
    concepts = _built(spec).store.batch(rows).concept
    tokens = captions.render(concepts, index=rows, seed=CAPTION_SEED)
    captions.check(tokens)
    assert torch.equal(tokens, captions.render(concepts, index=rows, seed=CAPTION_SEED)), (
        "another caption for the same image: its random part must depend on index and seed alone"
    )
    try:
        said = captions.parse(tokens)
    except ValueError as error:
        raise AssertionError(f"a caption that render gives is refused by parse: {error}") from None
    wrong = (said >= 0) & (said != concepts)
    if bool(wrong.any()):
        row, k = wrong.nonzero()[0].tolist()
        shown = spec.concept_schema().format(concepts[row].tolist())
        raise AssertionError(f"the caption {captions.text(tokens[row])!r} of {shown} is read as another value of "
                             f"{spec.concept_schema().names[k]}")  # fmt: skip
    assert bool((said >= 0).any()), "no caption says anything"
    assert torch.equal(captions.parse_leniently(tokens), said), "parse_leniently reads otherwise what parse accepts"
    for row in tokens[:8]:
        text = captions.text(row)
        assert torch.equal(captions.tokens(text), row), f"the caption {text!r} gives other tokens than those it is of"


def its_classifier_exists(spec: DatasetSpec) -> None:
    """The one that reads attributes from imagined images."""
    name = spec.default_classifier()
    try:
        classifiers.parse(name)
    except ConfigError as error:
        raise AssertionError(f"default_classifier() is {name!r}: {error}") from None


CHECKS: list[Callable[[Any], None]] = [
    images_and_concepts_are_in_range,
    strengths_are_scores_of_the_concept,
    partitions_share_no_image,
    the_same_spec_gives_the_same_images,
    another_split_is_of_the_same_images,
    captions_are_read_back,
    its_classifier_exists,
]
