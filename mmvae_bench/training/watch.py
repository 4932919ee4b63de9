"""Stops a trial whose loss is no longer finite, and names the step and the part of the loss."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from ..base.errors import BenchmarkError
from ..objectives.base import Terms

_ADVICE: Final = "try a smaller learning rate or smaller loss weights"


class NonFiniteLossError(BenchmarkError):
    """The loss, or a weight, is infinite or not a number."""


class FiniteWatch:
    """Checks the loss of every step, but on a GPU reads the outcome only now and then.

    On a CPU the check is immediate. On a GPU that would stall every step, so the first bad step of the loss and of each
    part is recorded on the device and read by :meth:`check`.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._first_bad: Tensor | None = None
        self._names: list[str] = []

    def update(self, step: int, terms: Terms) -> None:
        """Takes the terms of ``step`` (0-based); on a CPU raises at once."""
        if terms.loss.device.type == "cpu":
            if not math.isfinite(terms.loss.item()):
                broken = [name for name, part in terms.parts.items() if not bool(part.isfinite().all())]
                raise self.error(step, broken)
            return
        sums = [terms.loss.detach(), *(part.detach().sum() for part in terms.parts.values())]
        bad = ~torch.stack([value.float() for value in sums]).isfinite()
        if self._first_bad is None:
            self._names = list(terms.parts)
            self._first_bad = torch.full((len(sums),), -1, dtype=torch.long, device=bad.device)
        self._first_bad = torch.where((self._first_bad < 0) & bad, step, self._first_bad)

    def check(self) -> None:
        """Raises if a bad step was recorded."""
        if self._first_bad is None:
            return
        loss_step, *part_steps = self._first_bad.tolist()
        if loss_step >= 0:
            # The sum of a part may break before or with the loss; later steps only show the damage spreading.
            broken = [name for name, step in zip(self._names, part_steps, strict=True) if 0 <= step <= loss_step]
            raise self.error(loss_step, broken)

    def check_weights(self, network: nn.Module, *, step: int) -> None:
        """Raises if a weight or a buffer is not finite after ``step`` steps: such a state must not be saved."""
        broken = {
            name.split(".")[0]
            for name, value in network.state_dict().items()
            if value.is_floating_point() and not bool(value.isfinite().all())
        }
        if broken:
            raise NonFiniteLossError(
                f"after step {step} of stage {self.stage!r} the weights of {', '.join(sorted(broken))} are not finite: "
                "the loss was, but not its gradient, such as that of a root at zero; if the formula is sound, try a "
                "smaller learning rate or smaller loss weights"
            )

    def error(self, step: int, broken: list[str]) -> NonFiniteLossError:
        """The error for the loss of a 0-based step, naming the parts that broke."""
        if step:
            advice = f"it was until then: {_ADVICE}"
        else:
            advice = (
                "no step of this stage was made, so look at the formula: it may take a logarithm or a root of a number "
                "that is not positive, or divide by zero"
            )
        where = _where(broken, "loss")
        return NonFiniteLossError(
            f"the loss is not finite at step {step + 1} of stage {self.stage!r}: {where}; {advice}"
        )

    def validation_error(self, steps: int, broken: list[str]) -> NonFiniteLossError:
        """The error for the validation ELBO after so many steps, each of which had a finite loss."""
        return NonFiniteLossError(
            f"the validation ELBO is not finite after step {steps} of stage {self.stage!r}: {_where(broken, 'ELBO')}; "
            f"the loss of that step was: {_ADVICE}"
        )


def _where(broken: list[str], whole: str) -> str:
    return f"in {', '.join(broken)}" if broken else f"in the {whole} itself, each of its parts is finite"
