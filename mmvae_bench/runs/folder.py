"""One trial's folder: its files, the spec in it, and how far the files together show the trial to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ..base.canonical import canonical_json
from ..base.errors import ConfigError, nearest
from ..base.files import read_bytes, read_json, write_text
from ..specs.trial import SPEC_VERSION, TrialSpec, trial_label
from .lock import is_locked
from .names import EVALUATION_FILE, LOCK_FILE, LOG_FILE, RESULT_FILE, SPEC_FILE, STATUS_FILE, TRIALS_FOLDER
from .status import Status, read_status

HEAD_BYTES = 16_384
"""How much of a result is read for its head, which takes 3 to 4 KB; the scores behind it make a result large."""
MOST_NEARBY = 8
"""How many trials a message lists instead of a folder that is none."""


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """``runs/<name>/trials/<key>``, or a trial's folder of any name, whose key is ``named``."""

    directory: Path
    named: str | None = None

    @classmethod
    def alone(cls, directory: Path) -> Self:
        """A trial's folder that need not be part of a run: its key is the hash of its spec, whatever its name."""
        return cls(directory, hashlib.sha256(read_bytes(directory / SPEC_FILE)).hexdigest()[:12])

    @property
    def key(self) -> str:
        """The trial's key, which in a run is the folder's name."""
        return self.named or self.directory.name

    @property
    def spec_path(self) -> Path:
        """The canonical spec; the key is the first 12 hex digits of this file's sha256."""
        return self.directory / SPEC_FILE

    @property
    def evaluation_path(self) -> Path:
        """The evaluation settings that a result must have been made with."""
        return self.directory / EVALUATION_FILE

    @property
    def status_path(self) -> Path:
        """The status file."""
        return self.directory / STATUS_FILE

    @property
    def result_path(self) -> Path:
        """The result. It appears complete, by an atomic rename, so its presence means done."""
        return self.directory / RESULT_FILE

    @property
    def lock_path(self) -> Path:
        """The file that the process working on the trial holds locked."""
        return self.directory / LOCK_FILE

    @property
    def log_path(self) -> Path:
        """The output of the trial's processes, one after the other."""
        return self.directory / LOG_FILE

    def spec_text(self) -> str:
        """The text of ``spec.json``."""
        return self.spec_path.read_text()

    def intact(self) -> bool:
        """Whether the hash of ``spec.json`` is still the folder's name."""
        return hashlib.sha256(self.spec_text().encode()).hexdigest().startswith(self.key)

    def evaluation(self) -> dict[str, Any] | None:
        """The evaluation settings as canonical JSON values; None if the file is missing or damaged."""
        try:
            value = read_json(self.evaluation_path)
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def write_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Writes the evaluation settings, unless the file has them already."""
        if self.evaluation() != evaluation:
            write_text(self.evaluation_path, canonical_json(evaluation))

    def result_head(self) -> dict[str, Any] | None:
        """Everything in the result but its scores; None without a result, or if it is damaged.

        The scores come last and are nearly all of a result, so only the text before them is parsed. A result laid out
        in any other way is parsed as a whole.
        """
        try:
            with self.result_path.open("rb") as file:
                head, scores, _ = file.read(HEAD_BYTES).partition(b', "scores": [')
                size = file.seek(0, 2)
                file.seek(max(0, size - 16))
                whole = file.read().rstrip().endswith(b"]}")
            if scores and whole:
                with suppress(ValueError):
                    return dict(json.loads(head + b"}"))
            result = read_json(self.result_path)
        except (FileNotFoundError, ValueError):
            return None
        return {name: value for name, value in result.items() if name != "scores"} if isinstance(result, dict) else None

    def is_done(self, evaluation: Mapping[str, Any] | None) -> bool:
        """Whether there is a result with these evaluation settings."""
        head = self.result_head()
        return head is not None and head.get("evaluation") == evaluation

    def status(self, evaluation: Mapping[str, Any] | None) -> Status:
        """How far the trial is with regard to ``evaluation``: the status file, corrected by the result and the lock.

        A trial is done if it has a result with these evaluation settings, whatever the status file says. A process
        that was killed leaves ``running`` behind but no lock: interrupted. A result with other evaluation settings
        means pending: the model is trained but has yet to be evaluated.
        """
        status = read_status(self.directory)
        if self.is_done(evaluation):
            return replace(status, state="done", step=max(status.step, status.steps), error=None, error_type=None)
        if is_locked(self.directory):
            return replace(status, state="running", error=None, error_type=None)
        if status.state == "running":
            return status.interrupted()
        if status.state == "done":
            return replace(status, state="pending", step=0)
        return status


def read_trial(directory: Path) -> TrialSpec:
    """The spec of a trial folder, with the folder's evaluation settings.

    Raises:
        ConfigError: if it is not a trial folder, its files are damaged, or another spec version made it.
    """
    path = directory / SPEC_FILE
    if not path.is_file():
        raise ConfigError(f"{directory} is not a trial folder: it has no {SPEC_FILE}{trials_nearby(directory)}")
    plain = read_object(path)
    if plain.get("version") != SPEC_VERSION:
        raise ConfigError(
            f"{directory} was made under spec version {plain.get('version')!r}, this is version {SPEC_VERSION}: "
            "choose another folder, or use the version of mmvae-bench that made it"
        )
    evaluation = directory / EVALUATION_FILE
    if evaluation.is_file():
        plain["evaluation"] = read_object(evaluation)
    return TrialSpec.parse(plain)


def trials_nearby(directory: Path) -> str:
    """The trials that may have been meant instead of ``directory``, as lines for the end of a message.

    Those of a run folder, or those next to a folder that does not exist: the nearest key first.
    """
    places = (directory / TRIALS_FOLDER, directory, directory.parent, directory.parent / TRIALS_FOLDER)
    for place in places:
        found = {path.parent.name: path for path in place.glob(f"[!.]*/{SPEC_FILE}")}
        if not found:
            continue
        near = nearest(directory.name, found)
        order = sorted(found, key=lambda name: (name != near, name))
        lines = [f"    {found[name].parent}  {_label(found[name])}" for name in order[:MOST_NEARBY]]
        more = [f"    and {len(found) - MOST_NEARBY} more"] if len(found) > MOST_NEARBY else []
        return "\n".join([f"\n  trials in {place}:", *lines, *more])
    return ""


def _label(path: Path) -> str:
    try:
        return trial_label(read_object(path))
    except (ConfigError, OSError, AttributeError, TypeError):
        return "(damaged)"


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a file; raises ConfigError if it is damaged."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is damaged: expected a JSON object")
    return value
