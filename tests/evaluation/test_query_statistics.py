"""Batch norm on the statistics of one query's images, against normalisation by hand and a decoder in training mode."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.questions.query_statistics import batch_statistics
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import objectives

from ..conformance.worlds import BANDS, BandsData, small, world
from .fakes import context, question

NUM = 5


@pytest.fixture
def data() -> BandsData:
    return world("rgb_thin")


@pytest.fixture
def model(data: BandsData) -> Objective:
    """With running statistics that are those of no batch."""
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    built = objectives.parse("telbo").build(backbone, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
    return built.eval()


class Brightness(nn.Module):
    """Reads values off the brightness of three parts: a continuous function of the images, cut into values."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append(images)
        parts = images.flatten(1).chunk(len(BANDS.sizes), 1)
        return [
            -(part.mean(1, keepdim=True) - torch.linspace(0.3, 0.7, size)).abs()
            for part, size in zip(parts, BANDS.sizes, strict=True)
        ]


def reader(data: BandsData) -> ObservationClassifier:
    concepts = data.concepts("test")
    return ObservationClassifier("reader", "0" * 12, Brightness(), BANDS, HeldOut(concepts, concepts.clone()))


def test_a_batch_is_normalised_by_its_own_mean_and_variance() -> None:
    """By hand: the biased variance over batch and pixels, then scale and shift."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).eval()
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    network, values = nn.Sequential(norm), torch.randn(4, 3, 2, 5) * 3 + 7
    assert norm.running_mean is not None
    running, plain = (norm.running_mean, norm.running_mean.clone()), network(values)
    with batch_statistics(network):
        found = network(values)
    mean = values.mean((0, 2, 3), keepdim=True)
    variance = ((values - mean) ** 2).mean((0, 2, 3), keepdim=True)
    shape = (1, 3, 1, 1)
    wanted = (values - mean) / (variance + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, plain)
    assert norm.running_mean is running[0], "the very same buffer"
    assert torch.equal(norm.running_mean, running[1])
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0
    assert torch.equal(network(values), plain)


def test_statistics_are_put_back_after_an_error() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2)).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="stop"), batch_statistics(network):
        raise RuntimeError("stop")
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_images_are_those_of_a_decoder_in_training_mode_on_one_query(data: BandsData, model: Objective) -> None:
    """As the released code runs it: the same z through a copy of the decoder in training mode, query by query."""
    judge = reader(data)
    asked = context(model, data, judge, num_samples=NUM, query_repeats=1, protocols=["paper"], images="mean")
    trained = copy.deepcopy(model.image_decoder).train()
    question_ = question("query_statistics")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    drawn: list[Tensor] = []
    draw = model.draw_latents

    def spy(concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        found = draw(concept, num_samples)
        drawn.append(found[0])
        return found

    model.draw_latents = spy  # type: ignore[method-assign]
    assert isinstance(judge.network, Brightness)
    seen = judge.network.seen
    with torch.no_grad():
        read = question_.predictions(asked, asked.queries[1], mean=True)  # type: ignore[attr-defined]
        assert len(drawn) == len(seen) == len(asked.queries[1])
        for z, images in zip(drawn, seen, strict=True):
            assert z.shape[0] == NUM
            torch.testing.assert_close(images, trained(z).mean.clamp(0, 1))
            assert not torch.allclose(images, model.image_decoder(z).mean.clamp(0, 1), atol=1e-3)
    assert read.shape == (len(asked.queries[1]), NUM, len(BANDS))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_layers_that_both_decoders_share_are_a_part_of_the_image_decoder(data: BandsData) -> None:
    """Also where they alone have batch norm: the same images as with the layers in training mode."""
    backbone = small("patches").build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse({"name": "q_agg", "shared_decoder": True}).build(backbone, seed=0).eval()
    asked = question("query_statistics")
    assert asked.reason_not(model, data) is None
    shared = copy.deepcopy(model.shared_decoder).train()
    judge, drawn, draw = reader(data), list[Tensor](), model.draw_latents

    def spy(concept: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        found = draw(concept, num_samples)
        drawn.append(found[0])
        return found

    model.draw_latents = spy  # type: ignore[method-assign]
    given = context(model, data, judge, num_samples=NUM, query_repeats=1, protocols=["paper"], images="mean")
    with torch.no_grad():
        asked.predictions(given, given.queries[0], mean=True)  # type: ignore[attr-defined]
        assert isinstance(judge.network, Brightness)
        for z, images in zip(drawn, judge.network.seen, strict=True):
            torch.testing.assert_close(images, model.image_decoder(shared(z)).mean.clamp(0, 1))
            assert not torch.allclose(images, model.image_likelihood(z).mean.clamp(0, 1), atol=1e-3)


def test_the_scores_are_those_of_these_images_under_each_protocol(data: BandsData, model: Objective) -> None:
    judge = reader(data)
    asked = context(model, data, judge, num_samples=12, query_repeats=1, protocols=["official", "paper"], images="both")
    with torch.no_grad():
        scores = question("query_statistics").ask(asked)
        (top, *_) = asked.queries
        read = question("query_statistics").predictions(asked, top, mean=True)  # type: ignore[attr-defined]
    assert {each.protocol for each in scores} == {"official", "paper"}
    assert {each.metric.removesuffix("_mean_images") for each in scores} == {
        f"{metric}_query_statistics" for metric in ("correctness", "coverage", "joint_divergence")
    }
    right = (read == top.concepts[:, None]).double().mean((1, 2))
    (mine,) = (
        each for each in scores
        if (each.metric, each.protocol, each.level, each.attribute)
        == ("correctness_query_statistics_mean_images", "paper", top.level, None)
    )  # fmt: skip
    assert mine.per_query == pytest.approx(right.tolist())


def test_where_it_cannot_be_asked_it_says_why(data: BandsData, model: Objective) -> None:
    asked = question("query_statistics")
    assert asked.reason_not(model, data) is None
    backbone = small("patches").build(schema=data.schema, image_shape=data.image_shape)
    plain = objectives.parse("telbo").build(backbone)
    assert asked.reason_not(plain, data) == "its image decoder has no batch norm"
    norms = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    assert "cannot imagine" in (asked.reason_not(objectives.parse("jvae").build(norms), data) or "")
    one = context(model, data, reader(data), num_samples=1, protocols=["paper"])
    assert asked.ask(one) == []
    assert "at least 2" in one.left_out["query_statistics"]
