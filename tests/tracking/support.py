"""``train --wandb`` in processes of its own that find no key and no network, and what their run files hold."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from wandb.proto import wandb_internal_pb2 as proto

REPOSITORY = Path(__file__).parents[2]
PARAMETERS = {
    "dataset.name": "mnist_a", "dataset.canvas": 16, "dataset.num_sources": 100, "dataset.replicas": 3,
    "backbone.name": "mnist_a_thin", "backbone.width": 2, "backbone.hidden": 8, "backbone.latent_size": 3,
    "objective.name": "telbo", "objective.gamma": 2.0,
    "training.steps": 30, "training.batch_size": 32, "training.validations": 3,
    "evaluation.num_samples": 10, "evaluation.query_repeats": 1, "evaluation.num_resamples": 50,
    "evaluation.levels": [4], "evaluation.partitions": ["val", "test"], "evaluation.protocols": ["paper"],
    "evaluation.classifier.name": "conv_thin", "evaluation.classifier.steps": 5, "evaluation.curve_points": 2,
}  # fmt: skip
"""A trial of two seconds, as an agent gives it."""


@dataclass
class Desk:
    """A folder to work in, and variables for its processes.

    Attributes:
        folder: The working directory.
        environment: Nobody's home, no key, and a proxy that counts who wants to get out.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def sweep(self, parameters: dict[str, Any], *, run_id: str = "run1") -> dict[str, str]:
        """The variables that an agent of sweep ``sweep1`` sets for a run, with the file that they name."""
        path = self.folder / "wandb" / "sweep-sweep1" / f"config-{run_id}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"wandb_version": 1} | {k: {"value": v} for k, v in parameters.items()}))
        return {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": run_id, "WANDB_SWEEP_PARAM_PATH": str(path)}

    def start(self, words: list[str], **variables: str) -> subprocess.Popen[str]:
        """A process in the folder."""
        return subprocess.Popen(
            words, cwd=self.folder, env=self.environment | variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """A process in the folder, to its end."""
        process = self.start(words, **variables)
        out, err = process.communicate(timeout=500)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def records(self, run_id: str) -> list[Recorded]:
        """The runs with an id, the earliest start first."""
        return [Recorded.read(path) for path in sorted((self.folder / "wandb").glob(f"*-{run_id}/run-{run_id}.wandb"))]


@dataclass
class Recorded:
    """What the file of one offline run holds.

    Attributes:
        run: Its header: id, sweep, resumption.
        config: The whole config.
        summary: The last value of everything.
        history: What was logged, in order.
        files: Paths of the media.
        exit_code: None where the run never ended.
    """

    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Reads a ``.wandb`` file."""
        found = cls()
        for record in _records(path.read_bytes()):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.run = record.run
                found.config |= _items(record.run.config.update)
            elif kind == "config":
                found.config |= _items(record.config.update)
            elif kind == "summary":
                found.summary |= _items(record.summary.update)
            elif kind == "history":
                found.history.append(_items(record.history.item))
            elif kind == "files":
                found.files += [file.path for file in record.files.files]
            elif kind == "exit":
                found.exit_code = record.exit.exit_code
        return found

    def logged(self, name: str) -> dict[int, Any]:
        """By step, the values of a metric."""
        return {line["_step"]: line[name] for line in self.history if name in line}


def train(*words: str) -> list[str]:
    """The command line of one trial."""
    return [sys.executable, "-m", "mmvae_bench", "train", *words]


def as_json(parameters: dict[str, Any]) -> str:
    """What stands for ``${args_json}``."""
    return json.dumps(parameters)


def variables(home: Path, proxy: str) -> dict[str, str]:
    """Everything of this process's environment but what W&B reads."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("WANDB") and "proxy" not in key.lower()
    }
    named = {f"{kind}_proxy": proxy for kind in ("http", "https", "all")}
    return kept | named | {key.upper(): value for key, value in named.items()} | {
        "HOME": str(home), "NETRC": str(home / "no-netrc"), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> list[Any]:
    """The records of the file: LevelDB's log format in blocks of 32 KiB, behind 7 bytes of W&B's own."""
    found, part, at = [], b"", 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(proto.Record.FromString(part))
            part = b""
    return found
