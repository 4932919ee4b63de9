"""Recorded numbers: where they were recorded, and how they are re-recorded.

A record is replaced by an explicit command only, which demands the line that goes into CHANGELOG.md or CORRECTIONS.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mmvae_bench.base.files import write_text
from mmvae_bench.base.machine import processor_name

ROOT = Path(__file__).parents[2]
CHANGELOG, CORRECTIONS = "CHANGELOG.md", "CORRECTIONS.md"
_SECTION = "### Changed"


def here() -> dict[str, str]:
    """What decides the bits of a computation on a CPU: the processor, what torch uses of it, torch itself."""
    return {
        "machine": platform.machine(),
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
    }


def differing_places(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """In what two places differ, such as ``torch 2.6.0 for 2.15.0``; empty where the same bits are expected."""
    return [f"{key} {now[key]} for {value}" for key, value in recorded.items() if now[key] != value]


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Name to record; each has ``recorded_on``."""
    records: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return records


def check_complete(path: Path, names: Collection[str], command: str) -> None:
    """Fails where a name has no record, or a record no name, with the command that mends it."""
    recorded = set(read(path))
    missing, left = sorted(set(names) - recorded), sorted(recorded - set(names))
    line = '--changelog "what is new"'
    assert not missing, f"{', '.join(missing)}: never recorded; python -m {command} {' '.join(missing)} {line}"
    assert not left, f"{', '.join(left)}: recorded, but nothing of that name is registered; remove it from {path.name}"


def record(
    arguments: Sequence[str] | None,
    *,
    command: str,
    what: str,
    path: Path,
    names: Iterable[str],
    make: Callable[[str], dict[str, Any]],
    root: Path = ROOT,
) -> None:
    """The command line that records: ``python -m COMMAND [NAME...] --changelog LINE | --correction LINE``.

    Args:
        arguments: Of the command line; None: the process's own.
        command: The module's name, for messages.
        what: What is recorded, such as ``loss traces``.
        path: Where the records lie.
        names: Everything that can be recorded.
        make: From a name to its record.
        root: Where CHANGELOG.md and CORRECTIONS.md lie.
    """
    choices = list(names)
    parser = argparse.ArgumentParser(prog=f"python -m {command}", description=f"Re-records {what}.", allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; all of them by default: {', '.join(choices)}")
    why = parser.add_mutually_exclusive_group(required=True)
    why.add_argument("--changelog", metavar="LINE", help="why numbers changed or are new, for CHANGELOG.md")
    why.add_argument("--correction", metavar="LINE", help="which published number changed and why, for CORRECTIONS.md")
    given = parser.parse_args(arguments)
    strangers = [name for name in given.names if name not in choices]
    if strangers:
        parser.error(f"unknown: {', '.join(strangers)} (choose from {', '.join(choices)})")
    reason = (given.changelog if given.changelog is not None else given.correction).strip()
    if not reason:
        parser.error("the line that says why is empty")
    chosen = given.names or choices
    # Everything is computed before anything is written.
    new = {name: {"recorded_on": here(), **make(name)} for name in chosen}
    records = {name: one for name, one in (read(path) | new).items() if name in choices}
    note = f"{what[:1].upper()}{what[1:]} re-recorded ({', '.join(given.names) or 'all'}): {reason}"
    file = CHANGELOG if given.changelog is not None else CORRECTIONS
    text = (root / file).read_text()
    write_text(root / file, with_change(text, note) if file == CHANGELOG else with_correction(text, note))
    write(path, records)


def write(path: Path, records: dict[str, dict[str, Any]]) -> None:
    """The records sorted by name, a list a line: a diff shows which numbers changed."""
    text = json.dumps(dict(sorted(records.items())), indent=1, allow_nan=False)
    lines = re.sub(r"\[\s+([^][]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    write_text(path, f"{lines}\n")


def with_change(changelog: str, note: str) -> str:
    """The changelog with a line under ``### Changed`` of the part ``## Unreleased``."""
    head, mark, rest = changelog.partition("## Unreleased\n")
    assert mark, f"{CHANGELOG} has no part '## Unreleased'"
    unreleased, released, earlier = rest.partition("\n## ")
    if f"{_SECTION}\n" not in unreleased:
        unreleased = f"{unreleased.rstrip()}\n\n{_SECTION}\n"
    before, section, after = unreleased.partition(f"{_SECTION}\n")
    end = re.search(r"\n+(?=### )|\s*\Z", after)
    assert end is not None
    lines = after[: end.start()].rstrip("\n")
    tail = after[end.start() :] or "\n"
    return f"{head}{mark}{before}{section}{lines}{chr(10) if lines else ''}{_item(note)}{tail}{released}{earlier}"


def with_correction(corrections: str, note: str) -> str:
    """The list of corrections with one more, of today."""
    text = corrections.replace(" None so far.", "").rstrip("\n")
    separator = "\n" if text.splitlines()[-1].startswith(("- ", "  ")) else "\n\n"
    return f"{text}{separator}{_item(f'{datetime.now(UTC).date()}: {note}')}\n"


def _item(note: str) -> str:
    return textwrap.fill(note, 118, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
