"""MVAE: ELBOs of subsets of modalities, under products of experts with the prior in them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives import mvae as mvae_module
from mmvae_bench.objectives.common.elbo import elbo
from mmvae_bench.objectives.mvae import MVAE, mvae
from mmvae_bench.specs.components import datasets, objectives

from .opinions import (
    Make,
    assert_agree,
    kl,
    log_px,
    log_py,
    modality_experts,
    multiplied,
    nonempty_subsets,
    prior_of,
    random_values,
    redraw,
)

MODALITIES = pytest.mark.parametrize("modalities", ["two", "per_attribute"])


def told(subset: tuple[int, ...], modalities: str) -> tuple[int, ...]:
    """Positions of the attributes that a subset of modalities tells."""
    if modalities == "two":
        return (0, 1, 2, 3) if 1 in subset else ()
    return tuple(m - 1 for m in subset if m)


@MODALITIES
def test_value_and_gradient(modalities: str, make: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mvae", modalities=modalities, **{"lambda": 7.0, "lambda_image": 0.6, "beta": 1.3})
    assert isinstance(model, MVAE)
    subsets = model.subsets()
    if modalities == "per_attribute":
        subsets["random_0"] = (True, False, True, True, False)
    monkeypatch.setattr(model, "subsets", lambda: subsets)
    terms = model.terms(batch)
    experts = modality_experts(model, batch, per_attribute=modalities == "per_attribute", prior=False)
    total = torch.zeros((), dtype=torch.float64)
    for name, members in subsets.items():
        subset = tuple(m for m, member in enumerate(members) if member)
        q = multiplied([prior_of(experts[0]), *(experts[m] for m in subset)])
        z = redraw(q, terms.latents[name])
        bound = 7.0 * log_py(model.concept_decoder, z, batch.concept, told(subset, modalities)) - 1.3 * kl(
            q, prior_of(q)
        )
        if 0 in subset:
            bound = bound + 0.6 * log_px(model.image_decoder, z, batch.image)
        total = total - bound.mean()
    assert_agree(model, terms.loss, total)


def test_mvae_counts_every_subset() -> None:
    log_px, log_py, kl = -random_values(6), -random_values(6, seed=1), random_values(6, seed=2)
    weights = {"lambda_image": 0.6, "lambda_": 7.0, "beta": 1.3}
    bound = elbo(log_px=log_px, log_py=log_py, kl=kl, image_weight=0.6, concept_weight=7.0, kl_weight=1.3).mean()
    for number in (1, 2, 5):
        subsets = {str(subset): (log_px, log_py, kl) for subset in nonempty_subsets(number)}
        torch.testing.assert_close(mvae(subsets, **weights).loss, -(2**number - 1) * bound)


def test_mvae_tells_each_modality_of_each_subset(make: Make, batch: Batch) -> None:
    terms = make("mvae", modalities="per_attribute", num_random_subsets=3).terms(batch)
    names = [name for name in terms.latents if not name.startswith("random")]
    assert names == ["joint", "image", "digit", "scale", "orientation", "location"]
    assert len(terms.latents) == 9
    told = {name: {key.split("/")[1] for key in terms.parts if key.startswith(f"{name}/")} for name in names}
    assert told["joint"] == {"log_px", "log_py", "kl"}
    assert told["image"] == {"log_px", "kl"}
    assert all(told[name] == {"log_py", "kl"} for name in names[2:])
    assert list(make("mvae").terms(batch).latents) == ["joint", "image", "concept"]


def test_random_subsets_are_uniform_and_neither_single_nor_all(make: Make) -> None:
    model = make("mvae", modalities="per_attribute", num_random_subsets=50)
    assert isinstance(model, MVAE)
    torch.manual_seed(0)
    drawn = Counter(subset for _ in range(60) for name, subset in model.subsets().items() if name.startswith("random"))
    assert len(drawn) == 2**5 - 1 - 5 - 1
    assert {sum(subset) for subset in drawn} == {2, 3, 4}
    # 3,000 draws of 25 subsets: 120 each, with a standard deviation of 10.7.
    assert max(abs(count - 120) for count in drawn.values()) < 45


def test_the_image_and_one_attribute_have_no_other_subsets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("mvae", modalities="per_attribute")
    assert isinstance(model, MVAE)
    model.modality_names = ("image", "digit")
    monkeypatch.setattr(mvae_module, "_random_subset", lambda num_modalities: pytest.fail("there is none to draw"))
    assert model.subsets() == {"joint": (True, True), "image": (True, False), "digit": (False, True)}
    spec = objectives.parse({"name": "mvae", "modalities": "per_attribute", "num_random_subsets": 2})
    monkeypatch.setattr(type(spec), "num_modalities", lambda self, dataset: 2)
    with pytest.raises(ConfigError, match="no subsets besides both together and each"):
        spec.check_concepts(datasets.parse("mnist_a"))
