"""``mmvae-bench analogies``: the picture and the document it writes, and what it refuses, with no file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmvae_bench.cli import main

from .test_asking import Desk, document


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, monkeypatch)
    desk.becomes("ssvae")
    monkeypatch.setattr("mmvae_bench.evaluation.analogies.contact_sheet", desk.sheet)
    return desk


def enlarged(image: Tensor) -> np.ndarray:
    pixels = (image * 255).byte().permute(1, 2, 0).numpy()
    return pixels.repeat(8, 0).repeat(8, 1)


def tops_of(image: Tensor, sheet: np.ndarray, *, left: int) -> list[int]:
    """Where an image of the sheet begins, in the column that begins at a pixel."""
    wanted = enlarged(image)
    side = len(wanted)
    column = sheet[:, left : left + side]
    return [top for top in range(len(sheet) - side) if np.array_equal(column[top : top + side], wanted)]


def test_a_row_for_each_image_and_a_column_for_each_value(told: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert told.run("analogies", "--attribute", "colour", "--index", "3", "0", "5", "--json") == 0
    found, batch, schema = document(capsys), told.held_out(3, 0, 5), told.model.schema
    colours = list(schema.attributes[2].values)
    assert {key: value for key, value in found.items() if key != "images"} == {
        "file": str(told.out), "attribute": "colour", "values": colours, "z_from": "q(z|x,y)", "notes": [],
    }  # fmt: skip
    assert [entry["image"] for entry in found["images"]] == ["test 3", "test 0", "test 5"]
    assert [entry["concept"] for entry in found["images"]] == [schema.format(row) for row in batch.concept.tolist()]
    assert [entry["own"] for entry in found["images"]] == [colours[row[2]] for row in batch.concept.tolist()]
    assert all(len(entry["changes"]) == len(colours) for entry in found["images"])

    ((images, labels, _),) = told.sheets
    rows = images.unflatten(0, (3, 6))
    with Image.open(told.out) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    assert sheet.shape[1] // 136 == 6
    tops = [tops_of(each, sheet, left=8) for each in batch.image]
    assert all(len(each) == 1 for each in tops)
    assert tops == sorted(tops), "the images are below each other"
    for row, (top,) in zip(rows, tops, strict=True):
        for column, each in enumerate(row):
            assert top in tops_of(each, sheet, left=8 + 136 * column)
    again = told.model.reconstruct(batch.image, batch.concept)
    own = [1 + int(value) for value in batch.concept[:, 2]]
    assert torch.equal(rows[torch.arange(3), torch.tensor(own)], again)
    marked = [place for place, label in enumerate(labels) if label.endswith("\nits own")]
    assert marked == [6 * row + column for row, column in enumerate(own)]


def test_people_read_a_line_for_each_image(told: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert told.run("analogies", "--attribute", "size", "-n", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert told.run("analogies", "--attribute", "size", "-n", "2", "--json") == 0
    found = document(capsys)
    for line, entry in zip(lines[:-1], found["images"], strict=True):
        (change,) = [each for value, each in zip(found["values"], entry["changes"], strict=True)
                     if value != entry["own"]]  # fmt: skip
        said = ", ".join(told.model.schema.words(told.model.schema.indices(entry["concept"])))
        assert line.split("  ", 1)[1].strip() == f"error {entry['error']:.4f}  change {change:.4f}  {said}"
    assert lines[-1] == str(told.out)


def test_a_picture_of_ones_own_is_described_or_refused(
    told: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(pixels).save(mine)
    words = ["analogies", "--attribute", "shape", "--image", str(mine)]
    assert told.run(*words, "--json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    (entry,) = found["images"]
    assert (entry["image"], entry["described"]) == ("mine.png", True)
    assert found["notes"] == [printed.err.rstrip()]
    (image,) = told.sheets[-1][0][:1]
    (described,) = told.model.describe(image[None]).tolist()
    assert entry["concept"] == told.model.schema.format(described)
    assert told.run(*words) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("(described)")
    told.out.unlink()
    told.becomes("cvae")
    assert told.run(*words) == 2
    assert "error: cvae cannot describe an image, so the label of a picture of your own" in capsys.readouterr().err
    assert not told.out.exists()


@pytest.mark.parametrize("view", ["attributes", "text"])
def test_a_model_whose_decoder_is_not_told_the_label(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, monkeypatch, view=view)
    assert desk.run("analogies", "--attribute", "colour", "--json") == 2
    printed = capsys.readouterr()
    assert printed.err == (
        "error: telbo has p(x|z): its z holds colour too, which cannot be changed beside it: traverse changes colour "
        "of a concept, interpolate passes from one to another\n"
    )
    assert not printed.out
    assert [path.name for path in desk.folder.iterdir()] == ["spec.json"]


SIZE = ["--attribute", "size"]
BAD = [
    ([*SIZE, "--out", "x.jpg"], "the image must be a PNG file\n  given: x.jpg\n  nearest: x.png"),
    (["--attribute", "color", "--out", "x.png"],
     "--attribute: unknown attribute 'color'\n  choices: shape, size, colour\n  nearest: colour"),
    ([*SIZE, "--image", "nowhere.png", "--out", "x.png"], "--image: no such file\n  given: nowhere.png"),
    ([*SIZE, "--image", "spec.json", "--index", "0", "--out", "x.png"], "choose one of them"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words[:4]) for words, _ in BAD])
def test_bad_input_is_refused_before_the_model_is_loaded(
    words: list[str], message: str, told: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(told.folder)
    monkeypatch.setattr("mmvae_bench.trial.load", lambda *_: pytest.fail("the model was loaded"))
    assert main(["analogies", ".", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert not printed.out
    assert [path.name for path in told.folder.iterdir()] == ["spec.json"]


def test_images_that_are_not_there_and_files_that_are_no_pictures(
    told: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    data = told.spec.dataset.build()
    data.setup()
    number = len(data.rows("test"))
    assert told.run("analogies", *SIZE, "--index", "0", str(number)) == 2
    said = capsys.readouterr().err
    assert f"--index: the test partition has {number} images, 0 to {number - 1}\n  given: {number}" in said
    assert told.run("analogies", *SIZE, "--image", str(told.folder / "spec.json")) == 2
    assert "spec.json: not a picture that can be read" in capsys.readouterr().err
    assert [path.name for path in told.folder.iterdir()] == ["spec.json"]
