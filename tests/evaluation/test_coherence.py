"""Coherence under each protocol, against an enumeration of the same images, and what makes the protocols differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Tensor

from mmvae_bench.base.seeds import derive_seed
from mmvae_bench.evaluation.classifier import HeldOut, ObservationClassifier
from mmvae_bench.evaluation.questions import coherence
from mmvae_bench.metrics.protocols import PROTOCOL_RULES
from mmvae_bench.objectives.base import CapabilityError
from mmvae_bench.runs.scores import Score

from .fakes import LINES, ExactReader, LinesData, context, exact_classifier, question
from .latent_models import SOURCES, Routed, said, shown

PROTOCOLS = ("multivae", "mmvaeplus", "mopoe")
NUM_JOINT = 700


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coherence, "NUM_JOINT", NUM_JOINT)


def ask(model: Any, data: LinesData, classifier: Any = None) -> dict[tuple[str | None, str], Score]:
    asked = context(model, data, classifier or exact_classifier(data), partition="train", protocols=list(PROTOCOLS))
    return {(score.protocol, score.metric): score for score in question("coherence").ask(asked)}


def pairs(data: LinesData) -> Tensor:
    """The concepts of the images that are asked about, in their order."""
    rows = data.rows("train")
    seed = derive_seed("real images", seed=0, partition="train")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return data.store.concepts[rows[order[:2000]]]


def generated(concepts: Tensor, to: str, given: str) -> Tensor:
    source = torch.full((len(concepts), 1), float(SOURCES[given]))
    return (shown if to == "image" else said)(torch.cat([concepts.float(), source], 1))


def test_each_protocol_is_what_its_project_computes(lines: Callable[..., LinesData]) -> None:
    data = lines(skewed=True)
    found, truth = ask(Routed(), data), pairs(data)
    across = [("image", "concept"), ("concept", "image")]
    inside = [("image", "image"), ("concept", "concept"), ("image", "both"), ("concept", "both")]
    expected: dict[tuple[str, str], float] = {}
    for protocol in PROTOCOLS:
        means = []
        for to, given in across + (inside if protocol == "mopoe" else []):
            read = generated(truth, to, given)
            each = []
            for k in range(3):
                if protocol == "mopoe":  # the mean of the means of batches, without the last one
                    batches = list(zip(truth[:, k].split(256), read[:, k].split(256), strict=True))[:-1]
                    shares = [float((one == other).float().mean()) for one, other in batches]
                    each.append(sum(shares) / len(shares))
                else:
                    measure = balanced_accuracy_score if protocol == "multivae" else accuracy_score
                    each.append(measure(truth[:, k], read[:, k]))
            means.append(sum(each) / 3)
            expected[protocol, f"coherence_{to}_from_{given}"] = means[-1]
        expected[protocol, "coherence"] = sum(means) / len(means)
    values = {key: score.value for key, score in found.items() if key[1] != "coherence_joint"}
    assert values == pytest.approx(expected, abs=1e-7)
    assert len({round(values[protocol, "coherence"], 4) for protocol in PROTOCOLS}) == 3
    for score in found.values():
        assert 0 <= score.ci_low < score.value <= score.ci_high + 1e-12
        assert score.ci_high <= 1


def test_joint_coherence_is_agreement_of_image_and_concept(lines: Callable[..., LinesData]) -> None:
    found = ask(Routed(), lines())
    parts = []
    for start in range(0, NUM_JOINT, 2**19 // 256):
        generator = torch.Generator().manual_seed(derive_seed("joint coherence", seed=0, start=start))
        parts.append(torch.randn(min(2**19 // 256, NUM_JOINT - start), 4, generator=generator))
    z = torch.cat(parts)
    agree = (shown(z) == said(z)).double().mean(1)
    assert found["multivae", "coherence_joint"].value == pytest.approx(float(agree.mean()))
    assert found["mmvaeplus", "coherence_joint"].value == pytest.approx(float(agree.mean()))
    assert found["mopoe", "coherence_joint"].value == pytest.approx(float(agree[:512].mean()))
    by_chance = [(shown(z)[:, k, None] == said(z)[None, :, k]).double() for k in range(3)]
    # Without a concept's own image.
    floor = sum(float((each.sum() - each.trace()) / (len(z) * (len(z) - 1))) for each in by_chance) / 3
    assert found["mmvaeplus", "coherence_joint"].floor == pytest.approx(floor, abs=2e-3)


def test_what_is_no_concept_is_wrong_unless_captions_are_silent_about_some(lines: Callable[..., LinesData]) -> None:
    class Babbling(Routed):
        def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
            values = said(z)
            values[:, 0] = torch.where(values[:, 1] == 1, -1, values[:, 0])
            return values

    data = lines()
    asked = context(Babbling(), data, exact_classifier(data), protocols=["mmvaeplus"])
    (score,) = [each for each in question("coherence").ask(asked) if each.metric == "coherence_joint"]
    parts = []
    for start in range(0, NUM_JOINT, 2**19 // 256):
        generator = torch.Generator().manual_seed(derive_seed("joint coherence", seed=0, start=start))
        parts.append(torch.randn(min(2**19 // 256, NUM_JOINT - start), 4, generator=generator))
    z = torch.cat(parts)
    read, wanted = shown(z), Babbling().describe_latents(z)
    assert 0.1 < float((wanted == -1).any(1).double().mean()) < 0.9
    assert score.value == pytest.approx(float((read == wanted).double().mean()))
    by_chance = (read[:, None] == wanted[None]).double().mean()
    assert score.floor == pytest.approx(float(by_chance), abs=5e-3)
    asked.__dict__["leaves_open"] = False  # Captions that say less than their concept.
    (score,) = [each for each in question("coherence").ask(asked) if each.metric == "coherence_joint"]
    each = (read == wanted).double().masked_fill(wanted == -1, torch.nan)
    assert score.value == pytest.approx(float(each.nanmean(1).mean()))


def test_by_class_each_attribute_counts_as_much_however_seldom_it_is_said() -> None:
    truth = torch.full((102, 3), -1)
    truth[:100, 0] = torch.arange(100) % 2
    truth[:2, 1] = torch.tensor([0, 1])  # The third is never said, and the last two say nothing.
    read = truth.clone()
    read[:2, 1] = 2
    values = coherence.accuracy(read, truth, by_class=True)
    assert float(values.nanmean()) == pytest.approx(0.5)
    assert values.isnan().nonzero().flatten().tolist() == [100, 101]
    read[0, 1] = 0
    expected = (1 + balanced_accuracy_score(truth[:2, 1], read[:2, 1] % 2)) / 2
    assert float(coherence.accuracy(read, truth, by_class=True).nanmean()) == pytest.approx(expected)
    answers = coherence.Answers(read, truth, truth, [torch.tensor([0.2, 0.8])] * 3)
    _, ceiling, floor = coherence._values(answers, PROTOCOL_RULES["multivae"])
    assert (ceiling, floor) == pytest.approx((1.0, 0.5))


def test_ceiling_and_floor_are_what_the_classifier_and_a_blind_answer_score(lines: Callable[..., LinesData]) -> None:
    data = lines(skewed=True)

    class Mistaken(ExactReader):
        """Takes two lines for three."""

        def forward(self, images: Tensor) -> list[Tensor]:
            place, direction, number = super().forward(images)
            number[number[:, 1] == 1] = torch.tensor([0.0, 0.0, 1.0])
            return [place, direction, number]

    concepts = data.concepts("test", split="iid")
    read = concepts.clone()
    read[:, 2] = torch.where(read[:, 2] == 1, 2, read[:, 2])
    classifier = ObservationClassifier("mistaken", "0" * 12, Mistaken(), LINES, HeldOut(concepts, read))
    found, truth = ask(Routed(), data, classifier), pairs(data)
    seen = torch.where(truth[:, 2] == 1, 2, truth[:, 2])
    number = {"mmvaeplus": accuracy_score(truth[:, 2], seen), "multivae": balanced_accuracy_score(truth[:, 2], seen)}
    training = data.concepts("train")
    for protocol, right in number.items():
        image, concept = (found[protocol, f"coherence_{route}"] for route in ("image_from_concept",
                                                                             "concept_from_image"))  # fmt: skip
        assert image.ceiling == pytest.approx((2 + right) / 3)
        assert concept.ceiling == 1.0
        if protocol == "multivae":  # whatever is drawn, the accuracies of V values add up to 1
            assert image.floor == pytest.approx((1 / 4 + 1 / 2 + 1 / 3) / 3)
            assert concept.floor == pytest.approx((1 / 4 + 1 / 2 + 1 / 3) / 3)
        else:
            drawn = [(training[:, k, None] == truth[None, :, k]).double().mean() for k in range(3)]
            assert concept.floor == pytest.approx(float(sum(drawn)) / 3)
            blurred = training.clone()
            blurred[:, 2] = torch.where(blurred[:, 2] == 1, 2, blurred[:, 2])
            drawn = [(blurred[:, k, None] == truth[None, :, k]).double().mean() for k in range(3)]
            assert image.floor == pytest.approx(float(sum(drawn)) / 3)


def test_what_an_image_does_not_show_has_no_ceiling(
    lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an attribute is given, the others cannot be read off the image without it."""

    class Told(ExactReader):
        def forward(self, images: Tensor, *_: Tensor) -> list[Tensor]:
            return super().forward(images)[1:]

    data, given = lines(), replace(LINES, given=("place",))
    monkeypatch.setattr(data, "schema", given)
    concepts = data.concepts("test", split="iid")
    classifier = ObservationClassifier("told", "0" * 12, Told(), given, HeldOut(concepts, concepts.clone()))
    found = ask(Routed(), data, classifier)
    for protocol in PROTOCOLS:
        assert math.isnan(found[protocol, "coherence_concept_from_image"].ceiling)
        assert math.isnan(found[protocol, "coherence"].ceiling)
        assert found[protocol, "coherence_image_from_concept"].ceiling == 1.0
    assert found["mopoe", "coherence_concept_from_both"].ceiling == 1.0


