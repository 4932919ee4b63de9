"""Figures as SVG text for the page: no pyplot, and colours that follow the page's light and dark themes."""

from __future__ import annotations

import io
import math
import re
import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..base.files import MOST_BYTES, open_regular
from ..base.printable import printable
from ..metrics.catalogue import metric_info
from ..runs.names import PLANE_FILE, TRAINING_LOG
from .amounts import amount_figures
from .confusion import confusion_figure
from .curves import ScoreName, score_curves, validation_curve
from .drawing import (
    INK,
    NUM_COLORS,
    PANELS,
    RULE,
    SERIES,
    SMALL,
    Drawn,
    axes_of,
    legend,
    looks,
    panels,
    steps_below,
    titled,
)
from .losses import losses_figure
from .mismatch import mismatch_figure
from .scatter import scatter_figure
from .tables import Row, Table
from .trials import TrialRecord
from .words import words_figure


def curves_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """The validation ELBO of every trial over its steps, one panel per objective; None where nothing was measured.

    Each panel has its own scale: the curve is minus the objective's own loss, and the losses are different sums.

    Args:
        section: Whose trials.
        colors: Column label to colour number.
    """
    found = []
    for column in table.columns:
        curves = [validation_curve(trial.directory) for trial in column.trials if trial.file(TRAINING_LOG)]
        curves = [(steps, elbos) for steps, elbos in curves if len(steps) > 1]
        if curves:
            found.append((column.label, curves))
    if not found:
        return None
    figure, all_axes = panels(len(found), 2.3)
    for axes, (label, curves) in zip(all_axes, found, strict=True):
        for steps, elbos in curves:
            axes.plot(steps, elbos, color=SERIES[colors[label] % NUM_COLORS], linewidth=1.4)
        # The first steps climb so far that nothing else would be visible: they do not count for the range of the axis.
        late = [elbo for steps, elbos in curves for elbo in elbos[bisect_left(steps, steps[-1] / 5) :]]
        margin = 0.06 * (max(late) - min(late)) or 1.0
        axes.set_ylim(min(late) - margin, max(late) + margin)
        steps_below(axes)
        titled(axes, f"{label}, nats")
        axes.set_xlabel("step")
    return figure, f"Validation ELBO over training steps, {table.title}"


def scores_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """Correctness and coverage by level, with intervals and references; None if there is neither."""
    shown = []
    for metric in ("correctness", "coverage"):
        rows = [row for row in table.of(table.headline) if row.metric == metric and row.level and any(row.cells)]
        if rows:
            shown.append((metric, rows))
    if not shown:
        return None
    look_of = looks(table, colors)
    widths = [max(len(rows), 2) for _, rows in shown]
    figure = Figure(figsize=(min(8.0, 1.2 + 0.9 * sum(widths)), 2.9), layout="constrained")
    grid = figure.add_gridspec(1, len(shown), width_ratios=widths)
    for position, (metric, rows) in enumerate(shown):
        axes = axes_of(figure.add_subplot(grid[0, position]))
        _panel(axes, rows, list(look_of.values()))
        titled(axes, f"{metric_info(metric).label}, %")
    scored = (column.label for place, column in enumerate(table.columns)
              if any(row.cells[place] for _, rows in shown for row in rows))  # fmt: skip
    legend(figure, look_of, scored, lines=False)
    return figure, f"Correctness and coverage by number of specified attributes, {table.title}"


def score_curves_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """Correctness and coverage over steps, one panel per score and one line per trial; None if none was measured.

    Correctness at the highest and the lowest level, coverage at the same ones, and correctness by attribute.
    """
    measured = [
        (column.label, curves)
        for column in table.columns
        for trial in column.trials
        if trial.file(TRAINING_LOG) and (curves := score_curves(trial.directory))
    ]
    names = _shown_scores({name for _, curves in measured for name in curves})
    if not names:
        return None
    figure, all_axes = panels(len(names), 2.1)
    look_of = looks(table, colors)
    for position, (axes, name) in enumerate(zip(all_axes, names, strict=True)):
        metric, attribute, level = name
        for label, curves in measured:
            steps, values = curves.get(name, ([], []))
            axes.plot(
                steps,
                [100 * value for value in values],
                linewidth=1.4,
                markersize=2.5,
                **look_of[label],
            )
        steps_below(axes)
        title = f"{attribute}, level {level}, %" if attribute else f"{metric_info(metric).label}, level {level}, %"
        titled(axes, title)
        if position >= len(names) - PANELS:
            axes.set_xlabel("step")
    legend(figure, look_of, (label for label, _ in measured))
    return figure, f"Scores over training steps, {table.title}"


