"""Every protocol against loops that are written straight from its definition, on random predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from mmvae_bench.base.statistics import mean_interval
from mmvae_bench.concepts import UNSPECIFIED, Schema, keep_random
from mmvae_bench.evaluation.classifier import HeldOut
from mmvae_bench.evaluation.queries import Queries
from mmvae_bench.evaluation.questions.three_cs import three_cs
from mmvae_bench.evaluation.references import TrainingConcepts
from mmvae_bench.evaluation.scoring import Judge, accuracy_on_real_images, make_score
from mmvae_bench.metrics.functional import coverage_reference
from mmvae_bench.metrics.protocols import PROTOCOL_RULES, PROTOCOLS, SMOOTHING
from mmvae_bench.runs.scores import Score

from .fakes import LINES, LinesData

NUM_SAMPLES = 25
ASKED = {name: PROTOCOL_RULES[name] for name in PROTOCOLS if PROTOCOL_RULES[name].asks == "three_cs"}
"""The protocols over queries; ``cremer`` asks the texts of images, and is scored elsewhere."""
SAMPLES_SCORED: dict[str, int] = {"official": 10, "paper": NUM_SAMPLES, "corrected": NUM_SAMPLES}
BASE: dict[str, float] = {"official": math.e, "paper": 2.0, "corrected": 2.0}


def random_predictions(num_queries: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    columns = [torch.randint(size, (num_queries, NUM_SAMPLES), generator=generator) for size in LINES.sizes]
    return torch.stack(columns, -1)


def make_judge(data: LinesData) -> Judge:
    truth = data.concepts("test", split="iid")
    wrong = torch.rand(truth.shape, generator=torch.Generator().manual_seed(5)) < 0.2
    held_out = HeldOut(truth, torch.where(wrong, 0, truth))
    training = TrainingConcepts(data.concepts("train"), sizes=LINES.sizes)
    return Judge(LINES, data.spec.split, training, held_out)


def expected_target(
    protocol: str, data: LinesData, query: list[int], k: int, smoothing: float = SMOOTHING
) -> list[float]:
    rows = data.concepts("train").tolist()
    marginal = [sum(row[k] == value for row in rows) / len(rows) for value in range(LINES.sizes[k])]
    if protocol == "official":
        return [1 / LINES.sizes[k]] * LINES.sizes[k]
    if protocol == "paper":
        return marginal
    rows = [row for row in rows if all(want in (-1, got) for want, got in zip(query, row, strict=True))]
    counts = [sum(row[k] == value for row in rows) for value in range(LINES.sizes[k])]
    return [(count + smoothing * p) / (len(rows) + smoothing) for count, p in zip(counts, marginal, strict=True)]


def expected_scores(
    protocol: str, data: LinesData, query: list[int], samples: list[list[int]], scored: Sequence[int] = range(3)
) -> dict[str, float]:
    samples = samples[: SAMPLES_SCORED[protocol]]
    right, covered, divergences = [], [], []
    for k in scored:
        size = LINES.sizes[k]
        shown = [sum(sample[k] == value for sample in samples) / len(samples) for value in range(size)]
        if query[k] == UNSPECIFIED:
            target = expected_target(protocol, data, query, k)
        else:
            target = [float(value == query[k]) for value in range(size)]
            right += [float(sample[k] == query[k]) for sample in samples]
        divergence = float(jensenshannon(target, shown, base=BASE[protocol])) ** 2
        divergences.append(divergence)
        if query[k] == UNSPECIFIED:
            covered.append(1 - divergence)
    mean = {"correctness": right, "coverage": covered, "joint_divergence": divergences}
    return {metric: sum(values) / len(values) if values else math.nan for metric, values in mean.items()}


def by_metric(scores: list[Score]) -> dict[tuple[str, str | None], Score]:
    found = {(score.metric, score.attribute): score for score in scores}
    assert len(found) == len(scores)
    return found


@pytest.mark.parametrize("protocol", list(ASKED))
@pytest.mark.parametrize("level", [3, 2, 1])
def test_scores_are_what_loops_give(lines: Callable[..., LinesData], protocol: str, level: int) -> None:
    data = lines(skewed=True, num_images=300)
    concepts = keep_random(LINES.combinations(), level, generator=torch.Generator().manual_seed(level))
    predictions = random_predictions(len(concepts))
    scores = by_metric(
        three_cs(make_judge(data), PROTOCOL_RULES[protocol], Queries("val", level, concepts), predictions)
    )
    expected = [
        expected_scores(protocol, data, query, samples)
        for query, samples in zip(concepts.tolist(), predictions.tolist(), strict=True)
    ]
    for metric in ("correctness", "coverage", "joint_divergence"):
        values = [each[metric] for each in expected]
        if level == 3 and metric == "coverage":
            assert ("coverage", None) not in scores
            continue
        score = scores[metric, None]
        assert score.per_query == pytest.approx(values, abs=1e-9)
        assert score.value == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert (score.protocol, score.partition, score.level) == (protocol, "val", level)
        assert (score.num_queries, score.num_samples) == (24, SAMPLES_SCORED[protocol])
        assert score.ci_low < score.value < score.ci_high
    assert ("compositionality", None) not in scores


def read_by_chance(judge: Judge, k: int, value: int) -> float:
    """How often the classifier reads a value in images of training concepts, row by row."""
    truth, said = judge.held_out.concepts[:, k].tolist(), judge.held_out.predictions[:, k].tolist()
    reads = {u: [b == value for a, b in zip(truth, said, strict=True) if a == u] for u in set(truth)}
    rows = judge.training.combinations.repeat_interleave(judge.training.counts.long(), 0)[:, k].tolist()
    return sum(sum(reads[u]) / len(reads[u]) for u in rows) / len(rows)


def test_correctness_by_attribute(lines: Callable[..., LinesData]) -> None:
    data = lines()
    concepts = keep_random(LINES.combinations(), 2, generator=torch.Generator().manual_seed(0))
    predictions, judge = random_predictions(len(concepts)), make_judge(data)
    scores = by_metric(three_cs(judge, PROTOCOL_RULES["paper"], Queries("test", 2, concepts), predictions))
    for k, name in enumerate(LINES.names):
        asked = [q for q, query in enumerate(concepts.tolist()) if query[k] != UNSPECIFIED]
        right = [sum(sample[k] == concepts[q, k] for sample in predictions[q]) / NUM_SAMPLES for q in asked]
        score = scores["correctness", name]
        assert score.value == pytest.approx(float(sum(right)) / len(asked))
        assert score.num_queries == len(asked)
        assert score.floor == pytest.approx(
            sum(read_by_chance(judge, k, int(concepts[q, k])) for q in asked) / len(asked)
        )
        assert score.per_query is None
        real = accuracy_on_real_images(judge.held_out, concepts)[asked, k]
        assert score.ceiling == pytest.approx(float(real.mean()))


def test_ceiling_of_correctness_is_the_judge_on_real_images_of_the_concepts(lines: Callable[..., LinesData]) -> None:
    judge = make_judge(lines())
    queries = torch.tensor([[0, -1, -1], [3, 1, -1], [2, 0, 2], [-1, -1, -1]])
    accuracy = accuracy_on_real_images(judge.held_out, queries)
    for q, query in enumerate(queries.tolist()):
        for k in range(3):
            if query[k] == UNSPECIFIED:
                assert accuracy[q, k].isnan()
                continue
            hits = [
                float(said[k] == truth[k])
                for truth, said in zip(judge.held_out.concepts, judge.held_out.predictions, strict=True)
                if all(want in (-1, int(got)) for want, got in zip(query, truth, strict=True))
            ]
            assert len(hits) > 3
            assert float(accuracy[q, k]) == pytest.approx(sum(hits) / len(hits))


def test_a_query_that_no_real_image_shows_is_left_out_of_the_ceiling(lines: Callable[..., LinesData]) -> None:
    judge = make_judge(lines())
    without = (judge.held_out.concepts != torch.tensor([0, 0, 0])).any(1)
    fewer = HeldOut(judge.held_out.concepts[without], judge.held_out.predictions[without])
    judge = Judge(LINES, "iid", judge.training, fewer)
    queries = torch.tensor([[0, 0, 0], [1, 1, 1]])
    scores = by_metric(three_cs(judge, PROTOCOL_RULES["paper"], Queries("test", 3, queries), random_predictions(2)))
    score = scores["correctness", None]
    assert score.num_queries == 2
    assert score.ceiling == pytest.approx(float(accuracy_on_real_images(fewer, queries[1:]).mean()))


def test_official_scores_the_first_samples(lines: Callable[..., LinesData]) -> None:
    concepts = LINES.combinations()
    predictions = concepts[:, None].repeat(1, NUM_SAMPLES, 1)
    predictions[:, 10:] = (predictions[:, 10:] + 1) % torch.tensor(LINES.sizes)
    judge = make_judge(lines())
    values = {
        protocol: by_metric(three_cs(judge, rule, Queries("test", 3, concepts), predictions))["correctness", None].value
        for protocol, rule in ASKED.items()
    }
    assert values == {"official": 1.0, "paper": pytest.approx(0.4), "corrected": pytest.approx(0.4)}


def test_compositionality_leaves_out_what_training_has_shown(lines: Callable[..., LinesData]) -> None:
    data = lines(split="comp")
    seen, novel = data.concepts("train")[:2], data.concepts("test")[:2]
    concepts = torch.cat([seen, novel])
    predictions = concepts[:, None].repeat(1, NUM_SAMPLES, 1)
    predictions[:2] = (predictions[:2] + 1) % torch.tensor(LINES.sizes)
    judge = make_judge(data)
    scores = by_metric(three_cs(judge, PROTOCOL_RULES["official"], Queries("test", 3, concepts), predictions))
    assert scores["correctness", None].value == 0.5
    score = scores["compositionality", None]
    assert (score.value, score.num_queries) == (1.0, 2)
    assert score.per_query is not None
    assert [math.isnan(value) for value in score.per_query] == [True, True, False, False]
    blind = [read_by_chance(judge, k, value) for query in novel.tolist() for k, value in enumerate(query)]
    assert score.floor == pytest.approx(sum(blind) / len(blind))


def test_fractions_and_nats_have_their_own_intervals() -> None:
    values = torch.tensor([1.0] * 19 + [0.0])
    made = make_score("correctness", values, partition="test")
    assert (made.ci_low, made.ci_high) == mean_interval(values.tolist(), fraction=True)
    made = make_score("log_px", values, partition="test", groups=torch.arange(20) // 2)
    assert (made.ci_low, made.ci_high) == mean_interval(values.tolist(), groups=[place // 2 for place in range(20)])


GIVEN = Schema(LINES.attributes, given=("direction",))


@pytest.mark.parametrize("protocol", list(ASKED))
@pytest.mark.parametrize("level", [3, 2, 1])
def test_a_given_attribute_counts_in_nothing(lines: Callable[..., LinesData], protocol: str, level: int) -> None:
    """Every score and reference is that of the other attributes alone, whose queries are conditioned on the given."""
    data = lines(skewed=True, num_images=300)
    generator = torch.Generator().manual_seed(level)
    concepts = keep_random(LINES.combinations(), level, generator=generator, given=GIVEN.given_positions)
    predictions = random_predictions(len(concepts))
    predictions[..., 1] = -1
    plain = make_judge(data)
    seen = plain.held_out.predictions.clone()
    seen[:, 1] = -1
    judge = Judge(GIVEN, "iid", plain.training, HeldOut(plain.held_out.concepts, seen))
    rule = PROTOCOL_RULES[protocol]
    scores = by_metric(three_cs(judge, rule, Queries("test", level, concepts), predictions))
    assert {attribute for _, attribute in scores} <= {None, "place", "number"}
    assert {metric for metric, _ in scores} == {
        3: {"correctness", "joint_divergence"}, 2: {"correctness", "coverage", "joint_divergence"},
        1: {"coverage", "joint_divergence"},
    }[level]  # fmt: skip
    expected = [
        expected_scores(protocol, data, query, shown, scored=(0, 2))
        for query, shown in zip(concepts.tolist(), predictions.tolist(), strict=True)
    ]
    target = [torch.tensor([expected_target(protocol, data, query, k) for query in concepts.tolist()]) for k in (0, 2)]
    open_ = concepts[:, [0, 2]] == UNSPECIFIED
    # The ceiling is an exact conditional generator's, the floor that of one concept drawn without regard to the query.
    exact, marginal = (
        [torch.tensor([expected_target(kind, data, query, k, 1e-9) for query in concepts.tolist()]) for k in (0, 2)]
        for kind in ("corrected", "paper")
    )
    perfect, collapsed = coverage_reference(
        target, SAMPLES_SCORED[protocol], BASE[protocol], drawn=marginal, shown=exact
    )
    for (metric, attribute), score in scores.items():
        if attribute is None:
            assert score.per_query == pytest.approx([each[metric] for each in expected], abs=1e-9, nan_ok=True)
        if metric == "coverage":
            assert score.ceiling == pytest.approx(mean_of_means(perfect, open_))
            assert score.floor == pytest.approx(mean_of_means(collapsed, open_))
        if metric == "correctness" and attribute is None:
            chance = torch.tensor([
                [read_by_chance(plain, k, query[k]) if query[k] >= 0 else 0.0 for k in (0, 2)]
                for query in concepts.tolist()
            ])  # fmt: skip
            assert score.floor == pytest.approx(mean_of_means(chance, ~open_))


def mean_of_means(values: Tensor, mask: Tensor) -> float:
    """Over queries, of the mean over attributes under the mask; queries without any are left out."""
    rows = [row[chosen].mean() for row, chosen in zip(values.double(), mask, strict=True) if chosen.any()]
    return float(sum(rows) / len(rows))
