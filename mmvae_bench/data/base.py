"""What every dataset provides: images that stay on the device, the rows of each partition, and a fingerprint.

Shapes: B batch, C channel, H height, W width, A attribute, N image, M mask, T word of a caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ..base.seeds import derive_seed
from ..concepts import Schema
from ..specs.components import DatasetSpec
from .batch import Batch, CaptionedStore, ImageStore
from .strengths import ScoredStore

PARTITIONS = ("train", "val", "test")

Progress = Callable[[int, int], None]
"""Called while images are made, with the numbers done and in all."""


class ResidentLoader:
    """Yields the batches of one training stage, from any step on.

    The permutation of an epoch is derived from (seed, stage, epoch), so the state of the loader is the step alone,
    and a resumed run sees the batches that an uninterrupted one would have seen. The last, smaller batch of an epoch is
    left out; a partition smaller than one batch is taken whole.

    Args:
        store: The images.
        rows: Long[n], the rows of the partition.
        batch_size: Images per batch.
        seed: Training seed.
        stage: Name of the training stage.
        start: Steps already done.
        stop: Total steps of the stage.
    """

    def __init__(
        self, store: ImageStore, rows: Tensor, *, batch_size: int, seed: int, stage: str, start: int, stop: int
    ) -> None:
        if not len(rows):
            raise ValueError("no images to train on")
        self.store, self.rows, self.batch_size = store, rows, min(batch_size, len(rows))
        self.seed, self.stage, self.start, self.stop = seed, stage, start, stop
        self.batches_per_epoch = len(rows) // self.batch_size
        self.share = slice(None)
        """Which images of each batch this process of several takes."""

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        epoch, order = -1, self.rows
        for step in range(self.start, self.stop):
            wanted, position = divmod(step, self.batches_per_epoch)
            if wanted != epoch:
                epoch, order = wanted, self.epoch_order(wanted)
            yield self.store.batch(order[position * self.batch_size : (position + 1) * self.batch_size][self.share])

    def epoch_order(self, epoch: int) -> Tensor:
        """The rows in the order of ``epoch``: drawn on the CPU, so that it is the same for every device."""
        generator = torch.Generator().manual_seed(
            derive_seed("batch order", seed=self.seed, stage=self.stage, epoch=epoch)
        )
        return self.rows[torch.randperm(len(self.rows), generator=generator).to(self.rows.device)]


def place() -> tuple[int, int]:
    """This process's number, and how many processes train together."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)


class EpochLoader:
    """The training batches for a plain Lightning trainer: each epoch in an order of its own.

    Each iteration goes on where the one before has stopped. The state is the number of batches so far, which Lightning
    stores in its checkpoints. Each process of several takes an equal share of every batch.

    Args:
        data: Has the images.
        batch_size: Images per batch, over all processes; what they cannot share equally is left out.
    """

    def __init__(self, data: ConceptDataModule, *, batch_size: int) -> None:
        self.data, self.batch_size, self.step = data, batch_size, 0

    def __len__(self) -> int:
        return self._loader(0, 1).batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader(self.step, self.step + len(self)):
            self.step += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The number of batches so far."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on from a state."""
        self.step = state["step"]

    def _loader(self, start: int, stop: int) -> ResidentLoader:
        rank, world = place()
        num_images = min(self.batch_size, len(self.data.rows("train")))
        if num_images < world:
            raise ValueError(f"a batch of {num_images} images cannot be shared by {world} processes")
        size = num_images // world * world
        loader = self.data.training_loader(batch_size=size, seed=0, stage="fit", start=start, stop=stop)
        loader.share = slice(rank, None, world)
        return loader


class OrderedBatches:
    """The images of some rows, in order; each batch is made when it is needed, again each time.

    Args:
        store: The images.
        rows: Long[n].
        batch_size: Images per batch; the last one may be smaller.
    """

    def __init__(self, store: ImageStore, rows: Tensor, *, batch_size: int) -> None:
        self.store, self.rows, self.batch_size = store, rows, batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), self.batch_size):
            yield self.store.batch(self.rows[start : start + self.batch_size])


