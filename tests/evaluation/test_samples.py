from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torch import nn

from mmvae_bench.concepts import Attribute, Schema, keep_random
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation import samples
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.samples import draw_grid, imagine_and_judge, write_samples
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, datasets, objectives

from .fakes import LINES, LinesData, Oracle, draw, exact_classifier
from .squares import NAMES, SquaresData, SquaresOracle, SquaresSpec, exact_order


def untrained(data: ConceptDataModule, name: str) -> Objective:
    spec = backbones.parse({"name": "mnist_a_thin", "width": 4, "hidden": 16})
    backbone = spec.build(schema=data.schema, image_shape=data.image_shape)
    model = objectives.parse(name).build(backbone, seed=0)
    assert isinstance(model, Objective)
    return model


class BlackOrWhite(nn.Module):
    """Reads every attribute as 1 where the image's first pixel is on, and as 0 elsewhere."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        on = images[:, 0, 0, 0]
        return [torch.stack([1 - on, on, *[-torch.ones_like(on)] * (size - 2)], 1) for size in (10, 2, 3, 4)]


def reader(data: ConceptDataModule) -> ObservationClassifier:
    nothing = torch.zeros(1, 4, dtype=torch.long)
    return ObservationClassifier("fake", "0", BlackOrWhite(), data.schema, HeldOut(nothing, nothing))


def test_the_judge_sees_a_sample_and_the_reader_its_mean(digits: ConceptDataModule) -> None:
    """With the same latents: the mean of the image behind each sample is what is shown."""
    model = untrained(digits, "jmvae")
    queries = torch.tensor([[1, 1, 1, 1], [-1, 0, -1, -1]])
    means, wrong = imagine_and_judge(model, reader(digits), queries, num_samples=400, seed=0)
    assert means.shape == (2, 400, 1, 16, 16)
    assert ((means > 0) & (means < 1)).any()
    # The first query is read rightly where the first pixel of the sample is on, the second where it is off.
    for query, right_if_on in ((0, True), (1, False)):
        probability = means[query, :, 0, 0, 0].double()
        shown = ~wrong[query] if right_if_on else wrong[query]
        spread = float((probability * (1 - probability)).sum().sqrt())
        assert abs(float(shown.sum() - probability.sum())) < 4 * spread


def test_samples_and_means_share_their_latents(digits: ConceptDataModule) -> None:
    model = untrained(digits, "jmvae")
    query = torch.tensor([1, 1, 1, 1])
    # A decoder that is certain: its samples are its means.
    with torch.no_grad():
        for parameter in model.image_decoder.parameters():
            parameter.mul_(200)
    sample, mean = (
        model.imagine(query, num_samples=20, mean=flag, generator=torch.Generator().manual_seed(1))
        for flag in (False, True)
    )
    certain = (mean < 1e-6) | (mean > 1 - 1e-6)
    assert certain.float().mean() > 0.5
    assert torch.equal(sample[certain], mean[certain].round())


def test_borders_and_places() -> None:
    images = draw(LINES.combinations()[:6]).unflatten(0, (2, 3))
    wrong = torch.tensor([[False, True, False], [True, False, False]])
    pixels = np.asarray(draw_grid(images, wrong, ["a", "b"], title="t"))
    assert [tuple(pixels[-20, samples.LABEL_WIDTH + k]) for k in range(3)] == [samples.WRONG] * 3
    reds = (pixels == np.array(samples.WRONG)).all(-1)
    greys = (pixels == np.array(samples.RIGHT)).all(-1)
    assert greys.sum() == 2 * reds.sum() > 0


def test_write_samples(digits: ConceptDataModule, tmp_path: Path) -> None:
    path = tmp_path / "samples.png"
    for name in ("jmvae", "jvae"):
        model = untrained(digits, name).train()
        write_samples(model, digits, reader(digits), path)
        first = path.read_bytes()
        write_samples(model, digits, reader(digits), path)
        assert path.read_bytes() == first
        assert model.training
        image = Image.open(path)
        assert image.width > 800
        assert np.asarray(image).std() > 10
    assert [each.name for each in tmp_path.iterdir()] == ["samples.png"]


def test_a_failing_decoder_leaves_the_mode_of_training(
    digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = untrained(digits, "jvae").train()
    modes = []

    def fail(z: torch.Tensor) -> None:
        modes.append(model.training)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "image_likelihood", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        samples.prior_images(model, num_rows=1, num_samples=1, seed=0)
    assert modes == [False]
    assert model.training


def test_comp_shows_full_concepts(lines: Callable[..., LinesData], tmp_path: Path) -> None:
    model = Oracle([torch.ones(size) for size in LINES.sizes])
    data = lines(split="comp")
    write_samples(model, data, exact_classifier(data), tmp_path / "samples.png")  # type: ignore[arg-type]
    assert all((asked >= 0).all() for asked in model.asked)
    pixels = np.asarray(Image.open(tmp_path / "samples.png"))
    assert not (pixels == np.array(samples.WRONG)).all(-1).any()


def faces(number: int) -> Schema:
    return Schema(tuple(Attribute(f"Attribute_{k}", ("no", "yes")) for k in range(number)))


def test_labels_say_what_is_specified_and_nothing_else() -> None:
    assert samples.label_of(LINES, [3, -1, 1]) == "place=bottom-right\nnumber=two"
    concept = [1, 0, -1, 1] + [-1] * 14
    assert samples.label_of(faces(18), concept) == "Attribute_0\nno Attribute_1\nAttribute_3"
    # Many: running text. Where nothing is open, what is absent needs no names.
    long = samples.label_of(faces(18), [1, 0] * 4 + [-1] * 10)
    assert long.replace("\n", " ") == ", ".join(f"{'no ' * (k % 2)}Attribute_{k}" for k in range(8))
    assert max(map(len, long.split("\n"))) <= samples.LINE
    assert not any(line.endswith("no") for line in long.split("\n"))
    assert samples.label_of(faces(18), [0] * 17 + [1]) == "Attribute_17\nno other"
    assert samples.label_of(faces(2), [1, 1]) == "Attribute_0\nAttribute_1"


def test_labels_fit_beside_the_images() -> None:
    font = ImageFont.load_default(samples.FONT)
    names = [name for name in datasets.self_contained() if datasets.get(name).domain != "papers"]
    for schema in (*(datasets.parse(name).concept_schema() for name in names), faces(18)):
        for level in schema.default_levels:
            full = torch.stack([torch.randint(size, (20,)) for size in schema.sizes], 1)
            kept = keep_random(full, level, generator=torch.Generator(), given=schema.given_positions)
            for concept in kept.tolist():
                lines = samples.label_of(schema, concept).split("\n")
                assert max(font.getlength(line) for line in lines) < samples.LABEL_WIDTH - samples.GAP
                assert len(lines) <= 14


def test_rows_are_bounded_and_the_judge_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = SquaresData(SquaresSpec())
    data.setup()
    named = {f"query {k}": f"relation=left, colour_1={colour}" for k, colour in enumerate(NAMES)}
    monkeypatch.setattr(SquaresSpec, "named_queries", lambda self: {**named, "more": "relation=right"})
    shown: list[list[str]] = []
    draw_real = samples.draw_grid
    monkeypatch.setattr(
        samples, "draw_grid", lambda *given, **title: shown.append(given[2]) or draw_real(*given, **title)
    )
    write_samples(SquaresOracle(), data, exact_order(data), tmp_path / "samples.png")  # type: ignore[arg-type]
    assert len(shown[0]) == 3 * 2 + samples.MAX_NAMED
    pixels = np.asarray(Image.open(tmp_path / "samples.png"))
    assert not (pixels == np.array(samples.WRONG)).all(-1).any()


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The colours of the borders of the last sheet, image by image."""
    colours: list[tuple[int, int, int]] = []
    draw_real = samples.draw_sheet

    def watched(*given: object, **settings: object) -> object:
        colours[:] = settings["colours"]
        return draw_real(*given, **settings)

    monkeypatch.setattr(samples, "draw_sheet", watched)
    return colours


