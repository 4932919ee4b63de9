"""A report is computed once: every interval, every table and every figure; the renderers only print."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report import aggregate, comparison, figures, notes, tables, write, write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html, write_figures
from mmvae_bench.report.latex import render_latex
from mmvae_bench.report.markdown import render_markdown
from mmvae_bench.report.terminal import render_terminal
from mmvae_bench.report.trials import RunFolders
from mmvae_bench.runs import lock
from mmvae_bench.runs.lock import LockHeld, ReportLock

from . import test_aggregate
from .synthetic_runs import spec_of, write_trial
from .test_published import paper_spec

COMPUTED = (
    (tables, "seeds_interval"), (tables, "told_apart"), (tables, "paired_difference"), (tables, "best_and_differences"),
    (aggregate, "difference_of"), (comparison, "aggregate_tables"), (comparison, "candidates"),
    (comparison, "published_rows"), (comparison, "judges"), (comparison, "warnings"), (comparison, "progress"),
    (comparison, "provenance"), (comparison, "table_of"), (figures, "_svg"),
)  # fmt: skip
"""What takes time, or could differ between two calls, and the module that calls it."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The calls of each of COMPUTED: its name and its arguments."""
    made: list[tuple[str, Any]] = []

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            made.append((name, (arguments, named)))
            return function(*arguments, **named)

        return call

    for module, name in COMPUTED:
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    return made


@pytest.fixture
def rich_run(run_dir: Path) -> Path:
    """Two splits with two seeds, aggregate posteriors, and published numbers: something for every kind of table."""
    for objective in test_aggregate.MODELS:
        scores = test_aggregate.scores_of(objective)
        write_trial(run_dir, test_aggregate.spec_of(objective), scores=scores)
    write_trial(run_dir, paper_spec("telbo"))
    for gamma in (1, 50):
        write_trial(run_dir, spec_of({"name": "telbo", "gamma": gamma}, split="iid_disjoint"))
    return run_dir


def test_renderers_compute_nothing(rich_run: Path, calls: list[tuple[str, Any]], tmp_path: Path) -> None:
    found = compare(read_run(rich_run))
    num_figures = sum(map(len, found.figures))
    assert {name for name, _ in calls} == {name for _, name in COMPUTED}
    assert sum(name == "_svg" for name, _ in calls) == num_figures > 0
    calls.clear()
    text = render_terminal(found) + render_markdown(found) + render_latex(found)
    text += render_html(found) + found.frame().to_csv()
    write_figures(found, tmp_path / "figures")
    assert calls == []
    assert text.count("ggregate posteriors") > 4
    assert len(list((tmp_path / "figures").iterdir())) == num_figures


def test_every_interval_is_computed_once_per_report(rich_run: Path, calls: list[tuple[str, Any]]) -> None:
    """One for each cell, and each table is made once."""
    write_report(rich_run, color=False)
    num_intervals = [name for name, _ in calls].count("seeds_interval")
    found = compare(read_run(rich_run))
    cells = [cell for section in found.sections for row in section.rows for cell in row.cells if cell is not None]
    assert num_intervals == sum(all(each.per_query is not None for each in cell.seeds) for cell in cells) > 30
    num_sections = len(found.sections)
    calls_of = [name for name, _ in calls]
    for name in ("table_of", "told_apart"):
        assert calls_of.count(name) == 2 * num_sections, "once above, once in the line before"
    for name in ("aggregate_tables", "candidates", "warnings", "progress"):
        assert calls_of.count(name) == 2 * num_sections, name


def test_the_order_of_protocols_needs_no_list_of_the_report() -> None:
    """The headline, those about the fixed queries in the order of the catalogue, what belongs to none, the rest."""
    names = ["zeta", "likelihood", "cremer", None, "corrected", "official", "paper"]
    ordered = ["paper", "official", "corrected", None, "cremer", "likelihood", "zeta"]
    assert sorted(names, key=tables._protocol_order) == ordered
    assert [name for name, _ in notes.explain_protocols({"paper", "official", "zeta"})] == ["official", "paper"]


def test_two_reports_of_a_run_are_written_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later one waits, and has the trials that ended meanwhile."""
    write_trial(tmp_path, spec_of("telbo"))
    begun, may_end, seen = threading.Event(), threading.Event(), list[int]()

    def writing(run: RunFolders, *given: Any, **named: Any) -> str:
        begun.set()
        assert may_end.wait(30)
        seen.append(len(run.trials))
        return ""

    monkeypatch.setattr(write, "_write", writing)
    first, second = (threading.Thread(target=write_report, args=[tmp_path]) for _ in range(2))
    first.start()
    assert begun.wait(30)
    begun.clear()
    second.start()
    assert not begun.wait(0.5), "both write at once"
    write_trial(tmp_path, spec_of("jmvae"))
    may_end.set()
    first.join(30)
    second.join(30)
    assert seen == [1, 2]


def test_waiting_for_another_report_is_said_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    monkeypatch.setattr(lock, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(write, "_WAIT_SECONDS", 0.2)
    with ReportLock(tmp_path, wait=0.0), pytest.raises(LockHeld, match="another process is writing its report"):
        write_report(tmp_path)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{tmp_path}: waiting for process " in err
    assert not (tmp_path / "report").exists()
