"""Every registered objective, and every backbone, in the text view: learnt from, or refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import backbones, objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import build_objective

from .learning import assert_gradients_reach_what_is_trained, losses_on
from .worlds import BANDS, small, world

TEXT = [name for name in of_domain(objectives, "images") if "text" in objectives.get(name).views()]
OTHERS = [name for name in of_domain(objectives, "images") if name not in TEXT]
BACKBONES = [name for name in of_domain(backbones, "images") if "text" in backbones.get(name).views]
CPU, EVERYWHERE = "rgb_thin", "telbo"
PAIRS = [(CPU, name) for name in TEXT] + [(name, EVERYWHERE) for name in BACKBONES if name != CPU]
SETTINGS: dict[str, dict[str, object]] = {name: {"mask_probability": 0} for name in ("q_true", "q_agg")}


def trial(backbone: str, objective: str, **settings: object) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": world(CPU, "text").spec,
            "backbone": small(backbone),
            "objective": {"name": objective, **SETTINGS.get(objective, {}), **settings},
            "seed": settings.pop("seed", 0),
        }
    )


def build(backbone: str, objective: str, *, seed: int = 0) -> Objective:
    return build_objective(trial(backbone, objective).model_copy(update={"seed": seed}))


@pytest.fixture(scope="module")
def batch() -> Batch:
    return world(CPU, "text").store.batch(torch.arange(32))


def test_somebody_learns_from_texts() -> None:
    assert {
        "jvae",
        "jmvae",
        "telbo",
        "bivcca",
        "vlvae",
        "q_true",
        "q_agg",
        "mvae",
        "mmvae",
        "mopoe",
        "mvtcae",
        "jnf",
    } <= {*TEXT}
    assert {"scan", "cvae"} <= {*OTHERS}
    assert {"rgb_thin", "two_object_resnet"} <= {*BACKBONES}


def test_a_batch_holds_the_captions_of_its_concepts(batch: Batch) -> None:
    data = world(CPU, "text")
    assert data.captions is not None
    assert batch.tokens is batch.description
    assert torch.equal(data.captions.parse(batch.description), batch.concept)
    assert torch.equal(data.said("train"), data.concepts("train"))


@pytest.mark.parametrize("name", OTHERS)
def test_who_cannot_take_texts_says_why(name: str) -> None:
    with pytest.raises(ConfigError, match=f"dataset.view: {name} cannot use captions as y") as found:
        trial(CPU, name)
    (problem,) = [each for each in found.value.problems if each.location == ("dataset", "view")]
    assert problem.near == "attributes"


@pytest.mark.parametrize("name", sorted({*of_domain(backbones, "images")} - {*BACKBONES}))
def test_who_has_no_networks_of_texts_names_those_that_have(name: str) -> None:
    with pytest.raises(ConfigError, match=f"backbone {name} has no networks for captions") as found:
        trial(name, EVERYWHERE)
    problem = next(each for each in found.value.problems if "networks for captions" in each.message)
    assert problem.location == ("backbone", "name")
    assert [*BACKBONES] == [*problem.choices]


@pytest.mark.parametrize(("backbone", "name"), PAIRS)
def test_gradients_reach_what_a_stage_trains_and_nothing_else(backbone: str, name: str, batch: Batch) -> None:
    assert_gradients_reach_what_is_trained(build(backbone, name), batch)


@pytest.mark.parametrize(("backbone", "name"), PAIRS)
def test_learns_and_answers_and_survives_save_and_load(backbone: str, name: str, batch: Batch) -> None:
    """A density may be positive, so the fall is measured by the size of the first loss."""
    objective, other = build(backbone, name), build(backbone, name, seed=1)
    steps, rate = (20, 1e-2) if backbone == CPU else (8, 1e-3)
    found = losses_on(objective, batch, steps=steps, rate=rate)
    objective.end_stages()
    for stage, values in found.items():
        first, last = sum(values[:3]) / 3, sum(values[-3:]) / 3
        assert last < first - 0.02 * abs(first), stage
    other.load_state_dict(objective.state_dict())
    mine, theirs = answers(objective, batch), answers(other, batch)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def answers(model: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    concept = torch.tensor([1, 2, 0])
    if model.can_imagine:
        for text, asked in {"caption": "light light a", "concept": concept}.items():
            images = model.imagine(asked, num_samples=3, generator=torch.Generator().manual_seed(0))
            assert images.shape == (3, 3, 16, 16)
            assert bool(((images >= 0) & (images <= 1)).all())
            found[text] = images
        # A concept has one caption here.
        assert model.imagine(concept.expand(2, -1), num_samples=2).shape == (2, 2, 3, 16, 16)
        with pytest.raises(ConfigError, match="specify hue"):
            model.imagine(torch.tensor([1, 2, -1]))
        with pytest.raises(ConfigError, match="not in the vocabulary: lihgt"):
            model.imagine("lihgt light a")
        with pytest.raises(ConfigError, match="word 1 is 'grey' and names top"):
            model.imagine("grey light a")
    else:
        with pytest.raises(CapabilityError, match=model.spec.name):
            model.imagine(concept)
    if model.can_describe:
        described = model.describe(batch.image)
        BANDS.check(described)
        assert described.shape == (32, 3)
        found |= {"described": described, "reconstructed": model.reconstruct(batch.image)}
    torch.manual_seed(2)
    with torch.no_grad():
        terms = model.eval().terms(batch)
    assert all(part.shape == (32,) and bool(part.isfinite().all()) for part in terms.parts.values())
    return found | {"loss": terms.loss}


@pytest.mark.parametrize("name", TEXT)
def test_same_seed_same_loss(name: str, batch: Batch) -> None:
    found = []
    for seed in (0, 0, 1):
        objective = build(CPU, name, seed=seed)
        torch.manual_seed(7)
        found.append(objective.terms(batch).loss.item())
    assert found[0] == found[1] != found[2]


def test_a_text_that_was_learnt_comes_back(batch: Batch) -> None:
    """Two images with their captions, by heart: image to caption to concept."""
    data: Any = world(CPU, "text")
    two = data.store.batch(torch.tensor([0, int((batch.concept != batch.concept[0]).any(1).nonzero()[0])]))
    objective = build(CPU, "jmvae")
    values = losses_on(objective, two, steps=60, rate=1e-2)["fit"]
    objective.end_stages()
    assert values[-1] < values[0]
    assert torch.equal(objective.describe(two.image), two.concept)
    sampled = objective.eval().describe_latents(objective.posterior(image=two.image).mean, sample=True)
    assert sampled.shape == two.concept.shape
