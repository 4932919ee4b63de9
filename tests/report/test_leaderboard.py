"""One page about several runs: its numbers are those of the comparison, and what is in the runs is only data."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmvae_bench.base.canonical import canonical_json, text_hash
from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json, write_text
from mmvae_bench.cli import main
from mmvae_bench.report import leaderboard
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import MOST_BYTES
from mmvae_bench.report.latex import render_latex
from mmvae_bench.report.leaderboard import write_leaderboard
from mmvae_bench.report.text import number
from mmvae_bench.report.write import write_merged_report, write_report
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.overrides import load_trial

from ..browser import CHROMIUM, needs_chromium
from .synthetic_runs import PNG, result_of, scores_of, spec_of, write_trial

BESIDE = ["leaderboard.csv", "leaderboard.parquet", "leaderboard.tex"]
"""The files that a page names."""


@dataclass
class Cell:
    """A cell of a table: its attributes and its texts by class."""

    attributes: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)


@dataclass
class Board:
    """A table of objectives."""

    label: str
    scores: list[tuple[str, str]] = field(default_factory=list)
    rows: dict[str, list[Cell]] = field(default_factory=dict)


class Page(HTMLParser):
    """The boards of a page, its warnings and headings, and every address and script in it."""

    VOID = frozenset({"meta", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.boards: list[Board] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[tuple[str, str]] = []
        self._groups: list[str] = []
        self._heads: list[str] = []
        self._region = ""
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        self.addresses += [
            value for name, value in found.items() if name in ("src", "href", "action", "data", "srcset")
        ]
        self.handlers += [name for name in found if name.startswith("on")]
        if tag not in self.VOID:
            self._open.append((tag, found.get("class", "")))
        if found.get("role") == "region":
            self._region = found["aria-label"]
            assert found["tabindex"] == "0", "a scrolled region can be reached by keyboard"
        if tag == "table" and found.get("class") == "board":
            self.boards.append(Board(self._region))
            self._groups, self._heads = [], []
        if tag == "th" and found.get("scope") == "colgroup":
            self._groups += [""] * int(found["colspan"])
            self._span = int(found["colspan"])
        if tag == "tr" and "data-name" in found and self._in("table", "board"):
            self.boards[-1].rows[found["data-name"]] = []
        if tag == "td" and self._in("table", "board") and self._in("tbody"):
            self._row.append(Cell(found))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not self._open or not data.strip():
            return
        tag, kind = self._open[-1]
        self.words.setdefault(kind or tag, []).append(data.strip())
        if self._in("table", "board"):
            if tag == "th" and "group" in kind.split():
                self._groups[-self._span :] = [data.strip()] * self._span
            elif tag == "th" and self._in("thead") and "name" not in kind.split():
                self._heads.append(data.strip())
                self.boards[-1].scores = list(zip(self._groups, self._heads, strict=False))
            elif self._in("tbody") and self._in("td"):
                self._row[-1].texts[kind or tag] = data.strip()

    @property
    def _row(self) -> list[Cell]:
        return list(self.boards[-1].rows.values())[-1]

    def _in(self, tag: str, kind: str = "") -> bool:
        return any(each == tag and kind in classes for each, classes in self._open)


def page_of(*runs: Path, out: Path) -> Page:
    write_leaderboard(runs, out)
    return Page((out / "index.html").read_text(encoding="utf-8"))


def test_every_cell_is_that_of_the_comparison(tmp_path: Path) -> None:
    """Values, intervals, shares, ranks and bold, of every row of the first protocol; and the table has all of them."""
    for name in ("telbo", "bivcca"):
        for seed in range(5):
            write_trial(tmp_path / "run", spec_of(name, seed=seed))
        write_trial(tmp_path / "run", spec_of(name, split="comp"))
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    frame = pd.read_csv(tmp_path / "site" / "leaderboard.csv")
    comparison = compare(read_run(tmp_path / "run"))
    boards = {board.label: board for board in page.boards}
    seen = 0
    for section in comparison.sections:
        board = boards[f"Scores: {section.setting.dataset} · digits · {section.setting.split}"]
        assert set(board.rows) == {column.label for column in section.columns}
        for row in section.of("paper"):
            if row.metric not in ("correctness", "coverage", "description_accuracy"):
                continue
            group = {"description_accuracy": "description"}.get(row.metric, row.metric)
            place = board.scores.index((group, "score" if row.level is None else f"level {row.level}"))
            for index, column in enumerate(section.columns):
                cell, shown = row.cells[index], board.rows[column.label][place]
                assert cell is not None
                assert float(shown.attributes["data-value"]) == pytest.approx(cell.value, rel=1e-5)
                assert shown.texts["value"] == number(cell.value)
                assert shown.texts["arm"] == f"±{number(max(cell.high - cell.value, cell.value - cell.low))}"
                assert shown.attributes["title"] == f"{number(cell.low)} to {number(cell.high)}"
                share = cell.shares(row.metric)["share"]
                assert shown.texts.get("unseen", "–").split()[0] == number(share)
                ranks = row.rank(index)
                assert shown.texts.get("rank", "") == (
                    f"rank {'–'.join(map(str, dict.fromkeys(ranks)))}" if ranks else ""
                )
                assert ("leader" in shown.attributes["class"].split()) == (index in row.leaders)
                seen += 1
    assert seen == 20, "iid: 4 + 3 + 1 scores of two objectives, comp: 1 + 1"
    assert any(
        "leader" in cell.attributes.get("class", "")
        for board in page.boards
        for row in board.rows.values()
        for cell in row
    )
    pd.testing.assert_frame_equal(frame, _as_csv(comparison.frame(), tmp_path))
    stored = pd.read_parquet(tmp_path / "site" / "leaderboard.parquet")
    assert stored.to_csv() == comparison.frame().to_csv()
    assert (tmp_path / "site" / "leaderboard.tex").read_text(encoding="utf-8") == render_latex(comparison)


def _as_csv(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    frame.to_csv(folder / "own.csv", index=False)
    return pd.read_csv(folder / "own.csv")


def test_the_best_comes_first_and_what_failed_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_trial(run, spec_of({"name": "telbo", "gamma": 9}), "failed", error="loss is not finite")
    for name in ("bivcca", "telbo", "jmvae"):
        write_trial(run, spec_of(name))
    page = page_of(run, out=tmp_path / "site")
    order = list(page.boards[0].rows)
    values = [float(cells[0].attributes.get("data-value", "nan")) for cells in page.boards[0].rows.values()]
    assert order == ["telbo gamma=1", "jmvae", "bivcca", "telbo gamma=9"]
    assert values[:3] == sorted(values[:3], reverse=True)
    assert math.isnan(values[3])
    assert "1 failed" in page.words["sub"]
    assert any("loss is not finite" in line for line in page.words["li"])


def test_two_runs_are_one_table_and_a_trial_in_both_counts_once(tmp_path: Path) -> None:
    both = spec_of("telbo")
    write_trial(tmp_path / "a", both)
    write_trial(tmp_path / "b", both)
    write_trial(tmp_path / "b", spec_of("jmvae"))
    page = page_of(tmp_path / "a", tmp_path / "b", out=tmp_path / "site")
    assert list(page.boards[0].rows) == ["telbo", "jmvae"]
    assert page.words["lead"] == ["1 world, 2 objectives, 2 runs; 2 of 2 trials done."]
    merged = json.loads((tmp_path / "site" / "merged.json").read_text())
    assert merged["trials"][both.key] == str(tmp_path / "a")
    assert "One training seed each: these numbers compare single runs, not objectives." in page.words["warning"][0]


def test_other_results_of_one_trial_are_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    spec = spec_of("telbo")
    write_trial(tmp_path / "a", spec)
    write_trial(
        tmp_path / "b", spec, scores=[Score(metric="correctness", partition="test", value=0.5, protocol="paper")]
    )
    with pytest.raises(BenchmarkError, match="has different results in two folders; none is chosen"):
        write_leaderboard([tmp_path / "a", tmp_path / "b"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_other_settings_are_other_tables_which_say_so(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", spec_of("telbo"))
    write_trial(tmp_path / "b", spec_of("telbo", training={"steps": 600}))
    write_trial(tmp_path / "b", spec_of("jmvae", backbone={"name": "mnist_a_thin", "width": 4}))
    page = page_of(tmp_path / "a", tmp_path / "b", out=tmp_path / "site")
    boards = [board for board in page.boards if board.label.startswith("Scores: mnist_a · digits · iid, ")]
    assert [list(board.rows) for board in boards] == [["telbo"], ["telbo"], ["jmvae"]]
    titles = [board.label.partition(", ")[2] for board in boards]
    assert ["steps=600" in title.split() for title in titles] == [True, False, False]
    assert ["width=4" in title.split() for title in titles] == [False, False, True]


def test_columns_of_other_steps_in_one_table_say_how_many(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", spec_of("telbo"))
    write_trial(tmp_path / "b", spec_of("jmvae", training={"steps": 600}))
    page = page_of(tmp_path / "a", tmp_path / "b", out=tmp_path / "site")
    assert {"6000 steps", "600 steps"} <= set(page.words["sub"])


@pytest.mark.parametrize(("low", "said"), [(0.15, True), (0.25, False)])
def test_a_table_in_which_nobody_beats_the_floor(low: float, said: bool, tmp_path: Path) -> None:
    scores = [
        Score(metric="correctness", partition="test", protocol="paper", level=level, value=0.3, ci_low=low, ci_high=0.4,
              floor=0.2, ceiling=0.9)
        for level in (4, 3)
    ]  # fmt: skip
    for name in ("telbo", "jmvae"):
        write_trial(tmp_path / "run", spec_of(name), scores=scores)
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    warned = any(
        line.startswith("Nobody beats the floor on mnist_a · digits · iid: correctness at levels 4, 3.")
        for line in page.words["warning"]
    )
    assert warned == said


def test_where_most_is_compared_comes_first(tmp_path: Path) -> None:
    """Most objectives, then most seeds, then the order of a report; what was selected on comes last."""
    few, most, more, seeds = ({"training": {"steps": steps}} for steps in (1000, 2000, 3000, 4000))
    for spec in (
        spec_of(**few),
        *(spec_of(name, **most) for name in ("telbo", "jmvae", "bivcca")),
        *(spec_of(name, seed=seed, **seeds) for name in ("telbo", "jmvae") for seed in (0, 1)),
        *(spec_of(name, **more) for name in ("telbo", "jmvae")),
    ):
        write_trial(tmp_path / "run", spec)
    for name in ("telbo", "jmvae", "bivcca"):
        for seed in (0, 1):
            spec = spec_of(name, seed=seed, training={"steps": 5000})
            write_trial(tmp_path / "val", spec, scores=scores_of(spec, partition="val"))
    page = page_of(tmp_path / "run", tmp_path / "val", out=tmp_path / "site")
    tables = [re.search(r"steps=(\d+)|(val)$", board.label) for board in page.boards]
    assert list(dict.fromkeys(each[1] or each[2] for each in tables if each)) == ["2000", "4000", "3000", "1000", "val"]


def test_the_tables_that_compare_least_are_cut_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, and no more than it takes; they keep their main scores. Samples are left out before that."""
    run, site = tmp_path / "run", tmp_path / "site"
    for steps, names, seeds in ((1000, "telbo", 1), (2000, "telbo jmvae", 1), (3000, "telbo jmvae", 2)):
        for name in names.split():
            for seed in range(seeds):
                write_trial(run, spec_of(name, seed=seed, training={"steps": steps}))
    write_trial(run, spec_of("telbo", split="comp"))
    with_samples = page_of(run, out=site)
    assert sum(each.startswith("data:") for each in with_samples.addresses) == 2
    sheets = {sheet: sheet.read_bytes() for sheet in run.glob("trials/*/samples.png")}
    for sheet in sheets:
        sheet.unlink()
    order = ["steps=3000", "steps=2000", "comp", "steps=1000"]  # Of equals the last on the page is cut first.
    official = 5 * 7 + 1
    for cut in range(5):
        page = page_of(run, out=site)
        kept = [board.label for board in page.boards if "Protocol official" in board.label]
        assert [sum(each in label for label in kept) for each in order] == [1] * (4 - cut) + [0] * cut
        assert sum("has no room for the other scores" in note for note in page.words["note"]) == cut
        assert sum(board.label.startswith("Scores: mnist_a") for board in page.boards) == 4
        assert (pd.read_csv(site / "leaderboard.csv")["protocol"] == "official").sum() == official
        size = (site / "index.html").stat().st_size
        limit = size + 2 * 300  # That there is no room for samples may have to be said of two worlds.
        monkeypatch.setattr(leaderboard, "MOST_BYTES", limit)
        page_of(run, out=site)
        assert (site / "index.html").stat().st_size == size
        for sheet, content in sheets.items():
            sheet.write_bytes(content)
        for at_most in (limit, limit - 1):  # Where one more is cut, there is more room than it took.
            monkeypatch.setattr(leaderboard, "MOST_BYTES", at_most)
            page = page_of(run, out=site)
            assert (site / "index.html").stat().st_size <= limit
            assert not any(each.startswith("data:") for each in page.addresses)
            assert sum("has no room for samples" in note for note in page.words["note"]) == 2
        for sheet in sheets:
            sheet.unlink()
    page_of(run, out=site)
    assert (site / "index.html").stat().st_size == size, "nothing is left to cut"


