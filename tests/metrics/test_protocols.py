from __future__ import annotations

import math
import subprocess
import sys

import pytest

from mmvae_bench.metrics.protocols import PROTOCOL_RULES, PROTOCOLS


@pytest.mark.parametrize(
    ("name", "num_samples", "target", "base"),
    [("official", 10, "uniform", math.e), ("paper", None, "marginal", 2.0), ("corrected", None, "conditional", 2.0)],
)
def test_the_protocols_are_as_published(name: str, num_samples: int | None, target: str, base: float) -> None:
    rule = PROTOCOL_RULES[name]
    assert (rule.num_samples, rule.target, rule.base) == (num_samples, target, base)


def test_every_protocol_has_a_rule() -> None:
    assert tuple(PROTOCOL_RULES.built_in()) == PROTOCOLS
    assert all(PROTOCOL_RULES[name].name == name for name in PROTOCOLS)


def test_listing_the_protocols_needs_no_torch() -> None:
    code = "import sys, mmvae_bench.metrics.protocols; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
