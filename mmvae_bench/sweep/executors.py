"""The executors by their names: which options each takes, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..base.errors import Problem
from .devices import crowding, local_slots
from .executor import Executor
from .local import LocalExecutor

EXECUTORS = ("local", "ray", "slurm")
"""What ``--executor`` can name."""


def option_problems(executor: str, *, per_device: int, ray_address: str | None, slurm: Sequence[str]) -> list[Problem]:
    """What an executor would ignore."""
    # SLURM hands out whole GPUs, or parts of its own (gres=shard:1).
    options: tuple[tuple[tuple[str, ...], str, str | None], ...] = (
        (("local", "ray"), "--per-device", str(per_device) if per_device != 1 else None),
        (("ray",), "--ray-address", ray_address),
        (("slurm",), "--slurm", " ".join(slurm) or None),
    )
    return [
        Problem(f"is for --executor {' and '.join(takers)}, not for {executor!r}", (option,), repr(value))
        for takers, option, value in options
        if value is not None and executor not in takers
    ]


def make_executor(
    name: str,
    root: Path,
    *,
    num_workers: int | None,
    per_device: int = 1,
    num_threads: int,
    command: Sequence[str],
    ray_address: str | None = None,
    slurm: Sequence[str] = (),
    say: Callable[[str], None],
) -> Executor:
    """The executor of a run. Nothing is started or written by making it.

    Args:
        name: One of :data:`EXECUTORS`.
        root: The run's folder.
        num_workers: Trials at a time; None: as many as there is room for.
        per_device: Trials that share a device.
        num_threads: CPU threads of a trial.
        command: What runs ``mmvae-bench``.
        ray_address: Of the Ray cluster; None: RAY_ADDRESS, else the cluster of this machine.
        slurm: ``NAME=VALUE``: parameters of submitit.
        say: Is given what the user should know of the slots.

    Raises:
        ConfigError: its library is not installed, its cluster does not answer, or has no room for a trial.
    """
    if name == "ray":
        from .ray_executor import RayExecutor, connect

        return RayExecutor(
            connect(ray_address),
            num_workers=num_workers,
            per_device=per_device,
            num_threads=num_threads,
            command=command,
        )
    if name == "slurm":
        from .slurm_options import slurm_executor

        return slurm_executor(root, parameters=slurm, num_workers=num_workers, num_threads=num_threads, command=command)
    slots = local_slots(num_workers, per_device=per_device, num_threads=num_threads)
    if crowded := crowding(slots, num_threads=num_threads):
        say(crowded)
    return LocalExecutor(slots, command=command)