def latent_plane_figure(table: Table, colors: Mapping[str, int]) -> Drawn | None:
    """Cremer and Kushman (2018), Fig. 1: the true posterior of each concept over the aggregate posterior of its images.

    A row for the first finished trial of each objective whose latent space has two dimensions, with a second panel for
    its q(z|y); None if there is none.

    Args:
        section: Whose trials.
        colors: Not used: here each colour is a concept.
    """
    found = [(column.label, plane) for column in table.columns if (plane := _first_plane(column.done)) is not None]
    if not found:
        return None
    widest = max(2 if "fitted" in plane else 1 for _, plane in found)
    figure = Figure(figsize=(3.6 * widest, 3.5 * len(found)), layout="constrained")
    for row, (label, plane) in enumerate(found):
        panels = {"true": "p(z|y)"} | ({"fitted": "q(z|y)"} if "fitted" in plane else {})
        for place, (name, words) in enumerate(panels.items()):
            axes = axes_of(figure.add_subplot(len(found), widest, row * widest + place + 1))
            axes.grid(visible=False)
            for index, concept in enumerate(plane["labels"]):
                color = SERIES[index % NUM_COLORS]
                inside = _levels(plane["aggregate"][index])
                axes.contourf(plane["x"], plane["y"], plane["aggregate"][index], [*inside, math.inf],
                              colors=[color], alpha=0.35)  # fmt: skip
                axes.contour(plane["x"], plane["y"], plane[name][index], _levels(plane[name][index]),
                             colors=[color], linewidths=1.2)  # fmt: skip
                axes.plot([], [], color=color, label=str(concept))
            axes.set_aspect("equal")
            titled(axes, f"{label}: {words}")
            if row == 0 and place == 0:
                axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, handlelength=1.2, borderpad=0.1)
    return figure, f"Posteriors of concepts in a latent space of two dimensions, {table.title}"


def _first_plane(trials: Sequence[TrialRecord]) -> dict[str, Any] | None:
    """The plane of the first trial that has one; a file that cannot be read counts as none."""
    for trial in trials:
        path = trial.file(PLANE_FILE)
        plane = None if path is None else _plane(path)
        if plane is not None:
            return plane
    return None


def _plane(path: Path) -> dict[str, Any] | None:
    """The arrays of a plane that belong together; None where a file is missing, damaged or too large."""
    try:
        with open_regular(path) as file, ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                return None
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                plane = {name: stored[name] for name in stored.files}
    except Exception:  # Whatever numpy makes of a file that is no archive of arrays.
        return None
    if not {"aggregate", "true", "labels", "x", "y"} <= plane.keys():
        return None
    shape = plane["labels"].size, plane["y"].size, plane["x"].size
    densities = [name for name in ("aggregate", "true", "fitted") if name in plane]
    if not all(plane[name].dtype.kind == "f" and np.isfinite(plane[name]).all() for name in ("x", "y", *densities)):
        return None
    if min(shape[1:]) < 2 or not plane["x"].ndim == plane["y"].ndim == 1:
        return None
    if not all(plane[name].shape == shape and (plane[name].sum(axis=(1, 2)) > 0).all() for name in densities):
        return None
    return plane | {"labels": [printable(str(label)) for label in plane["labels"].ravel()]}


def _levels(density: NDArray[np.float64]) -> list[float]:
    """The densities whose regions hold 90 % and 50 % of the mass on an even grid, ascending."""
    ordered = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ordered) / ordered.sum()
    low, high = (float(ordered[np.searchsorted(mass, share)]) for share in (0.9, 0.5))
    return [low, max(high, np.nextafter(low, math.inf))]


def _shown_scores(names: set[ScoreName]) -> list[ScoreName]:
    """The panels: the highest and the lowest level of each metric, then up to six attributes."""
    shown: list[ScoreName] = []
    for metric in ("correctness", "coverage"):
        levels = sorted({level for each, attribute, level in names if each == metric and attribute is None})
        shown += [(metric, None, level) for level in dict.fromkeys((levels[-1], levels[0]) if levels else ())]
    by_attribute = sorted((name for name in names if name[1] is not None), key=str)
    return shown + by_attribute[:6]


def draw_figures(table: Table, colors: Mapping[str, int]) -> dict[str, str]:
    """Every figure of a table that has something to show, as SVG, by its kind.

    Args:
        table: What to draw.
        colors: Column label to colour number.
    """
    kinds = {
        "scores": scores_figure,
        "coverage-correctness": scatter_figure,
        "mismatch-correctness": mismatch_figure,
        "confusion": confusion_figure,
        "elbo-curves": curves_figure,
        "loss-parts": losses_figure,
        "score-curves": score_curves_figure,
        "latent-plane": latent_plane_figure,
        "words": words_figure,
    }
    with matplotlib.rc_context({"text.parse_math": False}):  # A name with a dollar is a name.
        return {kind: _svg(*drawn) for kind, draw in kinds.items() if (drawn := draw(table, colors)) is not None}


def draw_amounts(tables: Sequence[Table], colors: Mapping[str, int]) -> dict[int, str]:
    """The curves against amounts of labels and images, as SVG, by the place of the table that each stands beside."""
    with matplotlib.rc_context({"text.parse_math": False}):
        return {place: _svg(*drawn) for place, drawn in amount_figures(tables, colors).items()}


