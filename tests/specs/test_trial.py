"""The spec of a trial, and its key: what decides it and what does not."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.trial import EvaluationSpec, TrialSpec

PLAIN: dict[str, Any] = {
    "dataset": {"name": "mnist_a", "canvas": 32},
    "backbone": "mnist_a_thin",
    "objective": "telbo",
    "training": {"steps": 100},
    "seed": 1,
}


def trial(**changes: Any) -> TrialSpec:
    return TrialSpec.parse({**PLAIN, **changes})


def test_the_label_tells_the_views_apart() -> None:
    assert trial().label == "telbo mnist_a/digits/iid seed 1"
    faces = {"name": "celeba18", "source": "drawn"}
    labels = [trial(dataset=faces | {"view": view}, backbone="rgb_thin").label for view in ("attributes", "text")]
    assert labels == ["telbo celeba18/drawn/iid seed 1", "telbo celeba18/drawn/iid/text seed 1"]


def test_the_key_is_the_hash_of_the_canonical_json() -> None:
    text = json.dumps(trial().canonical(), sort_keys=True, separators=(",", ":"))
    assert trial().key == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert TrialSpec.parse(json.loads(text)).key == trial().key


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {"name": "mnist_a", "canvas": 32, "split": "comp"}},
        {"dataset": {"name": "mnist_a", "canvas": 32, "split_seed": 1}},
        {"backbone": {"name": "mnist_a_thin", "width": 8}},
        {"objective": "jmvae"},
        {"objective": {"name": "telbo", "gamma": 50}},
        {"training": {"steps": 101}},
        {"training": {"steps": 100, "precision": "bfloat16"}},
        {"training": {"steps": 100, "num_threads": 2}},
        {"seed": 2},
    ],
)
def test_whatever_changes_the_weights_changes_the_key(changes: dict[str, Any]) -> None:
    assert trial(**changes).key != trial().key


def test_the_evaluation_is_outside_the_key() -> None:
    asked = trial(evaluation={"num_samples": 70})
    assert asked.key == trial().key
    assert "evaluation" not in asked.canonical()
    assert asked.evaluation.num_samples == 70


def test_defaults_written_out_are_the_same_trial() -> None:
    written = trial(objective={"name": "telbo", "lambda": 50, "gamma": 1.0, "schedule": "joint"})
    assert written.key == trial().key


def test_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="version"):
        trial(version=2)


def test_parts_that_do_not_go_together_and_levels_that_do_not_exist_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        trial(backbone="mnist_a_paper", evaluation={"levels": [4, 5, 9]})
    found = {problem.location: problem for problem in caught.value.problems}
    assert set(found) == {("backbone", "name"), ("evaluation", "levels", 1), ("evaluation", "levels", 2)}
    assert found["evaluation", "levels", 1].choices == ("1", "2", "3", "4")
    assert found["evaluation", "levels", 1].near == "4"
    assert "no level 5" in str(found["evaluation", "levels", 1])


@pytest.mark.parametrize("key", ["protocols", "partitions", "levels"])
def test_lists_of_the_evaluation_hold_something_once(key: str) -> None:
    one: Any = {"protocols": "paper", "partitions": "val", "levels": 2}[key]
    for given in ([], [one, one]):
        with pytest.raises(ConfigError, match=f"{key}: needs at least one entry, each once"):
            EvaluationSpec.parse({key: given})


def test_a_given_attribute_bounds_levels_and_classifiers() -> None:
    spec: Any = {
        "dataset": "two_object_clevr", "backbone": "rgb_thin", "objective": "jmvae",
        "evaluation": {"levels": [1, 9, 10], "classifier": "conv_thin"},
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        TrialSpec.parse(spec)
    found = {problem.location: problem for problem in caught.value.problems}
    assert "no level 10: two_object_clevr has concepts of 9 attributes, relation always specified" in str(
        found["evaluation", "levels", 2]
    )
    assert "classifier conv_thin cannot take relation as input" in str(found["evaluation", "classifier"])
    spec["evaluation"] = {"levels": [1, 9], "classifier": "conv_rgb"}
    assert TrialSpec.parse(spec).evaluation.levels == (1, 9)


FACES: dict[str, Any] = {"dataset": "celeba18", "backbone": "rgb_thin", "objective": "jmvae"}


def faces(**dataset: Any) -> TrialSpec:
    return TrialSpec.parse({**FACES, "dataset": {"name": "celeba18", **dataset}})


def test_trials_from_before_there_were_views_keep_their_keys() -> None:
    """As computed before the fields came."""
    old = {"name": "celeba18", "source": "drawn", "size": 64, "num_images": None, "seed": 0}
    assert faces().canonical()["dataset"] == old | {"split": "iid", "split_seed": 42}
    assert faces(view="attributes").key == faces().key
    assert "word_dropout" not in faces().canonical()["backbone"]
    text = faces(view="text")
    assert text.canonical()["dataset"]["view"] == "text"
    assert text.key != faces().key
    assert TrialSpec.parse(text.canonical()).key == text.key
    assert text.dataset.recipe() == faces().dataset.recipe(), "the images are the same"


def test_the_crop_of_photographs_decides_the_images() -> None:
    wide, close = faces(source="celeba"), faces(source="celeba", crop=128)
    assert "crop" not in wide.canonical()["dataset"], "trials from before there was a choice keep their keys"
    assert faces(source="celeba", crop=148).key == wide.key != close.key
    assert close.canonical()["dataset"]["crop"] == close.dataset.recipe()["crop"] == 128
    with pytest.raises(
        ConfigError, match=r"dataset.crop: only applies to photographs \(source: celeba\)\n  given: 128"
    ):
        faces(source="drawn", crop=128)
    with pytest.raises(ConfigError, match=r"dataset.crop: .*\n  given: 100"):
        faces(source="celeba", crop=100)


def test_what_has_no_meaning_in_a_view_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone.word_dropout: only applies to captions"):
        TrialSpec.parse({**FACES, "backbone": {"name": "rgb_thin", "word_dropout": 0.2}})
    flow = {"name": "q_agg", "mask_probability": 0.5}
    with pytest.raises(ConfigError, match=r"objective.mask_probability: the flow conditions on whole captions"):
        TrialSpec.parse({**FACES, "dataset": {"name": "celeba18", "view": "text"}, "objective": flow})
    with pytest.raises(ConfigError, match=r"dataset.split: split comp needs full concepts"):
        faces(view="text", split="comp")
    levels = {**FACES, "dataset": {"name": "celeba18", "view": "text"}, "evaluation": {"levels": [2, 18]}}
    with pytest.raises(ConfigError, match=r"no level 18: .* its captions express 1 or 2 or .* of them") as found:
        TrialSpec.parse(levels)
    assert found.value.problems[0].near == "9"
    pair = {"dataset": {"name": "two_object_clevr", "view": "text"}, "evaluation": {"levels": [3]}}
    with pytest.raises(ConfigError, match="no level 3"):
        TrialSpec.parse({**FACES, **pair})
    modalities = {"name": "mvae", "modalities": "per_attribute"}
    with pytest.raises(ConfigError, match="mvae cannot use captions as y: words are not modalities"):
        TrialSpec.parse({**FACES, "dataset": {"name": "celeba18", "view": "text"}, "objective": modalities})
