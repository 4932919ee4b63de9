"""What a user can say to SLURM, and the executor that hears it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..base.errors import ConfigError, Problem, nearest
from .local import COMMAND
from .slurm_executor import MAX_ARRAY, SubmititExecutor

INSTALL = "pip install 'mmvae-bench[slurm]'"
FOLDER = "slurm"
"""In the run's folder: what submitit writes, and the list of what was submitted."""

_DEFAULTS = {"time": 240, "signal_delay_s": 120}
"""Minutes, seconds. A trial that needs more time saves ahead of the limit and goes on in its next turn."""
_MAX_TURNS = 1000
_SAVING_MARGIN = 10.0
_OURS = frozenset({"additional_parameters", "array_parallelism", "nodes", "ntasks_per_node", "num_gpus"})
"""Parameters of submitit that are not the user's to set here."""
_LISTS = frozenset({"setup", "srun_args", "teardown"})
_INTEGERS = frozenset({"signal_delay_s", "time"})


def parse_parameters(assignments: Sequence[str], valid: Sequence[str]) -> dict[str, Any]:
    """The values of ``--slurm NAME=VALUE``, by the names that submitit knows.

    Raises:
        ConfigError: with every one that has no meaning.

    >>> parse_parameters(["partition=gpu", "time=60", "setup=module load cuda"], ["partition", "setup", "time"])
    {'partition': 'gpu', 'time': 60, 'setup': ['module load cuda']}
    """
    names = tuple(sorted(set(valid) - _OURS))
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not text:
            problems.append(Problem("is NAME=VALUE, such as partition=gpu", ("--slurm",), repr(assignment)))
        elif name == "array_parallelism":
            problems.append(Problem("jobs at a time are --workers", ("--slurm",), repr(assignment)))
        elif name not in names:
            problem = Problem("no parameter of submitit", ("--slurm",), repr(name), names, nearest(name, names))
            problems.append(problem)
        elif name in _INTEGERS and not (text.isdecimal() and int(text) > 0):
            unit = "minutes" if name == "time" else "seconds"
            problems.append(Problem(f"{name} is a number of {unit}", ("--slurm",), repr(assignment)))
        elif name in _LISTS:
            values.setdefault(name, []).append(text)
        elif text.lower() in ("true", "false"):
            values[name] = text.lower() == "true"
        else:
            values[name] = int(text) if text.isdecimal() else text
    if problems:
        raise ConfigError(problems)
    return values


def slurm_executor(
    root: Path,
    *,
    parameters: Sequence[str] = (),
    num_workers: int | None = None,
    num_threads: int = 1,
    command: Sequence[str] = COMMAND,
) -> SubmititExecutor:
    """An executor that puts jobs into SLURM's queue.

    Args:
        root: The run's folder, which all nodes share.
        parameters: ``NAME=VALUE``: of submitit, by sbatch's names.
        num_workers: Jobs of an array that run at the same time; None: SLURM's own limits.
        num_threads: CPU cores of a job, unless the parameters say.
        command: What runs ``mmvae-bench``.

    Raises:
        ConfigError: submitit is not installed, there is no SLURM here, or a parameter has no meaning.
    """
    try:
        import submitit
    except ImportError:
        raise ConfigError(f"--executor slurm: submitit is not installed\n  {INSTALL}") from None
    values = parse_parameters(parameters, list(submitit.SlurmExecutor._valid_parameters()))
    missing = [name for name in ("sbatch", "srun", "sacct", "scancel") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"--executor slurm: no SLURM on this machine: {', '.join(missing)} not found\n"
            f"  Give the command on a login node of the cluster."
        )
    executor = submitit.SlurmExecutor(root.absolute() / FOLDER, max_num_timeout=_MAX_TURNS)
    threads = {} if "cpus_per_gpu" in values else {"cpus_per_task": num_threads}
    settings = _DEFAULTS | {"job_name": f"mmvae-{root.name}"} | threads | values
    executor.update_parameters(
        **settings,
        array_parallelism=num_workers or MAX_ARRAY,
        additional_parameters={"requeue": True},  # Where a node fails, SLURM itself starts the job again.
    )
    return SubmititExecutor(
        executor,
        num_workers=num_workers or MAX_ARRAY,
        arrays=True,
        save_seconds=max(1.0, float(settings["signal_delay_s"]) - _SAVING_MARGIN),
        command=command,
        poll_seconds=2.0,
    )