def standalone(svg: str, style: str) -> str:
    """A figure as a file of its own: the page's light colours in place of its variables.

    Args:
        svg: From this module.
        style: The page's style sheet, whose first value of a variable is the light one.
    """
    light = dict(reversed(re.findall(r"--([\w-]+):\s*([^;]+);", style)))

    def lit(tag: str) -> str:
        tag = tag.replace("currentColor", light["ink"]).replace("var(--sans)", "sans-serif")
        return re.sub(r"var\(--([\w-]+)\)", lambda found: light.get(found.group(1), found.group(0)), tag)

    svg = _in_tags(lit, svg)
    if "xmlns=" not in svg.split(">", 1)[0]:
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return svg.replace(">", f'><rect width="100%" height="100%" fill="{light["paper"]}"/>', 1)


def _panel(axes: Axes, rows: Sequence[Row], looks_of: Sequence[Mapping[str, Any]]) -> None:
    present = [index for index in range(len(looks_of)) if any(row.cells[index] for row in rows)]
    step = min(0.16, 0.7 / max(len(present), 1))
    for x, row in enumerate(rows):
        for name in ("ceiling", "floor"):
            low, high = row.reference(name)
            if math.isfinite(low):
                middle = 50 * (low + high)
                axes.hlines(middle, x - 0.42, x + 0.42, colors=INK, linewidth=0.9, linestyles=(0, (2, 2)), alpha=0.8)
                if x == 0:
                    above = name == "ceiling"
                    axes.annotate(name, (-0.42, middle), xytext=(0, 2 if above else -2), textcoords="offset points",
                                  va="bottom" if above else "top", fontsize=SMALL, color=INK)  # fmt: skip
        for place, index in enumerate(present):
            cell = row.cells[index]
            if cell is None:
                continue
            position = x + step * (place - (len(present) - 1) / 2)
            look = dict(looks_of[index]) | {"linestyle": "none"}
            if math.isfinite(cell.low + cell.high):
                axes.plot([position, position], [100 * cell.low, 100 * cell.high], color=look["color"], linewidth=1.6)
            axes.plot([position], [100 * cell.value], markersize=4.5, **look)
    axes.margins(y=0.12)
    axes.set_xticks(range(len(rows)), [str(row.level) for row in rows])
    axes.set_xlim(-0.6, max(len(rows) - 0.4, 1.0))
    axes.set_xlabel("specified attributes")


def _svg(figure: Figure, label: str) -> str:
    """The figure as an ``<svg>`` element that scales, has a label, and uses the page's colours and font."""
    figure.patch.set_visible(False)
    file = io.StringIO()
    # The salt makes ids differ between the figures of a page, and equal each time the page is written.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), warnings.catch_warnings():
        # Texts stay texts, so that it is the reader's fonts that have to know a letter, not matplotlib's.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # A page holds several figures, and an id may occur only once.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', "".join(_TAG.findall(text))))
    names = {INK: "currentColor", RULE: "var(--rule)"}
    names |= {color: f"var(--series-{index})" for index, color in enumerate(SERIES)}

    def adapted(tag: str) -> str:
        tag = re.sub(r' id="([^"]+)"', lambda found: found.group(0) if found.group(1) in used else "", tag)
        tag = re.sub(r'font: (\d+px) [^;"]*', r"font: \1 var(--sans)", tag)
        tag = re.sub(r'(?<= d=")[^"]+', lambda found: _short(found[0]), tag)
        for color, name in names.items():
            tag = tag.replace(color, name)
        return tag

    text = _in_tags(adapted, text)
    text = re.sub(r"<g>\s*(<(?:path|use) [^>]*/>)\s*</g>", r"\1", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


_TAG = re.compile("<[^<>]+>")


def _in_tags(change: Callable[[str], str], svg: str) -> str:
    """An SVG with every tag changed. Texts stay as they are: a quote is not escaped in them, so that a name can look
    like an attribute."""
    return _TAG.sub(lambda found: change(found[0]), svg)


def _short(path: str) -> str:
    """The same path in fewer letters: hundredths of a point, and lines along an axis by their one coordinate; as it is
    where a number cannot be read."""
    found: list[str] = []
    x = y = ""
    for command, numbers in re.findall(r"([A-DF-Za-df-z])([^A-DF-Za-df-z]*)", path):
        try:
            words = [f"{float(number):.2f}".rstrip("0").rstrip(".") for number in numbers.split()]
        except ValueError:
            return path
        if command == "L" and words == [x, y] and found and found[-1][0] != "M":
            continue
        if command == "L" and y == words[1]:
            found.append(f"H{words[0]}")
        elif command == "L" and x == words[0]:
            found.append(f"V{words[1]}")
        else:
            found.append(command + " ".join(words))
        x, y = words[-2:] if words else ("", "")
    return "".join(found)
