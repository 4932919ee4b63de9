"""The pieces of work that GPU.md lists can be started: their options are known, and each has trials."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
from step_rate import parser

from mmvae_bench.specs.grid import expand, load_grid

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "benchmarks" / "GPU.md").read_text()
PIECES = re.findall(r"^    (OUT=results .*gpu_session\.sh .*)$", TEXT, flags=re.MULTILINE)


def test_every_piece_of_the_list_is_found() -> None:
    kinds = {shlex.split(piece.partition("gpu_session.sh")[2])[0] for piece in PIECES}
    assert kinds == {"rates", "profile", "trial"}
    assert len(PIECES) == TEXT.count("bash benchmarks/gpu_session.sh")


@pytest.mark.parametrize("piece", [piece for piece in PIECES if "GRID=" not in piece])
def test_a_piece_has_trials(piece: str) -> None:
    kind, *options = shlex.split(piece.partition("gpu_session.sh")[2])
    if kind == "trial":
        where = [value for option, value in itertools.pairwise(options) if option == "--where"]
    else:
        where = parser().parse_args(["--grid", "configs/paper.yaml", *options]).where
    assert expand(load_grid(ROOT / "configs" / "paper.yaml"), where=where)
