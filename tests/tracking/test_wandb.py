"""``train --wandb`` under the agent's environment contract, under the real agent, and on its own; without a network."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.specs.overrides import load_trial

from .support import PARAMETERS, REPOSITORY, Desk, as_json, train

SPEC = load_trial(agent=PARAMETERS)


def until(condition: Any) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a finished trial."""
    loaded: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["weights"]
    return loaded


@pytest.fixture(scope="module")
def plain(desk: Desk) -> Path:
    """The trial without tracking, in a process that cannot import wandb."""
    code = "import sys; sys.modules['wandb'] = None; from mmvae_bench.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "train", "--set-json", as_json(PARAMETERS), "--out", "plain"]
    done = desk.run(words)
    assert done.returncode == 0, done.stderr
    return desk.folder / "plain"


def test_a_killed_run_goes_on_under_its_id_and_tracking_changes_no_bit(desk: Desk, plain: Path) -> None:
    """The agent's parameters win over --set-json; the folder is named by sweep and key."""
    agent = desk.sweep(PARAMETERS)
    words = train("--wandb", "--set-json", as_json(PARAMETERS | {"objective.gamma": 7.0, "seed": 0}))
    folder = desk.folder / "runs" / "wandb-sweep1" / "trials" / SPEC.key
    process = desk.start(words, **agent)
    until(lambda: (folder / "status.json").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(1.1)  # Offline runs are named by the second in which they start.
    done = desk.run(words, **agent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{(folder / 'result.json').relative_to(desk.folder)}\n"
    killed, whole = desk.records("run1")
    # W&B's own process dies with ours, and may not have written so much as its header yet.
    assert killed.exit_code is None
    assert killed.run is None or killed.run.run_id == "run1"
    assert (whole.run.run_id, whole.run.sweep_id, whole.run.resume, whole.exit_code) == ("run1", "sweep1", True, 0)

    mine, theirs = weights(folder), weights(plain)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (folder / "log.jsonl").read_text() == (plain / "log.jsonl").read_text()
    assert (folder / "spec.json").read_text() == (plain / "spec.json").read_text()

    # The config is the whole resolved spec, and reads back as it.
    assert whole.config["objective.gamma"] == 2.0
    assert whole.config["training.learning_rate"] == SPEC.training.learning_rate
    settings = {key: value for key, value in whole.config.items() if not key.startswith("_")}
    again = load_trial(agent=settings)
    assert (again.key, again.evaluation) == (SPEC.key, SPEC.evaluation)

    # Everything in the log and in the result is there, by name and step.
    assert list(whole.logged("train/fit/loss")) == [10, 20, 30]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    elbos = {line["step"]: line["elbo"] for line in log if line["event"] == "validation"}
    assert whole.logged("validation/fit/elbo") == elbos
    assert list(whole.logged("curve/correctness/level_4")) == [15, 30]
    result = json.loads((folder / "result.json").read_text())
    (wanted,) = (s["value"] for s in result["scores"] if (s["metric"], s["partition"], s["level"], s["attribute"])
                 == ("correctness", "val", 4, None))  # fmt: skip
    assert whole.logged("val/paper/correctness/level_4") == {30: wanted}
    assert {Path(file).suffix for file in whole.files} >= {".png", ".json"}
    table = json.loads(next(desk.folder.glob("wandb/*-run1/files/media/table/scores*")).read_text())
    assert len(table["data"]) == len(result["scores"])
    assert "wandb: Tracking run" not in done.stdout


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param(
            {"objective.gama": 1.0},
            ["W&B config: objective.gama: unknown key 'gama' of telbo", "choices: name, ", "nearest: gamma"],
            id="unknown",
        ),
        pytest.param(
            {"training.steps": 0, "objective.name": "teblo"},
            ["W&B config: training.steps: input should be greater than 0", "given: 0",
             "W&B config: objective.name: unknown objective 'teblo'", "nearest: telbo"],
            id="out of range",
        ),
    ],
)  # fmt: skip
def test_bad_parameters_fail_the_run_and_write_nothing(
    desk: Desk, changed: dict[str, Any], words: list[str], request: pytest.FixtureRequest
) -> None:
    run_id = f"bad{len(changed)}"
    parameters = PARAMETERS | changed
    before = set(desk.folder.rglob("runs/**"))
    done = desk.run(train("--wandb", "--set-json", as_json(PARAMETERS)), **desk.sweep(parameters, run_id=run_id))
    assert done.returncode == 2
    assert not done.stdout
    assert "Traceback" not in done.stderr
    (recorded,) = desk.records(run_id)
    assert recorded.exit_code == 2
    for word in words:
        assert word in done.stderr
        assert word in recorded.summary["error"]
    assert set(desk.folder.rglob("runs/**")) == before


def test_without_an_agent_the_run_is_named_by_the_trial(desk: Desk, plain: Path) -> None:
    """No WANDB_MODE is set and no key is there: it is offline. A finished trial is told once more."""
    done = desk.run(train("--wandb", "--out", "plain"))
    assert done.returncode == 0, done.stderr
    (recorded,) = desk.records(SPEC.key)
    assert (recorded.run.run_id, recorded.run.project, recorded.run.resume) == (SPEC.key, "mmvae-bench", True)
    assert recorded.run.display_name == SPEC.label
    assert recorded.exit_code == 0
    assert recorded.logged("val/paper/correctness/level_4")
    assert recorded.summary["trial"] == SPEC.key


def test_what_is_wrong_on_the_command_line_starts_no_run(desk: Desk) -> None:
    before = set((desk.folder / "wandb").glob("*run-*"))
    done = desk.run(train("--wandb", "--set-json", as_json(PARAMETERS), "--set", "objective.name=teblo"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: objective.name: unknown objective 'teblo'")
    assert set((desk.folder / "wandb").glob("*run-*")) == before
    assert desk.run(train("--set", "objective=telbo")).stderr.startswith("error: --out FOLDER is missing")


def test_the_real_agent_runs_the_shipped_command(desk: Desk) -> None:
    """The file's command, as the agent's own code expands it; one good and one bad choice of the server."""
    program = desk.folder / "bin" / "mmvae-bench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmvae_bench "$@"\n')
    program.chmod(0o755)
    chosen = PARAMETERS | {"seed": 5}
    runs = json.dumps([["good", chosen], ["bad", chosen | {"dataset.canvas": 3}]])
    file = str(REPOSITORY / "configs" / "sweep_wandb.yaml")
    path = f"{program.parent}:{desk.environment['PATH']}"
    done = desk.run([sys.executable, "-m", "tests.tracking.agent", file, runs], PATH=path, WANDB_MODE="offline",
                    WANDB_DIR=str(desk.folder))  # fmt: skip
    assert done.returncode == 0, done.stderr
    (good,), (bad,) = desk.records("good"), desk.records("bad")
    assert (good.run.sweep_id, good.exit_code) == ("sweep1", 0)
    assert good.logged("val/paper/correctness/level_4"), "what the file optimises"
    assert bad.exit_code == 2
    assert "W&B config: dataset.canvas: input should be greater than or equal to 16" in done.stderr
    key = load_trial(agent=chosen).key
    assert (desk.folder / "runs" / "wandb-sweep1" / "trials" / key / "result.json").exists()