@pytest.mark.parametrize("tested", [True, False])
def test_validation_scores_are_brief_beside_those_of_the_test(tested: bool, tmp_path: Path) -> None:
    for name in ("telbo", "jmvae"):
        spec = spec_of(name)
        test = scores_of(spec) if tested else []
        write_trial(tmp_path / "run", spec, scores=[*test, *scores_of(spec, partition="val")])
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    val = [board.label for board in page.boards if board.label.endswith("val") or not tested]
    assert [label.startswith("Scores: mnist_a") for label in val] == ([True] if tested else [True, False, False])
    assert len(page.words["pre"]) == 2
    brief = [
        line for line in page.words["note"] if line.startswith("The same trials have a table of their test scores")
    ]
    assert len(brief) == tested


def test_the_command_behind_a_row_is_its_trial(built_run: Path, tmp_path: Path) -> None:
    page = page_of(built_run, out=tmp_path / "site")
    commands = [shlex.split(text) for text in page.words["pre"]]
    assert len(commands) == 4
    for command in commands:
        assert command[:3] == ["mmvae-bench", "train", "--set-json"]
        spec = load_trial(json_settings=command[3])
        assert command[4:] == ["--out", f"runs/{spec.key}"]
        folder = built_run / "trials" / spec.key
        assert (folder / "result.json").is_file()
        assert spec.evaluation.canonical() == json.loads((folder / "evaluation.json").read_text())


