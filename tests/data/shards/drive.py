"""A process that prepares a store of squares: ``python -m tests.data.shards.drive FOLDER RECIPE WORKERS``.

Or, with ``data`` first, the command line itself, with squares among the datasets.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmvae_bench.data.shards.prepare import prepare_store

from .squares import Squares


def main() -> int:
    """Prepares, or runs the command line."""
    if sys.argv[1] == "data":
        from mmvae_bench.cli import main as command_line
        from mmvae_bench.specs.components import datasets

        from .spec import SquaresSpec

        datasets.register(SquaresSpec)
        return command_line()
    folder, recipe, workers = sys.argv[1:]
    prepare_store(
        Path(folder), Squares(**json.loads(recipe)), name="squares", shard_size=4, workers=int(workers),
        progress=lambda done, total: print(done, flush=True),  # noqa: T201 what the tests wait for
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
