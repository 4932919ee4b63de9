"""A question of another package is asked before training: its bugs are told, and what is sound passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from mmvae_bench.cli import main
from mmvae_bench.evaluation.questions import Context, Question
from mmvae_bench.evaluation.rehearsal import rehearse_questions
from mmvae_bench.metrics.catalogue import METRICS, MetricInfo
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.components import QuestionSpec, questions
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.rehearsal import Rehearsal


class BrightnessSpec(QuestionSpec):
    """How bright imagined images are."""

    implementation: ClassVar[str] = f"{__name__}:Brightness"
    summary: ClassVar[str] = "brightness"
    reference: ClassVar[str] = "none"
    metrics: ClassVar[tuple[str, ...]] = ("brightness",)

    name: Literal["brightness"] = "brightness"
    """The question's name."""
    fault: str = ""
    """What is wrong with it."""


class Brightness(Question):
    spec: BrightnessSpec

    def reason_not(self, model: Any, data: Any) -> str | None:
        return None if model.can_imagine else "it imagines nothing"

    def ask(self, context: Context) -> list[Score]:
        if self.spec.fault == "raises":
            raise ArithmeticError("not today")
        if self.spec.fault == "no list":
            return None  # type: ignore[return-value]
        if self.spec.fault == "another metric":
            return [context.score("correctness", torch.rand(3))]
        queries = context.queries[0]
        images = context.model.imagine(queries.concepts, num_samples=2, generator=torch.Generator())
        assert len(context.predictions(queries)) == len(queries)
        return [context.score("brightness", images.mean((1, 2, 3, 4)), level=queries.level)]


@pytest.fixture(autouse=True)
def brightness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The question of another package; returns a cache that nothing may be written to."""
    questions.names()
    monkeypatch.setitem(questions._parts, "brightness", BrightnessSpec)
    info = MetricInfo(name="brightness", label="brightness", summary="brightness", reference="none", needs=())
    monkeypatch.setitem(METRICS._parts, "brightness", info)
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spec(objective: str = "jmvae", fault: str = "", **settings: Any) -> TrialSpec:
    plain: dict[str, Any] = {
        "dataset": {"name": "mnist_a", "canvas": 16},
        "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
        "objective": objective,
        "evaluation": {"questions": {"brightness": {"fault": fault}}},
    }
    return TrialSpec.parse(plain | settings)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", "ArithmeticError: not today"),
        ("no list", "TypeError: question 'brightness' returned NoneType, expected a list of Score"),
        ("another metric", "unknown metric of question 'brightness': 'correctness'"),
    ],
)
def test_a_bug_is_told(fault: str, message: str, brightness: Path) -> None:
    ((name, said),) = rehearse_questions([spec(fault=fault)])
    assert name == "brightness"
    assert said is not None
    assert message in said
    assert not brightness.exists()


@pytest.mark.parametrize("split", ["iid", "comp"])
def test_a_sound_question_passes_on_the_first_model_that_can_be_asked(split: str, brightness: Path) -> None:
    dataset = {"dataset": {"name": "mnist_a", "canvas": 16, "split": split}}
    assert list(rehearse_questions([spec("jvae", **dataset), spec("telbo", **dataset)])) == [("brightness", None)]
    assert list(rehearse_questions([spec("jvae", **dataset)])) == []
    assert not brightness.exists()


def test_it_is_asked_in_the_text_view_and_of_many_attributes() -> None:
    faces = {"name": "celeba18", "source": "drawn", "size": 16, "view": "text"}
    networks = {"backbone": {"name": "rgb_thin", "width": 2, "hidden": 8}}
    assert list(rehearse_questions([spec(dataset=faces, **networks)])) == [("brightness", None)]


def test_what_this_package_asks_is_not_asked_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tested here, and costs every run the time."""
    monkeypatch.setattr("mmvae_bench.evaluation.rehearsal.train", lambda *_: pytest.fail("a classifier was trained"))
    built_in = {"evaluation": {"questions": {"neighbours": {}}}}
    assert not list(rehearse_questions([spec(**built_in)]))


def test_the_command_answers_and_the_run_says_it_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = spec(fault="raises")
    (tmp_path / "spec.json").write_text(json.dumps(trial.canonical()))
    (tmp_path / "evaluation.json").write_text(json.dumps(trial.evaluation.canonical()))
    assert main(["rehearse", "--spec", str(tmp_path / "spec.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [list(answer) for answer in answers] == [["objective", "error"], ["question", "error"]]
    assert answers[0]["error"] is None
    said: list[str] = []
    assert _told_by(answers, said) == {}
    (text,) = said
    assert text.startswith("question brightness fails on made-up images and an untrained model")
    assert "ArithmeticError: not today" in text


def _told_by(answers: list[dict[str, Any]], said: list[str]) -> Any:
    """What a run makes of answers: the objectives that are held back."""

    class Answered(Rehearsal):
        def _answers(self, *_: Any) -> Any:
            yield from answers

    held: Callable[..., Any] = Answered((), say=said.append)
    return held([], lambda: False)