def hostile_trial(run: Path, text: str, **dataset: object) -> None:
    """A finished trial whose every text that may be free is ``text``; its folder has the name that it must have."""
    spec = spec_of("telbo")
    plain: dict[str, Any] = spec.canonical()
    plain["objective"] = {"name": text, text: text}
    plain["dataset"] = {**plain["dataset"], "name": text, "source": text, "split": text, **dataset}
    content = canonical_json(plain)
    folder = run / "trials" / text_hash(content.encode())
    folder.mkdir(parents=True)
    write_text(folder / "spec.json", content)
    result = result_of(spec, scores_of(spec)) | {"key": folder.name}
    result["classifier"]["name"] = text
    result["provenance"] |= {"package": text, "commit": text}
    for score in result["scores"]:
        score["protocol"] = text if score["protocol"] == "official" else score["protocol"]
    write_json(folder / "result.json", result)
    (folder / "samples.png").write_bytes(PNG[:8] + b'"><script>alert(1)</script>')


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", '"><img src=http://x/y onerror=alert(1)>', "';$(id)`id`"]
)
def test_a_strangers_run_is_only_data(text: str, tmp_path: Path) -> None:
    hostile_trial(tmp_path / "run", text)
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    assert page.boards
    assert page.tags.count("script") == 1
    assert not page.handlers
    assert [each for each in page.addresses if not each.startswith(("#", "data:image/png;base64,"))] == BESIDE
    command = shlex.split(page.words["pre"][0])
    assert len(command) == 6
    assert json.loads(command[3])["objective"]["name"] == text


