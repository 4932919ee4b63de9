"""Two runs: differences are found and separated from noise, and none is missed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmvae_bench import cli
from mmvae_bench.base.canonical import canonical_json, content_hash
from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.base.files import write_json
from mmvae_bench.compare.numbers import judged, number_pairs, unpaired_interval
from mmvae_bench.compare.runs import compare_runs
from mmvae_bench.report.frames import Question
from mmvae_bench.report.trials import TrialRecord
from mmvae_bench.runs.scores import Score

from ..report.synthetic_runs import scores_of, spec_of, write_trial

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The same three trials in two folders."""
    for objective, seed in (("telbo", 0), ("telbo", 1), ("jmvae", 0)):
        write_trial(tmp_path / "a", spec_of(objective, seed=seed))
    return tmp_path / "a", Path(shutil.copytree(tmp_path / "a", tmp_path / "b"))


def result_path(run_dir: Path, objective: str = "telbo", seed: int = 0) -> Path:
    return run_dir / "trials" / spec_of(objective, seed=seed).key / "result.json"


def change(run_dir: Path, how: Change, **which: Any) -> None:
    path = result_path(run_dir, **which)
    result = json.loads(path.read_text())
    how(result)
    write_json(path, result)


def shift(result: dict[str, Any], *, by: float = 0.0, noise: float = 0.0, per_query: bool = True) -> None:
    """Moves the first score: correctness under protocol paper at level 4."""
    score = result["scores"][0]
    values = np.asarray(score["per_query"]) + by + np.random.default_rng(0).normal(0, noise, len(score["per_query"]))
    score["value"] = float(values.mean())
    score["per_query"] = values.tolist() if per_query else None
    score["ci_low"], score["ci_high"] = score["value"] - 0.02, score["value"] + 0.02


def main(*arguments: object) -> int:
    return cli.main(["compare", *map(str, arguments)])


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_identical_runs(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*runs) == 0
    number = 3 * len(scores_of(spec_of()))
    assert f"3 trials in both, {number} numbers: {number} the same" in capsys.readouterr().out
    assert main(*runs, "--json") == 0
    document = said(capsys)
    assert document["counts"] == {"same": number, "within": 0, "beyond": 0, "no interval": 0}
    assert len(document["trials"]["compared"]) == 3
    assert document["circumstances"] == []


def test_one_number_moved(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    change(runs[1], lambda result: shift(result, by=0.01))
    assert main(*runs, "--json") == 1
    document = said(capsys)
    assert document["counts"]["beyond"] == 1
    (moved,) = [number for number in document["numbers"] if number["verdict"] != "same"]
    assert (moved["metric"], moved["protocol"], moved["level"], moved["paired"]) == ("correctness", "paper", 4, True)
    # The shift is common to all queries: paired, it is far outside; by the two intervals alone it is not.
    assert moved["difference"] == pytest.approx(0.01)
    assert moved["low"] == pytest.approx(0.01)
    assert main(*runs) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.endswith("beyond")]
    assert "telbo mnist_a/digits/iid seed 0" in line
    assert "+1.0 [+1.0, +1.0]" in line


