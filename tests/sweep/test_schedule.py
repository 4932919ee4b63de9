"""The order of trials and the time they will take."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mmvae_bench.runs.folder import TrialFolder
from mmvae_bench.sweep.schedule import CostModel, Schedule, Trial


def trial(name: str, *, steps: int, objective: str = "jvae") -> Trial:
    """A trial of no substance."""
    return Trial(TrialFolder(Path(name)), name, {}, (objective, "thin", "mnist_a"), steps, "recipe", "mnist_a")


def order(schedule: Schedule) -> list[str]:
    """The keys in the order in which they are picked."""
    return [picked.key for picked in iter(schedule.pop, None)]


def test_without_knowledge_by_steps_then_as_they_came() -> None:
    schedule = Schedule(CostModel())
    for name, steps, objective in (("a", 10, "jvae"), ("b", 30, "jvae"), ("c", 30, "jvae"), ("d", 20, "telbo")):
        schedule.add(trial(name, steps=steps, objective=objective))
    assert len(schedule) == 4
    assert order(schedule) == ["b", "c", "d", "a"]
    assert len(schedule) == 0


def test_what_is_learned_changes_the_order_of_those_that_wait() -> None:
    costs = CostModel()
    schedule = Schedule(costs)
    schedule.add(trial("short", steps=10, objective="telbo"))
    schedule.add(trial("long", steps=30))
    costs.observe(("telbo", "thin", "mnist_a"), steps=10, seconds=100.0)
    costs.observe(("jvae", "thin", "mnist_a"), steps=10, seconds=10.0)
    assert order(schedule) == ["short", "long"]


def test_picking_is_the_maximum() -> None:
    """Against the plain maximum over all that wait, with costs that change between two picks."""
    source, costs = random.Random(0), CostModel()
    schedule, waiting = Schedule(costs), {}
    for index in range(200):
        item = trial(str(index), steps=source.randrange(1, 50), objective=source.choice("abcde"))
        waiting[item.key] = item
        schedule.add(item)
    while waiting:
        costs.observe((source.choice("abcde"), "thin", "mnist_a"), steps=10, seconds=source.random())
        best = max(costs.seconds_per_step(item.group) * item.steps for item in waiting.values())
        picked = schedule.pop()
        assert picked is not None
        assert costs.seconds_per_step(picked.group) * picked.steps == pytest.approx(best)
        del waiting[picked.key]
    assert schedule.pop() is None


def test_an_unknown_group_costs_the_average() -> None:
    costs = CostModel()
    assert not costs.known
    assert costs.seconds_per_step(("a", "b", "c")) == 1.0
    costs.observe(("a", "b", "c"), steps=10, seconds=20.0)
    costs.observe(("x", "b", "c"), steps=30, seconds=20.0)
    assert costs.seconds_per_step(("a", "b", "c")) == 2.0
    assert costs.seconds_per_step(("new", "b", "c")) == 1.0


A, B, C, NEW = (("a", "b", "c"), ("x", "b", "c"), ("y", "b", "c"), ("z", "b", "c"))


def test_what_was_learned_on_this_kind_of_device_counts_first() -> None:
    costs = CostModel()
    costs.observe(A, steps=1000, seconds=1000.0, kind="cpu")
    costs.observe(B, steps=1000, seconds=3000.0, kind="cpu")
    assert (costs.seconds_per_step(A), costs.seconds_per_step(B)) == (1.0, 3.0), "the only kind that is known"
    costs.observe(A, steps=10, seconds=0.1, kind="gpu", here=True)
    assert costs.seconds_per_step(A) == 0.01
    assert costs.seconds_per_step(B) == pytest.approx(0.03), "three times A there, so three times A here"
    assert costs.seconds_per_step(NEW) == pytest.approx(0.01)
    costs.observe(C, steps=10, seconds=50.0, kind="tpu")
    assert costs.seconds_per_step(C) == 5.0, "no group was seen on both kinds"
    costs.observe(B, steps=10, seconds=0.9, kind="gpu", here=True)
    assert costs.seconds_per_step(B) == 0.09, "a known cost before a guess"


def test_before_a_trial_ends_here_the_kind_with_most_steps_counts() -> None:
    costs = CostModel()
    costs.observe(A, steps=10, seconds=10.0, kind="cpu")
    costs.observe(A, steps=1000, seconds=10.0, kind="gpu")
    costs.observe(A, steps=0, seconds=10.0, kind="other", here=True)
    assert costs.seconds_per_step(A) == 0.01


def test_time_of_what_waits() -> None:
    costs = CostModel()
    schedule = Schedule(costs)
    assert schedule.seconds({}) == 0.0
    schedule.add(trial("a", steps=10))
    schedule.add(trial("b", steps=20, objective="telbo"))
    schedule.add_alone(trial("c", steps=5))
    jvae, telbo = ("jvae", "thin", "mnist_a"), ("telbo", "thin", "mnist_a")
    assert schedule.seconds({jvae: 1.0}) is None
    assert schedule.seconds({jvae: 1.0, telbo: 2.0}) == 55.0
    costs.observe(telbo, steps=1, seconds=3.0)
    assert schedule.seconds({}) == 105.0
    schedule.pop()
    assert schedule.seconds({}) == 45.0
    assert schedule.pop_alone() is not None
    assert schedule.seconds({}) == 30.0


def test_those_that_want_to_be_alone_are_not_picked_with_the_others() -> None:
    schedule = Schedule(CostModel())
    schedule.add_alone(trial("a", steps=10))
    assert schedule.pop() is None
    assert len(schedule) == 1
    picked = schedule.pop_alone()
    assert picked is not None
    assert picked.key == "a"
    assert schedule.pop_alone() is None
