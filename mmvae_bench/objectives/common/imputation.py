"""Filling in the unspecified attributes of a concept, for models that must be told them all.

Shapes: N kept concept, B batch, Q query, S sample, A attribute.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConceptMemory(nn.Module):
    """The last training concepts seen, from which missing values are drawn (hot-deck imputation).

    The values of a query's unspecified attributes are those of one kept concept, drawn uniformly among the ones that
    agree with the query in the most specified attributes. So they come from the empirical p(y_M | y_O), dependences
    between attributes included, and where no training concept has all of y_O, from the closest there are. What is
    specified is never changed. Before anything was seen, values are uniform.

    The concepts are a buffer: saved with the weights, restored with them.

    Args:
        sizes: The number of values of each attribute.
        capacity: N.
    """

    def __init__(self, sizes: Sequence[int], *, capacity: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.concepts: Tensor
        self.num_seen: Tensor
        self.register_buffer("concepts", torch.zeros(capacity, len(self.sizes), dtype=torch.long))
        self.register_buffer("num_seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def remember(self, concept: Tensor) -> None:
        """Keeps fully specified concepts, Long[B, A], in place of the oldest ones."""
        capacity = len(self.concepts)
        kept = concept[-capacity:]
        self.num_seen += len(concept)
        slots = (self.num_seen - len(kept) + torch.arange(len(kept), device=kept.device)) % capacity
        self.concepts[slots] = kept

    @torch.no_grad()
    def complete(self, concept: Tensor, *, num_samples: int) -> Tensor:
        """Long[Q, S, A]: each query fully specified, S times over, from torch's global generator.

        Args:
            concept: Long[Q, A], -1 where unspecified.
            num_samples: S.
        """
        missing = (concept < 0)[:, None]
        num_kept = min(int(self.num_seen), len(self.concepts))
        if num_kept:
            kept = self.concepts[:num_kept]
            agreeing = (concept[:, None] == kept).sum(-1)
            closest = agreeing == agreeing.amax(-1, keepdim=True)
            drawn = kept[torch.multinomial(closest.float(), num_samples, replacement=True)]
        else:
            shape = (len(concept), num_samples)
            columns = [torch.randint(size, shape, device=concept.device) for size in self.sizes]
            drawn = torch.stack(columns, -1)
        return torch.where(missing, drawn, concept[:, None])
