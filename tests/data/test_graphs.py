"""Graphs: what a model is shown, how links are divided, and the stand-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.cli import main
from mmvae_bench.data import commands
from mmvae_bench.data.graph import normalised, split_links
from mmvae_bench.data.graphs import GraphDataModule
from mmvae_bench.specs.components import datasets, of_domain
from mmvae_bench.worlds.block_model import draw_graph

GRAPHS = of_domain(datasets, "graph")


def ready(name: str = "cora", *, training_seed: int = 0, **settings: object) -> GraphDataModule:
    data = datasets.parse({"name": name, "num_nodes": 90, **settings}).build()
    assert isinstance(data, GraphDataModule)
    data.training_seed = training_seed
    data.prepare_data()
    data.setup()
    return data


def pairs(links: torch.Tensor) -> set[tuple[int, int]]:
    found = {(int(i), int(j)) for i, j in links.T}
    assert len(found) == links.shape[1], "a pair is there twice"
    assert all(i < j for i, j in found)
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_the_normalised_adjacency_is_that_of_dense_matrices(share: float) -> None:
    num_nodes = 23
    every = torch.triu_indices(num_nodes, num_nodes, 1)
    links = every[:, torch.rand(every.shape[1], generator=torch.Generator().manual_seed(0)) < share]
    matrix = torch.eye(num_nodes, dtype=torch.float64)
    for i, j in links.T:
        matrix[i, j] += 1
        matrix[j, i] += 1
    degrees = torch.diag(matrix.sum(1))
    expected = degrees.inverse().sqrt() @ matrix @ degrees.inverse().sqrt()
    found = normalised(links, num_nodes)
    assert found.is_sparse
    assert torch.allclose(found.to_dense().double(), expected, atol=1e-7)


@pytest.mark.parametrize(("num_links", "num_val", "num_test"), [(20, 1, 2), (39, 1, 3), (40, 2, 4), (1999, 99, 199)])
def test_links_are_divided_by_the_rule_and_gaps_are_no_links_of_any_partition(
    num_links: int, num_val: int, num_test: int
) -> None:
    """5 % and 10 %, rounded down; all links once; as many gaps, apart from each other."""
    num_nodes = 100
    every = torch.triu_indices(num_nodes, num_nodes, 1)
    links = every[:, torch.randperm(every.shape[1], generator=torch.Generator().manual_seed(1))[:num_links]]
    split = split_links(links, num_nodes, seed=5)
    parts = {name: pairs(part) for name, part in split.links.items()}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": num_links - num_val - num_test, "val": num_val, "test": num_test,
    }  # fmt: skip
    assert set.union(*parts.values()) == pairs(links)
    gaps = {name: pairs(part) for name, part in split.gaps.items()}
    assert {name: len(part) for name, part in gaps.items()} == {"val": num_val, "test": num_test}
    assert not set.union(*gaps.values()) & pairs(links)
    assert not gaps["val"] & gaps["test"]
    again, other = split_links(links, num_nodes, seed=5), split_links(links, num_nodes, seed=6)
    assert all(torch.equal(again.links[name], split.links[name]) for name in parts)
    assert all(torch.equal(again.gaps[name], split.gaps[name]) for name in gaps)
    assert pairs(other.links["test"]) != parts["test"]
    assert pairs(other.gaps["test"]) != gaps["test"]


def test_gaps_are_drawn_evenly_from_all_pairs_without_a_link() -> None:
    """Of 45 pairs of ten nodes, 20 are links: each of the other 25 is among 3 gaps with probability 3/25."""
    links = torch.triu_indices(10, 10, 1)[:, ::2][:, :20]
    counts: dict[tuple[int, int], int] = {}
    for seed in range(1000):
        split = split_links(links, 10, seed=seed)
        for pair in pairs(split.gaps["val"]) | pairs(split.gaps["test"]):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 25
    assert sum(counts.values()) == 3000
    # A count has standard deviation 10.3 around 120.
    assert all(75 < count < 165 for count in counts.values())


def test_too_few_links_or_gaps_are_refused() -> None:
    with pytest.raises(
        BenchmarkError, match="a graph of 19 links has none left to validate with: at least 20 are needed"
    ):
        split_links(torch.triu_indices(10, 10, 1)[:, :19], 10, seed=0)
    with pytest.raises(BenchmarkError, match="10 nodes and 44 links has 1 pairs that are not linked, fewer than the 6"):
        split_links(torch.triu_indices(10, 10, 1)[:, :44], 10, seed=0)


def test_a_model_is_shown_the_links_of_training_alone() -> None:
    """In every partition; what it explains grows by the links of the partition."""
    data = ready()
    links = data.divided.links
    shown = normalised(links["train"], 90).to_dense()
    expected: set[tuple[int, int]] = set()
    for partition in ("train", "val", "test"):
        (batch,) = data.batches(partition)
        expected |= pairs(links[partition])
        assert batch.graph is not None
        assert torch.equal(batch.graph.adjacency.to_dense(), shown)
        assert pairs(batch.graph.targets) == expected
        for name in ("val", "test"):
            hidden = links[name]
            assert not bool(batch.graph.adjacency.to_dense()[hidden[0], hidden[1]].any())
    assert expected == pairs(torch.from_numpy(data.whole.links))


def test_each_training_seed_has_its_own_split_unless_the_split_is_fixed() -> None:
    def held_out(training_seed: int, **settings: object) -> set[tuple[int, int]]:
        return pairs(ready(training_seed=training_seed, **settings).divided.links["test"])

    assert held_out(0) == held_out(0) != held_out(1)
    assert held_out(0) != held_out(0, split_seed=1)
    assert held_out(0, split="links") == held_out(1, split="links") != held_out(0, split="links", split_seed=1)
    assert ready(training_seed=0).fingerprint == ready(training_seed=1, split="links").fingerprint


def test_a_graph_is_taken_whole() -> None:
    data = ready()
    store = data.store
    batch = store.batch(torch.arange(90).flip(0))
    assert batch.index.tolist() == list(range(90))
    assert torch.equal(batch.image[:, 0, 0], torch.from_numpy(data.whole.words).float())
    with pytest.raises(BenchmarkError, match="a graph of 90 nodes is taken whole"):
        store.batch(torch.arange(89))
    (loaded,) = data.training_loader(batch_size=90, seed=0, stage="fit", start=3, stop=4)
    assert loaded.index.tolist() == list(range(90))


def test_without_words_a_node_is_known_by_its_number() -> None:
    data = ready(features="none")
    (batch,) = data.batches("train")
    assert data.image_shape == (1, 1, 90)
    assert torch.equal(batch.image[:, 0, 0], torch.eye(90))
    assert np.array_equal(data.whole.links, ready().whole.links)
    assert data.fingerprint != ready().fingerprint


@pytest.mark.parametrize("name", GRAPHS)
def test_the_stand_in_says_that_it_is_one(name: str) -> None:
    described = commands.describe(datasets.parse(name))
    assert described["source"] == "drawn"
    assert described["num_images"] == 300
    assert sum(described["sizes"].values()) == described["num_links"]
    assert described["sizes"]["val"] == described["num_links"] // 20
    assert described["sizes"]["test"] == described["num_links"] // 10
    assert sum(described["marginals"]["class"]) == pytest.approx(1)
    assert commands.verify(datasets.parse(name))["ok"]


def test_the_real_graph_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MMVAE_BENCH_DATA", str(tmp_path))
    assert main(["data", "describe", "cora", "--set", "source=planetoid"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "files of cora are missing: ind.cora.allx" in printed.err
    assert "or use source=drawn, a stand-in that needs no file" in printed.err


def test_images_of_a_graph_are_not_shown(tmp_path: Path) -> None:
    for show in (commands.preview, commands.export):
        with pytest.raises(BenchmarkError, match="it has no single images to show"):
            show(
                datasets.parse("cora"),
                out=tmp_path / "out.png",
                **({"num_images": 4} if show is commands.preview else {}),
            )
    assert not list(tmp_path.iterdir())


def test_the_stand_in_has_classes_that_links_and_words_show() -> None:
    """3.2 links of a node to its class and 0.8 to others; a word of the class in 15 %, another in 2 %."""
    graph = draw_graph(num_nodes=700, num_words=140, num_classes=7, seed=0)
    assert np.bincount(graph.labels).tolist() == [100] * 7
    alike = graph.labels[graph.links[0]] == graph.labels[graph.links[1]]
    assert 2 * alike.sum() / 700 == pytest.approx(3.2, rel=0.1)
    assert 2 * (~alike).sum() / 700 == pytest.approx(0.8, rel=0.2)
    own = (np.arange(140) % 7)[None] == graph.labels[:, None]
    assert graph.words[own].mean() == pytest.approx(0.15, abs=0.01)
    assert graph.words[~own].mean() == pytest.approx(0.02, abs=0.003)
    other = draw_graph(num_nodes=700, num_words=140, num_classes=7, seed=1)
    assert not np.array_equal(graph.words, other.words)
