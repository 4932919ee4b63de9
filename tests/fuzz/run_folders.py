"""A small run folder, and ways to damage it, made by numbers: the same in every run."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmvae_bench.runs.checksums import write_checksums
from mmvae_bench.training.checkpoint import Checkpoint

from ..report.synthetic_runs import scores_of, spec_of, write_trial

EARLIER = Path(__file__).parents[1] / "runs" / "earlier"
SEALED, EARLY, FAILED = "sealed", "early", "failed"
"""The trials: done with checksums, done without any, and failed."""
COVERED = ("result.json", "last.ckpt", "log.jsonl", "samples.png", "latent_plane.npz")
HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202e<script>alert(1)</script>\x9b2J|[x](javascript:1)[/red]$\\frac{$"


def build_run(root: Path) -> dict[str, str]:
    """Lays out a run of three trials; returns their keys."""
    sealed = write_trial(root, spec_of("telbo"), scores=scores_of(spec_of("telbo"), num_queries=6))
    seal(sealed)
    early = next(path for path in (EARLIER / "trials").iterdir() if (path / "result.json").exists())
    shutil.copytree(early, root / "trials" / early.name)
    failed = write_trial(root, spec_of("jmvae"), "failed", step=17, error="loss is nan", error_type="NonFiniteLoss")
    (failed / "output.log").write_text("Traceback <module>\nNonFiniteLoss: kl\n")
    return {SEALED: sealed.name, EARLY: early.name, FAILED: failed.name}


def seal(folder: Path) -> None:
    """Adds weights, a plane and checksums, as a trial that is done has them."""
    Checkpoint(folder.name, 1, 0, {"w": torch.arange(50.0)}).save(folder / "last.ckpt")
    axis, density = np.linspace(-1, 1, 5), np.random.default_rng(0).uniform(0.1, 1, (2, 5, 5))
    plane = {"x": axis, "y": axis, "labels": np.array(["a", "b"]), "true": density, "aggregate": density}
    np.savez_compressed(folder / "latent_plane.npz", **plane)  # type: ignore[arg-type]
    write_checksums(folder, result=(folder / "result.json").read_bytes())


def damage(run: Path, keys: dict[str, str], number: int) -> tuple[str, str, str]:
    """Damages one file of the run; returns the trial, the file and what was done to it."""
    draw = random.Random(number)
    trial = draw.choice([SEALED, SEALED, EARLY, FAILED])
    folder = run / "trials" / keys[trial]
    names = sorted(path.name for path in folder.iterdir())
    name = draw.choice(names)
    path = folder / name
    kinds = ["flip", "flip", "cut", "empty", "noise", "special"]
    if name.endswith((".json", ".jsonl")):
        kinds += ["value", "value", "value", "nested", "number", "text"]
    kind = draw.choice(kinds)
    content = path.read_bytes()
    if kind == "flip" and content:
        where = draw.randrange(len(content))
        path.write_bytes(content[:where] + bytes([content[where] ^ 1 << draw.randrange(8)]) + content[where + 1 :])
    elif kind == "cut" and content:
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(draw.randbytes(200))
    elif kind == "special":
        kind = replace_by_special(path, draw)
    elif kind in ("value", "nested", "number", "text"):
        lines = content.decode().splitlines() if name.endswith(".jsonl") else [content.decode()]
        place = draw.randrange(len(lines))
        value = _changed(json.loads(lines[place]), kind, draw)
        # By hand, because Python writes neither what is nested too deeply nor the numbers that are refused.
        lines[place] = json.dumps(value).replace('"@nested@"', "[" * 5000 + "]" * 5000).replace('"@number@"', "1e999")
        path.write_text("\n".join(lines) + "\n")
    return trial, name, kind


def _changed(value: Any, kind: str, draw: random.Random) -> Any:
    """A JSON value with one of its parts replaced by something of another type."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(sorted(value))
        return value | {key: _changed(value[key], kind, draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], _changed(value[place], kind, draw), *value[place + 1 :]]
    wrong: list[Any] = [None, True, -1, 2**70, 10**400, 1e300, -0.5, "", "x", [], {}, [[1]], {"a": {"b": [None]}}]
    return {"nested": "@nested@", "number": "@number@", "text": HOSTILE}.get(kind) or draw.choice(wrong)


def replace_by_special(path: Path, draw: random.Random) -> str:
    """Puts something in the place of a file that is none."""
    path.unlink()
    kind = draw.choice(["fifo", "link", "device", "loop", "folder", "socket", "missing"])
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, inside(path.parent):
            server.bind(path.name)
    elif kind != "missing":
        path.symlink_to({"link": "/etc/passwd", "device": "/dev/zero", "loop": path.name}[kind])
    return kind


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """In another working folder: the path of a socket must be short."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
