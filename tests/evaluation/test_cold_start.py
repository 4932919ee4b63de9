"""Unseen papers: links from words, classes from either, a trial from its spec to its report, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.cli import main
from mmvae_bench.data.graph import Graph
from mmvae_bench.data.papers import PapersDataModule
from mmvae_bench.distributions.latents import diagonal_normal
from mmvae_bench.distributions.links import FactorisedBernoulli
from mmvae_bench.evaluation.evaluate import evaluate
from mmvae_bench.metrics.functional.representations import linear_probe
from mmvae_bench.objectives.gae import GAE
from mmvae_bench.specs.components import backbones, objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.training.rehearsal import rehearse
from mmvae_bench.trial import build_objective, run_trial

TRAINED = 102


def spec(objective: Any = "jmvae", *, seed: int = 0, **parts: Any) -> TrialSpec:
    whole = objective in ("gae", "vgae")
    given: dict[str, Any] = {
        "dataset": {"name": "cora_papers", "num_nodes": 120},
        "backbone": "gcn" if whole else "papers",
        "objective": objective,
        "training": {"steps": 4, "batch_size": TRAINED if whole else 32, "learning_rate": 0.01, "validations": 2},
        "seed": seed,
    }
    return TrialSpec.parse(given | parts)


def ready(trial: TrialSpec) -> PapersDataModule:
    data = trial.dataset.build()
    assert isinstance(data, PapersDataModule)
    data.training_seed = trial.seed
    data.setup()
    return data


def truth_of(data: PapersDataModule) -> Tensor:
    links, size = torch.from_numpy(data.whole.links), len(data.labels)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix[links[0], links[1]] = matrix[links[1], links[0]] = 1
    return matrix


def auc_and_ap(scores: Tensor, data: PapersDataModule, partition: str) -> tuple[float, float]:
    pairs = data.pairs(partition)
    linked, unlinked = (scores[each[0], each[1]] for each in (pairs.linked, pairs.unlinked))
    wins = (linked[:, None] > unlinked).double() + 0.5 * (linked[:, None] == unlinked).double()
    everything, places = torch.cat([linked, unlinked]), linked.sort(descending=True).values
    above = torch.stack([(everything >= score).sum() for score in places]).double()
    right = torch.stack([(linked >= score).sum() for score in places]).double()
    return float(wins.mean()), float((right / above).mean())


class Known(torch.nn.Module):
    """An encoder that returns what it is told about each row of inputs, with a scale that would hide it."""

    def __init__(self, codes: dict[tuple[float, ...], Tensor]) -> None:
        super().__init__()
        self.codes = codes

    def forward(self, given: Tensor) -> Distribution:
        mean = torch.stack([self.codes[tuple(row)] for row in given.flatten(1).float().tolist()])
        return diagonal_normal(mean, torch.full_like(mean, 5.0))


@pytest.mark.parametrize("partition", ["val", "test"])
def test_links_are_predicted_by_p_of_y_at_the_mean_of_words_alone(partition: str) -> None:
    trial = spec(evaluation={"partitions": [partition]})
    data, model = ready(trial), build_objective(trial)
    codes = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    words = torch.from_numpy(data.whole.words).float()
    model.image_encoder = Known({tuple(row): code for row, code in zip(words.tolist(), codes, strict=True)})
    found = {each.metric: each for each in evaluate(model, data, trial.evaluation).scores}
    layer = model.concept_decoder.network
    scores = torch.zeros(120, 120, dtype=torch.float64)
    with torch.no_grad():
        scores[:, data.parts["train"]] = (codes @ layer.weight.T + layer.bias).double()  # type: ignore[operator,union-attr]
    auc, ap = auc_and_ap(scores, data, partition)
    assert found["cold_auc"].value == pytest.approx(auc)
    assert found["cold_ap"].value == pytest.approx(ap)
    assert found["cold_auc"].floor == 0.5
    assert found["cold_auc"].num_queries == data.pairs(partition).linked.shape[1]


def test_a_model_that_knows_the_links_has_all_right_and_one_that_knows_nothing_half() -> None:
    trial = spec()
    data, model = ready(trial), build_objective(trial)
    whole, train = truth_of(data), data.parts["train"]
    words = torch.from_numpy(data.whole.words).float()
    # z of a paper is its row, or nothing.
    for row_of, expected in ((lambda i: whole[i, train], 1.0), (lambda i: 0 * whole[i, train], 0.5)):
        model.image_encoder = Known({tuple(row): row_of(i).float() for i, row in enumerate(words.tolist())})
        model.concept_likelihood = FactorisedBernoulli  # type: ignore[method-assign,assignment]
        found = {each.metric: each.value for each in evaluate(model, data, trial.evaluation).scores}
        assert (found["cold_auc"], found["cold_ap"]) == (expected, expected)


def test_what_needs_no_model_is_computed_from_words_and_training_links() -> None:
    trial = spec()
    data = ready(trial)
    found = {each.metric: each.value for each in evaluate(build_objective(trial), data, trial.evaluation).scores}
    words = torch.from_numpy(data.whole.words).double()
    cosine = torch.nn.functional.cosine_similarity(words[:, None], words[None], dim=-1)
    train = data.parts["train"]
    shown = torch.zeros(120, 120, dtype=torch.float64)
    shown[train[:, None], train] = truth_of(data)[train][:, train] + torch.eye(TRAINED, dtype=torch.float64)
    for how, scores in (("cosine", cosine), ("similar", cosine @ shown)):
        auc, ap = auc_and_ap(scores, data, "test")
        assert found[f"cold_auc_{how}"] == pytest.approx(auc)
        assert found[f"cold_ap_{how}"] == pytest.approx(ap)


def test_an_unseen_paper_has_no_link_in_the_graph_that_a_model_of_graphs_reads() -> None:
    trial = spec("vgae")
    data, model = ready(trial), build_objective(trial)
    assert isinstance(model, GAE)
    papers = data.graph_papers("test")
    codes = torch.randn(len(papers), 16, generator=torch.Generator().manual_seed(0))
    seen: list[Graph] = []

    def known(graph: Graph) -> Distribution:
        seen.append(graph)
        return diagonal_normal(codes, torch.full_like(codes, 5.0))

    model.graph_posterior = known  # type: ignore[method-assign]
    result = evaluate(model, data, trial.evaluation)
    shown = seen[0].adjacency.to_dense()
    assert torch.equal(shown[TRAINED:], torch.eye(len(papers))[TRAINED:])
    scores = torch.zeros(120, 120, dtype=torch.float64)
    scores[papers[:, None], papers] = codes.double() @ codes.double().T
    auc, ap = auc_and_ap(scores, data, "test")
    found = {each.metric: each.value for each in result.scores}
    assert (found["cold_auc"], found["cold_ap"]) == (pytest.approx(auc), pytest.approx(ap))
    assert set(result.left_out) == {"class_from_links"}


def test_a_class_is_read_off_the_nodes_of_a_graph_in_which_all_papers_are_shown_alike() -> None:
    """From words, without a link anywhere; from both, with those of the unseen papers to training papers."""
    trial = spec("vgae")
    data, model = ready(trial), build_objective(trial)
    assert isinstance(model, GAE)
    data.labels[data.parts["test"][:2]] = -1
    papers, train, test = data.graph_papers("test"), data.parts["train"], data.parts["test"][2:]
    links = truth_of(data)[papers][:, papers]
    links[TRAINED:, TRAINED:] = 0  # Between two unseen papers: part of nothing.
    found = {each.metric: each for each in evaluate(model, data, trial.evaluation).scores}
    words = torch.from_numpy(data.whole.words)[papers].float()
    for name, known in (("words", 0 * links), ("both", links)):
        loops = known + torch.eye(len(papers))
        scale = loops.sum(1).rsqrt()
        with torch.no_grad():
            z = model.graph_encoder(words.to_sparse(), (scale[:, None] * loops * scale).float().to_sparse()).mean
        place = {paper: row for row, paper in enumerate(papers.tolist())}
        mean = [z[[place[paper] for paper in each.tolist()]].double().numpy() for each in (train, test)]
        right = torch.from_numpy(linear_probe(mean[0], data.labels[train].numpy(), mean[1])) == data.labels[test]
        score = found[f"class_from_{name}"]
        assert score.value == pytest.approx(float(right.double().mean()))
        assert score.num_queries == len(test)
    assert found["class_from_words"].value != found["class_from_both"].value


def test_a_class_is_read_off_the_means_of_each_posterior() -> None:
    trial = spec("mvae")
    data, model = ready(trial), build_objective(trial).eval()
    data.labels[data.parts["test"][:3]] = -1
    found = {each.metric: each for each in evaluate(model, data, trial.evaluation).scores}
    train, test = data.parts["train"], data.parts["test"][3:]
    truth = data.labels[test]
    for name, given in (("words", (True, False)), ("links", (False, True)), ("both", (True, True))):
        with torch.no_grad():
            batches = [data.store.batch(rows) for rows in (train, test)]
            means = [
                model.posterior(batch.image if given[0] else None, batch.concept if given[1] else None).mean.double()
                for batch in batches
            ]
        read = linear_probe(means[0].numpy(), data.labels[train].numpy(), means[1].numpy())
        score = found[f"class_from_{name}"]
        assert score.value == pytest.approx(float((torch.from_numpy(read) == truth).double().mean()))
        assert score.floor == pytest.approx(float((truth == data.labels[train].mode().values).double().mean()))
        assert score.num_queries == len(test)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with three trials."""
    out = tmp_path_factory.mktemp("runs") / "papers"
    for trial in (spec("jmvae"), spec("jmvae", seed=1), spec("vgae")):
        run_trial(trial, out=out, device="cpu")
    return out