def test_a_row_that_judges_nothing_has_no_frame(
    frames: list[tuple[int, int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = SquaresData(SquaresSpec())
    data.setup()
    monkeypatch.setattr(SquaresSpec, "named_queries", lambda self: {"right": "relation=right"})
    write_samples(SquaresOracle(), data, exact_order(data), tmp_path / "samples.png")  # type: ignore[arg-type]
    # Two rows at each level from 3 to 1, and the named query. Level 1 is the given relation alone, like that query.
    in_row = [
        set(frames[start : start + samples.IMAGES_A_ROW]) for start in range(0, len(frames), samples.IMAGES_A_ROW)
    ]
    assert in_row == [{samples.RIGHT}] * 4 + [{samples.PAPER}] * 3


def test_images_of_the_prior_have_no_frame(
    frames: list[tuple[int, int, int]], digits: ConceptDataModule, tmp_path: Path
) -> None:
    write_samples(untrained(digits, "jvae"), digits, reader(digits), tmp_path / "samples.png")
    assert set(frames) == {samples.PAPER}
    write_samples(untrained(digits, "jmvae"), digits, reader(digits), tmp_path / "samples.png")
    assert set(frames) <= {samples.RIGHT, samples.WRONG}


def test_the_file_says_what_is_where_and_what_is_read(
    digits: ConceptDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong exactly where a frame is red; the real images are test images of the query."""
    asked = torch.tensor([[1, 1, 1, 1], [-1, 0, -1, -1], [-1, 1, -1, -1]])
    monkeypatch.setattr(samples, "_shown", lambda *_, **__: [Queries("test", 1, asked)])
    path = tmp_path / "samples.png"
    write_samples(untrained(digits, "jmvae"), digits, reader(digits), path)
    with Image.open(path) as file:
        note = json.loads(file.text[samples.NOTE])  # type: ignore[attr-defined]
        pixels = np.asarray(file.convert("RGB"))
    (width, height), scale = note["size"], note["scale"]
    assert (width, height) == (16 * scale, 16 * scale)
    test = digits.rows("test")
    pictures = digits.store.batch(test).image.mul(255).byte().numpy()
    concepts = digits.store.concepts[test]
    told = []
    for row in note["rows"]:
        query = digits.schema.parse(", ".join(row["query"]))
        fits = ((query == -1) | (concepts == query)).all(1).numpy()
        assert len(row["real"]) == min(samples.REAL_IMAGES, int(fits.sum()))
        for (x, y), expected in zip(row["real"], pictures[fits], strict=False):
            assert (pixels[y : y + height : scale, x : x + width : scale, 0] == expected[0]).all()
        assert len(row["places"]) == len(row["read"]) == samples.IMAGES_A_ROW
        for (x, y), read in zip(row["places"], row["read"], strict=True):
            assert len(read) == int((query >= 0).sum())
            wrong = any(mistaken for _, mistaken in read)
            assert tuple(pixels[y - 1, x]) == (samples.WRONG if wrong else samples.RIGHT)
            for (word, mistaken), asked in zip(read, row["query"], strict=True):
                assert mistaken == (word != asked.partition("=")[2])
            # For who does not see red: something dark below the frame.
            below = pixels[y + height + samples.BORDER + 1, x + samples.BORDER]
            assert (tuple(below) == samples.INK) == wrong
            told.append(wrong)
    assert 0 < sum(told) < len(told)


def test_a_label_of_hundreds_of_attributes_names_the_first() -> None:
    schema = Schema(tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(300)))
    assert samples.label_of(schema, 300 * [1]).split("\n")[-1].endswith("flag_19, 280 more")
    assert "more" not in samples.label_of(schema, 20 * [1] + 280 * [-1])
