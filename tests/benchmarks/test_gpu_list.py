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

from mmvae_bench.cli import main
from mmvae_bench.specs.grid import expand, load_grid
from mmvae_bench.sweep import run
from mmvae_bench.sweep.local import VISIBLE, Slot

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "benchmarks" / "GPU.md").read_text()
SCRIPTS = re.findall(r"^    timeout \d+ python3 benchmarks/(\w+)\.py (.*) > results/", TEXT, flags=re.MULTILINE)
PIECES = re.findall(r"^    (OUT=results .*gpu_session\.sh .*)$", TEXT, flags=re.MULTILINE)


def test_every_piece_of_the_list_is_found() -> None:
    kinds = {shlex.split(piece.partition("gpu_session.sh")[2])[0] for piece in PIECES}
    assert kinds == {"rates", "profile", "trial"}
    assert len(PIECES) == TEXT.count("bash benchmarks/gpu_session.sh")
    assert {script for script, _ in SCRIPTS} == {"stacked", "peers", "profile_step", "label_errors"}
    assert len(SCRIPTS) == TEXT.count("python3 benchmarks/")


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


class Started(Exception):
    """The slots of a run, instead of trials in them."""


def slots_of(piece: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[Slot]:
    """Those that the command of a piece gets on a machine with one GPU; a refusal is printed and gives none."""

    def start(slots: list[Slot], **_: object) -> None:
        raise Started(slots)

    before, _, after = piece.partition("gpu_session.sh")
    _, *options = shlex.split(after)
    grid = re.search(r"GRID=(\S+)", before)
    words = ["--grid", str(ROOT / (grid[1] if grid else "configs/paper.yaml")), "--out", str(out)]
    monkeypatch.setenv(VISIBLE, "0")
    monkeypatch.setattr(run, "LocalExecutor", start)
    try:
        main(["run", *words, *options, "--json"])
    except Started as started:
        (slots,) = started.args
        return list(slots)
    return []


@pytest.mark.parametrize("piece", [piece for piece in PIECES if "sh trial " in piece and "GRID=runs/" not in piece])
def test_trials_have_places_on_one_gpu(
    piece: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = slots_of(piece, tmp_path / "run", monkeypatch)
    assert slots, capsys.readouterr().err
    assert {slot.environment[VISIBLE] for slot in slots} == {"0"}


def test_the_pieces_that_pack_trials_pack_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As their titles say: those that have several trials and would else do one after the other."""
    packed = [piece for piece in PIECES if "RUN=runs/sprites" in piece or "RUN=runs/packed" in piece]
    assert [len(slots_of(piece, tmp_path / "run", monkeypatch)) for piece in packed] == [3, 3]


def test_more_slots_than_the_one_gpu_has_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piece = next(piece for piece in PIECES if "RUN=runs/sprites" in piece).replace("--per-device 3", "--workers 3")
    assert not slots_of(piece, tmp_path / "run", monkeypatch)
    assert "more slots than devices: 1 GPU (0)" in capsys.readouterr().err


def test_the_matrix_has_as_many_trials_as_the_page_says() -> None:
    (said,) = re.findall(r"`configs/paper\.yaml` is the full matrix, [^:]*: (\d+) trials", TEXT)
    assert int(said) == len(expand(load_grid(ROOT / "configs" / "paper.yaml")))


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
