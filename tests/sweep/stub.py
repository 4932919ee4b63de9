"""A torch-free stand-in for ``mmvae-bench train`` and ``prepare``: locks, status and result, no learning.

Called as ``python stub.py BEHAVIOUR_FILE train --spec FILE --out FOLDER``. The behaviour file says, by trial seed, what
each attempt does; attempts that it does not name are ``ok``. ``journal`` in the trial's folder gets one JSON line for
every attempt's start and end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mmvae_bench.base.files import write_json
from mmvae_bench.runs.lock import LockHeld, TrialLock, check_held
from mmvae_bench.runs.status import Status, begin, write_status


def note(directory: Path, event: str, **details: Any) -> None:
    """Appends a line to the journal; one write, so that processes do not mix theirs."""
    line = json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **details})
    with (directory / "journal").open("a") as journal:
        journal.write(f"{line}\n")


class Stopped(Exception):
    """SIGTERM has come."""


def stop(number: int, frame: object) -> None:
    """Handler of SIGTERM."""
    raise Stopped


def train(directory: Path, behaviours: dict[str, Any]) -> int:
    """One attempt at a trial."""
    spec = json.loads((directory / "spec.json").read_text())
    evaluation = json.loads((directory / "evaluation.json").read_text())
    if behaviours.get("unlocked", {}).get(str(spec["seed"])) == "die":
        os._exit(9)
    try:
        with TrialLock(directory):
            result = directory / "result.json"
            if result.exists() and json.loads(result.read_text())["evaluation"] == evaluation:
                return 0
            if spec["seed"] in behaviours.get("stale", ()):
                sys.stderr.write(f"{directory} was trained by other code than is installed: jvae.py has changed\n")
                return 76
            signal.signal(signal.SIGTERM, stop)
            status = begin(directory, steps=10)
            planned = behaviours.get("attempts", {}).get(str(spec["seed"]), [])
            behaviour = planned[status.attempts - 1] if status.attempts <= len(planned) else "ok"
            if behaviour == "no result":
                return 0
            note(directory, "start", behaviour=behaviour, visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
                 threads=os.environ.get("OMP_NUM_THREADS"), node=os.environ.get("RAY_RAYLET_PID"))  # fmt: skip
            try:
                code = behave(behaviour, directory, status, seconds=behaviours.get("seconds", 0.0))
                while "gate" in behaviours and not Path(behaviours["gate"]).exists():
                    time.sleep(0.01)
            except Stopped:
                check_held(directory)
                write_status(directory, replace(status, state="interrupted"))
                note(directory, "stopped")
                return 143
            if code == 0:
                training = {"steps": 10, "wall_seconds": time.time() - (status.started or 0.0)}
                write_json(result, {"version": 1, "key": directory.name, "spec": spec, "evaluation": evaluation,
                                    "training": training, "provenance": {}, "scores": []})  # fmt: skip
                write_status(directory, replace(status, state="done", step=10))
                note(directory, "finish", evaluation=evaluation)
            return code
    except LockHeld:
        return 75


def behave(behaviour: str, directory: Path, status: Status, *, seconds: float) -> int:
    """What an attempt does between its start and its end."""
    if behaviour == "ok":
        time.sleep(seconds)
        return 0
    if behaviour == "raise second":
        # Only when another trial has begun too.
        while len(list(directory.parent.glob("*/status.json"))) < 2:
            time.sleep(0.01)
        behaviour = "raise"
    if behaviour in ("raise", "NaN", "OutOfMemoryError"):
        kind = {"raise": "ValueError", "NaN": "NonFiniteLossError"}.get(behaviour, behaviour)
        write_status(directory, replace(status, state="failed", error="loss is nan at step 3", error_type=kind))
        return 1
    if behaviour.startswith("bug "):
        where = f"objective.py:{behaviour.split()[1]} in terms"
        kind = behaviour.split()[2] if behaviour.count(" ") > 1 else "ZeroDivisionError"
        error = f"{kind}: division by zero"
        write_status(directory, replace(status, state="failed", error=error, error_type=kind, where=where))
        return 1
    if behaviour == "disk full":
        error = "OSError: [Errno 28] No space left on device: 'last.ckpt'"
        write_status(directory, replace(status, state="failed", error=error, error_type="OSError"))
        return 1
    if behaviour == "data":
        failed = replace(status, state="failed", error="a file is cut short", error_type="SourceError", of_data=True)
        write_status(directory, failed)
        return 2
    if behaviour == "setting":
        write_status(directory, replace(status, state="failed", error="alpha is 1", error_type="ConfigError"))
        return 2
    if behaviour == "hang":
        time.sleep(60)
    if behaviour == "creep":
        # Moves on, slowly, for longer than a hang is borne; writes a time that makes no sense, as a clock that jumps.
        for step in range(1, 52):
            time.sleep(0.1)
            write_json(directory / "status.json", asdict(replace(status, step=step, updated=(-1) ** step * 1e12)))
        return 0
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if behaviour in ("SIGKILL", "SIGSEGV", "SIGTERM"):
        sys.stdout.write("the last words\n")
        sys.stdout.flush()
        os.kill(os.getpid(), getattr(signal, behaviour))
        time.sleep(10)
    return int(behaviour)


def prepare(spec: Path, behaviours: dict[str, Any]) -> int:
    """A preparation: journalled in the run's folder."""
    note(spec.parents[2], "prepare", key=spec.parent.name)
    if behaviours.get("prepare") == "hang":
        time.sleep(60)
    return int(behaviours.get("prepare", 0))


def read_data(path: Path, behaviours: dict[str, Any]) -> int:
    """Reading the data of trials: finds the problems of the behaviours; journalled beside the behaviours' file."""
    specs = [json.loads(line) for line in path.read_text().splitlines()]
    note(Path(sys.argv[1]).parent, "data", seeds=[spec["seed"] for spec in specs])
    accident = behaviours.get("data")
    if accident == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if accident == "hang":
        time.sleep(60)
    if accident == "orphan":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
        note(Path(sys.argv[1]).parent, "child", child=child.pid)
    for line in behaviours.get("says", ()):
        sys.stdout.write(f"{line}\n")
    for problem in behaviours.get("problems", ()):
        filled = {"value": None, "choices": [], "near": None, "line": None} | problem
        sys.stdout.write(json.dumps({"trial": 0, "problem": filled}) + "\n")
    return 0


def rehearse(specs: list[Path], behaviours: dict[str, Any]) -> int:
    """Answers as the behaviours say, by objective; journalled in the run's folder."""
    note(specs[0].parents[2], "rehearse", specs=[json.loads(path.read_text())["objective"]["name"] for path in specs])
    for name, error in behaviours.get("rehearse", {}).items():
        sys.stdout.write(json.dumps({"objective": name, "error": error}) + "\n")
    if untried := behaviours.get("untried"):
        sys.stdout.write(json.dumps({"untried": untried}) + "\n")
    if behaviours.get("rehearsal") == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviours.get("rehearsal") == "hang":
        sys.stdout.flush()
        time.sleep(60)
    return 0


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    if sys.argv[2:4] == ["rehearse", "--data"]:
        sys.exit(read_data(Path(sys.argv[4]), plan))
    if sys.argv[2] == "rehearse":
        words = [word for word in sys.argv[3:] if word != "--silent"]
        sys.exit(rehearse([Path(word) for word in words[1::2]], plan))
    if sys.argv[2] == "prepare":
        sys.exit(prepare(Path(sys.argv[4]), plan))
    sys.exit(train(Path(sys.argv[6]), plan))
