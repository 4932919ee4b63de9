"""A trial and its report need none of the packages that a machine without a registry may lack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOT_NEEDED = ("datasets", "drjit", "mitsuba", "ray", "skia", "submitit", "wandb", "zuko")

# Python imports a module of this name in every process that it starts, those of the trials among them.
BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_NEEDED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}: blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

GRID = """
name: offline
datasets: [{name: mnist_a, canvas: 16, num_sources: 100, replicas: 3}]
backbones: [{name: mnist_a_thin, width: 1, hidden: 8, latent_size: 2}]
objectives: [bivcca]
training: {steps: 2, validations: 1}
evaluation: {num_samples: 10, query_repeats: 1, num_resamples: 50, classifier: {name: conv_thin, steps: 2, width: 4}}
"""


def test_a_run_with_its_report_from_the_tree(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKER)
    (tmp_path / "grid.yaml").write_text(GRID)
    tree = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{tree}"}
    blocked = subprocess.run([sys.executable, "-c", "import wandb"], env=environment, capture_output=True, text=True)
    assert "No module named 'wandb': blocked" in blocked.stderr
    done = subprocess.run(
        [sys.executable, "-m", "mmvae_bench", "run", "--grid", "grid.yaml", "--workers", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "offline" / "trials").glob("*/result.json"))) == 1
    assert "bivcca" in done.stdout
    assert (tmp_path / "runs" / "offline" / "report" / "index.html").is_file()
