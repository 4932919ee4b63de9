"""The classifier of colour images: it uses what it is told, and reads places."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.evaluation.classifier import (
    ObservationClassifier,
    RgbNetwork,
    coordinates,
    read_concepts,
    shifted,
)
from mmvae_bench.evaluation.classifier_training import train
from mmvae_bench.specs.built_in.classifiers import ConvRgbSpec

from .squares import RELATIONS, SQUARES, SquaresData, SquaresSpec, draw_squares


@pytest.fixture(scope="module")
def classifier() -> ObservationClassifier:
    data = SquaresData(SquaresSpec())
    data.setup()
    return train(ConvRgbSpec(steps=300, width=8, hidden=32), data)


def test_the_relation_tells_which_object_comes_first(classifier: ObservationClassifier) -> None:
    """Told the opposite relation it names the same two colours in the other order."""
    assert set(classifier.accuracy) == {"colour_1", "colour_2"}
    assert min(classifier.accuracy.values()) > 0.95
    assert classifier.mean_accuracy == pytest.approx(sum(classifier.accuracy.values()) / 2)
    images, concepts = draw_squares(1500, seed=9)
    different = concepts[:, 0] != concepts[:, 2]
    images, concepts = images[different], concepts[different]
    read = classifier.predict(images, given=concepts)
    assert (read[:, 1] == -1).all()
    assert float((read[:, [0, 2]] == concepts[:, [0, 2]]).double().mean()) > 0.95
    opposite = concepts.clone()
    opposite[:, 1] = torch.tensor([RELATIONS.index(name) for name in ("right", "left", "behind", "front")])[
        concepts[:, 1]
    ]
    swapped = classifier.predict(images, given=opposite)
    assert float((swapped[:, [0, 2]] == concepts[:, [2, 0]]).double().mean()) > 0.95
    # A relation that says nothing of the true one: as good as tossing a coin for the order.
    blind = concepts.clone()
    blind[:, 1] = torch.randint(4, (len(blind),), generator=torch.Generator().manual_seed(0))
    guessed = classifier.predict(images, given=blind)
    assert float((guessed[:, [0, 2]] == concepts[:, [0, 2]]).double().mean()) == pytest.approx(0.5, abs=0.06)


class OneHead(nn.Module):
    """One verdict for two attributes."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.zeros(len(images), 3)]


def test_a_network_with_too_few_heads_is_refused() -> None:
    """Its one verdict would be copied to every attribute."""
    schema = Schema((Attribute("red", ("no", "yes", "very")), Attribute("big", ("no", "yes", "very"))))
    message = r"OneHead returns logits of shapes \[\(4, 3\)\], expected one for each attribute: red \(4, 3\), big"
    with pytest.raises(ValueError, match=message):
        read_concepts(OneHead(), torch.zeros(4, 1, 2, 2), None, schema)


def test_a_classifier_that_has_learnt_nothing_but_nan_is_refused() -> None:
    data = SquaresData(SquaresSpec())
    data.setup()
    with pytest.raises(
        BenchmarkError, match=r"the classifier conv_rgb has a loss of nan after its 3 steps .*below 1e\+38"
    ):
        train(ConvRgbSpec(steps=3, width=2, hidden=4, learning_rate=1e38), data)


def test_it_must_be_told(classifier: ObservationClassifier) -> None:
    images, concepts = draw_squares(5, seed=1)
    with pytest.raises(ValueError, match="classifier needs relation with every image"):
        classifier.predict(images)
    concepts[0, 1] = -1
    with pytest.raises(ValueError, match="classifier needs relation with every image"):
        classifier.predict(images, given=concepts)
    # Only the given attributes are looked at.
    concepts[0, 1] = 0
    hidden = concepts.clone()
    hidden[:, [0, 2]] = -1
    assert torch.equal(classifier.predict(images, given=concepts), classifier.predict(images, given=hidden))


@pytest.mark.parametrize("side", [32, 56, 64, 112, 128])
def test_it_takes_colour_images_of_many_sizes(side: int) -> None:
    schema = Schema(tuple(Attribute(f"word_{k}", ("a", "b", "c")[: 2 + k % 2]) for k in range(5)))
    network = RgbNetwork(ConvRgbSpec(width=4, hidden=8), schema=schema, image_shape=(3, side, side)).eval()
    assert [tuple(part.shape) for part in network(torch.rand(2, 3, side, side))] == [(2, 2 + k % 2) for k in range(5)]


def test_combinations_of_several_given_values_are_told_apart() -> None:
    schema = Schema(
        tuple(Attribute(name, tuple("abcd")[:size]) for name, size in (("x", 3), ("y", 2), ("z", 4))), given=("x", "z")
    )
    network = RgbNetwork(ConvRgbSpec(width=4, hidden=8), schema=schema, image_shape=(3, 16, 16))
    told = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    assert network._combination(told).tolist() == list(range(12))
    assert len(network(torch.rand(12, 3, 16, 16), told)) == 1


def test_coordinates_are_those_of_the_places() -> None:
    x, y = coordinates(torch.zeros(1, 5, 2, 3))[0].reshape(2, 2, 3)
    assert x.tolist() == [[-1, 0, 1]] * 2
    assert y.tolist() == [[-1] * 3, [1] * 3]
    assert SQUARES.scored_positions == (0, 2)


def test_shifted_images_are_the_images_elsewhere() -> None:
    """Every image is one of the moves, found by padding and cutting; all moves occur; nothing is moved in eval mode."""
    torch.manual_seed(0)
    images = torch.rand(400, 2, 10, 20)
    moved = shifted(images, fraction=0.1)
    padded = torch.nn.functional.pad(images, (2, 2, 1, 1), mode="replicate")
    found = set()
    for number in range(len(images)):
        moves = [
            (dy, dx) for dy in (-1, 0, 1) for dx in (-2, -1, 0, 1, 2)
            if torch.equal(moved[number], padded[number, :, 1 + dy : 11 + dy, 2 + dx : 22 + dx])
        ]  # fmt: skip
        assert len(moves) == 1
        found.add(moves[0])
    assert len(found) == 3 * 5
