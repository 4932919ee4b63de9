"""Properties of the objectives in stages: who trains when, what is refused, and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.distributions.pixels import GREY_LEVEL
from mmvae_bench.objectives.base import CapabilityError, Objective
from mmvae_bench.objectives.scan import DenoisingAutoencoder, k_hot, occlude
from mmvae_bench.specs.components import backbones, datasets, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.fit import fit

Make = Callable[..., Objective]

VARIANTS = [
    ("vlvae", {"prior_flow": True, "inference": "joint"}),
    ("q_agg", {"prior_flow": True, "inference": "joint"}),
    ("q_true", {"prior_flow": True, "mask_probability": 0.0}),
    ("jnf", {"unimodal_steps": 2}),
    ("scan", {"dae": False}),
    ("scan", {}),
]


def networks_with_gradients(model: Objective) -> set[str]:
    return {key.split(".")[0] for key, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(("name", "parameters"), VARIANTS)
def test_a_stage_trains_its_networks_and_leaves_the_others_to_the_bit(
    name: str, parameters: dict[str, object], make: Make, batch: Batch
) -> None:
    model = make(name, **parameters)
    stages = model.stages(TrainingSpec(steps=4))
    assert {network for stage in stages for network in stage.trains} == set(model.network_names)
    assert [stage.name for stage in stages] == [
        stage for stage in model.spec.stage_names if stage != "prior" or parameters.get("prior_flow")
    ]
    for stage in stages:
        model.begin_stage(stage)
        model.train()
        model.zero_grad(set_to_none=True)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        terms = model.terms(batch)
        terms.loss.backward()  # type: ignore[no-untyped-call]
        assert networks_with_gradients(model) == set(stage.trains)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key]) or (key.split(".")[0] in stage.trains and "weight" not in key), key
    model.end_stages()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_outside_of_stages_the_flows_do_not_teach_the_model(make: Make, batch: Batch) -> None:
    """q_agg's concept term alone: no gradient to what gave it z."""
    model = make("q_agg", prior_flow=True)
    z = model.bound(batch).latents["image"].detach()  # type: ignore[operator]
    for stage, network in model.flow_stages.items():  # type: ignore[union-attr,operator]
        model.zero_grad(set_to_none=True)
        model.flow_terms(stage, batch, z).loss.backward()  # type: ignore[operator]
        assert networks_with_gradients(model) == {network}


def test_q_true_and_q_agg_and_vlvae_have_one_model_between_them(digits: ConceptDataModule) -> None:
    """To the bit, after all stages: only q(z|y) tells them apart, so it alone is compared."""
    states = {}
    for name in ("vlvae", "q_true", "q_agg"):
        backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3})
        built = backbone.build(schema=digits.schema, image_shape=digits.image_shape)
        model = objectives.parse({"name": name}).build(built, seed=3)
        start = {key: value.clone() for key, value in model.state_dict().items()}
        fit(model, digits, TrainingSpec(steps=4, batch_size=16, learning_rate=1e-2), key="k", seed=3)
        states[name] = model.state_dict()
        assert all(
            not torch.equal(value, start[key]) for key, value in states[name].items() if key.endswith("hyper.0.weight")
        )
    for key, value in states["vlvae"].items():
        assert torch.equal(value, states["q_true"][key]), key
        assert torch.equal(value, states["q_agg"][key]), key
    flows = [key for key in states["q_agg"] if key.startswith("concept_encoder")]
    assert states["q_true"].keys() == states["q_agg"].keys()
    assert any(not torch.equal(states["q_true"][key], states["q_agg"][key]) for key in flows)


