"""Trials trained together end as each would on its own, each in its own folder."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import mmvae_bench as mb
import mmvae_bench.trial as module
from mmvae_bench.base.canonical import canonical_json
from mmvae_bench.base.files import write_json, write_text
from mmvae_bench.base.processes import FAILED, LOCK_HELD
from mmvae_bench.cli import main
from mmvae_bench.objectives.base import Objective
from mmvae_bench.runs.folder import read_result
from mmvae_bench.runs.lock import TrialLock
from mmvae_bench.runs.status import StatusWriter, begin, read_status
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.together import QUIET_SECONDS, Mate, run_together
from mmvae_bench.training.fit import TrainingInterrupted
from mmvae_bench.trial import TrialResult

from ..test_trial import SPEC


def mates(root: Path, *seeds: int, **changes: Any) -> list[Mate]:
    """Trials of some seeds in the folders that a driver would have made."""
    found = []
    for seed in seeds:
        spec = TrialSpec.parse({**SPEC, "seed": seed, **changes})
        directory = root / "trials" / spec.key
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / "spec.json", canonical_json(spec.canonical()))
        write_json(directory / "evaluation.json", spec.evaluation.canonical())
        found.append(Mate(spec, directory))
    return found


def run(found: list[Mate]) -> dict[int, TrialResult | BaseException]:
    """How each has ended, by its seed."""
    ended: dict[int, TrialResult | BaseException] = {}
    run_together(found, ended=lambda mate, what: ended.update({mate.spec.seed: what}))
    return ended


def command(found: list[Mate], *attempts: int) -> list[str]:
    words = ["train-together"]
    for attempt, mate in zip(attempts or (1,) * len(found), found, strict=True):
        words += ["--out", f"{attempt}:{mate.directory}"]
    return words


def _named(score: dict[str, Any]) -> dict[str, Any]:
    """What a score is of, without its numbers."""
    numbers = ("value", "ci_low", "ci_high", "share", "share_low", "share_high", "per_query")
    return {name: value for name, value in score.items() if name not in numbers}


def test_the_results_are_those_of_the_trials_alone(tmp_path: Path) -> None:
    ended = run(mates(tmp_path / "a", 0, 1))
    for seed in (0, 1):
        result = ended[seed]
        assert isinstance(result, TrialResult)
        single = mb.run_trial(TrialSpec.parse({**SPEC, "seed": seed}), out=tmp_path / "b")
        assert [_named(score) for score in result.scores] == [_named(score) for score in single.scores]
        for found, expected in zip(result.scores, single.scores, strict=True):
            if expected["value"] is not None:
                assert found["value"] == pytest.approx(expected["value"], rel=1e-4, abs=0.02)
            # Seeds together round in another way, so that an ELBO may differ in its last digit, as the machine has it.
            assert (found["per_query"] is None) == (expected["per_query"] is None)
            if expected["per_query"] is not None:
                assert found["per_query"] == pytest.approx(expected["per_query"], rel=1e-4, abs=0.02, nan_ok=True)
        assert result.result["provenance"]["together"] == 2
        assert "together" not in single.result["provenance"]
        assert result.result["training"]["steps"] == 12
        assert result.result["seeds"] == single.result["seeds"]
        status = read_status(result.directory)
        assert (status.state, status.attempts, status.step) == ("done", 1, 12)
    assert ended[0].result["scores"] != ended[1].result["scores"]  # type: ignore[union-attr]


def test_a_loss_that_cannot_be_mapped_is_trained_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(mates(tmp_path, 0, 1, objective="meme"))
    assert "trained one after the other from here on: the loss cannot be mapped" in capsys.readouterr().err
    for what in ended.values():
        assert isinstance(what, TrialResult)
        assert "together" not in what.result["provenance"]
        assert read_status(what.directory).attempts == 1


def test_a_stop_saves_all_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, sent = Objective.seed_step, False

    def stopped(self: Objective) -> None:
        nonlocal sent
        if self.step_done == 4 and not sent:
            sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        step(self)

    monkeypatch.setattr(Objective, "seed_step", stopped)
    found = mates(tmp_path, 0, 1)
    with pytest.raises(TrainingInterrupted):
        run(found)
    for mate in found:
        status = read_status(mate.directory)
        assert (status.state, status.saved, status.step, status.attempts) == ("interrupted", 5, 5, 1)
    monkeypatch.setattr(Objective, "seed_step", step)
    for what in run(mates(tmp_path, 0, 1)).values():
        assert isinstance(what, TrialResult)
        segments = what.result["provenance"]["segments"]
        assert [(each["from"], each["to"], each["together"]) for each in segments] == [(0, 5, 2), (5, 12, 2)]
        assert read_status(what.directory).attempts == 2


def test_a_run_that_trains_seeds_together(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two seeds in a process of their own, and a trial that differs in more, beside them."""
    shared = {f"{name}s": [SPEC[name]] for name in ("dataset", "backbone")}
    other = {**shared, "objectives": ["jmvae"], "training": SPEC["training"], "seeds": [0]}
    plain = {"name": "t", **other, "objectives": ["telbo"], "seeds": [0, 1], "evaluation": SPEC["evaluation"]}
    grid, out = tmp_path / "t.yaml", tmp_path / "run"
    grid.write_text(json.dumps({**plain, "include": [other]}))
    words = ["run", "--grid", str(grid), "--out", str(out), "--together", "3", "--workers", "1", "--no-rehearsal"]
    assert main(words) == 0
    assert "3 of 3 trials done" in capfd.readouterr().out
    found = {}
    for path in out.glob("trials/*/result.json"):
        result = read_result(path)
        found[result["spec"]["objective"]["name"], result["spec"]["seed"]] = result["provenance"].get("together")
    assert found == {("telbo", 0): 2, ("telbo", 1): 2, ("jmvae", 0): None}
    assert main(["verify", str(out)]) == 0


