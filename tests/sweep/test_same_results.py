"""One grid through every executor: the same numbers, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmvae_bench.base.processes import handlers_kept
from mmvae_bench.sweep.executor import Executor
from mmvae_bench.sweep.local import COMMAND, LocalExecutor, Slot
from mmvae_bench.sweep.slurm import SubmititExecutor

from .cluster import drive_with
from .support import StubRun


class RealRun(StubRun):
    """Two trials that learn, a little: canvas 16, three steps."""

    @property
    def command(self) -> tuple[str, ...]:
        """The real one."""
        return COMMAND


def results(stub: StubRun) -> dict[int, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """By seed, the final weights and the scores."""
    found = {}
    for seed, folder in stub.folders().items():
        checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
        found[seed] = (checkpoint["weights"], json.loads((folder / "result.json").read_text())["scores"])
    return found


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of one node, on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    from ray.cluster_utils import Cluster

    with handlers_kept():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        from mmvae_bench.sweep.ray import connect

        yield connect(cluster.address)
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_local_ray_and_submitit_agree_to_the_bit(tmp_path: Path, ray: Any) -> None:
    submitit = pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
    from mmvae_bench.sweep.ray import RayExecutor

    runs = {name: RealRun(tmp_path / name, seeds=(0, 1), steps=(3,)) for name in ("local", "ray", "submitit")}
    for name, run in runs.items():
        run.root.mkdir()
        executor: Executor
        if name == "local":
            executor = LocalExecutor([Slot("cpu 0")])
        elif name == "ray":
            executor = RayExecutor(ray)
        else:
            local = submitit.LocalExecutor(run.out / "slurm")
            local.update_parameters(timeout_min=30)
            executor = SubmititExecutor(local, num_workers=1, arrays=False)
        outcome, recorder = drive_with(run, executor)
        assert outcome.exit_code == 0, (name, [event.error for event in recorder.of("failed")])
    expected = results(runs["local"])
    assert sorted(expected) == [0, 1]
    weights = [expected[seed][0] for seed in (0, 1)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0]), "seeds differ"
    for name in ("ray", "submitit"):
        for seed, (found, scores) in results(runs[name]).items():
            assert found.keys() == expected[seed][0].keys()
            assert all(torch.equal(found[key], expected[seed][0][key]) for key in found), (name, seed)
            assert scores == expected[seed][1]
