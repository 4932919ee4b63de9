"""The result of a trial that is evaluated again: it stays until there is another, and if that fails it still counts.

Where the settings are new, ``result.json`` stays where it is. Where it is the code that is new, the result is set aside
under another name, since a trial with a result of the same settings would count as done.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.files import DamagedFile, read_bytes, write_atomic
from .checksums import check_whole
from .folder import TrialFolder
from .names import CHECKPOINT_FILE, CHECKSUMS_FILE, PREVIOUS, RESULT_FILE
from .status import Status, write_status


def set_aside(directory: Path) -> None:
    """Puts the result out of the way of another. The caller holds the trial's lock."""
    # The result goes first and comes back last: whoever is interrupted here leaves a trial that is not done.
    for name in (RESULT_FILE, CHECKSUMS_FILE):
        path = directory / name
        if path.is_file():
            path.replace(path.with_name(name + PREVIOUS))


def keep_checksums(directory: Path) -> None:
    """Copies the checksums of a result that is still in its place, just before those of another one are written.

    Whoever is stopped between these and that one leaves a result that can be recognised. The caller holds the lock.
    """
    if _is_there(directory / RESULT_FILE) and _is_there(directory / CHECKSUMS_FILE):
        content = read_bytes(directory / CHECKSUMS_FILE)
        write_atomic(directory / f"{CHECKSUMS_FILE}{PREVIOUS}", lambda file: file.write(content))


def forget(directory: Path) -> None:
    """Removes what was set aside: there is another result, or the weights that it is of are gone."""
    for name in (RESULT_FILE, CHECKSUMS_FILE):
        with suppress(OSError):  # A folder of this name, say: the result that counts is written.
            (directory / f"{name}{PREVIOUS}").unlink(missing_ok=True)


def record_failure(directory: Path, status: Status) -> Status:
    """Writes that an attempt has failed. The caller holds the trial's lock.

    A trial with a previous result that is whole is done, as it was before: its evaluation settings are those of that
    result again, and its status has the error, so that a driver can report it (:func:`has_survived`). The next run then
    finds a trained trial that has yet to be evaluated with the settings of its grid.

    Args:
        directory: The trial's folder.
        status: What is known of the attempt; its state is ``failed``.

    Returns:
        The failed status, whatever was written.
    """
    folder = TrialFolder(directory)
    evaluation = _restored(folder)
    if evaluation is None:
        return write_status(directory, status)
    folder.write_evaluation(evaluation)
    return replace(write_status(directory, replace(status, state="done")), state="failed")


def has_survived(status: Status) -> bool:
    """Whether a status, as it is in its file, is that of a finished trial that could not be evaluated again."""
    return status.state == "done" and status.error is not None


def _restored(folder: TrialFolder) -> dict[str, Any] | None:
    """The evaluation settings of the previous result, which is back in its place; None if none is whole."""
    result, checksums = (folder.directory / name for name in (RESULT_FILE, CHECKSUMS_FILE))
    aside, beside = (path.with_name(path.name + PREVIOUS) for path in (result, checksums))
    if _is_there(aside) and not result.exists():
        if _is_there(beside):
            beside.replace(checksums)
        aside.replace(result)
    head = folder.result_head()
    if head is None and _is_there(result) and _is_there(beside):
        # The checksums of another result were written, and it was not.
        beside.replace(checksums)
        head = folder.result_head()
    evaluation = None if head is None else head.get("evaluation")
    try:
        check_whole(folder.directory / CHECKPOINT_FILE)
    except (DamagedFile, OSError):
        return None
    return evaluation if isinstance(evaluation, dict) else None


def _is_there(path: Path) -> bool:
    """Whether it is a file, and not a link to one: a folder may come from a stranger."""
    return path.is_file() and not path.is_symlink()
