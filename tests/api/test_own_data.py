"""A user's 1,000 images, from the import to a table of three objectives: docs/own_data.md as it stands, in few lines;
and what can be done with the run then."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mmvae_bench as mb
from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.metrics.catalogue import metric_info
from mmvae_bench.report.text import as_text, number
from mmvae_bench.runs.store import RunStore
from mmvae_bench.specs.built_in.families.joint import JMVAESpec
from mmvae_bench.specs.components import objectives
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.sweep.run import Request
from mmvae_bench.sweep.run import run as run_request

PAGE = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
BLOCK = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[0]
SMALL = {
    '"steps": 2000, "learning_rate": 1e-3': '"steps": 3, "batch_size": 16, "validations": 1',
    '["rgb_thin"]': '[{"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 3}]',
    '    out="runs/mine",\n': '    out="runs/mine",\n    workers=1,\n',
    '"training":': '"evaluation": {"num_samples": 10, "query_repeats": 1, "protocols": ["corrected"], '
    '"classifier": {"name": "conv_rgb", "width": 4, "steps": 20}},\n        "training":',
}
"""What makes the page's run small."""


def own_images() -> dict[str, Any]:
    """1,000 squares of two sizes in three colours on noise: what the page takes for granted."""
    random = np.random.default_rng(0)
    shade, size = random.integers(0, 3, 1000), random.integers(0, 2, 1000)
    images = random.integers(0, 40, (1000, 16, 16, 3), np.uint8)
    for image, s, colour in zip(images, size, shade, strict=True):
        image[2 : 6 + 6 * s, 2 : 6 + 6 * s, colour] = 255
    return {"images": images, "colours": np.array(["red", "green", "blue"])[shade],
            "sizes": np.array(["small", "big"])[size]}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's lines leave behind, in a folder of their own."""
    folder, text = tmp_path_factory.mktemp("mine"), BLOCK
    for old, new in SMALL.items():
        assert old in text, old
        text = text.replace(old, new)
    names, before = own_images(), Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(text, "docs/own_data.md", "exec"), names)
    finally:
        os.chdir(before)
    names["folder"] = folder / "runs" / "mine"
    names["again"] = names["run"].__class__(names["folder"])  # The page's path is relative.
    return names


def test_the_page_needs_fewer_than_fifteen_lines() -> None:
    assert len([line for line in BLOCK.splitlines() if line.strip()]) < 15


def test_three_objectives_are_trained_on_them_in_processes_of_their_own(made: dict[str, Any]) -> None:
    run, folder = made["again"], made["folder"]
    assert run.trials["state"].tolist() == ["done"] * 3
    assert repr(run) == f"Run({folder}: 3 done)"
    results = mb.results(run)
    assert sorted(results["objective"].unique()) == ["jmvae", "mvae", "telbo"]
    assert set(results["source"]) == {"arrays"}
    assert set(results["dataset_fingerprint"]) == {made["data"].build().fingerprint}
    result = json.loads(next(folder.glob("trials/*/result.json")).read_text())
    assert result["spec"]["dataset"]["attributes"] == [["colour", ["blue", "green", "red"]], ["size", ["big", "small"]]]
    assert str(run).startswith("mine: 3 ")


def test_numbers_are_the_same_in_every_form(made: dict[str, Any]) -> None:
    """In the frame of results, the table, the page and the notebook's HTML."""
    report, results = mb.report(made["again"]), mb.results(made["folder"])
    pd.testing.assert_frame_equal(results, pd.read_parquet(made["folder"] / "results.parquet").astype(results.dtypes))
    table = made["again"].table()
    shown = results[(results["protocol"] == "corrected") & results["attribute"].isna()]
    assert len(shown) > 3
    html, page = made["again"]._repr_html_(), report.page.read_text(encoding="utf-8")
    for row in shown.itertuples():
        (value,) = table.loc[pd.IndexSlice[:, row.metric, row.level], row.objective]
        assert value == pytest.approx(row.value, abs=1e-12)
        text = number(row.value, metric_info(row.metric).unit)
        assert f"<td>{text}</td>" in html
        assert text in page
    assert report.text == str(made["again"])
    assert repr(report) == f"Report(directory={made['folder']!r})"


