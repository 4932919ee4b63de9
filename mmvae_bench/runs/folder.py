"""One trial's folder: its files, the spec in it, and how far the files together show the trial to be."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ..base.canonical import canonical_json, text_hash
from ..base.errors import ConfigError, nearest
from ..base.files import DamagedFile, parse_json, read_bytes, read_json, read_text, write_text
from ..specs.trial import SPEC_VERSION, TrialSpec, trial_label
from .checksums import check_whole, read_whole
from .documents import SMALL_BYTES, check_result, check_spec, parse_object
from .lock import is_locked
from .names import (
    CHECKPOINT_FILE,
    CHECKSUMS_FILE,
    EVALUATION_FILE,
    LOCK_FILE,
    LOG_FILE,
    RESULT_FILE,
    SPEC_FILE,
    STATUS_FILE,
    TRIAL_FILES,
    TRIALS_FOLDER,
    WEIGHTS_FILE,
)
from .status import Status, read_status

HEAD_BYTES = 65_536
"""How much of a result is read for its head, which takes 10 KB and 3 more for each resume; its scores are longer."""
MOST_NEARBY = 8
"""How many trials a message lists instead of a folder that is none."""
_LEFT_BY_TRIALS = TRIAL_FILES - {SPEC_FILE, EVALUATION_FILE, LOCK_FILE}
"""What shows that a trial has been worked on; the others are written before."""


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """``runs/<name>/trials/<key>``, or a trial's folder of any name, whose key is ``named``."""

    directory: Path
    named: str | None = None

    @classmethod
    def alone(cls, directory: Path) -> Self:
        """A trial's folder that need not be part of a run: its key is the hash of its spec, whatever its name."""
        return cls(directory, text_hash(read_bytes(directory / SPEC_FILE)))

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
        """The text of ``spec.json``; raises DamagedFile, or OSError if it is missing."""
        return read_text(self.spec_path, at_most=SMALL_BYTES)

    def intact(self) -> bool:
        """Whether the hash of ``spec.json`` is still the folder's name."""
        return text_hash(self.spec_text().encode()) == self.key

    def check_files(self) -> None:
        """Raises DamagedFile unless this is a folder of its run, and all its files are regular ones.

        A link, a pipe or a device in place of one would be read from, or written to, outside of the folder.
        """
        for folder in (self.directory.parent, self.directory):
            if self.directory.parent.name == TRIALS_FOLDER and folder.is_symlink():
                raise DamagedFile(folder, "a link; the folder of a run holds no links to others")
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.name in TRIAL_FILES and not entry.is_file(follow_symlinks=False):
                        raise DamagedFile(self.directory / entry.name, "not a regular file")
        except FileNotFoundError:
            return

    def spec(self) -> dict[str, Any]:
        """The spec, with printable texts.

        Raises:
            DamagedFile: the folder holds links or special files; or the spec is missing, cannot be read, is of another
                version, or was changed: its hash is no longer the folder's name.
        """
        self.check_files()
        path = self.spec_path
        try:
            content = self.spec_text().encode()
        except FileNotFoundError:
            raise DamagedFile(path, "missing") from None
        except OSError as error:
            raise DamagedFile(path, f"cannot be read: {error.strerror}") from None
        plain = parse_object(path, content)
        if plain.get("version") != SPEC_VERSION:
            raise DamagedFile(path, f"made by version {plain.get('version')!r:.20}, this is {SPEC_VERSION}")
        spec = check_spec(path, plain)
        if text_hash(content) != self.key:
            raise DamagedFile(path, "was changed: the folder's name is no longer its hash")
        return spec

    def result(self) -> dict[str, Any] | None:
        """The result, checked as a whole, with printable texts; None if there is none.

        Raises:
            DamagedFile: it, or its checksum, cannot be read, is of another version or trial, or the two disagree.
        """
        try:
            result = read_result(self.result_path)
        except FileNotFoundError:
            return None
        if result["key"] != self.key:
            raise DamagedFile(self.result_path, f"is the result of trial {result['key']}, not of {self.key}")
        if result["version"] != SPEC_VERSION:
            raise DamagedFile(self.result_path, f"made by version {result['version']}, this is {SPEC_VERSION}")
        return result

    def weights_damage(self) -> DamagedFile | None:
        """What is wrong with the weights of a finished trial, if they were written to since; None if nothing is.

        Weights that were not touched are not read: this is asked of every trial of a run.
        """
        path = self.directory / CHECKPOINT_FILE
        if not os.path.lexists(self.result_path):
            return None  # Checksums that are there all the same are those of an earlier result.
        try:
            if path.lstat().st_mtime_ns > (self.directory / CHECKSUMS_FILE).lstat().st_mtime_ns:
                check_whole(path)
        except DamagedFile as damage:
            return damage
        except OSError:
            pass
        return None

    def result_damage(self) -> DamagedFile | None:
        """What is wrong with the result or the weights of a trial, so that a run makes them again; None if nothing is.

        Only what can be told quickly, without parsing the scores.
        """
        if os.path.lexists(self.result_path) and self.result_head() is None:
            try:
                self.result()
            except DamagedFile as damage:
                return damage
        return self.weights_damage()

    def lacks_spec(self) -> bool:
        """Whether the spec is missing or empty, as a power cut leaves it; a run of its grid writes it again."""
        try:
            found = self.spec_path.lstat()
        except FileNotFoundError:
            return True
        return stat.S_ISREG(found.st_mode) and not found.st_size

    def is_blank(self) -> bool:
        """Whether the spec was never completely written, and nothing has run: there is no file that a trial leaves."""
        return self.lacks_spec() and not any(os.path.lexists(self.directory / name) for name in _LEFT_BY_TRIALS)

    def evaluation(self) -> dict[str, Any] | None:
        """The evaluation settings as canonical JSON values; None if the file is missing or damaged."""
        try:
            value = read_json(self.evaluation_path, at_most=SMALL_BYTES)
        except (OSError, ValueError):
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
            content = read_whole(self.result_path)
            head, scores, _ = content[:HEAD_BYTES].partition(b', "scores": [')
            if scores and content[-16:].rstrip().endswith(b"]}"):
                with suppress(ValueError):
                    return parse_object(self.result_path, head + b"}")
            result = parse_json(content.decode())
        except (OSError, ValueError):
            return None
        return {name: value for name, value in result.items() if name != "scores"} if isinstance(result, dict) else None

    def is_done(self, evaluation: Mapping[str, Any] | None) -> bool:
        """Whether there is a whole result with these evaluation settings, and its weights are not damaged."""
        head = self.result_head()
        return head is not None and head.get("evaluation") == evaluation and self.weights_damage() is None

    def status(self, evaluation: Mapping[str, Any] | None) -> Status:
        """How far the trial is with regard to ``evaluation``: the status file, corrected by the result and the lock.

        A trial is done if it has a result with these evaluation settings, whatever the status file says. A process
        that was killed leaves ``running`` behind but no lock: interrupted. A result with other evaluation settings
        means pending: the model is trained but has yet to be evaluated.
        """
        status = read_status(self.directory)
        if self.is_done(evaluation):
            # A status that says done and why not is that of a trial that could not be evaluated again.
            told = status if status.state == "done" else replace(status, error=None, error_type=None)
            return replace(told, state="done", step=max(status.step, status.steps))
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
        DamagedFile: if one of its files is a link or a special file.
    """
    return TrialSpec.parse(_read_settings(directory))


def read_model(directory: Path, *, warn: Callable[[str], object] = lambda text: None) -> TrialSpec:
    """:func:`read_trial` for whoever asks the trained model something: that needs no metric, question or protocol.

    Args:
        directory: A trial folder, or one that ``mmvae-bench export`` has written.
        warn: Told what is wrong with the evaluation settings where they cannot be used, because the package of a
            question or a protocol is not installed, say. The spec then has the default ones.
    """
    plain = _read_settings(directory)
    try:
        return TrialSpec.parse(plain)
    except ConfigError as error:
        if plain.pop("evaluation", None) is None:
            raise
        try:
            spec = TrialSpec.parse(plain)
        except ConfigError:
            raise error from None
        wrong = "\n  ".join(str(error).splitlines())
        warn(
            f"warning: {directory}: its evaluation settings cannot be used here (is the package of a question or a "
            f"protocol installed?); the model does not need them\n  {wrong}"
        )
        return spec


def _read_settings(directory: Path) -> dict[str, object]:
    """The JSON of a spec, with the folder's evaluation settings; raises as :func:`read_trial`."""
    TrialFolder(directory).check_files()
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
    return plain


def check_not_exported(directory: Path) -> None:
    """Raises ConfigError if a folder is an export, which has the weights of a trial and nothing else of it."""
    if os.path.lexists(directory / WEIGHTS_FILE) and not os.path.lexists(directory / CHECKPOINT_FILE):
        raise ConfigError(f"{directory}: an exported model; only the trial's own folder can be evaluated or exported")


def read_result(path: Path) -> dict[str, Any]:
    """A ``result.json``, checked against its checksum, with printable texts.

    Raises:
        DamagedFile: it, or its checksum, cannot be read, or the two disagree.
        FileNotFoundError: there is none.
    """
    try:
        content = read_whole(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFile(path, f"cannot be read: {error.strerror}") from None
    return check_result(path, parse_object(path, content), pure=content.isascii() and b"\\" not in content)


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
        return trial_label(check_spec(path, read_object(path)))
    except (ConfigError, DamagedFile, OSError):
        return "(damaged)"


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a file; raises ConfigError if it is damaged."""
    try:
        value = read_json(path, at_most=SMALL_BYTES)
    except DamagedFile as error:
        raise ConfigError(str(error)) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is damaged: expected a JSON object")
    return value
