"""The questions about what z says of the attributes: models whose latents say everything, or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.questions import Context, build_question, representations
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import questions

from .fakes import LINES, LinesData, context, exact_classifier
from .latent_models import Latent


class Noise(Latent):
    """z that has nothing to do with the image, and no q(z|y)."""

    def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
        if image is None:
            raise CapabilityError("noise has no q(z|y)")
        mean = torch.randn(len(image), 3, generator=torch.Generator().manual_seed(int(1000 * image.sum())))
        return Independent(Normal(mean, torch.ones_like(mean)), 1)


def context_for(model: Any, data: ConceptDataModule) -> Context:
    return context(model, data, exact_classifier(data))


def ask(name: str, asked: Context, **settings: object) -> dict[tuple[str, str | None], Score]:
    with torch.no_grad():
        scores = build_question(questions.parse({"name": name, **settings})).ask(asked)
    return {(score.metric, score.attribute): score for score in scores}


def test_probes_read_everything_or_no_more_than_the_majority(lines: Callable[..., LinesData]) -> None:
    data = lines()
    found = ask("probes", context_for(Latent(scale=0.01, width=0.01), data))
    assert {metric for metric, _ in found} == {"probe_image", "probe_joint", "probe_concept"}
    assert {attribute for _, attribute in found} == {None, *LINES.names}
    # z holds the number of a value in a single dimension: a linear classifier can tell three or four of these apart.
    assert all(score.value > 0.95 for score in found.values())
    noise = context_for(Noise(), data)
    blind = ask("probes", noise)
    for (_, attribute), score in blind.items():
        majority = data.concepts("train").mode(0).values
        truth = data.concepts("test")
        expected = (truth == majority).double().mean(0)
        k = None if attribute is None else LINES.names.index(attribute)
        assert score.floor == pytest.approx(float(expected.mean() if k is None else expected[k]))
        assert score.value == pytest.approx(score.floor, abs=0.12)
    assert noise.left_out == {"probe_concept": "noise has no q(z|y)"}


def test_a_sample_holds_less_than_a_mean(lines: Callable[..., LinesData]) -> None:
    asked = context_for(Latent(scale=3.0, width=3.0), lines())
    mean, sample = (ask("probes", asked, latents=latents) for latents in ("mean", "sample"))
    assert mean["probe_image", "direction"].value == 1.0
    assert sample["probe_image", "direction"].value < 0.7
    again = ask("probes", asked, latents="sample")
    assert again["probe_joint", None].value == sample["probe_joint", None].value


def test_latents_along_the_attributes_are_disentangled(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    for score in ("higgins_score", "factor_vae_score"):
        few = partial(getattr(representations, score), num_train=1000, num_test=500)
        monkeypatch.setattr(representations, score, few)
    data = lines()
    found = ask("disentanglement", context_for(Latent(), data))
    assert found["higgins_score", None].value == 1.0
    assert found["factor_vae_score", None].value == 1.0
    assert found["mig", None].value > 0.9
    assert found["mig", None].value == pytest.approx(sum(found["mig", name].value for name in LINES.names) / 3)
    assert 1 / 3 <= found["higgins_score", None].floor < 0.5
    assert found["higgins_score", None].num_queries == len(data.rows("test"))
    noise = ask("disentanglement", context_for(Noise(), data))
    assert noise["mig", None].value < 0.1
    for name in ("higgins_score", "factor_vae_score"):
        score = noise[name, None]
        assert score.floor >= 1 / 3
        assert score.value == pytest.approx(score.floor, abs=0.1)


def test_of_few_images_z_that_knows_nothing_scores_the_floor_and_more_than_one_over_the_number_of_attributes(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dimension varies least with one factor by accident, in the examples that are scored as in the others."""
    for score in ("higgins_score", "factor_vae_score"):
        few = partial(getattr(representations, score), num_train=1000, num_test=500)
        monkeypatch.setattr(representations, score, few)
    generator = torch.Generator().manual_seed(0)
    codes, factors = torch.randn(90, 10, generator=generator), torch.randint(2, (90, 3), generator=generator)
    factors[:, 2] = 0
    monkeypatch.setattr(representations, "_codes", lambda *_, **__: (codes.double(), factors))
    found = ask("disentanglement", context_for(Noise(), lines()))
    for name in ("higgins_score", "factor_vae_score"):
        assert found[name, None].value == pytest.approx(found[name, None].floor, abs=0.1)
        assert found[name, None].floor > 0.55


def test_the_ceiling_of_mig_is_what_the_attributes_themselves_score(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 bins cannot tell 40 values apart."""
    for score in ("higgins_score", "factor_vae_score"):
        monkeypatch.setattr(representations, score, lambda *_, **__: 0.5)
    data = lines()
    plain = ask("disentanglement", context_for(Latent(), data))
    assert plain["mig", "place"].ceiling == pytest.approx(1, abs=0.05)

    def many(*_: object, **__: object) -> tuple[Tensor, Tensor]:
        grid = torch.cartesian_prod(torch.arange(40), torch.arange(2), torch.arange(2))
        return grid.double(), grid

    monkeypatch.setattr(representations, "_codes", many)
    found = ask("disentanglement", context_for(Latent(), data))
    best = math.log(20) / math.log(40)
    assert found["mig", "place"].value == pytest.approx(best)
    assert found["mig", "place"].ceiling == pytest.approx(best)
    assert found["mig", "number"].ceiling == pytest.approx(1)
    assert found["mig", None].ceiling == pytest.approx((2 + best) / 3)
    assert found["higgins_score", None].ceiling == 1.0


def test_what_an_image_does_not_show_has_no_ceiling(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an attribute is given, the others cannot be read off the image without it."""
    data = lines()
    monkeypatch.setattr(data, "schema", replace(LINES, given=("place",)))
    found = ask("probes", context_for(Latent(), data))
    assert math.isnan(found["probe_image", None].ceiling)
    assert math.isnan(found["probe_image", "number"].ceiling)
    assert found["probe_joint", None].ceiling == found["probe_concept", "number"].ceiling == 1.0


def test_only_q_of_z_given_x_is_a_representation_of_an_image(lines: Callable[..., LinesData]) -> None:
    told = Latent()
    told.spec.posteriors = frozenset({"joint", "concept"})
    reason = build_question(questions.parse("disentanglement")).reason_not(told, lines())  # type: ignore[arg-type]
    assert reason is not None
    assert reason.startswith("q(z|x,y) has been told the attributes")
