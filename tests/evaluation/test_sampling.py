from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmvae_bench.evaluation import sampling
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.sampling import PIXELS_AT_ONCE, chunk_sizes, predictions_of

from .fakes import LINES, Fake, LinesData, Oracle, exact_classifier


def ask(model: Fake, data: LinesData, queries: Queries, num_samples: int, seed: int = 0) -> torch.Tensor:
    return predictions_of(model, exact_classifier(data), data, queries, num_samples=num_samples, seed=seed)  # type: ignore[arg-type]


@pytest.fixture
def uniform() -> Oracle:
    return Oracle([torch.ones(size) for size in LINES.sizes])


@pytest.mark.parametrize("pixels", [16 * 16 * 3, 16 * 16 * 10, 16 * 16 * 25, 2**19])
def test_every_query_gets_its_own_samples(
    lines: Callable[..., LinesData], uniform: Oracle, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    """In chunks of samples of one query, of one query, of two queries, and all at once."""
    monkeypatch.setattr(sampling, "PIXELS_AT_ONCE", pixels)
    concepts = LINES.combinations()[torch.arange(23, 0, -2)].clone()
    concepts[:, 2] = -1
    predictions = ask(uniform, lines(), Queries("test", 2, concepts), 10)
    assert predictions.shape == (12, 10, 3)
    assert (predictions[..., :2] == concepts[:, None, :2]).all()
    assert len(predictions[..., 2].unique(dim=0)) == 12


def test_seeds_belong_to_the_question(lines: Callable[..., LinesData], uniform: Oracle) -> None:
    nothing = torch.full((6, 3), -1)
    first = ask(uniform, lines(), Queries("test", 1, nothing), 10)
    assert torch.equal(first, ask(uniform, lines(), Queries("test", 1, nothing), 10))
    others = [
        ask(uniform, lines(), Queries("test", 2, nothing), 10),
        ask(uniform, lines(), Queries("val", 1, nothing), 10),
        ask(uniform, lines(split="iid_disjoint"), Queries("test", 1, nothing), 10),
        ask(uniform, lines(split_seed=1), Queries("test", 1, nothing), 10),
        ask(uniform, lines(), Queries("test", 1, nothing), 10, seed=1),
    ]
    assert not any(torch.equal(first, other) for other in others)


def test_two_models_see_the_same_noise(lines: Callable[..., LinesData], uniform: Oracle) -> None:
    nothing = Queries("test", 1, torch.full((6, 3), -1))
    other = Oracle([*uniform.tables[:2], torch.tensor([1.0, 1.0, 1e-9])])
    assert torch.equal(ask(uniform, lines(), nothing, 10)[..., 0], ask(other, lines(), nothing, 10)[..., 0])


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 32, 32), (1, 64, 64), (3, 112, 112), (3, 1024, 1024)])
@pytest.mark.parametrize("num_samples", [1, 10, 100])
def test_chunks_fit(shape: tuple[int, int, int], num_samples: int) -> None:
    samples, queries = chunk_sizes(shape, num_samples)
    assert 1 <= samples <= num_samples
    assert queries >= 1
    pixels = samples * queries * shape[0] * shape[1] * shape[2]
    assert pixels <= PIXELS_AT_ONCE or samples == queries == 1
