"""Aggregate posteriors: the tables of Cremer and Kushman (2018), made from the rows of a table.

Table 1 scores q(z|y) of each objective by correctness and log p(x|y), Table 2 one model under p(z) and under the flow
q(z) in its place. A third table compares joint with marginal inference, as their Fig. 7 does in pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..metrics.catalogue import metric_info
from .grouping import Setting
from .tables import Cell, Row, Table, difference_of
from .text import DASH, number, with_bounds, with_interval

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
_OWN_LATENTS = "prior_correctness"
"""Prefix of metrics whose z are drawn from the compared distributions themselves, so that nothing can be paired."""
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
    "celeba18": {"source": "celeba", "split": "iid", "size": "64", "crop": "128", "num_images": "none"},
}
_BACKBONE = {"latent_size": "50", "width": "64"}
_TRAINING = {"batch_size": "20", "learning_rate": "0.0004"}
_STEPS = "400000"
_WARMUP = ("none", "20000")
_WEIGHTS: Mapping[str, Mapping[str, str]] = {
    "two_object_clevr": {"image_weight": "0.02", "concept_weight": "200"},
    "celeba18": {"image_weight": "0.1", "concept_weight": "100"},
}
_NUM_SAMPLES = {"log_px": 10, "log_py": 10}
NOTE = (
    "Their numbers are shown if the setting is the same as theirs. They report no spread, so the interval of a "
    "difference covers only the uncertainty of ours. Their split of the photographs differs (180,000 for training)."
)


@dataclass(frozen=True)
class AggregateTable:
    """One of the tables, as text; the first column holds words, the others numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def published_setting(setting: Setting) -> bool:
    """Whether a table has the setting of the paper: images, texts and their view, networks, training, and the
    validation partition, on which they score. :func:`published_column` checks what each column sets for itself.
    """
    wanted = _SETTINGS.get(setting.dataset)
    if wanted is None:
        return False
    given = dict(setting.dataset_params) | {"source": setting.source, "split": setting.split}
    networks = dict(setting.backbone_params)
    return (
        _has(given, wanted)
        # Their y is a text; log p(y) of attributes is another quantity.
        and given.get("view") == "text"
        and setting.backbone == "two_object_resnet"
        and _has(networks, _BACKBONE)
        and networks.get("word_dropout", "0") == "0"
        and _has(dict(setting.training_params), _TRAINING)
        and setting.partition == "val"
    )


def published_column(table: Table, index: int) -> bool:
    """Whether an objective of such a table was trained as theirs: inference from the image, the weights of the
    likelihoods, the steps, the warm-up of the KL, and q(z|y) fitted to whole texts."""
    column = table.columns[index]
    given = dict(column.params)
    return (
        published_setting(table.setting)
        and column.objective in ("vlvae", "q_true", "q_agg")
        and column.steps == _STEPS
        and _has(given, {"inference": "image", **_WEIGHTS[table.setting.dataset]})
        and given.get("kl_warmup_steps") in _WARMUP
        and given.get("mask_probability", "0") == "0"
    )


