"""A comparison of two runs as text, and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from ..metrics.catalogue import metric_info
from ..report.text import UNLIMITED, as_text, number, plain_table, with_bounds
from ..report.trials import TrialRecord
from .numbers import VERDICTS, NumberPair, Verdict
from .runs import Circumstance, RunComparison

NUM_WITHIN = 10
"""How many of the numbers within their intervals are shown: those closest to the end of their interval."""
_NUM_TRIALS = 8
_HEADS = ("trial", "protocol", "partition", "metric", "attribute", "level", "A", "B", "B - A [95 %]", "")
_RIGHT = ("level", "A", "B", "B - A [95 %]")
_MARKS = {"beyond": "beyond", "no interval": "no interval", "within": "within", "same": ""}


def document(comparison: RunComparison) -> dict[str, Any]:
    """Everything as plain JSON; not-a-number is null."""
    return {
        "a": str(comparison.a),
        "b": str(comparison.b),
        "counts": {verdict: comparison.count(verdict) for verdict in VERDICTS},
        "trials": {
            "compared": [one.key for one, _ in comparison.pairs],
            "only_a": [_trial(trial) for trial in comparison.only_a],
            "only_b": [_trial(trial) for trial in comparison.only_b],
            "unfinished": [
                {"key": one.key, "label": one.label, "state_a": one.state, "state_b": other.state}
                for one, other in comparison.unfinished
            ],
            "damaged": [{"directory": str(each.directory), "problem": each.problem} for each in comparison.damaged],
        },
        "numbers_only_a": comparison.questions_only_a,
        "numbers_only_b": comparison.questions_only_b,
        "circumstances": [
            {"name": each.name, "a": each.a, "b": each.b, "trials": each.num_trials, "asked": each.asked}
            for each in comparison.circumstances
        ],
        "numbers": [each.to_json() for each in comparison.numbers],
        "exit_code": comparison.exit_code,
    }


def text(comparison: RunComparison) -> str:
    """The comparison for a terminal: what differs, what is beyond its interval first, and what may explain it."""
    return "\n".join(_lines(comparison))


def _trial(trial: TrialRecord) -> dict[str, str]:
    return {"key": trial.key, "label": trial.label, "state": trial.state}


def _lines(comparison: RunComparison) -> Iterator[str]:
    yield f"A  {comparison.a}"
    yield f"B  {comparison.b}"
    yield ""
    yield from _summary(comparison)
    beyond = [each for each in comparison.numbers if each.verdict in ("beyond", "no interval")]
    within = sorted((each for each in comparison.numbers if each.verdict == "within"), key=_reach, reverse=True)
    shown = [*beyond, *within[:NUM_WITHIN]]
    if shown:
        yield ""
        yield _table([_row(each) for each in shown])
        if len(within) > NUM_WITHIN:
            yield f"and {len(within) - NUM_WITHIN} more within their intervals; --json lists them all"
    yield from _trials("Only in A", comparison.only_a)
    yield from _trials("Only in B", comparison.only_b)
    if comparison.unfinished:
        yield ""
        yield "Not done in both"
        for one, other in comparison.unfinished[:_NUM_TRIALS]:
            yield f"  {one.key} {one.label}: {one.state} in A, {other.state} in B"
        yield from _more(len(comparison.unfinished))
    yield from _circumstances(comparison.circumstances)


def _summary(comparison: RunComparison) -> Iterator[str]:
    total, num_trials = len(comparison.numbers), len(comparison.pairs)
    counts = [f"{comparison.count(verdict)} {words}" for verdict, words in _WORDS.items() if comparison.count(verdict)]
    yield (
        f"{num_trials} trial{'' if num_trials == 1 else 's'} in both, {total} number{'' if total == 1 else 's'}: "
        f"{', '.join(counts) or 'none'}"
    )
    for name, count in (("A", comparison.questions_only_a), ("B", comparison.questions_only_b)):
        if count:
            yield f"{count} number{'' if count == 1 else 's'} of these trials only in {name}"
    differing = comparison.count("within") + comparison.count("beyond")
    if differing:
        unpaired = sum(not each.paired for each in comparison.numbers if each.verdict in ("within", "beyond"))
        how = "paired by query" if not unpaired else f"paired by query, {unpaired} from two separate intervals"
        yield (
            f"Intervals are 95 % each, over queries ({how}). Beyond: not zero, with 5 % probability of one false "
            "claim in all of this comparison. They do not cover the variation between training runs."
        )


_WORDS: dict[Verdict, str] = {
    "same": "the same",
    "within": "differ within chance",
    "beyond": "beyond it",
    "no interval": "differ and have no interval",
}


def _reach(each: NumberPair) -> float:
    """How close the interval comes to excluding zero: 1 where zero is at its end."""
    end = each.high if each.difference < 0 else each.low
    return abs(each.difference) / (abs(each.difference - end) or math.inf)


def _row(each: NumberPair) -> tuple[str, ...]:
    protocol, partition, metric, attribute, level = each.question
    unit = metric_info(metric).unit
    return (
        f"{each.trial.key} {each.trial.label}",
        protocol or "",
        partition,
        metric_info(metric).label + ("" if unit == "%" else f", {unit}"),
        attribute or "",
        "" if level is None else str(level),
        number(each.a, unit),
        number(each.b, unit),
        with_bounds(each.difference, each.low, each.high, unit),
        _MARKS[each.verdict],
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """One line per row, however wide; a column without any text is left out."""
    table = plain_table()
    used = [place for place in range(len(_HEADS)) if any(row[place] for row in rows)]
    for place in used:
        table.add_column(_HEADS[place], justify="right" if _HEADS[place] in _RIGHT else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[place]) for place in used))
    return as_text([table], width=UNLIMITED).rstrip("\n")


def _trials(head: str, trials: Sequence[TrialRecord]) -> Iterator[str]:
    if trials:
        yield ""
        yield head
        yield from (f"  {trial.key} {trial.label} ({trial.state})" for trial in trials[:_NUM_TRIALS])
        yield from _more(len(trials))


def _more(count: int) -> Iterator[str]:
    if count > _NUM_TRIALS:
        yield f"  and {count - _NUM_TRIALS} more"


def _circumstances(found: Sequence[Circumstance]) -> Iterator[str]:
    for asked, head in ((True, "Different queries, images or classifier"), (False, "Different code or machine")):
        lines = [each for each in found if each.asked == asked]
        if lines:
            yield ""
            yield head
            yield from (
                f"  {each.name}: {each.a} in A, {each.b} in B"
                f" ({each.num_trials} trial{'' if each.num_trials == 1 else 's'})"
                for each in lines
            )
