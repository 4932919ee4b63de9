"""Sprites on textures: the setting, the user's folder, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError, ConfigError
from mmvae_bench.cli import main
from mmvae_bench.data import commands
from mmvae_bench.data.sources import SourceError
from mmvae_bench.data.sources.textures import TextureFolder
from mmvae_bench.data.sprites import SpritesDataModule
from mmvae_bench.specs.components import datasets
from mmvae_bench.worlds.textures import Swatches

ROWS = torch.tensor([0, 7, 199])


def sprites_of(**settings: object) -> SpritesDataModule:
    data = datasets.parse({"name": "sprites", "num_images": 200, **settings}).build()
    data.prepare_data()
    data.setup()
    assert isinstance(data, SpritesDataModule)
    return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five made-up pictures in DTD's layout, under the data root."""
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for kind in ("banded", "woven"):
        (tmp_path / "dtd/images" / kind).mkdir(parents=True)
    for number, ending in enumerate(("jpg", "png", "webp", "jpg", "jpeg")):
        kind = ("banded", "woven")[number % 2]
        pixels = random.integers(0, 256, (90 + 10 * number, 100, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"dtd/images/{kind}/{kind}_{number:04}.{ending}")
    (tmp_path / "dtd/readme.txt").write_text("not a picture", encoding="utf-8")
    return tmp_path / "dtd"


def test_without_a_texture_nothing_has_changed() -> None:
    spec = datasets.parse("sprites")
    assert "texture" not in spec.canonical()
    assert spec.every_field()["texture"] == "none"
    plain = sprites_of()
    assert plain.store.textures is None  # type: ignore[union-attr]
    assert plain.fingerprint == sprites_of(texture="none").fingerprint
    assert plain.fingerprint != sprites_of(texture="procedural").fingerprint
    assert datasets.parse("sprites").build().fingerprint == "2b460d736dc7"


def test_procedural_textures_are_behind_every_level_and_leave_concepts_and_masks() -> None:
    for level in (1, 5):
        plain, textured = sprites_of(level=level), sprites_of(level=level, texture="procedural")
        one, other = plain.store.batch(ROWS), textured.store.batch(ROWS)
        assert torch.equal(one.concept, other.concept)
        assert torch.equal(one.mask, other.mask)  # type: ignore[arg-type]
        assert bool((one.image != other.image).flatten(1).any(1).all())
    assert commands.verify(datasets.parse({"name": "sprites", "num_images": 100, "texture": "procedural"}))["ok"]


def test_the_pictures_of_a_folder_are_textures(folder: Path) -> None:
    data = sprites_of(texture="dtd/")
    batch = data.store.batch(ROWS)
    for row, image in zip(ROWS, batch.image, strict=True):
        assert torch.equal(data.store.batch(row[None]).image[0], image)
    pictures = data.store.textures.pictures  # type: ignore[union-attr]
    assert pictures.shape == (5, 64, 64)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix != ".txt")
    for name, picture in zip(names, pictures, strict=True):
        with Image.open(folder / name) as image:
            grey, side = image.convert("L"), min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            expected = grey.crop((left, top, left + side, top + side)).resize((64, 64), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(expected).astype(int) - picture.numpy()).max() <= 1
    texture = Swatches(pictures, seed=0).draw(ROWS)
    corner = (data.store.batch(ROWS).image * 255).round()[:, :, 0, 0].short()
    plain = (sprites_of().store.batch(ROWS).image * 255).round()[:, :, 0, 0].short()
    assert torch.equal(corner, (plain + texture[:, None, 0, 0]).clamp(0, 255))


def test_the_fingerprint_is_that_of_the_pictures_wherever_they_are(folder: Path) -> None:
    before = sprites_of(texture="dtd/images")
    shutil.copytree(folder / "images", folder.parent / "elsewhere")
    absolute = sprites_of(texture=str(folder.parent / "elsewhere"))
    assert absolute.fingerprint == before.fingerprint
    assert torch.equal(absolute.store.batch(ROWS).image, before.store.batch(ROWS).image)
    Image.new("L", (20, 20), 9).save(folder / "images/woven/woven_0001.png")
    assert sprites_of(texture="dtd/images").fingerprint != before.fingerprint