class ConceptDataModule(pl.LightningDataModule):
    """A LightningDataModule of images with concepts.

    A subclass fills ``store`` in :meth:`setup` and implements :meth:`rows`. Datasets are cached on disk by
    :meth:`prepare_data`, once per fingerprint, safely from several processes.
    """

    parallel: ClassVar[bool] = False
    """Whether images are made by several processes."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.schema: Schema = spec.concept_schema()
        self.image_shape: tuple[int, int, int] = spec.image_shape()
        self.captions = spec.texts()
        """How y is rendered as words in the text view; None if y is the concept."""
        self._store: ImageStore | None = None
        self.training_seed = 0
        """The trial's; only a split that is drawn anew for each training seed depends on it."""
        self.batch_size = 64
        """Images per step of a plain Lightning trainer, over all its processes."""
        self.progress: Callable[[int, int], None] | None = None
        """Called while images are made, with the numbers done and in all."""
        self.workers: int | None = None
        """Processes that make images if :attr:`parallel`: None for one per CPU core, 0 for this process itself."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Scalars of each image by name, [N] each, if the dataset has any; needs :meth:`setup`."""
        return {}

    @property
    def store(self) -> ImageStore:
        """The images, in the text view with their captions, in that of strengths with weights; needs :meth:`setup`."""
        if self._store is None:
            raise RuntimeError("call prepare_data() and setup() first")
        if self.captions is not None and not isinstance(self._store, CaptionedStore):
            self._store = CaptionedStore(self._store, self.captions)
        if self.spec.chosen_view == "strengths" and not isinstance(self._store, ScoredStore):
            self._store = ScoredStore(self._store)
        return self._store

    def setup(self, stage: str | None = None) -> None:
        """Loads what :meth:`prepare_data` made into :attr:`store`, on the CPU. Every stage is the same."""
        raise NotImplementedError

    def to(self, device: torch.device | str) -> None:
        """Moves the images to a device, where they stay."""
        self._store = self.store.to(device)

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe: configuration without the split, generator version, checksum of the source."""
        raise NotImplementedError

    @property
    def cache_path(self) -> Path | None:
        """Folder of the prepared dataset; None if images are not stored, but drawn when they are needed."""
        raise NotImplementedError

    @property
    def made_from(self) -> str | None:
        """Digest of the content of the user's files that the prepared images were made from, where the fingerprint
        does not cover it; None elsewhere. Whatever is kept of the images is only valid for this digest."""
        return None

    def rows(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[n]: the rows of ``train``, ``val`` or ``test``, under the spec's split or another one."""
        raise NotImplementedError

    def combinations(self) -> dict[str, list[list[int]]] | None:
        """What the spec's split divides between the partitions: full concepts of a schema whose combinations can be
        listed; of a larger one also parts of concepts, such as objects. None if it divides images."""
        return None

    def concepts(self, partition: str, *, split: str | None = None) -> Tensor:
        """Long[n, A]: the concepts of a partition."""
        return self.store.concepts[self.rows(partition, split=split)]

    def said(self, partition: str) -> Tensor:
        """Long[n, A]: what y specifies for the images of a partition: their concepts; in the text view what their
        captions say, -1 for the rest."""
        store, rows = self.store, self.rows(partition)
        if not isinstance(store, CaptionedStore):
            return store.concepts[rows]
        return store.captions.parse(store.tokens[rows])

    def backgrounds(self, rows: Tensor) -> Tensor | None:
        """What is behind the foreground of the images of ``rows`` (Long[n]), drawn without it: Float[n, C, H, W] in
        [0, 1]; None where nobody knows. Needs :meth:`setup`."""
        return None

    def widened(self, batch: Batch) -> Batch:
        """The images of a batch, and their masks, with the margin that is stored around them; themselves where there is
        none. See ``DatasetSpec.margin``."""
        return batch

    def greys(self, batch: Batch) -> Batch:
        """The images of a batch as they were before each pixel was drawn as 0 or 1. See ``DatasetSpec.greys``.

        Raises:
            NotImplementedError: where images were not binarised, or their greys are not known.
        """
        raise NotImplementedError(f"{self.spec.name} has no greys that its pixels were drawn from")

    def describe(self) -> dict[str, Any]:
        """What ``mmvae-bench data describe`` prints: plain JSON. Needs :meth:`setup`."""
        raise NotImplementedError

    def of_sheet(self, partition: str, num_images: int) -> DatasetSpec:
        """The dataset from which a contact sheet of so many images of a partition is made: this one, or a part of it
        where all of it is not prepared and would take hours."""
        return self.spec

    def verify(self) -> dict[str, Any]:
        """Compares the prepared dataset with its checksums and with images made again: plain JSON with ``ok``.

        Never repairs anything; raises BenchmarkError if the dataset is not prepared.
        """
        raise NotImplementedError

    def training_loader(self, *, batch_size: int, seed: int, stage: str, start: int, stop: int) -> ResidentLoader:
        """The batches of one stage; see :class:`ResidentLoader`."""
        return ResidentLoader(
            self.store, self.rows("train"), batch_size=batch_size, seed=seed, stage=stage, start=start, stop=stop
        )

    def train_dataloader(self) -> EpochLoader:
        """The training partition in batches of :attr:`batch_size`, for a plain Lightning trainer."""
        return EpochLoader(self, batch_size=self.batch_size)

    def val_dataloader(self) -> OrderedBatches:
        """The validation partition in batches of at most 256."""
        return self.batches("val")

    def test_dataloader(self) -> OrderedBatches:
        """The test partition in batches of at most 256."""
        return self.batches("test")

    def batches(self, partition: str, *, batch_size: int = 256, limit: int | None = None) -> OrderedBatches:
        """The images of a partition in order, at most ``limit`` of them."""
        return OrderedBatches(self.store, self.rows(partition)[:limit], batch_size=batch_size)
