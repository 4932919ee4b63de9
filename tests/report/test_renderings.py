"""Terminal, Markdown, CSV, LaTeX, HTML and parquet hold the same numbers: each is parsed back and compared."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import mmvae_bench as mb
from mmvae_bench.base.files import write_json
from mmvae_bench.report import read_results, write_report
from mmvae_bench.report.comparison import Comparison, compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.html import render_html
from mmvae_bench.report.latex import render_latex
from mmvae_bench.report.markdown import render_markdown
from mmvae_bench.report.terminal import render_terminal
from mmvae_bench.report.text import with_interval

from .synthetic_runs import scores_of, spec_of, write_trial

Numbers = dict[tuple[str, str, str, str, str], str]
"""(table, protocol, metric, level, objective) to the text of the cell, such as ``71.2 ±1.1``."""

HEADLINE = ("correctness", "coverage", "compositionality", "description")


@pytest.fixture
def comparison(run_dir: Path) -> Comparison:
    write_report(run_dir)
    return compare(read_run(run_dir))


def from_parquet(run_dir: Path) -> Numbers:
    """Values alone, aggregated here; intervals over seeds are not in the rows."""
    frame = read_results(run_dir)
    frame = frame[frame.metric.notna() & frame.attribute.isna()].astype({"level": object, "protocol": object})
    frame = frame.assign(level=frame.level.map(str), protocol=frame.protocol.fillna("paper"))
    labels = {"description_accuracy": "description", "elbo": "ELBO, nats"}
    numbers: Numbers = {}
    keys = ["split", "protocol", "metric", "level", "objective"]
    for (split, protocol, metric, level, objective), rows in frame.groupby(keys):
        value = rows.value.mean() * (1 if metric == "elbo" else 100)
        text = level.replace("<NA>", "")
        numbers[f"mnist_a · digits · {split}", protocol, labels.get(metric, metric), text, objective] = f"{value:.1f}"
    return numbers


def from_csv(run_dir: Path) -> Numbers:
    labels = {"description_accuracy": "description", "elbo": "ELBO, nats"}
    numbers: Numbers = {}
    with (run_dir / "report" / "table.csv").open() as file:
        for row in csv.DictReader(file):
            scale = 1 if row["metric"] == "elbo" else 100
            value = float(row["value"]) * scale
            text = f"{value:.1f}"
            if row["ci_low"]:
                ends = float(row["ci_low"]) * scale, float(row["ci_high"]) * scale
                text += f" ±{max(ends[1] - value, value - ends[0]):.1f}"
            key = (row["table"], row["protocol"] or "paper", labels.get(row["metric"], row["metric"]), row["level"])
            numbers[*key, row["objective"]] = text
    return numbers


def fill(cells: list[list[str]], table: str, protocol: str, numbers: Numbers) -> None:
    """Reads a table with a label, a level, one column per objective and two references; blank labels repeat."""
    heads, label = cells[0], ""
    for row in cells[1:]:
        label = row[0] or label
        for head, cell in zip(heads[2:-2], row[2:-2], strict=True):
            numbers[table, protocol, label, row[1], re.sub(r" \(.*\)", "", head)] = cell


def from_markdown(run_dir: Path) -> Numbers:
    numbers: Numbers = {}
    title, protocol, cells = "", "", list[list[str]]()
    for line in [*(run_dir / "report" / "table.md").read_text().splitlines(), "#"]:
        if line.startswith("|"):
            cells.append([cell.strip().replace("**", "") for cell in line.strip("|").split("|")])
            continue
        if cells and protocol:
            fill([cells[0], *cells[2:]], title, protocol, numbers)
        cells = []
        if line.startswith("## "):
            title = line[3:]
        if line.startswith("#"):
            found = re.search(r"protocol (\w+)", line)
            protocol = found.group(1) if found else ""
    return numbers


def from_latex(run_dir: Path) -> Numbers:
    numbers: Numbers = {}
    plain = {r"$\pm$": "±", "$-$": "-", r"$\cdot$": "·", r"\_": "_", r"\%": "%", "--": "–"}
    title, protocol, cells = "", "", list[list[str]]()
    for line in (run_dir / "report" / "table.tex").read_text().splitlines():
        for written, character in plain.items():
            line = line.replace(written, character)
        line = re.sub(r"\\textbf\{([^}]*)\}", r"\1", line)
        if line.startswith(r"\caption"):
            title = line.removeprefix(r"\caption{").split(".")[0]
            found = re.search(r"protocol (\w+)", line)
            protocol = found.group(1) if found else ""
        elif line.endswith(r" \\"):
            cells.append([cell.strip() for cell in line.removesuffix(r" \\").split("&")])
        elif line == r"\bottomrule":
            fill(cells, title, protocol, numbers)
            cells = []
    return numbers


class _Tables(HTMLParser):
    """Tables of scores and the headings over them."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Numbers = {}
        self.title, self.protocol = "", ""
        self.cells: list[list[str]] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "h2":
            self.title = ""
            self.inside.append(tag)
        if tag == "table":
            self.protocol, self.cells = given.get("data-protocol") or "", []
        if tag == "tr":
            self.cells.append([])
        if tag == "caption":
            self.inside += [tag, "sub"]
        if tag in ("td", "th"):
            self.cells[-1].append("")
            self.inside.append(tag)
        if tag == "th" and given.get("data-name"):
            self.cells[-1][-1] = given["data-name"] or ""
            self.inside.append("sub")
        if tag == "span" and given.get("class") == "sub":
            self.inside.append("sub")
        if tag == "span" and given.get("class") == "arm":
            self.cells[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "td", "th", "caption"):
            while self.inside and self.inside.pop() != tag:
                pass
        if tag == "table" and self.protocol:
            fill(self.cells, self.title, self.protocol, self.numbers)

    def handle_data(self, data: str) -> None:
        if not self.inside or self.inside[-1] == "sub":
            return
        if self.inside[-1] == "h2":
            self.title += data
        else:
            self.cells[-1][-1] += data.replace("\N{MINUS SIGN}", "-")


