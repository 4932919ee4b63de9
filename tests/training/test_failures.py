"""A loss that is not finite ends the trial, with the step and the part that broke."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmvae_bench.base.errors import BenchmarkError
from mmvae_bench.data.base import ConceptDataModule
from mmvae_bench.data.batch import Batch
from mmvae_bench.objectives.base import Terms
from mmvae_bench.specs.components import backbones, objectives
from mmvae_bench.specs.trial import TrainingSpec
from mmvae_bench.training.checkpoint import Checkpoint
from mmvae_bench.training.convergence import by_stage, convergence
from mmvae_bench.training.fit import fit
from mmvae_bench.training.watch import FiniteWatch, NonFiniteLossError

from .conftest import Run


def test_a_part_that_breaks_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mmvae_bench.objectives.telbo import TELBO

    original = TELBO.unimodal

    def breaks(self: TELBO, batch: object) -> Terms:
        terms = original(self, batch)  # type: ignore[arg-type]
        if self.step_done == 6 and self.training:
            terms.parts["concept/kl"] = terms.parts["concept/kl"] + float("inf")
            terms.loss = terms.loss + terms.parts["concept/kl"].mean()
        return terms

    run(folder="a", stop_after=4)
    monkeypatch.setattr(TELBO, "unimodal", breaks)
    with pytest.raises(NonFiniteLossError, match=r"step 7 of stage 'fit': in concept/kl;"):
        run(folder="a")
    assert Checkpoint.load(tmp_path / "a" / "last.ckpt", key="k").step == 4


@pytest.mark.parametrize(("breaks_at", "found"), [(19, "after step 20"), (12, "step 14")])
def test_a_finite_loss_with_a_gradient_that_is_not(
    breaks_at: int, found: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The weights are spoilt by the last step, or one step before a loss shows it: neither state is ever saved."""
    from mmvae_bench.objectives.jvae import JVAE

    original = JVAE.terms

    def breaks(self: JVAE, batch: object) -> Terms:
        terms = original(self, batch)  # type: ignore[arg-type]
        if self.step_done == breaks_at and self.training:
            weight = next(self.concept_decoder.parameters())
            # sqrt has an infinite slope at zero, and infinity times zero is no number.
            terms.loss = terms.loss + (0 * weight).sum().sqrt()
        return terms

    run("jvae", folder="a", stop_after=5)
    monkeypatch.setattr(JVAE, "terms", breaks)
    with pytest.raises(NonFiniteLossError, match=found):
        run("jvae", folder="a")
    assert Checkpoint.load(tmp_path / "a" / "last.ckpt", key="k").step == 5
    assert "NaN" not in (tmp_path / "a" / "log.jsonl").read_text()
    monkeypatch.undo()
    mended, _ = run("jvae", folder="a")
    whole, _ = run("jvae", folder="b")
    assert all(torch.equal(a, b) for a, b in zip(mended.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize("named", [True, False])
def test_a_formula_that_never_was_finite_is_no_matter_of_the_learning_rate(
    named: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmvae_bench.objectives.jvae import JVAE

    original = JVAE.terms

    def breaks(self: JVAE, batch: object) -> Terms:
        terms = original(self, batch)  # type: ignore[arg-type]
        broken = (-terms.parts["joint/kl"].abs() - 1).log()
        return Terms(terms.loss + broken.mean(), terms.parts | ({"joint/log": broken} if named else {}))

    monkeypatch.setattr(JVAE, "terms", breaks)
    where = "in joint/log;" if named else "in the loss itself, each of its parts is finite;"
    with pytest.raises(NonFiniteLossError, match=f"step 1 of stage 'fit': {where}") as raised:
        run("jvae")
    assert "learning rate" not in str(raised.value)
    assert "logarithm" in str(raised.value)


def test_an_unreduced_loss_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmvae_bench.objectives.jvae import JVAE

    def unreduced(self: JVAE, batch: Batch) -> Terms:
        kl = torch.ones(len(batch), requires_grad=True)
        return Terms(kl, {"joint/kl": kl})

    monkeypatch.setattr(JVAE, "terms", unreduced)
    with pytest.raises(BenchmarkError, match=r"loss has shape \(\d+,\) for a batch of \d+, like its part 'joint/kl'"):
        run("jvae")


def test_a_learning_rate_that_explodes_fails_early(run: Run) -> None:
    with pytest.raises(
        NonFiniteLossError, match=r"not finite at step .* it was until then: try a smaller learning rate"
    ):
        run("jvae", steps=300, learning_rate=1e4)


def test_the_latch_reports_the_first_bad_step_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch of a GPU, on meta-free CPU tensors whose loss claims another device."""

    class Loss:
        device = torch.device("cuda")

        def __init__(self, value: float) -> None:
            self.value = torch.tensor(value)

        def detach(self) -> torch.Tensor:
            return self.value

    watch = FiniteWatch("fit")
    for step, (loss, part) in enumerate([(1.0, 1.0), (1.0, float("nan")), (float("nan"), 1.0), (2.0, 1.0)]):
        watch.update(step, Terms(Loss(loss), {"a": torch.tensor([part]), "b": torch.ones(1)}))  # type: ignore[arg-type]
    with pytest.raises(NonFiniteLossError, match="step 3 of stage 'fit': in a;"):
        watch.check()


def test_verdicts_of_convergence() -> None:
    steps = list(range(100, 1300, 100))
    assert convergence(steps, [-100.0 + step / 20 for step in steps]).verdict == "rising"
    assert convergence(steps, [-100.0 - step / 20 for step in steps]).verdict == "falling"
    wild = [9.0, -7.0, 2.0, -4.0, 6.0, -9.0, 4.0, -2.0, 8.0, -6.0, 4.0, -4.0]
    assert convergence(steps, [-100.0 + value for value in wild]).verdict == "unclear"
    noise = [0.5, -0.4, 0.1, -0.2, 0.3, -0.5, 0.2, -0.1, 0.4, -0.3, 0.2, -0.2]
    assert convergence(steps, [-100.0 + value / 4 for value in noise]).verdict == "flat"
    assert convergence(steps, [-100.0 + value for value in noise]).verdict == "unclear"
    assert convergence(steps[:2], [1.0, 2.0]).verdict.startswith("unknown")
    # A relative criterion called this flat: 4.5 nats per 1,000 steps at an ELBO of a density.
    assert convergence(steps, [75_726 + 0.0045 * step for step in steps]).verdict == "rising"
    assert convergence(steps, [75_726 + 0.0005 * step for step in steps]).verdict == "flat"
    exact = convergence(steps, [0.02 * step for step in steps])
    assert exact.slope_per_1000_steps == pytest.approx(20)


def test_every_stage_has_its_own_verdict() -> None:
    rising = [{"stage": "image", "step": step, "elbo": 0.1 * step} for step in range(0, 900, 100)]
    flat = [{"stage": "concept", "step": step, "elbo": 5.0} for step in range(0, 900, 100)]
    assert [(found.stage, found.verdict) for found in by_stage(rising + flat)] == [
        ("image", "rising"),
        ("concept", "flat"),
    ]


def test_a_batch_larger_than_the_training_set_is_refused(digits: ConceptDataModule) -> None:
    backbone = backbones.parse({"name": "mnist_a_thin", "width": 2, "hidden": 8})
    objective = objectives.parse("jvae").build(backbone.build(schema=digits.schema, image_shape=digits.image_shape))
    with pytest.raises(BenchmarkError, match=r"training\.batch_size: 500 images per step, but .* has 248"):
        fit(objective, digits, TrainingSpec(steps=1, batch_size=500), key="k", seed=0)
