"""A run that was stopped ends with the bits of one that was not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench.data.base import ConceptDataModule

from .conftest import Run, same


def test_the_epoch_length_that_the_cases_rely_on(digits: ConceptDataModule) -> None:
    assert len(digits.rows("train")) // 32 == 7


@pytest.mark.parametrize("stop_after", [1, 5, 7, 13, 14, 19], ids=lambda step: f"after_{step}_steps")
def test_stopped_and_resumed_is_bitwise_uninterrupted(stop_after: int, run: Run) -> None:
    """7 and 14 are ends of an epoch, the others are in the middle of one."""
    whole, whole_fitted = run(folder="whole")
    first, nothing = run(folder="parts", stop_after=stop_after)
    assert nothing is None
    assert not same(first.state_dict(), whole.state_dict())
    resumed, fitted = run(folder="parts")
    assert same(resumed.state_dict(), whole.state_dict())
    assert fitted is not None
    assert whole_fitted is not None
    assert fitted.history == whole_fitted.history
    assert len(fitted.history) == 4


@pytest.mark.parametrize("signal_after", [1, 7, 20], ids=lambda step: f"after_{step}_steps")
def test_a_signal_just_after_a_steps_question_stops_after_the_next(signal_after: int, run: Run) -> None:
    whole, _ = run(folder="whole")
    stopped, fitted = run(folder="parts", signal_after=signal_after)
    assert stopped.step_done == min(signal_after + 1, 20)
    assert (fitted is None) == (signal_after < 20), "at the last step there is nothing left to stop"
    resumed, _ = run(folder="parts")
    assert same(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("name", ["jvae", "jmvae", "bivcca"])
def test_every_objective_resumes_from_many_stops(name: str, run: Run) -> None:
    whole, _ = run(name, folder="whole", steps=12)
    for _ in range(6):
        resumed, fitted = run(name, folder="parts", steps=12, stop_after=2)
    assert fitted is not None
    assert same(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize("stop_after", [4, 9, 10, 11, 16])
def test_two_stages_resume(stop_after: int, run: Run) -> None:
    parameters = {"steps": 10, "schedule": "two_stage", "unimodal_steps": 7}
    whole, fitted = run(folder="whole", **parameters)
    assert fitted is not None
    assert fitted.steps == 17
    run(folder="parts", stop_after=stop_after, **parameters)
    resumed, _ = run(folder="parts", **parameters)
    assert same(resumed.state_dict(), whole.state_dict())


@pytest.mark.parametrize(("name", "parameters"), [("q_agg", {"prior_flow": True}), ("scan", {}), ("jnf", {})])
def test_stages_on_a_frozen_model_resume(name: str, parameters: dict[str, object], run: Run) -> None:
    whole, expected = run(name, folder="whole", steps=4, **parameters)
    assert expected is not None
    for _ in range(-(-expected.steps // 3) + len(whole.spec.stage_names)):
        resumed, fitted = run(name, folder="parts", steps=4, stop_after=3, **parameters)
    assert fitted is not None
    assert fitted.steps == expected.steps == 8
    assert same(resumed.state_dict(), whole.state_dict())


def test_a_finished_run_is_not_trained_again(run: Run) -> None:
    first, _ = run(folder="a")
    second, fitted = run(folder="a", stop_after=1)
    assert fitted is not None
    assert same(first.state_dict(), second.state_dict())


def test_the_second_stage_leaves_the_frozen_networks_as_they_were(run: Run) -> None:
    first, _ = run(steps=6, schedule="two_stage", unimodal_steps=1)
    longer, _ = run(steps=6, schedule="two_stage", unimodal_steps=9)
    frozen = [key for key in first.state_dict() if key.split("_")[0] in ("joint",) or "decoder" in key]
    assert any("running_var" in key for key in frozen)
    assert same({key: first.state_dict()[key] for key in frozen}, {key: longer.state_dict()[key] for key in frozen})
    assert not same(first.state_dict(), longer.state_dict())


def test_seeds_decide(run: Run) -> None:
    again = [run(steps=6, seed=seed)[0].state_dict() for seed in (0, 0, 1)]
    assert same(again[0], again[1])
    assert not same(again[0], again[2])


def test_the_log_forgets_what_will_be_done_again(run: Run, tmp_path: Path) -> None:
    run(folder="whole")
    run(folder="parts", stop_after=7)
    log = tmp_path / "parts" / "log.jsonl"
    later = {"event": "validation", "stage": "fit", "step": 15, "elbo": 0.0, "parts": {}}
    log.write_text(log.read_text() + json.dumps(later) + '\n{"event": "tra')
    run(folder="parts")
    assert log.read_text() == (tmp_path / "whole" / "log.jsonl").read_text()
