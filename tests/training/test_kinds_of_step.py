"""The log of training with two kinds of steps: both are in it, whatever the rate and the interval of the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run, same

FEW = {"labels_per_class": 2, "attributes": ["digit"]}
KINDS = {"supervision": ("labelled", "unlabelled"), "missing_images": ("without image", "with image")}


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "train"]


def of_first_kind(step: int, tenths: int) -> bool:
    """Whether step number ``step``, from 1, is one of so many in ten."""
    return step * tenths // 10 > (step - 1) * tenths // 10


@pytest.mark.parametrize(
    ("how", "tenths"), [("supervision", 5), ("supervision", 2), ("supervision", 3), ("missing_images", 5)]
)
def test_each_interval_has_a_record_of_each_kind_of_step(how: str, tenths: int, run: Run, tmp_path: Path) -> None:
    """A record is made every ten steps; at these rates the tenth is always of one kind."""
    settings = {**FEW, "rate": tenths / 10} if how == "supervision" else {"fraction": tenths / 10}
    run("mvae", folder="a", steps=25, **{how: settings})  # type: ignore[arg-type]
    found = records(tmp_path / "a")
    steps = [record["step"] for record in found]
    assert steps == sorted(set(steps))
    assert {10, 20, 25} <= set(steps)
    for record in found:
        assert record["kind"] == KINDS[how][0 if of_first_kind(record["step"], tenths) else 1]
    for start, end in ((0, 10), (10, 20), (20, 25)):
        inside = [record for record in found if start < record["step"] <= end]
        assert {record["kind"] for record in inside} == set(KINDS[how])
        assert len(inside) == 2
        for record in inside:
            first = record["kind"] == KINDS[how][0]
            assert not any(of_first_kind(step, tenths) == first for step in range(record["step"] + 1, end + 1))


def test_where_all_steps_are_alike_there_is_one_record_an_interval(run: Run, tmp_path: Path) -> None:
    """Also where an objective sees labelled images alone, or reads no labels."""
    for folder, name, supervision in (
        ("plain", "mvae", None), ("alone", "jvae", {**FEW, "rate": 0.5}), ("none", "vae", {**FEW, "rate": 0.5}),
    ):  # fmt: skip
        run(name, folder=folder, steps=25, supervision=supervision)
        found = records(tmp_path / folder)
        assert [record["step"] for record in found] == [10, 20, 25]
        assert not any("kind" in record for record in found)


def test_a_resumed_run_has_the_log_of_an_uninterrupted_one(run: Run, tmp_path: Path) -> None:
    """Stopped between the two records of an interval."""
    supervision = {**FEW, "rate": 0.2}
    whole, _ = run("mvae", folder="whole", steps=25, supervision=supervision)
    run("mvae", folder="parts", steps=25, stop_after=9, supervision=supervision)
    resumed, _ = run("mvae", folder="parts", steps=25, supervision=supervision)
    assert same(resumed.state_dict(), whole.state_dict())
    assert records(tmp_path / "parts") == records(tmp_path / "whole")
