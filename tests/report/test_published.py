"""The published table, and where it is shown next to our numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.report import write_report
from mmvae_bench.report.comparison import Section, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.published import published_value, sprites_note
from mmvae_bench.runs.scores import Score

from .synthetic_runs import scores_of, spec_of, write_trial

PRINTED = """
iid 4  |                | 82.08 0.56 |                | 85.15 0.26 |                | 67.38 0.69
iid 3  | 91.14 0.53     | 81.63 0.38 | 88.52 0.37     | 82.00 0.37 | 85.28 0.68     | 70.68 0.87
iid 2  | 90.32 0.57     | 82.03 1.37 | 87.89 0.69     | 81.02 1.05 | 85.09 0.76     | 72.33 2.31
iid 1  | 90.94 0.19     | 83.67 1.70 | 88.70 0.35     | 81.58 1.78 | 85.53 0.27     | 68.36 2.21
comp 4 |                | 75.61 1.43 |                | 76.86 1.30 |                | 68.58 1.02
"""
"""Coverage and correctness of TELBO, JMVAE, BiVCCA, each with its standard deviation, in %."""


CDSPRITES = """
1 | 52, - , 63 | 47, - , 64 | 33, - , 10 | 33, - , 4 | 33.3
2 | 16, .8, 55 | 18, .8, 41 | 10, .8, 8  | 15, .8, 4 | 16.7, 0.83
3 | 8, 1.3, 59 | 6, 1.2, 2  | 7, 1.3, 0  | 4, 1.4, 0 | 3.3, 1.03
4 | 0, 1.8, 0  | 3, 1.7, 1  | 2, 1.4, 0  | 1, 1.4, 0 | 0.8, 1.28
5 | 0, 1.8, 0  | 0, 1.8, -  | 0, 1.8, -  | 0, 1.8, - | 0.4, 1.78
"""
"""By level: strict and features from text to image, strict from image to text, of four models; those of a guess."""


@pytest.mark.parametrize("line", CDSPRITES.strip().splitlines())
def test_the_published_leaderboard_of_sprites_is_the_printed_one(line: str) -> None:
    level, *cells, guess = (cell.strip() for cell in line.split("|"))
    *shown, of_a_guess = sprites_note(int(level)).split("compared with the numbers above: ")[1].split("; ")
    last, of_a_guess = of_a_guess.split(". A guess: ")
    for name, text, cell in zip(("MVAE", "MMVAE", "MoPoE", "DMVAE"), [*shown, last], cells, strict=True):
        numbers = [float(each) for each in cell.replace("-", "").replace(" ", "").split(",") if each]
        assert text.split()[0] == name
        assert [float(each) for each in re.findall(r"(?:strict|features|text) ([\d.]+)", text)] == numbers
    strict, *features = guess.split(", ")
    assert f"strict {strict} %" in of_a_guess
    assert f"image to text {strict} %" in of_a_guess
    assert all(f"features {each} of {level}" in of_a_guess for each in features)


@pytest.mark.parametrize("line", PRINTED.strip().splitlines())
def test_values_are_the_printed_ones(line: str) -> None:
    place, *cells = [cell.strip() for cell in line.split("|")]
    split, level = place.split()
    for position, cell in enumerate(cells):
        objective = ("telbo", "jmvae", "bivcca")[position // 2]
        metric = ("coverage", "correctness")[position % 2]
        found = published_value(split=split, objective=objective, metric=metric, level=int(level))
        if cell:
            mean, std = map(float, cell.split())
            assert found is not None
            assert (100 * found.mean, 100 * found.std) == pytest.approx((mean, std), abs=1e-9)
        else:
            assert found is None


def test_nothing_else_was_printed() -> None:
    assert published_value(split="iid", objective="jvae", metric="correctness", level=4) is None
    assert published_value(split="comp", objective="telbo", metric="correctness", level=3) is None
    assert published_value(split="iid", objective="telbo", metric="joint_divergence", level=3) is None


def paper_spec(objective: Any, **changes: Any) -> Any:
    dataset = {"source": "mnist", "canvas": 64} | changes.pop("dataset", {})
    steps = {"telbo": 250_000, "jmvae": 266_000}[objective if isinstance(objective, str) else objective["name"]]
    training = {"learning_rate": 1e-4, "steps": steps} | changes.pop("training", {})
    backbone = changes.pop("backbone", "mnist_a_paper")
    return spec_of(objective, training=training, dataset=dataset, backbone=backbone, **changes)


def only_section(run_dir: Path) -> Section:
    (section,) = compare(read_run(run_dir)).sections
    return section


def test_ours_theirs_and_the_difference(tmp_path: Path) -> None:
    spec = paper_spec("telbo")
    scores = [
        replace(score, value=0.8, ci_low=0.78, ci_high=0.81, per_query=None)
        for score in scores_of(spec)
        if (score.metric, score.level) == ("correctness", 4)
    ]
    write_trial(tmp_path, spec, scores=scores)
    section = only_section(tmp_path)
    assert section.published_note is None
    (item,) = section.published
    assert item.row.protocol == "official"
    assert item.difference == pytest.approx(0.80 - 0.8208)
    assert item.low == pytest.approx(item.difference - math.sqrt(0.02**2 + (1.96 * 0.0056) ** 2))
    assert item.high == pytest.approx(item.difference + math.sqrt(0.01**2 + (1.96 * 0.0056) ** 2))
    text = write_report(tmp_path, width=100, color=False)
    row = ["correctness", "4", "telbo", "80.0 ±2.0", "82.1 ±0.6", "-2.1 [-4.4, -0.6]"]
    assert "  ".join(row[:3]) in " ".join(text.split("\n")).replace("      ", "  ")
    for name in ("table.md", "table.tex", "index.html"):
        rendered = (tmp_path / "report" / name).read_text().replace(r"$\pm$", "±")
        rendered = rendered.replace("\N{MINUS SIGN}", "-").replace("$-$", "-")
        for part in row[3:]:
            assert part in rendered, (name, part)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": {"source": "digits"}}, "source digits (theirs: mnist)"),
        ({"dataset": {"replicas": 3}}, "replicas 3 (theirs: 10)"),
        ({"dataset": {"num_sources": 100}}, "num_sources 100 (theirs: none)"),
        ({"dataset": {"canvas": 32}, "backbone": "mnist_a_thin"}, "canvas 32 (theirs: 64)"),
        ({"backbone": "mnist_a_thin"}, "backbone mnist_a_thin (theirs: mnist_a_paper or mnist_a_released)"),
        ({"training": {"learning_rate": 1e-3}}, "learning_rate 0.001 (theirs: 0.0001)"),
        ({"training": {"batch_size": 32}}, "batch_size 32 (theirs: 64)"),
        ({"split": "iid_disjoint"}, "split iid_disjoint"),
        ({"split": "comp", "dataset": {"split_seed": 7}}, "split_seed 7 (theirs: 42)"),
    ],
)
def test_other_settings_are_not_compared(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    spec = paper_spec("telbo", **changes)
    write_trial(tmp_path, spec, scores=scores_of(spec))
    section = only_section(tmp_path)
    assert section.published == ()
    assert said in str(section.published_note)
    assert said in " ".join(write_report(tmp_path, width=80, color=False).split())


def test_other_parameters_are_not_compared(tmp_path: Path) -> None:
    for objective in ({"name": "telbo", "lambda": 10}, {"name": "telbo", "gamma": 50}, {"name": "jmvae", "alpha": 0.1}):
        write_trial(tmp_path, paper_spec(objective))
    section = only_section(tmp_path)
    assert {section.columns[item.column].params for item in section.published} == {
        column.params for column in section.columns if dict(column.params).get("gamma") == "50"
    }


def test_another_number_of_steps_is_not_compared(tmp_path: Path) -> None:
    """A short run with the paper's networks is no reproduction of the paper."""
    write_trial(tmp_path, paper_spec("telbo", training={"steps": 1000}))
    assert only_section(tmp_path).published == ()


