"""Papers with two modalities: how they are divided, what is shown of them, and which pairs are scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.cli import main
from mmvae_bench.data import commands
from mmvae_bench.data.graph import normalised
from mmvae_bench.data.papers import PapersDataModule
from mmvae_bench.specs.components import datasets, of_domain

NUM = 90


def ready(name: str = "cora_papers", *, training_seed: int = 0, **settings: object) -> PapersDataModule:
    data = datasets.parse({"name": name, "num_nodes": NUM, **settings}).build()
    assert isinstance(data, PapersDataModule)
    data.training_seed = training_seed
    data.prepare_data()
    data.setup()
    return data


def adjacency(data: PapersDataModule) -> Tensor:
    links, matrix = torch.from_numpy(data.whole.links), torch.zeros(NUM, NUM, dtype=torch.long)
    matrix[links[0], links[1]] = matrix[links[1], links[0]] = 1
    return matrix


def test_papers_are_divided_by_the_rule_each_once() -> None:
    data = ready()
    parts = {name: data.rows(name).tolist() for name in ("train", "val", "test")}
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 77, "val": 4, "test": 9}
    assert data.spec.partition_sizes() == {name: len(rows) for name, rows in parts.items()}
    assert sorted(row for rows in parts.values() for row in rows) == list(range(NUM))
    assert all(rows == sorted(rows) for rows in parts.values())
    real = datasets.parse({"name": "cora_papers", "source": "planetoid"})
    assert real.partition_sizes() == {"train": 2303, "val": 135, "test": 270}  # type: ignore[attr-defined]


def test_y_of_a_paper_is_its_links_to_training_papers_and_itself_if_it_is_one() -> None:
    data = ready()
    train, whole = data.rows("train"), adjacency(data) + torch.eye(NUM, dtype=torch.long)
    for name in ("train", "val", "test"):
        (batch,) = data.batches(name)
        assert torch.equal(batch.concept, whole[data.rows(name)][:, train])
        assert torch.equal(batch.image[:, 0, 0].bool(), torch.from_numpy(data.whole.words)[data.rows(name)])
    assert len(data.schema) == len(train)
    (loaded,) = data.training_loader(batch_size=20, seed=0, stage="fit", start=3, stop=4)
    assert torch.equal(loaded.concept, whole[loaded.index][:, train])
    assert set(loaded.index.tolist()) < set(train.tolist())


def test_pairs_that_are_scored_are_all_links_to_training_papers_and_as_many_others() -> None:
    data = ready()
    whole, train = adjacency(data), set(data.rows("train").tolist())
    for name in ("val", "test"):
        pairs, rows = data.pairs(name), data.rows(name)
        linked, unlinked = ({tuple(pair) for pair in each.T.tolist()} for each in (pairs.linked, pairs.unlinked))
        expected = {(i, j) for i in rows.tolist() for j in train if whole[i, j]}
        assert linked == expected
        assert len(unlinked) == pairs.unlinked.shape[1] == len(linked)
        assert all(i in rows.tolist() and j in train and not whole[i, j] for i, j in unlinked)
        again = ready().pairs(name)
        assert torch.equal(again.unlinked, pairs.unlinked)


def test_each_training_seed_has_its_own_papers_unless_they_are_fixed() -> None:
    def unseen(training_seed: int, **settings: object) -> list[int]:
        rows: list[int] = ready(training_seed=training_seed, **settings).rows("test").tolist()
        return rows

    assert unseen(0) == unseen(0) != unseen(1)
    assert unseen(0) != unseen(0, split_seed=1)
    assert unseen(0, split="papers") == unseen(1, split="papers") != unseen(0, split="papers", split_seed=1)
    assert ready(training_seed=1).fingerprint == ready(split="papers").fingerprint
    assert ready().fingerprint != ready("citeseer_papers").fingerprint


@pytest.mark.parametrize("partition", ["train", "val", "test"])
def test_a_model_of_graphs_is_shown_no_link_and_no_word_of_an_unseen_paper_in_training(partition: str) -> None:
    data = ready()
    (batch,) = data.batches(partition)
    graph, papers = batch.graph, data.graph_papers(partition)
    assert graph is not None
    train, whole = data.rows("train"), adjacency(data)
    assert papers.tolist() == [*train.tolist(), *([] if partition == "train" else data.rows(partition).tolist())]
    words = torch.from_numpy(data.whole.words)[papers].float()
    assert torch.equal(graph.features.to_dense(), words)
    shown = torch.zeros(len(papers), len(papers), dtype=torch.long)
    shown[: len(train), : len(train)] = whole[train][:, train]
    links = shown.triu(1).nonzero().T
    assert torch.allclose(graph.adjacency.to_dense(), normalised(links, len(papers)).to_dense())
    explained = whole[papers][:, papers]
    explained[len(train) :, len(train) :] = 0
    targets = {tuple(pair) for pair in graph.targets.T.tolist()}
    assert len(targets) == graph.targets.shape[1]
    assert targets == {tuple(pair) for pair in explained.triu(1).nonzero().tolist()}


def test_a_graph_without_links_of_unseen_papers_cannot_be_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready()
    data.whole.links.setflags(write=True)
    monkeypatch.setattr(data, "_to_training", lambda: torch.zeros(NUM, 77, dtype=torch.bool))
    with pytest.raises(BenchmarkError, match="the 9 papers of test have 0 links to training papers"):
        data.pairs("test")


@pytest.mark.parametrize("name", of_domain(datasets, "papers"))
def test_the_stand_in_says_that_it_is_one(name: str) -> None:
    described = commands.describe(datasets.parse(name))
    assert (described["source"], described["num_images"]) == ("drawn", 300)
    assert described["sizes"] == {"train": 255, "val": 15, "test": 30}
    assert list(described["schema"]) == ["class"]
    assert sum(described["links_to_training"].values()) < 2 * described["num_links"]
    assert commands.verify(datasets.parse(name))["ok"]


def test_the_real_papers_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    assert main(["data", "describe", "cora_papers", "--set", "source=planetoid"]) == 2
    assert "files of cora are missing: ind.cora.allx" in capsys.readouterr().err
