"""The executors by their names: which options each takes, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..specs.errors import Problem
from .devices import local_slots
from .executor import Executor
from .local import LocalExecutor

EXECUTORS = ("local", "ray", "slurm")
"""What ``--executor`` can name."""


def option_problems(executor: str, *, ray_address: str | None, slurm: Sequence[str]) -> list[Problem]:
    """What an executor would ignore."""
    given = {"ray": ("--ray-address", ray_address), "slurm": ("--slurm", " ".join(slurm) or None)}
    return [
        Problem(f"is for --executor {name}, not for {executor!r}", (option,), repr(value))
        for name, (option, value) in given.items()
        if value is not None and name != executor
    ]


def make_executor(
    name: str,
    root: Path,
    *,
    num_workers: int | None,
    num_threads: int,
    command: Sequence[str],
    ray_address: str | None = None,
    slurm: Sequence[str] = (),
) -> Executor:
    """The executor of a run. Nothing is started or written by making it.

    Args:
        name: One of :data:`EXECUTORS`.
        root: The run's folder.
        num_workers: Trials at a time; None: as many as there is room for.
        num_threads: CPU threads of a trial.
        command: What runs ``mmvae-bench``.
        ray_address: Of the Ray cluster; None: RAY_ADDRESS, else the cluster of this machine.
        slurm: ``NAME=VALUE``: parameters of submitit.

    Raises:
        ConfigError: its library is not installed, its cluster does not answer, or has no room for a trial.
    """
    if name == "ray":
        from .ray_executor import RayExecutor, connect

        ray = connect(ray_address)
        return RayExecutor(ray, num_workers=num_workers, num_threads=num_threads, command=command)
    if name == "slurm":
        from .slurm_options import slurm_executor

        return slurm_executor(root, parameters=slurm, num_workers=num_workers, num_threads=num_threads, command=command)
    return LocalExecutor(local_slots(num_workers, num_threads=num_threads), command=command)
