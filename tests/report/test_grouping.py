"""Which trials share a table, and how columns and tables are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmvae_bench.report.comparison import compare
from mmvae_bench.report.gather import read_run
from mmvae_bench.report.grouping import Column, Group, group_trials, with_every_field
from mmvae_bench.report.leaderboard import write_leaderboard
from mmvae_bench.report.text import setting_lines
from mmvae_bench.report.trials import TrialRecord
from mmvae_bench.report.write import write_report
from mmvae_bench.specs.trial import TrialSpec

from .synthetic_runs import scores_of, spec_of, write_trial


def groups(run_dir: Path) -> list[Group]:
    return group_trials(read_run(run_dir).trials)


def labels(group: Group) -> list[str]:
    return sorted(column.label for column in group.columns)


def test_one_table_per_split_and_one_column_per_objective(run_dir: Path) -> None:
    found = {group.setting.split: group for group in groups(run_dir)}
    assert set(found) == {"iid", "comp"}
    assert all(labels(group) == ["jmvae", "telbo"] for group in found.values())
    assert {column.label: (len(column.done), len(column.trials)) for column in found["comp"].columns} == {
        "jmvae": (1, 2),
        "telbo": (1, 2),
    }
    assert found["iid"].title == "mnist_a · digits · iid"


def test_parameters_are_named_only_where_columns_differ_in_them(tmp_path: Path) -> None:
    for gamma in (1.0, 50.0):
        write_trial(tmp_path, spec_of({"name": "telbo", "gamma": gamma}))
    write_trial(tmp_path, spec_of({"name": "jmvae", "alpha": 0.1}))
    (group,) = groups(tmp_path)
    assert labels(group) == ["jmvae", "telbo gamma=1", "telbo gamma=50"]


def test_objectives_with_other_budgets_share_a_table(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of("telbo", training={"steps": 250}))
    write_trial(tmp_path, spec_of("jmvae", training={"steps": 266}))
    (group,) = groups(tmp_path)
    assert sorted((column.label, column.steps) for column in group.columns) == [("jmvae", "266"), ("telbo", "250")]
    frame = compare(read_run(tmp_path)).frame()
    assert frame.columns[-1] == "steps"
    assert {objective: set(rows.steps) for objective, rows in frame.groupby("objective")} == {
        "jmvae": {266}, "telbo": {250},
    }  # fmt: skip


def test_steps_are_those_of_all_stages_where_the_trials_agree(tmp_path: Path) -> None:
    def trained(seed: int, steps: int | None) -> TrialRecord:
        result = {"training": {"steps": steps}, "evaluation": {}}
        spec = {"training": {"steps": 100}, "seed": seed}
        return TrialRecord(str(seed), tmp_path, "done", spec, result=result)

    for steps, expected in (([200, 200], 200), ([200, 300], None), ([None, None], None)):
        trials = tuple(trained(seed, each) for seed, each in enumerate(steps))
        assert Column("telbo", "telbo", (), trials).num_steps == expected


def test_several_budgets_of_an_objective_are_several_tables(tmp_path: Path) -> None:
    for steps in (100, 200):
        for objective in ("telbo", "jmvae"):
            write_trial(tmp_path, spec_of(objective, training={"steps": steps}))
    found = groups(tmp_path)
    assert sorted(group.title for group in found) == [f"mnist_a · digits · iid · steps={steps}" for steps in (100, 200)]
    assert all(labels(group) == ["jmvae", "telbo"] for group in found)


def test_settings_that_differ_are_never_mixed(tmp_path: Path) -> None:
    write_trial(tmp_path, spec_of(training={"learning_rate": 1e-3}))
    write_trial(tmp_path, spec_of(training={"learning_rate": 1e-4}))
    write_trial(tmp_path, spec_of(dataset={"canvas": 16}))
    write_trial(tmp_path, spec_of(dataset={"split_seed": 7}, split="comp"))
    write_trial(tmp_path, spec_of(dataset={"split_seed": 42}, split="comp"))
    write_trial(tmp_path, spec_of(backbone={"name": "mnist_a_thin", "width": 8}))
    titles = [group.title for group in groups(tmp_path)]
    assert len(titles) == 6
    assert len(set(titles)) == 6
    assert "mnist_a · digits · comp · split_seed=7" in titles


def test_partitions_have_their_own_tables(tmp_path: Path) -> None:
    spec = spec_of()
    write_trial(tmp_path, spec, scores=scores_of(spec) + scores_of(spec, partition="val"))
    assert [(group.setting.partition, group.title) for group in groups(tmp_path)] == [
        ("test", "mnist_a · digits · iid · test"),
        ("val", "mnist_a · digits · iid · val"),
    ]


def test_a_title_says_nothing_of_what_is_not_set(tmp_path: Path) -> None:
    few = {"attributes": None, "rate": 0.1, "seed": 0, "fraction": None}
    write_trial(tmp_path, spec_of())
    for number in (10, 100):
        write_trial(tmp_path, spec_of(training={"supervision": few | {"labels_per_class": number}}))
    world = "mnist_a · digits · iid"
    telling = [f"{world} · supervision.labels_per_class={number}" for number in (10, 100)]
    assert sorted(group.title for group in groups(tmp_path)) == sorted([world, *telling])


def test_settings_are_shown_that_the_stored_spec_leaves_out(tmp_path: Path) -> None:
    """Of a spec that this version refuses, those that are stored."""
    folder = write_trial(tmp_path, spec_of("telbo"))
    stored = json.loads((folder / "spec.json").read_text())
    assert "augmentation" not in stored["training"]
    assert "image_weight" not in stored["objective"]
    (section,) = compare(read_run(tmp_path)).sections
    shown = dict(setting_lines(section))
    assert ", augmentation none" in shown["training"]
    assert ", largest_expert_scale none" in shown["backbone"]
    assert "image_weight 1, " in shown["telbo"]
    record = read_run(tmp_path).trials[0]
    strange = {"name": "telbo", "of_another_version": 3}
    kept = with_every_field(replace(record, spec={**record.spec, "objective": strange, "backbone": {"name": "gone"}}))
    assert (kept.component("objective"), kept.component("backbone")) == (strange, {"name": "gone"})
    assert "augmentation" in kept.component("training")


@pytest.mark.parametrize(
    ("source", "words", "world"), [("mnist", "mnist", "mnist"), ("digits", "mnist, source digits", "mnist · digits")]
)
def test_a_source_that_is_the_dataset_itself_is_not_said_again(
    source: str, words: str, world: str, tmp_path: Path
) -> None:
    """So it is with one's own arrays, whose source is called arrays too."""
    dataset = {"name": "mnist", "source": source, "num_images": 400}
    spec = TrialSpec.parse({"dataset": dataset, "backbone": "mnist_a_thin", "objective": "telbo"})
    write_trial(tmp_path / "one", spec, scores=scores_of(spec))
    comparison = compare(read_run(tmp_path / "one"))
    (section,) = comparison.sections
    assert dict(setting_lines(section))["dataset"].startswith(f"{words}, canvas 28, num_images 400")
    assert section.title == f"{world} · iid"
    write_report(tmp_path / "one")
    page = (tmp_path / "one" / "report" / "index.html").read_text()
    assert f'data-world="{world}"' in page

    # What tells two tables of a world apart is not cut off with its name.
    other = TrialSpec.parse(spec.canonical() | {"dataset": dataset | {"num_images": 500}})
    write_trial(tmp_path / "two", other, scores=scores_of(other))
    write_leaderboard([tmp_path / "one", tmp_path / "two"], tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert f"<h2>{world} · iid</h2>" in page
    assert "<h3>num_images=400</h3>" in page
    assert "<h3>num_images=500</h3>" in page
