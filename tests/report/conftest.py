"""The run folder that most tests of the report start from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmvae_bench.report.write import write_report

from .synthetic_runs import scores_of, spec_of, write_trial


@pytest.fixture(scope="session")
def built_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objectives, two splits, two seeds; one of them failed, one not started. Do not change it."""
    root = tmp_path_factory.mktemp("built") / "demo"
    for objective in ("telbo", "jmvae"):
        for split in ("iid", "comp"):
            for seed in (0, 1):
                spec = spec_of(objective, split=split, seed=seed)
                if (objective, split, seed) == ("jmvae", "comp", 1):
                    reason = {"error": "loss is not finite at step 17 (kl)", "error_type": "NonFiniteLoss"}
                    folder = write_trial(root, spec, "failed", step=17, **reason)
                    (folder / "output.log").write_text("a first line\nTraceback <module>\nNonFiniteLoss: kl\n")
                elif (objective, split, seed) == ("telbo", "comp", 1):
                    write_trial(root, spec, "pending")
                else:
                    write_trial(root, spec)
    return root


@pytest.fixture
def run_dir(built_run: Path, tmp_path: Path) -> Path:
    """A copy of :func:`built_run` that a test may change."""
    return shutil.copytree(built_run, tmp_path / "demo")


MANY = [{"name": "telbo", "gamma": number} for number in range(1, 15)]
MANY += [{"name": "jmvae", "alpha": number} for number in range(1, 14)]


@pytest.fixture(scope="session")
def many_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 objectives, five seeds: the last one failed in every seed, some trials of others are unfinished, and two of
    the objectives are apart from all others. Do not change it."""
    root = tmp_path_factory.mktemp("many") / "many"
    for place, objective in enumerate(MANY):
        for seed in range(5):
            spec = spec_of(objective, seed=seed)
            if place == len(MANY) - 1:
                write_trial(root, spec, "failed", step=17, error="loss is not finite", error_type="NonFiniteLoss")
            elif (place, seed) in ((3, 4), (5, 4)):
                write_trial(root, spec, "running" if place == 3 else "pending", step=100)
            else:
                # A little of their own, so that no two are the same; the first and the second are far better.
                moved = 0.25 if place < 2 else 0.004 * place
                scores = [
                    replace(
                        score,
                        value=min(score.value + moved, 1.0),
                        per_query=[min(value + moved, 1.0) for value in score.per_query],
                    )
                    if score.per_query is not None
                    else score
                    for score in scores_of(spec, num_queries=12)
                ]
                write_trial(root, spec, scores=scores)
    (root / "grid.yaml").write_text(
        "name: many\nsummary: two objectives of many settings\n"
        "datasets: [{name: mnist_a, source: digits, canvas: 32}]\n"
        "backbones: [mnist_a_thin]\nobjectives: [telbo]\ntraining: {steps: 6000, learning_rate: 0.001}\n"
    )
    return root


@pytest.fixture(scope="session")
def many_page(many_run: Path) -> Path:
    """The page of :func:`many_run`; the other files of its report are beside it."""
    write_report(many_run, width=100, color=False)
    return many_run / "report" / "index.html"
