"""Pictures of the user's own: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.evaluation import images as module
from mmvae_bench.evaluation.images import file_images


def saved(folder: Path, pixels: object, mode: str | None = None, name: str = "x.png") -> Path:
    picture = Image.fromarray(np.array(pixels, dtype=np.uint8))
    (picture if mode is None else picture.convert(mode)).save(folder / name)
    return folder / name


def test_a_picture_of_the_right_kind_is_what_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
    asked = file_images([saved(tmp_path, pixels)], (3, 4, 6))
    assert torch.equal(asked.images[0], torch.tensor(pixels).permute(2, 0, 1) / 255)
    assert (asked.names, asked.notes, asked.concepts) == (("x.png",), (), None)


def test_size_mode_format_and_transparency_are_made_the_datasets(tmp_path: Path) -> None:
    blocks = np.array([[10, 20], [30, 40]]).repeat(2, 0).repeat(2, 1)
    wide = np.concatenate([np.full((4, 2), 255), blocks, np.full((4, 2), 255)], 1)
    asked = file_images([saved(tmp_path, wide)], (3, 2, 2))
    assert torch.equal(asked.images[0], torch.tensor([[10, 20], [30, 40]]).expand(3, 2, 2) / 255)
    assert asked.notes == (f"{tmp_path / 'x.png'}: 8x4 L, cropped in the middle and scaled to 2x2 RGB",)
    clear = [[[200, 100, 50, 0], [200, 100, 50, 255]]]
    asked = file_images([saved(tmp_path, clear)], (3, 1, 2))
    assert torch.equal(asked.images[0, :, 0] * 255, torch.tensor([[0.0, 200], [0, 100], [0, 50]]))
    grey = file_images([saved(tmp_path, [[[255, 255, 255], [0, 0, 0]]])], (1, 1, 2))
    assert grey.images.tolist() == [[[[1.0, 0.0]]]]
    small = file_images([saved(tmp_path, [[0, 255]])], (1, 4, 8))
    assert small.images.shape == (1, 1, 4, 8)


def test_what_is_no_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, cut, link = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    text.write_text("no picture")
    whole = saved(tmp_path, np.random.default_rng(0).integers(0, 256, (64, 64, 3)), name="whole.png")
    cut.write_bytes(whole.read_bytes()[:900])
    link.symlink_to(whole)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(deep)
    for path, words in ((text, "not a picture that can be read"), (cut, "not a picture that can be read"),
                        (link, "damaged"), (tmp_path, "damaged"), (deep, "8 bits per channel")):  # fmt: skip
        with pytest.raises(BenchmarkError, match=words) as caught:
            file_images([path], (3, 8, 8))
        assert str(path) in str(caught.value)
    monkeypatch.setattr(module, "MOST_PIXELS", 64 * 63)
    with pytest.raises(BenchmarkError, match="a picture of 64 x 64 pixels, at most 4,032 are read"):
        file_images([whole], (3, 8, 8))


def test_a_file_that_pillow_would_give_to_another_program_is_refused_unopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript, which Pillow has drawn by Ghostscript: it is a language, and its files are programs."""
    called, program = tmp_path / "called", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {called}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(BenchmarkError, match=r"photo\.png: not a picture that can be read; save it as JPEG, PNG, WEBP"):
        file_images([photo], (3, 8, 8))
    assert not called.exists()
