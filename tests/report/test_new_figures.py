"""Coverage against correctness, and the parts of losses: what is drawn is what was measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mmvae_bench.base.files import write_text
from mmvae_bench.report import write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.curves import loss_parts
from mmvae_bench.report.drawing import INK, LONG, looks
from mmvae_bench.report.figures import _short, _svg, curves_figure, standalone
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.losses import NUM_POINTS, losses_figure, smoothed
from mmvae_bench.report.scatter import scatter_figure

from .synthetic_runs import spec_of, write_trial


def test_a_point_is_both_scores_with_both_intervals(tmp_path: Path) -> None:
    for name in ("telbo", "jmvae"):
        write_trial(tmp_path, spec_of(name))
    comparison = compare(read_run(tmp_path))
    section = comparison.sections[0]
    drawn = scatter_figure(section, comparison.colors)
    assert drawn is not None
    axes = drawn[0].axes
    assert [each.get_title(loc="left") for each in axes] == ["level 3", "level 2", "level 1"], "4 has no coverage"
    rows = {(row.metric, row.level): row for row in section.of("paper")}
    for level, panel in zip((3, 2, 1), axes, strict=True):
        for place, bars in enumerate(panel.containers):
            correct, covered = (rows[metric, level].cells[place] for metric in ("correctness", "coverage"))
            assert correct is not None
            assert covered is not None
            point, _, (across, along) = bars.lines
            assert point.get_xydata()[0] == pytest.approx([100 * correct.value, 100 * covered.value])
            assert across.get_segments()[0][:, 0] == pytest.approx([100 * correct.low, 100 * correct.high])
            assert along.get_segments()[0][:, 1] == pytest.approx([100 * covered.low, 100 * covered.high])
        assert len(panel.containers) == 2


def test_no_two_of_27_look_the_same(many_run: Path, many_page: Path) -> None:
    comparison = compare(read_run(many_run))
    found = looks(comparison.sections[0], comparison.colors)
    assert len({str(sorted(each.items(), key=str)) for each in found.values()}) == 27
    assert len({(each["color"], each["marker"]) for each in found.values()}) == 27


def test_parts_of_losses_by_step_over_all_stages(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of())
    events = [{"event": "train", "stage": stage, "step": step, "loss": 1.0, "parts": {name: float(step)}}
              for stage, name in (("first", "a"), ("second", "b")) for step in (10, 20)]  # fmt: skip
    events.append({"event": "train", "stage": "second", "step": 30, "parts": {"b": "high"}})
    events += [{"event": "train", "stage": "third", "step": step, "kind": kind, "parts": {"c": float(step)}}
               for step, kind in ((8, "labelled"), (9, "unlabelled"), (18, "labelled"))]  # fmt: skip
    events.append({"event": "train", "stage": "third", "step": 19, "kind": 3, "parts": {"c": 1.0}})
    (folder / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert loss_parts(folder) == {
        "a": ([10, 20], [10.0, 20.0]),
        "b": ([30, 40], [10.0, 20.0]),
        "c, labelled": ([48, 58], [8.0, 18.0]),
        "c, unlabelled": ([49], [9.0]),
    }
    assert loss_parts(tmp_path / "nowhere") == {}
    comparison = compare(read_run(tmp_path))
    drawn = losses_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    titles = ["a", "b", "c, labelled", "c, unlabelled"]
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == titles
    assert drawn[0].axes[1].lines[0].get_xydata().tolist() == [[30.0, 10.0], [40.0, 20.0]]


def test_a_long_curve_is_means_of_its_parts() -> None:
    steps, values = smoothed(range(400), [float(step) for step in range(400)])
    assert len(steps) == NUM_POINTS
    assert steps == values
    assert steps[0] == pytest.approx(4.5)
    assert smoothed([1, 2], [3.0, 4.0]) == ([1.0, 2.0], [3.0, 4.0])


def corners(path: str) -> list[tuple[str, list[float]]]:
    """The commands of a path with the place where each ends; lines along an axis as lines."""
    found: list[tuple[str, list[float]]] = []
    for command, numbers in re.findall(r"([MLHVCQz])([^MLHVCQz]*)", path):
        given = [float(number) for number in numbers.split()]
        if command in "HV":
            (x, y), (value,) = found[-1][1][-2:], given
            command, given = "L", [value, y] if command == "H" else [x, value]
        found.append((command, given))
    return found


@pytest.mark.parametrize(
    "path",
    [
        "M 72.36 1665.72 \nL 84.6 1665.72 \nL 84.6 1677.96 \nL 72.36 1677.96 \nz\n",
        "M 1.0004 2 \nC 1 2 3 4 5 6.12345 \nL 5 7 \nL 6 6.12 \nz \nM 5 7 \nL 6 8",
        "M 3 3 \nL 3 3",
        "M 0 2.5 \nQ 1 2 -3.333333 4 \nL -3.333333 -100.000001",
    ],
)
def test_a_shortened_path_is_the_same_path(path: str) -> None:
    short = _short(path)
    assert len(short) < len(path)
    expected, found = corners(path), corners(short)
    assert [command for command, _ in found] == [command for command, _ in expected]
    for (_, ends), (_, wanted) in zip(found, expected, strict=True):
        assert ends == pytest.approx(wanted, abs=0.0051)


def test_a_name_that_is_long_goes_on_in_the_next_line(tmp_path: Path) -> None:
    """Titles ran into each other, and one long name left a legend with a single column."""
    for gamma in (1, 50):
        for schedule in ("joint", "two_stage"):
            write_trial(tmp_path, spec_of({"name": "telbo", "gamma": gamma, "lambda": 10.125, "schedule": schedule}))
    write_trial(tmp_path, spec_of({"name": "telbo", "gamma": 50, "universal_expert": False}))
    comparison = compare(read_run(tmp_path))
    labels = {column.label for column in comparison.sections[0].columns}
    assert max(map(len, labels)) > 2 * LONG
    drawn = curves_figure(comparison.sections[0], comparison.colors)
    assert drawn is not None
    drawn[0].draw_without_rendering()
    titles = [axes.title if axes.title.get_text() else axes._left_title for axes in drawn[0].axes]  # type: ignore[attr-defined]
    assert {" ".join(title.get_text().split()) for title in titles} == {f"{label}, nats" for label in labels}
    boxes = [title.get_window_extent() for title in titles]
    for place, box in enumerate(boxes):
        assert box.x1 <= drawn[0].bbox.x1
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
    scattered = scatter_figure(comparison.sections[0], comparison.colors)
    assert scattered is not None
    (legend,) = scattered[0].legends
    scattered[0].draw_without_rendering()
    texts = legend.get_texts()
    assert {" ".join(text.get_text().split()) for text in texts} == labels
    assert len({round(text.get_window_extent().x0) for text in texts}) > 1, "more than one column"
    assert legend.get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in scattered[0].axes) + 1


def test_a_text_like_a_variable_of_the_page_stays_a_text() -> None:
    style = ":root { --ink: #222222; --paper: #ffffff; }"
    drawn = standalone('<svg><text fill="var(--ink)">part var(--nope)</text></svg>', style)
    assert '<text fill="#222222">part var(--nope)</text>' in drawn


def test_names_in_any_script_stay_texts_and_nobody_is_warned(recwarn: pytest.WarningsRecorder) -> None:
    """The reader's fonts draw them, and not matplotlib's, which lack most."""
    figure = Figure()
    figure.subplots().set_title("大小 größe")
    assert "大小 größe" in _svg(figure, "a title")
    assert [str(each.message) for each in recwarn if "Glyph" in str(each.message)] == []


NAMES = (
    'a d="h%"', 'x d="M é"', 'size d="large-ish"', 'line d="L 1 2 3"', 'one id="x" two', "font: 10px big; bold",
    f"the ink {INK}", "currentColor", "var(--ink)", '<path d="M e"/>', "a > b",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_like_markup_stays_what_it_is(name: str) -> None:
    """In a figure of the page, in its label, and in the file of its own."""
    figure = Figure()
    figure.subplots().set_xlabel(name)
    drawn = _svg(figure, name)
    for svg in (drawn, standalone(drawn, ":root { --ink: #222222; --paper: #ffffff; --rule: #999999; }")):
        root = ElementTree.fromstring(svg)
        assert name in [element.text for element in root.iter() if element.tag.endswith("text")]
        assert root.get("role") == "img"
    assert ElementTree.fromstring(drawn).get("aria-label") == name


def test_a_path_that_cannot_be_read_stays_as_it_is() -> None:
    assert _short("M 1 2 L e 3") == "M 1 2 L e 3"


def test_a_report_of_values_named_like_markup_is_written(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, spec_of())
    text = (folder / "result.json").read_text(encoding="utf-8")
    named = json.dumps('size d="large-ish"')
    assert '"small"' in text
    write_text(folder / "result.json", text.replace('"small"', named))
    write_report(tmp_path)
    (svg,) = (tmp_path / "report" / "figures").glob("*-confusion.svg")
    assert 'size d="large-ish"' in [element.text for element in ElementTree.parse(svg).iter()]
