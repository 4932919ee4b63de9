from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mmvae_bench.metrics.functional as functional

ROOT = Path(functional.__file__).parents[3]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def test_two_processes_with_uneven_shares_equal_one(tmp_path: Path, random_queries: Callable[..., Any]) -> None:
    case = random_queries(21, num_queries=23)
    training = torch.tensor([[0, 0, 0, 0], [1, 1, 2, 3]])
    torch.save((case.predictions, case.concepts, case.reference, training), tmp_path / "in.pt")
    script = Path(__file__).with_name("two_processes.py")
    arguments = [
        [sys.executable, script, str(rank), tmp_path / "store", tmp_path / "in.pt", tmp_path / f"{rank}.pt"]
        for rank in range(2)
    ]
    processes = [subprocess.Popen(each, env=environment(), stderr=subprocess.PIPE, text=True) for each in arguments]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()

    right = functional.correctness(case.predictions, case.concepts).nanmean()
    expected = {
        "correctness": right,
        "coverage": functional.coverage(case.predictions, case.concepts, case.reference).nanmean(),
        "joint_divergence": functional.joint_divergence(case.predictions, case.concepts, case.reference).nanmean(),
        "compositionality": functional.compositionality(case.predictions, case.concepts, training).nanmean(),
        "again": right,
    }
    for rank in range(2):
        values = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)


def test_functions_need_no_lightning_and_statistics_no_torch() -> None:
    code = (
        "import sys, mmvae_bench.base.statistics; assert 'torch' not in sys.modules; "
        "import mmvae_bench.metrics.functional; "
        "assert not {'lightning', 'pytorch_lightning'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=120)
