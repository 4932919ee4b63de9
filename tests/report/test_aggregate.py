"""The tables of aggregate posteriors: the numbers of results.parquet in every rendering, next to the published ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmvae_bench.base.statistics import mean_interval, paired_difference
from mmvae_bench.report import read_results, write_report
from mmvae_bench.report.aggregate import AggregateTable, aggregate_tables, published_setting
from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.text import number, with_bounds, with_interval
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec

from .synthetic_runs import write_trial

MODELS: dict[str, dict[str, Any]] = {
    "q_true": {"name": "q_true", "prior_flow": True},
    "q_agg": {"name": "q_agg", "prior_flow": True},
    "vlvae": {"name": "vlvae", "inference": "joint"},
}
PAPER = {"canvas": 112, "num_images": 100_000}


def spec_of(
    objective: str,
    *,
    steps: int = 3000,
    backbone: Any = "rgb_thin",
    batch_size: int = 20,
    model: dict[str, Any] | None = None,
    **dataset: Any,
) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": {"name": "two_object_clevr", "canvas": 48} | dataset,
            "backbone": backbone,
            "objective": model or MODELS[objective],
            "training": {"steps": steps, "batch_size": batch_size, "learning_rate": 4e-4},
        }
    )


def made(metric: str, objective: str, *, protocol: str = "likelihood", mean: float, **others: Any) -> Score:
    own = np.random.default_rng([sum(map(ord, metric)), sum(map(ord, objective))])
    values = (mean + own.normal(0, 0.1 * abs(mean) ** 0.5, 30)).round(6)
    low, high = mean_interval(values, fraction="correctness" in metric)
    return Score(metric=metric, partition="test", protocol=protocol, value=float(values.mean()), ci_low=low,
                 ci_high=high, num_queries=30, per_query=values.tolist(), **others)  # fmt: skip


def scores_of(objective: str) -> list[Score]:
    """What an evaluation of each of them holds."""
    proposal = "q(z|x,y)" if objective == "vlvae" else "q(z|x)"
    scores = [Score(metric="elbo", partition="test", value=-112.25)]
    scores.append(made("log_px", objective, mean=12_300.0, num_samples=10, proposal=proposal))
    for attribute, mean in ((None, 0.4), ("size_1", 0.7), ("relation", 1.2)):
        scores.append(
            made("description_entropy", objective, mean=mean, attribute=attribute, num_samples=10, proposal=proposal)
        )
    if objective == "vlvae":
        return scores
    return [
        *scores,
        made("correctness", objective, protocol="cremer", mean=0.6, level=9, floor=0.31, num_samples=1),
        made("log_px_given_y", objective, mean=12_100.0, num_samples=1, proposal=proposal),
        made("log_px_given_y_per_dim", objective, mean=1.7, num_samples=1, proposal=proposal),
        made("log_px_flow_prior", objective, mean=12_350.0, num_samples=10, proposal=proposal),
        made("log_py", objective, mean=-19.0, num_samples=10, proposal="q(z|y)"),
        made("log_py_flow_prior", objective, mean=-11.0, num_samples=10, proposal="q(z|y)"),
        made("prior_correctness", objective, mean=0.5, num_samples=1, floor=0.3, proposal="p(z)"),
        made("prior_correctness_flow_prior", objective, mean=0.7, num_samples=1, floor=0.4, proposal="q(z)"),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aggregate") / "demo"
    for objective in MODELS:
        write_trial(root, spec_of(objective), scores=scores_of(objective))
    return root


@pytest.fixture(scope="module")
def terminal(run: Path) -> str:
    return write_report(run, width=240, color=False)


def tables_of(run: Path) -> list[AggregateTable]:
    (section,) = compare(read_run(run)).sections
    return aggregate_tables(section)


def cells(run: Path, metric: str) -> dict[str, str]:
    """From the file: value and interval by objective."""
    frame = read_results(run)
    rows = frame[(frame.metric == metric) & frame.protocol.notna() & frame.attribute.isna()]
    unit = "%" if "correctness" in metric else "nats"
    return {
        row.objective: with_interval(row.value, row.ci_low, row.ci_high, unit) for row in rows.itertuples(index=False)
    }


def test_the_tables_hold_the_numbers_of_the_file(run: Path, terminal: str) -> None:
    conditional, prior, inference = tables_of(run)
    for table, place in ((conditional, "table 1"), (prior, "table 2"), (inference, "figure 7")):
        assert table.title.endswith(f"(Cremer and Kushman 2018, {place})"), (
            "which paper is not said elsewhere in a terminal"
        )
    assert conditional.heads == ("", "q_true", "q_agg", "q_agg minus q_true", "base rate")
    for row, metric in zip(conditional.rows, ("correctness", "log_px_given_y"), strict=True):
        assert row[1:3] == tuple(cells(run, metric)[name] for name in ("q_true", "q_agg"))
    assert [row[-1] for row in conditional.rows] == [number(0.31), "–"]
    found = {(row[0], row[1]): row[2:] for row in prior.rows}
    labels = {
        "prior_correctness": "correctness, %",
        "log_px": "log p(x), nats",
        "log_py": "log p(y), nats",
    }
    for metric, label in labels.items():
        for name in ("q_true", "q_agg"):
            plain, flow = cells(run, metric)[name], cells(run, f"{metric}_flow_prior")[name]
            assert found[name, label][:2] == (plain, flow)
    assert found["q_true", labels["prior_correctness"]][3:] == (number(0.3), number(0.4))
    assert found["vlvae", labels["log_px"]][1:3] == ("–", "–")
    assert inference.heads[1:] == (
        "q_true, z from q(z|x)", "q_agg, z from q(z|x)", "vlvae, z from q(z|x,y)",
    )  # fmt: skip
    assert [row[0] for row in inference.rows] == ["mean over attributes", "size_1", "relation"]


def test_differences_are_paired_second_minus_first(run: Path, terminal: str) -> None:
    values = {name: {score.metric: score.per_query for score in scores_of(name)} for name in ("q_true", "q_agg")}
    conditional, prior, _ = tables_of(run)
    expected = paired_difference([values["q_agg"]["correctness"]], [values["q_true"]["correctness"]]).value
    assert conditional.rows[0][3].split(" ")[0] == with_bounds(expected, expected, expected).split(" ")[0]
    expected = paired_difference([values["q_true"]["log_py_flow_prior"]], [values["q_true"]["log_py"]]).value
    row = next(row for row in prior.rows if row[:2] == ("q_true", "log p(y), nats"))
    assert row[4].startswith(with_bounds(expected, expected, expected, "nats").split(" ")[0])
    low, high = (float(end) for end in re.findall(r"[-+]?\d+\.\d+", row[4])[1:])
    assert low < expected < high


def test_images_of_two_priors_cannot_be_paired(tmp_path: Path) -> None:
    """And where some texts could not be judged the two are of different numbers of images."""
    first, second = (
        made(f"prior_correctness{ending}", "q_agg", mean=mean, num_samples=1, floor=0.3)
        for ending, mean in (("", 0.5), ("_flow_prior", 0.7))
    )
    assert first.per_query is not None
    kept = [*first.per_query[:-1]]
    low, high = mean_interval(kept, fraction=True)
    first = replace(first, per_query=kept, num_queries=29, ci_low=low, ci_high=high)
    write_trial(
        tmp_path / "run", spec_of("q_agg"), scores=[Score(metric="elbo", partition="test", value=-1.0), first, second]
    )
    (table,) = tables_of(tmp_path / "run")
    below = ((first.ci_high - first.value) ** 2 + (second.value - second.ci_low) ** 2) ** 0.5
    above = ((first.value - first.ci_low) ** 2 + (second.ci_high - second.value) ** 2) ** 0.5
    value = second.value - first.value
    assert table.rows[0][4] == with_bounds(value, value - below, value + above)


def test_the_words_of_texts_are_called_words(run: Path) -> None:
    (section,) = compare(read_run(run)).sections
    params = (*section.setting.dataset_params, ("view", "text"))
    _, _, inference = aggregate_tables(replace(section, setting=replace(section.setting, dataset_params=params)))
    assert [row[0] for row in inference.rows] == ["mean over words", "size_1", "relation"]


def from_markdown(text: str) -> Iterator[list[list[str]]]:
    for part in text.split("### Aggregate posteriors")[1:]:
        lines = [line for line in part.split("\n### ")[0].splitlines() if line.startswith("|")]
        rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        yield [rows[0], *rows[2:]]


def from_latex(text: str) -> Iterator[list[list[str]]]:
    plain = {r"$\pm$": "±", "$-$": "-", "$|$": "|", r"$\cdot$": "·", r"\_": "_", r"\%": "%", "--": "–"}
    for part in text.split(r"\caption{Aggregate posteriors")[1:]:
        lines = [line for line in part.split(r"\bottomrule")[0].splitlines() if line.endswith(r" \\")]
        for written, character in plain.items():
            lines = [line.replace(written, character) for line in lines]
        yield [[cell.strip() for cell in line.removesuffix(r" \\").split("&")] for line in lines]


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.inside = self.cell = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.inside = dict(attributes).get("class") == "aggregate"
            self.tables += [[]] * self.inside
        elif self.inside and tag == "tr":
            self.tables[-1] = [*self.tables[-1], []]
        elif self.inside and tag in ("td", "th"):
            self.cell = True
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")
        self.inside = self.inside and tag != "table"

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.tables[-1][-1][-1] += data.replace("\N{MINUS SIGN}", "-")


def test_every_rendering_holds_the_same_tables(run: Path, terminal: str) -> None:
    expected = [[list(table.heads), *map(list, table.rows)] for table in tables_of(run)]
    report = run / "report"
    assert list(from_markdown((report / "table.md").read_text())) == expected
    assert list(from_latex((report / "table.tex").read_text())) == expected
    page = _Tables()
    page.feed((report / "index.html").read_text())
    assert page.tables == expected
    for table in expected:
        for row in table:
            assert any(all(cell in line for cell in row) for line in terminal.splitlines()), row


def test_floors_that_are_each_models_own_are_no_warning(run: Path, terminal: str) -> None:
    other = compare(read_run(run)).sections[0]
    row = next(row for row in other.rows if row.metric == "prior_correctness")
    assert row.reference("floor") == (0.3, 0.3)
    assert "Ceilings or floors differ" not in terminal


PUBLISHED_MODELS: dict[str, dict[str, Any]] = {
    name: {**MODELS[name], "image_weight": 0.02, "concept_weight": 200, "mask_probability": 0}
    for name in ("q_true", "q_agg")
}


def published_heads(root: Path, objective: dict[str, Any] | None = None, **changes: Any) -> list[tuple[str, ...]]:
    """The heads of the published columns of tables 1 and 2, of two trials as theirs but for the changes."""
    given = {"steps": 400_000, "backbone": "two_object_resnet", "view": "text", **PAPER, **changes}
    partition = given.pop("partition", "val")
    for name, model in PUBLISHED_MODELS.items():
        spec = spec_of(name, model=model | (objective or {}), **given)
        write_trial(root, spec, scores=[replace(score, partition=partition) for score in scores_of(name)])
    (section,) = compare(read_run(root)).sections
    return [tuple(head for head in table.heads if "published" in head) for table in aggregate_tables(section)[:2]]


ALL_HEADS = [
    ("published q_True", "published q_Agg", "q_true minus published", "q_agg minus published"),
    ("published p(z)", "published q(z)", "p(z) minus published", "q(z) minus published"),
]


def test_published_numbers_are_shown_for_their_own_setting(tmp_path: Path) -> None:
    root = tmp_path / "run"
    assert published_heads(root) == ALL_HEADS
    (section,) = compare(read_run(root)).sections
    conditional, prior = aggregate_tables(section)[:2]
    assert [row[-4:-2] for row in conditional.rows] == [("72.8", "87.0"), ("75716.5", "75739.8")]
    assert {row[-4:-2] for row in prior.rows if row[1] == "log p(y), nats"} == {("-19.4", "-17.4")}
    # Ours minus theirs, and their interval is ours: nothing else is known of it.
    ours = next(score for score in scores_of("q_agg") if score.metric == "correctness")
    shown = with_bounds(ours.value - 0.8701, ours.ci_low - 0.8701, ours.ci_high - 0.8701)
    assert conditional.rows[0][-1] == shown
    ours = next(score for score in scores_of("q_true") if score.metric == "log_py_flow_prior")
    shown = with_bounds(ours.value + 17.4, ours.ci_low + 17.4, ours.ci_high + 17.4, "nats")
    assert next(row for row in prior.rows if row[:2] == ("q_true", "log p(y), nats"))[-1] == shown


@pytest.mark.parametrize(
    "change",
    [
        {"view": "attributes"},
        {"num_images": 50_000},
        {"split": "comp"},
        {"partition": "test"},
        {"backbone": "rgb_thin"},
        {"backbone": {"name": "two_object_resnet", "latent_size": 10}},
        {"backbone": {"name": "two_object_resnet", "word_dropout": 0.5}},
        {"batch_size": 64},
        {"steps": 300_000},
        {"objective": {"concept_weight": 50}},
        {"objective": {"inference": "joint"}},
        {"objective": {"kl_warmup_steps": 0}},
    ],
    ids=str,
)
def test_and_for_no_other(change: dict[str, Any], tmp_path: Path) -> None:
    assert published_heads(tmp_path / "run", **change) == [(), ()]


@pytest.mark.parametrize("dataset", ["two_object_clevr", "celeba18"])
def test_the_shipped_grid_is_their_setting(dataset: str, tmp_path: Path) -> None:
    grid = load_grid(Path(__file__).parents[2] / "configs" / "aggregate_posteriors.yaml")
    for spec in grid.trials:
        if spec.dataset.name == dataset and spec.objective.name in PUBLISHED_MODELS:
            scores = [replace(score, partition="val") for score in scores_of(spec.objective.name)]
            write_trial(tmp_path / "run", spec, scores=scores)
    (section,) = compare(read_run(tmp_path / "run")).sections
    tables = aggregate_tables(section)[:2]
    assert [tuple(head for head in table.heads if "published" in head) for table in tables] == ALL_HEADS
    assert all("–" not in row[-4:] for table in tables for row in table.rows)


def test_an_objective_that_is_not_theirs_has_no_number_of_theirs(tmp_path: Path) -> None:
    """Beside q_true and q_agg a joint VLVAE, which has a bound on log p(x) too; nor has a bound of another k."""
    root = tmp_path / "run"
    published_heads(root)
    settings = {"steps": 400_000, "backbone": "two_object_resnet", "view": "text", **PAPER}
    model = {**MODELS["vlvae"], "image_weight": 0.02, "concept_weight": 200}
    scores = [replace(score, partition="val") for score in scores_of("vlvae")]
    write_trial(root, spec_of("vlvae", model=model, **settings), scores=scores)
    (section,) = compare(read_run(root)).sections
    lines = {row[:2]: row[-4:] for row in aggregate_tables(section)[1].rows}
    assert set(lines["vlvae", "log p(x), nats"]) == {"–"}
    assert "–" not in lines["q_agg", "log p(x), nats"]
    cells = [cell and replace(cell, num_samples=100) for row in section.rows for cell in row.cells]
    width = len(section.columns)
    rows = [replace(row, cells=tuple(cells[width * at : width * (at + 1)])) for at, row in enumerate(section.rows)]
    lines = {row[:2]: row[-4:] for row in aggregate_tables(replace(section, rows=tuple(rows)))[1].rows}
    assert set(lines["q_agg", "log p(x), nats"]) == {"–"}
    assert not published_setting(replace(section.setting, dataset="mnist_a"))


def test_a_run_without_these_metrics_has_no_such_table(run_dir: Path) -> None:
    text = write_report(run_dir, width=200, color=False)
    assert all(not aggregate_tables(section) for section in compare(read_run(run_dir)).sections)
    assert "ggregate posteriors" not in text + (run_dir / "report" / "index.html").read_text()


def test_the_picture_of_the_plane(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "run", spec_of("q_agg"), scores=scores_of("q_agg"))
    axis = np.linspace(-3, 3, 41)
    x, y = np.meshgrid(axis, axis)
    density = np.stack([np.exp(-((x - shift) ** 2 + y**2) / 2) for shift in (-1, 1)])
    arrays = {
        "x": axis,
        "y": axis,
        "labels": np.array(["red one", "blue one"]),
        "true": density,
        "aggregate": density**4,
    }
    np.savez_compressed(folder / "latent_plane.npz", **arrays)  # type: ignore[arg-type]
    write_report(tmp_path / "run")
    (figure,) = (tmp_path / "run" / "report" / "figures").glob("*latent-plane.svg")
    assert "red one" in figure.read_text()
    assert "blue one" in (tmp_path / "run" / "report" / "index.html").read_text()
    (folder / "latent_plane.npz").write_bytes(b"PK not a zip")
    write_report(tmp_path / "run")
    assert "blue one" not in (tmp_path / "run" / "report" / "index.html").read_text()
