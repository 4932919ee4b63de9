"""Sprites with the shapes of dSprites' file: which of its images they are, where, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data import commands
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.dsprites_file import DSpritesFile
from mmvae_bench.data.sprites import SpritesDataModule
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.dsprites import NUM_PLACES, SIDE, SIZES, Shifts, factors
from mmvae_bench.worlds.sprite_bitmaps import bitmap_numbers
from mmvae_bench.worlds.sprites import draw_geometry

PLACES = [*range(6), *range(13, 19), *range(26, 32)]
SMALL, BIG = (0, 1), (4, 5)
UPRIGHT = (36, 37, 38, 0, 1, 2, 3)


class Grid(DSpritesFile):
    """A file that holds the drawn grid, or one whose y counts from the bottom; of the images that nobody should need it
    yields a white square in the corner. Its reader is tested with dSprites itself."""

    def __init__(self, *, upside_down: bool = False) -> None:
        super().__init__()
        self.upside_down, self.times = upside_down, 0

    @property
    def checksum(self) -> str:  # type: ignore[override]
        """Of what it yields."""
        return f"{'b' if self.upside_down else 'a'}" * 32

    def images(self) -> Iterator[np.ndarray]:
        """In parts of one scale of one shape."""
        self.times += 1
        needed = needed_images()
        shifts = Shifts()
        step = int(np.prod(SIZES[2:]))
        corner = np.zeros((SIDE, SIDE), np.uint8)
        corner[:5, :5] = 1
        for start in range(0, int(np.prod(SIZES)), step):
            part = torch.arange(start, start + step)
            rows = needed[part].nonzero()[:, 0]
            images = np.broadcast_to(corner, (step, SIDE, SIDE))
            if len(rows):
                images = images.copy()
                drawn = part[rows]
                if self.upside_down:
                    y = drawn % NUM_PLACES
                    drawn = drawn - y + NUM_PLACES - 1 - y
                images[rows.numpy()] = shifts.draw(drawn).numpy()
            yield images


def needed_images() -> Tensor:
    """By enumeration: two scales for each size, seven orientations, and the places near a middle; Bool of the grid."""
    needed = torch.zeros(SIZES, dtype=torch.bool)
    scales, turns, places = torch.tensor(SMALL + BIG), torch.tensor(UPRIGHT), torch.tensor(PLACES)
    grid = torch.meshgrid(torch.arange(SIZES[0]), scales, turns, places, places, indexing="ij")
    needed[grid] = True
    return needed.flatten()


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(cache))


def ready(file: DSpritesFile, **settings: object) -> SpritesDataModule:
    spec = datasets.parse({"name": "sprites", "source": "dsprites", "num_images": 400, **settings})
    data = SpritesDataModule(spec, file=file)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


def test_the_images_that_are_kept_are_those_that_can_be_needed() -> None:
    numbers = bitmap_numbers()
    assert torch.equal(numbers.sort().values, needed_images().nonzero()[:, 0])


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_sprite_is_an_image_of_the_grid_with_the_shape_size_and_place_of_its_concept(upside_down: bool) -> None:
    """Found among all images of the grid that its concept admits."""
    data = ready(Grid(upside_down=upside_down), canvas=64, level=4)
    rows = torch.arange(200)
    batch = data.store.batch(rows)
    assert batch.mask is not None
    middles = draw_geometry(rows, batch.concept, seed=0).centre * SIDE
    shifts = Shifts()
    sizes, turns = torch.tensor([SMALL, BIG]), torch.tensor(UPRIGHT)
    seen = set()
    for mask, concept, middle in zip(batch.mask[:, 0], batch.concept, middles, strict=True):
        # The middle of the sprite's pixel x is at 16 + x + 1/2.
        x, y = ((middle - 16.5).round().clamp(0, 31)).long().tolist()
        near = torch.tensor([-1, 0, 1])
        parts = torch.meshgrid(
            sizes[concept[1]], turns, (x + near).clamp(0, 31), (y + near).clamp(0, 31), indexing="ij"
        )
        scale, turn, across, down = (part.flatten() for part in parts)
        numbers = (((concept[0] * 6 + scale) * 40 + turn) * 32 + across) * 32 + down
        found = (shifts.draw(numbers).bool() == mask).all(2).all(1)
        assert found.any()
        seen |= {tuple(each[1:3]) for each in factors(numbers[found]).tolist()}
    assert {scale for scale, _ in seen} == {*SMALL, *BIG}, "sizes vary within a concept"
    assert {turn for _, turn in seen} == set(UPRIGHT)


def test_half_the_canvas_has_four_pixels_in_one(grid: Grid) -> None:
    large, small = (ready(grid, canvas=canvas).store.batch(torch.arange(50)) for canvas in (64, 32))
    assert large.mask is not None
    assert small.mask is not None
    quarters = large.mask.float().unflatten(3, (32, 2)).unflatten(2, (32, 2)).mean((3, 5))
    assert torch.equal(small.mask, quarters >= 0.5)
    colour, shade = (large.image * mask for mask in (large.mask, ~large.mask))
    colour, shade = (part.amax((2, 3), keepdim=True) for part in (colour, shade))
    mixed = shade + quarters * (colour - shade)
    assert (small.image - mixed).abs().max() <= 0.5001 / 255


def test_all_but_the_shape_is_that_of_other_sprites(grid: Grid) -> None:
    drawn = datasets.parse({"name": "sprites", "num_images": 400, "texture": "procedural"}).build()
    drawn.setup()
    ours, theirs = (data.store.batch(torch.arange(400)) for data in (ready(grid, texture="procedural"), drawn))
    assert ours.mask is not None
    assert theirs.mask is not None
    assert torch.equal(ours.concept, theirs.concept)
    outside = ~(ours.mask | theirs.mask).expand_as(ours.image)
    # An edge has the colour of both.
    assert ((ours.image == theirs.image) | ~outside).float().mean() > 0.97
    both = (ours.mask & theirs.mask).expand_as(ours.image)
    assert ((ours.image == theirs.image) | ~both).float().mean() > 0.97


def test_the_file_is_read_once_and_another_is_another_dataset(grid: Grid, cache: Path) -> None:
    data = ready(grid)
    times = grid.times
    again = ready(grid, level=2)
    assert grid.times == times
    assert len(list((cache / "sprite_shapes").glob("a*-1"))) == 1
    other = SpritesDataModule(data.spec, file=Grid(upside_down=True))
    drawn = datasets.parse({"name": "sprites", "num_images": 400}).build()
    assert len({each.fingerprint for each in (data, again, other, drawn)}) == 4
    assert data.describe()["source_md5"] == grid.checksum
    assert data.verify()["ok"]
    assert data.store.to("cpu") is data.store


def test_a_damaged_copy_is_made_anew(grid: Grid, cache: Path) -> None:
    pixels = ready(grid).pixel_hash
    kept = next((cache / "sprite_shapes").glob("a*-1")) / "bitmaps.npy"
    kept.write_bytes(kept.read_bytes()[:-1] + b"\7")
    assert ready(grid).pixel_hash == pixels


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"canvas: .*\n  given: 48\n  choices: 32, 64"):
        datasets.parse({"name": "sprites", "source": "dsprites", "canvas": 48})
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingSourceError, match="the file of dSprites is missing"):
        datasets.parse({"name": "sprites", "source": "dsprites"}).build().prepare_data()
    (tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz").write_bytes(b"PK")
    with pytest.raises(SourceError, match="dsprites_ndarray"):
        commands.prepare(datasets.parse({"name": "sprites", "source": "dsprites"}))
    assert not list((tmp_path / "cache").rglob("*.npy"))
