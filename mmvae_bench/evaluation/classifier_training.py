"""Trains the observation classifier once per dataset and classifier spec, and keeps it in the cache.

It is trained on the training part of the ``iid`` split under the published seed, whatever the trial's split: all trials
share one judge. Training uses one thread and derived seeds, so that one machine always gives the same classifier;
another kind of processor or a GPU may give other bits, so every result holds a hash of the weights.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.base import seeded
from ..base.canonical import content_hash
from ..base.errors import BenchmarkError
from ..base.files import cache_root, read_json
from ..base.randomness import own_randomness
from ..base.seeds import derive_seed
from ..concepts import Schema
from ..data.base import ConceptDataModule, ResidentLoader
from ..data.batch import Batch
from ..data.cache import META, build_once
from ..specs.built_in.classifiers import TrainedClassifierSpec
from ..specs.code import differences, part_code
from ..specs.components import ClassifierSpec
from .classifier import IMAGES_AT_ONCE, HeldOut, ObservationClassifier, logits_of, read_concepts

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Judge = TypeVar("Judge")

CLASSIFIER_VERSION = 1
"""Increased when the training below changes: it is part of the fingerprint."""

SPLIT = "iid"
MAX_HELD_OUT = 20_000
"""Held-out real images that a classifier is measured on."""

WARM_UP = 0.05
"""Fraction of the steps in which the step size rises."""

PROGRESS_STEPS = 50
WEIGHTS = "classifier.pt"


def observation_classifier(
    spec: ClassifierSpec,
    data: ConceptDataModule,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ObservationClassifier:
    """The classifier of a dataset from ``classifiers/<fingerprint>`` in the cache, trained first if it is not there.

    A damaged one, and one made by other code, is trained again; processes that need the same one wait for the first.

    Args:
        spec: What to train and how.
        data: After ``setup()``.
        device: Where the classifier is trained and will be used.
        progress: Called with ``"classifier"``, the steps done and in all.

    Raises:
        TypeError: if the spec has no training settings.
    """
    if not isinstance(spec, TrainedClassifierSpec):
        raise TypeError(f"{type(spec).__name__} is not a TrainedClassifierSpec: it does not say how it is trained")
    fingerprint = classifier_fingerprint(spec, dataset=data.fingerprint)
    folder = cache_root() / "classifiers" / fingerprint
    code = part_code("classifier", spec.name)

    def build(unfinished: Path) -> dict[str, Any]:
        trained = train(spec, data, device=device, progress=progress)
        held_out = {"concepts": trained.held_out.concepts.short(), "predictions": trained.held_out.predictions.short()}
        state = {name: value.cpu() for name, value in trained.network.state_dict().items()}
        torch.save({"network": state, "held_out": held_out}, unfinished / WEIGHTS)
        about = {"spec": spec.canonical(), "dataset": data.fingerprint, "made_from": data.made_from, "code": code}
        return {**about, **trained.to_json()}

    return from_cache(folder, build, partial(_load, folder, spec, data, device=device), data=data, code=code)


def from_cache(
    folder: Path,
    build: Callable[[Path], dict[str, Any]],
    load: Callable[[], Judge],
    *,
    data: ConceptDataModule,
    code: dict[str, Any] | None,
) -> Judge:
    """What is kept in a folder of the cache, built first if it is missing, damaged, of other images or by other code.

    Args:
        folder: Where it is.
        build: See :func:`~mmvae_bench.data.cache.build_once`; what it returns has ``code`` and ``made_from``.
        load: Reads what was built.
        data: Of the images.
        code: The installed code that it is a product of; None if nobody knows.
    """
    if _is_of_other_images(folder, data) or (code is not None and _made_by_other_code(folder / META, code)):
        (folder / META).unlink(missing_ok=True)
    build_once(folder, build)
    try:
        return load()
    except (RuntimeError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError):
        # Its checksum is right, but this version writes something else: train again.
        (folder / META).unlink(missing_ok=True)
        build_once(folder, build)
        return load()


def _is_of_other_images(folder: Path, data: ConceptDataModule) -> bool:
    """Whether the user's files, which the fingerprint does not cover, have changed since a classifier was trained."""
    if data.made_from is None or data.cache_path is None:
        return False
    try:
        about, trained = read_json(folder / META), (folder / META).stat().st_mtime
        # An earlier version recorded nothing: then its images must not have been made again since.
        if "made_from" not in about:
            return any(path.stat().st_mtime > trained for path in data.cache_path.glob("*.arrow"))
        return bool(about["made_from"] != data.made_from)
    except (OSError, ValueError, TypeError):
        return False  # None, or a damaged one: trained anyway.


def _made_by_other_code(meta: Path, code: dict[str, Any]) -> bool:
    """Whether a classifier in the cache was made by other code; one made before code was recorded was not."""
    try:
        made = read_json(meta)
    except (OSError, ValueError):
        return False
    return isinstance(made, dict) and bool(differences({"classifier": made.get("code")}, {"classifier": code}))


def classifier_fingerprint(spec: ClassifierSpec, *, dataset: str) -> str:
    """Hash of what determines the classifier: its spec, the dataset's fingerprint, and the version of the training."""
    return content_hash({"version": CLASSIFIER_VERSION, "spec": spec.canonical(), "dataset": dataset})


