"""Which steps of a grid are measured, and what the table says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import step_rate

from mmvae_bench.specs.grid import expand, load_grid

PAPER = Path(__file__).parents[2] / "configs" / "paper.yaml"

GRID = """
name: small
datasets:
  - {name: mnist_a, canvas: 16, num_sources: 100, replicas: 3, split: iid}
  - {name: mnist_a, canvas: 16, num_sources: 100, replicas: 3, split: comp}
backbones: [{name: mnist_a_thin, width: 1, hidden: 8}]
objectives: [jvae, {name: bivcca, mu: 0.3}]
seeds: [0, 1]
training: {steps: 7200}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GRID)
    return path


def test_trials_that_differ_in_split_seed_and_steps_are_one_kind() -> None:
    three = [f"objective={name}" for name in ("telbo", "jmvae", "bivcca")]
    trials = expand(load_grid(PAPER), where=["dataset=mnist_a", *three])
    groups = step_rate.kinds(trials)
    assert sum(map(len, groups)) == len(trials)
    labels = [step_rate.label(group[0]) for group in groups]
    assert labels == [
        "telbo, mnist_a_released",
        "telbo gamma 50, mnist_a_released",
        "jmvae, mnist_a_released",
        "bivcca, mnist_a_released",
        "telbo schedule two_stage, mnist_a_released",
    ]
    assert [sorted({trial.training.steps for trial in group}) for group in groups] == [
        [120_000, 250_000],
        [120_000, 250_000],
        [184_000, 266_000],
        [137_000, 214_000],
        [184_000, 266_000],
    ]


def test_every_kind_of_the_full_matrix_has_a_label_of_its_own() -> None:
    """Whatever the parameters: numbers, names, booleans. The latent size tells the rest apart."""
    groups = step_rate.kinds(expand(load_grid(PAPER)))
    labels = [(step_rate.label(group[0]), group[0].backbone.latent_size) for group in groups]
    assert len(set(labels)) == len(labels)
    assert "mmvae modalities per_attribute bound elbo num_samples 1, mnist_a_released" in {name for name, _ in labels}
    assert "scan dae false beta_x 4, celeba18" in {name for name, _ in labels}


def test_a_row_is_a_median_and_the_hours_follow_from_fit() -> None:
    rate = step_rate.Rate(
        "x", bare=[0.1, 0.2, 0.3], fit=[0.2, 0.4, 0.3], steps=[36_000], gigaflops=1.234, megabytes=None
    )
    assert rate.row() == "| x | 200.0 | 300.0 | 0.500 | 3.33 | 36,000: 3.0 | 1.23 | – |"


def test_asked_precision_replaces_the_grids(grid: Path) -> None:
    options = step_rate.parser().parse_args(["--precision", "bfloat16", "--compile"])
    trial = expand(load_grid(grid))[0]
    training = step_rate.with_settings(trial, options).training
    assert (training.precision, training.compile, training.steps) == ("bfloat16", True, 7200)
    assert step_rate.with_settings(trial, step_rate.parser().parse_args([])) == trial


def test_the_table_has_a_row_for_each_kind(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--device", "cpu", "--steps", "2", "--warm-up", "1", "--num-images", "300"]
    monkeypatch.setattr("sys.argv", ["step_rate.py", "--grid", str(grid), *arguments])
    step_rate.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == [
        "| objective, backbone",
        "| jvae, mnist_a_thin",
        "| bivcca mu 0.3, mnist_a_thin",
    ]
    assert all(len(row.split(" | ")) == 8 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "--compile"], "compiled networks cannot be profiled"),
        (["--where", "objective=jvea"], "jvae"),
        (["--grid", "nowhere.yaml"], "no such file"),
        (["--warm-up", "7000", "--steps", "201"], "need 7201 steps, but a trial has only 7200"),
    ],
)
def test_what_cannot_be_measured_is_said(
    grid: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["step_rate.py", "--grid", str(grid), "--device", "cpu", *arguments])
    with pytest.raises(SystemExit, match=message):
        step_rate.main()
