"""The files of a report, the page and the text on the terminal."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json
from mmvae_bench.cli.report import report
from mmvae_bench.report import html, write_report
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.curves import score_curves, still_rising, validation_curve
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.notes import Progress
from mmvae_bench.report.trials import TrialRecord

from .synthetic_runs import spec_of, write_trial

FILES = ("index.html", "table.csv", "table.md", "table.tex")


def page_of(run_dir: Path) -> str:
    write_report(run_dir)
    return (run_dir / "report" / "index.html").read_text()


def test_files(run_dir: Path) -> None:
    write_report(run_dir)
    assert sorted(path.name for path in (run_dir / "report").iterdir()) == sorted((*FILES, "figures"))
    assert (run_dir / "results.parquet").is_file()


def test_writing_twice_gives_the_same_bytes(run_dir: Path) -> None:
    write_report(run_dir)
    before = {name: (run_dir / "report" / name).read_bytes() for name in FILES}
    write_report(run_dir)
    assert {name: (run_dir / "report" / name).read_bytes() for name in FILES} == before


class _Page(HTMLParser):
    """Which addresses a page names, its headings, and whether its elements are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr", "path", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data.strip())


def test_the_page_is_self_contained(run_dir: Path) -> None:
    text = page_of(run_dir)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses
    own = ("#", "data:image/png;base64,", "data:application/gzip;base64,")
    beside = [address for address in page.addresses if not address.startswith(own)]
    # What is beside the page is there, and within the run.
    assert {"table.csv", "../results.parquet"} < set(beside)
    for address in beside:
        assert not urlsplit(address).scheme
        assert (run_dir / "report" / unquote(address)).resolve(strict=True).is_relative_to(run_dir.resolve())
    inside = {address[1:] for address in page.addresses if address.startswith("#")}
    assert inside <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\((?!#)|@import|<link|<script(?!>)", text)
    assert text.count("<script>") == 1
    assert "default-src 'none'" in text
    for heading in ("mnist_a · digits · iid", "How far from convergence", "What they imagine", "What the numbers mean",
                    "Classifier", "Not in the tables", "Provenance"):  # fmt: skip
        assert heading in page.headings
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_figures_are_xml_and_use_the_colours_of_the_page(run_dir: Path) -> None:
    figures = re.findall(r"<svg.*?</svg>", page_of(run_dir), flags=re.DOTALL)
    assert len(figures) == 7, "scores, ELBO and confusion of two tables, coverage against correctness of one"
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.get("aria-label")
        # A table of confusion is in one colour.
        assert ("var(--series-0)" in figure) is not root.get("aria-label").startswith("Confusion")
        assert "currentColor" in figure
        # White marker edges or a fixed ink would be lost in the dark.
        assert set(re.findall(r"#[0-9a-f]{6}", figure)) <= {"#000000"}


def test_failures_are_shown_with_reason_and_log(run_dir: Path) -> None:
    text = page_of(run_dir)
    assert "NonFiniteLoss: loss is not finite at step 17 (kl)" in text
    assert "output.log" in text
    assert "Traceback &lt;module&gt;" in text
    assert "<module>" not in text
    assert "step 17 of 6,000" in text
    shown = " ".join(write_report(run_dir, width=100, color=False).split())
    assert "failed at step 17 of 6,000: NonFiniteLoss: loss is not finite" in shown
    assert "demo: 6 of 8 trials done, 1 pending, 1 failed" in shown


def test_a_damaged_result_is_named(run_dir: Path) -> None:
    folder = run_dir / "trials" / spec_of("telbo", seed=1).key
    (folder / "result.json").write_text("{")
    shown = " ".join(write_report(run_dir, width=400, color=False).split())
    assert f"{folder.name} telbo mnist_a/digits/iid seed 1: damaged: {folder / 'result.json'}: cannot be read" in shown
    assert "5 of 8 trials done" in shown
    assert "n=1 of 2" in shown
    assert str(folder / "result.json") in (run_dir / "report" / "index.html").read_text()


def test_a_run_with_nothing_done(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), "running", step=5)
    write_trial(tmp_path, spec_of("jmvae"), "pending")
    shown = write_report(tmp_path, color=False)
    assert "0 of 2 trials done, 1 pending, 1 interrupted" in shown
    assert "interrupted at step 5 of 6,000" in shown
    assert "No trial is done yet" in (tmp_path / "report" / "index.html").read_text()
    assert "no table" in (tmp_path / "report" / "table.tex").read_text()


@pytest.mark.parametrize("width", [80, 100, 137])
def test_the_terminal_is_never_overrun(tmp_path: Path, width: int) -> None:
    for gamma in (1.0, 2.0, 5.0, 50.0):
        for schedule in ("joint", "two_stage"):
            write_trial(tmp_path, spec_of({"name": "telbo", "gamma": gamma, "schedule": schedule}))
    write_trial(tmp_path, spec_of("bivcca"), "failed", error="x" * 300, error_type="E")
    shown = write_report(tmp_path, width=width, color=False)
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    assert "…" not in shown
    numbers = re.findall(r"\d+\.\d ±\d+\.\d", shown)
    assert len(numbers) >= 8 * 7


def test_colour_only_where_asked(run_dir: Path) -> None:
    assert "\x1b[" in write_report(run_dir, color=True)
    assert "\x1b" not in write_report(run_dir)


def test_the_classifier_is_doubted_where_it_is_bad(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(), accuracy=0.8)
    assert "80.0 % of held-out images, under 85.0 %" in " ".join(write_report(tmp_path, color=False).split())
    for name in ("index.html", "table.md"):
        assert "80.0 % of held-out images" in (tmp_path / "report" / name).read_text()


@pytest.mark.parametrize(
    ("slope", "arm", "text"),
    [
        (0.75, 0.25, "+0.75 ±0.25"),
        (4272.1, 150.05, "+4,272 ±150"),
        (-0.0312, 0.00412, "-0.0312 ±0.0041"),
        (1.5, math.nan, "+1.5"),
        (2.0, 0.0, "+2.00 ±0.00"),
        (math.nan, math.nan, "–"),
    ],
)
def test_a_slope_has_the_digits_of_its_interval(slope: float, arm: float, text: str) -> None:
    trial = TrialRecord("key", Path(), "done")
    line = Progress(trial, "telbo", 1, 64, {"all": 1}, 1.0, 1.0, 1.0, slope=slope, arm=arm, verdict="rising")
    assert line.slope_text == text


def test_the_interval_of_a_slope_is_the_one_behind_its_verdict(tmp_path: Path) -> None:
    """Not the standard error, 0.25, by which a slope of four times as much could be called unclear."""
    write_trial(tmp_path, spec_of())
    assert "+0.75 ±0.50  rising" in write_report(tmp_path, color=False)
    for name in ("index.html", "table.md"):
        assert "+0.75 ±0.50" in (tmp_path / "report" / name).read_text()


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    run_dir = tmp_path / "<b>run</b> & co"
    folder = write_trial(run_dir, spec_of())
    result = json.loads((folder / "result.json").read_text())
    result["provenance"]["device"] = "<script>"
    write_json(folder / "result.json", result)
    text = page_of(run_dir)
    assert "<b>run" not in text
    assert text.count("<script>") == 1, "its own"
    page = _Page()
    page.feed(text)
    assert page.open == []


def test_missing_pictures_and_logs_are_left_out(run_dir: Path) -> None:
    for path in (run_dir / "trials").glob("*/*"):
        if path.name in ("samples.png", "log.jsonl", "output.log"):
            path.unlink()
    assert "<img" not in page_of(run_dir)


def test_curves_are_of_the_last_stage_and_forgive_a_torn_line(tmp_path: Path) -> None:
    events = [
        {"event": "validation", "stage": "fit", "step": 10, "elbo": -5.0},
        {"event": "train", "stage": "fit", "step": 12, "loss": 3.0},
        {"event": "validation", "stage": "fit", "step": 20, "elbo": -4.0},
        {"event": "validation", "stage": "fit", "step": 20, "elbo": -3.5},
        {"event": "validation", "stage": "unimodal", "step": 10, "elbo": -2.0},
    ]
    lines, torn = [json.dumps(event) + "\n" for event in events], '{"event": "validation", "st'
    (tmp_path / "log.jsonl").write_text("".join(lines[:-1]) + torn)
    assert validation_curve(tmp_path) == ([10, 20], [-5.0, -3.5])
    (tmp_path / "log.jsonl").write_text("".join(lines) + torn)
    assert validation_curve(tmp_path) == ([30], [-2.0])
    assert validation_curve(tmp_path / "nowhere") == ([], [])


def test_score_curves_forgive_what_a_kill_leaves(tmp_path: Path) -> None:
    def event(step: int, value: float) -> dict[str, object]:
        score = {"metric": "correctness", "attribute": None, "level": 4, "value": value}
        return {"event": "scores", "stage": "fit", "step": step, "overall": 100 + step, "scores": [score]}

    lines = [json.dumps(each) + "\n" for each in (event(10, 0.5), event(20, 0.6), event(20, 0.7), {"event": "scores"})]
    (tmp_path / "log.jsonl").write_text("".join(lines) + '{"event": "scores", "st')
    assert score_curves(tmp_path) == {("correctness", None, 4): ([110, 120], [0.5, 0.7])}
    assert score_curves(tmp_path / "nowhere") == {}


def test_figures_are_self_contained_files(run_dir: Path) -> None:
    """Every curve that was measured is in the figure, and no variable of the page is left in it."""
    measured = 0
    for folder in (run_dir / "trials").iterdir():
        if (folder / "log.jsonl").exists():
            measured += 1
            scores = [{"metric": "correctness", "attribute": None, "level": 4, "value": 0.25}]
            with (folder / "log.jsonl").open("a") as file:
                for step in (5, 10):
                    file.write(json.dumps({"event": "scores", "stage": "fit", "step": step, "scores": scores}) + "\n")
    page = page_of(run_dir)
    figures = sorted((run_dir / "report" / "figures").glob("*-score-curves.svg"))
    assert figures
    assert page.count("Scores over training steps") == len(figures)
    drawn = 0
    for path in figures:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in path.read_text()
        assert "currentColor" not in path.read_text()
        drawn += len(
            re.findall(
                r'<path d="M[^"]*[LH][^"]*" clip-path[^>]*stroke: #[0-9a-f]{6}; stroke-width: 1.4', path.read_text()
            )
        )
    assert drawn == measured


def test_the_command_prints_the_table_and_the_path(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([run_dir])
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == str(run_dir / "report" / "index.html")
    assert "mnist_a · digits · iid" in printed.out
    assert printed.err == ""
    with pytest.raises(BenchmarkError, match="no such folder"):
        report([run_dir / "nowhere"])


def test_scores_that_still_rise_are_named_beside_a_flat_elbo(tmp_path: Path) -> None:
    """A flat ELBO hid a digit that still climbed."""
    generator = np.random.default_rng(0)
    noise = iter(generator.normal(0, 0.002, 60))

    def event(step: int) -> dict[str, object]:
        values = {None: 0.6 + next(noise), "digit": 0.2 + 0.00002 * step + next(noise), "scale": 0.9 + next(noise)}
        scores = [
            {"metric": "correctness", "attribute": name, "level": 4, "value": value} for name, value in values.items()
        ]
        lower = {"metric": "correctness", "attribute": None, "level": 1, "value": 0.0001 * step}
        return {"event": "scores", "stage": "fit", "step": step, "overall": step, "scores": [*scores, lower]}

    (tmp_path / "log.jsonl").write_text("".join(json.dumps(event(step)) + "\n" for step in range(0, 9000, 500)))
    (named,) = still_rising(tmp_path)
    assert re.fullmatch(r"correctness of digit \+(\d\.\d)", named)
    assert float(named.split("+")[1]) == pytest.approx(100 * 0.00002 * 2500, abs=1.0)
    assert still_rising(tmp_path / "nowhere") == ()


def test_charts_give_way_where_a_page_would_be_too_large(
    many_run: Path, many_page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confusions first, with their address; tables stay whole, and pictures keep their room."""
    comparison = compare(read_run(many_run))
    whole = many_page.read_text(encoding="utf-8")
    assert "Left out of this page" not in whole
    most = len(whole.encode()) + html._FOR_PICTURES - 100_000
    monkeypatch.setattr(html, "MOST_BYTES", most)
    page = html.render_html(comparison)
    assert len(page.encode()) < most
    (note,) = re.findall(r"Left out of this page.*?</p>", page)
    kinds = re.findall(r'<a href="(figures/[^"]+)">([^<]+)</a>', note)
    assert kinds[0][1] == "confusion"
    for address, _ in kinds:
        assert (many_page.parent / address).is_file()
    tables = [re.findall(r"<table.*?</table>", text, re.DOTALL) for text in (page, whole)]
    assert tables[0] == tables[1]


def test_no_two_tables_have_figures_of_one_name() -> None:
    """Titles that begin alike, differ only in signs that a file cannot have, or in capitals."""
    long = "a" * 120
    titles = ["mnist_a · digits · iid", f"{long} · 1", f"{long} · 2", "x + y", "x / y", "Sprites", "sprites"]
    names = html.figure_names(titles)
    assert names[0] == "mnist_a-digits-iid"
    assert len({name.casefold() for name in names}) == len(titles)
    assert max(map(len, names)) <= 100
    assert html.figure_names(titles[:2])[1] == names[1], "as long as the title stays"


def test_figures_of_tables_whose_titles_begin_alike_are_all_written(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the links to those that are left out lead to their own."""
    comparison = compare(read_run(run_dir))
    sections = [replace(section, title=f"{'long ' * 30}{place}") for place, section in enumerate(comparison.sections)]
    comparison = replace(comparison, sections=tuple(sections))
    html.write_figures(comparison, tmp_path / "figures")
    monkeypatch.setattr(html, "MOST_BYTES", 0)
    addresses = re.findall(r'<a href="(figures/[^"]+)"', html.render_html(comparison))
    assert len(sections) == 2
    assert len(set(addresses)) == len(addresses) == sum(map(len, comparison.figures))
    assert {unquote(each) for each in addresses} == {
        f"figures/{path.name}" for path in (tmp_path / "figures").iterdir()
    }


@pytest.mark.parametrize(("num", "said"), [(4, []), (5, ["1 more table: below."]), (6, ["2 more tables: below."])])
def test_a_page_says_how_many_tables_have_no_sentence_at_its_head(num: int, said: list[str], tmp_path: Path) -> None:
    for canvas in range(num):
        write_trial(tmp_path, spec_of(dataset={"canvas": 32 + 8 * canvas}))
    head = html.render_html(compare(read_run(tmp_path))).partition("<nav")[0]
    assert head.count("<li><b>") == 4
    assert re.findall(r"<li>(\d.*?)</li>", head) == said
