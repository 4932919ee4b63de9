"""A report is computed once: every interval, every table and every figure; the renderers only print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmvae_bench.report import aggregate, comparison, figures, notes, tables, write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html, write_figures
from mmvae_bench.report.latex import render_latex
from mmvae_bench.report.markdown import render_markdown
from mmvae_bench.report.terminal import render_terminal

from . import test_aggregate
from .synthetic_runs import spec_of, write_trial
from .test_published import paper_spec

COMPUTED = (
    (tables, "hierarchical_interval"), (tables, "paired_difference"), (tables, "best_and_differences"),
    (aggregate, "best_and_differences"), (comparison, "aggregate_tables"), (comparison, "candidates"),
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
    """No bootstrap is run twice on the same scores with the same seed, and each table is made once."""
    write_report(rich_run, color=False)
    seen: list[tuple[object, ...]] = []
    for name, (arguments, named) in calls:
        if name in ("hierarchical_interval", "paired_difference"):
            values = arguments[0] if name == "hierarchical_interval" else arguments
            seen.append((name, named["seed"], *(np.asarray(each).tobytes() for each in values)))
    assert len(seen) > 30
    assert len(set(seen)) == len(seen)
    num_sections = len(compare(read_run(rich_run)).sections)
    calls_of = [name for name, _ in calls]
    assert calls_of.count("table_of") == 2 * num_sections, "once above, once in the line before"
    for name in ("aggregate_tables", "candidates", "warnings", "progress"):
        assert calls_of.count(name) == 2 * num_sections, name


def test_one_seed_and_several_draw_the_same_numbers_as_without_a_memory() -> None:
    """The last draw of a bootstrap is kept; it must change no bit, whoever comes in between."""
    from mmvae_bench.base import statistics

    random = np.random.default_rng(3)
    first, second, other = random.normal(size=(3, 2, 40))
    groups = np.arange(40) // 4

    def intervals(*, fresh: bool) -> list[tuple[float, float]]:
        found = []
        for values, given in ((first, None), (second, None), (other, groups), (second, groups), (first, groups)):
            for seed in (0, 1):
                if fresh:
                    statistics._last_drawn.clear()
                found.append(statistics.hierarchical_interval(values, groups=given, seed=seed))
                if fresh:
                    statistics._last_drawn.clear()
                found.append(statistics.bootstrap_interval(values[0], groups=given, seed=seed))
        return found

    assert intervals(fresh=False) == intervals(fresh=True)


def test_the_order_of_protocols_needs_no_list_of_the_report() -> None:
    """The headline, those about the fixed queries in the order of the catalogue, what belongs to none, the rest."""
    names = ["zeta", "likelihood", "cremer", None, "corrected", "official", "paper"]
    ordered = ["paper", "official", "corrected", None, "cremer", "likelihood", "zeta"]
    assert sorted(names, key=tables._protocol_order) == ordered
    assert [name for name, _ in notes.explain_protocols({"paper", "official", "zeta"})] == ["official", "paper"]
