"""Augmentation against computations of its own, pixel by pixel; what it draws; and what it is refused for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.augmentation import AugmentedBatches, augmented, binarised, drawn_numbers, turned
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.specs.augmentation import AugmentationSpec
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import TrainingSpec, TrialSpec

NOTHING = {"flip": 0.0, "gain": 0.0, "sharpening": 0.0}


def batch_of(number: int, side: int, *, masked: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(number, 3, side, side, generator=generator)
    mask = image[:, :1] > 0.4 if masked else None
    return Batch(image, torch.zeros(number, 2, dtype=torch.long), torch.arange(number), mask=mask)


def spec_of(**settings: Any) -> AugmentationSpec:
    return AugmentationSpec.parse(NOTHING | settings)


def test_faces_by_value() -> None:
    """Flip, gain and sharpening with the same numbers, image by image in float64 with SciPy's filter."""
    batch, augmentation = batch_of(16, 12), AugmentationSpec()
    drawn = drawn_numbers(16, 3, seed=3, stage="fit", step=7)
    found = augmented(batch, augmentation, drawn, size=(12, 12))
    assert found.mask is not None
    assert batch.mask is not None
    flips = 0
    for k in range(16):
        u = drawn[k].tolist()
        x, m = batch.image[k].double().numpy(), batch.mask[k, 0].numpy()
        if u[0] < 0.5:
            x, m, flips = x[:, :, ::-1], m[:, ::-1], flips + 1
        x = x * (0.97 + 0.06 * np.array(u[5:]))[:, None, None]
        number = ndimage.uniform_filter(np.ones((12, 12)), 5, mode="constant")
        mean = np.stack([ndimage.uniform_filter(each, 5, mode="constant") / number for each in x])
        x = x + 1.5 * u[4] * (x - mean)
        np.testing.assert_allclose(found.image[k].numpy(), x, atol=2e-6)
        assert np.array_equal(found.mask[k, 0].numpy(), m)
    assert 0 < flips < 16
    assert torch.equal(found.concept, batch.concept)
    assert float(found.image.min()) < 0 < 1 < float(found.image.max())


def test_all_are_mirrored_where_the_probability_is_one() -> None:
    """Also where the number that is drawn is 1 in float32."""
    batch = batch_of(2, 8)
    drawn = torch.full((2, 8), 1 - 2.0**-40, dtype=torch.float64)
    assert torch.equal(augmented(batch, spec_of(flip=1), drawn, size=(8, 8)).image, batch.image.flip(-1))


def test_birds_are_turned_and_cut_out_where_the_numbers_say() -> None:
    batch = batch_of(8, 18)
    drawn = drawn_numbers(8, 3, seed=0, stage="fit", step=0)
    found = augmented(batch, spec_of(window=True), drawn, size=(16, 16))
    places = set()
    assert found.mask is not None
    assert batch.mask is not None
    for k in range(8):
        top, left = (math.floor(drawn[k, which].item() * 3) for which in (2, 3))
        places.add((top, left))
        assert torch.equal(found.image[k], batch.image[k, :, top : top + 16, left : left + 16])
        assert torch.equal(found.mask[k], batch.mask[k, :, top : top + 16, left : left + 16])
    assert len(places) > 3
    middle = augmented(batch, spec_of(), drawn, size=(16, 16))
    assert torch.equal(middle.image, batch.image[:, :, 1:17, 1:17])
    assert middle.mask is not None
    assert torch.equal(middle.mask, batch.mask[:, :, 1:17, 1:17])


@pytest.mark.parametrize("shape", [(20, 20), (16, 24)])
def test_a_turn_is_one_by_that_angle(shape: tuple[int, int]) -> None:
    """Against SciPy's interpolation of an image at the places that the rotation comes from."""
    generator = torch.Generator().manual_seed(1)
    image, angle = torch.rand(1, 1, *shape, generator=generator).double(), 0.3
    row, column = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    source = (
        column * math.sin(angle) + row * math.cos(angle) + (shape[0] - 1) / 2,
        column * math.cos(angle) - row * math.sin(angle) + (shape[1] - 1) / 2,
    )
    expected = ndimage.map_coordinates(image[0, 0].numpy(), source, order=1, mode="nearest")
    found = turned(image, torch.tensor([angle], dtype=torch.float64), outside="border")[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_mask_is_turned_with_its_image() -> None:
    """Of an image that is white where its mask is, the turned mask is where the turned image is bright."""
    batch = batch_of(6, 24)
    disk = (torch.arange(24)[:, None] - 8) ** 2 + (torch.arange(24) - 14) ** 2 < 40
    batch.image, batch.mask = disk.float().expand(6, 3, 24, 24), disk.expand(6, 1, 24, 24)
    drawn = drawn_numbers(6, 3, seed=0, stage="fit", step=0)
    found = augmented(batch, spec_of(rotation=0.5, flip=0.5), drawn, size=(24, 24))
    assert found.mask is not None
    assert found.mask.dtype == torch.bool
    assert torch.equal(found.mask[:, 0], found.image[:, 0] > 0.5)
    assert all(not torch.equal(each[0], disk) for each in found.mask)


class Fixed:
    """The same batch at every step."""

    def __init__(self, batch: Batch, number: int) -> None:
        self.batch, self.number = batch, number

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.number)