def test_a_model_is_asked_what_it_can_and_says_why_not_the_rest(lines: Callable[..., LinesData]) -> None:
    class Silent(Routed):
        def describe_latents(self, z: Tensor, *, sample: bool = False) -> Tensor:
            raise CapabilityError("no p(y|z)")

    data = lines()
    asked = context(Silent(), data, exact_classifier(data), protocols=list(PROTOCOLS))
    found = {(score.protocol, score.metric) for score in question("coherence").ask(asked)}
    assert found == {
        *((protocol, "coherence_image_from_concept") for protocol in PROTOCOLS),
        *(("mopoe", f"coherence_image_from_{given}") for given in ("image", "both")),
    }
    assert asked.left_out["coherence_joint"] == "no p(y|z)"
    assert asked.left_out["coherence_concept_from_image"] == "no p(y|z)"
    assert {f"coherence, {protocol}" for protocol in PROTOCOLS} <= set(asked.left_out)


def test_the_protocols_are_asked_where_they_are_named() -> None:
    assert all(PROTOCOL_RULES[name].asks == "coherence" for name in PROTOCOLS)
    rules = [PROTOCOL_RULES[name] for name in PROTOCOLS]
    assert [(rule.by_class, rule.inside, rule.whole_batches) for rule in rules] == [
        (True, False, None), (False, False, None), (False, True, 256),
    ]  # fmt: skip