def test_the_page_needs_no_network(built_run: Path, tmp_path: Path) -> None:
    page = page_of(built_run, out=tmp_path / "site")
    assert [each for each in page.addresses if not each.startswith(("#", "data:image/png;base64,"))] == BESIDE
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in page.addresses if each.startswith("#")} <= set(ids)


def test_twenty_seven_objectives_and_large_sheets_stay_under_the_limit(tmp_path: Path) -> None:
    """Sheets are left out where they do not fit, and the page says so."""
    objectives = [{"name": "telbo", "gamma": value} for value in range(1, 15)]
    objectives += [{"name": "jmvae", "alpha": value} for value in range(1, 14)]
    specs = [spec_of(objective) for objective in objectives]
    for spec in [*specs, spec_of(objectives[0], split="comp")]:
        folder = write_trial(tmp_path / "run", spec)
        if spec.objective == specs[0].objective:
            # Noise: fewer colours make it little smaller.
            noise = np.random.default_rng(0).integers(0, 256, (2000, 2000), np.uint8)
            Image.fromarray(noise).save(folder / "samples.png")
        else:
            (folder / "samples.png").unlink()
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    assert (tmp_path / "site" / "index.html").stat().st_size < MOST_BYTES
    assert [len(board.rows) for board in page.boards] == [1, 1, 1, 27, 27, 27], "scores, other scores, another protocol"
    assert sum(each.startswith("data:") for each in page.addresses) == 1
    assert sum(note.startswith("The page has no room for samples; those of telbo") for note in page.words["note"]) == 1


