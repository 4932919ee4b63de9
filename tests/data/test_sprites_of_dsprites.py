"""Sprites with the shapes of dSprites' file: which of its images they are, where, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.cli import app
from mmvae_bench.data import commands
from mmvae_bench.data.sources import MissingSourceError, SourceError
from mmvae_bench.data.sources.dsprites_file import DSpritesFile
from mmvae_bench.data.sources.sprite_shapes import SpriteShapes
from mmvae_bench.data.sources.textures import TextureFolder
from mmvae_bench.data.sprites import SpritesDataModule
from mmvae_bench.specs.built_in.datasets import DSPRITES_CANVASES
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.dsprites import NUM_PLACES, SIDE, SIZES, Shifts, factors
from mmvae_bench.worlds.sprite_bitmaps import CANVASES, bitmap_numbers
from mmvae_bench.worlds.sprites import draw_geometry

PLACES = [*range(8), *range(12, 20), *range(24, 32)]
SMALL, BIG = (0, 1), (4, 5)
UPRIGHT = (36, 37, 38, 0, 1, 2, 3)


class Grid(DSpritesFile):
    """A file that holds the drawn grid, or one whose y counts from the bottom, or whose sprites stand elsewhere; of the
    images that nobody should need it yields a white square in the corner. Its reader is tested with dSprites itself.

    Args:
        upside_down: Whether y counts from the bottom.
        still: A shape that does not move.
        shift: By how many pixels each sprite is shifted to the right.
    """

    def __init__(self, *, upside_down: bool = False, still: int | None = None, shift: int = 0) -> None:
        super().__init__()
        self.upside_down, self.still, self.shift, self.times = upside_down, still, shift, 0

    @property
    def path(self) -> Path:  # type: ignore[override]
        """What errors name."""
        return Path("a.npz")

    @property
    def checksum(self) -> str:  # type: ignore[override]
        """Of what it yields."""
        return f"{int(self.upside_down)}{self.still}{self.shift}"

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
                if start // step // SIZES[1] == self.still:
                    drawn = drawn - drawn % NUM_PLACES**2 + NUM_PLACES**2 // 2
                images[rows.numpy()] = shifts.draw(drawn).roll(self.shift, 2).numpy()
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
    centre = draw_geometry(rows, batch.concept, seed=0).centre * SIDE
    shifts = Shifts()
    sizes, turns = torch.tensor([SMALL, BIG]), torch.tensor(UPRIGHT)
    seen = set()
    for mask, concept, middle in zip(batch.mask[:, 0], batch.concept, centre, strict=True):
        # The middle of a square is at 16.5 + x, and at 16.5 + y, whichever way y counts.
        x, y = (middle - 16.5).round().clamp(0, 31).long()
        scale, turn = (part.flatten() for part in torch.meshgrid(sizes[concept[1]], turns, indexing="ij"))
        numbers = (((concept[0] * 6 + scale) * 40 + turn) * 32 + x) * 32 + y
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
    assert len([path for path in (cache / "sprite_shapes").glob("0None0-*") if path.is_dir()]) == 1
    other = SpritesDataModule(data.spec, file=Grid(upside_down=True))
    drawn = datasets.parse({"name": "sprites", "num_images": 400}).build()
    assert len({each.fingerprint for each in (data, again, other, drawn)}) == 4
    about = data.describe()
    assert (about["source_md5"], about["storage_bytes"] > 10**6) == (grid.checksum, True)
    assert data.verify()["ok"]
    assert data.store.to("cpu") is data.store


@pytest.mark.parametrize("file", ["bitmaps.npy", "middles.npy"])
def test_a_damaged_copy_is_made_anew(file: str, grid: Grid, cache: Path) -> None:
    pixels = ready(grid).pixel_hash
    (kept,) = (path / file for path in (cache / "sprite_shapes").glob("0None0-*") if path.is_dir())
    kept.write_bytes(kept.read_bytes()[:-1] + b"\7")
    assert ready(grid).pixel_hash == pixels


def test_what_is_kept_is_compared_with_the_file(grid: Grid, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(grid)
    report = data.verify()
    (kept,) = (path for path in (cache / "sprite_shapes").glob("0None0-*") if path.is_dir())
    compared = len(bitmap_numbers()) + 2
    assert (report["ok"], report["path"], report["shapes"]) == (True, str(kept), {"compared": compared, "different": 0})
    assert (report["compared"], report["different"], report["num_images"]) == (256, 0, 400)

    shutil.rmtree(kept)
    made = data._shapes._made  # type: ignore[union-attr]

    def by_other_code(progress: Any) -> dict[str, np.ndarray]:
        found = made(progress)
        found["bitmaps.npy"][[3, 5000], 7] ^= 1
        found["middles.npy"][1, 4] += 0.25
        return found

    with monkeypatch.context() as patch:
        patch.setattr(SpriteShapes, "_made", lambda self, progress: by_other_code(progress))
        data.prepare_data()
    report = data.verify()
    assert all(each["ok"] for each in report["files"])
    assert (report["ok"], report["different"]) == (False, 0)
    assert report["shapes"] == {"compared": compared, "different": 3}
    result = verified(data, monkeypatch)
    assert "drawn alone" not in result.output
    assert "every file is as it was written, but the images differ" in result.output
    assert f"rm -r {kept}" in result.output
    with monkeypatch.context() as patch:
        patch.setattr(SpritesDataModule, "verify", lambda self: {**report, "different": 7})
        result = verified(data, monkeypatch)
    assert "images drawn alone differ from the same ones drawn together" in result.output
    assert f"rm -r {kept}" in result.output
    shutil.rmtree(kept)
    with pytest.raises(BenchmarkError, match=rf"^sprites with fingerprint {data.fingerprint} is not prepared"):
        data.verify()


def test_a_damaged_copy_is_named_and_left_as_it_is(grid: Grid, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(grid)
    (kept,) = (path / "middles.npy" for path in (cache / "sprite_shapes").glob("0None0-*") if path.is_dir())
    damaged = kept.read_bytes()[:-1] + b"\7"
    kept.write_bytes(damaged)
    times = grid.times
    report = data.verify()
    assert [each["file"] for each in report["files"] if not each["ok"]] == ["middles.npy"]
    assert (report["ok"], report["compared"], report["pixel_hash"]) == (False, 0, None)
    output = verified(data, monkeypatch).output
    assert "damaged or missing: middles.npy" in output
    assert "rm -r" not in output
    assert (kept.read_bytes(), grid.times) == (damaged, times)


def test_shapes_and_textures_are_both_compared(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (70, 70), np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    data = ready(grid, texture=str(pictures))
    report = data.verify()
    assert report["ok"]
    assert [each["file"] for each in report["files"]] == ["bitmaps.npy", "middles.npy", "pictures.npy"]
    assert (report["shapes"]["different"], report["textures"]) == (0, {"compared": 3, "different": 0})
    files = [path for folder in report["kept"].values() for path in Path(folder).glob("*.npy")]
    assert data.describe()["storage_bytes"] == sum(path.stat().st_size for path in files)

    kept = Path(report["kept"]["textures"])
    shutil.rmtree(kept)
    made = TextureFolder._square
    with monkeypatch.context() as patch:
        patch.setattr(TextureFolder, "_square", lambda self, name: made(self, name) ^ (name == "1.png"))
        data.prepare_data()
    report = data.verify()
    assert (report["ok"], report["shapes"]["different"], report["textures"]["different"]) == (False, 0, 1)
    assert f"\n  rm -r {kept}\n" in verified(data, monkeypatch).output


def verified(data: SpritesDataModule, monkeypatch: pytest.MonkeyPatch) -> Result:
    """What the command says, which finds something wrong."""
    with monkeypatch.context() as patch:
        patch.setattr(commands, "_module", lambda *_: data)
        result = CliRunner().invoke(app, ["data", "verify", "sprites", "--set", "source=dsprites"])
    assert result.exit_code == 1, result.output
    return result


def test_a_store_moves_as_a_whole(grid: Grid) -> None:
    """The device without data tells whether anything was left behind."""
    moved = ready(grid).store.to("meta")
    number, concept = torch.arange(4, device="meta"), torch.zeros(4, 5, dtype=torch.long, device="meta")
    shapes = moved.shapes  # type: ignore[union-attr]
    assert shapes is not None
    assert shapes.coverage(draw_geometry(number, concept, seed=0), canvas=32).device.type == "meta"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (Grid(still=2), r"^a.npz: the sprite of image [\d,]+ is 1\d\.\d pixels along x from the squares at its place"),
        (Grid(shift=4), r"^a.npz: no square has its middle at 16.0 pixels along x; the nearest is 4.5 away"),
    ],
)
def test_sprites_that_stand_elsewhere_are_refused(file: Grid, message: str, cache: Path) -> None:
    """Where they stand is what a concept says of them."""
    with pytest.raises(SourceError, match=message):
        ready(file)
    assert not [path for path in (cache / "sprite_shapes").glob(f"*{file.checksum}*") if path.is_dir()]


def test_other_canvases_are_refused_where_they_are_drawn(grid: Grid) -> None:
    assert CANVASES == DSPRITES_CANVASES
    geometry = draw_geometry(torch.arange(4), torch.zeros(4, 5, dtype=torch.long), seed=0)
    bitmaps = ready(grid).shapes()
    assert bitmaps is not None
    with pytest.raises(ValueError, match="canvas 16"):
        bitmaps.coverage(geometry, canvas=16)


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
