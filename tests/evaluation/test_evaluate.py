from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributions import Distribution, Normal

from mmvae_bench.concepts import compositional_split
from mmvae_bench.evaluation.checks import argument_checks
from mmvae_bench.evaluation.evaluate import Evaluation, evaluate
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.trial import EvaluationSpec

from .fakes import LINES, Collapsed, Fake, LinesData, LinesSpec, Oracle
from .squares import SquaresData, SquaresOracle, SquaresSpec, exact_order

pytestmark = pytest.mark.usefixtures("exact")
LINES_LEVELS = (3, 2, 1)


def ask(model: Fake, data: LinesData, **evaluation: object) -> Evaluation:
    spec = EvaluationSpec.parse({"num_resamples": 500, "num_samples": 40, "query_repeats": 4, **evaluation})
    return evaluate(model, data, spec)  # type: ignore[arg-type]


def find(evaluation: Evaluation, metric: str, **keys: object) -> Score:
    wanted = {"attribute": None, **keys}
    found = [
        score
        for score in evaluation.scores
        if score.metric == metric and all(getattr(score, key) == value for key, value in wanted.items())
    ]
    assert len(found) == 1, (metric, keys, found)
    return found[0]


def near(score: Score, reference: float) -> bool:
    """Within the interval, with half of its width to spare on both sides."""
    slack = (score.ci_high - score.ci_low) / 2 + 1e-9
    return score.ci_low - slack <= reference <= score.ci_high + slack


@pytest.fixture
def marginal(lines: Callable[..., LinesData]) -> Oracle:
    return Oracle(TrainingConcepts(lines().concepts("train"), sizes=LINES.sizes).marginal())


