"""The stages of an objective under a plain Lightning trainer."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn

from ..base.errors import BenchmarkError
from ..objectives.base import Objective, Stage, planned_stages
from ..specs.trial import TrainingSpec


class Stages(pl.Callback):
    """Runs an objective's stages one after the other, and ends training after the last step of the last one.

    Which stage is running follows from the trainer's global step, so a run that continues from a checkpoint of
    Lightning continues in its stage. The trainer's one optimiser starts each stage without moments, as if it were new.

    Args:
        steps: Of the main stage; those of the others follow from the objective's settings. None: as in the objective's
            ``training_spec``.
        learning_rate: Adam's step size. None: as in the objective's ``training_spec``.

    Raises:
        ConfigError: for settings that are not positive.
        BenchmarkError: when training begins, if the module is no objective, or if several processes cannot leave a
            frozen network without a gradient.
    """

    def __init__(self, *, steps: int | None = None, learning_rate: float | None = None) -> None:
        given = {"steps": steps, "learning_rate": learning_rate}
        self.settings = {name: value for name, value in given.items() if value is not None}
        TrainingSpec.parse(self.settings)
        self.stages: list[Stage] = []
        self.ends: list[int] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Hands the settings to the objective, before it makes its optimiser."""
        if not isinstance(pl_module, Objective):
            raise BenchmarkError(f"Stages runs the stages of an Objective; {type(pl_module).__name__} has none")
        pl_module.training_spec = pl_module.training_spec.model_copy(update=self.settings)
        self.stages = planned_stages(pl_module, pl_module.training_spec)
        self.ends = list(accumulate(each.steps for each in self.stages))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins the first stage, or the one that a checkpoint was saved in."""
        if len(self.stages) > 1 and not getattr(trainer.strategy.model, "find_unused_parameters", True):
            raise BenchmarkError(
                "a stage leaves frozen networks without a gradient, for which the other processes would wait: "
                'use strategy="ddp_find_unused_parameters_true"'
            )
        self._begin(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.ends[-1]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begins the next stage where one has ended."""
        assert isinstance(pl_module, Objective)
        assert pl_module.stage is not None
        if trainer.global_step - pl_module.stage_began >= pl_module.stage.steps:
            self._begin(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends training after the last step."""
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.ends[-1]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says so if the trainer ended before the last step."""
        if trainer.global_step < self.ends[-1]:
            assert isinstance(pl_module, Objective)
            name = pl_module.stage.name if pl_module.stage is not None else "fit"
            rank_zero_warn(
                f"training ended at step {trainer.global_step} of {self.ends[-1]}, in stage {name!r} of "
                f"{', '.join(each.name for each in self.stages)}: fit again with ckpt_path to continue, and with more "
                "max_steps or max_epochs where these ended it"
            )

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        step = trainer.global_step
        index = min(sum(end <= step for end in self.ends), len(self.ends) - 1)
        pl_module.begin_stage(self.stages[index])
        pl_module.stage_began = self.ends[index] - self.stages[index].steps
        if step == pl_module.stage_began:
            for optimizer in trainer.optimizers:
                optimizer.state.clear()