def test_the_kl_warms_up_in_training_and_nowhere_else(make: Make, batch: Batch) -> None:
    model = make("vlvae")
    (stage,) = model.stages(TrainingSpec(steps=400))
    assert model.kl_weight() == 1  # type: ignore[operator]
    model.begin_stage(stage)
    model.train()
    weights = []
    for step in (0, 5, 10, 20, 399):
        model.step_done = step
        weights.append(model.kl_weight())  # type: ignore[operator]
    assert weights == [0, 0.25, 0.5, 1, 1]
    model.step_done = 5
    torch.manual_seed(0)
    terms = model.terms(batch)
    parts = {key: value.mean().item() for key, value in terms.parts.items()}
    expected = -parts["image/log_px"] - 50 * parts["image/log_py"] + 0.25 * parts["image/kl"]
    assert terms.loss.item() == pytest.approx(expected)
    model.eval()
    assert model.kl_weight() == 1  # type: ignore[operator]
    at_once = make("vlvae", kl_warmup_steps=0)
    at_once.begin_stage(stage)
    assert at_once.train().kl_weight() == 1  # type: ignore[operator]


def test_what_a_stage_takes_by_default(make: Make) -> None:
    training = TrainingSpec(steps=10)
    assert [(s.name, s.steps) for s in make("q_agg", prior_flow=True).stages(training)] == [
        ("fit", 10),
        ("concept", 5),
        ("prior", 5),
    ]
    assert [s.steps for s in make("q_true", flow_steps=3).stages(training)] == [10, 3]
    assert [(s.name, s.steps) for s in make("scan").stages(training)] == [("denoise", 5), ("image", 10), ("concept", 5)]
    assert [s.steps for s in make("scan", denoise_steps=2, concept_steps=7).stages(training)] == [2, 10, 7]
    assert [s.steps for s in make("jnf").stages(training)] == [10, 10]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "q_agg", "flow_steps": 0}, "flow_steps"),
        ({"name": "jnf", "unimodal_steps": 0}, "unimodal_steps"),
        ({"name": "scan", "concept_steps": -1}, "concept_steps"),
        ({"name": "scan", "dae": False, "denoise_steps": 5}, "no meaning with dae false"),
        ({"name": "vlvae", "flow_steps": 5}, "no meaning without prior_flow"),
        ({"name": "q_true", "mask_probability": 1.0}, "mask_probability"),
        ({"name": "q_agg", "inference": "concept"}, "not one of the choices"),
    ],
)
def test_what_has_no_meaning(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives.parse(values)


def test_what_a_spec_says_of_itself_depends_on_its_settings() -> None:
    q_agg, scan = objectives.get("q_agg"), objectives.get("scan")
    assert q_agg.posteriors == {"image", "concept"} == q_agg().posteriors
    assert q_agg(inference="joint").posteriors == {"joint", "concept"}
    assert q_agg.partial_concepts is True
    assert q_agg(mask_probability=0.0).partial_concepts is False
    assert scan.stage_names == ("denoise", "image", "concept")
    assert scan(dae=False).stage_names == ("image", "concept")


def test_vlvae_says_why_it_cannot_imagine(make: Make, batch: Batch) -> None:
    with pytest.raises(CapabilityError, match=r"vlvae trains no q\(z\|y\); it has q\(z\|x\).*3 C's"):
        make("vlvae").imagine(batch.concept[0])
    with pytest.raises(CapabilityError, match="set prior_flow: true"):
        make("vlvae").aggregate_prior()  # type: ignore[operator]
    q = make("vlvae", prior_flow=True).aggregate_prior()  # type: ignore[operator]
    assert q.log_prob(q.sample((5,))).shape == (5,)


def test_a_flow_that_saw_full_concepts_only_is_asked_no_other(make: Make) -> None:
    concept = torch.tensor([[1, -1, 0, 2]])
    assert make("q_agg").imagine(concept, num_samples=2).shape == (1, 2, 1, 16, 16)
    with pytest.raises(CapabilityError, match="q_agg takes fully specified concepts only"):
        make("q_agg", mask_probability=0.0).imagine(concept)


def test_scan_names_what_is_missing(make: Make) -> None:
    model = make("scan")
    with pytest.raises(CapabilityError, match=r"fully specified concepts only.*one symbol.*give scale, location"):
        model.imagine(torch.tensor([[1, -1, 0, 2], [1, 0, 0, -1]]))
    assert model.imagine(torch.tensor([1, 1, 0, 2]), num_samples=2).shape == (2, 1, 16, 16)


@pytest.mark.parametrize("dae", [True, False])
def test_an_image_of_scan_has_no_noise_that_was_never_fitted(dae: bool) -> None:
    """Features say nothing of a pixel's scale: with them, what the decoder gives for it is as it was initialised."""
    dataset = datasets.parse({"name": "celeba18", "source": "drawn", "size": 16})
    backbone = backbones.parse({"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 3})
    built = backbone.build(schema=dataset.schema(), image_shape=dataset.image_shape())
    model = objectives.parse({"name": "scan", "dae": dae}).build(built, seed=0).eval()
    px = model.image_likelihood(torch.randn(2, 3))
    given = model.image_decoder(px.mean.new_zeros(2, 3))
    assert given.stddev.min() > 10 * GREY_LEVEL, "what is left of the initial weights is noise"
    assert bool((px.stddev <= GREY_LEVEL).all()) == dae
    z = torch.randn(2, 3)
    torch.testing.assert_close(model.image_likelihood(z).mean, model.image_decoder(z).mean)


@pytest.mark.parametrize("name", ["jvae", "jnf", "cvae"])
def test_a_joint_posterior_refuses_what_is_unspecified(name: str, make: Make, batch: Batch) -> None:
    """As an index, -1 is the last value: the answer would be that of another concept."""
    model, concept = make(name).eval(), batch.concept.clone()
    concept[3, 1] = -1
    with pytest.raises(CapabilityError, match=f"{name} .*fully specified concepts only"):
        model.reconstruct(batch.image, concept)
    with pytest.raises(CapabilityError, match=f"{name} .*fully specified concepts only"):
        model.posterior(batch.image, concept)


def test_k_hot() -> None:
    concept = torch.tensor([[3, 1, 2, 0], [0, 0, 0, 3]])
    symbols = k_hot(concept, (10, 2, 3, 4))
    assert symbols.nonzero()[:, 1].reshape(2, 4).tolist() == [[3, 11, 14, 15], [0, 10, 12, 18]]
    assert symbols.shape == (2, 19)
    assert symbols.sum() == 8


def test_occlusion_zeroes_one_rectangle_an_image() -> None:
    torch.manual_seed(0)
    covered = occlude(torch.ones(6000, 2, 12, 8))[:, 0] == 0
    rows, columns = covered.any(2), covered.any(1)
    assert torch.equal(covered, rows[:, :, None] & columns[:, None]), "rows and columns of a rectangle"
    for line in (rows, columns):
        edges = (line[:, 1:] != line[:, :-1]).sum(1)
        assert int(edges.max()) <= 2, "in one piece"
    # Two uniform draws enclose a point u with probability 2 u (1 - u), a third on average.
    assert covered.float().mean().item() == pytest.approx(1 / 9, abs=0.01)
    middle = covered[:, 5:7, 3:5].float().mean().item()
    assert middle == pytest.approx(1 / 4, abs=0.02)


@pytest.mark.parametrize(("shape", "depth"), [((1, 64, 64), 4), ((3, 112, 112), 4), ((1, 36, 36), 2)])
def test_the_denoiser_is_as_published_where_the_sides_allow(shape: tuple[int, int, int], depth: int) -> None:
    network = DenoisingAutoencoder(shape)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 32, 64, 64][:depth]
    assert network(torch.zeros(2, *shape)).shape == (2, *shape)
    assert min(m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)) == 100


def test_jnf_describes_at_the_flows_centre(make: Make, batch: Batch) -> None:
    model = make("jnf").eval()
    q = model.posterior(image=batch.image)
    _, py = model.likelihood(q.centre)  # type: ignore[attr-defined]
    assert torch.equal(model.describe(batch.image), py.mode)
    shifted = model.posterior(batch.image, batch.concept)
    assert torch.equal(model.centre(shifted), shifted.mean)