def test_a_run_has_a_report_and_is_left_alone_when_it_is_done(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((run / "trials" / spec().key / "result.json").read_text())
    names = [score["metric"] for score in result["scores"]]
    assert set(names) == set(of_cold_start())
    assert result["classifier"] is None
    assert "mmvae_bench/evaluation/questions/cold_start.py" in result["evaluated_on"]["code"]["questions"]["files"]
    assert run_trial(spec(), out=run, device="cpu").result == result
    assert main(["report", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "links from words, AUC" in printed
    assert "nan" not in printed
    rows = pd.read_parquet(run / "results.parquet")
    mine = rows[(rows.objective == "jmvae") & (rows.metric == "cold_auc")]
    assert sorted(mine.seed) == [0, 1]
    assert main(["verify", str(run)]) == 0


@pytest.mark.parametrize("objective", ["jmvae", "vgae"])
def test_the_card_of_an_exported_model_does_not_list_every_link(objective: str, run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run / "trials" / spec(objective).key), "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "- attributes link 0 to link 101, one for each training paper: no, yes" in card
    assert "attribute link 1:" not in card


def of_cold_start() -> tuple[str, ...]:
    from mmvae_bench.specs.components import questions

    return questions.get("cold_start").metrics


def test_what_asks_for_images_is_refused_in_words(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial, out = str(run / "trials" / spec().key), str(tmp_path / "out.png")
    for command in (
        ["imagine", trial, "link 1=yes", "--out", out],
        ["reconstruct", trial, "--out", out],
        ["complete", trial, "--region", "left", "--out", out],
        ["describe", trial, "--out", out],
        ["interpolate", trial, "link 1=yes", "link 2=yes", "--out", out],
        ["traverse", trial, "link 1=yes", "--out", out],
        ["analogies", trial, "--attribute", "link 1", "--out", out],
        ["evaluate", trial, "--protocol", "paper"],
        ["data", "preview", "cora_papers", "--out", out],
        ["data", "export", "cora_papers", "--out", out],
    ):
        assert main(command) == 2, command
        printed = capsys.readouterr()
        assert not printed.out
        assert "papers" in printed.err
        assert "Traceback" not in printed.err
    assert not Path(out).exists()


def problems(**parts: Any) -> list[str]:
    with pytest.raises(ConfigError) as found:
        spec(**parts)
    return [problem.message for problem in found.value.problems]


def test_what_does_not_belong_together_is_refused() -> None:
    assert of_domain(objectives, "papers") == ["gae", "jmvae", "mvae", "telbo", "vgae"]
    assert of_domain(backbones, "papers") == ["gcn", "papers"]
    assert problems(objective="mmvae") == ["objective mmvae is for images, but cora_papers holds papers"]
    assert problems(dataset="cora", training={"batch_size": 300}) == [
        "backbone papers is for papers, but cora holds a graph",
        "objective jmvae is for images, but cora holds a graph",
    ]
    message = "objective jmvae cannot be trained on the networks of backbone gcn"
    assert problems(backbone="gcn", training={"batch_size": TRAINED}) == [message]
    message = "objective vgae cannot be trained on the networks of backbone papers"
    assert problems(objective="vgae", backbone="papers") == [message]
    message = "this cora_papers is one graph, trained whole: 102 nodes per step"
    assert problems(objective="vgae", training={"batch_size": 120}) == [message]
    mvae = {"name": "mvae", "modalities": "per_attribute"}
    assert problems(objective=mvae) == ["the links of cora_papers are one modality"]
    supervision = {"batch_size": 32, "supervision": {"fraction": 0.5}}
    message = "it is about the labels of images, which cora_papers does not have"
    assert problems(training=supervision) == [message]
    assert problems(evaluation={"classifier": "conv_thin"}) == [
        "cora_papers holds papers: there are no images to classify"
    ]


@pytest.mark.parametrize("objective", ["jmvae", "mvae", "telbo", "vgae"])
def test_a_first_step_can_be_rehearsed_without_the_files(
    objective: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    size = 2303 if objective == "vgae" else 128
    real = spec(objective, dataset={"name": "cora_papers", "source": "planetoid"}, training={"batch_size": size})
    assert rehearse(real) is None
