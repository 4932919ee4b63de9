"""The account of an evaluation: its parts are the whole, every image is decoded once, and protocols share them."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import evaluation as script
import pytest
import torch

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.evaluation.classifier import ObservationClassifier
from mmvae_bench.evaluation.evaluate import judge_of
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.trial import build_objective

GRID = """
name: small
datasets: [{name: mnist_a, canvas: 16, num_sources: 100, replicas: 3}]
backbones: [{name: mnist_a_thin, width: 1, hidden: 8}]
objectives: [{name: jmvae}]
evaluation: {num_samples: 12, query_repeats: 1, num_queries: 6, levels: [2, 4], classifier: {name: conv_thin, width: 4}}
"""
NUM_IMAGES = 2 * 6 * 12


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture
def trial(grid: Path) -> TrialSpec:
    (found,) = expand(load_grid(grid))
    return found


def decoded_by(objective: Objective) -> list[int]:
    """Filled with the number of latents of each call of the image decoder."""
    sizes: list[int] = []
    objective.image_decoder.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    return sizes


@pytest.mark.parametrize("protocols", [["paper"], ["official", "paper", "corrected"]])
def test_the_parts_are_the_whole_and_every_image_is_decoded_once(
    trial: TrialSpec, digits: ConceptDataModule, protocols: list[str]
) -> None:
    objective = build_objective(trial)
    sizes, classifier = decoded_by(objective), script.untrained(trial, digits, torch.device("cpu"))
    asked, questions = [*script.asked_of(trial.evaluation, protocols).values()][-1]
    began = time.process_time()
    found = script.timed(objective, digits, classifier, asked, questions)
    whole = time.process_time() - began
    assert list(found.seconds) == list(script.PARTS)
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.total == pytest.approx(whole, rel=0.1, abs=0.02)
    # One latent more tells whether the scale of p(x|z) is fixed.
    assert found.images == NUM_IMAGES == sum(size for size in sizes if size > 1)


def test_a_part_has_its_own_time_alone(
    trial: TrialSpec, digits: ConceptDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of four parts is slowed down, and it alone takes longer."""
    classifier = script.untrained(trial, digits, torch.device("cpu"))
    asked, questions = script.asked_of(trial.evaluation, ["paper"])["paper"]

    def slow(here: pytest.MonkeyPatch, owner: object, name: str) -> None:
        call = getattr(owner, name)

        def slowed(*args: object, **kwargs: object) -> object:
            ends = time.process_time() + 0.3
            while time.process_time() < ends:
                pass
            return call(*args, **kwargs)

        here.setattr(owner, name, slowed)

    for part, name in [(script.LATENTS, "draw_latents"), (script.DECODING, "image_likelihood"),
                       (script.PIXELS, "imagine"), (script.CLASSIFIER, "predict")]:  # fmt: skip
        objective = build_objective(trial)
        with monkeypatch.context() as here:
            slow(here, ObservationClassifier if name == "predict" else objective, name)
            seconds = script.timed(objective, digits, classifier, asked, questions).seconds
        # Once for each of two levels; the decoder is also called to see whether its scale is fixed.
        assert seconds[part] >= 0.6
        assert sum(seconds.values()) - seconds[part] < 0.6


def test_nothing_is_left_of_the_watch(trial: TrialSpec, digits: ConceptDataModule) -> None:
    objective, predict = build_objective(trial), ObservationClassifier.predict
    classifier = script.untrained(trial, digits, torch.device("cpu"))
    broken = dataclasses.replace(classifier, network=torch.nn.Identity())
    for judge in (classifier, broken):
        try:
            script.timed(objective, digits, judge, trial.evaluation.of_protocol("paper"))
        except Exception:
            assert judge is broken
        else:
            assert judge is classifier
        assert not {"draw_latents", "image_likelihood", "imagine"} & vars(objective).keys()
        assert ObservationClassifier.predict is predict
        assert script.module.judge_of is judge_of


def test_the_table_has_a_column_for_one_protocol_one_for_several_and_one_for_all(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--grid", str(grid), "--num-images", "300", "--rounds", "2", "--all"]
    monkeypatch.setattr("sys.argv", ["evaluation.py", *arguments])
    script.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[2] == "jmvae, mnist_a_thin; 16x16, classifier conv_thin, 1 thread; 12 queries, 12 images each"
    rows = [line for line in printed if line.startswith("| ")]
    assert rows[0] == "| processor s | paper | paper, corrected | all that the grid asks |"
    assert [row.split(" | ")[0] for row in rows[1:]] == [f"| {part}" for part in script.PARTS] + [
        "| together",
        "| images decoded",
    ]
    assert rows[-1] == "| images decoded | 144 | 144 | 144 |"


def test_an_evaluation_that_decodes_its_images_again_is_not_measured(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be if each protocol drew its own."""
    monkeypatch.setattr(script.module.Context, "_key", lambda *_: object())
    monkeypatch.setattr("sys.argv", ["evaluation.py", "--grid", str(grid), "--num-images", "300", "--rounds", "1"])
    with pytest.raises(RuntimeError, match="paper, corrected: 144 images are asked for, and 288 were decoded"):
        script.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocols", "cremer"], "no protocol of the fixed queries: cremer"),
        (["--where", "objective=jvea"], "jvae|jmvae"),
        (["--protocols", "papper"], "paper"),
    ],
)
def test_what_cannot_be_measured_is_said(
    grid: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["evaluation.py", "--grid", str(grid), *arguments])
    with pytest.raises(SystemExit, match=message):
        script.main()
