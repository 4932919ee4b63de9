"""The notebooks run from the first cell to the last, in a folder of their own; where nbclient and ipykernel are
installed (extra notebooks, part of dev)."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_two_and_nothing_they_have_printed_is_stored() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["compare", "own"]
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(not cell.get("outputs") for cell in cells)
        assert all(cell.get("execution_count") is None for cell in cells)


def test_the_page_prints_what_the_notebook_s_images_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/own_data.md shows a digest, which whoever runs the notebook sees too."""
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path))
    cells = json.loads((NOTEBOOKS[1]).read_text(encoding="utf-8"))["cells"]
    (cell,) = ("".join(each["source"]) for each in cells if "from_arrays" in "".join(each["source"]))
    exec(compile(cell, "own.ipynb", "exec"), {})
    page = (NOTEBOOKS[1].parents[1] / "own_data.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().err
    assert printed.count("\n") == 3
    assert textwrap.indent(printed, "    ") in page
    (digest,) = re.findall(r"[0-9a-f]{16}", printed)
    assert f"data: {digest}," in page


@pytest.mark.not_in_check
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra notebooks)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra notebooks)")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))  # Not the user's own.
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    tables = [output.data["text/html"] for output in shown if "text/html" in output.data]
    assert not any("<pre" in table for table in tables), "rich has displayed what it was to return"
    scores = [float(score) for table in tables for score in
              re.findall(r"<td>correctness</td><td>\d</td><td>([\d.]+)</td>", table)]  # fmt: skip
    assert len(scores) > 1
    assert max(scores) > 60  # It has learnt: the floors are about 40 %.