def _has(given: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(given.get(name) == value for name, value in wanted.items())


def aggregate_tables(table: Table) -> list[AggregateTable]:
    """The tables that can be made from the rows of a table; empty if it has none of the metrics."""
    rows = {(row.protocol, row.metric): row for row in table.rows if row.attribute is None and row.protocol}
    return [*_conditional(table, rows), *_prior(table, rows), *_inference(table)]


def _conditional(table: Table, rows: Mapping[_Question, Row]) -> Iterator[AggregateTable]:
    """Their Table 1: images generated from the texts of real images."""
    asked = [rows[question] for question in _CONDITIONAL if question in rows]
    columns = [index for index in range(len(table.columns)) if any(row.cells[index] for row in asked)]
    if not asked or not columns:
        return
    names = [table.columns[index].objective for index in columns]
    pair = [columns[names.index(name)] for name in ("q_true", "q_agg") if names.count(name) == 1]
    beside = [_published(table, row.metric, _as_pair(row, pair)) for row in asked]
    heads = ["", *(table.columns[index].label for index in columns)]
    heads += ["q_agg minus q_true"] * (len(pair) == 2) + ["base rate"]
    heads += ["published q_True", "published q_Agg", "q_true minus published", "q_agg minus published"] * any(beside)
    lines = []
    for row, theirs in zip(asked, beside, strict=True):
        line = [_label(row.metric), *(_text(row.cells[index], row.metric) for index in columns)]
        if len(pair) == 2:
            line.append(_difference(row.cells[pair[0]], row.cells[pair[1]], row.metric))
        line.append(_base_rate(row.cells[index] for index in columns))
        lines.append((*line, *(theirs or [DASH] * 4 * any(beside))))
    yield AggregateTable(
        f"{TITLE}, {table.title}: images generated from the texts of real images, z from q(z|y) "
        "(Cremer and Kushman 2018, table 1)",
        tuple(heads),
        tuple(lines),
    )


def _prior(table: Table, rows: Mapping[_Question, Row]) -> Iterator[AggregateTable]:
    """Their Table 2: the prior compared with a flow in its place."""
    lines = []
    published = any(published_column(table, index) for index in range(len(table.columns)))
    for index, column in enumerate(table.columns):
        for metric in _PRIOR:
            pair = [rows.get(("likelihood", name)) for name in (metric, metric + FLOW_PRIOR)]
            cells = [row.cells[index] if row else None for row in pair]
            if any(cells):
                line = [column.label, _label(metric), *(_text(cell, metric) for cell in cells)]
                line += [_difference(cells[0], cells[1], metric), *(_base_rate([cell]) for cell in cells)]
                theirs = _published(table, metric, [(index, cell) for cell in cells]) or [DASH] * 4
                lines.append((*line, *(theirs if published else ())))
    if lines:
        heads = ["model", "", "p(z)", "q(z) flow", "difference", "base rate, p(z)", "base rate, q(z)"]
        heads += ["published p(z)", "published q(z)", "p(z) minus published", "q(z) minus published"] * published
        yield AggregateTable(
            f"{TITLE}, {table.title}: the prior compared with a flow in its place (Cremer and Kushman 2018, table 2)",
            tuple(heads),
            tuple(lines),
        )


def _inference(table: Table) -> Iterator[AggregateTable]:
    """Their Fig. 7, as numbers: the uncertainty about each attribute or word that remains given a z from
    q(z|x) or q(z|x,y)."""
    rows = [row for row in table.rows if row.metric == ENTROPY]
    columns: dict[int, str] = {}
    for row in rows:
        for index, cell in enumerate(row.cells):
            if cell is not None and (proposal := cell.seeds[0].proposal):
                columns[index] = proposal
    what = "words" if dict(table.setting.dataset_params).get("view") == "text" else "attributes"
    if len(set(columns.values())) > 1:
        yield AggregateTable(
            f"{TITLE}, {table.title}: entropy of p(y_k|z) in nats, joint compared with marginal inference "
            "(Cremer and Kushman 2018, figure 7)",
            ("", *(f"{table.columns[index].label}, z from {proposal}" for index, proposal in columns.items())),
            tuple(
                (row.attribute or f"mean over {what}", *(_text(row.cells[index], ENTROPY, 3) for index in columns))
                for row in rows
            ),
        )


def _label(metric: str) -> str:
    style = metric_info(metric.removeprefix("prior_"))
    return style.label + (", %" if style.unit == "%" else f", {style.unit}")


def _text(cell: Cell | None, metric: str, decimals: int | None = None) -> str:
    if cell is None:
        return DASH
    return with_interval(cell.value, cell.low, cell.high, metric_info(metric).unit if decimals is None else "nats/dim")


def _base_rate(cells: Sequence[Cell | None] | Iterator[Cell | None]) -> str:
    texts = dict.fromkeys(number(cell.floor) for cell in cells if cell is not None)
    return " to ".join(texts) or DASH


def _difference(first: Cell | None, second: Cell | None, metric: str) -> str:
    """Second minus first with its interval: paired by image, or from both intervals if each has its own z."""
    if first is None or second is None:
        return DASH
    unit = metric_info(metric).unit
    if metric.startswith(_OWN_LATENTS):
        value = second.value - first.value
        low = value - math.hypot(second.value - second.low, first.high - first.value)
        high = value + math.hypot(second.high - second.value, first.value - first.low)
        return with_bounds(value, low, high, unit)
    found = difference_of(second.seeds, first.seeds)
    return DASH if found is None else with_bounds(found.value, found.low, found.high, unit)


def _as_pair(row: Row, pair: Sequence[int]) -> list[tuple[int, Cell | None]]:
    return [(index, row.cells[index]) for index in pair]


def _published(table: Table, metric: str, pair: Sequence[tuple[int, Cell | None]]) -> list[str]:
    """Their two numbers, and ours minus theirs; ``pair`` has the column and the cell of each of ours.

    A dash where a column is not trained as theirs; empty where none is, or where they print no such number.
    """
    printed = _PUBLISHED.get(table.setting.dataset, {}).get(metric)
    if printed is None or len(pair) != 2:
        return []
    asked = _NUM_SAMPLES.get(metric)
    alike = [
        cell is not None and (asked is None or cell.num_samples == asked) and published_column(table, index)
        for index, cell in pair
    ]
    if not any(alike):
        return []
    unit = metric_info(metric).unit
    theirs = [number(value, unit) if same else DASH for value, same in zip(printed, alike, strict=True)]
    away = [
        with_bounds(cell.value - value, cell.low - value, cell.high - value, unit) if same and cell else DASH
        for value, same, (_, cell) in zip(printed, alike, pair, strict=True)
    ]
    return theirs + away