def test_noise_is_within(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    change(runs[1], lambda result: shift(result, noise=0.1))
    assert main(*runs, "--json") == 0
    (moved,) = [number for number in said(capsys)["numbers"] if number["verdict"] == "within"]
    assert moved["low"] < 0 < moved["high"]
    assert moved["low"] < moved["difference"] < moved["high"]


def test_other_queries_are_not_paired(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The same shift, but on different queries: only the two intervals can be used."""

    def asked_more(result: dict[str, Any]) -> None:
        shift(result, by=0.01)
        result["evaluation"] |= {"seed": 7, "num_samples": 50}

    change(runs[1], asked_more)
    change(runs[0], shift)
    assert main(*runs, "--json") == 0
    document = said(capsys)
    (moved,) = [number for number in document["numbers"] if number["verdict"] == "within"]
    assert not moved["paired"]
    assert moved["high"] - moved["low"] == pytest.approx(2 * 0.02 * math.sqrt(2))
    found = {(each["name"], each["a"], each["b"]) for each in document["circumstances"] if each["asked"]}
    assert found == {("evaluation.seed", "0", "7"), ("evaluation.num_samples", "100", "50")}
    assert main(*runs) == 0
    assert "evaluation.num_samples: 100 in A, 50 in B (1 trial)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("section", "key", "asked"),
    [("dataset", "fingerprint", True), ("classifier", "fingerprint", True), ("provenance", "commit", False),
     ("provenance", "torch", False), ("provenance", "package", False)],
)  # fmt: skip
def test_other_differences_are_listed(
    section: str, key: str, asked: bool, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    change(runs[1], lambda result: result[section].update({key: "another"}))
    assert main(*runs, "--json") == 0
    (found,) = said(capsys)["circumstances"]
    assert (found["b"], found["trials"], found["asked"]) == ("another", 1, asked)
    main(*runs)
    assert "another in B (1 trial)" in capsys.readouterr().out


def test_files_of_a_part_that_differ_are_named(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A researcher's own objective between two edits, with one version."""

    def made_with(loss: str) -> Callable[[dict[str, Any]], None]:
        def made(result: dict[str, Any]) -> None:
            files = {"mine/loss.py": loss, "mine/spec.py": "cccccccc"}
            code = {"objective": {"name": "mine", "package": "mine", "version": "1.0", "files": files}, "dataset": 3}
            result["provenance"]["segments"] = [{"from": 0, "to": 5, "code": {}}, {"from": 5, "to": 9, "code": code}]

        return made

    change(runs[0], made_with("aaaaaaaa"))
    change(runs[1], made_with("aaaaaaaa"))
    assert main(*runs, "--json") == 0
    assert said(capsys)["circumstances"] == []
    change(runs[1], made_with("bbbbbbbb"))
    main(*runs)
    told = "  code of the objective: mine/loss.py aaaaaaaa in A, mine/loss.py bbbbbbbb in B (1 trial)\n"
    assert told in capsys.readouterr().out
    change(runs[1], lambda result: result["provenance"].update(segments=[{"code": ["rubbish"]}]))
    assert main(*runs, "--json") == 0
    assert [each["name"] for each in said(capsys)["circumstances"]] == ["other packages"]


def test_a_difference_without_an_interval_is_reported(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    change(runs[1], lambda result: result["scores"][-1].update(value=-112.5))
    assert main(*runs) == 1
    assert "differ and have no interval" in capsys.readouterr().out


def test_repeats_of_one_concept_have_no_interval(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Its repeats fail together: that all of them moved alike says nothing about other concepts."""

    def one_concept(result: dict[str, Any]) -> None:
        result["scores"][0]["groups"] = [7] * len(result["scores"][0]["per_query"])

    for run in runs:
        change(run, one_concept)
    change(runs[1], lambda result: shift(result, by=0.01, noise=0.1))
    assert main(*runs, "--json") == 1
    assert said(capsys)["counts"]["no interval"] == 1


def test_a_number_that_is_gone_is_beyond(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    change(runs[1], lambda result: result["scores"][0].update(value=None))
    assert main(*runs, "--json") == 1
    (gone,) = [number for number in said(capsys)["numbers"] if number["verdict"] == "beyond"]
    assert gone["b"] is gone["difference"] is None


def test_numbers_and_trials_in_one_only(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_trial(runs[0], spec_of("bivcca"))
    write_trial(runs[1], spec_of("bivcca", seed=3), "pending")
    write_trial(runs[0], spec_of("jmvae", seed=1), "failed", error="no")
    write_trial(runs[1], spec_of("jmvae", seed=1))
    change(runs[1], lambda result: result["scores"].pop(0))
    assert main(*runs, "--json") == 0
    document = said(capsys)
    assert [trial["key"] for trial in document["trials"]["only_a"]] == [spec_of("bivcca").key]
    assert [trial["state"] for trial in document["trials"]["only_b"]] == ["pending"]
    assert [(trial["state_a"], trial["state_b"]) for trial in document["trials"]["unfinished"]] == [("failed", "done")]
    assert (document["numbers_only_a"], document["numbers_only_b"]) == (1, 0)
    main(*runs)
    shown = capsys.readouterr().out
    assert "1 number of these trials only in A" in shown
    assert "failed in A, done in B" in shown


def test_metric_and_where(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    change(runs[1], lambda result: shift(result, by=0.01))
    assert main(*runs, "--metric", "coverage", "--metric", "elbo") == 0
    assert main(*runs, "--where", "objective=jmvae") == 0
    capsys.readouterr()
    assert main(*runs, "--where", "objective=telbo", "--where", "seed=0", "--metric", "correctness", "--json") == 1
    document = said(capsys)
    assert document["trials"]["compared"] == [spec_of().key]
    assert {number["metric"] for number in document["numbers"]} == {"correctness"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "nowhere"], "nowhere: no such folder"),
        (["a", "empty"], "empty: not a run folder"),
        (["a", "begun"], "begun: has no trials yet"),
        (["a", "b", "--metric", "coverag"], "unknown metric 'coverag'"),
        (["a", "b", "--where", "objective=telbo", "--where", "seed=9"], "no trial of these runs has this seed"),
        (["a", "b", "--where", "objektive=telbo"], "unknown path 'objektive'"),
        (["a", "disjoint"], "training.learning_rate 0.001 and 0.002"),
        (["a", "undone"], "their one trial is not done in both: 1 done and failed"),
    ],
)
def test_bad_input(
    arguments: list[str], words: str, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = runs[0].parent
    (root / "empty").mkdir()
    (root / "begun" / "trials").mkdir(parents=True)
    write_trial(root / "disjoint", spec_of(training={"learning_rate": 2e-3}))
    write_trial(root / "undone", spec_of(), "failed", error="no")
    folders = [root / word if index < 2 else word for index, word in enumerate(arguments)]
    assert main(*folders) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out


def test_a_damaged_result_is_named_and_the_rest_compared(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = result_path(runs[1])
    path.write_text(path.read_text()[:100])
    other = result_path(runs[1], "jmvae").with_name("spec.json")
    other.write_text(other.read_text().replace('"version":1', '"version":0'))
    assert main(*runs) == 2
    printed = capsys.readouterr()
    assert f"{path}: cannot be read" in printed.err
    assert f"{other}: made by version 0, this is 1" in printed.err
    assert "1 trial in both" in printed.out


def test_a_trial_is_matched_although_a_version_has_added_settings(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written before ``compile`` was a setting: another key, the same trial."""
    old = runs[1] / "trials" / spec_of().key
    spec = json.loads((old / "spec.json").read_text())
    del spec["training"]["compile"]
    key = content_hash(spec)
    (old / "spec.json").write_text(canonical_json(spec))
    change(runs[1], lambda result: result.update(key=key))
    old.rename(old.with_name(key))
    found = compare_runs(*runs)
    assert len(found.pairs) == 3
    assert found.exit_code == 0
    assert [(each.name, each.a, each.b) for each in found.circumstances] == [("spec.training.compile", "false", "–")]


def test_nothing_is_written(runs: tuple[Path, Path]) -> None:
    before = {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")}
    main(*runs)
    assert {path: path.stat().st_mtime_ns for run in runs for path in run.rglob("*")} == before


def test_a_trial_folder_is_not_a_run(runs: tuple[Path, Path]) -> None:
    with pytest.raises(BenchmarkError, match="Did you mean the run that this belongs to"):
        compare_runs(runs[0], runs[1] / "trials" / spec_of().key)


def test_the_interval_of_two_covers_as_often_as_it_says() -> None:
    """Means of two independent samples with one expectation: zero is inside in about 95 of 100."""
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        scores = []
        for size, spread in ((50, 0.3), (200, 0.1)):
            values = random.normal(0.5, spread, size)
            mean, arm = float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(size)
            scores.append(Score(metric="m", partition="test", value=mean, ci_low=mean - arm, ci_high=mean + arm))
        low, high = unpaired_interval(*scores)
        inside += low <= 0 <= high
    assert 0.93 <= inside / 2000 <= 0.965


def test_two_equal_runs_rarely_differ_in_any_of_their_numbers() -> None:
    """At most 5 % of comparisons claim something, of however many numbers; one by one they would in 64 %."""
    random, trial = np.random.default_rng(1), TrialRecord("k", Path(), "done")
    claims, one_by_one = 0, 0
    for _ in range(150):
        runs: list[dict[Question, Score]] = [{}, {}]
        for level in range(20):
            hard = random.beta(4, 2, 24)
            for run in runs:
                values = random.binomial(10, hard) / 10
                score = Score(metric="m", partition="test", value=float(values.mean()), per_query=values.tolist())
                run[Question(None, "test", "m", None, level)] = score
        found = judged(list(number_pairs(trial, trial, *runs)))
        claims += any(number.verdict == "beyond" for number in found)
        one_by_one += any(number.p < 0.05 for number in found)
    assert claims / 150 <= 0.05 + 0.035  # Standard error 0.018.
    assert one_by_one / 150 > 0.4