def from_frame(run_dir: Path) -> Numbers:
    """The data frame that is written as CSV."""
    numbers: Numbers = {}
    frame = compare(read_run(run_dir)).frame().astype(object)
    for row in frame.where(frame.notna(), None).to_dict("records"):
        nats = row["metric"] == "elbo"
        text = with_interval(
            row["value"], row["ci_low"] or math.nan, row["ci_high"] or math.nan, "nats" if nats else "%"
        )
        label = {"description_accuracy": "description", "elbo": "ELBO, nats"}.get(row["metric"], row["metric"])
        level = "" if row["level"] is None else str(row["level"])
        numbers[row["table"], row["protocol"] or "paper", label, level, row["objective"]] = text
    return numbers


def from_html(run_dir: Path) -> Numbers:
    parser = _Tables()
    parser.feed((run_dir / "report" / "index.html").read_text())
    return parser.numbers


def from_terminal(run_dir: Path) -> Numbers:
    numbers: Numbers = {}
    title, label, heads = "", "", list[str]()
    for line in write_report(run_dir, width=200, color=False).splitlines():
        if line.startswith("mnist_a · "):
            title = line
        elif "telbo" in line and "jmvae" in line and title:
            heads = line.split()
        elif line.startswith(HEADLINE) or (heads and re.match(r" +\d ", line)):
            parts = re.split(r" {2,}", line.strip())
            label = parts.pop(0) if line.startswith(HEADLINE) else label
            level = parts.pop(0) if re.fullmatch(r"\d", parts[0]) else ""
            for head, cell in zip(heads, parts[:-2], strict=True):
                numbers[title, "paper", label, level, head] = cell.removesuffix("*")
        elif line.startswith("classifier"):
            heads = []
    return numbers


@pytest.mark.parametrize("read", [from_csv, from_markdown, from_latex, from_html])
def test_every_number_of_the_comparison(comparison: Comparison, run_dir: Path, read: Callable[[Path], Numbers]) -> None:
    expected = from_csv(run_dir)
    # iid: 7 rows of two protocols and 2 rows of none; comp: 1 and 1 and 2. Two objectives.
    assert len(expected) == 2 * (7 * 2 + 2 + 1 * 2 + 2)
    assert read(run_dir) == expected


