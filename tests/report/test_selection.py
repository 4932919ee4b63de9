"""Which setting the validation partition selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmvae_bench.report import write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.selection import candidates
from mmvae_bench.runs.scores import Score

from .synthetic_runs import spec_of, write_trial

CORRECTNESS = {  # by lambda: on val at levels 4 and 3, on test at the same
    1: ((0.50, 0.60), (0.90, 0.90)),
    10: ((0.40, 0.80), (0.55, 0.75)),
    50: ((0.58, 0.60), (0.70, 0.70)),
}


@pytest.fixture
def selection_run(tmp_path: Path) -> Path:
    """Three settings of telbo and one of jmvae, scored on val and on test."""
    for weight, (val, test) in CORRECTNESS.items():
        write_trial(
            tmp_path / "run",
            spec_of({"name": "telbo", "lambda": weight}),
            scores=[*_scores("val", val), *_scores("test", test)],
        )
    write_trial(tmp_path / "run", spec_of("jmvae"), scores=[*_scores("val", (0.9, 0.9)), *_scores("test", (0.1, 0.1))])
    return tmp_path / "run"


def _scores(partition: str, values: tuple[float, float]) -> list[Score]:
    def score(metric: str, level: int, value: float, protocol: str = "paper", attribute: str | None = None) -> Score:
        return Score(metric=metric, partition=partition, protocol=protocol, level=level, value=value,
                     attribute=attribute, per_query=[value] * 4, num_queries=4, num_samples=10)  # fmt: skip

    scores = [score("correctness", level, value) for level, value in zip((4, 3), values, strict=True)]
    # Nothing else counts: coverage, one attribute, another protocol.
    others = [score("coverage", 3, 1 - values[1]), score("correctness", 4, 1 - values[0], attribute="digit")]
    return [*scores, *others, score("correctness", 4, 1 - values[0], protocol="official")]


def test_the_highest_mean_over_levels_on_val_is_chosen(selection_run: Path) -> None:
    """lambda 10 has the best level 3, lambda 1 the best test; the mean on val is highest with 10: 0.60, not 0.59."""
    sections = compare(read_run(selection_run)).sections
    by_partition = {section.setting.partition: section for section in sections}
    assert candidates(by_partition["test"], sections) == []
    found = {candidate.label: candidate for candidate in candidates(by_partition["val"], sections)}
    assert set(found) == {f"telbo lambda={weight}" for weight in CORRECTNESS}, "jmvae has nothing to choose between"
    for weight, (val, test) in CORRECTNESS.items():
        candidate = found[f"telbo lambda={weight}"]
        assert candidate.val == pytest.approx(sum(val) / 2)
        assert candidate.test == pytest.approx(sum(test) / 2)
        assert candidate.chosen == (weight == 10)


def test_every_rendering_says_it(selection_run: Path) -> None:
    terminal = write_report(selection_run, width=100, color=False)
    page = (selection_run / "report" / "index.html").read_text()
    table = (selection_run / "report" / "table.md").read_text()
    for text in (terminal, table, page):
        line = next(line for line in text.splitlines() if "telbo lambda=10" in line and "chosen" in line)
        assert line.index("60.0") < line.index("65.0") < line.index("chosen"), "val, then test"
        assert text.count("chosen") == 1
