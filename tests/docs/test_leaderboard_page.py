"""The project's own leaderboard, docs/leaderboard/index.html: what the command makes of benchmarks/results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mmvae_bench.cli import main

from ..browser import browser, needs_chromium

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "leaderboard" / "index.html"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_it_is_what_the_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make leaderboard` writes it again. Other versions of libraries may round a digit differently."""
    monkeypatch.chdir(ROOT)
    runs = sorted(str(path.parent) for path in Path("benchmarks/results").glob("*/results.parquet"))
    assert main(["leaderboard", *runs, "--out", str(tmp_path / "site")]) == 0
    made = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    kept = PAGE.read_text(encoding="utf-8")
    assert NUMBER.split(made) == NUMBER.split(kept), "run `make leaderboard`"
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (made, kept)]
    np.testing.assert_allclose(*numbers, rtol=1e-5, atol=0.11, err_msg="run `make leaderboard`")


def test_it_is_small_and_names_no_place_on_a_machine() -> None:
    assert [path.name for path in PAGE.parent.iterdir()] == ["index.html"]
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000, "what any page of a report may have"
    assert not re.search(r"(?<![\w.<])/(?:home|root|tmp|work|var|mnt|Users)/", text)


@needs_chromium
def test_it_fits_a_desk_and_a_telephone(tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        for width in (1400, 390):
            page.size(width)
            page.open(PAGE)
            assert page.run("document.documentElement.scrollWidth") <= width
        links = "[...document.querySelectorAll('table.overview a')]"
        assert page.run(f"{links}.length") > 10
        assert page.run(f"{links}.filter(each => !document.querySelector(each.hash)).length") == 0
        assert page.complaints == []