def from_python(run_dir: Path) -> Numbers:
    """Means over seeds of the rows that ``mb.results`` gives, one row per number of a trial: values alone."""
    changed = {"telbo": "gamma", "jmvae": "alpha"}
    frame = mb.results(run_dir)
    frame = frame[frame.metric.notna() & frame.attribute.isna()]
    values: dict[tuple[str, str, str, str, str], list[float]] = {}
    for row in frame.astype({"level": object}).to_dict("records"):
        setting = changed[row["objective"]]
        name = f"{row['objective']} {setting}={json.loads(row['objective_params'])[setting]:g}"
        label = {"description_accuracy": "description", "elbo": "ELBO, nats"}.get(row["metric"], row["metric"])
        protocol = row["protocol"] if isinstance(row["protocol"], str) else "paper"
        level = "" if pd.isna(row["level"]) else str(row["level"])
        key = (f"{row['dataset']} · {row['source']} · {row['split']}", protocol, label, level, name)
        values.setdefault(key, []).append(row["value"] * (1 if row["metric"] == "elbo" else 100))
    return {key: f"{math.fsum(each) / len(each):.1f}" for key, each in values.items()}


def test_python_has_the_values_of_27_objectives(many_run: Path, many_page: Path) -> None:
    """Each trial's numbers as they were stored: what failed or has not ended is no number."""
    values = {key: text.split(" ±")[0] for key, text in from_csv(many_run).items()}
    assert from_python(many_run) == values
    frame = mb.results(many_run)
    assert frame[frame.metric.notna()].trial.nunique() == 26 * 5 - 2


@pytest.mark.parametrize("read", [from_markdown, from_latex, from_html, from_frame])
def test_every_number_of_27_objectives(many_run: Path, many_page: Path, read: Callable[[Path], Numbers]) -> None:
    """With five seeds, failures and unfinished trials; tables of the page that have parts, too."""
    expected = from_csv(many_run)
    # 26 objectives have results: 7 rows of two protocols, and two of none.
    assert len(expected) == 26 * (7 * 2 + 2)
    found = read(many_run)
    failed = {key: text for key, text in found.items() if key not in expected}
    assert {key[-1] for key in failed} <= {"jmvae alpha=13"}
    assert set(failed.values()) <= {"–"}
    assert {key: text for key, text in found.items() if key in expected} == expected


def test_parquet_has_the_same_values(comparison: Comparison, run_dir: Path) -> None:
    expected = {key: text.split(" ±")[0] for key, text in from_csv(run_dir).items()}
    assert from_parquet(run_dir) == expected


def test_the_terminal_shows_the_headline(comparison: Comparison, run_dir: Path) -> None:
    expected = {key: text for key, text in from_csv(run_dir).items() if key[1] == "paper" and key[2] in HEADLINE}
    found = from_terminal(run_dir)
    assert len(found) == 2 * (7 + 1 + 1 + 1)
    assert found == expected


