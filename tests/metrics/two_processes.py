"""One of two processes that share the work: python two_processes.py RANK STORE IN OUT. No test by itself.

IN holds predictions, concepts, the reference and the training concepts; OUT gets every metric's value.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import torch
import torch.distributed as dist

from mmvae_bench.metrics import (
    Compositionality,
    Correctness,
    Coverage,
    JointDivergence,
)

FIRST_SHARE = 5


def main(rank: int, store: str, source: str, destination: str) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    predictions, concepts, reference, training = torch.load(source, weights_only=True)
    share = slice(None, FIRST_SHARE) if rank == 0 else slice(FIRST_SHARE, None)
    metrics = {
        "correctness": Correctness(),
        "coverage": Coverage(reference),
        "joint_divergence": JointDivergence(reference),
        "compositionality": Compositionality(training),
    }
    values = {}
    for name, metric in metrics.items():
        metric.update(predictions[share], concepts[share])
        values[name] = metric.compute()
    # What each process sees again after the exchange is its own share, ready for more.
    metrics["correctness"].update(predictions[:0], concepts[:0])
    values["again"] = metrics["correctness"].compute()
    torch.save(values, destination)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
