"""``report`` of a single trial's folder, whatever it is called."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from mmvae_bench.cli import main

EARLIER = Path(__file__).parents[1] / "runs" / "earlier"


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A done trial, copied out of its run under another name."""
    found = sorted(path.parent for path in EARLIER.rglob("result.json"))
    return Path(shutil.copytree(found[0], tmp_path / "mine"))


def test_a_trials_folder_gets_a_report_of_its_own(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = hashlib.sha256((trial / "spec.json").read_bytes()).hexdigest()[:12]
    assert main(["report", str(trial)]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 trial done" in said
    assert said.splitlines()[-1] == str(trial / "report" / "index.html")
    table = (trial / "report" / "table.md").read_text()
    assert key in table
    out = trial.parent / "elsewhere"
    before = {path: path.stat().st_mtime_ns for path in trial.rglob("*")}
    assert main(["report", str(trial), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "report" / "index.html")
    assert (out / "report" / "table.md").read_text().split("\n", 1)[1] == table.split("\n", 1)[1]
    assert {path: path.stat().st_mtime_ns for path in trial.rglob("*")} == before


def test_a_result_of_another_trial_counts_as_damaged(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((trial / "result.json").read_text())
    (trial / "result.json").write_text(json.dumps(result | {"key": "0" * 12}))
    assert main(["report", str(trial)]) == 0
    assert "0 of 1 trial done, 1 damaged" in capsys.readouterr().out


def test_a_trial_among_several_folders_is_no_run(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(trial), str(trial.parent)]) == 2
    assert "not a run folder" in capsys.readouterr().err
