"""One trial's folder: which files it has, the spec in it, and what they say together about how far the trial is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base.hashing import canonical_json
from ..base.errors import ConfigError
from ..base.files import read_json, write_text
from ..specs.trial import SPEC_VERSION, TrialSpec
from .lock import is_locked
from .members import ends_whole, read_members
from .names import EVALUATION_FILE, LOCK_FILE, LOG_FILE, RESULT_FILE, SPEC_FILE, STATUS_FILE
from .status import Status, read_status


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """``runs/<name>/trials/<key>``."""

    directory: Path

    @property
    def key(self) -> str:
        """The trial's key, which is the folder's name."""
        return self.directory.name

    @property
    def spec_path(self) -> Path:
        """The canonical spec; the key is the beginning of this file's sha256."""
        return self.directory / SPEC_FILE

    @property
    def evaluation_path(self) -> Path:
        """What the trained model is to be asked."""
        return self.directory / EVALUATION_FILE

    @property
    def status_path(self) -> Path:
        """How far the trial is."""
        return self.directory / STATUS_FILE

    @property
    def result_path(self) -> Path:
        """The answers; that it is there means that they are complete."""
        return self.directory / RESULT_FILE

    @property
    def lock_path(self) -> Path:
        """The file that the process at work on the trial holds locked."""
        return self.directory / LOCK_FILE

    @property
    def log_path(self) -> Path:
        """What the trial's processes printed, one after the other."""
        return self.directory / LOG_FILE

    def spec_text(self) -> str:
        """The text of ``spec.json``."""
        return self.spec_path.read_text()

    def intact(self) -> bool:
        """Whether ``spec.json`` is what it was when its hash became the folder's name."""
        return hashlib.sha256(self.spec_text().encode()).hexdigest().startswith(self.key)

    def evaluation(self) -> dict[str, Any] | None:
        """What is to be asked, as canonical JSON values; None where that is not written down yet."""
        try:
            value = read_json(self.evaluation_path)
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def ask(self, evaluation: Mapping[str, Any]) -> None:
        """Writes down what is to be asked, where it is not what stands there already."""
        if self.evaluation() != evaluation:
            write_text(self.evaluation_path, canonical_json(evaluation))

    def result_head(self) -> dict[str, Any] | None:
        """``evaluation``, ``training`` and ``provenance`` of the result; None without a result that can be read."""
        try:
            if not ends_whole(self.result_path):
                return None
            return read_members(self.result_path, ("evaluation", "training", "provenance"))
        except (FileNotFoundError, ValueError):
            return None

    def is_done(self, evaluation: Mapping[str, Any] | None) -> bool:
        """Whether there is a result, of ``evaluation``."""
        head = self.result_head()
        return head is not None and head.get("evaluation") == evaluation

    def status(self, evaluation: Mapping[str, Any] | None) -> Status:
        """How far the trial is with regard to ``evaluation``: the status file, put right by the other evidence.

        Done is a result of this evaluation. A process that was killed leaves ``running`` behind, but no lock, and is
        called interrupted. A result of another evaluation leaves the trial pending: the model is there, but not asked.
        """
        status = read_status(self.directory)
        if self.is_done(evaluation):
            return replace(status, state="done", step=max(status.step, status.steps), error=None, error_type=None)
        if is_locked(self.directory):
            return replace(status, state="running", error=None, error_type=None)
        if status.state == "running":
            return replace(status, state="interrupted")
        if status.state == "done":
            return replace(status, state="pending", step=0)
        return status


def read_trial(directory: Path) -> TrialSpec:
    """The spec of a trial folder, with the evaluation asked of it.

    Raises:
        ConfigError: where the folder is no trial's, its files are damaged, or it was made under another version.
    """
    path = directory / SPEC_FILE
    if not path.is_file():
        raise ConfigError(f"{directory} is not a trial folder: it has no {SPEC_FILE}")
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


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a file; raises ConfigError where it is damaged."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is damaged: expected a JSON object")
    return value
