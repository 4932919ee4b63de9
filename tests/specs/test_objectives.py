"""What the specs of objectives refuse, before anything is built."""

from __future__ import annotations

from typing import ClassVar

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.concepts import Attribute, Schema
from mmvae_bench.specs.components import DatasetSpec, objectives, of_domain
from mmvae_bench.specs.trial import TrialSpec


class _Flags(DatasetSpec):
    """Eighteen binary attributes."""

    implementation: ClassVar[str] = "nowhere:Nothing"
    summary: ClassVar[str] = "flags"
    reference: ClassVar[str] = "none"

    name: str = "flags"
    source: str = "none"
    split: str = "iid"
    split_seed: int = 0

    def concept_schema(self) -> Schema:
        return Schema(tuple(Attribute(f"flag_{number}", ("no", "yes")) for number in range(18)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"name": "mvae", "num_random_subsets": 2}, r"num_random_subsets: two modalities have no subsets besides"),
        ({"name": "mmvae", "bound": "elbo", "estimator": "dreg"}, r"estimator: only applies to bound iwae"),
        ({"name": "mopoe", "num_subsets": 3}, r"num_subsets: two modalities have three subsets"),
        ({"name": "mvtcae", "alpha": 1.5}, "alpha"),
        ({"name": "mvae", "modalities": "tow"}, "nearest: two"),
        ({"name": "cvae", "unspecified": "ignore"}, "choices: impute, refuse"),
        ({"name": "vae", "beta": 4}, "unknown key 'beta' of vae"),
    ],
)
def test_settings_without_a_meaning_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives.parse(parameters)


def test_the_same_settings_where_they_mean_something() -> None:
    for parameters in (
        {"name": "mvae", "num_random_subsets": 0},
        {"name": "mvae", "modalities": "per_attribute", "num_random_subsets": 2},
        {"name": "mmvae", "bound": "elbo", "estimator": "plain"},
        {"name": "mopoe", "modalities": "per_attribute", "num_subsets": 8},
    ):
        assert objectives.parse(parameters).canonical().items() >= parameters.items()


def test_a_spec_of_defaults_written_out_reads_back() -> None:
    for name in of_domain(objectives, "images"):
        spec = objectives.parse(name)
        assert objectives.parse(spec.canonical()) == spec


def test_mopoe_refuses_more_subsets_than_memory_holds() -> None:
    every = objectives.parse({"name": "mopoe", "modalities": "per_attribute"})
    with pytest.raises(ConfigError, match=r"19 modalities have 524,287 subsets.*\n.*\n  nearest: 20"):
        every.check_concepts(_Flags())
    objectives.parse({"name": "mopoe", "modalities": "per_attribute", "num_subsets": 64}).check_concepts(_Flags())
    objectives.parse("mopoe").check_concepts(_Flags())
    few = objectives.parse({"name": "mopoe", "modalities": "per_attribute", "num_subsets": 19})
    with pytest.raises(ConfigError, match=r"19 modalities need 20 \(all together, each one\)"):
        few.check_concepts(_Flags())


def test_a_trial_says_where_the_number_of_subsets_stands() -> None:
    trial = {
        "dataset": {"name": "mnist_a", "canvas": 16},
        "backbone": "mnist_a_thin",
        "objective": {"name": "mopoe", "modalities": "per_attribute", "num_subsets": 40},
    }
    with pytest.raises(ConfigError, match=r"objective.num_subsets: 5 modalities need 6 .* to 31 subsets") as found:
        TrialSpec.parse(trial)
    assert found.value.problems[0].near == "31"


def test_mvtcae_weighs_its_experts_as_its_authors_do() -> None:
    """(1 - alpha) KL(q || p) + alpha / M sum KL(q || q_m), with alpha 5/6 in their runs (gr8joo/MVTCAE)."""
    assert objectives.parse("mvtcae").parameters()["alpha"] == pytest.approx(5 / 6)
    assert objectives.parse({"name": "mvtcae", "alpha": 0.1}).parameters()["alpha"] == 0.1
