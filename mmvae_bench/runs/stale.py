"""Whether a trial's files were made by other code than is installed, and how they are put out of the way.

The key of a trial holds its settings alone. A result or a checkpoint therefore says which code made it, segment by
segment: each process that trains a trial adds one. What counts is the last one. If an earlier one differs from it,
somebody has decided to go on all the same; that is not asked again, and reports say it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

from ..base.canonical import text_hash
from ..base.errors import ConfigError
from ..base.files import DamagedFile, clear_leftovers, open_regular, parse_json
from ..specs.code import OWN, differences, evaluation_code, training_code
from .folder import TrialFolder
from .names import CHECKPOINT_FILE, CHECKSUMS_FILE, PLANE_FILE, RESULT_FILE, SAMPLES_FILE, TRAINING_LOG
from .previous import forget, set_aside
from .status import Status, read_status, write_status

WhenStale = Literal["refuse", "keep", "retrain"]
"""What to do with a trial made by other code: leave it alone and say so, use it as it is, or make it again."""
SEGMENTS_ENTRY = "segments.json"
"""The segments of a checkpoint: an entry of its archive, so that they are read without torch and never out of step."""
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Staleness:
    """What is known of the code behind a trial's files.

    Attributes:
        training: What differs in the code that trained it, in words; empty if nothing does.
        evaluation: What differs in the code that evaluated it.
        known: Whether the code was recorded; it was not by earlier versions.
    """

    training: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    known: bool = True

    def __bool__(self) -> bool:
        return bool(self.training or self.evaluation)

    def __str__(self) -> str:
        return "; ".join((*self.training, *self.evaluation))


class StaleTrial(ConfigError):
    """A trial was made by other code, and nobody has said what to do about it."""

    def __init__(self, directory: Path, found: Staleness) -> None:
        what = "trained" if found.training else "evaluated"
        super().__init__(
            f"{directory} was {what} by other code than is installed: {found}\n"
            f"  Nothing was changed. Give --retrain to {'train' if found.training else 'evaluate'} it again, or --keep "
            f"to take it as it is."
        )


def staleness(folder: TrialFolder, head: Mapping[str, Any] | None) -> Staleness | None:
    """Compares the code behind a trial's files with what is installed.

    Args:
        folder: The trial's folder; no process is working in it.
        head: Its result without the scores; None if it has none.

    Returns:
        None if it has neither result nor checkpoint.
    """
    try:
        text = folder.spec_text()
        spec = parse_json(text)
    except (OSError, ValueError):
        return None
    # The folder of a trial that is not part of a run may have any name.
    key, path = text_hash(text.encode()), folder.directory / CHECKPOINT_FILE
    segments = segments_of(head) if head is not None else checkpoint_segments(path, key=key)
    if segments is None:
        return None
    made = segments[-1].get("code") if segments else None
    if not isinstance(made, Mapping) or not isinstance(spec, Mapping):
        return Staleness(known=False)
    training = differences(made, training_code(spec))
    evaluation: list[str] = []
    if head is not None and head.get("evaluation") == folder.evaluation():
        judge, on = (head.get(section) for section in ("classifier", "evaluated_on"))
        asked = head["evaluation"]
        if isinstance(judge, Mapping | None) and isinstance(on, Mapping) and isinstance(asked, Mapping):
            name = None if judge is None else str(judge.get("name"))
            dataset = spec.get("dataset")
            named = str(dataset.get("name")) if isinstance(dataset, Mapping) else None
            evaluation = differences(on.get("code"), evaluation_code(asked, name, dataset=named))
    return Staleness(tuple(training), tuple(evaluation))


def segments_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The segments of a result's training, in order; empty if an earlier version made it."""
    provenance = result.get("provenance")
    return _segments(provenance.get("segments") if isinstance(provenance, Mapping) else None)


def checkpoint_segments(path: Path, *, key: str) -> list[Mapping[str, Any]] | None:
    """The segments of the checkpoint of a trial.

    None if there is none, or if it is damaged or of another trial, which whoever loads it will say.
    """
    try:
        with open_regular(path) as file, ZipFile(file) as archive:
            entries = [name for name in archive.namelist() if name.endswith(f"/{SEGMENTS_ENTRY}")]
            if not entries:
                return []
            with archive.open(entries[0]) as entry:
                told = parse_json(entry.read(_MOST_BYTES).decode())
            return _segments(told.get("segments")) if isinstance(told, dict) and told.get("key") == key else None
    except (OSError, ValueError, DamagedFile, BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
        return None


def mixture(result: Mapping[str, Any]) -> list[str]:
    """Where the code changed between the first step and the evaluation, in words; empty if it did not."""
    segments, found = segments_of(result), []
    for before, after in pairwise(segments):
        code = after.get("code")
        if not isinstance(before.get("code"), Mapping) and isinstance(code, Mapping):
            changed = ["the code before it was not recorded"]
        else:
            changed = differences(before.get("code"), code) if isinstance(code, Mapping) else []
        found += [f"from step {after.get('from')} on: {reason}" for reason in changed]
    asked = result.get("evaluated_on")
    code, trained = (asked.get("code") if isinstance(asked, Mapping) else None), segments[-1:]
    if trained and isinstance(code, Mapping):
        # Parts that the training does not have, such as questions, are not compared.
        found += [f"in the evaluation: {reason}" for reason in differences(trained[0].get("code"), code)]
    return found


def other_packages(result: Mapping[str, Any]) -> str | None:
    """The packages besides this one that a result's parts came from, with their versions; None if there are none."""
    asked = result.get("evaluated_on")
    sections = [*segments_of(result), *([asked] if isinstance(asked, Mapping) else [])]
    codes = [code for section in sections if isinstance(code := section.get("code"), Mapping)]
    parts = [part for code in codes for part in code.values() if isinstance(part, Mapping)]
    named = {f"{part.get('package')} {part.get('version')}" for part in parts if part.get("package") != OWN}
    return ", ".join(sorted(named)) or None


def discard(directory: Path, *, training: bool) -> Status:
    """Removes what other code made, so that the trial counts as not done. The caller holds the trial's lock.

    Args:
        directory: The trial's folder.
        training: Whether the weights go too; otherwise only the result does, set aside until the trial is evaluated
            again.

    Returns:
        The trial's status now.
    """
    # The result goes first: whoever is interrupted here leaves a trial that is not done.
    if training:
        for name in (RESULT_FILE, CHECKSUMS_FILE, CHECKPOINT_FILE, TRAINING_LOG, SAMPLES_FILE, PLANE_FILE):
            (directory / name).unlink(missing_ok=True)
        forget(directory)
    else:
        set_aside(directory)
    clear_leftovers(directory)
    return write_status(directory, Status(attempts=read_status(directory).attempts))


def _segments(value: object) -> list[Mapping[str, Any]]:
    return [segment for segment in value if isinstance(segment, dict)] if isinstance(value, list) else []
