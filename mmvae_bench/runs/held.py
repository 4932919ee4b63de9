"""Why trials of a run are held back, for whoever looks at the folder: the driver that knows it may be gone by then.

One file for the run and not a note in each trial's status, since one error may hold 100,000 trials back.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..base.files import DamagedFile, read_text, write_json
from ..base.printable import printable
from .documents import ERROR_CHARACTERS
from .names import HELD_FILE

_MOST_BYTES = 8 * 2**20
"""Several times what the keys of 100,000 trials take."""
_KEYS_BY_REASON = TypeAdapter(dict[str, list[str]])


def note_held(root: Path, keys: Iterable[str], reason: str) -> None:
    """Adds to the run's file why the trials with these keys are held back; raises OSError if it cannot be written."""
    known, shown = _read(root), _shown(reason)
    write_json(root / HELD_FILE, known | {shown: sorted({*known.get(shown, ()), *keys})})


def held_reasons(root: Path) -> dict[str, str]:
    """By a trial's key why it is held back, printable; none if the file is damaged."""
    return {key: shown for reason, keys in _read(root).items() for shown in [_shown(reason)] for key in keys}


def forget_held(root: Path) -> None:
    """Removes the run's file: a driver begins, no other is at work, and holds back what it finds reason to."""
    with suppress(FileNotFoundError):
        (root / HELD_FILE).unlink()


def _shown(reason: str) -> str:
    """A reason without bytes that are no text, and not longer than an error; whoever made the file."""
    return printable(reason[:ERROR_CHARACTERS], lines=True)[:ERROR_CHARACTERS]


def _read(root: Path) -> dict[str, list[str]]:
    try:
        return _KEYS_BY_REASON.validate_json(read_text(root / HELD_FILE, at_most=_MOST_BYTES))
    except (OSError, DamagedFile, ValidationError):
        return {}
