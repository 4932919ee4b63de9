"""The figure of words: what is drawn is what was counted, beside training's own captions."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmvae_bench.report.comparison import Comparison, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.report.words import MOST_WORDS, words_figure
from mmvae_bench.runs.scores import Score

from .synthetic_runs import spec_of, write_trial

TRAINING = {"small": 0.25, "three": 0.1, "square": 0.5}
WRITTEN = {"telbo": {"small": 0.2, "three": 0.0, "square": 0.6}, "jmvae": {"small": 0.9, "three": 0.3}}


def run(folder: Path, written: dict[str, dict[str, float]], metric: str = "word_frequency") -> Comparison:
    for objective, shares in written.items():
        scores = [
            Score(metric=metric, partition="test", attribute=word, value=share, ci_low=share / 2,
                  ci_high=share / 2 + 0.5, ceiling=TRAINING.get(word, 0.01), num_queries=100)
            for word, share in shares.items()
        ]  # fmt: skip
        write_trial(folder, spec_of(objective), scores=scores)
    return compare(read_run(folder))


def test_bars_are_training_and_points_what_each_objective_wrote(tmp_path: Path) -> None:
    comparison = run(tmp_path, WRITTEN)
    drawn = words_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    (axes,) = drawn[0].axes
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert words == ["square", "small", "three"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50, 25, 10])
    found = {column.label: dict.fromkeys(words) for column in comparison.sections[0].columns}
    for line, label in zip(axes.lines, found, strict=True):
        for share, height in line.get_xydata():
            found[label][words[round(height)]] = share
    expected = {"telbo": [60, 20, 0], "jmvae": [None, 90, 30]}
    for label, shares in found.items():
        objective = label.split()[0]
        for share, wanted in zip(shares.values(), expected[objective], strict=True):
            assert share is None if wanted is None else share == pytest.approx(wanted)
    ends = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    first = next(iter(found)).split()[0]
    in_order = [word for word in words if word in WRITTEN[first]]
    both = [[50 * WRITTEN[first][word], 50 * WRITTEN[first][word] + 50] for word in in_order]
    assert ends == [pytest.approx(each) for each in both]


def test_of_the_prior_alone_there_is_one_panel_and_the_page_shows_it(tmp_path: Path) -> None:
    comparison = run(tmp_path, {"telbo": WRITTEN["telbo"]}, "word_frequency_prior")
    drawn = words_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["texts of z ~ p(z)"]
    page = render_html(comparison)
    assert "Which words are written" in page
    assert 'aria-label="How often each word is written' in page


def test_of_many_words_those_of_most_training_captions_are_drawn(tmp_path: Path) -> None:
    many = {f"word{number:02}": 0.01 for number in range(MOST_WORDS)} | {"square": 0.5}
    comparison = run(tmp_path, {"telbo": many})
    drawn = words_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert (len(labels), labels[0]) == (MOST_WORDS, "square")


def test_where_no_words_were_counted_nothing_is_drawn(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of())
    comparison = compare(read_run(tmp_path))
    assert words_figure(comparison.sections[0], comparison.colors) is None
    assert "Which words are written" not in render_html(comparison)