def train(
    spec: TrainedClassifierSpec,
    data: ConceptDataModule,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ObservationClassifier:
    """Fits a new classifier to the training part of the ``iid`` split, and reads held-out images with it."""
    with one_thread():
        network = new_network(spec, data).to(device=device)
        fit(network, spec, data, _classification, device=torch.device(device), progress=progress)
        network.eval()
        held_out = _read_held_out(network, data, device=torch.device(device))
    fingerprint = classifier_fingerprint(spec, dataset=data.fingerprint)
    return ObservationClassifier(spec.name, fingerprint, network, data.schema, held_out)


def fit(
    network: nn.Module,
    spec: TrainedClassifierSpec,
    data: ConceptDataModule,
    loss_of: Callable[[list[Tensor], Batch, Schema], Tensor],
    *,
    device: torch.device,
    progress: Progress | None,
    what: str = "classifier",
) -> None:
    """Trains a network on the training part of the ``iid`` split, with AdamW and the spec's settings.

    Args:
        network: On ``device``, left in training mode.
        spec: How it is trained.
        data: After ``setup()``.
        loss_of: The loss for what the network returns for a batch, that batch, and the schema.
        device: Where it is trained.
        progress: Called with ``what``, the steps done and in all.
        what: What it is trained for.
    """
    loader = ResidentLoader(
        data.store, data.rows("train", split=SPLIT), batch_size=spec.batch_size,
        seed=spec.seed, stage="classifier", start=0, stop=spec.steps,
    )  # fmt: skip
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
    )
    network.train()
    # Dropout draws from the global generator.
    with own_randomness(derive_seed("classifier noise", seed=spec.seed), device):
        for step, images in enumerate(loader):
            batch = images.to(device)
            for group in optimiser.param_groups:
                group["lr"] = spec.learning_rate * learning_rate_factor(step, spec.steps)
            logits = logits_of(network, batch.image, batch.concept, data.schema)
            loss = loss_of(logits, batch, data.schema)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step + 1 == spec.steps and not bool(torch.isfinite(loss)):
                raise BenchmarkError(
                    f"the {what} {spec.name} has a loss of {float(loss.detach()):g} after its {spec.steps:,} steps and "
                    f"would read every image alike: try a learning rate below {spec.learning_rate:g}"
                )
            if progress is not None and ((step + 1) % PROGRESS_STEPS == 0 or step + 1 == spec.steps):
                progress(what, step + 1, spec.steps)


def _classification(logits: list[Tensor], batch: Batch, schema: Schema) -> Tensor:
    return cross_entropy(logits, batch.concept[:, list(schema.scored_positions)])


def cross_entropy(logits: list[Tensor], concept: Tensor) -> Tensor:
    """The sum over attributes of the mean of -log p(y_k|x) over images, in nats."""
    losses = [F.cross_entropy(part, concept[:, k]) for k, part in enumerate(logits)]
    return torch.stack(losses).sum()


def learning_rate_factor(step: int, num_steps: int) -> float:
    """Rises to 1 over the first twentieth of the steps, then follows half a cosine towards 0.

    >>> [round(learning_rate_factor(step, 100), 2) for step in (0, 4, 5, 52, 99)]
    [0.2, 1.0, 1.0, 0.51, 0.0]
    """
    warm_up = max(1, round(WARM_UP * num_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def held_out_rows(data: ConceptDataModule) -> Tensor:
    """Long[n], the test images of the ``iid`` split that a judge is measured on."""
    rows = data.rows("test", split=SPLIT).cpu()
    if len(rows) > MAX_HELD_OUT:
        generator = torch.Generator().manual_seed(derive_seed("held-out images"))
        rows = rows[torch.randperm(len(rows), generator=generator)[:MAX_HELD_OUT]].sort().values
    return rows


@torch.no_grad()
def _read_held_out(network: nn.Module, data: ConceptDataModule, *, device: torch.device) -> HeldOut:
    concepts, predictions = [], []
    for part in held_out_rows(data).split(IMAGES_AT_ONCE):
        batch = data.store.batch(part)
        concepts.append(batch.concept.cpu())
        predictions.append(read_concepts(network, batch.image.to(device), batch.concept, data.schema).cpu())
    return HeldOut(torch.cat(concepts), torch.cat(predictions))


def new_network(spec: TrainedClassifierSpec, data: ConceptDataModule) -> nn.Module:
    """The untrained network, with the initial weights of the spec's seed."""

    def build() -> nn.Module:
        return spec.build(schema=data.schema, image_shape=data.image_shape)

    network = seeded(build, seed=spec.seed, name="classifier")
    return network.to(memory_format=torch.channels_last)


def _load(
    folder: Path, spec: TrainedClassifierSpec, data: ConceptDataModule, *, device: torch.device | str
) -> ObservationClassifier:
    saved = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    network = new_network(spec, data)
    network.load_state_dict(saved["network"])
    held_out = HeldOut(saved["held_out"]["concepts"].long(), saved["held_out"]["predictions"].long())
    network.eval().requires_grad_(False).to(device=device)
    fingerprint = classifier_fingerprint(spec, dataset=data.fingerprint)
    return ObservationClassifier(spec.name, fingerprint, network, data.schema, held_out)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes in one thread inside the block: the number of threads changes bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
