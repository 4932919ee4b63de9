"""Which places this machine has to run trials in, found without torch."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from ..base.environment import num_cpus
from ..base.errors import ConfigError, Problem
from .local import Slot

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """The GPUs that a process may use, as CUDA names them: what ``CUDA_VISIBLE_DEVICES`` lists, else all there are."""
    environment = os.environ if environment is None else environment
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",")]
        # CUDA itself stops reading at the first name that is none.
        stop = next((index for index, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
        return names[:stop]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpu_list(listed.stdout)


def parse_gpu_list(text: str) -> list[str]:
    """The devices in the output of ``nvidia-smi -L``: a GPU's number, or its parts where it is cut into parts (MIG).

    >>> parse_gpu_list("GPU 0: A100 (UUID: GPU-1)\\nGPU 1: A100 (UUID: GPU-2)\\n  MIG 3g (UUID: MIG-7)\\n")
    ['0', 'MIG-7']
    """
    devices: list[str] = []
    whole = False
    for line in text.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            devices.append(gpu[1])
            whole = True
        elif part := re.search(r"\(UUID:\s*(MIG-[^)]+)\)", line):
            if whole:
                devices.pop()
                whole = False
            devices.append(part[1])
    return devices


def local_slots(num_workers: int | None = None, *, per_device: int = 1, num_threads: int = 1) -> list[Slot]:
    """Slots on this machine: ``per_device`` on each device, dealt out in turn.

    A device is a GPU; where there are none, as many CPU cores as a trial has threads.

    Args:
        num_workers: At most so many slots in all; None: as many as fit. CPU cores may be given more than fit: they
            share. A GPU may not, since its memory may not last: there ``per_device`` says how many share one.
        per_device: Trials that share a device.
        num_threads: CPU threads of one trial.

    Raises:
        ConfigError: more slots are asked for than the GPUs have.
    """
    gpus = visible_gpus()
    if not gpus:
        return [Slot(f"cpu {index}") for index in range(num_workers or cpu_slots(per_device, num_threads=num_threads))]
    fitting = len(gpus) * per_device
    if num_workers is not None and num_workers > fitting:
        there = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({', '.join(gpus)}) with --per-device {per_device}"
        needed = math.ceil(num_workers / len(gpus))
        message = f"more slots than devices: {there} make {fitting}; --per-device {needed} lets trials share a GPU"
        raise ConfigError([Problem(message, ("--workers",), str(num_workers))])
    names = [gpus[index % len(gpus)] for index in range(num_workers or fitting)]
    return [Slot(f"gpu {name}", {VISIBLE: name}) for name in names]


def cpu_slots(per_device: int = 1, *, num_threads: int = 1) -> int:
    """Slots that the CPU cores of this machine make."""
    return max(1, num_cpus() // num_threads) * per_device


def crowding(slots: Sequence[Slot], *, num_threads: int = 1) -> str | None:
    """What to tell of slots that share CPU cores; None where they do not, or are on GPUs."""
    cores = num_cpus()
    if any(slot.environment for slot in slots) or len(slots) * num_threads <= max(cores, num_threads):
        return None
    threads = "one thread" if num_threads == 1 else f"{num_threads} threads"
    return (
        f"{len(slots)} slots of {threads} share {cores} CPU core{'s' if cores > 1 else ''}: each trial will be slower, "
        f"and all of them together hardly faster than with --workers {cpu_slots(num_threads=num_threads)}"
    )
