"""A trial from spec to result, and what happens where its folder is not what it should be."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mmvae_bench as mb
import mmvae_bench.trial as trial_module
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.base.processes import LOCK_HELD
from mmvae_bench.cli import main
from mmvae_bench.runs.checksums import write_checksums
from mmvae_bench.runs.folder import TrialFolder, read_trial
from mmvae_bench.runs.lock import LockHeld, TrialLock
from mmvae_bench.runs.stale import StaleTrial
from mmvae_bench.runs.status import Status, StatusWriter, begin, read_status, write_status
from mmvae_bench.runs.verify import verify
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.checkpoint import Checkpoint, CheckpointError
from mmvae_bench.training.fit import TrainingInterrupted
from mmvae_bench.trial import TrialResult, evaluate_trial, interrupt, run_locked

SPEC = {
    "dataset": {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3},
    "backbone": {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3},
    "objective": "telbo",
    "training": {"steps": 12, "batch_size": 32, "validations": 4},
    "evaluation": {
        "num_samples": 10,
        "query_repeats": 1,
        "num_resamples": 50,
        "protocols": ["paper"],
        "levels": [4, 2],
        "classifier": {"name": "conv_thin", "steps": 5},
    },
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> TrialResult:
    """A finished trial; the tests that spoil it put it right again."""
    return mb.run_trial(TrialSpec.parse(SPEC), out=tmp_path_factory.mktemp("run"))


def run_again(directory: Path) -> TrialResult:
    """As ``train --out FOLDER`` does, without writing the spec or the evaluation."""
    with TrialLock(directory):
        return run_locked(read_trial(directory), directory)


def test_the_folder_and_the_result(done: TrialResult) -> None:
    spec = TrialSpec.parse(SPEC)
    assert done.directory.name == spec.key
    result = json.loads((done.directory / "result.json").read_text())
    assert result == done.result
    assert (result["key"], result["spec"], result["evaluation"]) == (
        spec.key,
        spec.canonical(),
        spec.evaluation.canonical(),
    )
    assert result["training"]["steps"] == 12
    assert result["provenance"]["device"] == result["evaluated_on"]["device"]
    found = {(score["metric"], score["level"]) for score in result["scores"]}
    assert {("correctness", 4), ("coverage", 2), ("elbo", None), ("classifier_accuracy", None)} <= found
    assert (done.directory / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_is_shown_in_one_line(done: TrialResult) -> None:
    shown = repr(done)
    assert len(shown) < 300
    assert "\n" not in shown
    for part in (done.directory.name, "telbo mnist_a/digits/iid seed 0", f"{len(done.scores)} scores", " s"):
        assert part in shown
    assert repr(TrialResult(Path("x"), {"scores": []})) == "TrialResult(None ?: 0 scores; x)"


def test_a_model_takes_a_concept_as_a_dict(done: TrialResult) -> None:
    model = mb.load(done.directory)

    def ask(concept: Any) -> torch.Tensor:
        return model.imagine(concept, num_samples=2, generator=torch.Generator().manual_seed(0))

    text = ask("digit=6, scale=small")
    assert torch.equal(ask({"digit": 6, "scale": "small"}), text)
    assert not torch.equal(ask({}), text)
    with pytest.raises(ConfigError, match=r"unknown value of scale 'smal'\n.*\n  nearest: small"):
        ask({"scale": "smal"})
    with pytest.raises(ConfigError, match=r"a text such as 'digit=9', as a dict .* or as an integer tensor .*got list"):
        ask([6, -1, -1, -1])


def test_the_model_can_be_asked(done: TrialResult) -> None:
    model = mb.load(done.directory)
    concept = model.schema.parse("digit=6, scale=small")
    images = model.imagine(concept, num_samples=3, mean=False, generator=torch.Generator().manual_seed(0))
    assert images.shape == (3, 1, 16, 16)
    again = mb.load(done.directory).imagine(concept, num_samples=3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(images, again)


def test_running_again_does_nothing(done: TrialResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.directory.iterdir() if path.name != "lock"}
    assert run_again(done.directory).result == done.result
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_train_reads_its_spec_once(done: TrialResult, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    parse = TrialSpec.parse.__func__  # type: ignore[attr-defined]

    def counted(cls: type[TrialSpec], value: object, **options: Any) -> Any:
        read.append(value)
        return parse(cls, value, **options)

    monkeypatch.setattr(TrialSpec, "parse", classmethod(counted))
    assert main(["train", "--out", str(done.directory)]) == 0
    assert len(read) == 1


def test_train_gives_way_to_a_process_that_holds_the_lock(
    done: TrialResult, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrialLock(done.directory):
        assert main(["train", "--out", str(done.directory)]) == LOCK_HELD
    assert str(done.directory) in capsys.readouterr().err


def test_evaluating_again_leaves_the_weights_and_gives_the_same_scores(done: TrialResult) -> None:
    weights = (done.directory / "last.ckpt").read_bytes()
    result = done.directory / "result.json"
    before = result.stat().st_mtime_ns
    again = evaluate_trial(done.directory)
    assert (done.directory / "last.ckpt").read_bytes() == weights
    assert again.scores == done.scores
    assert again.result["provenance"] == done.result["provenance"]
    assert result.stat().st_mtime_ns > before
    assert json.loads(result.read_text()) == again.result


def test_another_evaluation_is_answered_by_the_same_weights(done: TrialResult) -> None:
    evaluation = done.directory / "evaluation.json"
    whole = evaluation.read_text()
    weights = (done.directory / "last.ckpt").read_bytes()
    try:
        evaluation.write_text(whole.replace('"paper"', '"paper", "official"'))
        both = evaluate_trial(done.directory)
        assert (done.directory / "last.ckpt").read_bytes() == weights
        assert [score for score in both.scores if score["protocol"] != "official"] == done.scores
        assert {score["protocol"] for score in both.scores} == {"paper", "official", None}
        alone = evaluate_trial(done.directory, protocol="official")
        assert alone.scores == [score for score in both.scores if score["protocol"] == "official"]
    finally:
        evaluation.write_text(whole)
    assert mb.run_trial(TrialSpec.parse(SPEC), out=done.directory.parents[1]).scores == done.scores


@pytest.mark.parametrize("protocol", ["paper", "official", "cremer"])
def test_one_protocol_alone_leaves_the_folder_as_it_is(protocol: str, done: TrialResult) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in done.directory.iterdir()}
    alone = evaluate_trial(done.directory, protocol=protocol)
    assert {score["protocol"] for score in alone.scores} == {protocol}
    if protocol == "paper":
        assert alone.scores == [score for score in done.scores if score["protocol"] == "paper"]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in done.directory.iterdir()} == before


@pytest.mark.parametrize("text", ["", "[]", '{"evaluation": {}, "sco', None], ids=["empty", "list", "cut", "half"])
def test_a_damaged_result_is_made_again(text: str | None, done: TrialResult) -> None:
    path = done.directory / "result.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2] if text is None else text)
    assert run_again(done.directory).scores == done.scores


def test_a_changed_digit_is_evaluated_again(done: TrialResult, capsys: pytest.CaptureFixture[str]) -> None:
    path, weights = done.directory / "result.json", (done.directory / "last.ckpt").read_bytes()
    before = path.read_text()
    at = before.rindex('"value": ') + len('"value": ')
    path.write_text(before[:at] + ("1" if before[at] != "1" else "2") + before[at + 1 :])
    assert not verify(done.directory.parents[1]).whole
    assert run_again(done.directory).scores == done.scores
    assert "result.json is damaged: its content is not what was written (sha256): it is made again" in (
        capsys.readouterr().err
    )
    assert (done.directory / "last.ckpt").read_bytes() == weights
    assert verify(done.directory.parents[1]).whole


def test_damaged_weights_are_trained_again(done: TrialResult, capsys: pytest.CaptureFixture[str]) -> None:
    path = done.directory / "last.ckpt"
    content = path.read_bytes()
    weights = torch.load(path, weights_only=True)["weights"]
    path.write_bytes(content[: len(content) // 2])
    assert run_again(done.directory).scores == done.scores
    assert "last.ckpt is damaged (" in (said := capsys.readouterr().err)
    assert said.endswith("it is kept as last.ckpt.damaged, and the trial is trained from its start\n")
    again = torch.load(path, weights_only=True)["weights"]
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    (done.directory / "last.ckpt.damaged").unlink()
    assert verify(done.directory.parents[1]).whole


def test_a_retraining_that_is_stopped_leaves_a_sound_trial(done: TrialResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of the damaged weights, and their checksums, would make the new weights look damaged too."""
    weights = done.directory / "last.ckpt"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])

    def stopped(*_: object, **__: object) -> None:
        weights.write_bytes(whole)
        raise TrainingInterrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("mmvae_bench.trial.fit", stopped)
        with pytest.raises(TrainingInterrupted):
            run_again(done.directory)
    assert not (done.directory / "result.json").exists()
    found = verify(done.directory.parents[1])
    assert found.whole
    assert [trial.state for trial in found.trials] == ["interrupted"]
    (done.directory / "last.ckpt.damaged").unlink()
    assert run_again(done.directory).scores == done.scores


