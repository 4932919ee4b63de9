"""The run folder that most tests of the report start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .synthetic_runs import spec_of, write_trial


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
