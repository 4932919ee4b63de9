"""An objective is one file that reads like its paper's section, and no block of code is in two of them."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import mmvae_bench.objectives

FOLDER = Path(mmvae_bench.objectives.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
MOST_LINES = 600
"""A file is one idea at the size the idea has; a longer one needs a reason."""
LONGEST_SHARED = 8
"""Lines of code in a row that make a block; imports, signatures' ends and docstrings are no code of their own."""


def code_lines(text: str) -> list[str]:
    """The lines of code, normalised: without docstrings, imports, comments, blank lines and indentation."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not isinstance(item, ast.Import | ast.ImportFrom) and not _is_text(item)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return [line.strip() for line in ast.unparse(tree).splitlines() if line.strip()]


def _is_text(item: ast.AST) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def shared_blocks(texts: dict[str, str], length: int) -> dict[str, set[str]]:
    """Blocks of ``length`` lines that stand in two of the texts, with the names of those that have them."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, text in texts.items():
        lines = code_lines(text)
        for start in range(len(lines) - length + 1):
            owners["\n".join(lines[start : start + length])].add(name)
    return {block: names for block, names in owners.items() if len(names) > 1}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_no_two_files_share_a_block_of_code() -> None:
    shared = shared_blocks({path.name: path.read_text() for path in FILES}, LONGEST_SHARED)
    assert not shared, "\n\n".join(f"{' and '.join(sorted(names))}:\n{block}" for block, names in shared.items())


def test_a_copied_block_is_found_whatever_its_comments_and_indentation() -> None:
    block = "\n".join(f"value_{number} = compute({number})" for number in range(LONGEST_SHARED))
    inside = "class A:\n    '''Text.'''\n    def f(self):\n" + "".join(
        f"        {line}  # why\n\n" for line in block.splitlines()
    )
    shared = shared_blocks({"one": f"import os\n\n{block}\n", "other": inside}, LONGEST_SHARED)
    assert list(shared.values()) == [{"one", "other"}]
    assert not shared_blocks({"one": block, "other": inside.replace("value_3", "changed")}, LONGEST_SHARED)
