"""The W&B sweep file without a server: the trials that an agent would train, and every problem with its line."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from mmvae_bench.base.errors import ConfigError
from mmvae_bench.specs.overrides import load_trial
from mmvae_bench.specs.sweeps import MAX_TRIALS, load_sweep

CONFIGS = Path(__file__).parents[2] / "configs"
GOOD = """\
program: mmvae-bench
command: ["${env}", mmvae-bench, train, --wandb, --set-json, "${args_json}"]
method: grid
metric: {name: test/paper/correctness/level_4, goal: maximize}
parameters:
  objective:
    parameters:
      name: {value: telbo}
      gamma: {values: [1, 50]}
  seed: {values: [0, 1, 2]}
  dataset.name: {value: mnist_a}
  dataset.canvas: {value: 32}
  backbone: {value: mnist_a_thin}
"""
RANDOM = GOOD.replace("method: grid", "method: random\nrun_cap: 4").replace(
    "gamma: {values: [1, 50]}", "gamma: {distribution: uniform, min: 0.1, max: 9.0}"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.yaml"


def errors(path: Path, text: str) -> list[str]:
    """The problems of a file, one text per problem, without the file's name."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    return ("\n" + str(caught.value)).split(f"\n{path}:")[1:]


def test_a_grid_is_what_an_agent_would_train(path: Path) -> None:
    """Each trial is the one that the agent's --set-json and its config ask for together."""
    path.write_text(GOOD)
    wanted = []
    for gamma, seed in itertools.product([1, 50], [0, 1, 2]):
        args = {"objective": {"name": "telbo", "gamma": gamma}, "seed": seed, "dataset.name": "mnist_a",
                "dataset.canvas": 32, "backbone": "mnist_a_thin"}  # fmt: skip
        wanted.append(load_trial(json_settings=json.dumps(args), agent=args).key)
    sweep = load_sweep(path)
    assert [trial.key for trial in sweep.trials] == wanted
    assert sweep.num_drawn == 6
    assert [trial.key for trial in load_sweep(path, count=4).trials] == wanted[:4]


