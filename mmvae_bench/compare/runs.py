"""Compares two run folders: the trials that both have, their numbers, and what else differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import BenchmarkError, ConfigError, unknown
from ..report.frames import Question, RunRecord
from ..report.gather import read_run
from ..report.grouping import flatten
from ..report.trials import TrialRecord, conditions, origin
from ..runs.stale import segments_of
from ..specs.matching import matching
from ..specs.trial import TrialSpec
from .numbers import NumberPair, Verdict, judged, number_pairs

_SHOWN_DIFFERENCES = 6
_SHOWN_FILES = 3
"""Of each part whose code differs."""


@dataclass(frozen=True, order=True)
class Circumstance:
    """Something besides the spec that differs between the two runs of a trial.

    Attributes:
        name: Such as ``commit`` or ``evaluation.num_samples``.
        a: Its value in the first run, as text.
        b: Its value in the second.
        num_trials: In how many trials.
        asked: Whether it changes what the numbers mean: the queries, the images or the classifier.
    """

    name: str
    a: str
    b: str
    num_trials: int
    asked: bool


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """What two runs have in common, and where they differ.

    Attributes:
        pairs: The trials that are done in both.
        only_a: Trials of the first run that the second does not have.
        only_b: Trials of the second run that the first does not have.
        unfinished: Trials of both that are not done in at least one of them, not counting damaged ones.
        damaged: Trials whose files cannot be read, in either run.
        numbers: Every number that both runs of a trial have.
        questions_only_a: Numbers that only the first run of a trial has.
        questions_only_b: Numbers that only the second run has.
        circumstances: What else differs; what changes the meaning of numbers comes first.
    """

    a: Path
    b: Path
    pairs: tuple[tuple[TrialRecord, TrialRecord], ...]
    only_a: tuple[TrialRecord, ...]
    only_b: tuple[TrialRecord, ...]
    unfinished: tuple[tuple[TrialRecord, TrialRecord], ...]
    damaged: tuple[TrialRecord, ...]
    numbers: tuple[NumberPair, ...]
    questions_only_a: int
    questions_only_b: int
    circumstances: tuple[Circumstance, ...]

    def count(self, verdict: Verdict) -> int:
        """How many numbers have a verdict."""
        return sum(number.verdict == verdict for number in self.numbers)

    @property
    def exit_code(self) -> int:
        """0: nothing differs beyond its interval; 1: something does, or differs and has none; 2: some is unreadable."""
        if self.damaged:
            return 2
        return int(any(number.verdict in ("beyond", "no interval") for number in self.numbers))


def compare_runs(a: Path, b: Path, *, metrics: Sequence[str] = (), where: Sequence[str] = ()) -> RunComparison:
    """Compares two run folders, number by number.

    Trials are matched by their settings with every default resolved: by their key, or, where a version has added
    settings since, by the key that they have now.

    Args:
        a: A run folder.
        b: Another one.
        metrics: Only these; all of them by default.
        where: Only the trials with these values, as in ``mmvae-bench run --where``.

    Raises:
        BenchmarkError: a folder is not a run or has no trial, no trial is in both, or none has numbers in both.
        ConfigError: ``metrics`` or ``where`` name something that neither run has.
    """
    run_a, run_b = read_run(a), read_run(b)
    mine, theirs = _by_settings(run_a), _by_settings(run_b)
    if where:
        kept = _kept({**theirs, **mine}, where)
        mine = {key: trial for key, trial in mine.items() if key in kept}
        theirs = {key: trial for key, trial in theirs.items() if key in kept}
    both = [(mine[key], theirs[key]) for key in mine if key in theirs]
    damaged = tuple(trial for trial in (*mine.values(), *theirs.values()) if trial.state == "damaged")
    pairs = tuple((one, other) for one, other in both if one.state == other.state == "done")
    if not pairs and not damaged:
        raise BenchmarkError(_nothing_in_common(a, b, mine, theirs, both))
    numbers: list[NumberPair] = []
    only_a: list[Question] = []
    only_b: list[Question] = []
    for one, other in pairs:
        ours, yours = run_a.frames.scores(one.key), run_b.frames.scores(other.key)
        numbers += number_pairs(one, other, ours, yours)
        only_a += ours.keys() - yours.keys()
        only_b += yours.keys() - ours.keys()
    if pairs:
        _check_metrics(metrics, {each.metric for each in (*(number.question for number in numbers), *only_a, *only_b)})
    return RunComparison(
        a=a,
        b=b,
        pairs=pairs,
        only_a=tuple(trial for key, trial in mine.items() if key not in theirs and trial.state != "damaged"),
        only_b=tuple(trial for key, trial in theirs.items() if key not in mine and trial.state != "damaged"),
        unfinished=tuple(
            pair for pair in both if pair not in pairs and not any(trial.state == "damaged" for trial in pair)
        ),
        damaged=damaged,
        numbers=tuple(judged([number for number in numbers if not metrics or number.metric in metrics])),
        questions_only_a=sum(not metrics or question.metric in metrics for question in only_a),
        questions_only_b=sum(not metrics or question.metric in metrics for question in only_b),
        circumstances=_circumstances(pairs),
    )


def _by_settings(run: RunRecord) -> dict[str, TrialRecord]:
    """By the key that a trial's settings have in this version; by the folder's where they cannot be read."""
    found: dict[str, TrialRecord] = {}
    for trial in run.trials:
        spec = _spec(trial)
        found[trial.key if spec is None or spec.key in found else spec.key] = trial
    return found


def _spec(trial: TrialRecord) -> TrialSpec | None:
    try:
        return TrialSpec.parse(dict(trial.spec)) if trial.spec else None
    except ConfigError:
        return None


def _kept(trials: dict[str, TrialRecord], where: Sequence[str]) -> set[str]:
    specs = {key: spec for key, trial in trials.items() if (spec := _spec(trial)) is not None}
    chosen = {id(spec) for spec in matching(list(specs.values()), where, whole="these runs")}
    # Trials whose spec cannot be read are kept: nothing says that they do not match.
    return {key for key in trials if key not in specs or id(specs[key]) in chosen}


def _check_metrics(metrics: Sequence[str], known: AbstractSet[str]) -> None:
    problems = [unknown("metric", metric, sorted(known), ("--metric",)) for metric in metrics if metric not in known]
    if problems:
        raise ConfigError(problems)


def _circumstances(pairs: Sequence[tuple[TrialRecord, TrialRecord]]) -> tuple[Circumstance, ...]:
    counts: Counter[tuple[bool, str, str, str]] = Counter()
    for one, other in pairs:
        sides: tuple[tuple[bool, dict[str, Any], dict[str, Any]], ...] = (
            (True, conditions(one), conditions(other)),
            (True, _settings(one), _settings(other)),
            (False, origin(one), origin(other)),
            (False, *_files_of_parts(one, other)),
        )
        for asked, mine, theirs in sides:
            for name in {**mine, **theirs}:
                if mine.get(name) != theirs.get(name):
                    counts[asked, name, _text(mine.get(name)), _text(theirs.get(name))] += 1
    found = [Circumstance(name, a, b, number, asked) for (asked, name, a, b), number in counts.items()]
    return tuple(sorted(found, key=lambda each: not each.asked))


def _files_of_parts(one: TrialRecord, other: TrialRecord) -> tuple[dict[str, str], dict[str, str]]:
    """The files of each part that trained the weights last, such as the objective, as far as they differ, with what is
    recorded of their content. A part that either side does not know is not compared."""
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    mine, theirs = map(_last_code, (one, other))
    for kind in sorted(mine.keys() & theirs.keys()):
        files = [_mapping(_mapping(code[kind]).get("files")) for code in (mine, theirs)]
        names = sorted(name for name in {**files[0], **files[1]} if files[0].get(name) != files[1].get(name))
        if names and all(files):
            for facts, has in zip(found, files, strict=True):
                shown = ", ".join(f"{name} {_text(has.get(name))}" for name in names[:_SHOWN_FILES])
                more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
                facts[f"code of the {kind}"] = shown + more
    return found


def _last_code(trial: TrialRecord) -> Mapping[str, Any]:
    segments = segments_of(trial.result)
    return _mapping(segments[-1].get("code")) if segments else {}


def _mapping(value: object) -> Mapping[str, Any]:
    """Itself, or an empty one: a result may be damaged."""
    return value if isinstance(value, Mapping) else {}


def _settings(trial: TrialRecord) -> dict[str, str]:
    return {f"spec.{key}": value for key, value in flatten(trial.spec)}


def _text(value: object) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)


def _nothing_in_common(
    a: Path,
    b: Path,
    mine: dict[str, TrialRecord],
    theirs: dict[str, TrialRecord],
    both: Sequence[tuple[TrialRecord, TrialRecord]],
) -> str:
    if both:
        states = Counter((one.state, other.state) for one, other in both)
        text = ", ".join(f"{number} {one} and {other}" for (one, other), number in states.items())
        shared = f"none of the {len(both)} trials that they share is" if len(both) > 1 else "their one trial is not"
        return f"{a} and {b}: {shared} done in both: {text}"
    closest = min(
        ((one, other) for one in mine.values() for other in list(theirs.values())[:1000] if one.spec and other.spec),
        key=lambda pair: len(_settings_apart(*pair)),
        default=None,
    )
    text = f"{a} and {b}: no trial in common ({len(mine)} and {len(theirs)} trials), so there is nothing to compare"
    if closest is None:
        return text
    apart = _settings_apart(*closest)
    more = f", and {len(apart) - _SHOWN_DIFFERENCES} more" if len(apart) > _SHOWN_DIFFERENCES else ""
    return (
        f"{text}\n  The closest are {closest[0].key} and {closest[1].key}, which differ in "
        f"{'; '.join(apart[:_SHOWN_DIFFERENCES])}{more}"
    )


def _settings_apart(one: TrialRecord, other: TrialRecord) -> list[str]:
    mine, theirs = (dict[str, Any](flatten(trial.spec)) for trial in (one, other))
    return [
        f"{name} {mine.get(name, '–')} and {theirs.get(name, '–')}"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    ]
