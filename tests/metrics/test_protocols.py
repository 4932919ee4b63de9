from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from mmvae_bench.base.errors import ConfigError
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "margnal"}, r"unknown target of protocol 'paper': 'margnal'(?s:.*)nearest: marginal"),
        ({"image": "samples"}, r"unknown image of protocol 'paper': 'samples'(?s:.*)nearest: sample"),
        ({"num_samples": -3}, "protocol 'paper': num_samples must be at least 1 or None, got -3"),
        ({"base": 1.0}, "protocol 'paper': base of a logarithm must be above 1, got 1.0"),
        ({"base": math.nan}, "above 1, got nan"),
    ],
)
def test_what_would_be_scored_as_another_protocol_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(PROTOCOL_RULES["paper"], **changes)


def test_listing_the_protocols_needs_no_torch() -> None:
    code = "import sys, mmvae_bench.metrics.protocols; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
