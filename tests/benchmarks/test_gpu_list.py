"""The pieces of work that GPU.md lists can be started: their options are known, and each has trials."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from step_rate import parser

from mmvae_bench.specs.grid import expand, load_grid

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "benchmarks" / "GPU.md").read_text()
SCRIPTS = re.findall(r"^    timeout \d+ python benchmarks/(\w+)\.py (.*) > results/", TEXT, flags=re.MULTILINE)
PIECES = re.findall(r"^    (OUT=results .*gpu_session\.sh .*)$", TEXT, flags=re.MULTILINE)


def test_every_piece_of_the_list_is_found() -> None:
    kinds = {shlex.split(piece.partition("gpu_session.sh")[2])[0] for piece in PIECES}
    assert kinds == {"rates", "profile", "trial"}
    assert len(PIECES) == TEXT.count("bash benchmarks/gpu_session.sh")
    assert {script for script, _ in SCRIPTS} == {"stacked", "peers", "profile_step"}
    assert len(SCRIPTS) == TEXT.count("python benchmarks/")


@pytest.mark.parametrize("piece", [piece for piece in PIECES if "GRID=runs/" not in piece])
def test_a_piece_has_trials(piece: str) -> None:
    before, _, after = piece.partition("gpu_session.sh")
    kind, *options = shlex.split(after)
    if kind == "trial":
        where = [value for option, value in itertools.pairwise(options) if option == "--where"]
    else:
        where = parser().parse_args(["--grid", "configs/paper.yaml", *options]).where
    grid = re.search(r"GRID=(\S+)", before)
    assert expand(load_grid(ROOT / (grid[1] if grid else "configs/paper.yaml")), where=where)


class Read(Exception):
    """The options that a script has read, instead of what it would do with them."""


@pytest.mark.parametrize(("script", "options"), SCRIPTS)
def test_a_script_knows_its_options(script: str, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: ArgumentParser) -> Namespace:
        raise Read(parse(self, shlex.split(options)))

    parse = ArgumentParser.parse_args
    monkeypatch.setattr(ArgumentParser, "parse_args", read)
    with pytest.raises(Read) as found:
        importlib.import_module(script).main()
    (given,) = found.value.args
    assert given.device == "cuda"
    if script != "peers":
        assert expand(load_grid(ROOT / given.grid), where=given.where)


def test_the_limits_of_fifteen_minutes_leave_time_for_starting() -> None:
    """The table of the pieces says what their commands allow themselves."""
    (table,) = re.findall(r"^(?:\|.*\n)+", TEXT, flags=re.MULTILINE)
    limits = [int(row.split("|")[3]) for row in table.splitlines()[2:]]
    listed = TEXT[TEXT.index("**1. ") : TEXT.index("## With more time")]
    allowed = [
        sum(map(int, re.findall(r"(?:LIMIT=|timeout )(\d+)", piece)))
        for piece in re.split(r"^\*\*\d", listed, flags=re.M)[1:]
    ]
    assert allowed == limits
    assert sum(limits) == 13 * 60
