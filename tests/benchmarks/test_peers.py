"""Every loop of the comparison does the same work, in turn, and one that is not installed is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import peers
import pytest
import torch
from loops import StepClock
from peers import CONTENDERS, Contender, Measured, Size, Work
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.objectives.base import Objective
from mmvae_bench.specs.components import backbones, objectives

NETWORKS = {"name": "mnist_a_thin", "width": 1, "hidden": 8, "latent_size": 2}


@pytest.fixture
def work(digits: ConceptDataModule) -> Work:
    built = backbones.parse(NETWORKS).build(schema=digits.schema, image_shape=digits.image_shape)
    return Work(lambda: objectives.parse("jmvae").build(built, seed=0), digits)


def done_by(contender: Contender, work: Work, num_steps: int, folder: Path) -> tuple[Objective, int, list[Any]]:
    """The trained objective, the operations that this took, and each step's optimiser with its settings."""
    objective, steps = work.build(), list[Any]()
    given = replace(work, build=lambda: objective)
    hook = register_optimizer_step_post_hook(lambda optimiser, *_: steps.append((type(optimiser), optimiser.defaults)))
    try:
        with peers.quiet(), FlopCounterMode(display=False) as counter:
            clock = StepClock(torch.device("cpu"), warm_up=1, num_steps=num_steps)
            contender.loop(given, clock, folder / f"{num_steps}" if contender.records else None)
    finally:
        hook.remove()
    assert clock.seconds_a_step > 0
    assert clock.wall_a_step > 0
    return objective, counter.get_total_flops(), steps


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda each: f"{each.name}, records {each.records}")
def test_a_loop_does_the_work_of_the_bare_one(contender: Contender, work: Work, tmp_path: Path) -> None:
    """As many operations a step as the loss and its gradient, by the same optimiser; no parameter is left out."""
    if contender.loop in (peers.multivae, peers.multivae_alone):
        pytest.importorskip("multivae")
    for folder in ("2", "3"):
        (tmp_path / folder).mkdir()
    objective = work.build()
    with FlopCounterMode(display=False) as counter:
        objective.terms(work.data.store.batch(torch.arange(64))).loss.backward()
    # MultiVae tries the model on a batch before it begins: what one step more takes is the same in all.
    few, more = (done_by(contender, work, num_steps, tmp_path) for num_steps in (2, 3))
    assert more[1] - few[1] == counter.get_total_flops() > 0
    assert [len(few[2]), len(more[2])] == [2, 3]
    assert {kind for kind, _ in more[2]} == {torch.optim.Adam}
    assert all(settings["fused"] and settings["lr"] == 1e-3 for _, settings in more[2])
    assert not any(map(torch.equal, objective.parameters(), more[0].parameters()))


def test_rounds_begin_with_another_loop(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, bool]] = []

    def loop(name: str) -> peers.Loop:
        def run(work: Work, clock: StepClock, folder: Path | None) -> None:
            called.append((name, folder is not None))
            for step in range(clock.num_steps + 1):
                clock.tick(step)

        return run

    contenders = [Contender("a", loop("a"), False), Contender("b", loop("b"), True), Contender("c", loop("c"), False)]
    found = peers.measure(Size({}, {}, warm_up=1, steps=2, rounds=2), work, contenders)
    a, b, c = ("a", False), ("b", True), ("c", False)
    assert called == [a, a, b, c, b, c, a]
    assert [len(each.processor) for each in found] == [len(each.wall) for each in found] == [2, 2, 2]


def test_a_row_compares_within_each_round() -> None:
    contenders = [Contender("bare", peers.bare, False), Contender("other", peers.project, True)]
    found = [
        Measured(processor=[0.010, 0.020, 0.040], wall=[0.1, 0.2, 0.4]),
        Measured(processor=[0.011, 0.026, 0.060], wall=[0.2, 0.2, 0.4]),
    ]
    *_, first, second = peers.rows("tiny", contenders, found)
    assert first == "| bare | no | 20.00 |  | 1 | 1 |"
    assert second == ("| other | yes | 26.00 | 6.00 (1.00 to 20.00) | 1.300 (1.100 to 1.500) | 1.00 (1.00 to 2.00) |")


def test_what_is_not_installed_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}
    monkeypatch.setattr(peers, "SIZES", {"tiny": Size(images, NETWORKS, warm_up=1, steps=1, rounds=1)})
    monkeypatch.setattr(peers, "_version", lambda name: None)
    monkeypatch.setattr("sys.argv", ["peers.py", "--sizes", "tiny"])
    peers.main()
    out = capsys.readouterr().out
    rows = [line.split(" | ")[:2] for line in out.splitlines() if line.startswith("| ")][1:]
    assert rows == [["| bare", "no"], ["| fit", "no"], ["| Lightning", "no"], ["| fit", "yes"], ["| Lightning", "yes"]]
    assert out.splitlines()[-1] == "MultiVae is not installed: pip install -e '.[peers]'"


def test_several_stages_are_refused() -> None:
    size = Size({"name": "mnist_a", "canvas": 16, "num_sources": 100, "replicas": 3}, NETWORKS, 1, 1, 1)
    with pytest.raises(SystemExit, match="scan is trained in 3 stages; choose an objective of one"):
        peers.work_of(size, "scan", torch.device("cpu"))


def test_the_fast_arithmetic_is_measured_on_the_same_weights_where_a_backbone_has_it() -> None:
    digits = {"name": "mnist_a", "source": "digits", "replicas": 1, "num_sources": 20}
    paper = peers.work_of(Size(digits, {"name": "mnist_a_released"}, 1, 1, 1), "vae", torch.device("cpu"))
    assert paper.fast is not None
    plain, fast = paper.build(), paper.fast()
    assert (plain.backbone_spec.arithmetic, fast.backbone_spec.arithmetic) == ("plain", "fast")
    assert all(torch.equal(first, second) for first, second in zip(plain.parameters(), fast.parameters(), strict=True))
    thin = peers.work_of(Size({**digits, "canvas": 16}, NETWORKS, 1, 1, 1), "vae", torch.device("cpu"))
    assert thin.fast is None
