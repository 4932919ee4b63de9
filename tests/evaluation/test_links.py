"""A graph's trial from its spec to its result, its report and the commands that ask a model; link prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.distributions import Distribution

from mmvae_bench.cli import main
from mmvae_bench.data.graph import Graph
from mmvae_bench.data.graphs import GraphDataModule
from mmvae_bench.distributions.latents import diagonal_normal
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.objectives.gae import GAE
from mmvae_bench.specs.components import datasets
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec
from mmvae_bench.training.rehearsal import rehearse
from mmvae_bench.trial import build_objective, load, run_trial


def spec(objective: str = "vgae", *, seed: int = 0, **dataset: object) -> TrialSpec:
    return TrialSpec.parse(
        {
            "dataset": {"name": "citeseer", "num_nodes": 80, **dataset},
            "backbone": "gcn",
            "objective": objective,
            "training": {"steps": 4, "batch_size": 80, "learning_rate": 0.01, "validations": 2},
            "seed": seed,
        }
    )


def ready(trial: TrialSpec) -> GraphDataModule:
    data = trial.dataset.build()
    assert isinstance(data, GraphDataModule)
    data.training_seed = trial.seed
    data.setup()
    return data


def scores_of(z: torch.Tensor, data: GraphDataModule, *, partition: str = "test") -> dict[str, float]:
    """What the question says of a model whose posterior has the means z, and a scale that would hide them."""
    model = build_objective(spec())
    assert isinstance(model, GAE)

    def known(graph: Graph) -> Distribution:
        return diagonal_normal(z, torch.full_like(z, 5.0))

    model.graph_posterior = known  # type: ignore[method-assign]
    found = evaluate(model, data, EvaluationSpec.parse({"partitions": [partition]}))
    assert found.classifier is None
    assert found.left_out == {}
    assert all(score.partition == partition for score in found.scores)
    assert all(score.floor == 0.5 and score.per_query is None for score in found.scores)
    assert all(score.num_queries == data.divided.links[partition].shape[1] for score in found.scores)
    return {score.metric: score.value for score in found.scores}


@pytest.mark.parametrize("partition", ["val", "test"])
def test_scores_are_those_of_the_means_on_links_of_the_partition(partition: str) -> None:
    data = ready(spec())
    links, gaps = data.divided.links[partition], data.divided.gaps[partition]
    z = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    products = z.double() @ z.double().T
    linked, unlinked = (products[pairs[0], pairs[1]] for pairs in (links, gaps))
    wins = (linked[:, None] > unlinked).double().mean()
    above = torch.stack([(torch.cat([linked, unlinked]) >= score).sum() for score in linked]).double()
    right = torch.stack([(linked >= score).sum() for score in linked]).double()
    found = scores_of(z, data, partition=partition)
    assert found["link_auc"] == pytest.approx(float(wins))
    assert found["link_ap"] == pytest.approx(float((right / above).mean()))


def test_a_model_that_knows_the_links_has_all_right_and_one_that_knows_nothing_half() -> None:
    data = ready(spec())
    z = torch.zeros(80, 80)
    links = torch.from_numpy(data.whole.links)
    # z_i . z_j > 0 exactly for links: a node has a coordinate for each of its links.
    incidence = torch.zeros(80, links.shape[1])
    incidence[links[0], torch.arange(links.shape[1])] = incidence[links[1], torch.arange(links.shape[1])] = 1
    assert scores_of(incidence, data) == {"link_auc": 1.0, "link_ap": 1.0}
    assert scores_of(z, data) == {"link_auc": 0.5, "link_ap": 0.5}


def test_large_products_are_not_tied() -> None:
    """The sigmoid of both is 1 in single precision."""
    data = ready(spec())
    links, gaps = data.divided.links["test"], data.divided.gaps["test"]
    z = torch.zeros(80, 80)
    z[torch.arange(80), torch.arange(80)] = 20.0
    for pairs, product in ((links, 30.0), (gaps, 25.0)):
        z[pairs[0], pairs[1]] = z[pairs[1], pairs[0]] = product / 40
    assert scores_of(z, data)["link_auc"] > 0.95


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three trials."""
    out = tmp_path_factory.mktemp("runs") / "graphs"
    for trial in (spec("gae"), spec("vgae"), spec("vgae", seed=1)):
        run_trial(trial, out=out, device="cpu")
    return out


def test_a_result_has_the_scores_of_a_graph_and_no_classifier(run: Path) -> None:
    result = json.loads((run / "trials" / spec().key / "result.json").read_text())
    assert [score["metric"] for score in result["scores"]] == ["link_auc", "link_ap"]
    assert result["classifier"] is None
    assert result["dataset"]["source"] == "drawn"
    code = result["evaluated_on"]["code"]
    assert set(code) == {"questions", "dataset", "backbone", "objective"}
    assert "mmvae_bench/evaluation/questions/links.py" in code["questions"]["files"]
    again = run_trial(spec(), out=run, device="cpu")
    assert again.result == result, "a finished trial is left alone"
    model = load(run / "trials" / spec().key)
    found = evaluate(model, ready(spec()), spec().evaluation)
    assert [score.value for score in found.scores] == [score["value"] for score in result["scores"]]


def test_seeds_of_a_graph_share_a_row_of_results_and_of_a_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a split of its own, and all are in one table."""
    assert main(["report", str(run)]) == 0
    printed = capsys.readouterr().out
    rows = pd.read_parquet(run / "results.parquet")
    mine = rows[(rows.objective == "vgae") & (rows.metric == "link_auc")]
    assert sorted(mine.seed) == [0, 1]
    assert set(mine.source) == {"drawn"}
    assert mine.dataset_fingerprint.nunique() == 1
    assert mine.value.nunique() == 2
    assert printed.count("citeseer · drawn · links_by_seed\ntest\n") == 1
    assert "link prediction AUC" in printed
    assert "nan" not in printed
    assert main(["verify", str(run)]) == 0
    assert main(["compare", str(run), str(run)]) == 0


def test_what_asks_for_images_is_refused_in_words(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, out = str(run / "trials" / spec().key), str(tmp_path / "out.png")
    for command in (
        ["imagine", trial, "class=1", "--out", out],
        ["reconstruct", trial, "--out", out],
        ["describe", trial, "--out", out],
        ["interpolate", trial, "class=1", "class=2", "--out", out],
        ["traverse", trial, "class=1", "--out", out],
        ["analogies", trial, "--attribute", "class", "--out", out],
        ["evaluate", trial, "--protocol", "paper"],
    ):
        assert main(command) == 2, command
        printed = capsys.readouterr()
        assert not printed.out
        assert "graph" in printed.err
        assert "Traceback" not in printed.err
    assert not Path(out).exists()
    assert main(["export", trial, "--out", str(tmp_path / "model")]) == 0
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "A model of a graph: variational graph auto-encoder" in card
    assert "images and concepts" not in card


@pytest.mark.parametrize("objective", ["gae", "vgae"])
@pytest.mark.parametrize("features", ["words", "none"])
def test_a_first_step_can_be_rehearsed_without_the_files(
    objective: str, features: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    real = spec(objective).model_dump(mode="json")
    real["dataset"] = {"name": "cora", "source": "planetoid", "features": features}
    real["training"]["batch_size"] = 2708
    assert rehearse(TrialSpec.parse(real)) is None


def test_the_evaluation_of_a_graph_needs_no_schema_of_images() -> None:
    """What `data describe` and a listing say of a graph's class."""
    assert datasets.parse("citeseer").concept_schema().names == ("class",)
    assert datasets.parse("citeseer").default_classifier() is None
