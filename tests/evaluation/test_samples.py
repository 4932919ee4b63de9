from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation import samples
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.samples import draw_grid, imagine_and_judge, write_samples
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives

from .fakes import LINES, LinesData, Oracle, draw, exact_classifier


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


def test_comp_shows_full_concepts(lines: Callable[..., LinesData], tmp_path: Path) -> None:
    model = Oracle([torch.ones(size) for size in LINES.sizes])
    data = lines(split="comp")
    write_samples(model, data, exact_classifier(data), tmp_path / "samples.png")  # type: ignore[arg-type]
    assert all((asked >= 0).all() for asked in model.asked)
    pixels = np.asarray(Image.open(tmp_path / "samples.png"))
    assert not (pixels == np.array(samples.WRONG)).all(-1).any()
