"""Attributes from a table: the same wherever they are read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
from mmvae_bench.concepts.tables import infer_schema
print(infer_schema({"size": ["1", "1.0", "01", "2"] * 3, "gap": ["3", "nan", "1", "2"] * 3}).to_dict())
"""


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_values_are_in_one_order_in_every_process(seed: str) -> None:
    """Where numbers are equal, or one is none, the order of a set would show, and with it change a trial's key."""
    environment = dict(os.environ) | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str({"size": ["01", "1", "1.0", "2"], "gap": ["1", "2", "3", "nan"]})
