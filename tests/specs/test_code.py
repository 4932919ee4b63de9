"""The code of a trial's parts, as it is recorded and compared."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmvae_bench import distributions
from mmvae_bench.base.machine import package_version
from mmvae_bench.specs.code import Code, differences, evaluation_code, part_code, training_code
from mmvae_bench.specs.components import backbones, classifiers, datasets, objectives, of_domain, questions
from mmvae_bench.specs.trial import EvaluationSpec

SPEC = {"dataset": {"name": "mnist_a"}, "backbone": {"name": "mnist_a_thin"}, "objective": {"name": "telbo"}}


def test_every_built_in_part_is_known_by_its_own_file_and_what_it_shares() -> None:
    kinds = {"objective": objectives, "dataset": datasets, "backbone": backbones, "classifier": classifiers}
    for kind, registry in kinds.items():
        for name in registry.built_in():
            part = part_code(kind, name)
            assert part is not None
            assert (part["name"], part["package"], part["version"]) == (name, "mmvae-bench", package_version())
            module, _, _ = registry[name].implementation.partition(":")
            assert f"{module.replace('.', '/')}.py" in part["files"]
    telbo, jnf = (part_code("objective", name) for name in ("telbo", "jnf"))
    assert telbo is not None
    assert jnf is not None
    shared = {"mmvae_bench/objectives/base.py", "mmvae_bench/objectives/common/elbo.py"}
    assert shared <= telbo["files"].keys() & jnf["files"].keys()
    assert "mmvae_bench/backbones/flows.py" in jnf["files"].keys() - telbo["files"].keys()


def test_the_loop_the_storage_and_the_machinery_of_specs_do_not_count() -> None:
    files = {file for part in training_code(SPEC).values() for file in part["files"]}
    rooms = ("training/", "runs/", "specs/base", "specs/components", "data/cache", "data/shards", "base/errors")
    assert not [file for file in files if file.removeprefix("mmvae_bench/").startswith(rooms)]


@pytest.mark.parametrize(
    ("part", "settings", "file"),
    [
        ("augmentation", {"flip": 0.0}, "augmentation.py"),
        ("supervision", {"fraction": 0.1}, "supervision.py"),
        ("missing_images", {"fraction": 0.1}, "missing.py"),
    ],
)
def test_what_chooses_or_changes_training_images_counts_where_it_is_asked_for(
    part: str, settings: dict[str, float], file: str
) -> None:
    """Recorded by a run before it was, it is not compared."""
    plain = training_code(SPEC)
    assert training_code(SPEC | {"training": {part: None}}) == plain
    code = training_code(SPEC | {"training": {part: settings}})
    assert code.keys() - plain.keys() == {part}
    file = f"mmvae_bench/data/{file}"
    assert file in code[part]["files"]
    assert differences(changed(code, part, files={file: "0"}), code) == [f"{part}: {file} has changed"]
    assert differences(plain, code) == []


def test_a_registered_divergence_counts() -> None:
    """A function that only a decorator registers is named by nothing, so it would not be in any fingerprint."""
    package = Path(distributions.__file__).parents[1]
    texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    registering = {path: text for path, text in texts.items() if "register_kl" in text}
    assert registering
    for path, text in registering.items():
        for node in ast.walk(ast.parse(text)):
            assert not [each for each in getattr(node, "decorator_list", []) if "register_kl" in ast.dump(each)], path


def test_the_built_in_questions_count_with_the_metrics_that_they_compute() -> None:
    code = evaluation_code(EvaluationSpec().canonical(), "conv_thin")
    assert set(code) == {"questions", "classifier"}
    assert "mmvae_bench/metrics/functional/coverage.py" in code["questions"]["files"]
    # Those that are asked on request count where they are asked, and for nobody else.
    named = {name: {} for name in questions.built_in() if questions[name].on_request}
    code |= evaluation_code(EvaluationSpec.parse({"questions": named}).canonical(), "conv_thin")
    assert set(code) == {"questions", "classifier", *(f"question {name}" for name in named)}
    for name in of_domain(questions, "images"):
        module, _, _ = questions[name].implementation.partition(":")
        file, part = f"{module.replace('.', '/')}.py", f"question {name}" if name in named else "questions"
        assert file in code[part]["files"]
        assert (file in code["questions"]["files"]) == (name not in named)


def test_the_questions_about_graphs_count_for_graphs_alone() -> None:
    of_graph = evaluation_code(EvaluationSpec().canonical(), None)
    of_images = evaluation_code(EvaluationSpec().canonical(), "conv_thin")
    assert set(of_graph) == {"questions"}
    own = {"mmvae_bench/evaluation/questions/links.py", "mmvae_bench/metrics/functional/links.py"}
    assert own <= of_graph["questions"]["files"].keys()
    assert not own & of_images["questions"]["files"].keys()
    assert "mmvae_bench/metrics/functional/coverage.py" not in of_graph["questions"]["files"]


def changed(code: Code, kind: str, **values: Any) -> Code:
    code = copy.deepcopy(code)
    code[kind] |= values
    return code


def test_differences_name_part_file_and_version() -> None:
    now = training_code(SPEC)
    assert differences(copy.deepcopy(now), now) == []
    elbo = "mmvae_bench/objectives/common/elbo.py"
    files = now["objective"]["files"]
    assert differences(changed(now, "objective", files=files | {elbo: "0"}), now) == [
        f"objective 'telbo': {elbo} has changed"
    ]
    assert differences(changed(now, "objective", files=files | {"gone.py": "0"}), now) == [
        "objective 'telbo': gone.py has changed"
    ]
    many = differences(changed(now, "objective", files=dict.fromkeys(files, "0")), now)
    assert many[0].endswith(f" and {len(files) - 3} more have changed")
    # A release of this package alone says nothing about the numbers; that of another one may.
    assert differences(changed(now, "dataset", version="0.0.1"), now) == []
    other = changed(now, "backbone", package="nets", version="1.1")
    assert differences(changed(other, "backbone", version="1.0"), other) == [
        "backbone 'mnist_a_thin': nets 1.0 then, nets 1.1 now"
    ]


@pytest.mark.parametrize("made", [None, [], "x", {}, {"objective": 3}, {"objective": {"files": 3}}, {"dataset": None}])
def test_what_was_not_recorded_or_is_damaged_never_raises(made: object) -> None:
    now = training_code(SPEC)
    assert isinstance(differences(made, now), list)
    assert training_code({"objective": {"name": "of_a_missing_package"}, "dataset": None}) == {}


@pytest.mark.in_check
def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from mmvae_bench.specs.code import *; "
        f"training_code({SPEC!r}); evaluation_code({{}}, 'conv_thin'); "
        "print([name for name in ('torch', 'numpy', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
