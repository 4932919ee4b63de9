"""The mismatch of aggregate posteriors against correctness: what is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from mmvae_bench.report.comparison import Comparison, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.report.mismatch import correlations, mismatch_figure, said
from mmvae_bench.runs.scores import Score

from .synthetic_runs import scores_of, spec_of, write_trial

MISMATCH = [20.0, 10.0, 40.0, 30.0, 15.0]


def run(folder: Path, mismatches: list[float], *, levels: tuple[int, ...] = (4, 2)) -> Comparison:
    """One trial of each of some settings: the higher the number, the lower its correctness is made."""
    for number, mismatch in enumerate(mismatches):
        spec = spec_of({"name": "telbo", "gamma": number + 1})
        scores = [
            replace(score, value=0.9 - mismatch / 100, per_query=None, ci_low=0.1, ci_high=0.95)
            if score.metric == "correctness"
            else score
            for score in scores_of(spec)
        ]
        scores += [
            Score(metric="concept_mismatch", partition="test", level=level, value=mismatch + level,
                  ci_low=mismatch - 1, ci_high=mismatch + 9)
            for level in levels
        ]  # fmt: skip
        write_trial(folder, spec, scores=scores)
    return compare(read_run(folder))


def test_a_point_is_both_numbers_with_both_intervals(tmp_path: Path) -> None:
    comparison = run(tmp_path, MISMATCH)
    section = comparison.sections[0]
    drawn = mismatch_figure(section, comparison.colors)
    assert drawn is not None
    axes = drawn[0].axes
    assert [each.get_title(loc="left").split("\n")[0] for each in axes] == ["level 4, n = 5", "level 2, n = 5"]
    for level, panel in zip((4, 2), axes, strict=True):
        assert len(panel.containers) == len(MISMATCH)
        points = [bars.lines[0].get_xydata()[0] for bars in panel.containers]
        expected = [[mismatch + level, 90 - mismatch] for mismatch in MISMATCH]
        assert np.array(sorted(map(tuple, points))) == pytest.approx(np.array(sorted(map(tuple, expected))))
        across = panel.containers[0].lines[2][0].get_segments()[0][:, 0]
        assert across[0] == pytest.approx(points[0][0] - level - 1)
        assert panel.get_xscale() == "log"
        drawn[0].draw_without_rendering()
        labels = [text.get_text() for text in panel.get_xticklabels(which="both") if text.get_text()]
        assert labels
        assert all(label.replace(".", "").isdigit() for label in labels)


def test_the_correlation_is_that_of_the_objectives_and_says_how_many(tmp_path: Path) -> None:
    comparison = run(tmp_path, MISMATCH)
    found = correlations(comparison.sections[0])
    assert [correct.level for _, correct, _ in found] == [4, 2]
    for mismatch, correct, correlation in found:
        values = [[cell.value for cell in row.cells if cell is not None] for row in (mismatch, correct)]
        assert correlation.value == pytest.approx(spearmanr(*values).statistic)
        assert correlation.value == pytest.approx(-1)
        assert (correlation.number, said(correlation)[:7]) == (5, "\N{GREEK SMALL LETTER RHO} -1.00")
    page = render_html(comparison)
    assert 'aria-label="Correctness against the mismatch of aggregate posteriors' in page
    assert "level 4, n = 5" in page


def test_three_objectives_are_shown_and_not_correlated_and_one_is_not_shown(tmp_path: Path) -> None:
    three = run(tmp_path / "three", MISMATCH[:3])
    ((_, _, found), _) = correlations(three.sections[0])
    assert said(found) == "too few to correlate"
    one = run(tmp_path / "one", MISMATCH[:1])
    assert mismatch_figure(one.sections[0], one.colors) is None
    none = run(tmp_path / "none", MISMATCH, levels=())
    assert mismatch_figure(none.sections[0], none.colors) is None
    assert "Correctness against the mismatch" not in render_html(none)


def test_a_mismatch_that_noise_makes_negative_has_a_place(tmp_path: Path) -> None:
    comparison = run(tmp_path, [-4.5, 10.0], levels=(2,))
    drawn = mismatch_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    assert drawn[0].axes[0].get_xscale() == "linear"
