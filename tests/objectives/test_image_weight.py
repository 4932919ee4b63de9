"""The weight of log p(x|z) of every objective that has it: by value and gradient, against the parts of the loss."""

from __future__ import annotations

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Terms
from mmvae_bench.specs.components import objectives, of_domain
from mmvae_bench.specs.overrides import apply_assignments

from .opinions import Make

# How often each part is in the loss at weight one; mu of BiVCCA is 0.7, alpha of MVTCAE 0.5, of two modalities.
PARTS: dict[str, tuple[dict[str, object], dict[str, float]]] = {
    "jvae": ({}, {"joint": 1}),
    "telbo": ({}, {"joint": 1, "image": 1}),
    "jmvae": ({}, {"joint": 1}),
    "bivcca": ({"mu": 0.7}, {"image": 0.7, "concept": 0.3}),
    "vae": ({}, {"image": 1}),
    "beta_vae": ({}, {"image": 1}),
    "cvae": ({}, {"joint": 1}),
    "ssvae": ({}, {"joint": 1}),
    "scan": ({"dae": False}, {"image": 1}),
    "vlvae": ({}, {"image": 1}),
    "q_true": ({}, {"image": 1}),
    "q_agg": ({}, {"image": 1}),
    "jnf": ({}, {"joint": 1}),
    "mvae": ({}, {"joint": 1, "image": 1}),
    "mmvae": ({"bound": "elbo"}, {"image": 0.5, "concept": 0.5}),
    "mopoe": ({}, {"joint": 1}),
    "mvtcae": ({"alpha": 0.5}, {"joint": 0.75}),
}


IN_THE_TEST_OF_ITS_LOSS = {"discvae", "meme", "recursive_ssvae"}
"""More than one log p(x|z) has a weight there, or none is among the parts of the loss."""


def test_every_objective_that_imagines_images_is_here() -> None:
    assert PARTS.keys() | IN_THE_TEST_OF_ITS_LOSS == set(of_domain(objectives, "images"))


@pytest.mark.parametrize("name", PARTS)
def test_the_weight_of_an_image_by_value_and_gradient(name: str, make: Make, batch: Batch) -> None:
    """The loss at weight a is that at weight one plus (1 - a) log p(x|z), at the same z."""
    settings, shares = PARTS[name]
    key = "lambda_image" if "lambda_image" in objectives.get(name).model_fields else "image_weight"
    plain, weighted = make(name, **settings), make(name, **settings, **{key: 0.3})
    assert plain.spec == make(name, **settings, **{key: 1.0}).spec, "the default weight is one"
    terms: list[Terms] = []
    for model in (plain, weighted):
        torch.manual_seed(5)
        terms.append(model.terms(batch))
    less = 0.7 * torch.stack([share * terms[0].parts[f"{part}/log_px"].mean() for part, share in shares.items()]).sum()
    torch.testing.assert_close(terms[1].loss, terms[0].loss + less, rtol=1e-10, atol=1e-8)
    found, expected = (
        torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
        for model, loss in ((weighted, terms[1].loss), (plain, terms[0].loss + less))
    )
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    moved = dict(zip(dict(weighted.named_parameters()), found, strict=True))
    assert any(gradient.abs().max() > 0 for key, gradient in moved.items() if key.startswith("image_decoder"))


def test_a_weight_without_an_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"image_weight: with dae true images are compared in features"):
        objectives.parse({"name": "scan", "image_weight": 0.5})
    with pytest.raises(ConfigError, match="image_weight"):
        objectives.parse({"name": "jmvae", "image_weight": 0})


@pytest.mark.parametrize("name", ["mvae", "mmvae", "mopoe", "mvtcae"])
def test_one_key_gives_the_weight_of_all_objectives(name: str) -> None:
    """What these four call lambda_image has the others' name too: in a grid, its schema, and over a stored trial."""
    by_own, by_shared = (objectives.parse({"name": name, key: 0.3}) for key in ("lambda_image", "image_weight"))
    assert by_own == by_shared
    assert by_own.canonical() == by_shared.canonical()
    stored = {"objective": objectives.parse(name).canonical()}
    for settings in (["objective.image_weight=0.3"], ["objective.lambda_image=0.3"]):
        assert objectives.parse(apply_assignments(stored, settings)["objective"]) == by_own
    with pytest.raises(ConfigError, match="image_weight and lambda_image are one weight: give one of them"):
        objectives.parse({"name": name, "image_weight": 0.3, "lambda_image": 0.3})
    with pytest.raises(ConfigError, match="lambda_image: input should be greater than 0"):
        objectives.parse({"name": name, "image_weight": 0})
    assert {"lambda_image", "image_weight"} <= objectives.get(name).model_json_schema()["properties"].keys()


def test_a_weight_of_one_leaves_the_key_as_it_was() -> None:
    for name in of_domain(objectives, "images"):
        if "image_weight" in objectives.get(name).later_fields:
            assert "image_weight" not in objectives.parse({"name": name, "image_weight": 1.0}).canonical()
    assert objectives.parse({"name": "jmvae", "image_weight": 0.2}).canonical()["image_weight"] == 0.2