def test_the_same_call_does_nothing_again_and_the_command_line_takes_the_folder(
    made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = made["folder"] / "grid.yaml"
    times = {path: path.stat().st_mtime_ns for path in made["folder"].glob("trials/*/result.json")}
    again = mb.run(grid, out=made["folder"])
    assert repr(again) == repr(made["again"])
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert "3 trials, 3 done before" in capsys.readouterr().err
    assert main(["run", "--grid", str(grid), "--out", str(made["folder"]), "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["trials"]
    assert {each["key"] for each in planned} == set(again.trials.index)
    assert {each["status"] for each in planned} == {"done"}


@pytest.mark.parametrize("mean", [True, False])
def test_imagine_agrees_in_python_and_on_the_command_line(made: dict[str, Any], mean: bool, tmp_path: Path) -> None:
    """The picture shows, to the shade, what Python returns for the same seed."""
    trials = made["again"].trials
    folder = next(path for path, label in zip(trials["directory"], trials["label"], strict=True) if "jmvae" in label)
    model = mb.load(folder)
    wanted = model.imagine("colour=red", num_samples=3, mean=mean, generator=torch.Generator().manual_seed(5))
    out = tmp_path / "red.png"
    chosen = "--mean" if mean else "--no-mean"
    assert main(["imagine", folder, "colour=red", "-n", "3", "--seed", "5", chosen, "--out", str(out)]) == 0
    scale, gap = 96 // 16, 2
    sheet = torch.from_numpy(np.array(Image.open(out)))[-(96 + 2 * gap) :]  # Below what was asked.
    shown = [sheet[gap : gap + 96, start : start + 96] for start in range(gap, 3 * (96 + gap), 96 + gap)]
    for image, picture in zip(wanted, shown, strict=True):
        plain = image.mul(255).byte().permute(1, 2, 0)  # As torchvision writes pictures.
        assert torch.equal(picture[::scale, ::scale], plain)
    other = model.imagine("colour=red", num_samples=3, mean=not mean, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(wanted, other)


def test_short_texts_for_people(made: dict[str, Any]) -> None:
    data = made["data"]
    assert repr(data) == f"ArraysSpec(1,000 images 3x16x16; colour, size; split iid; {data.data})"
    assert "<th>colour</th><td>blue, green, red</td>" in data._repr_html_()


def test_a_trained_model_a_trial_and_a_grid_are_told_in_a_line(made: dict[str, Any]) -> None:
    """Whoever evaluates one in a notebook wants no pages of layers and settings."""
    model = mb.load(made["again"].trials.directory.iloc[0])
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert repr(model).startswith(
        f"{type(model).__name__}({weights:,} weights of rgb_thin; images 3x16x16; colour, size; "
    )
    assert "<th>image_decoder</th>" in model._repr_html_()
    assert "Conv" in repr(model.image_decoder), "the layers of a network are printed where it is asked for"
    grid = mb.load_grid("quick")
    assert repr(grid) == str(grid) == "GridSpec(quick: 30 trials)"
    trial = mb.expand(grid)[0]
    assert repr(trial) == f"TrialSpec({trial.key} {trial.label})"


def test_what_is_wrong_with_a_grid_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"objectives\[0\].*unknown objective 'jmvea'(?s:.*)nearest: jmvae"):
        mb.run({"datasets": ["sprites"], "backbones": ["rgb_thin"], "objectives": ["jmvea"]}, out=tmp_path / "x")
    with pytest.raises(ConfigError, match="objective=vae: no trial of the grid has this objective"):
        mb.run("quick", out=tmp_path / "x", where="objective=vae")
    with pytest.raises(ConfigError, match="not available as --executor"):
        mb.run("quick", out=tmp_path / "x", executor="cloud")
    assert not (tmp_path / "x").exists()


def test_lists_are_data_frames() -> None:
    listed = mb.list("objectives")
    assert listed.loc["jvae", "posteriors"] == ["joint"]
    assert "arrays" in mb.list("datasets").index
    with pytest.raises(ConfigError, match=r"unknown kind of part 'objective'(?s:.*)nearest: objectives"):
        mb.list("objective")


def test_one_trial_is_not_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = tmp_path / "one.yaml"
    grid.write_text("name: one\ndatasets: [sprites]\nbackbones: [rgb_thin]\nobjectives: [jmvae]\n")
    request = Request(grid=grid, out=tmp_path / "x", dry_run=True)
    assert run_request(request, report=lambda store, outcome: (None, "")) == 0
    assert f"1 trial for {RunStore(tmp_path / 'x').root}; nothing was started" in capsys.readouterr().err
    from mmvae_bench.sweep.events import Event, describe

    assert describe(Event(event="run", finished=1, total=1, done=1)) == ["1 trial, 1 done before"]
    assert describe(Event(event="run", finished=0, total=2)) == ["2 trials"]


def test_a_notebook_gets_the_text_and_rich_displays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook rich displays what it is to print, and writes nothing into the file it was given."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("displayed"))
    assert as_text(["one", "two"], width=80) == "one\ntwo\n"


def test_an_unknown_way_with_stale_trials_is_refused(tmp_path: Path) -> None:
    """The command line has an option for each; here any word could be given."""
    with pytest.raises(ConfigError, match=r"(?s)stale.*'retrian'.*choices: refuse, keep, retrain.*nearest: retrain"):
        mb.run("quick", out=tmp_path / "run", stale="retrian")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.not_in_check
def test_captions_are_learned_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_CACHE", str(tmp_path / "cache"))
    block = next(each for each in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "view=" in each)
    names = own_images() | {"mb": mb}
    exec(compile(block, "docs/own_data.md", "exec"), names)
    assert capsys.readouterr().out.strip() in block
    trial = {
        "dataset": names["captioned"],
        "objective": "jmvae",
        "backbone": {"name": "rgb_thin", "width": 2, "hidden": 8, "latent_size": 3},
        "training": {"steps": 3, "batch_size": 16, "validations": 1},
        "evaluation": {
            "num_samples": 10, "query_repeats": 1, "protocols": ["corrected"],
            "classifier": {"name": "conv_rgb", "width": 4, "steps": 20},
        },
    }  # fmt: skip
    result = mb.run_trial(TrialSpec.parse(trial), out=tmp_path / "run")
    assert ("correctness", 2) in {(score["metric"], score["level"]) for score in result.scores}
    model = mb.load(result.directory)
    assert model.imagine("red big", num_samples=2).shape == (2, 3, 16, 16)
    with pytest.raises(ConfigError, match="not in the vocabulary: pink"):
        model.imagine("pink big", num_samples=2)


class HomeMadeSpec(JMVAESpec):
    """An objective that somebody has written into a notebook."""

    name: Literal["home_made"] = "home_made"  # type: ignore[assignment]


def test_a_part_that_only_this_process_knows_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's process would not find it; here it can be trained."""
    objectives.names()
    monkeypatch.setattr(objectives, "_parts", dict(objectives._parts))
    objectives.register(HomeMadeSpec)
    dataset = {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}
    networks = {"name": "mnist_a_thin", "width": 2, "hidden": 8, "latent_size": 3}
    training = {"steps": 2, "batch_size": 16, "validations": 1}
    grid = {"datasets": [dataset], "backbones": [networks], "objectives": ["jmvae", "home_made"], "training": training}
    with pytest.raises(ConfigError, match="objective: this objective was registered by this process alone") as refused:
        mb.run(grid, out=tmp_path / "run")
    (problem,) = refused.value.problems
    assert problem.value == "'home_made'"
    assert "mmvae_bench.run_trial" in problem.message
    assert not (tmp_path / "run").exists()
    asked = {"num_samples": 10, "query_repeats": 1, "levels": [4], "classifier": {"name": "conv_thin", "steps": 5}}
    spec = TrialSpec.parse(
        {"dataset": dataset, "backbone": networks, "objective": "home_made", "training": training, "evaluation": asked}
    )
    assert mb.run_trial(spec, out=tmp_path / "run").scores