def test_steps_stages_seeds_and_images_draw_numbers_of_their_own(sprites: ConceptDataModule) -> None:
    batch = sprites.store.batch(sprites.rows("train")[:5])

    def images(*, start: int = 0, number: int = 6, stage: str = "fit", seed: int = 0) -> list[torch.Tensor]:
        changed = AugmentedBatches(
            Fixed(batch, number), AugmentationSpec(), sprites, seed=seed, stage=stage, start=start
        )  # fmt: skip
        return [each.image for each in changed]

    whole = images()
    assert all(torch.equal(one, other) for one, other in zip(images(start=2, number=4), whole[2:], strict=True))
    for other in (whole[1], images(stage="joint")[0], images(seed=1)[0]):
        assert not torch.equal(whole[0], other)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    images()
    assert torch.equal(torch.random.get_rng_state(), state), "a step's own random numbers would be others"
    u = torch.cat([drawn_numbers(500, 3, seed=0, stage="fit", step=step) for step in range(4)]).numpy()
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(u.T) - np.eye(8)).max() < 0.08


def test_pixels_are_drawn_anew_as_bernoulli_of_their_grey() -> None:
    """Frequencies over 2,000 steps against the greys; every image of a step, every step, stage and seed has its own."""
    batch = batch_of(3, 6, masked=False)
    batch.image[0], batch.image[1, 0] = 0.0, 1.0
    batch.image[2] = batch.image[1]
    total, previous, repeated, twins = torch.zeros_like(batch.image), batch.image, 0, 0
    for step in range(2000):
        drawn = binarised(batch, seed=0, stage="fit", step=step).image
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        repeated += torch.equal(drawn, previous)
        twins += torch.equal(drawn[1], drawn[2])
        total, previous = total + drawn, drawn
    assert (repeated, twins) == (0, 0)
    share, deviation = total / 2000, (batch.image * (1 - batch.image) / 2000).sqrt()
    assert bool((share[0] == 0).all())
    assert bool((share[1, 0] == 1).all())
    assert bool(((share - batch.image).abs() <= 5 * deviation).all())
    one = binarised(batch, seed=0, stage="fit", step=3).image
    for other in ({"seed": 1}, {"stage": "joint"}, {"step": 4}):
        assert not torch.equal(one, binarised(batch, **{"seed": 0, "stage": "fit", "step": 3} | other).image)  # type: ignore[arg-type]


def test_only_what_was_binarised_is_binarised_anew() -> None:
    anew = {"training": {"augmentation": NOTHING | {"binarise": True}}, "objective": "vae", "backbone": "mlp"}
    assert TrialSpec.parse(anew | {"dataset": "mnist"}).training.augmentation is not None
    for name in ("mnist_a", "sprites"):
        backbone = {"mnist_a": "mlp", "sprites": "rgb_thin"}[name]
        with pytest.raises(ConfigError) as caught:
            TrialSpec.parse(anew | {"dataset": name, "backbone": backbone})
        message = f"training.augmentation.binarise: pixels of {name} were not drawn from greys (those of mnist, "
        assert message in str(caught.value)


@pytest.fixture(scope="module")
def sprites() -> Any:
    data = datasets.parse({"name": "sprites", "level": 1, "canvas": 16, "num_images": 120}).build()
    data.setup()
    return data


def trial(**training: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "celeba18", "size": 32},
        "backbone": "attribute2image_thin",
        "objective": "discvae",
        "training": training,
    }


def test_what_would_be_another_image_is_refused() -> None:
    TrialSpec.parse(trial(augmentation={}))
    with pytest.raises(ConfigError, match="stored without a margin"):
        TrialSpec.parse(trial(augmentation={"window": True}))
    digits = {"dataset": "mnist_a", "backbone": {"name": "mlp"}, "objective": "telbo"}
    with pytest.raises(ConfigError) as caught:
        TrialSpec.parse(digits | {"training": {"augmentation": {"rotation": 0.1}}})
    text = str(caught.value)
    assert "training.augmentation.flip: an image of mnist_a that is mirrored may show another concept" in text
    assert "training.augmentation.rotation: an image of mnist_a that is turned may show another concept" in text
    assert "celeba18" in text
    assert "training.augmentation.gain: it moves pixels out of [0, 1], outside of which p(x|z) of backbone mlp" in text
    TrialSpec.parse(digits | {"training": {"augmentation": NOTHING}})
    graph: dict[str, Any] = {"dataset": "cora", "backbone": "gcn", "objective": "vgae"}
    graph["training"] = {"batch_size": 300, "augmentation": {}}
    with pytest.raises(ConfigError, match="it applies to images, and cora has none"):
        TrialSpec.parse(graph)


def test_a_key_is_as_it_was_without() -> None:
    assert "augmentation" not in TrainingSpec().canonical()
    plain, changed = (TrialSpec.parse(trial(**each)).key for each in ({}, {"augmentation": {}}))
    assert plain != changed
