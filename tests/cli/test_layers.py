"""``mmvae-bench layers``: the picture is that of the model's layers, and who has none says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.randomness import own_randomness
from mmvae_bench.base.seeds import derive_seed
from mmvae_bench.evaluation.fitting import fit_latents
from mmvae_bench.objectives.cvae import CVAE
from mmvae_bench.objectives.discvae import DisCVAE

from .test_asking import HEART, Desk, document

NETWORKS = {"backbone": {"name": "attribute2image_thin", "width": 4, "latent_size": 4}}


@pytest.fixture
def layered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, monkeypatch)
    desk.becomes("discvae", **NETWORKS)
    monkeypatch.setattr("mmvae_bench.evaluation.layers.contact_sheet", desk.sheet)
    return desk


def rows_of(images: Tensor, columns: int) -> Tensor:
    return images.unflatten(0, (-1, columns))


def test_samples_of_a_concept(layered: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert layered.run("layers", HEART, "-n", "3", "--seed", "5", "--json") == 0
    found, model = document(capsys), layered.model
    assert isinstance(model, DisCVAE)
    concept = model.schema.parse(HEART)[None]
    with torch.no_grad(), own_randomness(derive_seed("layers", seed=5), model.device):
        z, given = model.draw_latents(concept, 3)
        layers = model.layers(z, given)
    ((images, labels, title),) = layered.sheets
    foreground, gate, background, composed = rows_of(images, 4).unbind(1)
    torch.testing.assert_close(foreground, layers.foreground.mean)
    torch.testing.assert_close(gate, layers.gate.mean.expand(-1, 3, -1, -1))
    torch.testing.assert_close(background, layers.background.mean)
    torch.testing.assert_close(composed, (foreground + gate * background).clamp(0, 1))
    assert labels[:4] == [f"{HEART}\nforeground", "gate", "background", "composed"]
    assert title == f"discvae: layers of {HEART}"
    hidden = [row["hidden"] for row in found["rows"]]
    assert hidden == pytest.approx((1 - layers.gate.mean).mean((1, 2, 3)).tolist(), rel=1e-5)
    assert layered.out.stat().st_size


def test_real_images_are_explained_without_their_masks(layered: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert layered.run("layers", "--index", "3", "--index", "0", "--json") == 0
    found, batch, model = document(capsys), layered.held_out(3, 0), layered.model
    assert isinstance(model, DisCVAE)
    assert [row["name"] for row in found["rows"]] == ["test 3", "test 0"]
    assert [row["concept"] for row in found["rows"]] == [model.schema.format(row) for row in batch.concept.tolist()]
    with torch.no_grad():
        layers = model.layers(fit_latents(model, batch.image, batch.concept, seed=0).z, batch.concept)
    image, _, _, background, _ = rows_of(layered.sheets[-1][0], 5).unbind(1)
    assert torch.equal(image, batch.image)
    torch.testing.assert_close(background, layers.background.mean, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_drawn(layered: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert layered.run("layers", HEART, "--index", "0") == 2
    assert "--index: cannot be used with a concept" in capsys.readouterr().err
    assert layered.run("layers", "shape=hart") == 2
    assert "nearest: heart" in capsys.readouterr().err
    layered.becomes("cvae")
    assert layered.run("layers", HEART) == 2
    assert "error: cvae has no layers: its image is decoded as a whole" in capsys.readouterr().err
    assert not layered.out.exists()


def test_an_attribute_passes_through_its_values(layered: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """At a value to the bit as without mixing; between two the half of each; z and all else the same in a row."""
    layered.monkeypatch.setattr("mmvae_bench.evaluation.progression.contact_sheet", layered.sheet)
    for objective, networks in (("discvae", NETWORKS), ("cvae", {})):
        model = layered.becomes(objective, **networks)
        assert layered.run("traverse", HEART, "--attribute", "colour", "--between", "--steps", "9", "--json") == 0
        found = document(capsys)
        assert found["places"] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
        assert found["labels"][:3] == ["colour=red", "50% to green", "colour=green"]
        pictures = rows_of(layered.sheets[-1][0], 9)
        assert isinstance(model, CVAE)
        with torch.no_grad(), own_randomness(derive_seed("progression", seed=0), model.device):
            z, given = model.draw_latents(model.schema.parse(HEART)[None], 4)
            for value in range(5):
                given[:, 2] = value
                exact = model.image_likelihood(z, given).mean.clamp(0, 1)
                torch.testing.assert_close(pictures[:, 2 * value], exact, rtol=0, atol=1e-7)
            apart = (pictures[:, 1:] - pictures[:, :-1]).abs().flatten(2).amax(2)
            assert bool((apart > 0).all()), "every step moves"


def test_between_needs_an_attribute_and_a_decoder_that_takes_y(
    layered: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert layered.run("traverse", HEART, "--between") == 2
    assert "--between: only applies to an attribute" in capsys.readouterr().err
    layered.becomes("telbo")
    assert layered.run("traverse", HEART, "--attribute", "colour", "--between") == 2
    assert "error: telbo has p(x|z): its decoder takes no y" in capsys.readouterr().err
