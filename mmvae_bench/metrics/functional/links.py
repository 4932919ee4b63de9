"""How well scores tell pairs of nodes that are linked from pairs that are not.

Shapes: P pair.
"""

from __future__ import annotations

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor


def link_auc(linked: Tensor, unlinked: Tensor) -> float:
    """The share of pairs of a link and a gap in which the link has the higher score; a tie counts half.

    Args:
        linked: Float[P], scores of pairs that are linked.
        unlinked: Float[P], of pairs that are not.

    >>> link_auc(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0]))
    0.75
    """
    return float(roc_auc_score(*_labelled(linked, unlinked)))


def link_average_precision(linked: Tensor, unlinked: Tensor) -> float:
    """The mean, over links, of the share of links among the pairs with at least the link's score.

    Args:
        linked: Float[P], scores of pairs that are linked.
        unlinked: Float[P], of pairs that are not.

    >>> round(link_average_precision(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])), 4)
    0.8333
    """
    return float(average_precision_score(*_labelled(linked, unlinked)))


def _labelled(linked: Tensor, unlinked: Tensor) -> tuple[object, object]:
    truth = torch.cat([torch.ones(len(linked)), torch.zeros(len(unlinked))])
    return truth.numpy(), torch.cat([linked, unlinked]).double().cpu().numpy()