@pytest.mark.parametrize("texture", ["procedual", "dtd", "", "None"])
def test_a_name_that_is_neither_a_texture_nor_a_folder_is_refused(texture: str) -> None:
    with pytest.raises(ConfigError) as caught:
        datasets.parse({"name": "sprites", "texture": texture})
    message = str(caught.value)
    assert (
        "texture: not one of the choices (a folder of pictures is written with a slash, such as dtd/images)" in message
    )
    assert "choices: none, procedural" in message
    assert ("nearest: procedural" in message) == (texture == "procedual"), message


def test_a_folder_that_is_missing_empty_or_damaged_is_an_error_that_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(texture: str) -> str:
        assert main(["data", "describe", "sprites", "--set", f"texture={texture}"]) == 2
        printed = capsys.readouterr()
        assert not printed.out
        return printed.err

    assert f"texture: there is no folder {folder.parent / 'nowhere'}" in error_of("nowhere/")
    (folder / "empty").mkdir()
    (folder / "empty/notes.txt").write_text("nothing here", encoding="utf-8")
    empty = error_of("dtd/empty")
    assert f"texture: no picture (.jpg, .jpeg, .png, .webp) is in {folder / 'empty'} or a folder in it" in empty
    assert "texture=procedural, which needs no file" in empty
    broken = folder / "images/banded/banded_0000.jpg"
    for content, why in ((b"", "an empty file"), (b"GIF89a" + bytes(50), "not an image (56 bytes)")):
        broken.write_bytes(content)
        assert f"texture: {broken} cannot be used: {why}" in error_of("dtd/images")
    broken.unlink()
    sprites_of(texture="dtd/images")


def test_a_cut_picture_leaves_nothing_half_written(folder: Path) -> None:
    broken = folder / "images/woven/woven_0003.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    with pytest.raises(SourceError, match=r"woven_0003.jpg cannot be used: "):
        sprites_of(texture="dtd/images")
    assert not [path for path in (folder.parent / "cache").rglob("*") if path.name.endswith(".npy")]


def verified(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of ``data verify``, and what it says of what is wrong."""
    code = main(["data", "verify", "sprites", "--set", "texture=dtd/images", "--set", "num_images=200"])
    return code, capsys.readouterr().err


def test_what_is_kept_is_compared_with_the_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = sprites_of(texture="dtd/images")
    report = data.verify()
    (kept,) = (path for path in (folder.parent / "cache/textures").iterdir() if path.is_dir())
    assert (report["ok"], report["path"], report["textures"]) == (True, str(kept), {"compared": 5, "different": 0})
    assert (report["compared"], report["different"], report["num_images"]) == (200, 0, 200)
    assert data.describe()["storage_bytes"] == (kept / "pictures.npy").stat().st_size
    assert sprites_of(texture="procedural").describe()["storage_bytes"] == 0
    assert verified(capsys)[0] == 0

    shutil.rmtree(kept)
    made = TextureFolder._square
    with monkeypatch.context() as patch:
        # As code of another day, or a damaged library, could have made two of them.
        patch.setattr(TextureFolder, "_square", lambda self, name: made(self, name) ^ ("woven" in name))
        data.prepare_data()
    report = data.verify()
    assert all(each["ok"] for each in report["files"])
    assert (report["ok"], report["different"], report["textures"]) == (False, 0, {"compared": 5, "different": 2})
    code, output = verified(capsys)
    assert code == 1
    assert "drawn alone" not in output
    assert "every file is as it was written, but the images differ" in output
    assert f"\n  rm -r {kept}\n" in output
    shutil.rmtree(kept)
    with pytest.raises(BenchmarkError, match=rf"^sprites with fingerprint {data.fingerprint} is not prepared"):
        data.verify()


def test_damaged_squares_are_named_and_left_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sprites_of(texture="dtd/images")
    (kept,) = (folder.parent / "cache/textures").glob("*/pictures.npy")
    whole = kept.read_bytes()
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    kept.write_bytes(damaged)
    code, output = verified(capsys)
    assert (code, kept.read_bytes()) == (1, damaged)
    assert "damaged or missing: pictures.npy" in output
    assert "rm -r" not in output
    sprites_of(texture="dtd/images")
    assert kept.read_bytes() == whole
    assert verified(capsys)[0] == 0


def test_a_strangers_file_name_is_only_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "images/banded/\x1b[31mred.png").write_bytes(b"no picture")
    assert main(["data", "describe", "sprites", "--set", "texture=dtd/images"]) == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert r"\x1b[31mred.png cannot be used: not an image (10 bytes)" in printed
    with pytest.raises(SourceError, match=r"\\x1b\[31mred"):
        sprites_of(texture="dtd/images")
