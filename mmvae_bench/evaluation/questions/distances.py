"""FID and KID: how far generated images are from real ones, as distributions of features.

Shapes: N image, F feature, C channel, H height, W width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.image import fid
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.utilities.imports import _TORCH_FIDELITY_AVAILABLE

from ...base.errors import BenchmarkError, ConfigError, Problem
from ...base.files import open_regular
from ...base.heartbeat import beat
from ...base.printable import printable
from ...base.randomness import own_randomness
from ...base.seeds import derive_seed
from ...data.batch import Batch
from ...objectives.base import CapabilityError
from ...runs.scores import Score
from ...specs.built_in.questions import DistancesSpec
from ..classifier import IMAGES_AT_ONCE, logits_of
from ..sampling import images_at_once, real_batches
from .base import NO_IMAGINATION, Context, Question

SUBSETS, SUBSET_SIZE = 100, 1000
"""Of KID, as torchmetrics has them; of fewer images than a subset all are taken, once."""
INCEPTION_SHAPES = {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "fc.weight": (1008, 2048)}
"""What tells the Inception network of the literature from others: it has 1,008 classes."""

Features = Callable[[Tensor, Tensor], Tensor]
"""Images, Float[N, C, H, W] in [0, 1], and their concepts, Long[N, A], to Float[N, F]."""


class Distance(NamedTuple):
    """Between two sets of images."""

    fid: float
    kid: float


class Distances(Question):
    """``fid`` and ``kid``: images of the concepts of held-out images, z ~ q(z|y), against real ones; ``fid_prior`` and
    ``kid_prior``: images of z ~ p(z).

    The images of a partition, at most ``num_images`` of them, are divided in two. Those of the first half are the
    reference, and the concepts of the second half are imagined, one image each. The ceiling is the distance of the
    second half itself: real against real, of as many images. FID falls with the number of images, so it is compared
    only with others of the same number. The features are what the linear heads of the observation classifier read, or
    those of the Inception network whose weights the user gives. Single numbers, without an interval.
    """

    spec: DistancesSpec

    def ask(self, context: Context) -> list[Score]:
        """Two distances of images of concepts, and two of images of the prior."""
        reference, others = _halves(context, self.spec.num_images)
        number = sum(map(len, others))
        if number < 2:
            context.left_out[self.name] = "fewer than four images: there is no spread"
            return []
        if self.spec.inception is None and not hasattr(context.classifier.network, "heads"):
            context.left_out[self.name] = f"classifier {context.classifier.name} has no heads whose features are known"
            return []
        features = _features(context, self.spec.inception)
        seed = derive_seed("distances", seed=context.evaluation.seed, partition=context.partition)
        real = torch.cat([features(batch.image, batch.concept) for batch in reference])
        ceiling = distance(real, torch.cat([features(batch.image, batch.concept) for batch in others]), seed=seed)
        scores = []
        for ending, generate in (("", imagined), ("_prior", of_prior)):
            try:
                found = []
                for place, batch in enumerate(others):
                    with own_randomness(derive_seed(f"images{ending}", seed=seed, place=place), context.device):
                        px = generate(context, batch)
                        images = (px.mean if self.spec.images == "mean" else px.sample()).clamp(0, 1)
                    found.append(features(images, batch.concept))
                    context.report("distances", place + 1, len(others))
            except CapabilityError as error:
                context.left_out.update(dict.fromkeys((f"fid{ending}", f"kid{ending}"), str(error)))
                continue
            for name, value, best in zip(Distance._fields, distance(real, torch.cat(found), seed=seed), ceiling,
                                         strict=True):  # fmt: skip
                one = torch.tensor([value], dtype=torch.float64)
                score = context.score(name + ending, one, keep_values=False, ceiling=best, num_samples=1)
                scores.append(replace(score, ci_low=math.nan, ci_high=math.nan, num_queries=number))
        return scores


class _Identity(nn.Identity):
    """Features in, features out: torchmetrics' classes take a network, and here it has been asked already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def distance(real: Tensor, generated: Tensor, *, seed: int) -> Distance:
    """Fréchet and kernel distance of two sets of features, by torchmetrics.

    FID = |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of means and covariances (Heusel et al. 2017, equation 6). KID is the
    unbiased squared MMD under the kernel (f . f' / F + 1)^3 (Binkowski et al. 2018), a mean over random subsets; it can
    be negative.

    Args:
        real: Float[N, F], at least two.
        generated: Float[M, F], at least two.
        seed: Of the subsets.
    """
    network, smallest = _Identity(real.shape[1]), min(len(real), len(generated))
    frechet = fid.FrechetInceptionDistance(network, normalize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # That it keeps all features: they are here anyway.
        kernel = KernelInceptionDistance(
            network,
            subsets=SUBSETS if smallest > SUBSET_SIZE else 1,
            subset_size=min(smallest, SUBSET_SIZE),
            normalize=True,
        )
    for metric in (frechet, kernel):
        metric.update(real.double().cpu(), real=True)
        metric.update(generated.double().cpu(), real=False)
    beat()
    with own_randomness(seed, torch.device("cpu")):
        return Distance(max(float(frechet.compute()), 0.0), float(kernel.compute()[0]))


def _halves(context: Context, limit: int) -> tuple[list[Batch], list[Batch]]:
    """Two disjoint halves of the images, of equal size."""
    size = images_at_once(context.data.image_shape)
    whole = len(context.data.rows(context.partition))
    half = min(limit, whole) // 2
    batches: Iterator[Batch] = real_batches(
        context.data, context.partition, seed=context.evaluation.seed, device=context.device, limit=2 * half,
        batch_size=max(1, min(size, half)),
    )  # fmt: skip
    first, second = list[Batch](), list[Batch]()
    for batch in batches:
        missing = half - sum(map(len, first))
        if missing > 0:
            first.append(_part(batch, slice(0, missing)))
        if missing < len(batch):
            second.append(_part(batch, slice(max(missing, 0), None)))
    return first, second


def _part(batch: Batch, rows: slice) -> Batch:
    parts: dict[str, Any] = {
        field.name: part[rows] for field in fields(batch) if isinstance(part := getattr(batch, field.name), Tensor)
    }
    return Batch(**parts)


def imagined(context: Context, batch: Batch) -> Any:
    """p(x|z) of one z ~ q(z|y) for each concept, in the text view for each caption."""
    if not context.model.can_imagine:
        raise CapabilityError(NO_IMAGINATION)
    z = context.model.posterior(None, batch.description).sample()
    return context.model.image_likelihood(z, batch.description)


def of_prior(context: Context, batch: Batch) -> Any:
    """p(x|z) of z ~ p(z), drawn on the CPU, so that z are the same for every objective and device."""
    z = context.model.sample_prior(len(batch)).to(context.device)
    return context.model.image_likelihood(z)


def _features(context: Context, inception: str | None) -> Features:
    """Of the observation classifier, or of the Inception network in a file."""
    if inception is not None:
        return _inception(Path(inception), context.device)
    network, schema = context.classifier.network, context.data.schema
    heads: Any = network.heads
    last = [[part for part in head.modules() if isinstance(part, nn.Linear)][-1] for head in heads]

    def of(images: Tensor, concepts: Tensor) -> Tensor:
        rows = []
        for part, told in zip(images.split(IMAGES_AT_ONCE), concepts.split(IMAGES_AT_ONCE), strict=True):
            read: list[Tensor] = []
            hooks = [
                each.register_forward_pre_hook(lambda _, inputs, read=read: read.append(inputs[0])) for each in last
            ]
            try:
                logits_of(network, part, told if schema.given else None, schema)
            finally:
                for hook in hooks:
                    hook.remove()
            # Where all heads read the same features these count once.
            distinct = [each for place, each in enumerate(read) if not any(each is other for other in read[:place])]
            rows.append(torch.cat(distinct, 1).double().cpu())
            beat()
        return torch.cat(rows)

    return of


def _inception(file: Path, device: torch.device) -> Features:
    """The 2,048 features of the network of Heusel et al. (2017), as torch-fidelity builds it from its weights.

    Raises:
        ConfigError: if the file is not such weights, or torch-fidelity is not installed.
    """
    check_inception(file)
    if not _TORCH_FIDELITY_AVAILABLE:
        raise _wrong("the Inception network is built by torch-fidelity, which is not installed: pip install "
                     "torch-fidelity; without `inception` the features of the observation classifier are used",
                     file)  # fmt: skip
    network = fid.NoTrainInceptionV3("inception-v3-compat", ["2048"], str(file)).to(device)

    def of(images: Tensor, concepts: Tensor) -> Tensor:
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        parts = []
        for part in (colour * 255).byte().split(IMAGES_AT_ONCE):
            parts.append(network(part).double().cpu())
            beat()
        return torch.cat(parts)

    return of


def check_inception(file: Path) -> None:
    """Raises ConfigError unless a file has the weights of the Inception network of the literature."""
    try:
        with open_regular(file) as opened:
            weights = torch.load(opened, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _wrong("there is no such file", file) from None
    except (BenchmarkError, OSError) as error:
        raise _wrong(f"cannot be read: {error}", file) from error
    except Exception as error:
        raise _wrong("is no file of PyTorch weights", file) from error
    shapes = {name: tuple(value.shape) for name, value in weights.items() if isinstance(value, Tensor)} if isinstance(
        weights, dict) else {}  # fmt: skip
    for name, shape in INCEPTION_SHAPES.items():
        if shapes.get(name) != shape:
            found = f"{name} has the shape {list(shapes[name])}" if name in shapes else f"there is no {name}"
            raise _wrong(f"not the weights of FID's Inception network, pt_inception-2015-12-05: {found}, where it must "
                         f"have the shape {list(shape)}", file)  # fmt: skip


def _wrong(message: str, file: Path) -> ConfigError:
    return ConfigError([Problem(message, ("evaluation", "questions", "distances", "inception"), printable(str(file)))])
