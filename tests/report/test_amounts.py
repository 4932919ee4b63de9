"""Scores against the labels, and against the missing images: what is drawn is what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from mmvae_bench.report.amounts import ALONE, amount_figures
from mmvae_bench.report.comparison import Comparison, compare
from mmvae_bench.report.drawing import SERIES
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import write_figures
from mmvae_bench.runs.scores import Score

from .synthetic_runs import scores_of, spec_of, write_trial

LABELS = (100, 1, 10)
"""In the order of the grid: the axis has them sorted."""


def errors(value: float, alone: float) -> list[Score]:
    return [Score(metric="label_error", partition="test", value=value),
            Score(metric="label_error_alone", partition="test", value=alone)]  # fmt: skip


def with_training(root: Path, objective: str, seed: int, part: dict[str, Any], extra: list[Score]) -> None:
    spec = spec_of(objective, seed=seed, training=part)
    write_trial(root, spec, scores=[*scores_of(spec), *extra])


@pytest.fixture
def few(tmp_path: Path) -> Comparison:
    """Two objectives and three seeds at three numbers of labels, and one number with another rate."""
    for objective, gain in (("telbo", 0.0), ("jmvae", 0.1)):
        for number in LABELS:
            for seed in (0, 1, 2):
                part = {"supervision": {"labels_per_class": number, "rate": 0.5}}
                error = 0.5 - 0.001 * number - gain + 0.01 * seed
                with_training(tmp_path, objective, seed, part, errors(error, 0.6 - 0.002 * number))
    with_training(tmp_path, "telbo", 0, {"supervision": {"labels_per_class": 1, "rate": 0.25}}, errors(0.9, 0.9))
    return compare(read_run(tmp_path))


def lines_of(axes: Axes) -> list[list[tuple[float, float]]]:
    """The curves, without the intervals, which are upright."""
    found = [[(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.lines]
    return [line for line in found if len({x for x, _ in line}) > 1]


def test_a_line_for_each_objective_and_the_classifier_alone_beside_them(few: Comparison) -> None:
    figures = amount_figures(few.sections, few.colors)
    assert len(few.sections) == 4
    ((place, (figure, words)),) = figures.items()
    alike = [k for k, each in enumerate(few.sections) if ("supervision.rate", "0.5") in each.setting.training_params]
    assert place == alike[0]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].startswith("label error")
    assert "labels a class" in words
    first = figure.axes[0]
    alone, telbo, jmvae = sorted(lines_of(first), key=lambda line: -line[0][1])
    assert [x for x, _ in telbo] == [1, 10, 100]
    assert [y for _, y in telbo] == pytest.approx([51 - 0.1 * n for n in (1, 10, 100)])
    assert [y for _, y in jmvae] == pytest.approx([41 - 0.1 * n for n in (1, 10, 100)])
    assert [y for _, y in alone] == pytest.approx([60 - 0.2 * n for n in (1, 10, 100)])
    assert len(lines_of(first)) == 3
    assert first.get_xscale() == "log"
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "10", "100"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == sorted(["telbo", "jmvae", ALONE])


def test_an_interval_over_seeds_is_drawn_at_each_place(few: Comparison) -> None:
    (figure, _), = amount_figures(few.sections, few.colors).values()  # fmt: skip
    upright = [line.get_xydata() for line in figure.axes[0].lines if len({x for x, _ in line.get_xydata()}) == 1]
    found = {(round(float(ends[0][0])), round(float(ends[0][1]), 4), round(float(ends[1][1]), 4)) for ends in upright}
    expected = set()
    for section in few.sections:
        params = dict(section.setting.training_params)
        if params["supervision.rate"] != "0.5":
            continue
        number = int(params["supervision.labels_per_class"])
        row = next(row for row in section.rows if row.metric == "label_error")
        for cell in row.cells:
            assert cell is not None
            expected.add((number, round(100 * cell.low, 4), round(100 * cell.high, 4)))
    assert len(expected) == 6
    assert expected <= found


def test_without_missing_images_a_curve_begins_at_zero(tmp_path: Path) -> None:
    for objective in ("telbo", "jmvae"):
        for share in (None, 0.5, 0.75):
            part = {"missing_images": None if share is None else {"fraction": share}}
            with_training(tmp_path, objective, 0, part, [])
    comparison = compare(read_run(tmp_path))
    ((figure, words),) = amount_figures(comparison.sections, comparison.colors).values()
    assert "share without image" in words
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["correctness, %", "description, %", "coverage, %"]
    for line in lines_of(figure.axes[0]):
        assert [x for x, _ in line] == [0, 0.5, 0.75]
    for section in comparison.sections:
        top = next(r for r in section.of("paper") if r.metric == "correctness" and r.level == 4)
        values = {round(100 * cell.value, 6) for cell in top.cells if cell is not None}
        drawn = {round(y, 6) for line in lines_of(figure.axes[0]) for _, y in line}
        assert values <= drawn, "the highest level under the protocol that heads the table"
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert colours == {SERIES[comparison.colors[name]] for name in ("telbo", "jmvae")}


def test_curves_of_two_choices_of_examples_begin_at_the_same_zero(tmp_path: Path) -> None:
    """Which of the examples had no image is a setting, too: a figure for each seed of the choice, and none is lost."""
    with_training(tmp_path, "telbo", 0, {}, [])
    for share in (0.5, 0.75):
        for seed in (0, 1):
            with_training(tmp_path, "telbo", 0, {"missing_images": {"fraction": share, "seed": seed}}, [])
    comparison = compare(read_run(tmp_path))
    assert len(comparison.sections) == 5
    # As in a grid that has null in front.
    sections = sorted(comparison.sections, key=lambda each: len(each.setting.training_params))
    figures = amount_figures(sections, comparison.colors)
    assert len(figures) == 2
    for figure, _ in figures.values():
        assert [x for x, _ in lines_of(figure.axes[0])[0]] == [0, 0.5, 0.75]


def test_what_varies_otherwise_has_no_such_figure(tmp_path: Path) -> None:
    for rate in (1e-3, 1e-4):
        with_training(tmp_path, "telbo", 0, {"learning_rate": rate, "supervision": {"fraction": 0.5}}, errors(0.5, 0.5))
    comparison = compare(read_run(tmp_path))
    assert len(comparison.sections) == 2
    assert amount_figures(comparison.sections, comparison.colors) == {}


def test_it_is_on_the_page_and_a_file_of_its_own(few: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    write_figures(few, folder)
    (file,) = folder.glob("*-amounts.svg")
    assert "labels a class" in file.read_text(encoding="utf-8")
    assert sum("amounts" in figures for figures in few.figures) == 1