def test_a_stop_between_two_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the first of them no longer looks."""

    def drawn(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(module, "write_latent_plane", drawn)
    found = mates(tmp_path, 0, 1)
    with pytest.raises(TrainingInterrupted):
        run(found)
    assert [read_status(mate.directory).state for mate in found] == ["done", "interrupted"]


def test_who_has_ended_still_shows_that_the_process_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver would take it to hang, and end the others with it."""
    (mate,) = mates(tmp_path, 0)
    mate.report = StatusWriter(mate.directory, begin(mate.directory, steps=12))
    path = mate.directory / "status.json"
    said, before = path.read_text(), path.stat().st_mtime_ns
    mate.ended = True
    mate.report.written = time.monotonic()
    mate.beat()
    assert path.stat().st_mtime_ns == before
    os.utime(path, ns=(0, 0))
    mate.report.written -= QUIET_SECONDS
    mate.beat()
    assert path.stat().st_mtime_ns > 0
    assert path.read_text() == said
    mate.ended = False
    mate.report.written -= QUIET_SECONDS
    mate.beat()
    assert path.read_text() != said


def test_a_folder_that_cannot_be_used_is_one_trials_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = mates(tmp_path, 0, 1, 2)
    (found[1].directory / "last.ckpt").symlink_to(tmp_path / "elsewhere")
    assert main(command(found)) == FAILED
    assert "last.ckpt" in capsys.readouterr().err
    assert [(mate.directory / "result.json").exists() for mate in found] == [True, False, True]
    assert read_result(found[2].directory / "result.json")["provenance"]["together"] == 2
    assert "last.ckpt" in (found[1].directory / "output.log").read_text()
    assert f"in one process with {found[0].spec.key}" in (found[2].directory / "output.log").read_text()


def test_one_that_another_process_works_on_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = mates(tmp_path, 0, 1)
    with TrialLock(found[0].directory):
        assert main(command(found)) == 0
        assert str(found[0].directory) in capsys.readouterr().err
        assert [(mate.directory / "result.json").exists() for mate in found] == [False, True]
        assert main(command(found[:1])) == LOCK_HELD
    # As one that has been worked on since the driver looked.
    assert main(command(found[:1], 5)) == LOCK_HELD
    assert not (found[0].directory / "result.json").exists()
