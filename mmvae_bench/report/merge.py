"""The run folders of several machines as one: a trial that is in two of them counts once; a contradiction is an error.

The folders are not changed. The grids may differ: the trials of the first folder come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.errors import BenchmarkError
from ..base.printable import printable
from ..runs.folder import TrialFolder
from ..runs.names import MERGED_FILE
from ..runs.scores import Score
from .gather import TrialNumbers, read_trial
from .stored import is_stored, stored_trials
from .trials import RunFolders, StoredTrial, conditions, find_trials

LEADERBOARD_FILE = "leaderboard.csv"
"""The scores of a leaderboard, by which its folder is told from that of a merged report."""
_NEAREST_TO_DONE = ("done", "running", "interrupted", "failed", "pending", "damaged")
_SHOWN = 3
_NAMES = ("protocol", "partition", "metric", "attribute", "level")
_Plain = Mapping[str, object]


def merged_folder(run_dirs: Sequence[Path]) -> Path:
    """Where a merged report is written by default: next to the first run."""
    first = run_dirs[0].resolve()
    return first.parent / f"{first.name}-merged"


def merge_runs(run_dirs: Sequence[Path], out: Path) -> RunFolders:
    """The trials of all folders, each once, where they are stored; the directory is ``out``.

    A trial that is done in one folder and not in another counts as done. Where only the rows of one are left, two
    that agree in every number that both have were asked different questions: the one with more numbers counts, of
    those with as many the one that has scores per query.

    Raises:
        BenchmarkError: a folder is not a run or is given twice, ``out`` is one of them or holds other files, or a trial
            has different numbers in two folders: each of those is named, with what differs, and none is chosen.
    """
    places = [folder.resolve() for folder in run_dirs]
    twice = [str(folder) for folder, place in zip(run_dirs, places, strict=True) if places.count(place) > 1]
    if twice:
        raise BenchmarkError(f"{twice[0]}: given twice\n  Name each run folder once.")
    runs = [stored_trials(folder) if is_stored(folder) else find_trials(folder) for folder in run_dirs]
    check_out(out, run_dirs)
    found: dict[str, list[TrialFolder]] = {}
    for run in runs:
        for trial in run.trials:
            found.setdefault(trial.key, []).append(trial)
    conflicts: list[str] = []
    merged = {key: _chosen(folders, conflicts) if len(folders) > 1 else folders[0] for key, folders in found.items()}
    if conflicts:
        one = len(conflicts) == 1
        raise BenchmarkError(
            f"{len(conflicts)} trial{' has' if one else 's have'} different results in two folders; none is chosen, "
            "and nothing was written:\n" + "\n".join(conflicts) + "\n  `mmvae-bench compare` shows how far apart they "
            "are. Leave out a folder, or move one of the two trials out of it."
        )
    waiting = frozenset().union(*(run.waiting for run in runs)) - merged.keys()
    summary = "; ".join(dict.fromkeys(run.summary for run in runs if run.summary))
    return RunFolders(out, tuple(merged.values()), waiting, tuple(_source(run, merged) for run in runs), summary)


def _chosen(folders: Sequence[TrialFolder], conflicts: list[str]) -> TrialFolder:
    """The folder whose trial got furthest, the first one in a tie; contradictions are added to ``conflicts``."""
    # What is whole goes before what only its scores are left of.
    (first, chosen), *others = sorted(
        ((folder, read_trial(folder)) for folder in folders), key=lambda pair: isinstance(pair[0], StoredTrial)
    )
    for folder, other in others:
        states = chosen.record.state, other.record.state
        if states == ("done", "done"):
            difference = contradiction(chosen, other)
            if difference:
                places = f"    {chosen.record.directory}\n    {other.record.directory}"
                conflicts.append(f"  {chosen.record.key} {chosen.record.label}: {difference}\n{places}")
            elif isinstance(first, StoredTrial) and _num_numbers(other) > _num_numbers(chosen):
                first, chosen = folder, other
        elif _NEAREST_TO_DONE.index(states[1]) < _NEAREST_TO_DONE.index(states[0]):
            first, chosen = folder, other
    return first


def _num_numbers(trial: TrialNumbers) -> tuple[int, int]:
    """How many numbers are left of a trial, and how many of them have scores per query."""
    return len(trial.scores), sum(each is not None for each in trial.queries)


def check_out(out: Path, run_dirs: Sequence[Path]) -> None:
    """Raises BenchmarkError if ``out`` holds files that are not part of a report."""
    advice = "\n  Give a new or an empty folder with --out."
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"{out}: is a file; a report needs a folder{advice}")
    place = out.resolve()
    for folder in run_dirs:
        if place == folder.resolve() or folder.resolve() in place.parents:
            raise BenchmarkError(f"{out}: belongs to the run {folder}, which is not changed{advice}")
    if out.is_dir() and any(out.iterdir()) and not (out / MERGED_FILE).is_file():
        raise BenchmarkError(f"{out}: contains other files, and no merged report to replace{advice}")


def keep_leaderboard(out: Path) -> None:
    """Raises BenchmarkError if ``out`` holds a leaderboard, whose ``merged.json`` a merged report would replace."""
    if (out / LEADERBOARD_FILE).exists():
        advice = "Give a new or an empty folder with --out."
        raise BenchmarkError(f"{out}: holds a leaderboard, which a merged report does not replace\n  {advice}")


def contradiction(one: TrialNumbers, other: TrialNumbers) -> str:
    """How two results of one trial differ, in words; empty if they are the same, or, where only the rows of one are
    left, if the numbers that both have are.

    The scores are compared, and what they depend on: queries, images, classifier; but not time or machine.
    """
    mine, theirs = conditions(one.record), conditions(other.record)
    stored = not (one.record.section("evaluation") and other.record.section("evaluation"))
    if stored:  # All that is known of one of them is what its rows say.
        known = [key for key in mine if mine[key] is not None and theirs.get(key) is not None]
        mine, theirs = ({key: each[key] for key in known} for each in (mine, theirs))
    differing = [f"{key} {_text(mine.get(key))} and {_text(theirs.get(key))}" for key in {**mine, **theirs}
                 if mine.get(key) != theirs.get(key)]  # fmt: skip
    scores, others = ([_plain(score, rows_alone=stored) for score in each.scores] for each in (one, other))
    if differing:
        return _some(differing)
    if scores == others:
        return ""
    if len(scores) != len(others):
        if stored and (apart := _shared(scores, others)) is not None:
            return _apart(apart)
        return f"{len(scores)} and {len(others)} numbers"
    return _apart([(first, second) for first, second in zip(scores, others, strict=True) if first != second])


def _shared(scores: Sequence[_Plain], others: Sequence[_Plain]) -> list[tuple[_Plain, _Plain]] | None:
    """The numbers that both have and that differ; None where they have none in common."""
    mine, theirs = ({tuple(each.get(key) for key in _NAMES): each for each in part} for part in (scores, others))
    if not (shared := [name for name in mine if name in theirs]):
        return None
    return [(mine[name], theirs[name]) for name in shared if mine[name] != theirs[name]]


def _apart(apart: Sequence[tuple[_Plain, _Plain]]) -> str:
    words = []
    for first, second in apart:
        name = [first.get(key) for key in _NAMES]
        words.append(f"{' '.join(str(part) for part in name if part is not None)} "
                     f"{_text(first.get('value'))} and {_text(second.get('value'))}")  # fmt: skip
    return _some(words)


def _plain(score: Mapping[str, object], *, rows_alone: bool) -> dict[str, object]:
    plain = Score.from_json(dict(score)).to_json()
    kept = {*_NAMES, "value"}
    return {name: value for name, value in plain.items() if name in kept} if rows_alone else plain


def _source(run: RunFolders, merged: dict[str, TrialFolder]) -> str:
    taken = sum(merged[trial.key] == trial for trial in run.trials)
    total = len(run.trials)
    elsewhere = f", {total - taken} of them taken from another folder" if taken < total else ""
    return f"{printable(str(run.directory))}: {total} trial{'' if total == 1 else 's'}{elsewhere}"


def _some(words: list[str]) -> str:
    more = len(words) - _SHOWN
    return "; ".join(words[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else printable(str(value))
