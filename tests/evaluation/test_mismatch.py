"""The mismatch of aggregate posteriors where it is known, of every objective, and in the text view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.evaluation.questions import Context, build_question
from mmvae_bench.metrics.functional import moment_fit
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import objectives, questions
from mmvae_bench.specs.trial import EvaluationSpec

from ..conformance.worlds import small, world
from .fakes import LINES, LinesData, context, exact_classifier
from .latent_models import Latent


def context_for(model: Any, data: ConceptDataModule, **evaluation: object) -> Context:
    return context(model, data, exact_classifier(data), query_repeats=2, **evaluation)


def ask(asked: Context, **settings: object) -> dict[tuple[str, int | None], Score]:
    question = build_question(questions.parse({"name": "mismatch", **settings}))
    with torch.no_grad():
        return {(score.metric, score.level): score for score in question.ask(asked)}


def test_the_mismatch_of_a_full_concept_is_a_divergence_of_normals(lines: Callable[..., LinesData]) -> None:
    """All images of a concept have one posterior here, so that its aggregate is that normal."""
    exact = ask(context_for(Latent(), lines(), levels=[3]))["concept_mismatch", 3]
    assert exact.num_queries == 2 * math.prod(LINES.sizes)
    assert exact.per_query == pytest.approx([0.0] * 48, abs=1e-5)
    assert exact.ceiling == pytest.approx(0, abs=1e-6)
    assert exact.proposal == "q(z|x)"

    moved = ask(context_for(Latent(shift=0.4, width=0.8), lines(), levels=[3]), num_samples=40)["concept_mismatch", 3]
    one, other = (Independent(Normal(torch.tensor([m, 0.0, 0.0]), s), 1) for m, s in ((0.0, 0.5), (0.4, 0.8)))
    assert moved.value == pytest.approx(float(kl_divergence(one, other)), abs=0.03)
    combinations = LINES.combinations().float()
    prior = kl_divergence(
        Independent(Normal(combinations, torch.full_like(combinations, 0.5)), 1),
        Independent(Normal(torch.zeros_like(combinations), torch.ones_like(combinations)), 1),
    )
    assert moved.floor == pytest.approx(float(prior.mean()), abs=0.05)


def test_the_aggregate_of_a_partial_query_is_that_of_the_images_that_satisfy_it(
    lines: Callable[..., LinesData],
) -> None:
    """Where the second and third attribute are open, q(z|y) misses all but the first of their values."""
    data = lines()
    asked = context_for(Latent(scale=0.05, width=0.05), data, levels=[1])
    (queries,) = asked.queries
    found = ask(asked, num_samples=2)["concept_mismatch", 1]
    of_place = (queries.concepts[:, 0] >= 0).nonzero()[0]
    assert found.per_query is not None
    # 1 of 2 and 1 of 3 values: the others are 20 and 40 standard deviations away.
    missed = (0.5 * 400 + 400 / 3 + 1600 / 3) / 2 - math.log(6)
    assert found.per_query[int(of_place)] == pytest.approx(missed, rel=0.1)
    concepts = data.concepts("train").float()
    chosen = concepts[concepts[:, 0] == float(queries.concepts[int(of_place), 0])]
    _, scale = moment_fit(chosen, torch.full_like(chosen, 0.05))
    # The entropies of that normal, with which all of q^y is coded, and of six normals far from each other.
    spread = sum(0.5 + 0.5 * math.log(2 * math.pi) + math.log(float(each)) for each in scale)
    own = 3 * (0.5 + 0.5 * math.log(2 * math.pi) + math.log(0.05)) + math.log(6)
    asked.__dict__["queries"] = [replace(queries, concepts=queries.concepts[of_place], groups=None)]
    assert ask(asked)["concept_mismatch", 1].ceiling == pytest.approx(spread - own, abs=0.15)


def test_the_aggregate_of_all_images_against_the_prior(lines: Callable[..., LinesData]) -> None:
    data = lines()
    found = {name: score for (name, _), score in ask(context_for(Latent(), data, levels=[3])).items()}
    means = data.concepts("train").double()
    q, p = Normal(means, 0.5), Normal(0.0, 1.0)
    rate = kl_divergence(q, p).sum(1)
    assert found["aggregate_rate"].value == pytest.approx(float(rate.mean()))
    assert found["aggregate_rate"].num_queries == len(means)
    parts = found["aggregate_information"].value + found["aggregate_mismatch"].value
    assert parts == pytest.approx(float(rate.mean()), abs=0.1)
    assert 0 < found["aggregate_information"].value < math.log(24) + 0.05
    # A normal with the moments of q(z) is nearer to it than N(0, I).
    assert 0 < found["aggregate_mismatch"].ceiling < found["aggregate_mismatch"].value

    class WithFlow(Latent):
        def aggregate_prior(self) -> Distribution:
            return Independent(Normal(torch.zeros(3), torch.ones(3)), 1)

    of_flow = ask(context_for(WithFlow(), data, levels=[3]))["aggregate_mismatch_flow_prior", None]
    assert of_flow.value == pytest.approx(found["aggregate_mismatch"].value, abs=1e-5)
    few = ask(context_for(Latent(), data, levels=[3]), num_images=100)
    assert few["aggregate_rate", None].num_queries == 100


def test_the_aggregate_is_compared_with_the_prior_that_the_objective_has(lines: Callable[..., LinesData]) -> None:
    class Elsewhere(Latent):
        def own_prior(self) -> Distribution:
            return Independent(Normal(torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0.8, 1.5, 1.0])), 1)

    data = lines()
    plain, found = (ask(context_for(model, data, levels=[3])) for model in (Latent(), Elsewhere()))
    means = data.concepts("train").double()
    rate = kl_divergence(Normal(means, 0.5), cast(Any, Elsewhere().own_prior()).base_dist).sum(1)
    assert found["aggregate_rate", None].value == pytest.approx(float(rate.mean()), abs=0.1)
    assert abs(float(rate.mean()) - plain["aggregate_rate", None].value) > 0.5
    information = found["aggregate_information", None].value
    assert information == plain["aggregate_information", None].value
    mismatch = found["aggregate_mismatch", None]
    assert mismatch.value == pytest.approx(found["aggregate_rate", None].value - information)
    assert mismatch.ceiling == plain["aggregate_mismatch", None].ceiling < mismatch.value


def test_queries_with_few_images_are_left_out(lines: Callable[..., LinesData]) -> None:
    data = lines()
    counts = torch.tensor([int((data.concepts("train") == each).all(1).sum()) for each in LINES.combinations()])
    limit = int(counts.median())
    found = ask(context_for(Latent(), data, levels=[3]), least_images=limit)["concept_mismatch", 3]
    assert found.num_queries == 2 * int((counts >= limit).sum()) < 48
    none = context_for(Latent(), data, levels=[3])
    assert ("concept_mismatch", 3) not in ask(none, least_images=5000)
    assert none.left_out["concept_mismatch"] == "no query that the model can take has 5000 training images"


def test_a_query_with_enough_images_is_asked_with_fewer(lines: Callable[..., LinesData]) -> None:
    """The limit counts the images that there are, not those that are used of them."""
    found = ask(context_for(Latent(), lines(), levels=[3]), images_per_query=20)["concept_mismatch", 3]
    assert found.num_queries == 2 * math.prod(LINES.sizes)


def test_a_joint_posterior_takes_the_place_of_one_that_is_no_normal(lines: Callable[..., LinesData]) -> None:
    class Odd(Latent):
        def posterior(self, image: Tensor | None = None, concept: Tensor | None = None) -> Distribution:
            q = super().posterior(image, concept)
            return q if concept is not None else cast(Distribution, object())

    found = ask(context_for(Odd(), lines(), levels=[3]))
    assert {score.proposal for score in found.values()} == {"q(z|x,y)"}
    odd = Odd()
    odd.spec.posteriors = frozenset({"image"})
    reason = build_question(questions.parse("mismatch")).reason_not(cast(Objective, odd), lines())
    assert reason == "latent has no posterior of an image that is a diagonal normal"


@pytest.mark.parametrize("name", ["telbo", "q_agg"])
def test_in_the_text_view_a_query_is_its_caption(name: str) -> None:
    data = world("rgb_thin", "text")
    spec = {"name": name, "mask_probability": 0, "prior_flow": True} if name == "q_agg" else {"name": name}
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape, captions=data.captions)
    model: Objective = objectives.parse(spec).build(backbone, seed=0).eval()
    asked = replace(context_for(Latent(), data), model=model)
    found = ask(asked, least_images=3)
    scored = {level for metric, level in found if metric == "concept_mismatch"}
    assert scored == {queries.level for queries in asked.queries}
    assert all(math.isfinite(score.value) for score in found.values())
    assert (("aggregate_mismatch_flow_prior", None) in found) == (name == "q_agg")


def test_no_other_number_moves_when_a_question_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    from .test_questions import EVERYTHING, reader

    data = world("rgb_thin")
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda data, *_, **__: reader(data))
    monkeypatch.setattr("mmvae_bench.evaluation.questions.coherence.NUM_JOINT", 20)
    backbone = small("rgb_thin").build(schema=data.schema, image_shape=data.image_shape)
    model: Objective = objectives.parse("telbo").build(backbone, seed=0).eval()
    added = {
        "questions": {
            "mismatch": {"least_images": 5}, "probes": {"latents": "sample"}, "distances": {"images": "sample"},
        }
    }  # fmt: skip
    protocols = ["official", "paper", "corrected", "cremer"]
    plain = EvaluationSpec.parse({**EVERYTHING, "questions": {}, "protocols": protocols})
    more = EvaluationSpec.parse({**EVERYTHING, **added, "protocols": ["mopoe", *protocols, "multivae"]})
    state = torch.get_rng_state()
    before, after = (evaluate(model, data, spec).scores for spec in (plain, more))
    assert torch.equal(torch.get_rng_state(), state)
    others = ("coherence", "concept_mismatch", "aggregate_", "probe_", "fid", "kid")
    kept = [score.to_json() for score in after if not score.metric.startswith(others)]
    assert len(after) > len(kept)
    assert kept == [score.to_json() for score in before]
