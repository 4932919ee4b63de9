"""Every registered objective, on the thin backbone: what the benchmark relies on, whatever the formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.listing import describe_kind
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit
from mmvae_bench.training.stages import Stages

from .learning import assert_gradients_reach_what_is_trained, losses_on
from .worlds import objectives_on

NAMES = objectives_on("mnist_a_thin")


# The bound on log p(y) alone stops at the entropy of the concepts, not far below its start from the prior: weighted
# more, there is something to overfit. SCAN's published weight of the KL leaves nothing of an image of 16x16 in z.
# MEME is quicker with fewer samples.
TO_OVERFIT: dict[str, dict[str, object]] = {
    "q_true": {"gamma": 50.0},
    "scan": {"beta_x": 0.1},
    "meme": {"num_samples": 3},
}


def build(name: str, data: ConceptDataModule, *, seed: int = 0, **parameters: object) -> Objective:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 4, "hidden": 32, "latent_size": 4})
    built = backbone.build(schema=data.schema, image_shape=data.image_shape)
    objective = objectives.parse({"name": name, **parameters}).build(built, seed=seed)
    assert isinstance(objective, Objective)
    return objective


@pytest.fixture
def batch(digits: ConceptDataModule) -> Batch:
    return digits.store.batch(digits.rows("train")[:32])


@pytest.mark.parametrize("name", NAMES)
def test_overfits_one_batch(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    objective = build(name, digits, **TO_OVERFIT.get(name, {}))
    for losses in losses_on(objective, batch, steps=150, rate=3e-3).values():
        assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_what_a_stage_trains_and_nothing_else(
    name: str, digits: ConceptDataModule, batch: Batch
) -> None:
    assert_gradients_reach_what_is_trained(build(name, digits), batch)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_loss(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    losses = []
    for seed in (0, 0, 1):
        objective = build(name, digits, seed=seed)
        torch.manual_seed(7)
        losses.append(objective.terms(batch).loss.item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", NAMES)
def test_answers_survive_save_and_load(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    objective, other = build(name, digits), build(name, digits, seed=1)
    fit(objective, digits, TrainingSpec(steps=3, learning_rate=1e-2), key="k", seed=0)
    other.load_state_dict(objective.state_dict())
    torch.manual_seed(2)
    mine = objective.eval().terms(batch).loss
    torch.manual_seed(2)
    assert torch.equal(mine, other.eval().terms(batch).loss)


SETTINGS: dict[str, list[dict[str, object]]] = {
    "cvae": [{"prior": "standard"}],
    "scan": [{"dae": False}],
    **{name: [{"prior_flow": True}, {"inference": "joint"}] for name in ("vlvae", "q_true", "q_agg")},
}
"""Settings that change which networks an objective has, besides the defaults."""
OTHER_NETWORKS = {
    "no network of its own": [(name, "joint_encoder") for name in ("mvae", "mmvae", "mopoe", "mvtcae")]
    + [("cvae", "concept_encoder"), ("ssvae", "concept_encoder")],
    "more than the spec has": [
        ("meme", "pseudo_images"),
        ("scan", "denoiser"),
        ("ssvae", "describer"),
        *((name, "prior_flow") for name in ("vlvae", "q_true", "q_agg")),
    ],
}
"""Posteriors that are made of other networks (CVAE, SSVAE: a standard prior); and networks that are neither."""


@pytest.mark.parametrize(
    ("name", "settings"), [(name, each) for name in NAMES for each in ({}, *SETTINGS.get(name, []))]
)
def test_the_networks_are_those_of_the_posteriors_and_likelihoods_of_the_spec(
    name: str, settings: dict[str, object], digits: ConceptDataModule, batch: Batch
) -> None:
    objective = build(name, digits, **settings)
    spec, networks = objective.spec, set(objective.network_names)
    assert len(networks) == len(objective.network_names)
    assert networks == {key for key, _ in objective.named_children()} - {"memory"}
    wanted = {f"{each}_encoder" for each in spec.posteriors} | {f"{each}_decoder" for each in spec.likelihoods}
    assert all((name, network) in OTHER_NETWORKS["no network of its own"] for network in wanted - networks)
    assert all((name, network) in OTHER_NETWORKS["more than the spec has"] for network in networks - wanted)
    given = {"joint": (batch.image, batch.concept), "image": (batch.image, None), "concept": (None, batch.concept)}
    for posterior, (image, concept) in given.items():
        if posterior in spec.posteriors:
            assert objective.posterior(image, concept).sample().shape == (32, 4)
        else:
            with pytest.raises(CapabilityError, match=rf"{name} trains no q\(z\|"):
                objective.posterior(image, concept)


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_per_example_and_finite(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    terms = build(name, digits).terms(batch)
    assert terms.loss.ndim == 0
    assert terms.parts
    assert terms.latents
    for part in terms.parts.values():
        assert part.shape == (32,)
        assert bool(part.isfinite().all())
    assert all(z.shape == (32, 4) for z in terms.latents.values())
    assert all(bool((part >= -1e-4).all()) for key, part in terms.parts.items() if key.split("/")[-1].startswith("kl"))


@pytest.mark.parametrize("name", NAMES)
def test_imagine(name: str, digits: ConceptDataModule) -> None:
    objective = build(name, digits)
    concepts = torch.tensor([[3, 0, -1, -1], [3, 0, 1, 2], [-1, -1, -1, -1]])
    if not objective.can_imagine:
        with pytest.raises(CapabilityError, match=name):
            objective.imagine(concepts)
        return
    if not objective.spec.partial_concepts:
        with pytest.raises(CapabilityError, match="fully specified"):
            objective.imagine(concepts)
        concepts = concepts[1:2]

    def draw(seed: int, **options: bool) -> torch.Tensor:
        return objective.imagine(concepts, num_samples=5, generator=torch.Generator().manual_seed(seed), **options)

    images = draw(0)
    assert images.shape == (len(concepts), 5, 1, 16, 16)
    assert bool(((images == 0) | (images == 1)).all()), "samples of Bernoulli pixels are binary"
    assert torch.equal(images, draw(0))
    assert not torch.equal(images, draw(1))
    means = draw(0, mean=True)
    assert bool(((means > 0) & (means < 1)).all())
    assert objective.imagine(concepts[0], num_samples=2).shape == (2, 1, 16, 16)
    before = torch.random.get_rng_state()
    draw(0)
    assert torch.equal(before, torch.random.get_rng_state()), "a generator of one's own leaves the global one alone"


@pytest.mark.parametrize("name", NAMES)
def test_imagine_refuses_what_is_no_concept(name: str, digits: ConceptDataModule) -> None:
    objective = build(name, digits)
    with pytest.raises(ValueError, match=r"'scale' takes 0\.\.1 or -1"):
        objective.imagine(torch.tensor([1, 5, 0, 0]))
    with pytest.raises(ValueError, match="has 4 attributes"):
        objective.imagine(torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="must contain integers"):
        objective.imagine(torch.zeros(4))
    with pytest.raises(ValueError, match="num_samples"):
        objective.imagine(torch.tensor([1, 0, 0, 0]), num_samples=0)


@pytest.mark.parametrize("name", NAMES)
def test_describe_and_reconstruct(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    objective = build(name, digits).train()
    if objective.can_describe:
        described = objective.describe(batch.image)
        assert described.shape == (32, 4)
        digits.schema.check(described)
        assert bool((described >= 0).all())
    else:
        with pytest.raises(CapabilityError, match=name):
            objective.describe(batch.image)
    posteriors = {"image": (batch.image, None), "joint": (batch.image, batch.concept)}
    for posterior, given in posteriors.items():
        inferred = posterior == "image" and objective.spec.has_describer  # With the y that it describes.
        if posterior in objective.spec.posteriors or inferred:
            again = objective.reconstruct(*given)
            assert again.shape == batch.image.shape
            assert bool(((again >= 0) & (again <= 1)).all())
        else:
            with pytest.raises(CapabilityError, match=name):
                objective.reconstruct(*given)
    assert objective.training, "a question leaves the mode as it was"


@pytest.mark.parametrize("name", NAMES)
def test_the_list_says_what_it_can_do(name: str, digits: ConceptDataModule, batch: Batch) -> None:
    objective = build(name, digits).eval()

    def able(ask: Callable[[], object]) -> bool:
        try:
            ask()
        except CapabilityError:
            return False
        return True

    found = [
        able(lambda: objective.describe(batch.image)),
        able(lambda: objective.reconstruct(batch.image)),
        able(lambda: objective.reconstruct(batch.image, batch.concept)),
    ]
    (can,) = (entry["can"] for entry in describe_kind("objectives") if entry["name"] == objective.spec.name)
    alone, told = "reconstruct images" in can, "reconstruct images with their concepts" in can
    assert not (alone and told)
    assert ["describe images" in can, alone] == found[:2]
    assert (alone or told) == any(found[1:])


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_lightning_trainer_trains_it(name: str, digits: ConceptDataModule) -> None:
    import pytorch_lightning as pl

    objective = build(name, digits)
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    trainer = pl.Trainer(
        max_epochs=-1,
        callbacks=[Stages(steps=2)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(objective, datamodule=digits)
    assert all(
        not torch.equal(before[key], value)
        for key, value in objective.state_dict().items()
        if key.endswith("weight") and "embedding" not in key
    )
