"""A SLURM of one machine for tests: ``sbatch``, ``srun``, ``sacct``, ``scancel`` and ``scontrol`` in one program.

Called under each of these names, with the folder FAKE_SLURM for what it remembers. An array is worked through by a
process of its own, so many tasks at a time as its directive says. It knows what submitit writes, and no more.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("FAKE_SLURM", "."))


def sbatch(words: list[str]) -> None:
    """Keeps the script, and starts working on it."""
    if (ROOT / "refuse").exists():
        sys.stderr.write("sbatch: error: invalid partition specified: nowhere\n")
        sys.exit(1)
    number = str(1000 + len(list(ROOT.glob("*.sh"))))
    text = Path(words[0]).read_text()
    (ROOT / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    names = [f"{number}_{index}" for index in range(int(array[1]) + 1)] if array else [number]
    for name in names:
        (ROOT / f"{name}.state").write_text("PENDING")
    words = [sys.executable, __file__, "controller", number, array[2] if array else "1", *names]
    with (ROOT / f"{number}.log").open("w") as log:
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    sys.stdout.write(f"Submitted batch job {number}\n")


def controller(words: list[str]) -> None:
    """Runs the tasks of an array."""
    number, limit, *waiting = words
    running: dict[str, subprocess.Popen[bytes]] = {}
    restarts = dict.fromkeys(waiting, 0)
    while waiting or running:
        for name, process in list(running.items()):
            code = process.poll()
            if code is None:
                continue
            del running[name]
            if (ROOT / f"{name}.requeue").exists():
                (ROOT / f"{name}.requeue").unlink()
                restarts[name] += 1
                waiting.append(name)
            (ROOT / f"{name}.state").write_text(
                "PENDING" if name in waiting else "COMPLETED" if code == 0 else "FAILED"
            )
        while waiting and len(running) < int(limit) and not (ROOT / "hold").exists():
            name = waiting.pop(0)
            if (ROOT / f"{name}.state").read_text().startswith("CANCELLED"):
                continue
            array, _, index = name.partition("_")
            environment = os.environ | {"SLURM_JOB_ID": array, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
            if index:
                environment |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
            environment["SLURM_RESTART_COUNT"] = str(restarts[name])
            (ROOT / f"{name}.state").write_text("RUNNING")
            running[name] = subprocess.Popen(["bash", str(ROOT / f"{number}.sh")], env=environment)
        time.sleep(0.05)


def srun(words: list[str]) -> None:
    """Becomes the task, and leaves its process number."""
    array, index = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID")
    name = f"{array}_{index}" if index else array
    while words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            path = words.pop(0).replace("%A", array).replace("%a", index or "").replace("%j", name).replace("%t", "0")
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1 if option == "--output" else 2)
    (ROOT / f"{name}.pid").write_text(str(os.getpid()))
    os.execvp(words[0], words)


def sacct(words: list[str]) -> None:
    """The states of the jobs that are asked about."""
    asked = {words[index + 1] for index, word in enumerate(words) if word == "-j"}
    lines = [f"{path.stem}|{path.read_text()}|here" for path in ROOT.glob("*.state")]
    sys.stdout.write(
        "\n".join(["JobID|State|NodeList", *(line for line in lines if re.split(r"\D", line)[0] in asked)])
    )


def scancel(words: list[str]) -> None:
    """Takes back what waits; signals what runs."""
    options = dict(word[2:].split("=") for word in words if word.startswith("--"))
    for name in (word for word in words if not word.startswith("--")):
        state = ROOT / f"{name}.state"
        now = state.read_text()
        if options.get("state", now) != now:
            continue
        if now == "PENDING":
            state.write_text("CANCELLED by 0")
        elif now == "RUNNING" and (ROOT / f"{name}.pid").exists():
            number = signal.Signals[f"SIG{options.get('signal', 'KILL')}"]
            os.kill(int((ROOT / f"{name}.pid").read_text()), number)


def scontrol(words: list[str]) -> None:
    """``requeue``."""
    (ROOT / f"{words[1]}.requeue").touch()


def install(folder: Path) -> None:
    """Puts the commands into ``folder``."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        words = shlex.join([sys.executable, str(Path(__file__).resolve()), name])
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    {
        "sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel, "scontrol": scontrol,
        "controller": controller,
    }[sys.argv[1]](sys.argv[2:])  # fmt: skip
