"""A finished trial that cannot be evaluated again keeps its result."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mmvae_bench as mb
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.files import write_text
from mmvae_bench.cli import main
from mmvae_bench.evaluation.questions.three_cs import ThreeCs
from mmvae_bench.runs.checksums import write_checksums
from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.runs.previous import record_failure
from mmvae_bench.runs.status import read_status, write_status
from mmvae_bench.runs.store import RunStore, open_store, overview
from mmvae_bench.runs.verify import verify
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.driver import Driver, Outcome
from mmvae_bench.sweep.events import Event, Observer
from mmvae_bench.sweep.executor import Ended, Job
from mmvae_bench.sweep.outcome import settle
from mmvae_bench.sweep.schedule import trials_of
from mmvae_bench.trial import TrialResult, evaluate_trial

SPEC: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "objective": "jmvae",
    "training": {"steps": 5, "batch_size": 32, "validations": 1},
    "evaluation": {
        "num_samples": 10, "query_repeats": 1, "num_resamples": 50, "protocols": ["paper"], "levels": [4],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}  # fmt: skip
OTHER = SPEC | {"evaluation": SPEC["evaluation"] | {"protocols": ["paper", "official"]}}
RESULTS = ("result.json", "checksums.json", "last.ckpt", "samples.png", "evaluation.json")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """A finished trial."""
    return mb.run_trial(TrialSpec.parse(SPEC), out=tmp_path_factory.mktemp("run"))


@pytest.fixture
def folder(done: TrialResult, tmp_path: Path) -> Path:
    """A copy of it, in a run of its own."""
    copy = tmp_path / "run" / "trials" / done.directory.name
    shutil.copytree(done.directory, copy)
    return copy


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes a metric raise; called again, it does not any more."""

    def wrong(*_: object) -> None:
        raise ArithmeticError("a metric of mine")

    right = ThreeCs.ask
    monkeypatch.setattr(ThreeCs, "ask", wrong)
    return lambda: monkeypatch.setattr(ThreeCs, "ask", right)


def contents(folder: Path) -> dict[str, Any]:
    files = {name: (folder / name).read_bytes() for name in RESULTS}
    return files | {"evaluation.json": json.loads(files["evaluation.json"])}


def is_sound(folder: Path, before: dict[str, Any]) -> None:
    """It is done, with the files that it had."""
    assert contents(folder) == before
    found = verify(folder.parents[1])
    assert found.whole, found
    assert [trial.state for trial in found.trials] == ["done"]
    (trial,) = overview(folder.parents[1])
    assert (trial.state, trial.to_json()["error"]) == ("done", "ArithmeticError: a metric of mine")


def test_other_settings_that_fail_leave_the_result(folder: Path, raising: Callable[[], None]) -> None:
    before, out = contents(folder), folder.parents[1]
    with pytest.raises(ArithmeticError):
        mb.run_trial(TrialSpec.parse(OTHER), out=out)
    is_sound(folder, before)
    # For whoever asks for the other settings it has yet to be evaluated.
    assert TrialFolder(folder).status(TrialSpec.parse(OTHER).evaluation.canonical()).state == "pending"
    raising()
    weights = (folder / "last.ckpt").stat().st_mtime_ns
    again = mb.run_trial(TrialSpec.parse(OTHER), out=out)
    assert (folder / "last.ckpt").stat().st_mtime_ns == weights
    assert {score["protocol"] for score in again.scores} == {"paper", "official", None}
    assert read_status(folder).error is None


