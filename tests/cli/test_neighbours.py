"""Samples above the training images that are nearest to them: what is answered is what is drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from .test_asking import HEART, Desk, document


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, monkeypatch)
    monkeypatch.setattr("mmvae_bench.evaluation.neighbours.contact_sheet", desk.sheet)
    return desk


def test_each_sample_stands_above_its_nearest_training_image(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.run("neighbours", HEART, "-n", "3", "--json") == 0
    found = document(capsys)
    ((images, labels, title),) = desk.sheets
    samples, nearest = images.split(3)
    data = desk.spec.dataset.build()
    data.setup()
    training = data.store.batch(data.rows("train"))
    distinct = training.image.flatten(1).unique(dim=0)
    assert found["training_images"] == len(distinct)
    assert f"nearest of {len(distinct):,} training images" in title
    test = data.store.batch(data.rows("test")).image
    real = torch.tensor([_two(each, distinct)[0] for each in test])
    for place, entry in enumerate(found["samples"]):
        first, second = _two(samples[place], distinct)
        assert entry["distance"] == pytest.approx(first, abs=1e-5)
        assert entry["ratio"] == pytest.approx(first / second, abs=1e-5)
        assert entry["closer_than_real"] == pytest.approx(float((real > first + 1e-6).double().mean()))
        row = data.store.batch(torch.tensor([entry["nearest"]]))
        assert torch.equal(row.image[0], nearest[place])
        assert math.dist(row.image.flatten().tolist(), samples[place].flatten().tolist()) == pytest.approx(
            first, abs=1e-5
        )
        assert entry["concept"] == desk.model.schema.format(row.concept[0].tolist())
        assert int(entry["nearest"]) in data.rows("train").tolist()
        assert labels[3 + place].startswith(f"training image {entry['nearest']}\ndistance {first:.2f}")
    assert found["held_out"]["distance"] == pytest.approx(float(real.sort().values[(len(real) - 1) // 2]), abs=1e-5)


def _two(image: torch.Tensor, pool: torch.Tensor) -> tuple[float, float]:
    apart = sorted((image.flatten().double() - each.double()).square().sum().sqrt().item() for each in pool)
    return apart[0], apart[1]


@pytest.mark.parametrize("objective", ["telbo", "cvae", "ssvae"])
def test_open_attributes_are_filled_in_where_the_decoder_needs_them(
    objective: str, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial concept is asked as ``imagine`` asks it."""
    model, given = desk.becomes(objective), list[torch.Tensor]()
    if objective == "cvae":
        monkeypatch.setattr(model.memory, "complete", lambda y, num_samples: y.clamp(min=1).expand(1, num_samples, -1))
    decode = model.image_likelihood

    def spy(z: torch.Tensor, concept: torch.Tensor) -> object:
        given.append(concept)
        return decode(z, concept)

    monkeypatch.setattr(model, "image_likelihood", spy)
    assert desk.run("neighbours", "shape=heart", "-n", "3", "--json") == 0
    assert len(document(capsys)["samples"]) == 3
    asked = model.schema.parse("shape=heart")
    (concepts,) = given
    assert concepts.shape == (3, len(asked))
    if objective == "telbo":
        assert torch.equal(concepts, asked.expand(3, -1))
    else:
        assert bool((concepts >= 0).all())
    if objective == "ssvae":
        assert bool((concepts[:, asked >= 0] == asked[asked >= 0]).all())


def test_samples_of_the_prior_need_no_concept(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.becomes("vae")
    assert desk.run("neighbours", "-n", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sample 1: training image ")
    assert lines[2].startswith("held-out images: median distance")
    assert lines[-1] == str(desk.out)
    assert desk.sheets[0][1][0] == "prior\nsample 1"
    assert desk.run("neighbours", "-n", "2", "--seed", "1") == 0
    assert not torch.equal(desk.sheets[0][0][:2], desk.sheets[1][0][:2])
    desk.out.unlink()
    assert desk.run("neighbours", HEART) == 2
    assert "vae trains no q(z|y)" in capsys.readouterr().err
    assert not desk.out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [((HEART, "--out", "x.jpg"), "must be a PNG file"), (("shape=star", "--out", "x.png"), "shape=star")],
)
def test_what_it_refuses(
    words: tuple[str, ...],
    message: str,
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk.folder)
    assert desk.run("neighbours", *words, out=False) == 2
    assert message in capsys.readouterr().err
    assert not list(desk.folder.glob("x.*"))