def test_leaders_are_the_same_everywhere(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    for name, skill in {"telbo": 0.2, "jmvae": 0.0, "bivcca": -0.3}.items():
        for seed in range(4):
            spec = spec_of(name, seed=seed)
            moved = [
                replace(
                    score, value=score.value + skill, per_query=[min(max(x + skill, 0), 1) for x in score.per_query]
                )
                for score in scores_of(spec)
                if score.per_query is not None
            ]
            write_trial(run_dir, spec, scores=moved)
    write_report(run_dir)
    comparison = compare(read_run(run_dir))
    leaders = sum(len(row.leaders) for section in comparison.sections for row in section.rows)
    assert leaders > 4
    markdown = (run_dir / "report" / "table.md").read_text()
    assert len(re.findall(r"\*\*[\d.]+ ±[\d.]+\*\*|\*\*[\d.]+\*\*", markdown)) == leaders
    assert (run_dir / "report" / "table.tex").read_text().count(r"\textbf") == leaders
    assert (run_dir / "report" / "index.html").read_text().count('<td class="leader" title="') <= leaders
    with (run_dir / "report" / "table.csv").open() as file:
        assert sum(row["leader"] == "True" for row in csv.DictReader(file)) == leaders


def test_latex_has_nothing_that_a_text_should_not_say(run_dir: Path) -> None:
    write_trial(run_dir, spec_of({"name": "telbo", "schedule": "two_stage"}))
    write_report(run_dir)
    text = (run_dir / "report" / "table.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    assert r"schedule=two\_stage" in text
    assert text.isascii()
    for line in text.splitlines():
        if not line.startswith("%") and not line.startswith("\\begin") and not line.startswith("\\end"):
            assert not re.search(r"(?<!\\)[%_#]", line), line


def test_every_rendering_says_what_its_references_are(run_dir: Path) -> None:
    """And none speaks of what they no longer are: uniform guesses, a perfect generator, or an interval resampled."""
    comparison = compare(read_run(run_dir))
    for render in (render_terminal, render_markdown, render_latex, render_html):
        rendering = render(comparison)
        text = " ".join(re.sub(r"\n% ?", "\n", unescape(rendering)).split()).lower()
        assert "floor: the expected score of a generator that ignores the query" in text
        assert "for correctness, compositionality and named queries the classifier's accuracy on held-out" in text
        assert re.findall(r"[^.]*(?:chance|perfect generator|significan|bootstrap|resampl)[^.]*", text) == []


def test_what_training_has_cost_is_printed(comparison: Comparison) -> None:
    """Steps of all stages, images seen, weights by network, wall time and processor time."""
    page = render_html(comparison)
    markdown = render_markdown(comparison)
    for text in (markdown, unescape(re.sub(r"<[^>]+>", " ", page))):
        assert "wall time: of the training loop, for which a GPU was held where there was one" in text.replace(
            "Steps", ""
        )
        assert "image_encoder 1,000, image_decoder 234" in text
    heads, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in markdown.partition("### How far from convergence")[2].strip().splitlines()
        if line.startswith("| ")
    ][:4]
    assert heads[7:9] == ["wall time", "processor time"]
    assert {tuple(row[7:9]) for row in rows} == {("2 min 0 s", "4 min 5 s")}
    assert '<td data-value="120.5">2 min 0 s</td><td data-value="245.0">4 min 5 s</td>' in page


def legend(run_dir: Path) -> str:
    return " ".join(render_terminal(compare(read_run(run_dir)), width=200).split("In % unless")[1].split())


def test_the_terminal_explains_only_the_signs_that_it_shows(tmp_path: Path, many_run: Path, run_dir: Path) -> None:
    assert "*" not in render_terminal(compare(read_run(run_dir)))
    whole = legend(many_run)
    for part in (
        "longer arm",
        "*: the best of its row",
        "floor: the expected",
        "the classifier's accuracy",
        "ELBO slo",
    ):
        assert part in whole
    unknown = dict.fromkeys(("ceiling", "floor", "ci_low", "ci_high"), math.nan)
    bare = [replace(score, per_query=None, **unknown) for score in scores_of(spec_of())]
    folder = write_trial(tmp_path, spec_of(), scores=bare)
    result = json.loads((folder / "result.json").read_text())
    result["training"]["convergence"] = None
    write_json(folder / "result.json", result)
    assert legend(tmp_path).startswith("stated otherwise. The published numbers are not shown")


def test_the_interval_is_of_the_seeds_that_there_are(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(seed=0))
    assert "interval over queries. floor" in legend(tmp_path)
    write_trial(tmp_path, spec_of(seed=1))
    assert "interval over training seeds and queries." in legend(tmp_path)
    write_trial(tmp_path, spec_of("jmvae"))
    assert "interval: over queries with one training seed, over training seeds and queries with" in legend(tmp_path)


def test_of_two_partitions_one_says_why_no_published_numbers_are_shown(tmp_path: Path) -> None:
    spec = spec_of()
    write_trial(tmp_path, spec, scores=[*scores_of(spec), *scores_of(spec, partition="val")])
    text = legend(tmp_path)
    assert text.count("The published numbers are not shown") == 1
    assert "partition val" not in text