@pytest.mark.parametrize("how", ["full", "killed"])
def test_what_stops_between_the_checksums_and_the_result_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The checksums of the new result are small and may still fit; the old result is then told by its own."""
    before, out = contents(folder), folder.parents[1]

    class Killed(BaseException):
        """No handler of ours."""

    def stops(path: Path, text: str) -> None:
        if path.name != "result.json":
            return write_text(path, text)
        assert (folder / "checksums.json").read_bytes() != before["checksums.json"]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if how == "full" else Killed

    monkeypatch.setattr("mmvae_bench.trial.write_text", stops)
    with pytest.raises((OSError, Killed)):
        mb.run_trial(TrialSpec.parse(OTHER), out=out)
    if how == "killed":
        record_failure(folder, replace(read_status(folder), state="failed", error="killed"))
    assert contents(folder) == before
    assert verify(out).whole
    assert [trial.state for trial in verify(out).trials] == ["done"]
    assert not list(folder.glob("*.previous"))


def test_another_driver_may_join_where_a_trial_has_survived(folder: Path, raising: Callable[[], None]) -> None:
    out, spec = folder.parents[1], TrialSpec.parse(OTHER)
    with pytest.raises(ArithmeticError):
        mb.run_trial(spec, out=out)
    store = open_store(out)
    store._check_evaluations([(folder.name, spec.evaluation.canonical())])
    write_status(folder, replace(read_status(folder), error=None))
    with pytest.raises(ConfigError, match="other evaluation settings"):
        store._check_evaluations([(folder.name, spec.evaluation.canonical())])


def test_why_a_survived_trial_is_pending(folder: Path, raising: Callable[[], None]) -> None:
    out, spec = folder.parents[1], TrialSpec.parse(OTHER)
    with pytest.raises(ArithmeticError):
        mb.run_trial(spec, out=out)
    TrialFolder(folder).write_evaluation(spec.evaluation.canonical())  # As the next run does.
    (trial,) = overview(out)
    assert trial.state == "pending"
    assert (
        trial.reason == "could not be evaluated again, its previous result is kept: ArithmeticError: a metric of mine"
    )


def test_a_link_in_place_of_a_previous_result_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    (folder / "result.json").replace(elsewhere)
    (folder / "result.json.previous").symlink_to(elsewhere)
    failed = record_failure(folder, replace(read_status(folder), state="failed", error="wrong"))
    assert failed.state == read_status(folder).state == "failed"
    assert not (folder / "result.json").exists()


def test_evaluate_that_fails_leaves_the_result(folder: Path, raising: Callable[[], None]) -> None:
    before = contents(folder)
    with pytest.raises(ArithmeticError):
        main(["evaluate", str(folder)])
    assert contents(folder) == before
    assert verify(folder.parents[1]).whole
    with pytest.raises(ArithmeticError):
        mb.run_trial(TrialSpec.parse(OTHER), out=folder.parents[1])
    assert read_status(folder).error is not None
    raising()
    evaluate_trial(folder)
    assert read_status(folder).error is None


def stale_evaluation(folder: Path) -> None:
    """Makes the result one of another code of a question."""
    result = json.loads((folder / "result.json").read_text())
    code = result["evaluated_on"]["code"]
    name = next(part for part in code if part.startswith(("question", "evaluation")))
    code[name]["files"] = dict.fromkeys(code[name]["files"], "00000000")
    text = json.dumps(result) + "\n"
    write_checksums(folder, result=text.encode())
    (folder / "result.json").write_text(text)


def test_other_code_that_fails_leaves_the_result(folder: Path, raising: Callable[[], None]) -> None:
    stale_evaluation(folder)
    before, out, spec = contents(folder), folder.parents[1], TrialSpec.parse(SPEC)
    with pytest.raises(ArithmeticError):
        mb.run_trial(spec, out=out, stale="retrain")
    is_sound(folder, before)
    assert not list(folder.glob("*.previous"))
    raising()
    weights = (folder / "last.ckpt").stat().st_mtime_ns
    mb.run_trial(spec, out=out, stale="retrain")
    assert (folder / "last.ckpt").stat().st_mtime_ns == weights
    assert contents(folder)["result.json"] != before["result.json"]
    assert not list(folder.glob("*.previous"))


def test_a_picture_that_cannot_be_drawn_leaves_those_of_the_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)

    def wrong(*_: object, **__: object) -> None:
        raise ArithmeticError("a metric of mine")

    monkeypatch.setattr("mmvae_bench.trial.write_latent_plane", wrong)
    drawn = SPEC | {"evaluation": SPEC["evaluation"] | {"images": "mean"}}
    with pytest.raises(ArithmeticError):
        mb.run_trial(TrialSpec.parse(drawn), out=folder.parents[1])
    is_sound(folder, before)


@pytest.mark.parametrize("code", [1, -11])
def test_a_driver_counts_it_as_failed(folder: Path, code: int, raising: Callable[[], None]) -> None:
    """Whether its process has said why or not."""
    before = contents(folder)
    store = RunStore(folder.parents[1])
    (trial,) = trials_of([TrialSpec.parse(OTHER)], store)
    trial.attempts = read_status(folder).attempts
    trial.folder.write_evaluation(trial.evaluation)
    if code == 1:
        with pytest.raises(ArithmeticError):
            mb.run_trial(TrialSpec.parse(OTHER), out=folder.parents[1])
    status = settle(trial, Ended(trial.train_job(), code), asked=False, log_start=0)
    assert status is not None
    assert status.state == "failed"
    assert status.attempts == trial.attempts + 1
    assert ("a metric of mine" if code == 1 else "SIGSEGV") in f"{status.error_type}: {status.error}"
    assert contents(folder) == before
    assert verify(folder.parents[1]).whole


def test_settings_that_a_run_has_not_come_to_are_no_damage(folder: Path) -> None:
    """Its driver was stopped: the grid and the folder ask for what the result has not."""
    trial = TrialSpec.parse(OTHER).canonical()
    plural = {"dataset": "datasets", "backbone": "backbones", "objective": "objectives"}
    grid = {"name": "x", "training": trial["training"], "evaluation": OTHER["evaluation"]}
    grid |= {many: [trial[one]] for one, many in plural.items()}
    TrialFolder(folder).write_evaluation(TrialSpec.parse(OTHER).evaluation.canonical())
    assert not verify(folder.parents[1]).whole
    (folder.parents[1] / "grid.yaml").write_text(json.dumps(grid))
    found = verify(folder.parents[1])
    assert found.whole, found
    assert [(each.state, each.run) for each in found.trials] == [("pending", "evaluates the trained model again")]


class InThisProcess:
    """Runs each job at once, one at a time."""

    num_slots = num_free = 1

    def __init__(self) -> None:
        self.ended: list[Ended] = []

    def submit(self, job: Job) -> None:
        try:
            code = main(list(job.arguments))
        except ArithmeticError:
            code = 1
        self.ended.append(Ended(job, code))

    def wait(self, timeout: float) -> list[Ended]:
        ended, self.ended = self.ended, []
        return ended

    def terminate(self) -> None: ...

    def under_way(self) -> list[str]:
        return []


class Listening(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)


def test_a_run_says_so_and_evaluates_it_again_the_next_time(folder: Path, raising: Callable[[], None]) -> None:
    before, store = contents(folder), RunStore(folder.parents[1])

    def driven() -> tuple[Outcome, list[Event]]:
        trials, heard = trials_of([TrialSpec.parse(OTHER)], store), Listening()
        return Driver(store, trials, InThisProcess(), heard).run(), heard.events  # type: ignore[arg-type]

    outcome, events = driven()
    assert (outcome.exit_code, outcome.failed, outcome.done) == (1, 1, 0)
    (event,) = (event for event in events if event.event == "failed")
    assert event.message == "its previous result is kept"
    assert "a metric of mine" in (event.error or "")
    is_sound(folder, before)
    raising()
    outcome, _ = driven()
    assert (outcome.exit_code, outcome.failed, outcome.done) == (0, 0, 1)
    after = contents(folder)
    assert after["last.ckpt"] == before["last.ckpt"]
    assert after["result.json"] != before["result.json"]
