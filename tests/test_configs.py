"""Every configuration that is shipped loads, and holds the trials that its comments promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mmvae_bench.specs.grid import load_grid
from mmvae_bench.specs.trial import TrialSpec
from mmvae_bench.specs.yaml_source import read_yaml
from mmvae_bench.sweep.grid import expand

CONFIGS = Path(__file__).parents[1] / "configs"
SWEEPS = sorted(CONFIGS.glob("sweep_*.yaml"))
FILES = sorted(set(CONFIGS.glob("*.yaml")) - set(SWEEPS))


def trials(name: str, dataset: str | None = None) -> list[TrialSpec]:
    """The trials of a configuration, or those on one dataset."""
    found = expand(load_grid(CONFIGS / f"{name}.yaml"))
    return [trial for trial in found if dataset in (None, trial.dataset.name)]


def test_the_shipped_configurations_are_there() -> None:
    assert {"ci", "paper", "quick", "select_mnist_a", "small_mnist", "small_worlds"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweep(path: Path) -> None:
    """What it optimises is a number that its trials log, of the validation part, and its command is the contract's."""
    import yaml

    from mmvae_bench.specs.sweep_command import TEMPLATE

    sweep = yaml.safe_load(path.read_text())
    assert sweep["command"] == list(TEMPLATE)
    assert sweep["metric"] == {"name": "val/paper/correctness/level_4", "goal": "maximize"}
    assert "val" in sweep["parameters"]["evaluation.partitions"]["value"]
    # W&B reads YAML 1.1, this project 1.2: both must see the same.
    assert sweep == read_yaml(path).value
    assert path.read_text().startswith("#"), "a configuration says what it is for"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_configuration(path: Path) -> None:
    grid = load_grid(path)
    assert grid.name == path.stem
    assert grid.summary
    assert len({trial.key for trial in grid.trials}) == len(grid.trials) > 0
    assert path.read_text().startswith("#"), "a configuration says what it is for"


@pytest.mark.parametrize(("name", "source"), [("quick", "digits"), ("small_mnist", "mnist")])
def test_the_small_tables_compare_the_same_three_objectives(name: str, source: str) -> None:
    found = trials(name, "mnist_a")
    assert Counter((trial.objective.name, trial.dataset.split) for trial in found) == Counter(
        (objective, split) for objective in ("telbo", "jmvae", "bivcca") for split in ("iid", "comp")
    )
    assert {trial.dataset.source for trial in found} == {source}


def test_the_small_tables_differ_in_source_and_training_alone() -> None:
    """And in the replicas of a digit: MNIST has 39 times as many digits."""
    quick, small = trials("quick", "mnist_a"), trials("small_mnist")
    for one, other in zip(quick, small, strict=True):
        assert one.objective == other.objective
        assert one.backbone == other.backbone
        assert one.dataset.model_copy(update={"source": "mnist", "replicas": 10}) == other.dataset


def test_no_comparison_gives_one_objective_other_means_than_another() -> None:
    """On one dataset, all objectives of the small tables share networks, training and questions."""
    for name in ("quick", "small_mnist", "small_worlds", "select_mnist_a"):
        means: dict[object, set[object]] = defaultdict(set)
        by_dataset: dict[object, Counter[str]] = defaultdict(Counter)
        for trial in trials(name):
            means[trial.dataset].add((trial.backbone, trial.training, trial.evaluation))
            by_dataset[trial.dataset][trial.objective.name] += 1
        assert all(len(each) == 1 for each in means.values())
        assert len({tuple(sorted(counts.items())) for counts in by_dataset.values()}) == 1


def test_the_quick_and_the_full_table_have_every_world() -> None:
    for name in ("quick", "paper"):
        assert {trial.dataset.name for trial in trials(name)} == {"mnist_a", "celeba18", "two_object_clevr"}
    for dataset, backbone in (("celeba18", "celeba18"), ("two_object_clevr", "two_object_resnet")):
        found = trials("paper", dataset)
        assert {trial.backbone.name for trial in found} == {backbone}
        assert {trial.dataset.split for trial in found} == {"iid", "comp"}


def test_selection_asks_the_published_grids_on_validation() -> None:
    """The grids of Vedantam et al. (2018) for lambda, gamma, alpha and mu."""
    found = trials("select_mnist_a")
    asked = Counter(
        (trial.objective.name, *(v for k, v in sorted(trial.objective.parameters().items()) if isinstance(v, float)))
        for trial in found
    )
    wanted = [("telbo", gamma, weight) for gamma in (1, 50) for weight in (1, 10, 50)]
    wanted += [("jmvae", alpha, weight) for alpha in (0.1, 1) for weight in (10, 50)]
    wanted += [("bivcca", weight, mu) for weight in (10, 50) for mu in (0.3, 0.7)]
    assert asked == Counter(wanted)
    assert {trial.evaluation.partitions for trial in found} == {("val", "test")}


def test_the_paper_table_has_the_published_settings() -> None:
    """PROTOCOL: steps in thousands by objective and split, lambda 50, Adam 1e-4, batch 64, the released networks."""
    steps = {
        ("telbo", "iid"): 250,
        ("jmvae", "iid"): 266,
        ("bivcca", "iid"): 214,
        ("telbo", "comp"): 120,
        ("jmvae", "comp"): 184,
        ("bivcca", "comp"): 137,
    }
    found = trials("paper", "mnist_a")
    assert {(trial.objective.name, trial.dataset.split): trial.training.steps / 1000 for trial in found} == steps
    for trial in found:
        assert trial.objective.parameters()["lambda"] == 50
        assert (trial.training.learning_rate, trial.training.batch_size) == (1e-4, 64)
        assert trial.backbone.name == "mnist_a_released"
        assert (trial.dataset.source, trial.dataset.canvas, trial.dataset.split_seed) == ("mnist", 64, 42)
        assert trial.evaluation.protocols == ("official", "paper", "corrected")
        assert (trial.evaluation.num_samples, trial.evaluation.query_repeats) == (100, 2)
    parameters = [trial.objective.parameters() for trial in found if trial.dataset.split == "iid"]
    assert [item.get("gamma") for item in parameters] == [1, 50, None, None]
    assert [item.get("alpha") for item in parameters] == [None, None, 1, None]
    assert [item.get("mu") for item in parameters] == [None, None, None, 0.7]


def test_ci_runs_every_objective_once_on_little() -> None:
    from mmvae_bench.specs.components import objectives

    found = trials("ci")
    assert {trial.objective.name for trial in found} == set(objectives.names())
    assert all(trial.training.steps <= 50 and trial.dataset.num_sources <= 200 for trial in found)
