from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.preview import FONT, _wrap, contact_sheet, preview


def test_a_sheet_shows_every_image_enlarged_in_its_place() -> None:
    images = torch.zeros(5, 1, 4, 4)
    images[:, 0, 0, 0] = torch.linspace(0.2, 1, 5)
    sheet = contact_sheet(images, [f"image {index}" for index in range(5)], title="five", num_columns=3, cell=32)
    grey = np.asarray(sheet.convert("L")).astype(int)
    for value in np.linspace(0.2, 1, 5)[:4]:
        # 8 x 8 pixels each: the enlarged top-left pixel. Those of text are scattered.
        assert (np.abs(grey - value * 255) <= 1).sum() >= 64
    assert sheet.width < 3 * 60
    assert (grey < 100).sum() > 4 * 32 * 32


def test_long_labels_are_broken_and_make_room() -> None:
    image = torch.zeros(1, 1, 16, 16)
    short = contact_sheet(image, ["one"], title="t")
    long = contact_sheet(image, ["one two three four five six seven eight nine ten"], title="t")
    assert long.height > short.height
    assert long.width == short.width


@pytest.mark.parametrize("word", ["has_bill_shape::curved_(up_or_down)_and_longer_than_its_picture", "x" * 60])
def test_a_word_that_is_wider_than_its_picture_is_broken_too(word: str) -> None:
    """Or it would be written over the label of the next picture."""
    sheet = contact_sheet(torch.ones(2, 1, 16, 16), [word, "·"], title="t", num_columns=2)
    alone = contact_sheet(torch.ones(2, 1, 16, 16), ["·", "·"], title="t", num_columns=2)
    second = [np.asarray(each.convert("L"))[:, each.width // 2 + 2 :] for each in (sheet, alone)]
    ink = [(each < 128).sum() for each in second]
    assert ink[0] == ink[1] > 0
    font = ImageFont.load_default(FONT)
    lines = _wrap(f"a {word} b", font, 128).splitlines()
    assert all(font.getlength(line) <= 128 for line in lines)
    assert "".join(lines).replace(" ", "") == f"a{word}b"


def test_colour_images_keep_their_colours() -> None:
    image = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    pixels = np.asarray(contact_sheet(image, ["red"], title="t")).reshape(-1, 3)
    assert (pixels == [255, 0, 0]).all(1).sum() == 128 * 128


def test_one_label_an_image() -> None:
    with pytest.raises(ValueError, match="one label per image"):
        contact_sheet(torch.zeros(2, 1, 4, 4), ["one"], title="t")


def test_a_preview_is_a_png_of_the_partition(digits: ConceptDataModule, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    shown = preview(digits, path, num_images=12, partition="test")
    assert Image.open(path).format == "PNG"
    assert shown["file"] == str(path)
    assert len(shown["rows"]) == len(shown["concepts"]) == 12
    assert set(shown["rows"]) <= set(digits.rows("test").tolist())
    for row, concept in zip(shown["rows"], shown["concepts"], strict=True):
        assert digits.schema.parse(concept).tolist() == digits.store.concepts[row].tolist()
    first = path.read_bytes()
    preview(digits, path, num_images=12, partition="test")
    assert path.read_bytes() == first


def test_a_preview_of_more_than_there_are_shows_all(digits: ConceptDataModule, tmp_path: Path) -> None:
    assert len(preview(digits, tmp_path / "a.png", num_images=1000, partition="val")["rows"]) == len(digits.rows("val"))
