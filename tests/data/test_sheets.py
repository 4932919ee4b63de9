"""Sheets against torchvision's grid, and borders and rows against what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.sheets import draw_sheet, labelled, lettering, save_picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("number", [2, 7, 10])
def test_a_sheet_is_torchvisions_grid(channels: int, number: int) -> None:
    images = torch.rand(number, channels, 5, 6, generator=torch.Generator().manual_seed(number))
    sheet, places = draw_sheet(
        images, num_columns=min(4, number), scale=3, gap=2, margins=(2, 2, 0, 0), paper=(127, 127, 127)
    )
    enlarged = images.repeat_interleave(3, -1).repeat_interleave(3, -2)
    expected = to_pil_image(make_grid(enlarged, nrow=min(4, number), pad_value=0.5))
    assert np.array_equal(np.asarray(sheet), np.asarray(expected))
    assert len(set(places)) == number


def test_borders_rows_and_margins() -> None:
    images = torch.ones(3, 1, 2, 2)
    red, blue = (255, 0, 0), (0, 0, 255)
    sheet, places = draw_sheet(
        images, num_columns=2, scale=1, gap=5, margins=(7, 3, 1, 4), border=1, colours=[red, blue, red],
        row_heights=[20, 9], paper=(9, 9, 9),
    )  # fmt: skip
    assert sheet.size == (7 + 2 * (2 + 2 + 5) + 1, 3 + 20 + 9 + 4)
    assert places == [(8, 4), (17, 4), (8, 24)]
    pixels = np.asarray(sheet).astype(int)
    assert (pixels == 255).all(-1).sum() == 3 * 4
    assert (pixels == red).all(-1).sum() == 2 * 12
    assert (pixels == blue).all(-1).sum() == 12
    assert (pixels[3:7, 7:11].reshape(16, 3) != 9).any(-1).all(), "the border begins at the margins"


def test_a_picture_is_written_whole_in_the_format_of_its_name(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 3), (1, 2, 3))
    for ending, format in ((".png", "PNG"), (".JPG", "JPEG"), (".webp", "WEBP")):
        save_picture(picture, tmp_path / f"a{ending}")
        assert Image.open(tmp_path / f"a{ending}").format == format
    with pytest.raises(BenchmarkError, match=r"must end in \.png, \.jpg, \.jpeg, \.webp"):
        save_picture(picture, tmp_path / "a.gif")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("width", "words"), [(40, "jmvae: digit=6"), (400, "telbo: " + "a long concept, " * 20)])
def test_a_label_is_above_the_sheet_and_all_of_it_is_there(width: int, words: str) -> None:
    sheet = Image.new("RGB", (width, 30), (200, 10, 10))
    picture = np.asarray(labelled(sheet, words))
    height = picture.shape[0] - 30
    assert picture.shape[1] == max(width, 280)
    assert (picture[height:, :width] == (200, 10, 10)).all()
    label = picture[:height]
    ink = (label < 100).all(-1)
    assert ink.any()
    assert not ink[:, -6:].any(), "nothing is cut off on the right"
    # One line for the short text; the long one is broken into several.
    lines = np.diff(ink.any(1).astype(int)) == 1
    assert (lines.sum() > 4) == (len(words) > 100)


def test_letters_of_most_alphabets_are_drawn_and_the_others_are_told_apart() -> None:
    """Boxes would make one value of another."""
    empty = Image.new("RGB", (40, 40), "white")
    drawn = [np.asarray(labelled(empty, text)) for text in ("ö", "ß", "ж", "日", "本", "o")]
    for index, one in enumerate(drawn):
        assert all(one.shape != other.shape or not np.array_equal(one, other) for other in drawn[:index])
    font, texts = lettering(14, ["Größe=groß", "日本"])
    assert texts == ["Größe=groß", r"\u65e5\u672c"]
    assert font.getname()[0] == "DejaVu Sans"
    plain, texts = lettering(14, ["size=big"])
    assert (plain.getname(), texts) == (ImageFont.load_default(14).getname(), ["size=big"])
