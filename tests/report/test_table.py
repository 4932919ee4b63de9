"""Aggregation over seeds and paired differences, against plain loops over the files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.base.statistics import paired_difference, seeds_interval
from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.report.board import in_short, leading, order, standing
from mmvae_bench.report.comparison import Section
from mmvae_bench.report.notes import Judge
from mmvae_bench.report.tables import Cell, Row, best_and_differences
from mmvae_bench.report.text import ahead_of, caption, difference_rows
from mmvae_bench.runs.scores import Score

from .synthetic_runs import comparison, score, section, spec_of, write_trial

NAN = math.nan


def row_of(found: Section, metric: str, level: int | None, protocol: str | None = "paper") -> Row:
    (row,) = [row for row in found.rows if (row.metric, row.level, row.protocol) == (metric, level, protocol)]
    return row


def raw_scores(run_dir: Path, objective: str, split: str, **wanted: Any) -> list[dict[str, Any]]:
    """The scores in the files that match, one per seed."""
    found = []
    for path in sorted((run_dir / "trials").glob("*/result.json")):
        result = json.loads(path.read_text())
        if (result["spec"]["objective"]["name"], result["spec"]["dataset"]["split"]) == (objective, split):
            found += [score for score in result["scores"] if all(score[key] == value for key, value in wanted.items())]
    return found


@pytest.mark.parametrize("split", ["iid", "comp"])
@pytest.mark.parametrize("protocol", ["paper", "official"])
def test_values_are_means_over_seeds(run_dir: Path, split: str, protocol: str) -> None:
    table = section(run_dir, split)
    checked = 0
    for row in table.of(protocol):
        for column, cell in zip(table.columns, row.cells, strict=True):
            wanted = {"metric": row.metric, "level": row.level, "protocol": row.protocol}
            raw = raw_scores(run_dir, column.objective, split, **wanted)
            assert cell is not None
            assert cell.num_seeds == len(raw) == (2 if split == "iid" else 1)
            assert cell.value == pytest.approx(sum(score["value"] for score in raw) / len(raw), abs=1e-12)
            checked += 1
    # Description accuracy and ELBO belong to no protocol and are shown with the headline's rows.
    assert checked == len(table.columns) * ({"iid": 7, "comp": 1}[split] + (2 if protocol == "paper" else 0))


def test_one_seed_has_the_interval_over_queries_as_stored(run_dir: Path) -> None:
    table = section(run_dir, "comp")
    row = row_of(table, "correctness", 4)
    for column, cell in zip(table.columns, row.cells, strict=True):
        (raw,) = raw_scores(run_dir, column.objective, "comp", metric="correctness", level=4, protocol="paper")
        assert cell is not None
        assert (cell.low, cell.high) == (raw["ci_low"], raw["ci_high"])


def test_several_seeds_have_an_interval_over_seeds_and_queries(run_dir: Path) -> None:
    table = section(run_dir)
    row = row_of(table, "correctness", 4)
    for column, cell in zip(table.columns, row.cells, strict=True):
        raw = raw_scores(run_dir, column.objective, "iid", metric="correctness", level=4, protocol="paper")
        seeds = [score["per_query"] for score in raw]
        assert cell is not None
        assert len(seeds) == 2
        assert (cell.low, cell.high) == seeds_interval(seeds, fraction=True)
        assert cell.low < cell.value < cell.high


def test_differences_are_paired_by_seed_and_query(run_dir: Path) -> None:
    table = section(run_dir)
    names = [column.objective for column in table.columns]
    for row in table.of("official"):
        wanted = {"metric": row.metric, "level": row.level, "protocol": "official"}
        raw = {name: raw_scores(run_dir, name, "iid", **wanted) for name in names}
        means = {name: sum(score["value"] for score in raw[name]) / 2 for name in names}
        best = max(means, key=lambda name: means[name])
        assert row.best == names.index(best)
        assert row.differences[row.best] is None
        (other,) = [name for name in names if name != best]
        difference = row.differences[names.index(other)]
        assert difference is not None
        total = 0.0
        for ours, theirs in zip(raw[best], raw[other], strict=True):
            total += sum(a - b for a, b in zip(ours["per_query"], theirs["per_query"], strict=True)) / 48 / 2
        assert difference.value == pytest.approx(total, abs=1e-9)
        assert difference.low < total < difference.high
        ours, theirs = ([score["per_query"] for score in raw[name]] for name in (best, other))
        assert (difference.low, difference.high) == paired_difference(ours, theirs)[1:3]


def three_seeds(run_dir: Path, means: dict[str, float], *, spread: float = 0.01, num: int = 3, **changes: Any) -> Row:
    """One row of objectives with these means; seeds and queries vary around them."""
    for name, mean in means.items():
        for seed in range(num):
            generator = np.random.default_rng([seed, sum(map(ord, name))])
            values = np.clip(mean + spread * generator.normal() + generator.normal(0, 0.02, 48), 0, 1)
            write_trial(run_dir, spec_of(name, seed=seed), scores=[score(values.round(6).tolist(), **changes)])
    (row,) = section(run_dir).rows
    return row


def names(run_dir: Path) -> list[str]:
    return [column.objective for column in section(run_dir).columns]


def leaders(run_dir: Path) -> set[str]:
    (row,) = section(run_dir).rows
    return {names(run_dir)[index] for index in row.leaders}


def test_leaders_are_those_not_told_apart_from_the_best(tmp_path: Path) -> None:
    means = {"telbo": 0.8, "jmvae": 0.797, "bivcca": 0.2}
    row = three_seeds(tmp_path, means, floor=0.3)
    assert leaders(tmp_path) == {"telbo", "jmvae"}
    ranks = {name: row.rank(index) for index, name in enumerate(names(tmp_path))}
    assert ranks == {"telbo": (1, 2), "jmvae": (1, 2), "bivcca": (3, 3)}


def tied_row(
    values: list[float], better: list[tuple[int, int]], seeds: list[int] | None = None, metric: str = "correctness"
) -> Row:
    """A row with these means, what is told apart in it, and how many seeds each has: three unless ``seeds`` says."""
    told = np.zeros((len(values), len(values)), dtype=bool)
    for first, second in better:
        told[first, second] = True
    cells = tuple(
        Cell(
            value=value, low=value - 0.1, high=value + 0.1, ceiling=1.0, floor=0.2, num_seeds=num, num_queries=10,
            num_samples=10, seeds=(),
        )
        for value, num in zip(values, seeds or [3] * len(values), strict=True)
    )  # fmt: skip
    best, differences = best_and_differences(cells, direction=metric_info(metric).direction)
    return Row(protocol="paper", metric=metric, attribute=None, level=4, cells=cells, best=best,
               differences=differences, better=told)  # fmt: skip


@pytest.mark.parametrize("swapped", [False, True])
def test_a_tie_is_shared_and_does_not_hang_on_the_last_digit(swapped: bool) -> None:
    """Two objectives with the same mean, of which one was added up in another order; only one of them is told apart
    from the last, because its seeds differ less."""
    ends = (17 / 18, math.nextafter(17 / 18, 1))
    values = [0.5, *(reversed(ends) if swapped else ends), 0.6]
    row = tied_row(values, [(2, 0)])
    assert row.best == 1
    assert row.leaders == {1, 2, 3}
    columns = tuple(SimpleNamespace(label=name, done=[0]) for name in "abcd")
    assert order(cast(Any, SimpleNamespace(columns=columns)), row) == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("values", "better", "seeds", "found"),
    [
        ([0.9, 0.6], [(0, 1)], [3, 3], "a-1: 90.0; nobody else is as good"),
        ([0.9, 0.89, 0.6], [(0, 2)], [3, 3, 3], "a-1: 90.0; one other may be as good"),
        ([0.9, 0.89, 0.88, 0.6], [(0, 3)], [3, 3, 3, 3], "a-1: 90.0; 2 others may be as good"),
        ([0.9, 0.89, 0.6], [(0, 2)], [3, 1, 3], "a-1: 90.0; none of those compared is as good"),
        ([0.9, 0.89, 0.88, 0.6], [(0, 3)], [3, 3, 1, 3], "a-1: 90.0; one other of those compared may be as good"),
        ([0.9, 0.9, 0.6], [(1, 2)], [1, 3, 3], "b-2: 90.0; none of those compared is as good"),
        ([0.9, 0.89, 0.9, 0.6], [(2, 3)], [1, 3, 3, 3], "c-3: 90.0; one other of those compared may be as good"),
        ([0.9, 0.8, 0.7], [(1, 2)], [1, 3, 3], "a-1: 90.0; the best mean, but from a single run"),
        ([0.7, 0.9], [], [1, 1], "b-2: 90.0; the best of single runs, not of objectives"),
        ([0.7, 0.9], [], [3, 3], "b-2: 90.0; the best mean, but nobody leads for certain"),
        ([0.9, 0.9, 0.9], [], [3, 3, 3], "a-1: 90.0; all have the same mean"),
        ([0.9, math.nextafter(0.9, 1)], [], [1, 3], "a-1: 90.0; all have the same mean"),
        ([0.9], [], [3], "a-1: 90.0; nobody to compare it with"),
    ],
)  # fmt: skip
def test_a_score_in_a_sentence(
    values: list[float], better: list[tuple[int, int]], seeds: list[int], found: str
) -> None:
    """Nothing is claimed of an objective that was not compared, and no hyphen of a name becomes a minus."""
    label, rest = found.split(": 90.0; ")
    assert in_short(named(4), tied_row(values, better, seeds)) == (
        f"{label}: correctness at level 4 is 90.0 ±10.0 %, 87.5 % of the way from floor to ceiling; {rest}."
    )


@pytest.mark.parametrize(
    ("values", "better", "seeds", "found"),
    [
        ([0.6, 0.9], [(1, 0)], [3, 3], "b-2"),
        ([0.89, 0.9, 0.6], [(1, 2)], [3, 3, 3], "b-2, a-1"),
        ([0.7, 0.9], [], [3, 3], "nobody leads; best mean: b-2"),
        ([0.7, 0.9, 0.6], [], [1, 3, 3], "nobody leads; best mean: b-2"),
        ([0.7, 0.9, 0.6], [], [3, 1, 3], "nobody leads; best mean: b-2, from a single run"),
        ([0.7, 0.9], [], [3, 1], "nobody leads; best mean: b-2, from a single run"),
        ([0.7, 0.9], [], [1, 1], "b-2, in single runs"),
        ([0.9, 0.9], [], [3, 3], "nobody leads: all have the same mean"),
        ([0.9, math.nextafter(0.9, 1)], [], [3, 1], "nobody leads: all have the same mean"),
        ([0.9, 0.9], [], [1, 1], "nobody leads: all have the same mean"),
        ([0.9], [], [3], "a-1, alone"),
    ],
)
def test_who_leads_in_words(values: list[float], better: list[tuple[int, int]], seeds: list[int], found: str) -> None:
    """Single runs are compared only where all are: one beside means of several is the best of nothing."""
    assert leading(named(4), tied_row(values, better, seeds)) == found


@pytest.mark.parametrize(
    ("metric", "value", "found"),
    [
        ("fid", 12.1, "FID is 12.10 (lower is better)"),
        ("light_angle", 12.1, "light, angle (degrees) is 12.1 (lower is better)"),
        ("log_py_tight", -3.2, "log p(y), tight (nats) is \N{MINUS SIGN}3.2"),
        ("reconstruction_error", 0.01, "reconstruction error (MSE) is 0.0100 (lower is better)"),
        ("description_accuracy", 0.5, "description is 50.0 %"),
    ],
)
def test_a_score_in_a_sentence_has_its_unit(metric: str, value: float, found: str) -> None:
    row = tied_row([value], [], metric=metric)
    cell = replace(cast(Any, row.cells[0]), low=NAN, high=NAN, ceiling=NAN, floor=NAN)
    said = in_short(named(1), replace(row, level=None, cells=(cell,)))
    assert said == f"a-1: {found}; nobody to compare it with."


@pytest.mark.parametrize(
    ("values", "better", "found"),
    [
        ([0.9, 0.6, 0.5], [(0, 1), (0, 2)], ["the best", "", ""]),
        ([0.9, 0.89, 0.5], [(0, 2)], ["the best mean", "", ""]),
        ([0.9, 0.89], [], ["the best mean", ""]),
        ([0.9, 0.9], [], ["", ""]),
        ([0.9], [], [""]),
    ],
)
def test_who_may_be_called_the_best(values: list[float], better: list[tuple[int, int]], found: list[str]) -> None:
    row = tied_row(values, better)
    assert [standing(row, index) for index in range(len(values))] == found
    assert standing(None, 0) == ""


def named(number: int) -> Any:
    """As much of a table as a sentence needs: columns a-1, b-2 and so on."""
    return SimpleNamespace(
        columns=tuple(SimpleNamespace(label=f"{'abcd'[place]}-{place + 1}") for place in range(number))
    )


def test_one_training_seed_has_no_leader(tmp_path: Path) -> None:
    """Nine of ten pairs of equal objectives differed by more than the interval of a run."""
    means = {"telbo": 0.8, "jmvae": 0.6, "bivcca": 0.2}
    row = three_seeds(tmp_path, means, num=1)
    assert names(tmp_path)[row.best or 0] == "telbo"
    assert row.leaders == frozenset()
    assert row.rank(0) is None
    assert any("compare single runs, not objectives" in warning for warning in section(tmp_path).warnings)


def test_what_differs_by_less_than_its_seeds_has_no_leader(tmp_path: Path) -> None:
    row = three_seeds(tmp_path, {"telbo": 0.72, "jmvae": 0.70, "bivcca": 0.68}, spread=0.03)
    assert row.leaders == frozenset()
    assert row.rank(0) == (1, 3)


def test_no_leader_at_chance(tmp_path: Path) -> None:
    """The best of several that have learnt nothing is not to be admired, however much worse the worst is."""
    means = {"telbo": 0.295, "jmvae": 0.29, "bivcca": 0.05}
    row = three_seeds(tmp_path / "chance", means, floor=0.296)
    assert row.rank(names(tmp_path / "chance").index("bivcca")) == (3, 3)
    assert row.leaders == frozenset()
    three_seeds(tmp_path / "better", means, floor=0.2)
    assert leaders(tmp_path / "better") == {"telbo", "jmvae"}


def test_no_leader_where_one_cannot_be_paired(tmp_path: Path) -> None:
    """Scores of one attribute are stored without their queries: the greater of two is not thereby the better."""
    for name, value in {"telbo": 0.7, "jmvae": 0.6}.items():
        alone = replace(score([value] * 5, attribute="digit"), per_query=None)
        write_trial(tmp_path, spec_of(name), scores=[alone])
    (row,) = section(tmp_path).rows
    assert row.best is not None
    assert row.leaders == frozenset()


def test_attributes_keep_the_order_of_the_schema(tmp_path: Path) -> None:
    names = ("scale", "digit", "location")
    scores = [score([0.5, 0.6], attribute=name, level=level) for level in (1, 4) for name in names]
    write_trial(tmp_path, spec_of(), scores=scores)
    found = [(row.attribute, row.level) for row in section(tmp_path).by_attribute]
    assert found == [(name, level) for name in names for level in (4, 1)]


def test_one_value_has_no_interval(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), scores=[replace(score([0.5]), ci_low=0.5, ci_high=0.5)])
    ((cell,),) = [row.cells for row in section(tmp_path).rows]
    assert cell is not None
    assert math.isnan(cell.low)
    assert math.isnan(cell.high)


def test_lower_is_better_for_a_divergence(tmp_path: Path) -> None:
    for name, value in {"telbo": 0.3, "jmvae": 0.2}.items():
        write_trial(tmp_path, spec_of(name), scores=[score([value] * 9, metric="joint_divergence")])
    table = section(tmp_path)
    (row,) = table.rows
    assert table.columns[row.best or 0].label == "jmvae"
    (difference,) = [each for each in row.differences if each]
    assert difference.value == pytest.approx(-0.1)
    assert difference.high < 0


def test_an_elbo_is_not_ranked(run_dir: Path) -> None:
    row = row_of(section(run_dir), "elbo", None, None)
    assert row.best is None
    assert row.leaders == frozenset()


def test_other_queries_are_not_paired(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    folder = write_trial(tmp_path, spec_of("jmvae"))
    result = json.loads((folder / "result.json").read_text())
    result["evaluation"]["seed"] = 1
    write_json(folder / "result.json", result)
    table = section(tmp_path)
    assert all(difference is None for row in table.rows for difference in row.differences)
    assert any("different settings" in warning for warning in table.warnings)


def test_queries_without_a_score_are_left_out(tmp_path: Path) -> None:
    gone = math.nan
    write_trial(tmp_path, spec_of("telbo"), scores=[score([0.9, gone, 0.7, 0.9])])
    write_trial(tmp_path, spec_of("jmvae"), scores=[score([0.5, 0.1, gone, 0.6])])
    (row,) = section(tmp_path).rows
    (difference,) = [each for each in row.differences if each]
    assert difference.value == pytest.approx((0.4 + 0.3) / 2)


def test_a_seed_without_a_number_is_left_out(tmp_path: Path) -> None:
    first, second = spec_of(seed=0), spec_of(seed=1)
    write_trial(tmp_path, first, scores=[score([0.25, 0.75])])
    write_trial(tmp_path, second, scores=[replace(score([0.5]), value=math.nan)])
    ((cell,),) = [row.cells for row in section(tmp_path).rows]
    assert cell is not None
    assert (cell.value, cell.num_seeds) == (0.5, 1)


def test_an_objective_without_a_score_has_an_empty_cell(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"))
    write_trial(tmp_path, spec_of("jvae"), scores=[Score(metric="elbo", partition="test", value=-100.0)])
    table = section(tmp_path)
    place = [column.label for column in table.columns].index("jvae")
    assert row_of(table, "correctness", 4).cells[place] is None
    assert row_of(table, "elbo", None, None).cells[place] is not None


def test_rows_run_from_all_specified_to_one(run_dir: Path) -> None:
    rows = section(run_dir).of("paper")
    assert [(row.metric, row.level) for row in rows][:7] == [
        *(("correctness", level) for level in (4, 3, 2, 1)),
        *(("coverage", level) for level in (3, 2, 1)),
    ]


def many_attributes(number: int) -> list[Score]:
    """Scores of a dataset with many attributes, a named query and a watched attribute."""
    scores = [Score(metric="correctness", partition="test", protocol="paper", level=level, value=0.5, num_queries=480,
                    num_samples=100) for level in (number, 3)]  # fmt: skip
    for k in range(number):
        for level in (number, 3):
            scores.append(Score(metric="correctness", partition="test", protocol="paper", level=level, value=k / 20,
                                attribute=f"flag {k}"))  # fmt: skip
        scores.append(Score(metric="description_accuracy", partition="test", value=0.5, attribute=f"flag {k}"))
    named = {"partition": "test", "attribute": "bald and not male", "level": 2, "per_query": [1.0, 0.0, 1.0, 0.0]}
    scores.append(Score(metric="named_query", value=0.5, num_queries=1, num_samples=4, **named))
    scores.append(Score(metric="frequency_unspecified", partition="test", value=0.2, ceiling=0.06, attribute="flag 6"))
    return scores


@pytest.mark.parametrize(("number", "rows"), [(18, 2 * 18), (4, 3 * 4)])
def test_many_attributes_are_shown_at_the_highest_level_only(tmp_path: Path, number: int, rows: int) -> None:
    write_trial(tmp_path, spec_of("telbo"), scores=many_attributes(number))
    found = section(tmp_path)
    assert len(found.by_attribute) == rows
    shown = [(row.metric, row.level, row.attribute) for row in found.of("paper")]
    assert shown == [
        ("correctness", number, None),
        ("correctness", 3, None),
        ("named_query", 2, "bald and not male"),
        ("frequency_unspecified", None, "flag 6"),
    ]
    assert not {"named_query", "frequency_unspecified"} & {row.metric for row in found.by_attribute}
    # Nothing is lost to the file.
    assert len(comparison(tmp_path).frame()) == len(many_attributes(number))


def test_named_queries_are_ranked_and_frequencies_are_not(tmp_path: Path) -> None:
    for objective, value in (("telbo", 0.9), ("jmvae", 0.2)):
        scores = [replace(score, value=value) for score in many_attributes(18)]
        scores = [replace(score, per_query=[value, value + 0.01]) if score.per_query else score for score in scores]
        write_trial(tmp_path, spec_of(objective), scores=scores)
    found = section(tmp_path)
    rows = {row.metric: row for row in found.of("paper") if row.attribute is not None}
    best = rows["named_query"].best
    assert best is not None
    assert found.columns[best].label == "telbo"
    assert rows["frequency_unspecified"].best is None


def test_a_classifier_of_many_attributes_is_named_with_its_lowest() -> None:
    accuracy = tuple((f"flag {k}", 0.9 + k / 1000) for k in range(18))
    text = Judge("conv_rgb", "c", accuracy[::-1], 0.95).text
    assert text == "conv_rgb: lowest of 18 attributes flag 0 90.0, flag 1 90.1, flag 2 90.2; mean 95.0 %"
    doubt = Judge("conv_rgb", "c", accuracy, 0.95, {name: 0.9 for name, _ in accuracy}).doubt
    assert doubt is not None
    assert "some attributes poorly" in doubt
    assert "flag 0 90.0 % (chance: 90.0 %), flag 1 90.1 % (chance: 90.0 %), flag 2 90.2" in doubt
    assert "and 15 more of 18 attributes. Scores with them" in doubt
    assert Judge("conv_thin", "c", accuracy[:2], 0.9).text == "conv_thin: flag 0 90.0, flag 1 90.1; mean 90.0 %"


def test_the_caption_speaks_of_the_fixed_queries(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"), scores=many_attributes(18))
    assert caption(section(tmp_path), "paper") == "test, protocol paper (per level: 480 queries, 100 samples each)"
    assert {"named query", "frequency when open"} <= {label for label, _ in comparison(tmp_path).metrics}


def test_how_often_a_seed_of_the_best_is_ahead(tmp_path: Path) -> None:
    for name, means in {"telbo": (0.6, 0.8, 0.7), "jmvae": (0.65, 0.5, 0.7)}.items():
        for seed, mean in enumerate(means):
            write_trial(tmp_path, spec_of(name, seed=seed), scores=[score([mean] * 9)])
    (row,) = difference_rows(section(tmp_path), "paper")
    # 0.6 is ahead of one; 0.8 of three; 0.7 of two, and half of another 0.7.
    assert (row.best, row.other, row.ahead) == ("telbo", "jmvae", "6.5 of 9")


def test_nobody_is_ahead_by_a_score_that_ranks_nobody(tmp_path: Path) -> None:
    """The ELBOs of two objectives are of different losses: not a tie, and not a win."""
    for name, elbo in {"telbo": -100.0, "jmvae": -200.0}.items():
        for seed in range(3):
            own = Score(metric="elbo", partition="test", value=elbo - seed)
            write_trial(tmp_path, spec_of(name, seed=seed), scores=[score([0.5] * 9), own])
    rows = {row.metric: row for row in section(tmp_path).of("paper")}
    assert ahead_of(rows["elbo"], 0, 1) == ("", "")
    assert ahead_of(rows["correctness"], 0, 1) == ("4.5", "9")
