"""What ``mmvae-bench status`` says of trials that run, that wait, and that are held back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.cli import main
from mmvae_bench.runs.lock import Drivers, TrialLock
from mmvae_bench.runs.names import HELD_FILE

from .support import StubRun

Captured = pytest.CaptureFixture[str]


def shown(stub: StubRun, capsys: Captured) -> tuple[str, dict[int, dict[str, Any]]]:
    """What is printed, and by seed what a program is told."""
    capsys.readouterr()
    assert main(["status", str(stub.out)]) == 0
    text = capsys.readouterr().out
    assert main(["status", str(stub.out), "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    return text, {trial["spec"]["seed"]: trial for trial in trials}


def test_a_running_trial_has_its_machine_and_the_age_of_its_heartbeat(stub: StubRun, capsys: Captured) -> None:
    stub.store()
    folders, now = stub.folders(), time.time()
    status = {"state": "running", "host": "node\n17", "pid": 1, "attempts": 1, "step": 4, "steps": 10}
    for seed, updated in ((0, now - 300), (1, now + 300), (2, now - 300)):
        write_json(folders[seed] / "status.json", status | {"updated": updated})
    with TrialLock(folders[0]), TrialLock(folders[1]):
        text, trials = shown(stub, capsys)
    assert "\n    on node\\x0a17, last heartbeat 5 min ago\n" in text
    assert "\n    on node\\x0a17, last heartbeat 0.0 s ago\n" in text, "a clock that is ahead"
    assert text.count(" on node") == 2, "the third one's process is gone"
    assert (trials[0]["host"], trials[0]["updated"]) == ("node\\x0a17", now - 300)
    assert not {"host", "updated"} & trials[2].keys()


def test_what_an_earlier_process_has_said_is_not_taken_for_a_heartbeat(stub: StubRun, capsys: Captured) -> None:
    stub.store()
    folder = stub.folders()[0]
    status = {"state": "interrupted", "host": "node17", "attempts": 1, "updated": 1.0, "error": "stopped"}
    write_json(folder / "status.json", status)
    with TrialLock(folder):
        text, trials = shown(stub, capsys)
    assert trials[0]["status"] == "running"
    assert "node17" not in text + json.dumps(trials)


def test_trials_that_are_held_back_have_the_reason(stub: StubRun, capsys: Captured) -> None:
    stub.seeds = range(4)
    stub.behaviours = {"attempts": {str(seed): ["bug 7"] for seed in range(4)}}
    stub.drive(workers=1)
    text, trials = shown(stub, capsys)
    reason = (
        "two of its trials ended with the same error\nZeroDivisionError: division by zero\nat objective.py:7 in terms"
    )
    assert [trials[seed].get("reason") for seed in range(4)] == [None, None, *[f"held back: {reason}"] * 2]
    assert [trials[seed]["status"] for seed in range(4)] == ["failed", "failed", "pending", "pending"]
    assert text.count("\n    held back: two of its trials ended with the same error\n    ZeroDivisionError: ") == 2
    # The next driver finds out for itself; one that joins another leaves it.
    with Drivers(stub.out) as first, Drivers(stub.out) as second:
        for drivers, left in ((first, False), (second, True)):
            (stub.out / HELD_FILE).write_text('{"reason": ["key"]}')
            stub.store(drivers)
            assert (stub.out / HELD_FILE).exists() == left


def test_a_trial_that_was_killed_for_memory_and_one_that_was_stopped(stub: StubRun, capsys: Captured) -> None:
    stub.drive()
    folders = stub.folders()
    for seed in (0, 1):
        (folders[seed] / "result.json").unlink()
    write_json(folders[0] / "status.json", {"state": "pending", "error": "killed by SIGKILL", "attempts": 1})
    write_json(folders[1] / "status.json", {"state": "interrupted", "error": "stopped during the evaluation"})
    write_json(folders[2] / "evaluation.json", {"num_samples": 3})
    text, trials = shown(stub, capsys)
    assert [trials[seed]["reason"] for seed in range(3)] == [
        "to be retried once, alone, after all others: killed by SIGKILL",
        "stopped during the evaluation",
        "trained, and to be evaluated with other settings than its result was",
    ]
    assert all(f"\n    {trials[seed]['reason']}\n" in text for seed in range(3))


@pytest.mark.parametrize("content", ["[0", '{"a": 1}', '{"a": [1]}', '["a"]'])
def test_a_damaged_list_of_reasons_is_none(content: str, stub: StubRun, capsys: Captured) -> None:
    stub.store()
    (stub.out / HELD_FILE).write_text(content)
    _, trials = shown(stub, capsys)
    assert not any("reason" in trial for trial in trials.values())
