"""What a report warns of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmvae_bench.base.files import write_json
from mmvae_bench.runs.scores import Score
from mmvae_bench.specs.code import training_code

from .synthetic_runs import score, scores_of, section, spec_of, write_trial


def test_a_trial_is_warned_of_that_describes_what_it_does_not_imagine(tmp_path: Path) -> None:
    """Only of the trial, the attribute and the level at which all attributes are specified."""
    told = {"floor": 0.5, "ceiling": 0.9}

    def scores(imagined: float, described: float, fewer: float = 0.9) -> list[Score]:
        size = {"attribute": "scale", **told}
        return [
            score([0.8] * 9, **told),
            score([imagined] * 9, **size),
            score([fewer] * 9, **size, level=3),
            score([0.85] * 9, attribute="location", **told),
            score([described] * 9, metric="description_accuracy", protocol=None, level=None, **size),
            score([0.89] * 9, metric="description_accuracy", protocol=None, level=None, attribute="location", **told),
        ]

    for name, seed, found in (
        ("telbo", 0, scores(0.51, 0.89)),
        ("telbo", 1, scores(0.53, 0.89)),  # 7.5 % of the way.
        ("jmvae", 0, scores(0.51, 0.85)),  # Not described.
        ("jmvae", 1, scores(0.88, 0.89, fewer=0.5)),
    ):
        write_trial(tmp_path, spec_of(name, seed=seed), scores=found)
    blind = {"attribute": "digit", "floor": 0.5, "ceiling": 0.51}  # What its classifier hardly sees.
    nothing = (
        score([0.5] * 9, **blind),
        score([0.51] * 9, metric="description_accuracy", protocol=None, level=None, **blind),
    )
    write_trial(tmp_path, spec_of("bivcca"), scores=[score([0.8] * 9, **told), *nothing])
    (warning,) = [each for each in section(tmp_path).warnings if each.startswith("Described right in real images")]
    assert warning.startswith(
        "Described right in real images, and imagined as by a generator that ignores the query: telbo seed 0 (scale). "
    )


def test_warnings(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo"), accuracy=0.793)
    folder = write_trial(tmp_path, spec_of("jmvae"), accuracy=0.793)
    found = section(tmp_path).warnings
    assert [text for text in found if "79.3 % of held-out images, under 85.0 %" in text]
    result = json.loads((folder / "result.json").read_text())
    result["classifier"]["fingerprint"] = "other"
    result["dataset"]["fingerprint"] = "other"
    result["provenance"] |= {"package": "0.2.0", "commit": "other", "dirty": True}
    result["scores"][0]["ceiling"] = 0.5
    result["training"]["convergence"]["verdict"] = "falling"
    write_json(folder / "result.json", result)
    text = " ".join(section(tmp_path).warnings)
    for part in (
        "different classifiers", "different images", "different versions", "different commits", "uncommitted",
        "Ceilings or floors",
        "ELBO fell at the end of training (jmvae)",
    ):  # fmt: skip
        assert part in text


def test_a_metric_whose_package_is_not_installed_is_called_a_guess(tmp_path: Path) -> None:
    """In pixels lower is better: as shares in %, the winner is the loser."""
    for name, value in (("telbo", 3.0), ("jmvae", 21.0)):
        scores = [*scores_of(spec_of(name)), Score(metric="pixel_distance", partition="test", value=value)]
        write_trial(tmp_path, spec_of(name), scores=scores)
    (warning,) = [text for text in section(tmp_path).warnings if "guessed" in text]
    assert warning.startswith("No installed package describes pixel_distance: unit (%) and direction are guessed")
    write_trial(tmp_path / "own", spec_of())
    assert not any("guessed" in text for text in section(tmp_path / "own").warnings)


def judged(run_dir: Path, accuracy: dict[str, float], floor: dict[str, float]) -> str:
    """The warnings about a run whose classifier has these accuracies; ``floor``: measured on the same images."""
    rows = [Score(metric="classifier_accuracy", attribute=name, partition="test", value=value, floor=floor[name])
            for name, value in accuracy.items() if name in floor]  # fmt: skip
    folder = write_trial(run_dir, spec_of(), scores=[*scores_of(spec_of()), *rows])
    result = json.loads((folder / "result.json").read_text())
    mean = sum(accuracy.values()) / len(accuracy)
    result["classifier"] |= {"accuracy": accuracy, "mean_accuracy": mean}
    write_json(folder / "result.json", result)
    return " ".join(section(run_dir).warnings)


def test_an_attribute_that_the_classifier_does_not_see_is_named(tmp_path: Path) -> None:
    """Although it is right on 86 % on average: a digit is guessed from 46 % of images, where 33 % are of one digit."""
    accuracy = {"digit": 0.461, "scale": 0.999, "orientation": 1.0, "location": 1.0}
    text = judged(tmp_path, accuracy, {"digit": 0.334, "scale": 0.5, "orientation": 0.34, "location": 0.25})
    assert "reads an attribute poorly. Right on held-out images: digit 46.1 % (chance: 33.4 %). Scores with it" in text


def test_chance_is_what_the_most_frequent_value_gives_on_the_same_images(tmp_path: Path) -> None:
    """90 % says nothing of a value that 85 % of images have, and is well read of two that are as frequent."""
    accuracy = dict.fromkeys(("digit", "scale", "orientation", "location"), 0.9)
    floor = {"digit": 0.1, "scale": 0.85, "orientation": 0.34, "location": 0.25}
    assert "scale 90.0 % (chance: 85.0 %). Scores with it" in judged(tmp_path / "rare", accuracy, floor)
    assert "poorly" not in judged(tmp_path / "even", accuracy, floor | {"scale": 0.5})
    # An attribute that never varies on these images cannot be judged.
    assert "poorly" not in judged(tmp_path / "constant", accuracy, floor | {"scale": 1.0})


def test_without_a_measured_chance_it_is_one_of_the_values(tmp_path: Path) -> None:
    """Three of four locations are read, which is 0.67 of the way from 1 in 4; of ten digits it would be 0.72."""
    accuracy = {"digit": 0.75, "scale": 0.9, "orientation": 0.9, "location": 0.75}
    assert "images: location 75.0 % (chance: 25.0 %). Scores" in judged(tmp_path, accuracy, {})


ELBO = "mmvae_bench/objectives/common/elbo.py"


def coded(
    run_dir: Path, objective: str = "telbo", *, seed: int = 0, old: tuple[bool, ...] = (False,), asked: bool = False
) -> None:
    """A trial with a segment for each of ``old``, which says whether other code than is installed made it."""
    spec = spec_of(objective, seed=seed)
    path = write_trial(run_dir, spec) / "result.json"
    result = json.loads(path.read_text())
    segments = []
    for index, other in enumerate((*old, asked)):
        code = json.loads(json.dumps(training_code(spec.canonical())))
        if other:
            code["objective"]["files"][ELBO] = "00000000"
        segments.append({"from": 100 * index, "to": 100 * (index + 1), "code": code})
    result["provenance"]["segments"] = segments[:-1]
    result["evaluated_on"] = {"code": segments[-1]["code"]}
    write_json(path, result)


@pytest.mark.parametrize(
    ("old", "asked", "expected"),
    [
        ((False, False), False, []),
        (
            (True,),
            True,
            [
                "Made by other code than the trials next to them: telbo mnist_a/digits/iid seed 2 (objective telbo).",
                "Made by other code than is installed now: telbo mnist_a/digits/iid seed 2 (objective 'telbo': "
                f"{ELBO} has changed).",
            ],
        ),
        (
            (True, False),
            False,
            [
                "Made by mixed code, so their numbers belong to no version of it: telbo mnist_a/digits/iid seed 2 "
                f"(from step 100 on: objective 'telbo': {ELBO} has changed).",
            ],
        ),
    ],
    ids=["the same", "other", "mixed"],
)
def test_trials_of_other_code_are_named(
    tmp_path: Path, old: tuple[bool, ...], asked: bool, expected: list[str]
) -> None:
    for seed in (0, 1):
        coded(tmp_path, seed=seed)
    coded(tmp_path, "jmvae")
    coded(tmp_path, seed=2, old=old, asked=asked)
    assert list(section(tmp_path).warnings) == expected


def test_weights_that_other_code_evaluated_are_named(tmp_path: Path) -> None:
    coded(tmp_path, old=(True,))
    assert f"(in the evaluation: objective 'telbo': {ELBO} has changed)" in section(tmp_path).warnings[0]


def test_trials_of_unknown_code_are_counted_next_to_known_ones(tmp_path: Path) -> None:
    coded(tmp_path)
    write_trial(tmp_path, spec_of("jmvae"))
    assert section(tmp_path).warnings[1:] == ("1 of 2 trials were made before code was recorded; it may differ.",)


def test_a_good_run_has_no_warnings(run_dir: Path) -> None:
    assert section(run_dir).warnings == ()


def test_queries_that_no_real_image_satisfies_are_counted(tmp_path: Path) -> None:
    start = "Queries that no held-out real image satisfies: "
    folder = write_trial(
        tmp_path, spec_of("telbo"), scores=[score([0.8] * 9, num_queries=9), score([0.7] * 9, level=3)]
    )
    assert not [text for text in section(tmp_path).warnings if text.startswith(start)]
    result = json.loads((folder / "result.json").read_text())
    result["classifier"]["unmatched_queries"] = {"test/4": 5, "test/3": 0, "test/2": 7, "val/4": 8}
    write_json(folder / "result.json", result)
    (warning,) = [text for text in section(tmp_path).warnings if text.startswith(start)]
    assert warning.startswith(
        f"{start}5 of 9 at level 4. The scores include them and the ceiling of correctness does not."
    )
    result["classifier"]["unmatched_queries"] = {"test/4": "many", "test/3": None}
    write_json(folder / "result.json", result)
    assert not [text for text in section(tmp_path).warnings if text.startswith(start)]
