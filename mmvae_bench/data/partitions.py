"""Datasets whose images each belong to one partition of a split: their rows, and what they say of themselves.

Shapes: N image, R row, A attribute.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..base.errors import BenchmarkError
from ..specs.components import DatasetSpec
from .base import PARTITIONS, ConceptDataModule

OTHER_SPLIT_SEED = 42
"""Seed of a split other than the spec's own: that of the published one."""


class PartitionedDataModule(ConceptDataModule):
    """A data module that answers :meth:`rows` from the partition of every image; a subclass answers :meth:`assign`."""

    too_small: ClassVar[str] = "use more images"
    """What to do where nothing falls into a partition."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__(spec)
        self._partitions: dict[tuple[str, int], Tensor] = {}

    def assign(self, split: str, seed: int) -> Tensor:
        """Byte[N]: the index into ``PARTITIONS`` of every image, under a split that the spec may name, with a seed.

        Called after :meth:`setup`. Must depend on the arguments and on the dataset's fingerprint only, not on the
        split of the spec. Raises ValueError for a split that there is not.
        """
        raise NotImplementedError

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """The concepts of each partition where the spec's split divides concepts, else None."""
        return None

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[R], ascending, on the store's device.

        Args:
            partition: train, val or test.
            split: None for the spec's split under the spec's split seed; a name for that split under seed 42 whatever
                the spec says, so that what is trained on it (the classifier) depends on the fingerprint only.

        Raises:
            BenchmarkError: where the dataset is so small that nothing falls into the partition.
        """
        if partition not in PARTITIONS:
            raise ValueError(f"no partition is called {partition!r}: {', '.join(PARTITIONS)}")
        name, seed = (self.spec.split, self.spec.split_seed) if split is None else (split, OTHER_SPLIT_SEED)
        rows = (self._partition(name, seed) == PARTITIONS.index(partition)).nonzero()[:, 0]
        if not len(rows):
            raise BenchmarkError(
                f"{self.spec.name}: split {name} with seed {seed} leaves no image for {partition} among the "
                f"{len(self.store):,} of source {self.spec.source}; {self.too_small}"
            )
        return rows

    def describe(self) -> dict[str, Any]:
        """Plain JSON: schema, split, sizes of the partitions, marginals of the training concepts, fingerprint."""
        partition = self._partition(self.spec.split, self.spec.split_seed)
        training = self.store.concepts[partition == PARTITIONS.index("train")]
        return {
            "name": self.spec.name,
            "source": self.spec.source,
            "schema": self.schema.to_dict(),
            "image_shape": list(self.image_shape),
            "split": self.spec.split,
            "split_seed": self.spec.split_seed,
            "num_images": len(self.store),
            "sizes": {name: int((partition == index).sum()) for index, name in enumerate(PARTITIONS)},
            "combinations": self.combinations(),
            "marginals": {
                attribute.name: _frequencies(training[:, index], len(attribute))
                for index, attribute in enumerate(self.schema.attributes)
            },
            "fingerprint": self.fingerprint,
            "path": str(self.cache_path),
        }

    def _partition(self, split: str, seed: int) -> Tensor:
        """Byte[N]: the partition of every image, on the store's device."""
        if (split, seed) not in self._partitions:
            self._partitions[split, seed] = self.assign(split, seed)
        return self._partitions[split, seed].to(self.store.concepts.device)


def _frequencies(values: Tensor, num_values: int) -> list[float]:
    """How often each value occurs, as fractions."""
    frequencies: list[float] = (values.bincount(minlength=num_values).double() / max(1, len(values))).tolist()
    return frequencies
