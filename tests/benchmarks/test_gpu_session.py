"""A piece of work on a lent machine: what comes back, and how it ends."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_session.sh"

# Stands for Python: `mmvae_bench run` lays out a trial's folder, and is too slow where it is told to be.
STAND_IN = """#!/usr/bin/env bash
echo "$*" >> calls.txt
case "$*" in
    *"mmvae_bench run"*)
        folder=$RUN/trials/0123456789ab
        mkdir -p "$folder"
        echo grid > "$RUN/grid.yaml"
        for file in {spec,evaluation,status,result}.json log.jsonl output.log samples.png last.ckpt lock; do
            head -c "${FILE_SIZE:-10}" /dev/urandom > "$folder/$file"
        done
        echo '{"event": "end"}'
        exec sleep "${TAKES:-0}" ;;
    *step_rate.py*) echo "table"; exit "${STEP_RATE_CODE:-0}" ;;
esac
"""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A copy of the script in a repository of its own, with a stand-in for Python."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / SCRIPT.name).write_text(SCRIPT.read_text())
    (tmp_path / "python").write_text(STAND_IN)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def piece(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "OUT": "out", "PYTHON": "./python", "RUN": "runs/gpu"}
    return subprocess.run(
        ["bash", f"benchmarks/{SCRIPT.name}", *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def unpacked(out: Path) -> set[str]:
    parts = sorted(out.glob("trials.tar.gz.*"))
    with tarfile.open(fileobj=BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
        return set(archive.getnames())


def test_results_and_pictures_come_back_and_no_weights(session: Path) -> None:
    done = piece(session, "trial", "--where", "objective=telbo")
    assert done.returncode == 0, done.stderr
    names = ["spec.json", "evaluation.json", "status.json", "result.json", "log.jsonl", "output.log", "samples.png"]
    assert unpacked(session / "out") == {"grid.yaml", *(f"trials/0123456789ab/{name}" for name in names)}
    assert (
        "run --grid configs/paper.yaml --out runs/gpu --where objective=telbo --json"
        in (session / "calls.txt").read_text()
    )


def test_a_piece_ends_in_time_and_packs_what_there_is(session: Path) -> None:
    done = piece(session, "trial", LIMIT="42", TAKES="40")
    assert done.returncode == 124
    assert "trials/0123456789ab/log.jsonl" in unpacked(session / "out")


def test_large_results_come_back_in_few_parts(session: Path) -> None:
    done = piece(session, "trial", FILE_SIZE="40000", PART="100K")
    assert done.returncode == 0, done.stderr
    parts = sorted((session / "out").glob("trials.tar.gz.*"))
    assert [part.stat().st_size for part in parts[:-1]] == [102_400, 102_400]
    assert len(unpacked(session / "out")) == 8
    done = piece(session, "trial", FILE_SIZE="100000", PART="100K")
    assert done.returncode == 1
    assert "larger than five parts of 100K" in done.stderr


def test_rates_are_taken_in_every_precision_even_if_one_fails(session: Path) -> None:
    done = piece(session, "rates", STEP_RATE_CODE="3")
    assert done.returncode == 3
    calls = [line for line in (session / "calls.txt").read_text().splitlines() if "step_rate.py" in line]
    assert len(calls) == 5
    assert sum("--compile" in call for call in calls) == 2


def test_nothing_is_run_without_the_wheels(session: Path) -> None:
    wheels = session / "runs" / "carried" / "wheels"
    wheels.mkdir(parents=True)
    (wheels / "one-1-py3-none-any.whl").touch()
    (session / "python").write_text(STAND_IN + 'case "$*" in *"pip install"*) exit 1 ;; esac\n')
    assert piece(session, "trial").returncode == 1
    assert "mmvae_bench" not in (session / "calls.txt").read_text()
    (session / "python").write_text(STAND_IN)
    assert piece(session, "trial").returncode == 0
    assert piece(session, "trial").returncode == 0
    calls = (session / "calls.txt").read_text().splitlines()
    assert sum("pip install" in call for call in calls) == 2, "what is unpacked once is not unpacked again"


def test_an_unknown_piece_is_refused(session: Path) -> None:
    done = piece(session, "tabel")
    assert done.returncode == 2
    assert "unknown piece 'tabel': choose rates, profile or trial" in done.stderr
    assert not (session / "calls.txt").exists()
