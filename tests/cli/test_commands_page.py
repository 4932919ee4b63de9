"""docs/commands.md: every command is on the page, and every command line on it is one that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from mmvae_bench.cli import COMMANDS, GROUPS, app

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
LINES = [re.sub(r"\s+[#>].*", "", line.strip()) for line in PAGE.splitlines() if line.startswith("    mmvae-bench ")]
LINES += re.findall(r"`(mmvae-bench (?!COMMAND)[a-z][^`]*)`", PAGE)


def test_the_table_has_every_command() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE) == [*COMMANDS, *GROUPS]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_can_be_parsed(line: str) -> None:
    name, *words = shlex.split(line.removeprefix("mmvae-bench "))
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    command.make_context(name, words)  # Raises what the program would print.