def test_a_command_may_carry_what_no_parameter_varies(path: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("dataset: {name: mnist_a, canvas: 16}\nbackbone: mnist_a_thin\nobjective: jmvae\n")
    words = f'"${{env}}", mmvae-bench, train, --spec, "{base}", --set, training.steps=7, --set-json, "${{args_json}}"'
    command = f"[{words}]"
    path.write_text(f"method: grid\ncommand: {command}\nparameters:\n  objective.alpha: {{values: [0.1, 1]}}\n")
    first, second = load_sweep(path).trials
    assert first.objective.parameters()["alpha"] == 0.1
    assert (first.training.steps, first.dataset.canvas, second.objective.parameters()["alpha"]) == (7, 16, 1)
    args = {"objective.alpha": 0.1}
    same = load_trial(base, json_settings=json.dumps(args), assignments=["training.steps=7"], agent=args)
    assert same.key == first.key


def test_more_draws_begin_with_the_same(path: Path) -> None:
    path.write_text(RANDOM)
    four, nine = load_sweep(path), load_sweep(path, count=9)
    assert (four.num_drawn, nine.num_drawn) == (4, 9)
    keys = [trial.key for trial in nine.trials]
    assert keys[: len(four.trials)] == [trial.key for trial in four.trials]
    gammas = {trial.objective.parameters()["gamma"] for trial in nine.trials}
    assert len(gammas) == len(keys) == 9
    assert all(0.1 <= gamma <= 9 for gamma in gammas)


def test_equal_draws_are_one_trial(path: Path) -> None:
    path.write_text(RANDOM.replace("{distribution: uniform, min: 0.1, max: 9.0}", "{values: [1, 2]}"))
    sweep = load_sweep(path, count=50)
    assert (len(sweep.trials), sweep.num_drawn) == (6, 50)


BAD = [
    ("method: grid", "method: bayes", "3: method: method bayes never ends", "--count"),
    ("method: grid", "method: gird", "3: method: unknown method 'gird'", "nearest: grid"),
    ("method: grid\n", "", "method: required key 'method' is missing", "choices: grid, random, bayes"),
    ("method: grid", "method: random", "3: method: method random never ends", "--count"),
    ("method: grid", "method: grid\nrun_cap: 0", "4: run_cap: expected a whole number greater than 0", "given: 0"),
    (
        "metric:",
        "early_terminate: {type: hyperband}\nmetric:",
        "4: early_terminate: early_terminate needs",
        "hyperband",
    ),
    ("metric:", "metrics:", "4: metrics: unknown key 'metrics' of a sweep", "nearest: metric"),
    ("value: telbo", "value: teblo", "8: parameters.objective.parameters.name.value: unknown", "nearest: telbo"),
    ("gamma: {", "gama: {", "9: parameters.objective.parameters.gama: unknown key 'gama' of telbo", "nearest: gamma"),
    ("[1, 50]", "[1, -5]", "9: parameters.objective.parameters.gamma.values[1]: input should be", "given: -5"),
    ("[0, 1, 2]", "[0, x]", "10: parameters.seed.values[1]: expected a whole number", "given: 'x'"),
    ("seed:", "sede:", "10: parameters.sede: unknown key 'sede' of trial", "nearest: seed"),
    (
        "values: [0, 1, 2]",
        "min: 0.0, max: 1.0",
        "10: parameters.seed.distribution: method grid needs a finite number of values",
        "uniform",
    ),
    ("  backbone: {value: mnist_a_thin}\n", "", "required key 'backbone' is missing", "parameters"),
    ("parameters:\n  obj", "parameters: 3\nx:\n  obj", "5: parameters: expected a mapping of parameters", "given: 3"),
    ("--wandb", "--resume", "2: command[3]: without W&B's server only", "'--resume'"),
    (', --set-json, "${args_json}"', "", "2: command: the parameters do not reach the trial", "--set-json"),
    ('"${args_json}"', '"${args}"', "2: command[4]: without W&B's server only", "'--set-json'"),
    ("train, --wandb", "run", "2: command: expected mmvae-bench train", "mmvae-bench, run"),
]


@pytest.mark.parametrize(("old", "new", "words", "more"), BAD, ids=[new or old for old, new, _, _ in BAD])
def test_a_problem_has_its_line_key_value_and_choices(path: Path, old: str, new: str, words: str, more: str) -> None:
    assert old in GOOD
    found = errors(path, GOOD.replace(old, new, 1))
    assert any(words in problem and more in problem for problem in found), found


def test_ranges_are_checked_at_their_ends_not_where_a_draw_falls(path: Path) -> None:
    (problem,) = errors(path, RANDOM.replace("min: 0.1", "min: -0.001"))
    assert problem.startswith("10: parameters.objective.parameters.gamma.min: input should be greater than 0")
    assert "given: -0.001" in problem


def test_all_problems_at_once_in_the_order_of_the_file(path: Path) -> None:
    text = GOOD.replace("telbo", "teblo").replace("method: grid", "method: bayes")
    text = text.replace("canvas: {value: 32}", "canvas: {value: 3}").replace("[0, 1, 2]", "[]")
    assert [problem.partition(":")[0] for problem in errors(path, text)] == ["3", "8", "10", "12"]


def test_a_parameter_that_cannot_be_read_is_not_also_missing(path: Path) -> None:
    (problem,) = errors(path, GOOD.replace("backbone: {value: mnist_a_thin}", "backbone: {valeu: mnist_a_thin}"))
    assert problem.startswith("13: parameters.backbone: nothing to sample from")


def test_too_many_combinations_are_counted_not_listed(path: Path) -> None:
    text = GOOD.replace("values: [0, 1, 2]", "min: 0, max: 99999999")
    (problem,) = errors(path, text)
    assert f"200,000,000 combinations, but at most {MAX_TRIALS:,} are possible" in problem
    assert len(load_sweep(path, count=3).trials) == 3


def test_a_bad_base_file_is_named(path: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("dataset: mnist_b\nbackbone: mnist_a_thin\nobjective: jmvae\n")
    command = f'[mmvae-bench, train, --spec, "{base}", --set-json, "${{args_json}}"]'
    (problem,) = errors(path, f"method: grid\ncommand: {command}\nparameters: {{seed: {{value: 1}}}}\n")
    assert "dataset.name: unknown dataset 'mnist_b'" in problem
    assert f"(in {base})" in problem


@pytest.mark.parametrize("text", ["", "- 1", "method: [", "&a {parameters: *a}"])
def test_what_is_no_sweep_at_all(path: Path, text: str) -> None:
    assert errors(path, text)


def test_the_shipped_grid() -> None:
    sweep = load_sweep(CONFIGS / "sweep_wandb.yaml")
    assert {trial.objective.name for trial in sweep.trials} == {"telbo", "jmvae", "bivcca"}
    assert len(sweep.trials) == sweep.num_drawn == 12
    assert {trial.evaluation.partitions for trial in sweep.trials} == {("val", "test")}


def test_the_shipped_bayes_file_is_a_search_or_drawn_as_random(path: Path) -> None:
    text = (CONFIGS / "sweep_wandb_bayes.yaml").read_text()
    path.write_text(text)
    found = load_sweep(path)
    assert found.search is not None
    assert (found.search.metric.goal, found.search.count, found.trials) == ("maximize", 40, ())
    (problem,) = errors(path, re.sub("metric: .*", "", text))
    assert "metric: method bayes needs the metric that it optimises" in problem
    path.write_text(text.replace("method: bayes", "method: random"))
    sweep = load_sweep(path)
    assert len(sweep.trials) == 40
    assert {trial.training.batch_size for trial in sweep.trials} == {32, 64, 96, 128}
