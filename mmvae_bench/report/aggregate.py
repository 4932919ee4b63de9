"""Aggregate posteriors: the tables of Cremer and Kushman (2018), out of the rows of a section.

Table 1 asks q(z|y) of each objective for correctness and log p(x|y), Table 2 one model under p(z) and under the flow
q(z) in its place. A third table sets joint against marginal inference, as their Fig. 7 does in pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..specs.seeds import derive_seed
from .cells import Cell, Row
from .differences import best_and_differences
from .grouping import Setting
from .style import DASH, number, style_of, with_bounds, with_interval
from .table import Section

SOURCE = "Cremer and Kushman 2018, On the Importance of Learning Aggregate Posteriors in Multimodal VAEs (validation)"
TITLE = "Aggregate posteriors"
FLOW_PRIOR = "_flow_prior"

_Question = tuple[str, str]
"""Protocol and metric."""
_CONDITIONAL: tuple[_Question, ...] = (
    ("cremer", "correctness"),
    ("cremer", "correctness_words"),
    ("likelihood", "log_px_given_y"),
)
_PRIOR = ("prior_correctness", "prior_correctness_words", "log_px", "log_py")
ENTROPY = "description_entropy"

# Correctness as a fraction, likelihoods in nats.
_PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "two_object_clevr": {
        "correctness": (0.7275, 0.8701),
        "log_px_given_y": (75716.48, 75739.79),
        "prior_correctness": (0.6562, 0.8381),
        "log_px": (75715.36, 75726.15),
        "log_py": (-19.43, -17.40),
    },
    "celeba18": {
        "correctness": (0.8083, 0.8032),
        "log_px_given_y": (-6776.27, -6637.08),
        "prior_correctness": (0.8025, 0.8114),
        "log_px": (-6686.31, -6636.30),
        "log_py": (-53.44, -11.78),
    },
}
"""By dataset and metric: q_True and q_Agg (Table 1), p(z) and the q(z) flow (Table 2)."""
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "two_object_clevr": {"source": "mitsuba", "split": "iid", "canvas": "112", "num_images": "100000"},
    "celeba18": {"source": "celeba", "split": "iid", "size": "64", "num_images": "none"},
}
_TRAINING = {"batch_size": "20", "learning_rate": "0.0004"}
_STEPS = "400000"


@dataclass(frozen=True)
class AggregateTable:
    """One of the tables, as text; the first column is of words, the others of numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def published_setting(setting: Setting) -> bool:
    """Whether the numbers of a section are of the paper's setting: images, texts and their view, networks, training.

    The steps are looked at a column.
    """
    wanted = _SETTINGS.get(setting.dataset)
    if wanted is None:
        return False
    given = dict(setting.dataset_params) | {"source": setting.source, "split": setting.split}
    training = dict(setting.training_params)
    return (
        all(given.get(name) == value for name, value in wanted.items())
        # Their y is a text; log p(y) of attributes is another quantity.
        and given.get("view") == "text"
        and setting.backbone == "two_object_resnet"
        and all(training.get(name) == value for name, value in _TRAINING.items())
    )


def aggregate_tables(section: Section) -> list[AggregateTable]:
    """The tables that the numbers of a section give; none where there are none."""
    rows = {(row.protocol, row.metric): row for row in section.rows if row.attribute is None and row.protocol}
    return [*_conditional(section, rows), *_prior(section, rows), *_inference(section)]


def _conditional(section: Section, rows: Mapping[_Question, Row]) -> Iterator[AggregateTable]:
    """Their Table 1."""
    asked = [rows[question] for question in _CONDITIONAL if question in rows]
    columns = [index for index in range(len(section.columns)) if any(row.cells[index] for row in asked)]
    if not asked or not columns:
        return
    names = [section.columns[index].objective for index in columns]
    pair = [columns[names.index(name)] for name in ("q_true", "q_agg") if names.count(name) == 1]
    printed = [_published(section, row.metric, pair) for row in asked]
    heads = ["", *(section.columns[index].label for index in columns)]
    heads += ["q_agg minus q_true"] * (len(pair) == 2) + ["base rate"]
    heads += ["published q_True", "published q_Agg"] * any(printed)
    lines = []
    for row, theirs in zip(asked, printed, strict=True):
        line = [_label(row.metric), *(_text(row.cells[index], row.metric) for index in columns)]
        if len(pair) == 2:
            line.append(_difference(row.cells[pair[0]], row.cells[pair[1]], row.metric))
        line.append(_base_rate(row.cells[index] for index in columns))
        lines.append((*line, *(theirs or [DASH] * 2 * any(printed))))
    yield AggregateTable(
        f"{TITLE}, {section.title}: images of the texts of real images, z from q(z|y) (their table 1)",
        tuple(heads),
        tuple(lines),
    )