def test_the_leaderboard_of_sprites_is_beside_them_with_what_a_guess_scores(tmp_path: Path) -> None:
    spec = spec_of("jmvae", dataset={"name": "sprites", "source": "drawn", "level": 3}, backbone="rgb_thin")
    strict = Score(metric="strict", partition="test", level=3, value=0.25)
    write_trial(tmp_path, spec, scores=[*scores_of(spec), strict])
    section = only_section(tmp_path)
    assert section.published == ()
    shown = write_report(tmp_path, width=100, color=False)
    text = " ".join((tmp_path / "report" / "table.md").read_text(encoding="utf-8").split())
    assert "MVAE strict 8 %, features 1.3 of 3, image to text 59 %; MMVAE strict 6 %, features 1.2 of 3" in text
    assert "MoPoE strict 7 %, features 1.3 of 3, image to text 0 %; DMVAE strict 4 %, features 1.4 of 3" in text
    assert "A guess: strict 3.3 %, features 1.03 of 3, image to text 3.3 %." in text
    assert "not compared with the numbers above" in text
    for name in ("table.md", "index.html"):
        assert "strict 8" in (tmp_path / "report" / name).read_text(encoding="utf-8"), name
    assert "strict" not in shown, "its short table has no score that they are beside"


def test_the_leaderboard_of_sprites_is_left_out_where_nothing_is_scored_by_it(tmp_path: Path) -> None:
    spec = spec_of("jmvae", dataset={"name": "sprites", "source": "drawn", "level": 3}, backbone="rgb_thin")
    write_trial(tmp_path, spec, scores=scores_of(spec))
    write_report(tmp_path, color=False)
    for name in ("table.md", "index.html"):
        assert "CdSprites" not in (tmp_path / "report" / name).read_text(encoding="utf-8"), name