def test_who_loses_the_trial_to_another_process_stops_and_leaves_its_files(
    tmp_path: Path, done: TrialResult, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "trials" / done.directory.name
    directory.mkdir(parents=True)
    for name in ("spec.json", "evaluation.json"):
        (directory / name).write_text((done.directory / name).read_text())
    held: list[int] = []
    kept: dict[str, bytes] = {}

    def taken_over(record: dict[str, Any]) -> None:
        """Another process has locked the folder, and works in it."""
        if not held:
            (directory / "lock").unlink()
            held.append(os.open(directory / "lock", os.O_RDWR | os.O_CREAT))
            fcntl.flock(held[0], fcntl.LOCK_EX)
            write_status(directory, Status(state="running", pid=1))
            kept.update({path.name: path.read_bytes() for path in directory.iterdir()})

    with TrialLock(directory, wait=0.0), pytest.raises(LockHeld, match="another process has taken the trial over"):
        run_locked(read_trial(directory), directory, record=taken_over)
    os.close(held[0])
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == kept


def test_a_spec_that_was_changed_is_refused(done: TrialResult) -> None:
    path = done.directory / "spec.json"
    whole = path.read_text()
    try:
        path.write_text(whole.replace('"steps":12', '"steps":13'))
        with pytest.raises(ConfigError, match=r"result\.json belongs to trial .* restore the spec"):
            run_again(done.directory)
    finally:
        path.write_text(whole)


def test_a_trial_of_other_code_is_left_alone_until_told(done: TrialResult, tmp_path: Path) -> None:
    """In Python as on the command line; the other two answers are to take it, and to train it again."""
    out = tmp_path / "run"
    folder = shutil.copytree(done.directory, out / "trials" / done.directory.name)
    segments = done.result["provenance"]["segments"]
    assert [(segment["from"], segment["to"]) for segment in segments] == [(0, 12)]
    assert {name: segments[0][name] for name in ("commit", "device", "torch")} == {
        name: done.result["provenance"][name] for name in ("commit", "device", "torch")
    }
    text = (folder / "result.json").read_text()
    made = segments[0]["code"]["objective"]["files"]["mmvae_bench/objectives/telbo.py"]
    (folder / "result.json").write_text(text.replace(made, "00000000", 1))
    write_checksums(folder, result=(folder / "result.json").read_bytes())
    before = {path: path.read_bytes() for path in folder.iterdir()}
    spec = TrialSpec.parse(SPEC)
    with pytest.raises(StaleTrial, match=r"objective 'telbo': mmvae_bench/objectives/telbo\.py has changed"):
        mb.run_trial(spec, out=out)
    assert main(["train", "--out", str(folder)]) == 2
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert mb.run_trial(spec, out=out, stale="keep").scores == done.scores
    assert main(["train", "--out", str(folder), "--keep"]) == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    again = mb.run_trial(spec, out=out, stale="retrain")
    assert again.scores == done.scores
    assert again.result["provenance"]["segments"][0]["code"] == segments[0]["code"]
    attempts = [
        json.loads(text)["attempts"] for text in (before[folder / "status.json"], (folder / "status.json").read_text())
    ]
    assert attempts[1] == attempts[0] + 1


def test_what_is_no_trial_or_not_trained(tmp_path: Path, done: TrialResult) -> None:
    with pytest.raises(ConfigError, match=r"is not a trial folder: it has no spec\.json"):
        mb.load(tmp_path)
    (tmp_path / "spec.json").write_text((done.directory / "spec.json").read_text())
    with pytest.raises(CheckpointError, match="has not been trained yet"):
        mb.load(tmp_path)
    (tmp_path / "spec.json").write_text('{"version": 0}')
    with pytest.raises(ConfigError, match="was made under spec version 0, this is version 1"):
        mb.load(tmp_path)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(ConfigError, match=r"spec\.json is damaged"):
        mb.load(tmp_path)


def test_a_failed_trial_says_why(tmp_path: Path) -> None:
    spec = TrialSpec.parse(SPEC | {"training": {"steps": 300, "learning_rate": 1e6, "batch_size": 32}})
    with pytest.raises(Exception, match="not finite"):
        mb.run_trial(spec, out=tmp_path)
    directory = tmp_path / "trials" / spec.key
    status = json.loads((directory / "status.json").read_text())
    assert (status["state"], status["error_type"]) == ("failed", "NonFiniteLossError")
    assert "stage 'fit'" in status["error"]
    assert "NonFiniteLossError" in Path(status["log"]).read_text()
    assert not (directory / "result.json").exists()


def test_a_failed_trial_says_how_far_it_had_come(tmp_path: Path) -> None:
    """However soon after the last status it fails (one is written each second at most); step 20 is not counted yet."""
    spec = TrialSpec.parse(SPEC | {"training": {"steps": 60, "batch_size": 32}})
    directory = tmp_path / spec.key
    directory.mkdir()

    def broken(record: dict[str, Any]) -> None:
        if record["step"] == 20:
            raise ArithmeticError("at step 20")

    with TrialLock(directory), pytest.raises(ArithmeticError):
        run_locked(spec, directory, record=broken)
    status = json.loads((directory / "status.json").read_text())
    assert (status["state"], status["phase"], status["step"], status["steps"]) == ("failed", "train", 19, 60)


def test_a_beat_loses_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring a curve, say, beats too: what training has said since the last write is written then."""
    with TrialLock(tmp_path):
        writer = StatusWriter(tmp_path, begin(tmp_path, steps=0))
        writer.training("fit", 1, 60, 0.0)
        writer.training("fit", 19, 60, 0.0)
        assert read_status(tmp_path).step == 1
        monkeypatch.setattr("mmvae_bench.runs.status.STATUS_SECONDS", 0.0)
        writer.beat()
        assert read_status(tmp_path).step == 19


def test_the_steps_of_an_interrupted_trial_are_those_of_its_checkpoint(tmp_path: Path) -> None:
    spec = TrialSpec.parse(SPEC | {"training": {"steps": 60, "batch_size": 32, "validations": 4}})
    directory = tmp_path / spec.key
    directory.mkdir()

    def stop(record: dict[str, Any]) -> None:
        if record["step"] == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    with TrialLock(directory), pytest.raises(TrainingInterrupted):
        run_locked(spec, directory, record=stop)
    step = Checkpoint.load(directory / "last.ckpt", key=spec.key).step
    status = json.loads((directory / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"], status["stage"]) == ("interrupted", step, 60, "fit")
    assert step == 20
    # A process that is killed later has made steps that nobody saved; one that is killed at its start has lost none.
    for state, attempted in ((replace(read_status(directory), state="running", step=33), 33), (None, 0)):
        if state is None:
            begin(directory, steps=0)
        else:
            write_status(directory, state)
        assert read_status(directory).step == attempted
        found = TrialFolder(directory).status(None)
        assert (found.state, found.step) == ("interrupted", step)


def test_a_result_names_its_origin(done: TrialResult) -> None:
    result = done.result
    origin = result["provenance"]
    assert {"package", "commit", "dirty", "torch", "device", "precision", "deterministic"} <= set(origin)
    assert origin["threads"] == 1
    assert result["dataset"]["fingerprint"]
    assert result["classifier"]["fingerprint"]
    assert result["seeds"] == {"training": 0, "split": 42, "evaluation": 0}
    assert result["training"]["wall_seconds"] > 0
    assert result["evaluated_on"]["wall_seconds"] > 0


def test_a_failure_in_an_objectives_own_code_is_recorded_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmvae_bench.objectives.telbo import TELBO

    def wrong(self: TELBO, batch: object) -> object:
        return batch.nothing  # type: ignore[attr-defined]

    spec = TrialSpec.parse(SPEC)
    # The file of the class counts, and this function is written elsewhere.
    monkeypatch.setattr(TELBO, "terms", wrong)
    monkeypatch.setattr(TELBO, "__module__", __name__)
    with pytest.raises(AttributeError):
        mb.run_trial(spec, out=tmp_path)
    status = read_status(tmp_path / "trials" / spec.key)
    assert status.where == f"{__file__}:{wrong.__code__.co_firstlineno + 1} in wrong"


def test_what_is_said_of_a_trial_whose_folder_was_moved_makes_no_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run" / "trials" / "key"
    folder.mkdir(parents=True)
    with TrialLock(folder):
        status = begin(folder, steps=3)
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(LockHeld, match="cannot be made again"):
            interrupt(folder, status, "asked to stop")
        monkeypatch.setattr(trial_module, "ready_data", lambda *_: 1 / 0)
        with pytest.raises(LockHeld, match="cannot be made again"):
            run_locked(TrialSpec.parse(SPEC), folder, begun=status)
    assert not (tmp_path / "run").exists()