def test_an_oracle_reaches_the_ceilings(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    for model, protocol in ((marginal, "paper"), (Oracle([torch.ones(size) for size in LINES.sizes]), "official")):
        result = ask(model, lines())
        for level in LINES_LEVELS:
            correct = find(result, "correctness", protocol=protocol, level=level, partition="test")
            assert (correct.value, correct.ceiling) == (1.0, 1.0)
            if level < 3:
                covered = find(result, "coverage", protocol=protocol, level=level, partition="test")
                assert near(covered, covered.ceiling)
                assert covered.ci_low > covered.floor
            apart = find(result, "joint_divergence", protocol=protocol, level=level, partition="test")
            assert near(apart, apart.ceiling)
            assert apart.ci_high < apart.floor


def test_a_collapsed_model_is_at_the_floors(lines: Callable[..., LinesData]) -> None:
    """The floors are expectations over the concept that the model collapsed to; all attributes are near uniform."""
    data = lines()
    for concept in ([0, 0, 0], [3, 1, 2]):
        result = ask(Collapsed(torch.tensor(concept)), data)
        for protocol in ("official", "paper", "corrected"):
            for level in LINES_LEVELS:
                correct = find(result, "correctness", protocol=protocol, level=level)
                assert near(correct, correct.floor)
                if level < 3:
                    covered = find(result, "coverage", protocol=protocol, level=level)
                    assert covered.value == pytest.approx(covered.floor, abs=0.03)
                    assert covered.value < covered.ceiling - 0.2
                apart = find(result, "joint_divergence", protocol=protocol, level=level)
                assert apart.value == pytest.approx(apart.floor, abs=0.04)


def test_corrected_forgives_what_the_marginal_punishes(lines: Callable[..., LinesData]) -> None:
    """Where attributes depend on each other, a model that draws from p(y_k|y_O) reaches the score of a deaf one under
    ``corrected`` only; it is at the ceiling under both, and a deaf one passes that under ``paper``."""
    data = lines(skewed=True)

    class Conditional(Fake):
        def complete(self, queries: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            tables = TrainingConcepts(data.concepts("train"), sizes=LINES.sizes).conditional(queries)
            return torch.stack([torch.multinomial(table, 1, generator=generator)[:, 0] for table in tables], 1)

    result = ask(Conditional(), data, levels=[2])
    corrected, paper = (find(result, "coverage", protocol=protocol) for protocol in ("corrected", "paper"))
    assert near(corrected, corrected.ceiling)
    assert near(paper, paper.ceiling)
    assert paper.ceiling < paper.deaf - 0.03
    assert corrected.deaf < corrected.ceiling - 0.03
    assert paper.value < corrected.value - 0.05


def test_comp_asks_held_out_concepts_only(lines: Callable[..., LinesData]) -> None:
    data = lines(split="comp")
    model = Oracle([torch.ones(size) for size in LINES.sizes])
    result = ask(model, data, partitions=["val", "test"])
    for partition in ("val", "test"):
        for metric in ("correctness", "compositionality"):
            score = find(result, metric, protocol="paper", partition=partition)
            held_out = compositional_split(LINES, seed=data.spec.split_seed)[partition]
            assert (score.level, score.value, score.num_queries) == (3, 1.0, 4 * len(held_out))
    assert not [score for score in result.scores if score.metric == "coverage"]
    asked = {tuple(concept) for concepts in model.asked for concept in concepts.tolist()}
    assert not asked & {tuple(concept) for concept in data.concepts("train").tolist()}


def test_samples_are_shared_by_the_protocols_and_do_not_depend_on_them(
    lines: Callable[..., LinesData], marginal: Oracle
) -> None:
    both = ask(marginal, lines(), levels=[1])
    num_calls = len(marginal.asked)
    alone = ask(marginal, lines(), levels=[1, 2], protocols=["paper"])
    assert find(alone, "coverage", protocol="paper", level=1) == find(both, "coverage", protocol="paper", level=1)
    assert len(marginal.asked) == 3 * num_calls
    assert find(both, "correctness", protocol="official").num_samples == 10
    assert find(both, "correctness", protocol="paper").num_samples == 40


def test_the_evaluation_seed_changes_samples_and_queries(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    first, again, other = (ask(marginal, lines(), levels=[1], seed=seed) for seed in (0, 0, 1))
    assert first.scores == again.scores
    assert find(first, "coverage", protocol="paper").per_query != find(other, "coverage", protocol="paper").per_query


def test_real_images(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    data = lines()
    result = ask(marginal, data)
    described = find(result, "description_accuracy", partition="test")
    truth = data.concepts("test")
    assert (described.value, described.ceiling, described.num_queries) == (1.0, 1.0, len(truth))
    assert described.per_query == [1.0] * len(truth)
    majority = data.concepts("train").mode(0).values
    for k, name in enumerate(LINES.names):
        score = find(result, "description_accuracy", attribute=name)
        assert score.floor == pytest.approx(float((truth[:, k] == majority[k]).double().mean()))
        judged = find(result, "classifier_accuracy", attribute=name)
        assert (judged.value, judged.floor, judged.partition) == (1.0, pytest.approx(score.floor), "test")
    described_judge = result.classifier.to_json()
    assert len(str(described_judge.pop("weights"))) == 12
    assert described_judge == {
        "name": "exact", "fingerprint": "0" * 12, "accuracy": dict.fromkeys(LINES.names, 1.0), "mean_accuracy": 1.0,
    }  # fmt: skip


def test_elbo_is_the_negative_loss_on_real_images(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    data = lines()
    marginal.stage = stage = object()
    score = find(ask(marginal, data), "elbo", partition="test")
    # The fake loss is the ink of an image, and noise of a standard normal for each batch of 50.
    ink = data.store.batch(data.rows("test")).image.sum((1, 2, 3)).mean()
    assert score.per_query is not None
    assert abs(score.value + float(ink)) < 4 / len(score.per_query) ** 0.5 + 0.3
    assert score.ci_low < score.value < score.ci_high
    assert score.num_queries == 50 * len(score.per_query)
    assert marginal.stage is stage


def test_only_what_the_model_can_do_is_asked(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    metrics: dict[str, set[Any]] = {}
    for name in ("can_imagine", "can_describe"):
        model = Oracle(marginal.tables)
        setattr(model, name, False)
        metrics[name] = {score.metric for score in ask(model, lines()).scores}
    assert metrics["can_imagine"] == {"description_accuracy", "classifier_accuracy", "elbo"}
    assert "description_accuracy" not in metrics["can_describe"]
    assert "coverage" in metrics["can_describe"]
    full_only = Oracle(marginal.tables)
    full_only.spec = type("Full", (), {"name": "full", "partial_concepts": False})()
    levels = {score.level for score in ask(full_only, lines()).scores}
    assert levels == {3, None}


def test_the_model_is_left_as_it_was(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    for mode in (True, False):
        marginal.train(mode)
        before = torch.random.get_rng_state()
        ask(marginal, lines(), levels=[3])
        assert marginal.training is mode
        assert torch.equal(torch.random.get_rng_state(), before)


def test_unmatched_queries_are_counted(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    data = lines(num_images=60)
    result = ask(marginal, data, levels=[3], query_repeats=1)
    shown = {tuple(concept) for concept in data.concepts("test", split="iid").tolist()}
    assert 0 < len(shown) < 24
    assert result.unmatched == {"test/3": 24 - len(shown)}


def test_distributions_are_validated_inside_and_left_alone_outside() -> None:
    before = Distribution._validate_args
    try:
        Distribution.set_default_validate_args(False)
        Normal(0.0, -1.0)
        with argument_checks(True), pytest.raises(ValueError, match="scale"):
            Normal(0.0, -1.0)
        Normal(0.0, -1.0)
    finally:
        Distribution.set_default_validate_args(before)


def test_a_given_relation_is_told_to_the_judge_and_never_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SquaresData(SquaresSpec())
    data.setup()
    monkeypatch.setattr("mmvae_bench.evaluation.evaluate.judge_of", lambda data, *_, **__: exact_order(data))
    two_red = {"two red": "colour_1=red, relation=left, colour_2=red"}
    monkeypatch.setattr(SquaresSpec, "named_queries", lambda self: two_red)
    result = ask(SquaresOracle(), data, num_samples=10, num_queries=12, query_repeats=2)  # type: ignore[arg-type]
    for level in (3, 2):
        score = find(result, "correctness", protocol="paper", level=level)
        assert (score.value, score.ceiling, score.num_queries) == (1.0, 1.0, 24)
    # Of the relation alone there is nothing to be right about, but all that is open to cover.
    assert not [score for score in result.scores if score.metric == "correctness" and score.level == 1]
    covered = find(result, "coverage", protocol="paper", level=1)
    assert covered.num_queries == 24
    assert near(covered, covered.ceiling)
    assert {score.attribute for score in result.scores} == {None, "colour_1", "colour_2", "two red"}
    for metric in ("named_query", "named_query_all"):
        named = find(result, metric, attribute="two red")
        assert (named.value, named.level, named.num_samples) == (1.0, 3, 20)
    described = find(result, "description_accuracy")
    assert described.value == pytest.approx(float((data.concepts("test")[:, [0, 2]] == 0).double().mean()), abs=1e-6)
    # An image does not tell of which square the concept speaks first: nobody describes all of them right.
    assert all(math.isnan(each.ceiling) for each in result.scores if each.metric == "description_accuracy")
    assert result.unmatched == {"test/3": 0, "test/2": 0, "test/1": 0}
    assert set(result.classifier.accuracy) == {"colour_1", "colour_2"}


def test_named_queries_change_no_other_number(
    lines: Callable[..., LinesData], marginal: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ask(marginal, lines(), levels=[1])
    monkeypatch.setattr(LinesSpec, "named_queries", lambda self: {"top": "place=top-left"})
    more = ask(marginal, lines(), levels=[1])
    assert [score for score in more.scores if score.attribute != "top"] == plain.scores
    # The samples of a named query are its own.
    asked = [concepts for concepts in marginal.asked if torch.equal(concepts, torch.tensor([[0, -1, -1]] * 4))]
    assert asked


def test_progress_reaches_the_end(lines: Callable[..., LinesData], marginal: Oracle) -> None:
    told: list[tuple[str, int, int]] = []
    spec = EvaluationSpec.parse({"num_samples": 10, "num_resamples": 10, "levels": [3]})
    evaluate(marginal, lines(), spec, progress=lambda *event: told.append(event))  # type: ignore[arg-type]
    assert told[-1] == ("imagine", 480, 480)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
