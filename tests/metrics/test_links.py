"""Link prediction scores against counting."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.metrics.functional.links import link_auc, link_average_precision


def auc_by_counting(linked: list[float], unlinked: list[float]) -> float:
    wins = sum((a > b) + 0.5 * (a == b) for a in linked for b in unlinked)
    return wins / (len(linked) * len(unlinked))


def precision_by_counting(linked: list[float], unlinked: list[float]) -> float:
    shares = []
    for score in linked:
        above = [sum(each >= score for each in part) for part in (linked, unlinked)]
        shares.append(above[0] / sum(above))
    return sum(shares) / len(shares)


CASES = [
    ([3.0, 2.0], [1.0, 0.0], 1.0, 1.0),
    ([0.0, 1.0], [2.0, 3.0], 0.0, (1 / 3 + 2 / 4) / 2),
    ([3.0, 1.0], [2.0, 0.0], 0.75, (1 + 2 / 3) / 2),
    ([1.0, 1.0], [1.0, 1.0], 0.5, 0.5),
    ([2.0, 1.0, 1.0], [1.0, 0.0, 5.0], 5 / 9, (1 / 2 + 3 / 5 + 3 / 5) / 3),
]


@pytest.mark.parametrize(("linked", "unlinked", "auc", "precision"), CASES)
def test_by_hand(linked: list[float], unlinked: list[float], auc: float, precision: float) -> None:
    assert link_auc(torch.tensor(linked), torch.tensor(unlinked)) == pytest.approx(auc)
    assert link_average_precision(torch.tensor(linked), torch.tensor(unlinked)) == pytest.approx(precision)
    assert auc_by_counting(linked, unlinked) == pytest.approx(auc)
    assert precision_by_counting(linked, unlinked) == pytest.approx(precision)


def test_many_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    linked, unlinked = (torch.randint(-9 + k, 12, (200,), generator=generator).float() for k in (6, 0))
    mine = link_auc(linked, unlinked), link_average_precision(linked, unlinked)
    assert mine[0] == pytest.approx(auc_by_counting(linked.tolist(), unlinked.tolist()))
    assert mine[1] == pytest.approx(precision_by_counting(linked.tolist(), unlinked.tolist()))
    assert link_auc(linked.sigmoid().double(), unlinked.sigmoid().double()) == pytest.approx(mine[0])