def test_writing_again_replaces_it_and_nothing_else_is_touched(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    pages = []
    for _ in range(2):
        assert main(["leaderboard", str(run_dir), "--out", str(tmp_path / "site")]) == 0
        out, err = capsys.readouterr()
        assert out == f"{tmp_path / 'site' / 'index.html'}\n"
        assert "6 of 8 trials done" in err
        pages.append({path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()})
    assert pages[0] == pages[1]
    assert set(pages[0]) == {"index.html", "merged.json", *BESIDE}
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "RUN", "--out", "site"], "given twice"),
        (["nowhere", "--out", "site"], "nowhere: no such folder"),
        (["RUN", "--out", "RUN"], "belongs to the run"),
        (["RUN", "--out", "full"], "contains other files"),
    ],
)
def test_bad_input(
    arguments: list[str], message: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["leaderboard", *(str(run_dir) if word == "RUN" else word for word in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@needs_chromium
def test_sorting_and_filtering_in_a_browser(tmp_path: Path) -> None:
    """The second score, first best first and then worst first; then one objective by name, in one world."""
    assert CHROMIUM is not None
    for split in ("iid", "comp"):
        for name in ("telbo", "jmvae", "bivcca"):
            write_trial(tmp_path / "run", spec_of(name, split=split))
        write_trial(tmp_path / "run", spec_of({"name": "telbo", "gamma": 9}, split=split), "failed", error="boom")
    page_of(tmp_path / "run", out=tmp_path / "site")
    path = tmp_path / "site" / "index.html"
    steps = """<pre id="seen"></pre><script>
    const seen = [];
    const table = document.querySelectorAll("table.board")[0];
    const told = (row) => [row.dataset.name, row.cells[2].dataset.value, row.hidden];
    const note = () => seen.push([...table.tBodies[0].rows].map(told));
    const button = table.tHead.rows[1].cells[1].querySelector("button");
    button.click(); note(); button.click(); note();
    const field = document.getElementById("objective");
    field.value = "JMV"; field.dispatchEvent(new Event("input")); note();
    const world = document.getElementById("world");
    world.value = world.options[2].value; world.dispatchEvent(new Event("change"));
    seen.push([...document.querySelectorAll("section.world")].map((each) => each.hidden));
    seen.push([document.querySelector(".controls").hidden, document.getElementById("shown").textContent]);
    document.getElementById("seen").textContent = JSON.stringify(seen);
    </script>"""
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", f"{steps}</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout)
    assert found is not None
    down, up, filtered, worlds, controls = json.loads(found[1])
    values = [float(value) for _, value, _ in down[:3]]
    assert values == sorted(values, reverse=True)
    assert [row[:2] for row in up[:3]] == [row[:2] for row in down[:3]][::-1]
    assert down[3][:1] == up[3][:1] == ["telbo gamma=9"]
    assert [name for name, _, hidden in filtered if not hidden] == ["jmvae"]
    assert worlds == [True, False]
    assert controls == [False, "1 of 8 rows"]


def test_the_report_of_a_run_begins_with_the_same_table(tmp_path: Path) -> None:
    """And every rendering says that nobody beats the floor."""
    low = {"value": 0.3, "ci_low": 0.1, "ci_high": 0.4, "floor": 0.2, "ceiling": 0.9}
    scores = [Score(metric="correctness", partition="test", protocol="paper", level=4, **low)]
    for name in ("telbo", "jmvae"):
        write_trial(tmp_path / "run", spec_of(name))
        write_trial(tmp_path / "run", spec_of(name, split="comp"), scores=scores)
    theirs = page_of(tmp_path / "run", out=tmp_path / "site")
    shown = write_report(tmp_path / "run", width=500, color=False)
    ours = Page((tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8"))
    assert [board.label for board in ours.boards] == [
        f"Scores: mnist_a · digits · {split}" for split in ("comp", "iid")
    ]
    assert ours.boards == [board for board in theirs.boards if board.label in {each.label for each in ours.boards}]
    words = "Nobody beats the floor on mnist_a · digits · comp: correctness at level 4."
    assert [line.startswith(words) for line in ours.words["warning"]].count(True) == 1
    assert words in shown
    assert words in (tmp_path / "run" / "report" / "table.md").read_text(encoding="utf-8")


LEFT = ".index.html.0_a1b2c3.html"


def test_a_folder_that_is_refused_keeps_all_its_files(tmp_path: Path) -> None:
    """Even those that have the name of a leftover; in an earlier leaderboard those go."""
    write_trial(tmp_path / "run", spec_of("telbo"))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in (LEFT, "mine.txt"):
        (theirs / name).touch()
    words = [str(tmp_path / "run"), "--out"]
    assert main(["leaderboard", *words, str(theirs)]) == 2
    assert sorted(path.name for path in theirs.iterdir()) == [LEFT, "mine.txt"]
    for _ in range(2):
        assert main(["leaderboard", *words, str(tmp_path / "site")]) == 0
        assert not (tmp_path / "site" / LEFT).exists()
        (tmp_path / "site" / LEFT).touch()


def test_a_merged_report_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trial(tmp_path / "run", spec_of("telbo"))
    monkeypatch.chdir(tmp_path)
    write_merged_report([Path("run")], tmp_path / "merged", width=80, color=False)
    before = (tmp_path / "merged" / "merged.json").read_bytes()
    with pytest.raises(BenchmarkError, match="holds a merged report, which a leaderboard does not replace"):
        write_leaderboard([Path("run")], tmp_path / "merged")
    assert (tmp_path / "merged" / "merged.json").read_bytes() == before
    write_leaderboard([Path("run")], tmp_path / "site")
    merged = json.loads((tmp_path / "site" / "merged.json").read_text())
    assert merged["runs"] == [str((tmp_path / "run").resolve())]
    assert set(merged["trials"].values()) == set(merged["runs"])


def test_a_leaderboard_is_not_replaced_by_a_merged_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose merged.json would say something else of the page beside it."""
    for name in ("a", "b"):
        write_trial(tmp_path / name, spec_of("telbo"))
    site = tmp_path / "site"
    write_leaderboard([tmp_path / "a"], site)
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    for runs in (["a"], ["a", "b"]):
        assert main(["report", *(str(tmp_path / name) for name in runs), "--out", str(site)]) == 2
        assert "site: holds a leaderboard, which a merged report does not replace" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in site.iterdir() if path.is_file()} == before
    assert not (site / "report").exists()


def test_a_score_that_is_a_number_for_nobody_leads_nothing(tmp_path: Path) -> None:
    nothing = Score(metric="correctness", partition="test", protocol="paper", level=4, value=math.nan)
    write_trial(tmp_path / "run", spec_of("telbo"), scores=[nothing])
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    assert page.words["lead"] == ["1 world, 1 objective, 1 run; 1 of 1 trial done."]
    some = Score(metric="correctness", partition="test", protocol="paper", level=3, value=0.5, ci_low=0.4, ci_high=0.6)
    write_trial(tmp_path / "other", spec_of("telbo"), scores=[nothing, some])
    page = page_of(tmp_path / "other", out=tmp_path / "site2")
    assert "telbo, alone" in page.words["left words"]


def test_the_overview_counts_objectives_and_not_their_settings(tmp_path: Path) -> None:
    for objective in ("telbo", {"name": "telbo", "gamma": 9}, "jmvae"):
        write_trial(tmp_path / "run", spec_of(objective))
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    overview = (tmp_path / "site" / "index.html").read_text(encoding="utf-8").partition("</table>")[0]
    assert re.findall(r"<td>([^<]*)</td><td>[^<]*</td></tr>", overview) == ["2"]
    assert "2 objectives" in page.words["lead"][0]


@pytest.mark.parametrize(("metric", "floor", "ceiling"), [("joint_divergence", 0.5, 0.05), ("correctness", 0.1, 0.95)])
def test_where_nobody_leads_the_best_mean_is_named(metric: str, floor: float, ceiling: float, tmp_path: Path) -> None:
    """The lowest, where lower is better."""
    for name, value in (("telbo", 0.3), ("jmvae", 0.3001)):
        for seed in range(3):
            each = [value + 0.001 * ((7 * query + 3 * seed) % 5) for query in range(40)]
            score = Score(metric=metric, partition="test", protocol="paper", level=4, value=sum(each) / 40, ci_low=0.29,
                          ci_high=0.31, floor=floor, ceiling=ceiling, num_queries=40, per_query=each)  # fmt: skip
            write_trial(tmp_path / "run", spec_of(name, seed=seed), scores=[score])
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    best = "telbo" if metric == "joint_divergence" else "jmvae"
    assert page.words["left words"] == [f"nobody leads; best mean: {best}"]


def test_the_page_says_what_is_bold_and_what_is_in_the_table_of_scores(tmp_path: Path) -> None:
    write_trial(tmp_path / "run", spec_of("telbo"))
    page_of(tmp_path / "run", out=tmp_path / "site")
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Bold: the best of its column and those not told apart from it" in text
    assert "Every score on this page is in" in text


def test_an_enormous_sheet_is_not_embedded(tmp_path: Path) -> None:
    """A small file can hold a picture that takes gigabytes; neither page shows it."""
    folder = write_trial(tmp_path / "run", spec_of("telbo"))
    sheet = bytearray(PNG)
    for size, shown in ((1, True), (60_000, False), (0, False)):
        sheet[16:24] = size.to_bytes(4) * 2
        (folder / "samples.png").write_bytes(sheet)
        page = page_of(tmp_path / "run", out=tmp_path / "site")
        assert any(each.startswith("data:") for each in page.addresses) == shown, size
        write_report(tmp_path / "run", width=80, color=False)
        report = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
        assert ("data:image/png" in report) == shown, size


@pytest.mark.parametrize("level", [None, 9, "x"])
def test_a_strangers_sprites_of_no_known_level(level: object, tmp_path: Path) -> None:
    """A spec that only a stranger can have written: the page says nothing published about it."""
    hostile_trial(tmp_path / "run", "sprites", **({} if level is None else {"level": level}))
    page = page_of(tmp_path / "run", out=tmp_path / "site")
    assert page.boards
    assert "Published for level" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