def _prior(section: Section, rows: Mapping[_Question, Row]) -> Iterator[AggregateTable]:
    """Their Table 2."""
    lines = []
    printed_any = any(_published(section, metric, range(len(section.columns))) for metric in _PRIOR)
    for index, column in enumerate(section.columns):
        for metric in _PRIOR:
            pair = [rows.get(("likelihood", name)) for name in (metric, metric + FLOW_PRIOR)]
            cells = [row.cells[index] if row else None for row in pair]
            if any(cells):
                line = [column.label, _label(metric), *(_text(cell, metric) for cell in cells)]
                line += [_difference(cells[0], cells[1], metric), *(_base_rate([cell]) for cell in cells)]
                theirs = _published(section, metric, [index]) or [DASH] * 2
                lines.append((*line, *(theirs if printed_any else ())))
    if lines:
        heads = ["model", "", "p(z)", "q(z) flow", "difference", "base rate, p(z)", "base rate, q(z)"]
        heads += ["published p(z)", "published q(z)"] * printed_any
        yield AggregateTable(
            f"{TITLE}, {section.title}: the prior against a flow in its place (their table 2)",
            tuple(heads),
            tuple(lines),
        )


def _inference(section: Section) -> Iterator[AggregateTable]:
    """Their Fig. 7, as numbers: what is left uncertain of each attribute by a z from q(z|x) and from q(z|x,y)."""
    rows = [row for row in section.rows if row.metric == ENTROPY]
    columns: dict[int, str] = {}
    for row in rows:
        for index, cell in enumerate(row.cells):
            if cell is not None and (proposal := cell.answers[0].score.proposal):
                columns[index] = proposal
    if len(set(columns.values())) > 1:
        yield AggregateTable(
            f"{TITLE}, {section.title}: entropy of p(y_k|z) in nats, joint against marginal inference (their figure 7)",
            ("", *(f"{section.columns[index].label}, z from {proposal}" for index, proposal in columns.items())),
            tuple(
                (row.attribute or "mean over attributes", *(_text(row.cells[index], ENTROPY, 3) for index in columns))
                for row in rows
            ),
        )


def _label(metric: str) -> str:
    style = style_of(metric.removeprefix("prior_"))
    return style.label + (", %" if style.unit == "%" else f", {style.unit}")


def _text(cell: Cell | None, metric: str, decimals: int | None = None) -> str:
    if cell is None:
        return DASH
    return with_interval(cell.value, cell.low, cell.high, style_of(metric).unit if decimals is None else "nats/dim")


def _base_rate(cells: Sequence[Cell | None] | Iterator[Cell | None]) -> str:
    texts = dict.fromkeys(number(cell.floor) for cell in cells if cell is not None)
    return " to ".join(texts) or DASH


def _difference(first: Cell | None, second: Cell | None, metric: str) -> str:
    """Second minus first, on the same images, with its interval."""
    if first is None or second is None:
        return DASH
    seed = derive_seed("report differences", question=[TITLE, metric])
    pair = [(first.value, first.answers), (second.value, second.answers)]
    best, differences = best_and_differences(pair, direction=1, seed=seed)
    found = next((difference for difference in differences if difference is not None), None)
    if found is None:
        return DASH
    ends = (found.value, found.low, found.high) if best == 1 else (-found.value, -found.high, -found.low)
    return with_bounds(*ends, style_of(metric).unit)


def _published(section: Section, metric: str, columns: Sequence[int]) -> list[str]:
    """Their two numbers, where the setting and the steps of the columns are theirs; empty elsewhere."""
    steps = {section.columns[index].steps for index in columns}
    if not published_setting(section.setting) or steps != {_STEPS}:
        return []
    printed = _PUBLISHED[section.setting.dataset].get(metric)
    return [number(value, style_of(metric).unit) for value in printed] if printed else []
