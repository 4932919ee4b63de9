"""The confusion of a model whose errors are known, and what the record of an evaluation holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.files import DamagedFile
from mmvae_bench.concepts import UNSPECIFIED
from mmvae_bench.evaluation import evaluate as evaluating
from mmvae_bench.evaluation.confusion import confusion_of
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.runs.documents import check_result
from mmvae_bench.specs.trial import EvaluationSpec

from .fakes import LINES, Fake, LinesData, context, exact_classifier, question


class Confused(Fake):
    """Shows horizontal lines as vertical ones, one line as two, and everything else right; open attributes: the first
    value."""

    def complete(self, queries: Tensor, generator: torch.Generator) -> Tensor:
        shown = queries.clamp(min=0).clone()
        shown[:, 1] = 1
        shown[:, 2] = shown[:, 2].clamp(min=1)
        return shown


@pytest.fixture
def found(lines: Callable[..., LinesData], monkeypatch: pytest.MonkeyPatch) -> Any:
    data = lines(num_images=600)
    monkeypatch.setattr(evaluating, "judge_of", lambda *_, **__: exact_classifier(data))
    asked = [question("three_cs"), question("classifier")]
    spec = EvaluationSpec.parse({"num_samples": 20, "protocols": ["paper"]})
    return evaluate(Confused(), data, spec, questions=asked)  # type: ignore[arg-type]


def test_every_table_is_what_was_asked_against_what_was_shown(found: Any, lines: Callable[..., LinesData]) -> None:
    data = lines(num_images=600)
    queries = {each.level: each.concepts for each in context(Confused(), data, exact_classifier(data)).queries}
    tables = {(table["level"], table["attribute"]): table for table in found.confusion["asked"]}
    assert set(tables) == {(level, name) for level in queries for name in LINES.names}
    for (level, name), table in tables.items():
        assert (table["partition"], table["images"]) == ("test", "sample")
        k = LINES.names.index(name)
        assert table["values"] == list(LINES.attributes[k].values)
        expected = [[0] * LINES.sizes[k] for _ in range(LINES.sizes[k])]
        for concept in queries[level].tolist():
            if concept[k] != UNSPECIFIED:
                shown = {0: concept[k], 1: 1, 2: max(concept[k], 1)}[k]
                expected[concept[k]][shown] += 20
        assert table["counts"] == expected
    scores = {(score.level, score.attribute): score.value for score in found.scores if score.metric == "correctness"}
    for place, table in tables.items():
        counts = torch.tensor(table["counts"])
        assert scores[place] == pytest.approx(float(counts.trace() / counts.sum()))
    real = {table["attribute"]: torch.tensor(table["counts"]) for table in found.confusion["real"]}
    held_out = data.concepts("test", split="iid")
    for k, name in enumerate(LINES.names):
        assert torch.equal(real[name], torch.bincount(held_out[:, k], minlength=LINES.sizes[k]).diag())


def test_an_image_counts_once_where_a_sample_is_the_mean(lines: Callable[..., LinesData]) -> None:
    """With ``images: both``, of a model whose noise is a setting, both are the mean."""
    data, model = lines(num_images=600), Confused()
    model.has_fixed_scale = True  # type: ignore[attr-defined]
    given = context(model, data, exact_classifier(data), num_samples=20, protocols=["paper"], images="both")
    assert [mean for _, mean in given.shown] == [True, True]
    with torch.no_grad():
        question("three_cs").ask(given)
    places = [(table["level"], table["attribute"]) for table in confusion_of(given)]
    assert len(places) == len(set(places)) == len(given.queries) * len(LINES)


def test_nothing_is_drawn_for_it(lines: Callable[..., LinesData]) -> None:
    data, model = lines(num_images=600), Confused()
    given = context(model, data, exact_classifier(data), num_samples=20, protocols=["paper"])
    assert confusion_of(given) == []
    with torch.no_grad():
        question("three_cs").ask(given)
    drawn = len(model.asked)
    assert confusion_of(given)
    assert len(model.asked) == drawn


def test_the_time_of_each_question_is_kept(found: Any) -> None:
    assert set(found.seconds) == {"three_cs", "classifier"}
    plain = found.seconds["three_cs"].to_json()
    assert set(plain) == {"wall", "processor"}
    assert plain["wall"] > 0
    assert found.seconds["three_cs"].processor > found.seconds["classifier"].processor >= 0


def test_a_table_that_is_no_square_is_damaged(found: Any) -> None:
    record = json.loads(json.dumps(found.confusion))
    plain = {"version": 1, "key": "0", "scores": [], "training": {}, "provenance": {}, "confusion": record}
    assert check_result(Path("result.json"), plain, pure=True)["confusion"] == record
    for name in ("partition", "level", "images"):
        lacking = record | {"asked": [{key: value for key, value in record["asked"][0].items() if key != name}]}
        with pytest.raises(DamagedFile, match=name):
            check_result(Path("result.json"), plain | {"confusion": lacking}, pure=True)
    record["asked"][0]["counts"][0].append(1)
    with pytest.raises(DamagedFile, match="confusion"):
        check_result(Path("result.json"), plain, pure=True)
