"""The first step on made-up images: sound objectives pass, a bug is told with its line, and none takes long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.conformance.worlds import networks_of, small
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Objective, Terms, TermsError, raised_in
from mmvae_bench.objectives.jvae import JVAE
from mmvae_bench.objectives.scan import SCAN
from mmvae_bench.objectives.telbo import TELBO
from mmvae_bench.specs.components import objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.rehearsal import Rehearsal
from mmvae_bench.training import rehearsal
from mmvae_bench.training.rehearsal import rehearse, rehearse_all

TINY = {
    "dataset": {"name": "mnist_a", "canvas": 16},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "training": {"batch_size": 64, "validations": 4},
}
FACES = {
    "dataset": {"name": "celeba18", "source": "drawn", "size": 16, "view": "text"},
    "backbone": {"name": "rgb_thin", "width": 2, "hidden": 8},
}


def spec(objective: str, **settings: object) -> TrialSpec:
    return TrialSpec.parse({**TINY, "objective": objective, **settings})


@pytest.mark.parametrize(
    ("name", "settings"), [("telbo", {}), ("scan", {}), ("jmvae", FACES)], ids=["telbo", "two stages", "texts"]
)
def test_a_sound_objective_passes_and_no_dataset_is_made(
    name: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    torch.manual_seed(7)
    assert rehearse(spec(name, **settings)) is None
    assert not list(tmp_path.iterdir())


def test_a_bug_is_told_with_the_line_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: JVAE, batch: Batch) -> Terms:
        return Terms(batch.image.mean(), {"kl": batch.nothing})

    monkeypatch.setattr(JVAE, "terms", wrong)
    said = rehearse(spec("jvae"))
    assert said is not None
    lines = said.splitlines()
    assert lines[-1] == "AttributeError: 'Batch' object has no attribute 'nothing'"
    assert lines[-3].strip().startswith(f'File "{__file__}"')
    assert len(lines) <= rehearsal.NUM_LINES


class Deep(JVAE):
    """Its bug shows far down in a library."""

    def terms(self, batch: Batch) -> Terms:
        json.loads("{")
        return super().terms(batch)


def test_a_bug_that_shows_in_a_library_is_told_with_the_objectives_line(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = spec("jvae")
    monkeypatch.setattr(type(trial.objective), "implementation", f"{__name__}:Deep")
    first, *lines = str(rehearse(trial)).splitlines()
    number = next(place for place, line in enumerate(Path(__file__).read_text().splitlines(), 1) if "loads(" in line)
    assert first == f"at {__file__}:{number} in terms"
    assert not any(__file__ in line for line in lines)
    assert lines[-1].startswith("json.decoder.JSONDecodeError: ")


def test_a_step_that_is_too_large_is_no_matter_of_the_formula() -> None:
    """The loss is finite, and what it leads to is not: a step was made."""
    world = {
        "dataset": {"name": "sprites", "level": 4},
        "backbone": {"name": "patches", "likelihood": "normal", "likelihood_scale": 0.5},
    }
    said = str(rehearse(spec("jmvae", **world, training={"learning_rate": 1.0, "batch_size": 64})))
    assert said.startswith("the validation ELBO is not finite after step 1 of stage 'fit': in joint/log_px, ")
    assert said.endswith("; the loss of that step was: try a smaller learning rate or smaller loss weights")
    assert "formula" not in said
    assert rehearse(spec("jmvae", **world, training={"learning_rate": 1e-3, "batch_size": 64})) is None


def test_a_bug_of_a_later_stage_and_one_of_evaluation_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SCAN.terms

    def wrong(self: SCAN, batch: Batch) -> Terms:
        assert self.stage is not None
        if self.stage.name == self.stages(self.training_spec)[-1].name and not self.training:
            raise ZeroDivisionError("in the last stage")
        return original(self, batch)

    monkeypatch.setattr(SCAN, "terms", wrong)
    assert str(rehearse(spec("scan"))).endswith("ZeroDivisionError: in the last stage")


@pytest.mark.parametrize("budget", ["stage", "total"])
@pytest.mark.parametrize(("name", "num_stages"), [("jvae", 1), ("scan", 3)])
def test_a_step_is_made_of_every_stage_whatever_they_share(
    name: str, num_stages: int, budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    objective = {"jvae": JVAE, "scan": SCAN}[name]
    original = objective.terms

    def counted(self: Objective, batch: Batch) -> Terms:
        if self.training:
            assert self.stage is not None
            made.append(self.stage.name)
        return original(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(objective, "terms", counted)
    assert rehearse(spec(name, training={"steps": 50, "batch_size": 64, "budget": budget})) is None
    assert len(made) == len(set(made)) == num_stages


def test_fewer_steps_than_stages_are_found_before_any_data() -> None:
    said = rehearse(spec("scan", training={"steps": 2, "batch_size": 64, "budget": "total"}))
    assert said == "training.steps: 2 in total are fewer than the stages (denoise, image, concept)"


def test_each_objective_is_tried_once_on_the_smallest_images_those_of_others_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[str, int]] = []

    def note(trial: TrialSpec) -> None:
        tried.append((trial.objective.name, trial.dataset.image_shape()[-1]))

    monkeypatch.setattr(rehearsal, "rehearse", note)
    wide = {"dataset": {"name": "mnist_a", "canvas": 32}}
    specs = [spec("jvae", **wide), spec("telbo"), spec("jvae"), spec("telbo", seed=3), spec("vae", **wide)]
    monkeypatch.setattr(type(specs[1].objective), "implementation", "other.package:Objective")
    assert dict(rehearse_all(specs)) == {"telbo": None, "jvae": None, "vae": None}
    assert tried[0] == ("telbo", 16)
    assert sorted(tried) == [("jvae", 16), ("telbo", 16), ("vae", 32)]
    tried.clear()
    assert not list(rehearse_all(specs, seconds=-1.0))
    assert not tried


def test_the_command_answers_in_json_whatever_an_objective_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chatty(self: JVAE, batch: Batch) -> Terms:
        print("a remark")  # noqa: T201
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(JVAE, "terms", chatty)
    words = []
    for name in ("jvae", "telbo"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps(spec(name).canonical()))
        words += ["--spec", str(folder / "spec.json")]
    assert main(["rehearse", *words]) == 0
    answers = {answer["objective"]: answer["error"] for answer in map(json.loads, capsys.readouterr().out.splitlines())}
    assert answers["telbo"] is None
    assert answers["jvae"].endswith("ZeroDivisionError: division by zero")


def test_the_command_names_the_objectives_there_was_no_time_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rehearsal, "rehearse_all", lambda specs, **_: iter([(specs[0].objective.name, None)]))
    words = []
    for name in ("jvae", "telbo", "scan"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").write_text(json.dumps(spec(name).canonical()))
        words += ["--spec", str(tmp_path / name / "spec.json")]
    assert main(["rehearse", *words]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers == [{"objective": "jvae", "error": None}, {"untried": ["scan", "telbo"]}]


def test_the_line_of_an_objectives_own_code() -> None:
    def failing(error: Exception) -> BaseException:
        try:
            raise error
        except Exception as raised:
            return raised

    class Mine(Objective):
        pass

    where = raised_in(failing(ValueError("x")), Mine)
    assert where is not None
    assert where.startswith(f"{__file__}:")
    assert where.endswith(" in failing")
    # Not its own code: the data, the evaluation, the base class.
    assert raised_in(failing(ValueError("x")), TELBO) is None
    # What terms() returned is judged outside of it, but it is at fault.
    assert raised_in(failing(TermsError("x")), Mine) == f"{__file__} in terms"


def test_a_network_that_no_gradient_reaches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TELBO.terms

    def unmoved(self: TELBO, batch: Batch) -> Terms:
        with torch.no_grad():
            self.posterior(concept=batch.concept)
        terms = right(self, batch)
        return Terms(terms.parts["joint/log_px"].mean() + 0 * terms.loss, terms.parts, terms.latents)

    monkeypatch.setattr(TELBO, "terms", unmoved)
    found: list[list[str]] = []
    assert rehearse(spec("telbo"), idle=found.append) is None
    assert found == [["concept_encoder", "image_encoder", "concept_decoder"]]


def test_the_run_names_such_networks() -> None:
    class Answered(Rehearsal):
        def _answers(self, *_: object) -> Any:
            yield {"idle": "mine", "networks": ["image_encoder", "concept_encoder"]}
            yield {"objective": "mine", "error": None}

    said: list[str] = []
    assert Answered((), say=said.append)([], lambda: False) == {}
    assert said == [
        "objective mine: no gradient reaches image_encoder, concept_encoder in the first steps, as if the loss did not "
        "depend on what it trains"
    ]


@pytest.mark.parametrize("name", of_domain(objectives, "images"))
def test_every_objective_of_this_package_reaches_its_networks(name: str) -> None:
    """With labels for all images and for some of them, whatever its stages."""
    backbone = small(networks_of(name)).canonical()
    shape = {"rgb_thin": FACES["dataset"], "mnist_a_thin": TINY["dataset"]}
    found: list[list[str]] = []
    supervised = {"supervision": {"fraction": 0.5, "rate": 0.5}}
    tried = 0
    for dataset in (*shape.values(), {"name": "sprites", "level": 3, "canvas": 16}, {"name": "multi_mnist"}):
        for training in ({}, supervised):
            plain = {"dataset": {**dataset, "view": "attributes"} if "view" in dataset else dataset,
                     "backbone": backbone, "objective": name, "training": training}  # fmt: skip
            try:
                trial = TrialSpec.parse(plain)
            except ConfigError:
                continue
            tried += 1
            assert rehearse(trial, idle=found.append) is None
    assert tried
    assert not found
