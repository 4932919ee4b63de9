"""Files are UTF-8 whatever the locale, printing never raises, and only one place starts the interpreter."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmvae_bench
from mmvae_bench import cli
from mmvae_bench.runs.status import Status, write_status

from ..sweep.support import HERE, StubRun

PACKAGE = Path(mmvae_bench.__file__).parent
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
BINARY_OWNERS = {"tarfile", "Image", "os", "zipfile", "archive"}
"""Their ``open`` has no encoding."""


def calls(source: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def names_no_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the locale's encoding."""
    given = {keyword.arg for keyword in call.keywords}
    if "encoding" in given:
        return False
    function = call.func
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    if owner == "subprocess":
        return bool(given & {"text", "universal_newlines"})
    if name in ("read_text", "write_text"):
        return isinstance(function, ast.Attribute)  # The functions of base.files are called by their bare names.
    if name not in ("open", "fdopen") or (name == "open" and owner in BINARY_OWNERS):
        return False
    modes = [part.value for part in [*call.args, *(keyword.value for keyword in call.keywords)]
             if isinstance(part, ast.Constant)]  # fmt: skip
    return not any(isinstance(mode, str) and "b" in mode for mode in modes)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("read_text(path)", False),
        ("path.write_text(text)", True),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("open(name, mode='w')", True),
        ("open(name, 'w', encoding='utf-8')", False),
        ("os.open(name, flags)", False),
        ("os.fdopen(number, 'w')", True),
        ("subprocess.run(words, text=True)", True),
        ("subprocess.run(words, encoding='utf-8')", False),
    ],
)
def test_what_the_scan_finds(source: str, found: bool) -> None:
    assert any(map(names_no_encoding, calls(source))) == found


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in calls(path.read_text(encoding="utf-8"))
        if names_no_encoding(call)
    ]
    assert found == []


def test_every_process_is_started_by_the_safe_interpreter() -> None:
    """``sys.executable`` elsewhere would be a process that looks for modules in the working folder."""
    users = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "sys.executable" in path.read_text(encoding="utf-8")
    }
    # remote.py replaces the driver's interpreter by the node's.
    assert users == {"base/processes.py", "sweep/remote.py"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_printing_never_raises(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True))
    monkeypatch.setattr(cli, "app", lambda *_, **__: sys.stdout.write("3 × ☃") and sys.stderr.write("α"))
    assert cli.main([]) == 0
    assert isinstance(sys.stdout, io.TextIOWrapper)
    assert isinstance(sys.stdout.buffer, io.BytesIO)
    assert sys.stdout.buffer.getvalue() == "3 × ☃".encode(encoding, errors="backslashreplace")


@pytest.mark.parametrize("surroundings", [C_LOCALE, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_what_another_locale_wrote_is_shown(stub: StubRun, surroundings: dict[str, str]) -> None:
    store = stub.store()
    folder = store.folder(min(store.keys()))
    write_status(folder.directory, Status(state="failed", attempts=1, error="☃ in größe.png"))
    done = subprocess.run(
        [sys.executable, "-m", "mmvae_bench", "status", str(stub.out)],
        env=os.environ | surroundings, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b" in gr" in done.stdout


def test_the_copy_of_the_grid_is_the_file_in_any_locale(stub: StubRun) -> None:
    """To the byte: with its byte order mark, its line ends and its letters."""
    stub.seeds = (0,)
    grid = stub.write_grid()
    content = (
        b"\xef\xbb\xbf" + grid.read_text(encoding="utf-8").replace("\n", "\r\n").encode() + "# Größe ☃\r\n".encode()
    )
    grid.write_bytes(content)
    words = [sys.executable, "-m", "tests.sweep.drive", stub.command[-1], "--grid", str(grid), "--out", str(stub.out)]
    done = subprocess.run(words, env=os.environ | C_LOCALE, capture_output=True, timeout=120, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stderr
    assert (stub.out / "grid.yaml").read_bytes() == content
