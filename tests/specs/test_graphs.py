"""Parts of graphs and parts of images: what cannot be put together, and why, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError, Problem
from mmvae_bench.specs.components import backbones, datasets, objectives, of_domain
from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec

GRAPH: dict[str, Any] = {
    "dataset": "cora", "backbone": "gcn", "objective": "vgae", "training": {"batch_size": 300},
}  # fmt: skip
IMAGES: dict[str, Any] = {"dataset": "mnist_a", "backbone": "mnist_a_thin", "objective": "telbo"}


def problems(**parts: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as found:
        TrialSpec.parse(parts)
    return list(found.value.problems)


def test_what_belongs_together_is_accepted() -> None:
    for objective in of_domain(objectives, "graph"):
        for name in of_domain(datasets, "graph"):
            TrialSpec.parse(GRAPH | {"dataset": name, "objective": objective})
    TrialSpec.parse(IMAGES)
    assert set(of_domain(objectives, "graph")) == {"gae", "vgae"}
    assert set(of_domain(backbones, "images")) | {"gcn", "papers"} == set(backbones.names())


@pytest.mark.parametrize("objective", of_domain(objectives, "images"))
def test_no_objective_of_images_is_trained_on_a_graph(objective: str) -> None:
    (problem,) = problems(**GRAPH | {"objective": objective})
    assert problem.message == f"objective {objective} is for images, but cora holds a graph"
    assert problem.location == ("objective", "name")
    assert problem.choices == ("gae", "vgae")


@pytest.mark.parametrize("dataset", sorted({*datasets.self_contained()} & {*of_domain(datasets, "images")}))
def test_no_objective_of_graphs_is_trained_on_images(dataset: str) -> None:
    both = problems(**GRAPH | {"dataset": dataset})
    assert [problem.message for problem in both] == [
        f"backbone gcn is for a graph, but {dataset} holds images",
        f"objective vgae is for a graph, but {dataset} holds images",
    ]
    assert set(both[1].choices) == set(of_domain(objectives, "images"))


def test_a_grid_is_refused_at_expansion_with_the_line_of_the_part(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        "name: mixed\ndatasets: [{name: mnist_a, canvas: 16}, cora]\nbackbones: [mnist_a_thin]\n"
        "objectives:\n  - telbo\n  - vgae\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as found:
        load_grid(path)
    text = str(found.value)
    assert "objective vgae is for a graph, but mnist_a holds images" in text
    assert "objective telbo is for images, but cora holds a graph" in text
    assert "backbone mnist_a_thin is for images, but cora holds a graph" in text
    assert f"{path}:6" in text


@pytest.mark.parametrize(("size", "dataset"), [(300, {}), (80, {"num_nodes": 80}), (2708, {"source": "planetoid"})])
def test_a_step_takes_the_whole_graph(size: int, dataset: dict[str, object]) -> None:
    parts = GRAPH | {"dataset": {"name": "cora", **dataset}}
    TrialSpec.parse(parts | {"training": {"batch_size": size}})
    for given in (64, size - 1, size + 1):
        (problem,) = problems(**parts | {"training": {"batch_size": given}})
        assert problem.message == f"this cora is one graph, trained whole: {size} nodes per step"
        assert (problem.location, problem.near) == (("training", "batch_size"), str(size))


def test_settings_that_a_graph_would_ignore_are_refused() -> None:
    (problem,) = problems(**GRAPH | {"evaluation": {"classifier": "conv_thin"}})
    assert problem.message == "cora is a graph: there are no images to classify"
    (problem,) = problems(**GRAPH | {"evaluation": {"questions": {"probes": None}}})
    assert problem.message == "question probes is about images, but cora holds a graph"
    with pytest.raises(ConfigError, match=r"only applies to the stand-in \(source: drawn\): cora has 2,708 nodes"):
        datasets.parse({"name": "cora", "source": "planetoid", "num_nodes": 300})
    with pytest.raises(ConfigError, match="num_nodes"):
        datasets.parse({"name": "cora", "num_nodes": 59})
